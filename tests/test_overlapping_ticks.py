"""Ticks that overlap: results stay, cycles fall, and what must not overlap does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.compiler.balance import seating
from spikeloom.host.compiler.retime import Link, Schedule, retime
from spikeloom.host.driver import Driver
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycles import predict
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.image import Image
from spikeloom.packets import COMMANDS, Command
from spikeloom.params import ArrayParams
from spikeloom.sim.activity import activity
from spikeloom.sim.compiled import CompiledTransport, open_compiled
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.stimulus import random_case
from spikeloom.sim.verify import first_difference
from tests.arrays import everything
from tests.images import Neuron, lone

PARAMS = ArrayParams(columns=2, rows=2, lanes=24, banks=2, words=64, block=16, delays=4, delay_depth=32, destinations=64)


class Plain(CompiledTransport):
    """The array, from which ``overlap`` is kept."""

    def exchange(self, packet: Words) -> Words:
        words = packet.copy()
        ticks = (words >> np.uint64(60)) == Command.TICK
        fields = COMMANDS[Command.TICK].unpack(words[ticks]) | {"overlap": 0}
        words[ticks] = COMMANDS[Command.TICK].pack(**fields)
        return super().exchange(words)


class Forced(CompiledTransport):
    """The array, to which ``overlap`` is said whatever the image."""

    def exchange(self, packet: Words) -> Words:
        words = packet.copy()
        ticks = (words >> np.uint64(60)) == Command.TICK
        words[ticks] = COMMANDS[Command.TICK].pack(**COMMANDS[Command.TICK].unpack(words[ticks]) | {"overlap": 1})
        return super().exchange(words)


def chain(layers: int = 3, size: int = 16, seed: int = 1) -> sl.Network:
    """Layers of integer weights, with a bias in the second, so that it must not start before its first step."""
    rng = np.random.default_rng(seed)
    names = [f"layer{i}" for i in range(layers)]
    populations = {name: {"size": size, "threshold": 12, "membrane_gain": 0.5, "bias": 2 * (i == 1)} for i, name in enumerate(names)}
    return sl.from_arrays(inputs={"in": 30}, populations=populations, projections=[
        {"source": source, "target": target, "weights": rng.integers(-7, 8, (size, 30 if source == "in" else size))}
        for source, target in zip(["in", *names], names, strict=False)])


def compiled(network: sl.Network, **options: Any) -> Image:
    return sl.compile(network, params=PARAMS, objective="speed", **options)


@contextmanager
def opened(kind: type[CompiledTransport], **options: Any) -> Iterator[Driver]:
    with Driver(kind(PARAMS, limit=100_000, **options)) as driver:
        yield driver


def spikes(samples: int = 6, steps: int = 15, rate: float = 0.3) -> Any:
    return np.random.default_rng(5).random((samples, steps, 30)) < rate


def test_results_are_those_of_ticks_apart_in_fewer_cycles() -> None:
    image = compiled(chain())
    assert image.overlaps
    assert [population.depth for population in image.populations] == [0, 2, 4]
    golden = GoldenMachine()
    golden.load(image)
    expected = golden.run(spikes(), **everything(image))
    cycles = {}
    for kind in (CompiledTransport, Plain):
        with opened(kind) as machine:
            machine.load(image)
            assert first_difference(expected, machine.run(spikes(), **everything(image))) is None
            found = machine.run(spikes(), potentials="none")
            assert found.cycles is not None
            cycles[kind] = found.cycles.sum()
    print(f"{cycles[CompiledTransport]} cycles, apart {cycles[Plain]}")
    assert cycles[CompiledTransport] < 0.85 * cycles[Plain]
    predicted = predict(image, spikes(), Activity(*activity(image, spikes())), potentials="none").cycles.sum()
    assert abs(predicted / cycles[CompiledTransport] - 1) < 0.05


@pytest.mark.parametrize("pauses", [(0.0, 0.8), (0.8, 0.0), (0.5, 0.5)])
def test_results_do_not_depend_on_pauses_of_the_host(pauses: tuple[float, float]) -> None:
    """A host that does not take its words holds back packets over several ticks' ends."""
    image = compiled(chain(), record="all")
    golden = GoldenMachine()
    golden.load(image)
    expected = golden.run(spikes(), **everything(image))
    with opened(CompiledTransport, pauses=pauses, seed=3, random_start=True) as machine:
        machine.load(image)
        assert first_difference(expected, machine.run(spikes(), **everything(image))) is None


def test_random_images_whose_delays_allow_it_overlap() -> None:
    """At the level of bits: multicast, recurrence, several delays, bit planes; every machine the same."""
    overlapping = 0
    with opened(CompiledTransport, pauses=(0.2, 0.4), seed=8, random_start=True) as machine:
        for seed in range(40):
            case = random_case(PARAMS, np.random.default_rng([77, seed]))
            golden = GoldenMachine()
            golden.load(case.image)
            try:
                expected = golden.run(case.inputs, **everything(case.image))
            except MachineError:  # it would overflow
                continue
            machine.load(case.image)
            assert first_difference(expected, machine.run(case.inputs, **everything(case.image))) is None, f"seed {seed}"
            overlapping += case.image.overlaps and any(values.any() for values in expected.spikes.values())
    assert overlapping >= 4


def test_connections_of_one_tick_in_overlapping_ticks_raise_a_fault() -> None:
    image = sl.compile(chain(), params=PARAMS)
    assert not image.overlaps
    with opened(Forced) as machine:
        machine.load(image)
        with pytest.raises(MachineError, match="DELAY"):
            machine.run(spikes())
    with opened(CompiledTransport) as machine:
        machine.load(image)
        machine.run(spikes())


def test_networks_without_room_for_slack_keep_the_least_delays() -> None:
    links = [Link("a", "b", 0, 0), Link("b", "c", 0, 0), Link("a", "c", 0, 0)]
    assert retime("abc", links, PARAMS).depth == {"a": 0, "b": 1, "c": 2}
    assert retime("abc", links, PARAMS, slack=True).depth == {"a": 0, "b": 2, "c": 4}
    # a to c would take five ticks or more
    longer = [*links, Link("c", "d", 0, 0), Link("a", "d", 0, 0)]
    assert retime("abcd", longer, PARAMS, slack=True).depth == {"a": 0, "b": 1, "c": 2, "d": 3}
    loop = [Link("a", "b", 0, 0), Link("b", "a", 2, 2)]
    assert retime("ab", loop, PARAMS, slack=True) == Schedule(1, {"a": 0, "b": 1})
    assert retime("ab", [Link("a", "b", 0, 0), Link("b", "a", 4, 4)], PARAMS, slack=True).depth == {"a": 0, "b": 2}


# Seats and banks.

def test_what_spikes_together_is_spread_over_the_banks() -> None:
    """Even inputs spike in even steps, odd ones in odd steps: without a sample each kind would lie in a bank of its own."""
    network = chain()
    sample = np.zeros((1, 20, 30), bool)
    sample[:, ::2, ::2] = sample[:, 1::2, 1::2] = True
    quantised = quantise(network, PARAMS, 8)
    schedule = Schedule(1, {f"layer{i}": 2 * i for i in range(3)})
    bank = seating(quantised, schedule, PARAMS, {"in": sample}).bank["in"]
    assert abs(np.bincount(bank[::2], minlength=2) - 7.5).max() < 2
    assert abs(np.bincount(bank[1::2], minlength=2) - 7.5).max() < 2
    image, without = compiled(network, calibrate=sample), compiled(network)
    cycles = [predict(each, sample, Activity(*activity(each, sample))).cycles.sum() for each in (image, without)]
    assert cycles[0] < cycles[1]


def test_neurons_that_spike_together_sit_in_different_columns() -> None:
    network = chain(1)
    activities = np.zeros((1, 8, 16), bool)
    activities[:, ::2, :8] = activities[:, 1::2, 8:] = True
    order = seating(quantise(network, PARAMS, 8), Schedule(1, {"layer0": 0}), PARAMS, {"layer0": activities}).order["layer0"]
    assert sorted(order) == list(range(16))
    for column in range(2):
        assert np.count_nonzero(order[column::2] < 8) == 4


def test_neurons_of_two_words_sit_together() -> None:
    """A weight of 130 takes two words of two digits; the rows of others need no second destination."""
    rng = np.random.default_rng(2)
    weights = rng.integers(-50, 50, (16, 16))
    weights[0, [3, 9]] = 130
    network = sl.from_arrays(inputs={"in": 8}, populations={name: {"size": 16, "threshold": 200} for name in "ab"}, projections=[
        {"source": "in", "target": "a", "weights": rng.integers(-50, 90, (16, 8))},
        {"source": "a", "target": "b", "weights": weights}])
    params = replace(PARAMS, accumulator_bits=16)
    image = sl.compile(network, params=params, objective="speed")
    row = {int(neuron) >> 1 for neuron in np.array(image.population("a").column("neuron"))[[3, 9]] & ~1}
    assert len(row) == 1
    inputs = rng.random((3, 12, 8)) < 0.5
    golden = GoldenMachine()
    golden.load(image)
    real = sl.reference(network, inputs)
    np.testing.assert_array_equal(golden.run(inputs).spikes["b"], real.spikes["b"])


@pytest.mark.parametrize("banks", [1, 2, 4, 8])
def test_a_single_row_reads_the_state_that_it_wrote_in_the_tick_before(banks: int) -> None:
    """Nothing to integrate and one row: the shortest tick there is. The fewer the banks, the sooner the row comes again."""
    params = ArrayParams(lanes=2, banks=banks, words=8, block=8)
    image = lone(params, [[0, 0]], [Neuron(bias=3, beta=1 << 12, theta=1000, spiking=0), Neuron(bias=-2, beta=1 << 12, spiking=0)])
    assert image.overlaps
    silence = np.zeros((2, 40, 1), bool)
    golden = GoldenMachine()
    golden.load(image)
    with open_compiled(params) as machine:
        machine.load(image)
        found = machine.run(silence, record=["core_0_0"])
        assert first_difference(golden.run(silence, record=["core_0_0"]), found) is None
        assert found.cycles is not None
        assert found.cycles[1] < 40 * 18, "the ticks do not overlap"
    assert list(found.states["core_0_0"][0]) == [120, -80]
