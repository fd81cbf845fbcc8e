"""The compiler as a whole: what it compiles runs as the network's equations say, and what it cannot compile it refuses."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from spikeloom.errors import CompileError
from spikeloom.host.compiler.compile import compile
from spikeloom.host.compiler.report import CompileReport
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from spikeloom.image import Image
from spikeloom.params import ArrayParams, preset
from spikeloom.sim.golden import GoldenMachine
from tests.compile_cases import DIRECT, FOLDED, layers, random_network

SLOW = {"delays": 16, "phases": 8, "delay_depth": 2000}
ARRAYS = {
    "direct": dataclasses.replace(DIRECT, **SLOW), "folded": dataclasses.replace(FOLDED, **SLOW),
    "one at a time": ArrayParams(columns=4, rows=4, lanes=7, neurons_per_cycle=1, banks=1, words=32, block=4, weight_bits=5,
                                 **SLOW),
    "four at a time": ArrayParams(columns=4, rows=4, lanes=24, neurons_per_cycle=4, words=32, block=8, weight_bits=3,
                                  gain_bits=14, state_bits=20, accumulator_bits=12, **SLOW),
}


def check(network: Network, params: ArrayParams, seed: int, rate: float = 0.4) -> Image:
    """Compile, run on the golden model, and compare every spike and every potential with the reference."""
    image = compile(network, params=params)
    names = [population.name for population in network.populations]
    spikes = np.random.default_rng(seed).random((2, 12, network.size("in"))) < rate
    expected = reference(network, spikes, record=names, state_bits=params.state_bits)
    machine = GoldenMachine(params)
    machine.load(image)
    result = machine.run(spikes, potentials="steps", record=names)
    for population in network.populations:
        name = population.name
        if population.spiking:
            np.testing.assert_array_equal(result.spikes[name], expected.spikes[name], err_msg=f"seed {seed}, spikes of {name}")
        np.testing.assert_array_equal(result.potentials[name], expected.potentials[name],
                                      err_msg=f"seed {seed}, potentials of {name}")
    return image


@pytest.mark.parametrize("params", ARRAYS.values(), ids=list(ARRAYS))
@settings(max_examples=40, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1), bias=st.booleans())
def test_random_integer_networks_run_exactly(params: ArrayParams, seed: int, bias: bool) -> None:
    note(f"seed {seed}")
    check(random_network(np.random.default_rng(seed), bias=bias), params, seed)


def test_a_loop_over_layers_runs_slowed() -> None:
    populations = tuple(Population(name=name, shape=(4,), integer=True, threshold=3, membrane_gain=0.5) for name in "abc")
    rng = np.random.default_rng(5)
    network = Network(inputs={"in": (4,)}, populations=populations, outputs=("c",), projections=tuple(
        Projection.dense(a + b, a, b, rng.integers(-3, 6, (4, 4)), delay) for a, b, delay in (
            ("in", "a", 0), ("a", "b", 0), ("b", "c", 0), ("c", "a", 1), ("c", "c", 2))))
    image = check(network, ARRAYS["direct"], 5)
    assert image.ticks_per_step == 3
    assert "Slowed to 3 ticks a step: the loop" in str(CompileReport(image.report))


@pytest.mark.parametrize("params", [
    dataclasses.replace(DIRECT, columns=5, rows=2, words=128, **SLOW),
    dataclasses.replace(FOLDED, columns=5, axons=128, words=128, entries=256, **SLOW),
], ids=["direct", "folded"])
def test_fan_in_beyond_a_core_is_added_up_in_parts(params: ArrayParams) -> None:
    rng = np.random.default_rng(9)
    population = Population(name="a", shape=(5,), integer=True, threshold=200, membrane_gain=0.75, current_gain=0.5, strict=True)
    readout = Population(name="r", shape=(2,), integer=True, spiking=False)
    network = Network(inputs={"in": (600,)}, populations=(population, readout), outputs=("a",), projections=(
        Projection.dense("s", "in", "a", rng.integers(-9, 12, (5, 600)), rng.integers(0, 2, (5, 600))),
        Projection.dense("loop", "a", "a", rng.integers(-90, 90, (5, 5)), 2),
        Projection.dense("t", "a", "r", rng.integers(-9, 9, (2, 5)))))
    image = check(network, params, 9, rate=0.2)
    parts = [entry for entry in image.report["populations"] if entry["helper"]]
    assert len(parts) >= 3
    assert [p.name for p in image.populations] == ["a", "r"]
    assert f"fan-in in {len(parts)} partial sums" in str(CompileReport(image.report))


def test_input_delays_need_no_delay_line() -> None:
    projection = Projection.dense("s", "in", "a", np.ones((2, 3)), 9)
    network = Network(inputs={"in": (3,)}, populations=(Population(name="a", shape=(2,), integer=True),), outputs=("a",),
                      projections=(projection,))
    image = check(network, DIRECT, 1)
    assert image.inputs[0].column("tick").tolist() == [9, 9, 9]


def test_real_networks_come_close_to_their_reference() -> None:
    rng = np.random.default_rng(3)
    population = Population(name="a", shape=(10,), membrane_gain=0.9, threshold=1.0)
    readout = Population(name="r", shape=(4,), membrane_gain=0.95, spiking=False)
    network = Network(inputs={"in": (60,)}, populations=(population, readout), outputs=("r",), projections=(
        Projection.dense("s", "in", "a", rng.normal(size=(10, 60)) * 0.2),
        Projection.dense("t", "a", "r", rng.normal(size=(4, 10)))))
    spikes = rng.random((5, 40, 60)) < 0.1
    expected = reference(network, spikes)
    differ = {}
    for bits in (4, 8, 16):
        image = compile(network, board="pynq_z2", weight_bits=bits)
        machine = GoldenMachine(image.params)
        machine.load(image)
        differ[bits] = np.mean(machine.run(spikes).spikes["a"] != expected.spikes["a"])
    assert expected.spikes["a"].mean() > 0.05
    assert differ[16] < 0.002
    assert differ[16] <= differ[8] <= differ[4] < 0.2
    assert differ[8] < 0.02


def test_the_report_is_plain_and_readable() -> None:
    image = compile(layers(3, 5, 2), board="tiny")
    assert json.loads(json.dumps(image.report)) == image.report
    text = str(CompileReport(image.report))
    assert "7 neurons and 25 synapses on tiny" in text
    assert "exact" in text
    assert image.report["array"]["cores"] == [1, 1]
    assert image.report["ticks_per_step"] == 1


def test_arguments_are_checked() -> None:
    network = layers(1, 1)
    with pytest.raises(CompileError, match=r"no board 'pink', nor an array of that name; there are tiny, small"):
        compile(network, board="pink")
    with pytest.raises(CompileError, match="Give either board, one of tiny"):
        compile(network)
    with pytest.raises(CompileError, match="record must be 'all' or 'outputs', not 'some'"):
        compile(network, params=preset("tiny"), record="some")


def test_accumulators_that_could_overflow_are_named() -> None:
    with pytest.raises(CompileError, match=r"Population 'p0': the digits in lane 0, fold 0 of core \(0, 0\) may add up to 140; "
                                           r"accumulators of 8 bits hold -128 to 127. Take 9 accumulator_bits"):
        compile(layers(20, 2, weight=7), params=dataclasses.replace(DIRECT, accumulator_bits=8))
    compile(layers(18, 2, weight=7), params=dataclasses.replace(DIRECT, accumulator_bits=8))


def test_partial_sums_that_do_not_fit_are_named() -> None:
    with pytest.raises(CompileError, match=r"fan-in takes \d+ partial sums, whose bits need \d+ axons in a core; it has 16"):
        compile(layers(60, 2, weight=7), params=dataclasses.replace(DIRECT, words=8))


def test_compiling_twice_gives_the_same_bits() -> None:
    network = random_network(np.random.default_rng(2), bias=True)
    assert compile(network, params=ARRAYS["folded"]).digest() == compile(network, params=ARRAYS["folded"]).digest()
