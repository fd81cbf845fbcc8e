"""Retiming, seats and axons."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spikeloom.errors import CompileError
from spikeloom.host.compiler.compile import compile
from spikeloom.host.compiler.retime import Link, retime
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.params import ArrayParams
from tests.compile_cases import DIRECT, FOLDED, layers

PARAMS = ArrayParams(delays=4, phases=4)


def test_layers_lie_one_tick_behind_each_other() -> None:
    schedule = retime("abc", [Link("a", "b", 0, 0), Link("b", "c", 0, 0), Link("a", "c", 0, 0)], PARAMS)
    assert (schedule.ticks_per_step, schedule.depth) == (1, {"a": 0, "b": 1, "c": 2})
    assert schedule.physical(0, "a", "c") == 2
    assert schedule.physical(3, None, "c") == 5
    assert schedule.reason == ""


def test_a_delayed_loop_costs_nothing_when_its_delay_suffices() -> None:
    schedule = retime("ab", [Link("a", "b", 0, 0), Link("b", "a", 2, 2), Link("a", "a", 1, 1)], PARAMS)
    assert (schedule.ticks_per_step, schedule.depth) == (1, {"a": 0, "b": 1})
    assert schedule.physical(2, "b", "a") == 1


def test_a_short_loop_slows_the_network() -> None:
    schedule = retime("abc", [Link("a", "b", 0, 0), Link("b", "c", 0, 0), Link("c", "a", 1, 1)], PARAMS)
    assert schedule.ticks_per_step == 3
    assert all(loop in schedule.reason for loop in ("a", "b", "c", "loop"))


def test_a_source_waits_where_its_delay_would_be_too_long() -> None:
    chain = [Link(a, b, 0, 0) for a, b in ("ab", "bc", "cd", "de", "ef")]
    schedule = retime("abcdefs", [*chain, Link("s", "f", 0, 0)], PARAMS)
    assert schedule.depth["f"] - schedule.depth["s"] == 4


def test_impossible_schedules_are_refused() -> None:
    with pytest.raises(CompileError, match=r"'a' → 'b' takes 9 ticks .* at most 4"):
        retime("ab", [Link("a", "b", 0, 8)], PARAMS)
    ring = [Link(a, b, 0, 0) for a, b in ("ab", "bc", "cd", "de")]
    with pytest.raises(CompileError, match="more than 4 ticks in a step, for the loop"):
        retime("abcde", [*ring, Link("e", "a", 1, 1)], PARAMS)


@pytest.mark.parametrize("params", [DIRECT, FOLDED], ids=["direct", "folded"])
def test_no_two_neurons_share_a_seat(params: ArrayParams) -> None:
    image = compile(layers(3, 20, 13, 6), params=params)
    seats = [tuple(row[:3]) for p in image.populations for row in p.places.tolist()]
    assert len(set(seats)) == len(seats) == 39


def test_axons_are_shared_by_the_populations_of_a_core() -> None:
    populations = tuple(Population(name=name, shape=(2,), integer=True) for name in "ab")
    network = Network(inputs={"in": (6,)}, populations=populations, outputs=("a",), projections=tuple(
        Projection.dense(name, "in", name, np.ones((2, 6))) for name in "ab"))
    image = compile(network, params=DIRECT)
    assert image.report["array"]["cores"][0] == 1
    assert image.report["array"]["axons"][0] == 6
    assert len(image.inputs[0].routes) == 6


def test_neurons_with_other_inputs_spread_over_cores() -> None:
    """80 inputs, 5 neurons of 16 each: a core of 64 axons holds some of the neurons."""
    pre = np.arange(80)
    sparse = Projection(name="s", source="in", target="a", pre=pre, post=pre // 16, weight=np.ones(80), delay=np.array(0))
    network = Network(inputs={"in": (80,)}, populations=(Population(name="a", shape=(5,), integer=True),), outputs=("a",),
                      projections=(sparse,))
    image = compile(network, params=DIRECT)
    assert image.report["array"]["cores"][0] == 2
    assert not any(p["helper"] for p in image.report["populations"])


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(CompileError, match=r"needs 7 cores of 16 lanes .* has 6 .*'p0': 100 neurons in 7"):
        compile(layers(3, 100), params=DIRECT)
    with pytest.raises(CompileError, match=r"destinations, \d+ of them the host; there is room for 2\b"):
        compile(layers(3, 8, 8), params=dataclasses.replace(DIRECT, destinations=2, columns=1, rows=1))
    population = Population(name="a", shape=(2,), membrane_gain=[0.5, 0.75])
    network = Network(inputs={"in": (1,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("s", "in", "a", np.ones((2, 1))),))
    with pytest.raises(CompileError, match=r"neighbouring neurons have 2 different classes .* a core holds 1"):
        compile(network, params=dataclasses.replace(DIRECT, classes=1))


def test_neurons_of_different_classes_are_split_between_cores() -> None:
    population = Population(name="a", shape=(8,), membrane_gain=np.repeat([0.5, 0.6, 0.7, 0.8], 2))
    network = Network(inputs={"in": (1,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("s", "in", "a", np.ones((8, 1))),))
    image = compile(network, params=dataclasses.replace(DIRECT, classes=1))
    assert [core["classes"] for core in image.report["cores"]] == [1, 1, 1, 1]


def test_delayed_packets_must_fit_their_slots() -> None:
    populations = tuple(Population(name=f"p{i}", shape=(8,), integer=True) for i in range(3))
    edges = (("in", "p0"), ("p0", "p1"), ("p1", "p2"), ("p0", "p2"))
    network = Network(inputs={"in": (1,)}, populations=populations, outputs=("p2",), projections=tuple(
        Projection.dense(a + b, a, b, np.ones((8, 1 if a == "in" else 8))) for a, b in edges))
    with pytest.raises(CompileError, match="4 delayed packets may wait for one tick; its delay_depth is 3"):
        compile(network, params=dataclasses.replace(DIRECT, delay_depth=3))
    compile(network, params=dataclasses.replace(DIRECT, delay_depth=4))


def test_lists_and_words_that_run_out_are_named() -> None:
    rng = np.random.default_rng(1)
    network = Network(inputs={"in": (40,)}, populations=(Population(name="a", shape=(48,), integer=True),),
                      outputs=("a",), projections=(Projection.dense("s", "in", "a", rng.integers(-7, 8, (48, 40))),))
    small = dataclasses.replace(FOLDED, columns=1, rows=1)
    with pytest.raises(CompileError, match=r"different synapse words; it holds 32"):
        compile(network, params=dataclasses.replace(small, words=32))
    with pytest.raises(CompileError, match=r"list entries; it holds 32"):
        compile(network, params=dataclasses.replace(small, entries=32))
