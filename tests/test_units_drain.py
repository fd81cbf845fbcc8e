"""The drain in Amaranth's simulator, with random waits, against a reference in plain Python."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from typing import Any

import pytest

from spikeloom.hdl.drain import Drain, promised
from spikeloom.hdl.lanes import Lanes
from spikeloom.hdl.synapses import adder_levels
from spikeloom.memories import Control, Memory, controls
from spikeloom.params import ArrayParams
from tests.units import read, settle, simulate, watch, write

PARAMS = ArrayParams(lanes=8, banks=2, words=8, block=8, delays=4, delay_depth=4, destinations=32, state_bits=16, classes=4,
                     accumulator_bits=10, weight_bits=3)


@pytest.mark.parametrize(("slices", "groups"), [(1, 4), (2, 2), (4, 1), (3, 1), (1, 0)])
def test_slices_are_joined_in_order(slices: int, groups: int) -> None:
    check_drain(PARAMS, slices, groups, 1)


@pytest.mark.parametrize(("slices", "groups", "currents"), [(1, 4, 0), (2, 2, 1), (1, 2, 2), (1, 1, 2), (2, 1, 2)])
def test_the_rows_of_two_currents_are_joined_each_for_itself(slices: int, groups: int, currents: int) -> None:
    check_drain(replace(PARAMS, currents=2), slices, groups, currents)


def check_drain(params: ArrayParams, slices: int, groups: int, currents: int) -> None:
    """A fold of random rows, three times, with pauses."""
    rng = random.Random(slices)
    drain = Drain(params)
    ports = [drain.sums] if params.currents == 1 else [drain.sums, drain.second_sums]
    rows = [[rng.randrange(-512, 512) for _ in range(2)] for _ in range(PARAMS.lane_rows)]
    found: list[tuple[int, list[int]]] = []

    async def lanes(ctx: Any) -> None:
        """The drain register: shows the pair of rows that was asked for."""
        asked = [0] * Lanes.ROW_LATENCY
        while True:
            _, _, index, valid, number, *sums = await ctx.tick().sample(
                drain.index[0], drain.valid, drain.number, *(port[column] for port in ports for column in range(2)))
            asked.append(index)
            for row, column in itertools.product(range(2), range(2)):
                ctx.set(drain.rows[row][column], rows[2 * asked[-Lanes.ROW_LATENCY] + row][column])
            if valid:
                found.append((number, sums))

    async def enable(ctx: Any) -> None:
        while True:
            ctx.set(drain.enable, rng.random() < 0.5)
            await ctx.tick()

    async def run(ctx: Any) -> None:
        values = {Control.SLICES: slices, Control.GROUPS: groups, Control.FOLDS: 1, Control.CURRENTS: currents}
        for control in controls(params):
            value = values[control]
            await write(ctx, drain.bus, Memory.CONTROL, control, value)
            assert await read(ctx, drain.bus, Memory.CONTROL, control, 1) == value
        for _ in range(3):
            found.clear()
            ctx.set(drain.start, 1)
            await ctx.tick()
            ctx.set(drain.start, 0)
            await ctx.tick().repeat(rng.randrange(1, 5))
            ctx.set(drain.loaded, 1)
            await ctx.tick()
            ctx.set(drain.loaded, 0)
            await settle(ctx, drain.idle)
            await ctx.tick().repeat(2)
            there = max(1, currents)
            wanted = [[sum(rows[(g * there + c) * slices + i][column] << 3 * (slices - 1 - i) for i in range(slices)) if c < there
                       else 0 for c in range(len(ports)) for column in range(2)] for g in range(groups)]
            assert found == list(enumerate(wanted))

    simulate(drain, run, background=[lanes, enable])


@pytest.mark.parametrize(("slices", "cycles"), [(1, 1), (2, 1), (3, 3), (4, 4)])
def test_a_row_of_one_or_two_slices_takes_a_cycle(slices: int, cycles: int) -> None:
    params = replace(PARAMS, lanes=24, weight_bits=4)
    drain = Drain(params)
    at: list[int] = []

    async def run(ctx: Any) -> None:
        for control, value in ((Control.SLICES, slices), (Control.GROUPS, 3), (Control.FOLDS, 1)):
            await write(ctx, drain.bus, Memory.CONTROL, control, value)
        ctx.set(drain.enable, 1)
        await ctx.tick()
        ctx.set(drain.start, 1)
        await ctx.tick()
        ctx.set(drain.start, 0)
        ctx.set(drain.loaded, 1)
        await ctx.tick()
        await settle(ctx, drain.idle)
        await ctx.tick()

    simulate(drain, run, background=[watch(drain.valid, at)])
    assert [at[1] - at[0], at[2] - at[1]] == [cycles, cycles]


@pytest.mark.parametrize("groups", [3, 8, 9, 16])
def test_a_tick_may_end_while_its_last_rows_are_asked_for(groups: int) -> None:
    """Ticks as soon as the drain is ``free``, whose lanes swap as much later as in a core: each row is that of its own tick."""
    params = replace(PARAMS, lanes=32, weight_bits=4)
    latency = adder_levels(params) + 1
    rng = random.Random(groups)
    drain = Drain(params)
    shown = 0  # the tick whose sums the drain register holds
    found: list[tuple[int, int]] = []
    begun: list[bool] = []  # in each cycle, whether the next one ends a tick

    async def lanes(ctx: Any) -> None:
        nonlocal shown
        asked = [(0, 0)] * Lanes.ROW_LATENCY
        room = 0  # cycles in which there is room in any case
        while True:
            _, _, index, swap, valid, number, total = await ctx.tick().sample(
                drain.index[0], drain.loaded, drain.valid, drain.number, drain.sums[0])
            asked.append((index, shown))
            shown += swap
            pair, tick = asked[-Lanes.ROW_LATENCY]
            for row in range(2):
                ctx.set(drain.rows[row][0], 20 * tick + 2 * pair + row)
            if valid:
                found.append((number, total))
            ample = rng.random() < 0.3
            room = promised(params) + 1 if ample else max(0, room - 1)
            ctx.set(drain.ample, ample)
            ctx.set(drain.enable, room > 0 or rng.random() < 0.6)

    async def run(ctx: Any) -> None:
        for control, value in ((Control.SLICES, 1), (Control.GROUPS, groups), (Control.FOLDS, 1)):
            await write(ctx, drain.bus, Memory.CONTROL, control, value)
        await ctx.tick().repeat(2)
        pulses = [False] * (latency + 2)  # decided now, a cycle ago, …
        while shown < 13:
            *_, free = await ctx.tick().sample(drain.free)
            begun.append(pulses[0])
            pulses = [bool(free) and not pulses[0] and sum(begun) < 13, *pulses[:-1]]
            ctx.set(drain.start, pulses[1])
            ctx.set(drain.loaded, pulses[latency + 1])
        await settle(ctx, drain.idle)
        await ctx.tick().repeat(2)

    simulate(drain, run, background=[lanes])
    assert found == [(row, 20 * tick + row) for tick in range(1, 14) for row in range(groups)]
    shortest = min(after - before for before, after in itertools.pairwise(cycle for cycle, pulse in enumerate(begun) if pulse))
    assert shortest == groups if groups > promised(params) + 1 else shortest > groups
