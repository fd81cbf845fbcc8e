"""Sweeps: rows against what the verbs say one by one, specifications, the command, and its picture."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import CompileError, InputError, NetworkError
from spikeloom.host.commands.group import run as run_cli
from spikeloom.host.networks.network import Population, Projection
from spikeloom.host.sweep import best_measure, parse_sweep
from tests.nir_cases import CHAIN, graph, spiking

Bools = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def network(spiking: bool = True) -> sl.Network:
    """Real weights: 8 inputs, 12 neurons, 3 outputs."""
    rng = np.random.default_rng(5)
    hidden = Population(name="hidden", shape=(12,), membrane_gain=0.9)
    out = Population(name="out", shape=(3,), membrane_gain=0.9, spiking=spiking)
    return sl.Network(inputs={"in": (8,)}, populations=(hidden, out), outputs=("out",), projections=(
        Projection.dense("a", "in", "hidden", rng.normal(size=(12, 8))),
        Projection.dense("b", "hidden", "out", rng.normal(size=(3, 12)))))


def spikes(samples: int = 10) -> Bools:
    return np.random.default_rng(6).random((samples, 20, 8)) < 0.3


def answers(net: sl.Network) -> Any:
    """The float network's own answers, as labels."""
    return sl.reference(net, spikes()).counts["out"].argmax(axis=1)


def test_rows_say_what_compiling_and_running_each_say() -> None:
    net = network()
    labels = answers(net)
    labels[0] = (labels[0] + 1) % 3  # so that the float network has an error
    rows = sl.sweep(net, input=spikes(), labels=labels, weight_bits=range(2, 9), scale=["neuron", "tensor"], board="small", jobs=1)
    assert [(row["weight_bits"], row["scale"]) for row in rows] == [(b, s) for b in range(2, 9) for s in ("neuron", "tensor")]
    real = sl.reference(net, spikes())
    for row in rows[::3]:
        image = sl.compile(net, board="small", weight_bits=row["weight_bits"], scale=row["scale"])
        with sl.open("golden") as machine:
            machine.load(image)
            found = machine.run(spikes())
        assert row["accuracy"] == np.mean(found.counts["out"].argmax(axis=1) == labels)
        assert row["differing_spikes"] == sum(np.count_nonzero(found.spikes[name] != real.spikes[name]) for name in found.spikes)
        assert row["cores"] == image.report["array"]["cores"][0]
        assert row["synapse_bits"] == image.report["array"]["synapse_bits"][0]
        assert row["ramb36"] == -(-row["synapse_bits"] // 36864)
        assert row["why"] == ""
    assert {row["float_accuracy"] for row in rows} == {0.9}
    assert rows[-2]["spike_agreement"] > rows[0]["spike_agreement"]
    assert rows[-2]["synapse_bits"] > rows[0]["synapse_bits"]
    assert best_measure(rows) == "accuracy"


def test_rows_do_not_depend_on_where_they_are_made() -> None:
    options: dict[str, Any] = {"input": spikes(), "weight_bits": [3, 8], "calibrate": [False, True], "board": "small"}
    rows = sl.sweep(network(), **options, jobs=1)
    assert sl.sweep(network(), **options, jobs=2) == rows
    json.dumps(rows)  # plain data
    assert [row["accuracy"] for row in rows] == [None] * 4
    assert best_measure(rows) == "spike_agreement"


def test_a_scheduler_gives_the_same_rows() -> None:
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    options: dict[str, Any] = {"input": spikes(), "weight_bits": [3, 8], "board": "small"}
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        assert sl.sweep(network(), **options, scheduler=cluster.scheduler_address) == sl.sweep(network(), **options, jobs=1)


@pytest.mark.parametrize("readout", ["end", "max", "mean"])
def test_answers_of_readouts_are_read_from_potentials(readout: Any) -> None:
    net = network(spiking=False)
    potentials = sl.reference(net, spikes()).potentials["out"]
    labels = {"end": potentials[:, -1], "max": potentials.max(axis=1), "mean": potentials.mean(axis=1)}[readout].argmax(axis=1)
    row = sl.sweep(net, input=spikes(), labels=labels, weight_bits=8, board="small", readout=readout)[0]
    assert row["float_accuracy"] == 1
    assert row["accuracy"] >= 0.9
    assert row["same_answer"] == row["accuracy"]


def test_what_does_not_fit_is_a_row_that_says_why() -> None:
    rows = sl.sweep(network(), input=spikes(), weight_bits=[4, 12], params=sl.ArrayParams(weight_bits=2, lanes=16, columns=3, block=8))
    assert rows[0]["why"] == ""
    assert "this array has 3" in rows[1]["why"]
    assert rows[1]["cores"] is None
    assert rows[1]["accuracy"] is None


@pytest.mark.parametrize(("options", "error", "message"), [
    ({"weight_bits": [1, 2]}, CompileError, "weight_bits must be 2 to 16, not 1"),
    ({"weight_bits": []}, CompileError, "sweep of weight_bits has no values"),
    ({"scale": "row"}, CompileError, "scale must be 'neuron' or 'tensor', not 'row'"),
    ({"board": "moon"}, CompileError, "There is no board 'moon'"),
    ({"board": None}, CompileError, "Give either board"),
    ({"labels": [0, 1]}, InputError, r"labels must be 10 integers, .* of shape \(2,\)"),
    ({"labels": [3] * 10}, InputError, "labels run from 3 to 3; the output population has neurons 0 to 2"),
    ({"readout": "first"}, InputError, "readout must be 'counts', 'end', 'max' or 'mean', not 'first'"),
    ({"output": "nobody"}, NetworkError, "There is no population 'nobody'"),
])
def test_options_without_sense_are_refused(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        sl.sweep(network(), **({"input": spikes(), "board": "small", "jobs": 1} | options))
    with pytest.raises(InputError, match="Population 'out' never spikes"):
        sl.sweep(network(spiking=False), input=spikes(), board="small", readout="counts")


@pytest.mark.parametrize(("text", "values"), [
    ("weight_bits=2..8", [2, 3, 4, 5, 6, 7, 8]), ("weight-bits=2,4, 8", [2, 4, 8]), ("weight_bits=2..4,8", [2, 3, 4, 8]),
    ("scale=neuron,tensor", ["neuron", "tensor"]), ("calibrate=no,yes", [False, True]), ("board=tiny", ["tiny"]),
])
def test_specifications_are_ranges_and_lists(text: str, values: list[Any]) -> None:
    assert parse_sweep(text) == (text.partition("=")[0].replace("-", "_"), values)


@pytest.mark.parametrize(("text", "message"), [
    ("weight_bits", "not of the form NAME=VALUES"), ("colour=red", "NAME is one of weight_bits, scale"),
    ("weight_bits=", "not of the form"), ("weight_bits=8..2", "'8..2' is no value of weight_bits, which is 2 to 16"),
    ("weight_bits=two", "'two' is no value"), ("weight_bits=2,,3", "'' is no value"), ("scale=a..b", "'a..b' is no value of scale"),
    ("calibrate=perhaps", "'perhaps' is no value of calibrate, which is yes or no"), ("weight_bits=2..4,4", "has a value twice"),
])
def test_specifications_without_sense_are_refused(text: str, message: str) -> None:
    with pytest.raises(CompileError, match=message):
        parse_sweep(text)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    nir.write(tmp_path / "net.nir", graph(spiking(), CHAIN))
    np.save(tmp_path / "spikes.npy", np.random.default_rng(3).random((4, 12, 3)) < 0.5)
    np.save(tmp_path / "labels.npy", np.zeros(4, np.int64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


BASE = ("compile", "net.nir", "--profile", "norse", "--dt", "1e-4")
SWEEP = (*BASE, "--board", "tiny", "--sweep", "weight_bits=2..4")


def test_the_command_prints_a_table_and_draws(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([*SWEEP, "--sweep", "scale=neuron,tensor", "--input", "spikes.npy", "--labels", "labels.npy", "--jobs", "1",
                    "--out", "sweep.png"]) == 0
    out = capsys.readouterr().out
    for word in ("weight", "scale", "accuracy", "agree", "ramb36", "tensor"):
        assert word in out
    assert (folder / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    assert not (folder / "net.slm").exists()
    assert run_cli([*BASE, "--board", "tiny", "--sweep", "weight_bits=4,17", "--input", "spikes.npy", "--jobs", "1"]) == 1
    assert "weight_bits must be 2 to 16, not 17" in capsys.readouterr().err
    assert run_cli([*SWEEP, "--input", "spikes.npy", "--jobs", "1", "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert [row["weight_bits"] for row in plain["rows"]] == [2, 3, 4]
    assert plain["picture"] is None


@pytest.mark.parametrize(("arguments", "message"), [
    (SWEEP, "--sweep needs --input"),
    ((*SWEEP, "--input", "spikes.npy", "--sweep", "weight_bits=5"), "names weight_bits twice"),
    ((*SWEEP, "--input", "spikes.npy", "-o", "x.slm"), "--sweep writes no image"),
    ((*SWEEP, "--input", "spikes.npy", "--out", "x.docx", "--jobs", "1"), "x.docx cannot be drawn"),
    ((*BASE, "--sweep", "weight_bits=4", "--input", "spikes.npy"), "Give either --board or --params"),
    ((*SWEEP, "--sweep", "board=tiny,small", "--input", "spikes.npy"), "Give either --sweep board="),
    ((*BASE, "--board", "tiny", "--input", "spikes.npy", "--jobs", "2"), "--input, --jobs belong to --sweep"),
])
def test_the_command_refuses_what_makes_no_sense(folder: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...],
                                                 message: str) -> None:
    assert run_cli(list(arguments)) == 1
    assert message in capsys.readouterr().err


def test_compile_calibrates_and_reports(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli([*BASE, "--board", "tiny", "--weight-bits", "4", "--scale", "tensor", "--calibrate", "spikes.npy"]) == 0
    assert "spikes that differ" in capsys.readouterr().out
    found = sl.Image.load(folder / "net.slm").report["populations"][0]
    assert found["calibration"]["samples"] == 4
    assert (found["scale_kind"], found["weight_bits"]) == ("tensor", 4)
    assert run_cli(["compile", "net.nir", "--board", "tiny"]) == 2
    assert "Missing option '--profile'" in capsys.readouterr().err
