"""Quantisation: what is kept, what is lost, what is told and what is refused."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import CompileError, InputError
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from spikeloom.host.quantisation.quant_network import digit_range
from spikeloom.host.quantisation.quant_reference import quant_reference
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.host.quantisation.report import quantisation_lines
from spikeloom.host.quantisation.scales import ScaleKind
from spikeloom.params import ArrayParams

PARAMS = ArrayParams()


def one(weights: np.ndarray[tuple[int, int], np.dtype[np.float64]], **options: object) -> Network:
    """One population ``a`` with these weights (outputs, inputs)."""
    population = Population(name="a", **({"shape": (weights.shape[0],)} | options))  # type: ignore[arg-type]  # any option
    return Network(inputs={"in": (weights.shape[1],)}, populations=(population,), outputs=("a",),
                   projections=(Projection.dense("s", "in", "a", weights),))


@pytest.mark.parametrize(("bits", "low", "high"), [(4, -8, 7), (8, -128, 119), (6, -32, 31), (12, -2048, 1911)])
def test_weights_use_their_digits_and_round_to_the_nearest(bits: int, low: int, high: int) -> None:
    weights = np.random.default_rng(bits).normal(size=(5, 40))
    network = quantise(one(weights, membrane_gain=0.9), PARAMS, bits)
    edge, population = network.edges[0], network.populations["a"]
    steps = population.scale / 2.0 ** population.shift
    assert edge.weight.min() >= low
    assert edge.weight.max() <= high
    for neuron in range(5):
        mine = edge.weight[edge.post == neuron]
        assert mine.max() == high or mine.min() == low
    error = np.abs(edge.weight / steps[edge.post] - weights[edge.post, edge.pre])
    assert np.all(error <= 0.5 / steps[edge.post] + 1e-12)
    assert network.errors["a"]["status"] == "approximated"
    assert 0 < network.errors["a"]["weight_error_max"] <= 1.01 / (2 * high)


def test_digit_range_counts_signed_digits() -> None:
    assert digit_range(4, 1) == (-8, 7)
    assert digit_range(4, 2) == (-136, 119)
    assert digit_range(3, 3) == (-4 * 73, 3 * 73)


def test_thresholds_keep_strict_and_inclusive_comparison_apart() -> None:
    weights = np.array([[7.0]])
    for strict, expected in ((True, 1), (False, 0)):
        population = quantise(one(weights, strict=strict, threshold=2.0), PARAMS, 4).populations["a"]
        assert population.threshold[0] == 2 * population.scale[0] + expected


def test_duplicate_synapses_are_added_and_zeros_dropped() -> None:
    population = Population(name="a", shape=(2,), integer=True)
    network = Network(inputs={"in": (2,)}, populations=(population,), outputs=("a",), projections=tuple(
        Projection(name=f"s{i}", source="in", target="a", pre=np.array([0, 1, 0]), post=np.array([0, 0, 1]),
                   weight=np.array([3.0, sign, 5.0]), delay=np.array([0, 0, i])) for i, sign in enumerate((1, -1))))
    edge = quantise(network, PARAMS).edges[0]
    assert sorted(zip(edge.pre, edge.post, edge.delay, edge.weight, strict=True)) == [(0, 0, 0, 6), (0, 1, 0, 5), (0, 1, 1, 5)]


def test_integer_networks_are_taken_as_they_are() -> None:
    weights = np.array([[64.0 * 9, 64 * -200], [64 * 30, 0]])
    network = quantise(one(weights, integer=True, threshold=640, bias=3, membrane_gain=3500 / 4096, strict=True), PARAMS)
    population, edge = network.populations["a"], network.edges[0]
    assert population.shift == 6
    assert sorted(edge.weight.tolist()) == [-200, 9, 30]
    assert (population.threshold[0], population.bias[0], population.membrane_gain[0]) == (641, 3, 3500)
    assert np.all(population.scale == 1)
    assert network.errors["a"]["weight_error_max"] == 0
    assert network.errors["a"]["status"] == "exact"


def test_state_is_finer_than_weights_and_never_overflows() -> None:
    weights = np.random.default_rng(0).normal(size=(4, 300))
    for alpha, beta in ((0, 1), (0.9, 0.95), (0.99, 0.5)):
        network = quantise(one(weights, current_gain=alpha, membrane_gain=beta, threshold=5.0), PARAMS)
        population, edge = network.populations["a"], network.edges[0]
        most = max(np.bincount(edge.post, np.maximum(sign * edge.weight, 0)).max() for sign in (1, -1))
        assert most * 2 ** population.shift / (1 - population.current_gain.max() / 4096) < 2 ** 23
        assert population.shift >= 1


def test_narrow_states_make_weights_coarser_and_say_so() -> None:
    narrow = dataclasses.replace(PARAMS, state_bits=16)
    network = quantise(one(np.ones((1, 300)), current_gain=0.9), narrow)
    assert network.populations["a"].shift == 0
    assert 2 <= network.edges[0].weight[0] <= 15
    assert network.errors["a"]["coarser_bits"] >= 3
    with pytest.raises(CompileError, match="16 state bits hold its currents and thresholds only if all weights become 0 or 1"):
        quantise(one(np.ones((1, 2000)), current_gain=0.98), narrow)


def test_channels_of_a_map_share_a_scale() -> None:
    weights = np.zeros((8, 3))
    weights[:4, 0], weights[4:, 1], weights[0, 2] = 1, 2, 4
    population = quantise(one(weights, shape=(2, 2, 2)), PARAMS).populations["a"]
    assert len(set(population.scale[:4])) == len(set(population.scale[4:])) == 1
    assert population.scale[4] == 2 * population.scale[0]


def test_gain_errors_are_told() -> None:
    errors = quantise(one(np.ones((1, 1)), membrane_gain=0.9, current_gain=0.5), PARAMS).errors["a"]
    assert errors["current_gain_error"] == 0
    assert 0 < errors["membrane_gain_error"] <= 0.5 / 4096


@pytest.mark.parametrize(("options", "bits", "message"), [
    ({}, 17, "weight_bits must be 2 to 16, not 17"),
    ({}, {"b": 4}, "weight_bits names 'b', which the network has not; it has a"),
    ({"current_gain": 1.0}, 8, "synaptic current with gain 1 or more has no bound"),
    ({"integer": True, "current_gain": 1.0}, 8, "current of neuron 0 does not decay"),
    ({"integer": True, "current_gain": 1 / 65536}, 8, "its current gain .* has more than 12 fraction bits"),
    ({"refractory": 64}, 8, "refractory period of 64 steps exceeds the 63 that 6"),
    ({"integer": True, "threshold": 2 ** 25}, 8, "its threshold runs from .* 24 state bits hold"),
    ({"integer": True, "input_gain": 2 ** 22}, 8, "synaptic current of neuron 0 may reach"),
])
def test_what_cannot_be_represented_is_refused(options: dict[str, object], bits: int | dict[str, int], message: str) -> None:
    with pytest.raises(CompileError, match=message):
        quantise(one(np.array([[3.0]]), **options), PARAMS, bits)


def test_weights_beyond_sixteen_bits_are_refused() -> None:
    with pytest.raises(CompileError, match="weights run from -1 to 40000; integer networks have at most 16 bits"):
        quantise(one(np.array([[40000.0, -1]]), integer=True), PARAMS)
    with pytest.raises(CompileError, match="16 bits take 8 cells of 2 bits; this array joins at most 2"):
        quantise(one(np.ones((1, 1))), ArrayParams(weight_bits=2, lanes=4), 16)


# Scales and calibration.

def test_one_scale_for_a_tensor_is_that_of_its_largest_weight() -> None:
    weights = np.array([[1.0, -4.0], [0.5, 0.25]])
    own, shared = (quantise(one(weights), PARAMS, 8, scale=kind).populations["a"].scale for kind in ("neuron", "tensor"))
    assert shared[0] == shared[1]
    assert own[1] > own[0] == pytest.approx(shared[0], rel=1e-12)
    with pytest.raises(CompileError, match="scale must be 'neuron' or 'tensor', not 'row'"):
        quantise(one(weights), PARAMS, scale="row")  # type: ignore[arg-type]  # what is tested


def test_neurons_without_synapses_do_not_coarsen_their_channel() -> None:
    weights = np.zeros((4, 1))
    weights[0, 0] = 0.001
    population = quantise(one(weights, shape=(1, 2, 2), spiking=False), PARAMS).populations["a"]
    assert np.all(population.scale == population.scale[0])
    assert quantise(one(weights, shape=(1, 2, 2), spiking=False), PARAMS).edges[0].weight[0] == 119


def test_two_bits_hold_weights_of_one_sign() -> None:
    assert quantise(one(np.array([[1.0, 1.0, 0.0]])), PARAMS, 2).edges[0].weight.tolist() == [1, 1]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2 ** 32 - 1), bits=st.integers(2, 9), kind=st.sampled_from(["neuron", "tensor"]),
       reset=st.sampled_from(["subtract", "value"]), hold=st.booleans(), square=st.booleans())
def test_calibration_is_never_worse_and_always_the_same(seed: int, bits: int, kind: ScaleKind, reset: str, hold: bool,
                                                        square: bool) -> None:
    rng = np.random.default_rng(seed)
    shape: tuple[int, ...] = (2, 2, 2) if square else (8,)
    network = one(rng.standard_t(3, size=(8, 20)), shape=shape, membrane_gain=0.9, current_gain=0.5, reset=reset, hold=hold,
                  refractory=2, threshold=5.0)
    spikes = rng.random((3, 15, 20)) < 0.3
    first, again = (quantise(network, PARAMS, bits, scale=kind, calibrate=spikes) for _ in range(2))
    told = first.errors["a"]["calibration"]
    assert told["potential_error"] <= told["potential_error_uncalibrated"]
    np.testing.assert_array_equal(first.edges[0].weight, again.edges[0].weight)
    assert first.errors == again.errors


def potential_error(network: Network, bits: int, spikes: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], **options: Any) -> float:
    """Root mean square of v's error, worked out by running the integer reference against the float one."""
    found = quant_reference(quantise(network, PARAMS, bits, **options), spikes, PARAMS).potentials["a"]
    return float(np.sqrt(np.mean((found - reference(network, spikes).potentials["a"]) ** 2)))


def test_calibration_lessens_the_error_of_potentials_that_are_measured_elsewhere() -> None:
    rng = np.random.default_rng(0)
    network = one(rng.standard_t(3, size=(10, 60)), spiking=False, membrane_gain=0.9, current_gain=0.5)
    sample, other = (rng.random((8, 30, 60)) < 0.1 for _ in range(2))
    for bits in (2, 3, 4):
        told = quantise(network, PARAMS, bits, calibrate=sample).errors["a"]["calibration"]
        assert potential_error(network, bits, sample, calibrate=sample) == pytest.approx(told["potential_error"], rel=0.05)
        assert potential_error(network, bits, sample) == pytest.approx(told["potential_error_uncalibrated"], rel=0.05)
        assert potential_error(network, bits, other, calibrate=sample) < 0.9 * potential_error(network, bits, other)


def test_the_error_of_potentials_follows_delays_receptors_and_recurrence() -> None:
    rng = np.random.default_rng(4)
    neurons = Population(name="a", shape=(6,), current_gain=0.8, second_current_gain=0.3, membrane_gain=0.9, spiking=False)
    source = Population(name="s", shape=(5,), membrane_gain=0.5, threshold=1.0, integer=True)
    network = Network(inputs={"in": (5,), "more": (4,)}, populations=(source, neurons), outputs=("a",), projections=(
        Projection.dense("relay", "in", "s", np.eye(5)),
        Projection.dense("x", "s", "a", rng.normal(size=(6, 5)), rng.integers(0, 3, (6, 5)), receptor=1),
        Projection.dense("y", "more", "a", rng.normal(size=(6, 4)), 2), Projection.dense("z", "in", "a", rng.normal(size=(6, 5)))))
    spikes = {"in": rng.random((4, 25, 5)) < 0.2, "more": rng.random((4, 25, 4)) < 0.2}
    params = dataclasses.replace(PARAMS, currents=2)
    quantised = quantise(network, params, 4, calibrate=spikes)
    error = quant_reference(quantised, spikes, params).potentials["a"] - reference(network, spikes).potentials["a"]
    told = quantised.errors["a"]["calibration"]["potential_error"]
    assert np.sqrt(np.mean(error ** 2)) == pytest.approx(told, rel=0.03)
    assert "calibration" in quantised.errors["s"]
    assert quantised.errors["s"]["calibration"]["differing"] == 0


def test_a_sample_of_neurons_is_measured_where_there_are_many() -> None:
    rng = np.random.default_rng(0)
    network = one(rng.normal(size=(2000, 3)), shape=(2, 1000))
    told = quantise(network, PARAMS, 4, calibrate=rng.random((1, 5, 3)) < 0.5).errors["a"]["calibration"]
    assert told["neurons_measured"] == 1024


def test_the_report_tells_weights_thresholds_and_spikes() -> None:
    rng = np.random.default_rng(0)
    network = one(rng.standard_t(3, size=(10, 60)), membrane_gain=0.9, threshold=2.0)
    spikes = rng.random((4, 30, 60)) < 0.1
    quantised = quantise(network, PARAMS, 3, calibrate=spikes)
    told, population = quantised.errors["a"], quantised.populations["a"]
    fired = quant_reference(quantised, spikes, PARAMS).spikes["a"]
    real = reference(network, spikes).spikes["a"]
    assert told["calibration"] | {"samples": 4, "steps": 30, "spikes": real.sum(), "quantised_spikes": fired.sum(),
                                  "differing": np.count_nonzero(fired != real), "of": real.size} == told["calibration"]
    assert told["calibration"]["differing"] > 0
    assert told["clipped_weights"] > 0
    assert told["threshold_weight_steps"] == pytest.approx((2 * population.scale).min() / 2 ** population.shift)
    assert 0 < told["weight_error_rms"] < told["weight_error_max"] < 1
    lines = quantisation_lines([{"name": "a", **told}, {"name": "b", "status": "exact"}])
    assert len(lines) == 3
    assert str(told["calibration"]["differing"]) in lines[1]
    assert quantisation_lines([{"name": "b", "status": "exact"}]) == []


@pytest.mark.parametrize(("spikes", "message"), [
    (np.zeros((0, 5, 3)), "at least one sample"), (np.zeros((2, 5, 4)), "has shape"), (np.full((2, 5, 3), 2), "0 and 1"),
])
def test_calibration_data_that_do_not_fit_are_refused(spikes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        quantise(one(np.ones((2, 3))), PARAMS, calibrate=spikes)


def test_calibration_takes_populations_without_synapses() -> None:
    clock = Population(name="clock", shape=(2,), bias=0.3)
    network = Network(inputs={"in": (2,)}, populations=(clock, Population(name="a", shape=(2,))), outputs=("a",),
                      projections=(Projection.dense("s", "clock", "a", np.eye(2) * 0.7),))
    told = quantise(network, PARAMS, 4, calibrate=np.zeros((1, 20, 2), bool)).errors
    assert told["clock"]["calibration"]["potential_error"] == 0
    assert told["clock"]["calibration"]["spikes"] > 0
