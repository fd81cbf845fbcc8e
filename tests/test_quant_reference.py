"""The integer reference equals the golden model in every spike and potential, before and after fan-ins are split."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import CompileError, InputError
from spikeloom.host.compiler.compile import fit
from spikeloom.host.compiler.fanin import split_fan_in
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from spikeloom.host.quantisation.quant_reference import quant_reference
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.params import ArrayParams
from spikeloom.sim.open import open
from tests.compile_cases import DIRECT, random_network

SMALL = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=64, block=8, delay_depth=32, destinations=64, accumulator_bits=14)


def real_network(rng: np.random.Generator, readout: bool = True) -> Network:
    """Two layers of real weights with everything that a population may have, recurrent, and a readout."""
    hidden = Population(
        name="hidden", shape=(6,), current_gain=rng.choice([0, 0.5, 0.8], 6), membrane_gain=rng.uniform(0.5, 1, 6), bias=rng.normal(
            size=6) * 0.1, threshold=rng.uniform(0.5, 2, 6), strict=bool(rng.integers(2)), reset=rng.choice(["subtract", "value"]),
        refractory=rng.integers(0, 3, 6), hold=bool(rng.integers(2)))
    out = Population(name="out", shape=(3,), membrane_gain=0.9, spiking=not readout)
    return Network(inputs={"in": (9,)}, populations=(hidden, out), outputs=("out",), projections=(
        Projection.dense("a", "in", "hidden", rng.normal(size=(6, 9))),
        Projection.dense("b", "hidden", "hidden", rng.normal(size=(6, 6)) * 0.5, 1),
        Projection.dense("c", "hidden", "out", rng.normal(size=(3, 6)), rng.integers(0, 2, (3, 6)))))


def assert_golden_agrees(network: Network, params: ArrayParams, bits: int, rng: np.random.Generator) -> int:
    """Number of spikes that both have."""
    quantised = quantise(network, params, bits)
    spikes = {name: rng.random((2, 12, network.size(name))) < 0.4 for name in network.inputs}
    names = [population.name for population in network.populations]
    ours = quant_reference(quantised, spikes, params, record=names)
    with open("golden") as machine:
        machine.load(fit(network, quantised, params))
        golden = machine.run(spikes, potentials="steps", record=names)
    for name in names:
        np.testing.assert_array_equal(ours.states[name], golden.states[name], err_msg=name)
    for name, fired in golden.spikes.items():
        np.testing.assert_array_equal(ours.spikes[name], fired, err_msg=name)
    return sum(int(fired.sum()) for fired in golden.spikes.values())


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 2 ** 32 - 1), bits=st.integers(2, 16))
def test_it_equals_the_golden_model_on_real_networks(seed: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    assert_golden_agrees(real_network(rng), SMALL, bits, rng)


def test_it_equals_the_golden_model_on_integer_networks() -> None:
    spikes = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        network = random_network(rng, bias=bool(seed % 2))
        spikes += assert_golden_agrees(network, dataclasses.replace(DIRECT, words=64, banks=4, delays=16), 8, rng)
    assert spikes > 50


def test_partial_sums_change_nothing() -> None:
    rng = np.random.default_rng(3)
    params = ArrayParams(lanes=16, columns=3, rows=2, banks=1, words=64, block=8, delay_depth=64, destinations=64,
                         accumulator_bits=14)
    network = Network(inputs={"in": (100,)}, outputs=("a",), projections=(Projection.dense("s", "in", "a", rng.normal(size=(4, 100))),),
                      populations=(Population(name="a", shape=(4,), threshold=3.0, membrane_gain=0.9),))
    whole = quantise(network, params, 4)
    split = split_fan_in(whole, params)
    assert len(split.populations) > 1
    spikes = rng.random((2, 20, 100)) < 0.3
    one, other = (quant_reference(kind, spikes, params, record=("a",)) for kind in (whole, split))
    np.testing.assert_array_equal(one.states["a"], other.states["a"])
    np.testing.assert_array_equal(one.spikes["a"], other.spikes["a"])
    assert one.spikes["a"].any()


def test_with_many_bits_it_comes_close_to_the_float_reference() -> None:
    rng = np.random.default_rng(1)
    network = real_network(rng)
    spikes = rng.random((3, 40, 9)) < 0.3
    ours, real = quant_reference(quantise(network, SMALL, 16), spikes, SMALL), reference(network, spikes)
    np.testing.assert_array_equal(ours.spikes["hidden"], real.spikes["hidden"])
    np.testing.assert_allclose(ours.potentials["out"], real.potentials["out"], rtol=3e-3, atol=0.02)
    assert real.spikes["hidden"].any()


def two_currents(rng: np.random.Generator) -> Network:
    population = Population(name="a", shape=(5,), current_gain=0.9, second_current_gain=0.6, membrane_gain=0.95, threshold=4.0)
    return Network(inputs={"x": (8,), "y": (8,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("fast", "y", "a", rng.normal(size=(5, 8)), receptor=1),
        Projection.dense("slow", "x", "a", rng.normal(size=(5, 8)))))


def test_two_currents_decay_each_with_its_own_gain() -> None:
    params = dataclasses.replace(SMALL, currents=2)
    rng = np.random.default_rng(2)
    network = two_currents(rng)
    quantised = quantise(network, params, 16)
    population = quantised.populations["a"]
    assert population.currents == 2
    assert {edge.receptor for edge in quantised.edges} == {0, 1}
    assert population.second_current_gain[0] == round(0.6 * 2 ** params.gain_bits)
    spikes = {name: rng.random((2, 30, 8)) < 0.2 for name in "xy"}
    ours, real = quant_reference(quantised, spikes, params, record=("a",)), reference(network, spikes, record=("a",))
    np.testing.assert_allclose(ours.potentials["a"], real.potentials["a"], rtol=3e-3, atol=0.05)
    assert real.spikes["a"].any()


def test_both_currents_together_stay_within_the_state() -> None:
    params = dataclasses.replace(SMALL, currents=2)
    quantised = quantise(two_currents(np.random.default_rng(2)), params, 8)
    population, most = quantised.populations["a"], np.zeros(5)
    for edge in quantised.edges:
        gain = (population.current_gain, population.second_current_gain)[edge.receptor] / 2 ** params.gain_bits
        most += np.maximum(*(np.bincount(edge.post, np.maximum(sign * edge.weight, 0), 5) for sign in (1, -1))) / (1 - gain)
    assert np.all(most * 2 ** population.shift < 2 ** (params.state_bits - 1))


def test_two_currents_need_an_array_that_has_them() -> None:
    with pytest.raises(CompileError, match=r"Population 'a': its neurons have 2 synaptic currents .* this array's have 1"):
        quantise(two_currents(np.random.default_rng(2)), SMALL)


def test_unknown_names_and_wrong_inputs_are_refused() -> None:
    quantised = quantise(real_network(np.random.default_rng(0)), SMALL)
    with pytest.raises(InputError, match="There is no population 'b'; there are hidden, out"):
        quant_reference(quantised, np.zeros((1, 2, 9)), SMALL, record=("b",))
    with pytest.raises(InputError, match="expected"):
        quant_reference(quantised, np.zeros((1, 2, 8)), SMALL)
