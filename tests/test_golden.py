"""The golden model says what DESIGN §2 says: held against numbers worked out here, and against a scalar model of its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import MachineError
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.golden_run import rtz, saturate
from tests.golden import BOTTOM, ONE, PARAMS, TOP, TWO, pulse, run
from tests.images import CoreSpec, Neuron, Send, lone, make, words_of

# Rounding.

@given(st.integers(-(1 << 31), (1 << 31) - 1), st.integers(0, 1 << 13))
def test_products_are_rounded_toward_zero_and_alike_for_both_signs(state: int, gain: int) -> None:
    exact = abs(state) * gain // 4096
    rounded = int(rtz(np.array(state), np.array(gain), 12))
    assert rounded == (exact if state >= 0 else -exact)
    assert int(rtz(np.array(-state), np.array(gain), 12)) == -rounded


def test_the_mean_rounding_error_is_zero_over_states_of_either_sign() -> None:
    rng = np.random.default_rng(1)
    count = 1_000_000
    state, gain = rng.integers(-(1 << 23), 1 << 23, count), rng.integers(0, 4097, count)
    error = rtz(state, gain, 12) - state * gain / 4096
    assert np.abs(error).max() < 1
    # An error lies in (−1, 1), so its deviation is below 1 and the mean's below 1 / √count: five of these pass once in 10^6 by chance.
    assert abs(error.mean()) < 5 / np.sqrt(count)
    # The bound would find a rounding downwards, whose mean is −1/2.
    assert abs(((state * gain) >> 12).mean() - (state * gain / 4096).mean()) > 0.4


@pytest.mark.parametrize("gain", [0, 1, 2048, 3891, 4095])
def test_every_decay_below_one_reaches_zero(gain: int) -> None:
    state = np.array([TOP, BOTTOM, 1, -1, 12345, (1 << 31) - 1, -(1 << 31)])
    for _ in range(4096 * 32):
        state = rtz(state, np.array(gain), 12)
        if not state.any():
            return
    pytest.fail(f"Gain {gain}/4096 leaves {state}")


def test_saturation_is_twos_complement() -> None:
    np.testing.assert_array_equal(saturate(np.array([40000, 32768, 32767, -32768, -32769]), 16),
                                  [32767, 32767, 32767, -32768, -32768])


# The neuron, by numbers.

def test_leak_bias_and_both_resets() -> None:
    subtracts = Neuron(beta=ONE // 2, theta=10, reset=7, subtract=1, bias=4)
    sets = replace(subtracts, subtract=0, reset=-3)
    spikes, states = run(lone(PARAMS, [[7, 7]], [subtracts, sets]), np.ones((4, 1)))
    # v: 11 → spike; 4 | −3; then 2 + 11 | −1 + 11; …
    np.testing.assert_array_equal(states, [[4, -3], [6, -3], [7, -3], [7, -3]])
    np.testing.assert_array_equal(spikes, np.ones((4, 2)))


def test_the_potential_saturates_at_both_ends_and_nowhere_else() -> None:
    up = Neuron(beta=2 * ONE, theta=TOP, reset=0, bias=TOP, spiking=0)
    down = Neuron(beta=2 * ONE, bias=BOTTOM, spiking=0)
    _, states = run(lone(PARAMS, [[1, -1]], [up, down]), np.ones((4, 1)))
    np.testing.assert_array_equal(states[[0, -1]], [[TOP, BOTTOM], [TOP, BOTTOM]])
    # One below the ends is left as it is, and a sum that passes the end and comes back within one tick is exact.
    near = Neuron(beta=ONE, bias=TOP - 1, spiking=0), Neuron(beta=ONE, bias=BOTTOM + 1, spiking=0)
    _, states = run(lone(PARAMS, [[7, -7], [-7, 7]], near), np.ones((1, 2)))
    np.testing.assert_array_equal(states, [[TOP - 1, BOTTOM + 1]])


def test_the_reset_saturates_too() -> None:
    neuron = Neuron(beta=ONE, theta=BOTTOM, reset=TOP, subtract=1, bias=-2)
    _, states = run(lone(PARAMS, [[0]], [neuron]), np.zeros((2, 1)))
    np.testing.assert_array_equal(states[:, 0], [BOTTOM, BOTTOM])


def test_refractory_neurons_integrate_or_hold() -> None:
    integrates = Neuron(beta=ONE, theta=5, reset=0, refractory=2)
    holds = replace(integrates, hold=1)
    spikes, states = run(lone(PARAMS, [[5, 5]], [integrates, holds]), np.ones((7, 1)))
    np.testing.assert_array_equal(spikes[:, 0], [1, 0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(spikes[:, 1], [1, 0, 0, 1, 0, 0, 1])
    np.testing.assert_array_equal(states[:, 0], [0, 5, 10, 0, 5, 10, 0])
    np.testing.assert_array_equal(states[:, 1], [0] * 7)


def test_readouts_never_spike() -> None:
    readout = Neuron(beta=ONE, theta=BOTTOM, reset=0, spiking=0)
    spikes, states = run(lone(PARAMS, [[3]], [readout]), np.ones((5, 1)))
    assert not spikes.any()
    np.testing.assert_array_equal(states[:, 0], [3, 6, 9, 12, 15])


def test_synaptic_currents_decay_and_are_scaled() -> None:
    neuron = Neuron(alpha=ONE // 2, beta=0, shift=4, spiking=0)
    _, states = run(lone(PARAMS, [[5, -5]], [neuron, neuron]), pulse(9))
    np.testing.assert_array_equal(states[:, 0], [80, 40, 20, 10, 5, 2, 1, 0, 0])
    np.testing.assert_array_equal(states[:, 1], -states[:, 0])


def test_two_currents_decay_each_with_its_gain_and_add_up() -> None:
    neuron = Neuron(alpha=ONE // 2, second=ONE // 4, shift=2, bias=1, spiking=0)
    _, states = run(lone(TWO, [[5, -5]], [neuron, neuron], second=[[-6, 6]]), pulse(5))
    np.testing.assert_array_equal(states[:, 0], [20 - 24 + 1, 10 - 6 + 1, 5 - 1 + 1, 2 - 0 + 1, 1 + 1])
    np.testing.assert_array_equal(states[:, 1], 2 - states[:, 0])


def test_the_currents_add_up_before_the_potential_saturates() -> None:
    neuron = Neuron(shift=12, bias=-7, spiking=0)
    _, states = run(lone(TWO, [[7], [-8]], [neuron], second=[[7], [7]]), np.eye(2))
    np.testing.assert_array_equal(states[:, 0], [TOP, -(1 << 12) - 7])


@pytest.mark.parametrize("slices", [1, 2])
def test_cores_of_one_and_two_currents_share_an_array(slices: int) -> None:
    params = replace(TWO, columns=2)
    rng = np.random.default_rng(slices)
    first, second, alone = (rng.integers(-100 if slices > 1 else -8, 100 if slices > 1 else 8, (3, 4)) for _ in range(3))
    neurons = [Neuron(alpha=ONE // 2, second=ONE, spiking=0)] * 4
    cores = {(0, 0): CoreSpec(neurons, words_of(params, first, slices, second), slices, currents=2),
             (1, 0): CoreSpec(neurons, words_of(params, alone, slices), slices)}
    image = make(params, cores, [(i, 0, 0, 1, 0, 0, i) for i in range(3)], 3)
    machine = GoldenMachine()
    machine.load(image)
    result = machine.run(pulse(1, inputs=3), potentials="steps", record=["core_0_0", "core_1_0"])
    np.testing.assert_array_equal(result.states["core_0_0"][0], (first + second).sum(axis=0))
    np.testing.assert_array_equal(result.states["core_1_0"][0], alone.sum(axis=0))
    state = machine.probe("core_0_0")
    np.testing.assert_array_equal(state["current"], first.sum(axis=0))
    np.testing.assert_array_equal(state["second_current"], second.sum(axis=0))
    assert not machine.probe("core_1_0")["second_current"].any()
    assert machine.counters()["SOPS"] == sum(np.count_nonzero(weights) for weights in (first, second, alone))


def test_neurons_out_of_phase_rest_and_miss_what_arrives() -> None:
    """What arrives in a tick that a neuron leaves out is gone: the compiler sends only where a neuron listens."""
    even = Neuron(beta=ONE, bias=1, spiking=0, phases=0b01)
    odd = replace(even, phases=0b10)
    image = lone(PARAMS, [[4, 4]], [even, odd], period=2)
    _, states = run(image, np.ones((3, 1)))  # steps are ticks 0, 2, 4; input comes in these
    np.testing.assert_array_equal(states, [[5, 0], [10, 1], [15, 2]])


def test_neurons_rest_before_their_start() -> None:
    late, early = Neuron(beta=ONE, bias=1, spiking=0, start=3), Neuron(beta=ONE, bias=1, spiking=0)
    image = lone(PARAMS, [[4, 4]], [late, early])
    machine = GoldenMachine()
    machine.load(image)
    states = machine.run(np.ones((2, 5, 1), bool), potentials="steps", record=["core_0_0"]).states["core_0_0"]
    np.testing.assert_array_equal(states, [[[0, 5], [0, 10], [0, 15], [5, 20], [10, 25]]] * 2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.data())
def test_a_gain_of_two_multiplies_activations_in_radix_exactly(bits: int, data: st.DataObject) -> None:
    count, per_row = 5, PARAMS.neurons_per_cycle
    weights = np.array(data.draw(st.lists(st.integers(-8, 7), min_size=count * per_row, max_size=count * per_row)))
    matrix = weights.reshape(count, per_row)
    x = np.array(data.draw(st.lists(st.integers(0, (1 << bits) - 1), min_size=count, max_size=count)))
    planes = (x >> np.arange(bits)[::-1, None]) & 1  # most significant first
    _, states = run(lone(PARAMS, matrix, [Neuron(beta=2 * ONE, spiking=0)] * per_row), planes)
    np.testing.assert_array_equal(states[-1], x @ matrix)


# A model of one neuron with feedback to itself, written from DESIGN §2 with Python's integers only.

def toward_zero(numerator: int, fraction: int) -> int:
    """``numerator / 2**fraction`` toward zero."""
    return numerator // (1 << fraction) if numerator >= 0 else -(-numerator // (1 << fraction))


def scalar(neuron: Neuron, weight: int, back: int, delay: int, spikes: list[int], bits: int, two: bool
           ) -> tuple[list[int], list[int], bool]:
    """Spikes, potentials, and whether a current ever left its width; what comes back drives the second of two currents."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    first = second = v = wait = 0
    fired: list[int] = []
    states: list[int] = []
    for tick, arrives in enumerate(spikes):
        fed = back * fired[tick - delay] if tick >= delay else 0
        first = toward_zero(first * neuron.alpha, 12) + (weight * arrives + (0 if two else fed)) * 2 ** neuron.shift
        second = toward_zero(second * neuron.second, 12) + (fed if two else 0) * 2 ** neuron.shift
        if not (low <= first <= high and low <= second <= high):
            return fired, states, True
        moved = min(high, max(low, toward_zero(v * neuron.beta, 12) + first + second + neuron.bias))
        if wait == 0 and neuron.spiking and moved >= neuron.theta:
            v = min(high, max(low, moved - neuron.reset)) if neuron.subtract else neuron.reset
            wait = neuron.refractory
            fired.append(1)
        else:
            v = v if wait and neuron.hold else moved
            wait = max(0, wait - 1)
            fired.append(0)
        states.append(v)
    return fired, states, False


NEURONS = st.builds(
    Neuron, alpha=st.integers(0, 4096), second=st.integers(0, 4096), beta=st.integers(0, 8192),
    shift=st.integers(0, 11), theta=st.integers(-300, TOP),
    bias=st.integers(-2000, 2000) | st.sampled_from([BOTTOM, TOP]), reset=st.integers(BOTTOM, TOP) | st.integers(-50, 50),
    subtract=st.integers(0, 1), refractory=st.integers(0, 5), hold=st.integers(0, 1), spiking=st.sampled_from([1, 1, 1, 0]))


@settings(max_examples=300, deadline=None)
@given(NEURONS, st.integers(-8, 7), st.integers(-8, 7), st.integers(1, 8), st.lists(st.integers(0, 1), min_size=1, max_size=25),
       st.booleans())
def test_the_model_agrees_with_a_scalar_one(neuron: Neuron, weight: int, back: int, delay: int, spikes: list[int], two: bool) -> None:
    image = lone(TWO, [[weight], [0], [0]], [neuron], sends=[Send(0, 2, delay)], second=[[0], [0], [back]]) if two else \
        lone(PARAMS, [[weight], [0], [back]], [neuron], sends=[Send(0, 2, delay)])
    image = replace(image, inputs=(replace(image.inputs[0], routes=image.inputs[0].routes[:1], shape=(1,)),))
    fired, states, overflows = scalar(neuron, weight, back, delay, spikes, 16, two)
    column = np.array(spikes)[:, None]
    if overflows:
        with pytest.raises(MachineError, match="a synaptic current overflows"):
            run(image, column)
    else:
        found = run(image, column)
        np.testing.assert_array_equal(found[0][:, 0], fired)
        np.testing.assert_array_equal(found[1][:, 0], states)
