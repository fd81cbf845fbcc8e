"""Resources of arrays that nobody synthesised, the search for an array, and the estimates that are printed."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import nir
import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import board, named_array, synthesis
from spikeloom.host.estimates import resources as model
from spikeloom.host.estimates.fit import Point, candidates, pareto, search
from spikeloom.host.estimates.resources import halves, resources
from tests.nir_cases import CHAIN, graph, spiking
from tests.test_cli import cli, cli_json

ROOT = Path(__file__).parent.parent


def point(name: str, cycles: float, energy: float, blocks: float) -> Point:
    return Point(name, sl.ArrayParams(), model.Resources(1000, 1000, blocks, 4), cycles, int(cycles) + 5, energy, "update", 100.0)


def test_the_coefficients_are_those_of_the_counts() -> None:
    """benchmarks/resources.py fits them again, and ends with 1 where block RAM or DSPs differ from a count."""
    done = subprocess.run([sys.executable, "benchmarks/resources.py"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    for name, fitted, error in (("luts", model.LUTS, model.LUT_ERROR), ("ff", model.FFS, model.FF_ERROR)):
        assert f"{name}: {fitted}, error {error:.4f}" in lines


def test_arrays_come_out_as_synthesised() -> None:
    for name in ("pynq_z1", "pynq_z2"):
        found, counted = resources(named_array(name)), synthesis(name)
        assert (found.ramb36, found.dsps) == (counted["ramb36"] + counted["ramb18"] / 2, counted["dsp"])
        assert found.luts == pytest.approx(counted["luts"], rel=model.LUT_ERROR)
        assert found.ffs == pytest.approx(counted["ff"], rel=model.FF_ERROR)
    assert not resources(sl.preset("pynq_z2")).over(board("pynq_z2"))
    assert "ramb36" in resources(dataclasses.replace(sl.preset("pynq_z2"), words=1024)).over(board("pynq_z2"))


@pytest.mark.parametrize(("width", "depth", "expected"), [(576, 512, 16), (36, 512, 1), (37, 512, 2), (36, 513, 2), (1, 16384, 1),
                                                         (9, 4096, 2)])
def test_block_ram_of_a_memory(width: int, depth: int, expected: int) -> None:
    assert halves(width, depth) == expected


def test_the_pareto_set_holds_what_nothing_beats() -> None:
    fast, cheap, worse, twin = point("fast", 10, 5, 8), point("cheap", 20, 1, 4), point("worse", 21, 1, 4), point("twin", 10, 5, 8)
    assert [p.name for p in pareto([worse, cheap, fast, twin], "throughput")] == ["fast", "cheap"]
    assert [p.name for p in pareto([fast, cheap, worse], "energy")] == ["cheap", "fast"]
    with pytest.raises(SpikeloomError, match="objective must be"):
        pareto([fast], "size")


def test_a_search_returns_arrays_that_hold_the_network() -> None:
    network = sl.from_arrays(inputs={"in": 8}, populations={"out": {"size": 400, "threshold": 9, "current_gain": 0.5}},
                             projections=[{"source": "in", "target": "out", "weights": np.ones((400, 8), int)}])
    sizes = iter(range(1000, 2000))

    def estimate(image: sl.Image) -> dict[str, object]:
        assert sum(p.size for p in image.populations) == 400
        return {"cycles_per_sample": next(sizes), "cycles_worst": 1, "energy_uj": {"mid": 1.0}, "limit": "update"}

    points, refused = search(network, board("pynq_z2"), estimate, tries=5)
    assert {"pynq_z2"} <= {p.name for p in points}
    assert any("pynq_z2_folded" in text for text in refused), "its neurons have no current"
    assert all(p.params.cores * p.params.core_neurons >= 400 for p in points)
    assert all(not p.resources.over(board("pynq_z2")) for p in points if p.name not in board("pynq_z2").arrays)
    assert {params.currents for params in candidates(network, board("pynq_z2"))} == {1}


def test_the_command_prints_the_set_and_draws_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir.write(tmp_path / "net.nir", graph(spiking(), CHAIN))
    arguments = ("fit", tmp_path / "net.nir", "--profile", "norse", "--dt", 1e-4, "--board", "pynq_z2", "--tries", 3)
    plain = cli_json(capsys, *arguments, "--objective", "energy", "--out", tmp_path / "fit.png")
    energies = [entry["energy_uj"] for entry in plain["pareto"]]
    assert energies == sorted(energies)
    assert energies[0] > 0
    assert (tmp_path / "fit.png").read_bytes().startswith(b"\x89PNG")
    code, out, _ = cli(capsys, *arguments)
    assert code == 0
    assert "Nothing was built" in out
    code, _, err = cli(capsys, *arguments[:-4], "--board", "nowhere")
    assert code == 1
    assert "There is no board 'nowhere'" in err


def test_report_estimates_cycles_and_energy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nir.write(tmp_path / "net.nir", graph(spiking(), CHAIN))
    np.save(tmp_path / "spikes.npy", np.random.default_rng(3).random((4, 12, 3)) < 0.5)
    assert cli(capsys, "compile", tmp_path / "net.nir", "--profile", "norse", "--dt", 1e-4, "--board", "tiny")[0] == 0
    run = cli_json(capsys, "run", tmp_path / "net.slm", "--input", tmp_path / "spikes.npy", "--machine", "rtl", "-o", tmp_path / "run.npz")
    found = cli_json(capsys, "report", tmp_path / "net.slm", "--input", tmp_path / "spikes.npy")["estimate"]
    assert found["cycles_per_sample"] == pytest.approx(np.mean(run["cycles"]), rel=0.05)
    assert 0 < found["energy_uj"]["low"] < found["energy_uj"]["mid"] < found["energy_uj"]["high"]
    assert json.dumps(found["limits"])
    code, out, _ = cli(capsys, "report", tmp_path / "net.slm")
    assert code == 0
    assert "Estimate (nothing was measured; events drawn" in out
