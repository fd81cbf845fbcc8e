"""Synapses, axons, routes and refusals of the golden model, against numbers worked out here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import MachineError
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams
from spikeloom.sim import golden, golden_array
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import count_differences
from tests.arrays import SQUARE, everything, sound_case
from tests.golden import ONE, PARAMS, TOP, TWO, pulse, run
from tests.images import CoreSpec, Neuron, Send, lone, make, words_of

# Synapses and axons.

@pytest.mark.parametrize("slices", [1, 2, 3, 4])
def test_sliced_weights_are_exact_over_their_whole_range(slices: int) -> None:
    params = replace(PARAMS, state_bits=24, lanes=32)
    high = sum(7 << 4 * i for i in range(slices))
    low = sum(-8 << 4 * i for i in range(slices))
    rng = np.random.default_rng(slices)
    weights = np.concatenate([[[high, low], [low, high]], rng.integers(low, high + 1, (9, 2))])
    _, states = run(lone(params, weights, [Neuron(spiking=0)] * 2, slices), np.eye(11))
    np.testing.assert_array_equal(states, weights)


def test_words_and_lists_are_shared() -> None:
    params = replace(PARAMS, folds=4, axons=64, entries=16)
    words = np.zeros((2, 64, 16), np.int64)
    words[0, 5, :2], words[1, 3, :2] = (1, -2), (3, 7)
    shared = [(5, 0), (5, 2)]
    lists = {0: (0, shared), 2: (1, shared), 4: (3, shared), 1: (0, [(3, 1), (3, 1), (3, 3)])}
    spec = CoreSpec([Neuron(spiking=0)] * 8, words, lists=lists, folds=4)
    image = make(params, {(0, 0): spec}, [(i, 0, 0, 0, 0, 0, axon) for i, axon in enumerate((0, 2, 4, 1, 6))], 5)
    _, states = run(image, np.eye(5))
    a, b, c = [1, -2], [3, 7], [0, 0]
    np.testing.assert_array_equal(states, [a + c + a + c, c + a + c + a, c + a + c + a, [*c, 6, 14, *c, *b], c * 4])


def test_an_axon_hit_twice_in_a_tick_counts_twice() -> None:
    spec = CoreSpec([Neuron(spiking=0)], words_of(PARAMS, [[3]]))
    image = make(PARAMS, {(0, 0): spec}, [(0, 0, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0)], 2)
    _, states = run(image, [[1, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(states[:, 0], [3, 6, 0])


@pytest.mark.parametrize("delay", range(1, PARAMS.delays + 1))
def test_spikes_arrive_after_their_delay(delay: int) -> None:
    spec = CoreSpec([Neuron(), Neuron(theta=TOP)], words_of(PARAMS, [[1, 0], [0, 0], [0, 0], [0, 0], [0, 6]]),
                    sends=[Send(0, 4, delay)])
    image = make(PARAMS, {(0, 0): spec}, [(0, 0, 0, 0, 0, 0, 0)], 1)
    _, states = run(image, pulse(12, 1))
    np.testing.assert_array_equal(np.flatnonzero(states[:, 1]), [1 + delay])
    assert states[1 + delay, 1] == 6


def test_a_rectangle_of_cores_is_reached_and_nothing_else() -> None:
    params = replace(PARAMS, columns=3, rows=3)
    quiet = CoreSpec([Neuron(theta=TOP)], words_of(params, [[0], [0], [1]]))
    cores = {(x, y): quiet for x in range(3) for y in range(3)}
    cores[0, 2] = CoreSpec([Neuron()], words_of(params, [[1], [0], [0]]), sends=[Send(0, 2, 1, (1, 2, 0, 1))])
    image = make(params, cores, [(0, 0, 0, 0, 2, 2, 0)], 1)
    machine = GoldenMachine()
    machine.load(image)
    result = machine.run(pulse(2), potentials="steps", record=[p.name for p in image.populations])
    hit = {name for name, states in result.states.items() if states[1, 0]}
    assert hit == {"core_1_0", "core_2_0", "core_1_1", "core_2_1"}


@settings(max_examples=40, deadline=None)
@given(st.integers(-8, 7), st.integers(-8, 7), st.integers(0, 4))
def test_a_potential_crosses_as_bit_planes_exactly(first: int, second: int, shift: int) -> None:
    """The weights of bit p are 2^p, and −2^p for the sign: so a negative sum arrives as it was."""
    planes, per_row = 8, PARAMS.neurons_per_cycle
    params = replace(PARAMS, weight_bits=4, state_bits=24, lanes=32)
    weights = np.zeros((2 + planes * per_row, 4), np.int64)
    weights[0, 0], weights[1, 1] = first, second
    for plane in range(planes):
        for column in range(per_row):
            weights[2 + plane * per_row + column, 2 + column] = (1 << plane) * (-1 if plane == planes - 1 else 1)
    neurons = [Neuron(spiking=0, shift=shift)] * 2 + [Neuron(spiking=0)] * 2
    image = lone(params, weights, neurons, 3, [Send(0, 2, 1, planes=planes), Send(1, 3, 1, planes=planes)])
    image = replace(image, inputs=(replace(image.inputs[0], routes=image.inputs[0].routes[:2], shape=(2,)),))
    _, states = run(image, pulse(2, inputs=2))
    np.testing.assert_array_equal(states[0, :2], [first << shift, second << shift])
    np.testing.assert_array_equal(states[1, 2:], states[0, :2])


# What the model refuses.

def test_overflows_are_errors_and_never_wrap() -> None:
    narrow = replace(PARAMS, accumulator_bits=6)
    image = lone(narrow, [[7]] * 5, [Neuron(spiking=0)])
    run(image, np.ones((1, 5)) * [1, 1, 1, 1, 0])
    with pytest.raises(MachineError, match=r"Core \(0, 0\), tick 0: an accumulator overflows"):
        run(image, np.ones((1, 5)))
    growing = lone(PARAMS, [[7]], [Neuron(alpha=ONE, shift=12, spiking=0)])
    with pytest.raises(MachineError, match="tick 1: a synaptic current overflows"):
        run(growing, np.ones((2, 1)))
    second = lone(TWO, [[0]], [Neuron(second=ONE, shift=12, spiking=0)], second=[[7]])
    with pytest.raises(MachineError, match="tick 1: a synaptic current overflows"):
        run(second, np.ones((2, 1)))


def test_cores_that_cannot_be_are_refused() -> None:
    few = replace(TWO, lanes=4)
    crowded = CoreSpec([Neuron()] * 4, words_of(few, [[1] * 4]), currents=2)
    with pytest.raises(MachineError, match=r"1 slices × 2 currents × 2 groups × 1 folds exceed the core's 2 lane rows × 1 folds"):
        GoldenMachine().load(make(few, {(0, 0): crowded}, [(0, 0, 0, 0, 0, 0, 0)], 1))
    far = lone(replace(PARAMS, words=12), [[1]], [Neuron()], sends=[Send(0, 24)])
    with pytest.raises(MachineError, match=r"Core \(0, 0\): a destination lies beyond the array's axons, outputs or cores"):
        GoldenMachine().load(far)
    lists = replace(PARAMS, folds=2, entries=8)
    endless = CoreSpec([Neuron()], np.zeros((2, 64, 16), np.int64), lists={3: (0, [(0, 0)] * 5)})
    image = make(lists, {(0, 0): endless}, [(0, 0, 0, 0, 0, 0, 0)], 1)
    image.memories[0, 0][Memory.AXONS] |= np.uint64(6)  # the list begins at entry 6
    with pytest.raises(MachineError, match=r"Core \(0, 0\), bank 1, axon 1: its list runs beyond 8 entries"):
        GoldenMachine().load(image)


def test_a_machine_without_an_image_says_so() -> None:
    machine = GoldenMachine()
    with pytest.raises(MachineError, match=r"No image is loaded: call load\(image\) before run\(\)"):
        machine.run(np.zeros((1, 1)))
    with pytest.raises(MachineError, match=r"before probe\(\)"):
        machine.probe("core_0_0")


def test_samples_begin_at_zero_and_do_not_touch_each_other() -> None:
    neuron = Neuron(alpha=ONE // 2, beta=ONE * 7 // 8, theta=9, subtract=1, reset=9, refractory=1)
    image = lone(PARAMS, [[5, 0], [0, 0], [3, -2]], [neuron, neuron], sends=[Send(0, 2, 3)])
    image = replace(image, inputs=(replace(image.inputs[0], routes=image.inputs[0].routes[:1], shape=(1,)),))
    spikes = np.random.default_rng(4).random((6, 30, 1)) < 0.5
    machine = GoldenMachine()
    machine.load(image)
    together = machine.run(spikes, potentials="steps", record=["core_0_0"])
    assert together.spikes["core_0_0"].any()
    for sample, expected in zip(spikes, together.states["core_0_0"], strict=True):
        np.testing.assert_array_equal(run(image, sample)[1], expected)
    assert machine.counters()["READS"] == together.stats["READS"] == \
        spikes.sum() + together.spikes["core_0_0"][:, :-3, 0].sum()


@pytest.mark.parametrize("params", [SQUARE, replace(SQUARE, folds=4, axons=32, currents=2)], ids=["direct", "lists"])
@pytest.mark.parametrize(("name", "value"), [("_PER_EVENT", 0.0), ("_PER_EVENT", 1e9), ("_EVENTS", 3)])
def test_sums_are_the_same_by_matrices_and_by_tables(params: ArrayParams, name: str, value: float,
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    case = sound_case(params, 11, spikes=3)
    machine = GoldenMachine()
    machine.load(case.image)
    expected = machine.run(case.inputs, **everything(case.image))
    monkeypatch.setattr(golden_array, name, value)
    if name == "_EVENTS":
        monkeypatch.setattr(golden_array, "_PER_EVENT", 1e9)
        monkeypatch.setattr(golden, "_STATES", 1)  # also one sample at a time
    found = machine.run(case.inputs, **everything(case.image))
    assert count_differences(expected, found) == (0, 0)
    assert found.stats == expected.stats
