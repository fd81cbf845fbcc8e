"""The command line: what each command prints, its JSON, and how errors end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikeloom.host.commands import verify as verify_module
from spikeloom.host.commands.group import run as run_cli
from spikeloom.host.networks.recording import load_result, save_result
from tests.nir_cases import CHAIN, graph, spiking

Capture = pytest.CaptureFixture[str]


def cli(capsys: Capture, *arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of a command."""
    capsys.readouterr()
    code = run_cli([str(argument) for argument in arguments])
    out = capsys.readouterr()
    return code, out.out, out.err


def cli_json(capsys: Capture, *arguments: object, code: int = 0) -> dict[str, Any]:
    """The one JSON object that a command prints."""
    found, out, err = cli(capsys, *arguments, "--json")
    assert found == code, err
    plain = json.loads(out)
    assert isinstance(plain, dict)
    return plain


@pytest.fixture
def files(tmp_path: Path, capsys: Capture) -> Path:
    """A folder with net.nir, its image net.slm, and spikes.npy."""
    nir.write(tmp_path / "net.nir", graph(spiking(), CHAIN))
    np.save(tmp_path / "spikes.npy", np.random.default_rng(3).random((4, 12, 3)) < 0.5)
    assert cli(capsys, "compile", tmp_path / "net.nir", "--profile", "norse", "--dt", 1e-4, "--board", "tiny")[0] == 0
    return tmp_path


def test_compile_writes_an_image_and_reports(files: Path, capsys: Capture) -> None:
    plain = cli_json(capsys, "compile", files / "net.nir", "--profile", "norse", "--dt", 1e-4, "--board", "tiny", "-o",
                     files / "other.slm")
    assert plain["image"] == str(files / "other.slm")
    assert plain["report"]["array"]["neurons"] == 2
    again = cli_json(capsys, "report", files / "other.slm")
    assert again["digest"] == plain["digest"]
    assert again["report"] == plain["report"]
    code, out, _ = cli(capsys, "report", files / "net.slm")
    assert code == 0
    assert "2 neurons and 6 synapses on tiny" in out


def test_an_array_may_come_from_a_file(files: Path, capsys: Capture) -> None:
    (files / "array.json").write_text('{"lanes": 8, "banks": 2, "words": 32, "block": 8}')
    arguments = ("compile", files / "net.nir", "--profile", "norse", "--dt", 1e-4, "--params", files / "array.json")
    assert cli_json(capsys, *arguments)["report"]["params"]["lanes"] == 8
    (files / "array.json").write_text('{"lanes": 7}')
    code, out, err = cli(capsys, *arguments)
    assert (code, out) == (1, "")
    assert err == f"spikeloom: {files / 'array.json'}: lanes must be a multiple of neurons_per_cycle (2), not 7\n"


def test_runs_are_recorded_and_compared(files: Path, capsys: Capture) -> None:
    run = ("run", files / "net.slm", "--input", files / "spikes.npy", "--potentials", "steps", "--record", "lif")
    golden = cli_json(capsys, *run, "-o", files / "golden.npz")
    assert golden["cycles"] is None
    assert golden["spikes"]["lif"] > 0
    rtl = cli_json(capsys, *run, "--machine", "rtl", "-o", files / "rtl.npz")
    assert len(rtl["cycles"]) == 4
    assert min(rtl["cycles"]) > 0
    assert rtl["spikes"] == golden["spikes"]
    same = cli_json(capsys, "diff", files / "golden.npz", files / "rtl.npz")
    assert same["first"] is None
    assert (same["compared_spikes"], same["compared_potentials"]) == (4 * 12 * 2, 4 * 12 * 2)
    assert (same["differing_spikes"], same["differing_potentials"]) == (0, 0)


def test_diff_names_the_first_difference(files: Path, capsys: Capture) -> None:
    run = ("run", files / "net.slm", "--input", files / "spikes.npy", "--potentials", "steps", "--record", "lif")
    cli_json(capsys, *run, "-o", files / "one.npz")
    other = load_result(files / "one.npz")
    other.states["lif"][2, 5, 1] += 3
    other.states["lif"][3, 0, 0] -= 1
    save_result(other, files / "two.npz")
    found = cli_json(capsys, "diff", files / "one.npz", files / "two.npz", code=1)
    assert found["differing_potentials"] == 2
    assert {name: found["first"][name] for name in ("what", "sample", "step", "population", "neuron")} \
        == {"what": "Potential", "sample": 2, "step": 5, "population": "lif", "neuron": 1}
    code, out, _ = cli(capsys, "diff", files / "one.npz", files / "two.npz")
    assert code == 1
    assert "0 of 96 spikes and 2 of 96 potentials differ" in out


def test_runs_of_different_images_are_not_compared(files: Path, capsys: Capture) -> None:
    cli_json(capsys, "run", files / "net.slm", "--input", files / "spikes.npy", "-o", files / "one.npz")
    cli_json(capsys, "compile", files / "net.nir", "--profile", "norse", "--dt", 2e-4, "--board", "tiny", "-o", files / "b.slm")
    cli_json(capsys, "run", files / "b.slm", "--input", files / "spikes.npy", "-o", files / "two.npz")
    code, out, err = cli(capsys, "diff", files / "one.npz", files / "two.npz")
    assert (code, out) == (1, "")
    assert "are runs of different images" in err
    cli_json(capsys, "run", files / "net.slm", "--input", files / "spikes.npy", "--record", "lif", "-o", files / "three.npz")
    code, _, err = cli(capsys, "diff", files / "one.npz", files / "three.npz")
    assert code == 1
    assert "recorded potentials of different populations: none against lif" in err


@pytest.mark.parametrize(("arguments", "message"), [
    (("compile", "net.nir", "--profile", "norse", "--board", "tiny"), "needs dt="),
    (("compile", "spikes.npy", "--profile", "norse", "--dt", 1, "--board", "tiny"), "spikes.npy"),
    (("compile", "net.nir", "--profile", "norse", "--dt", 1e-4), "Give either --board or --params"),
    (("run", "net.nir", "--input", "spikes.npy"), "is not a Spikeloom image"),
    (("run", "net.slm", "--input", "net.nir"), "holds no plain NumPy arrays"),
    (("run", "net.slm", "--input", "spikes.npy", "--record", "nobody"), "The image has no population 'nobody'"),
    (("diff", "net.slm", "net.slm"), "is not a recorded run"),
    (("report", "spikes.npy"), "is not a Spikeloom image"),
    (("verilog", "--board", "tiny", "-o", "absent/folder/x.v"), "No such file or directory"),
])
def test_an_error_is_one_line(files: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, arguments: tuple[object, ...],
                              message: str) -> None:
    monkeypatch.chdir(files)
    code, out, err = cli(capsys, *arguments)
    assert (code, out) == (1, "")
    (line,) = [line for line in err.splitlines() if not line.endswith("…")]  # what it waited for
    assert line.startswith("spikeloom: ")
    assert message in line


def test_wrong_usage_has_an_exit_code_of_its_own(capsys: Capture) -> None:
    assert cli(capsys, "weave")[0] == 2
    assert cli(capsys, "verify", "--cases", 0)[0] == 2
    assert cli(capsys, "--version")[0] == 0
    code, out, _ = cli(capsys, "--help")
    assert code == 0
    for name in ("boards", "compile", "demo", "diff", "doctor", "report", "run", "verify", "verilog"):
        assert name in out


def test_verilog_is_written(tmp_path: Path, capsys: Capture) -> None:
    plain = cli_json(capsys, "verilog", "--board", "tiny", "-o", tmp_path / "tiny.v")
    text = (tmp_path / "tiny.v").read_text()
    assert plain["bytes"] == len(text.encode())
    assert "module spikeloom(" in text


def test_boards_are_listed(capsys: Capture) -> None:
    plain = cli_json(capsys, "boards")
    assert plain["boards"]["pynq_z2"]["part"] == "xc7z020clg400-1"
    assert plain["arrays"]["tiny"]["lanes"] == 16
    code, out, _ = cli(capsys, "boards")
    assert code == 0
    assert "simulation" in out


def test_doctor_lists_tools_and_runs_both_machines(capsys: Capture) -> None:
    plain = cli_json(capsys, "doctor")
    tools = {tool["name"]: tool for tool in plain["tools"]}
    assert tools["numpy"]["version"] == np.__version__
    assert tools["amaranth"]["get"] == "pip install 'spikeloom[rtl]'"
    assert plain["self_test"]["passed"], plain["self_test"]["text"]
    assert "the same on the golden model and the RTL" in plain["self_test"]["text"]


def test_doctor_says_how_to_get_what_is_missing(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.host.commands.doctor.shutil.which", lambda name: None)
    plain = cli_json(capsys, "doctor", "--no-test")
    assert {tool["name"]: tool["version"] for tool in plain["tools"] if tool["name"] == "iverilog"} == {"iverilog": None}
    code, out, _ = cli(capsys, "doctor", "--no-test")
    assert code == 0
    assert "apt-get install" in out


def test_verify_reports_what_it_compared(capsys: Capture) -> None:
    plain = cli_json(capsys, "verify", "--kind", "images", "--cases", 2, "--seed", 3, "--jobs", 1)
    assert (plain["cases"], plain["differing"], plain["seed"], plain["failures"]) == (2, 0, 3, [])
    assert list(plain["kinds"]) == ["images"]
    assert plain["compared"]["ticks"] > 0


def test_verify_cuts_its_work_where_arrays_change() -> None:
    assert verify_module.spans(60, 0) == [(0, 25), (25, 25), (50, 10)]
    assert verify_module.spans(30, 20) == [(20, 5), (25, 25)]
    assert verify_module.spans(1, 37) == [(37, 1)]


def test_verify_fails_with_the_command_that_repeats_a_case(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(span: tuple[str, int, int, int]) -> dict[str, Any]:
        kind, seed, first, cases = span
        failures = [{"case": first + 1, "first": "Spike of neuron 3"}] if (kind, first) == ("networks", 25) else []
        return {"kind": kind, "seed": seed, "cases": cases, "differing": len(failures), "redrawn": 1, "compared": {"spikes": 10},
                "met": {"loop": 1} if kind == "networks" else {}, "failures": failures}
    monkeypatch.setattr(verify_module, "check", broken)
    plain = cli_json(capsys, "verify", "--cases", 60, "--seed", 9, "--jobs", 1, code=1)
    assert (plain["cases"], plain["differing"], plain["redrawn"], plain["compared"]) == (120, 1, 6, {"spikes": 60})
    again = "spikeloom verify --kind networks --cases 1 --first 26 --seed 9"
    assert plain["failures"] == [{"case": 26, "first": "Spike of neuron 3", "kind": "networks", "again": again}]
    assert {kind: (part["cases"], part["differing"], part["met"]) for kind, part in plain["kinds"].items()} == {
        "images": (60, 0, {}), "networks": (60, 1, {"loop": 3})}
    code, out, _ = cli(capsys, "verify", "--cases", 60, "--seed", 9, "--jobs", 1)
    assert code == 1
    assert "60 random networks from seed 9: 1 differ (3 redrawn because they do not fit their array)" in out
    assert again in out


@pytest.mark.slow
def test_two_processes_find_what_one_finds(capsys: Capture) -> None:
    def found(jobs: int) -> dict[str, Any]:
        plain = cli_json(capsys, "verify", "--cases", 6, "--first", 22, "--seed", 3, "--jobs", jobs)
        return {name: value for name, value in plain.items() if name != "seconds"}
    assert found(2) == found(1)


@pytest.mark.slow
@pytest.mark.timeout(7200)
def test_a_thousand_random_cases_agree(capsys: Capture) -> None:
    plain = cli_json(capsys, "verify", "--kind", "images", "--cases", 1000, "--seed", 1)
    assert plain["cases"] == 1000
    assert plain["differing"] == 0, plain["failures"]


def test_the_installed_command_starts() -> None:
    done = subprocess.run([sys.executable, "-m", "spikeloom.host.cli", "boards", "--json"], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 0, done.stderr
    assert "pynq_z2" in json.loads(done.stdout)["boards"]


def test_a_missing_extra_is_named() -> None:
    code = ("import sys; sys.modules['click'] = None; sys.argv = ['spikeloom']\n"
            "from spikeloom.host.cli import main; main()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "spikeloom: click is not installed: pip install 'spikeloom[cli]'\n"
