"""What results do not depend on: pauses, the shape of the mesh, placement, and how a batch is split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.host.compiler.compile import compile
from spikeloom.host.driver import Driver
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.machine import Machine, Result
from spikeloom.params import ArrayParams
from spikeloom.sim.compiled import CompiledTransport, open_compiled
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import first_difference
from tests.arrays import SQUARE, everything, sound_case

SHAPES = {"2 × 2": SQUARE, "4 × 1": replace(SQUARE, columns=4, rows=1), "1 × 4": replace(SQUARE, columns=1, rows=4)}
#: The same networks in other places: lanes, banks, neurons a cycle, words, folds, block.
PLACES = {
    "one wide core": ArrayParams(lanes=64, banks=4, words=32, block=16, destinations=64),
    "eight banks": replace(SQUARE, banks=8),
    "four neurons a cycle": replace(SQUARE, neurons_per_cycle=4, lanes=16),
    "one neuron a cycle": replace(SQUARE, neurons_per_cycle=1),
    "wide cells": replace(SQUARE, weight_bits=8, accumulator_bits=16),
    "narrow cells": replace(SQUARE, weight_bits=3, lanes=16),
    "folded": ArrayParams(lanes=8, folds=8, banks=2, words=64, axons=64, entries=128, block=8, destinations=64),
    "long delays": replace(SQUARE, delays=16, delay_depth=64),
}


def network(seed: int) -> Network:
    """Two recurrent integer layers that spike on their own input and each other's, with delays 1 and 2, and a readout."""
    rng = np.random.default_rng(seed)

    def population(name: str, size: int, **options: Any) -> Population:
        rules: dict[str, Any] = {"threshold": rng.integers(20, 80, size), "refractory": rng.integers(0, 3, size),
                                 "reset": str(rng.choice(["subtract", "value"])), "hold": bool(rng.integers(2)),
                                 "reset_value": rng.integers(0, 20, size)}
        return Population(name=name, shape=(size,), integer=True, membrane_gain=rng.choice([0.5, 0.875, 1.0]),
                          current_gain=rng.choice([0.0, 0.5]), **(rules | options))

    def dense(name: str, source: str, target: str, shape: tuple[int, int], delay: int = 0) -> Projection:
        weights = rng.integers(-60, 100, shape) * (rng.random(shape) < 0.7)
        return Projection.dense(name, source, target, weights, delay)

    return Network(
        inputs={"in": (6,)}, populations=(population("a", 5), population("b", 4), population("out", 2, spiking=False)),
        outputs=("b", "out"),
        projections=(dense("p", "in", "a", (5, 6)), dense("q", "a", "b", (4, 5)), dense("r", "a", "a", (5, 5), 1),
                     dense("s", "b", "a", (5, 4), 2), dense("t", "b", "out", (2, 4))))


def spikes_for(seed: int, samples: int = 3, steps: int = 25) -> npt.NDArray[np.bool_]:
    return np.random.default_rng([seed, 1]).random((samples, steps, 6)) < 0.35


def outcome(machine: Machine, params: ArrayParams, seed: int) -> Result:
    image = compile(network(seed), params=params)
    machine.load(image)
    return machine.run(spikes_for(seed), potentials="steps", record=["a", "b", "out"])


def assert_same(first: Result, second: Result) -> None:
    """Equal in the network's terms, whatever the images."""
    for name in ("a", "b"):
        np.testing.assert_array_equal(first.spikes[name], second.spikes[name], err_msg=name)
    for name in ("a", "b", "out"):
        np.testing.assert_array_equal(first.potentials[name], second.potentials[name], err_msg=name)


@pytest.fixture(scope="module", params=SHAPES)
def shaped(request: pytest.FixtureRequest) -> Iterator[Driver]:
    """Compiled RTL of one shape, with pauses."""
    with open_compiled(SHAPES[request.param], pauses=0.3, seed=11, random_start=True, limit=100_000) as machine:
        yield machine


def test_spikes_do_not_depend_on_the_mesh(shaped: Driver) -> None:
    fired = 0
    for seed in range(6):
        found = outcome(shaped, shaped.params, seed)
        assert_same(found, outcome(GoldenMachine(), SQUARE, seed))
        fired += int(found.counts["b"].sum())
    assert fired > 100


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from(sorted(PLACES)))
def test_spikes_do_not_depend_on_placement(seed: int, place: str) -> None:
    assert_same(outcome(GoldenMachine(), SQUARE, seed), outcome(GoldenMachine(), PLACES[place], seed))


def test_every_placement_carries_the_network() -> None:
    """So that hypothesis's choices above mean what they say."""
    used = {name: len(compile(network(0), params=params).memories) for name, params in (SHAPES | PLACES).items()}
    assert used["one wide core"] == used["folded"] == 1
    assert used["2 × 2"] > 1
    reports = [outcome(GoldenMachine(), params, 1) for params in PLACES.values()]
    assert all(report.counts["b"].sum() > 10 for report in reports)


def test_results_do_not_depend_on_pauses() -> None:
    case = sound_case(SQUARE, 51, spikes=5)
    results: list[Result] = []
    clocks = []
    for pauses, seed in ((0.0, 1), (0.3, 2), (0.3, 3), ((0.9, 0.0), 4), ((0.0, 0.9), 5), (0.8, 6)):
        transport = CompiledTransport(SQUARE, pauses=pauses, seed=seed, random_start=True, limit=100_000)
        with Driver(transport) as machine:
            machine.load(case.image)
            results.append(machine.run(case.inputs, **everything(case.image)))
            clocks.append(transport.clock)
    for result in results[1:]:
        assert first_difference(results[0], result) is None
        for counter in ("TICKS", "READS", "EVENTS", "SPIKES"):
            assert result.stats[counter] == results[0].stats[counter]
    assert len(set(clocks)) > len(clocks) // 2, "the pauses changed nothing"
    assert min(clocks) == clocks[0]


def test_results_do_not_depend_on_how_a_batch_is_split() -> None:
    case = sound_case(SQUARE, 61, spikes=5)
    samples = np.concatenate([next(iter(case.inputs.values()))] * 4)
    inputs = {name: np.random.default_rng(i).random((len(samples), 11, array.shape[2])) < 0.3
              for i, (name, array) in enumerate(case.inputs.items())}
    golden = GoldenMachine()
    with open_compiled(SQUARE) as rtl, Driver(CompiledTransport(SQUARE), limit=40) as cut:
        whole: list[Result] = []
        for machine in (golden, rtl, cut):
            machine.load(case.image)
            whole.append(machine.run(inputs, **everything(case.image)))
        assert first_difference(whole[0], whole[1]) is None
        assert first_difference(whole[0], whole[2]) is None
        for machine in (golden, rtl):
            parts = [machine.run({name: array[low:low + 2] for name, array in inputs.items()}, **everything(case.image))
                     for low in range(0, len(samples), 2)]
            for name, array in whole[0].spikes.items():
                np.testing.assert_array_equal(np.concatenate([part.spikes[name] for part in parts]), array)
            for name, states in whole[0].states.items():
                np.testing.assert_array_equal(np.concatenate([part.states[name] for part in parts]), states)
        assert sum(int(array.sum()) for array in whole[0].spikes.values()) > 5
        assert whole[1].cycles is not None
        once = rtl.run({name: array[:1] for name, array in inputs.items()}, **everything(case.image))
        assert once.cycles is not None
        assert once.cycles[0] == whole[1].cycles[0]
