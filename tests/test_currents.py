"""Neurons with two synaptic currents: the lanes that the compiler gives them do what the network's equations say."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, note, settings
from hypothesis import strategies as st

from spikeloom.errors import CompileError
from spikeloom.host.compiler.compile import compile
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from spikeloom.memories import Control, Memory
from spikeloom.params import ArrayParams
from spikeloom.sim.golden import GoldenMachine
from tests.compile_cases import DIRECT, FOLDED, random_network

SLOW = {"delays": 16, "phases": 8, "delay_depth": 2000, "currents": 2}
ARRAYS = {
    "direct": dataclasses.replace(DIRECT, lanes=32, columns=4, **SLOW),
    "folded": dataclasses.replace(FOLDED, lanes=32, columns=4, **SLOW),
    "one at a time": ArrayParams(columns=4, rows=4, lanes=18, neurons_per_cycle=1, banks=1, words=32, block=4, weight_bits=5,
                                 **SLOW),
}


def with_two_currents(network: Network, rng: np.random.Generator) -> Network:
    """The network with some projections moved to the second current."""
    gains = np.array([0, 1024, 2048, 4000]) / 4096
    populations = tuple(dataclasses.replace(p, second_current_gain=rng.choice(gains, p.size)) for p in network.populations)
    projections = tuple(dataclasses.replace(p, receptor=int(rng.integers(2))) for p in network.projections)
    return dataclasses.replace(network, populations=populations, projections=projections)


def check(network: Network, params: ArrayParams, seed: int) -> None:
    """Every spike and potential of the golden model equals the reference's."""
    image = compile(network, params=params)
    names = [population.name for population in network.populations]
    spikes = np.random.default_rng(seed).random((2, 12, network.size("in"))) < 0.4
    expected = reference(network, spikes, record=names, state_bits=params.state_bits)
    machine = GoldenMachine(params)
    machine.load(image)
    result = machine.run(spikes, potentials="steps", record=names)
    for name in names:
        np.testing.assert_array_equal(result.spikes[name], expected.spikes[name])
        np.testing.assert_array_equal(result.potentials[name], expected.potentials[name])


@pytest.mark.parametrize("params", ARRAYS.values(), ids=list(ARRAYS))
@settings(max_examples=25, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_random_networks_with_two_currents_run_exactly(params: ArrayParams, seed: int) -> None:
    note(f"seed {seed}")
    rng = np.random.default_rng(seed)
    check(with_two_currents(random_network(rng, bias=False), rng), params, seed)


def test_a_fan_in_that_is_split_keeps_its_currents_apart() -> None:
    """200 inputs on each current, on cores of 128 axons: partial sums of one current must not reach the other."""
    rng = np.random.default_rng(3)
    population = Population(name="a", shape=(3,), integer=True, current_gain=0.5, second_current_gain=0.75, threshold=300)
    projections = tuple(Projection.dense(f"r{r}", "in", "a", rng.integers(-7, 8, (3, 200)), receptor=r) for r in (0, 1))
    network = Network(inputs={"in": (200,)}, populations=(population,), projections=projections, outputs=("a",))
    params = ArrayParams(columns=4, rows=4, lanes=32, banks=2, words=64, block=8, destinations=64, **SLOW)
    image = compile(network, params=params)
    assert sum(entry["helper"] for entry in image.report["populations"]) >= 4
    check(network, params, 3)


def test_cores_hold_neurons_of_one_kind() -> None:
    """Populations with one current and with two lie in different cores, each told how many there are."""
    populations = tuple(Population(name=name, shape=(4,), integer=True) for name in "ab")
    projections = tuple(Projection.dense(f"{name}{r}", "in", name, np.ones((4, 3)), receptor=r)
                        for name, receptors in (("a", (0,)), ("b", (0, 1))) for r in receptors)
    network = Network(inputs={"in": (3,)}, populations=populations, projections=projections, outputs=("a", "b"))
    image = compile(network, params=ARRAYS["direct"])
    cores = {entry["name"]: tuple(entry["cores"][0]) for entry in image.report["populations"]}
    assert cores["a"] != cores["b"]
    assert [int(image.entries(cores[name], Memory.CONTROL)[Control.CURRENTS]) for name in "ab"] == [1, 2]


def test_an_array_with_one_current_refuses_a_second() -> None:
    network = Network(inputs={"in": (2,)}, populations=(Population(name="a", shape=(2,), integer=True),), outputs=("a",),
                      projections=(Projection.dense("s", "in", "a", np.ones((2, 2)), receptor=1),))
    with pytest.raises(CompileError, match=r"'a': its neurons have 2 synaptic currents .* Take an array with currents=2"):
        compile(network, params=DIRECT)
