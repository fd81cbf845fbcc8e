"""Single components of the gateware in Amaranth's simulator, with random waits on every port, against references in plain Python.

Here axons; other units in the files beside this one.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeloom.hdl.axons import AxonUnit, BankExpander, DelaySlots
from spikeloom.hdl.layouts import spikes_layout, struct
from spikeloom.hdl.queue import Queue
from spikeloom.memories import memory_specs
from spikeloom.params import ArrayParams
from tests.units import Process, Taker, feed, packed, send, settle, simulate, watch

PARAMS = ArrayParams(lanes=8, banks=2, words=32, block=8, delays=4, delay_depth=4, destinations=16)
PAUSES = [(0.0, 0.0), (0.0, 0.7), (0.7, 0.0), (0.5, 0.5)]


# Axons.

def spikes(mask: int, block: int, delay: int = 0, tick: int = 0) -> dict[str, int]:
    """A packet, made in this tick; ``delay`` is left out where there is none."""
    return {"mask": mask, "block": block} | ({"delay": delay, "made": tick % 2} if delay else {})


def way(unit: AxonUnit, packet: dict[str, int]) -> Any:
    """The stream of the axon unit that takes a packet."""
    return unit.i_later if "delay" in packet else unit.i


def bank_lists(packets: list[dict[str, int]], params: ArrayParams) -> list[Counter[int]]:
    """Axon numbers within each bank that packets hit."""
    found = [Counter[int]() for _ in range(params.banks)]
    for packet in packets:
        for bit in range(params.block):
            if packet["mask"] >> bit & 1:
                axon = packet["block"] * params.block + bit
                found[axon % params.banks][axon // params.banks] += 1
    return found


@pytest.mark.parametrize(("banks", "pauses"), [(1, (0.0, 0.0)), (2, (0.0, 0.0)), (1, (0.6, 0.7)), (4, (0.0, 0.6))])
def test_axons_come_in_their_tick_and_in_their_bank(banks: int, pauses: tuple[float, float]) -> None:
    """Packets of many ticks, delayed by up to ``delays`` − 1 of them; a slot's depth is not exceeded."""
    params = ArrayParams(lanes=8, banks=banks, words=32, block=8, delays=4, delay_depth=128)
    rng = random.Random(f"{banks}/{pauses}")
    unit = AxonUnit(params)
    takers = [Taker(getattr(unit, f"o_{bank}"), rng, pauses[1]) for bank in range(banks)]
    met = Counter[str]()
    due: dict[int, list[dict[str, int]]] = {}

    async def ticks(ctx: Any) -> None:
        for tick in range(8):
            for _ in range([0, 90, 1, 0, 90, 2, 0, 0][tick]):
                packet = spikes(rng.randrange(256) | rng.randrange(256), rng.randrange(params.axon_blocks), rng.choice([0] * 8 + [1, 2, 3]),
                                tick)
                due.setdefault(tick + packet.get("delay", 0), []).append(packet)
                met["delayed"] += "delay" in packet
                stream = way(unit, packet)
                ctx.set(stream.payload, packet)
                ctx.set(stream.valid, 1)
                ready = False
                while not ready:
                    _, _, ready, overflow = await ctx.tick().sample(stream.ready, unit.overflow)
                    met["refused"] += not ready
                    assert not overflow
                ctx.set(stream.valid, 0)
                while rng.random() < pauses[0]:
                    await ctx.tick()
            await settle(ctx, unit.idle.all())
            await ctx.tick()  # in which the last axons may leave, where nothing stops them
            while pauses[1] and any(ctx.get(taker.stream.valid) for taker in takers):
                await ctx.tick()
            ctx.set(unit.tick, 1)
            await ctx.tick()
            ctx.set(unit.tick, 0)
            expected = bank_lists(due.get(tick, []), params)
            for bank, taker in enumerate(takers):
                assert Counter(taker.payloads) == expected[bank], f"tick {tick}, bank {bank}"
                taker.found.clear()
            met["empty"] += not due.get(tick)

    simulate(unit, ticks, background=[taker.run for taker in takers])
    assert met["delayed"] > 20
    assert met["empty"] > 0
    assert met["refused"] > 0, "the banks' queues were never full"


def test_clearing_forgets_delayed_packets() -> None:
    unit = AxonUnit(PARAMS)
    takers = [Taker(getattr(unit, f"o_{bank}"), random.Random(1)) for bank in range(2)]

    async def run(ctx: Any) -> None:
        for delay in (1, 2, 3):
            await send(ctx, unit.i_later, spikes(0xFF, 1, delay))
        await settle(ctx, unit.idle.all())
        ctx.set(unit.clear, 1)
        await ctx.tick()
        ctx.set(unit.clear, 0)
        for _ in range(5):
            ctx.set(unit.tick, 1)
            await ctx.tick()
            ctx.set(unit.tick, 0)
            await ctx.tick().repeat(20)

    simulate(unit, run, background=[taker.run for taker in takers])
    assert not any(taker.found for taker in takers)


@pytest.mark.parametrize("depth", [3, 4])
def test_a_slot_holds_its_depth_and_says_when_it_loses_a_packet(depth: int) -> None:
    params = ArrayParams(lanes=8, banks=2, words=32, block=8, delays=4, delay_depth=depth)
    slots = DelaySlots(params)
    taker = Taker(slots.o, random.Random(2), 0.5)
    overflows = 0

    async def run(ctx: Any) -> None:
        nonlocal overflows
        for i in range(depth + 3):
            ctx.set(slots.i.payload, spikes(i + 1, 0, 2))
            ctx.set(slots.i.valid, i < depth + 2)
            _, _, overflow, busy = await ctx.tick().sample(slots.overflow, slots.busy)
            assert overflow == (i > depth), "a cycle after the packet"
            assert bool(busy) == (depth <= i < depth + 2), "until it says so"
            overflows += overflow
        for _ in range(2):
            await settle(ctx, ~slots.busy.any())
            assert not taker.found
            ctx.set(slots.tick, 1)
            await ctx.tick()
            ctx.set(slots.tick, 0)
        await settle(ctx, ~slots.busy.any())

    simulate(slots, run, background=[taker.run])
    assert overflows == 2
    left = [payload & 0xFF for payload in taker.payloads]
    assert len(left) == depth
    assert set(left) <= set(range(1, depth + 3)), "of those that are too many each takes the place of another"


def heeds(expander: BankExpander, cycles: int = 0) -> Process:
    """Let it take packets where it had room, so many cycles ago."""
    async def run(ctx: Any) -> None:
        rooms = [1] * cycles
        while True:
            rooms.append(ctx.get(expander.room))
            ctx.set(expander.ready, rooms.pop(0))
            await ctx.tick()
    return run


def test_an_expander_gives_an_axon_a_cycle_without_a_gap() -> None:
    rng = random.Random(3)
    expander = BankExpander(PARAMS)
    width = expander.width
    sent = [{"mask": rng.randrange(1, 1 << width), "block": rng.randrange(8)} for _ in range(100)]
    taker = Taker(expander.o, rng)

    async def run(ctx: Any) -> None:
        await feed(expander.i, sent, rng)(ctx)
        await settle(ctx, expander.idle)

    simulate(expander, run, background=[heeds(expander, 2), taker.run])
    expected = [word["block"] * width + bit for word in sent for bit in range(width) if word["mask"] >> bit & 1]
    assert taker.payloads == expected
    first, last = taker.found[0][0], taker.found[-1][0]
    assert last - first == len(expected) - 1


@pytest.mark.parametrize(("banks", "pause"), [(1, 0.0), (2, 0.0), (8, 0.0), (1, 0.5), (8, 0.5)])
def test_an_expander_is_idle_when_two_axons_are_left_and_nothing_comes(banks: int, pause: float) -> None:
    """In every cycle: so that with a taker that does not pause, in the cycle after the next none is left."""
    params = replace(PARAMS, banks=banks)
    rng = random.Random(f"{banks}/{pause}")
    expander = BankExpander(params)
    met = Counter[tuple[bool, int]]()

    async def run(ctx: Any) -> None:
        left: list[int] = []
        mask = None
        for cycle in range(3000):
            often = (0.03, 0.4, 1.0, 0.0, 0.0)[cycle // 100 % 5]
            if mask is None and rng.random() < often:
                mask, block = rng.choice([1, rng.randrange(1, 1 << expander.width)]), rng.randrange(params.axon_blocks)
                ctx.set(expander.i.payload, {"mask": mask, "block": block})
            ready = rng.random() >= pause
            ctx.set(expander.i.valid, mask is not None)
            ctx.set(expander.o.ready, ready)
            _, _, takes, valid, axon, idle = await ctx.tick().sample(
                expander.i.ready, expander.o.valid, expander.o.payload, expander.idle)
            assert valid == bool(left), f"cycle {cycle}"
            assert not left or axon == left[0], f"cycle {cycle}"
            assert idle == (not left or (ready and len(left) <= 2)), f"cycle {cycle}: {len(left)} left"
            met[bool(idle), min(len(left), 3)] += 1
            if ready:
                del left[:1]
            if mask is not None and takes:
                left += [block * expander.width + bit for bit in range(expander.width) if mask >> bit & 1]
                mask = None

    simulate(expander, run, background=[heeds(expander, 2)])
    few = expander.width == 1 and not pause  # each axon leaves before the next comes
    for case in ((True, 0), (True, 1), *([(False, 1)] if pause else []), *([] if few else [(True, 2), (False, 3)])):
        assert met[case] > 5, f"{case}: {met}"


@pytest.mark.parametrize(("masks", "first", "last"), [
    ([1] * 5, 5, 5),                         # each leaves in the cycle after it came: as soon as nothing comes
    ([3], 1, 2),                             # of two axons the first leaves in the cycle in which it says so
    ([1, 3], 2, 3),
    ([15], 3, 4),
    ([15] * 60, 239, 240),                   # more than the queue holds
    ([15] * 60 + [1], 240, 241),             # the last axon comes out of the queue
])
def test_the_axon_unit_is_idle_two_cycles_before_its_axons_are_gone(masks: list[int], first: int, last: int) -> None:
    """Cycles of the first ``idle`` and of the last axon, counted from the first packet; the other bank has nothing to do."""
    unit = AxonUnit(PARAMS)
    takers = [Taker(getattr(unit, f"o_{bank}"), random.Random(7)) for bank in range(2)]
    idle: list[int] = []

    async def run(ctx: Any) -> None:
        for mask in masks:
            await send(ctx, unit.i, spikes(sum((mask >> bit & 1) << 2 * bit for bit in range(4)), 1))
        await settle(ctx, unit.idle.all())
        await ctx.tick().repeat(5)

    simulate(unit, run, background=[*(taker.run for taker in takers), watch(unit.idle.all(), idle)])
    assert (idle[0], takers[0].found[-1][0]) == (first, last)
    assert idle == list(range(first, idle[-1] + 1)), "it is idle, and then it is not"
    assert len(takers[0].found) == sum(mask.bit_count() for mask in masks)
    assert not takers[1].found


@pytest.mark.parametrize("ahead", [False, True])
def test_packets_that_wait_for_their_tick_leave_in_it_and_say_two_cycles_ahead_that_they_end(ahead: bool) -> None:
    """Of the host and delayed ones: the first axon a cycle after ``tick``, ``idle`` one before the last, and never before."""
    unit = AxonUnit(PARAMS)
    taker = Taker(unit.o_0, random.Random(8))
    idle: list[int] = []
    begins = 0

    async def run(ctx: Any) -> None:
        nonlocal begins
        for _ in range(3):
            if ahead:
                await send(ctx, unit.i_ahead, spikes(0x55, 2))
            else:
                await send(ctx, unit.i_later, spikes(0x55, 2, 1))
        await ctx.tick().repeat(10)
        assert ctx.get(unit.idle.all())
        begins = 13
        ctx.set(unit.tick, 1)
        await ctx.tick()
        ctx.set(unit.tick, 0)
        await ctx.tick().repeat(30)

    simulate(unit, run, background=[taker.run, watch(unit.idle.all(), idle)])
    assert [cycle for cycle, _ in taker.found] == list(range(begins + 1, begins + 13))
    assert next(cycle for cycle in idle if cycle >= begins) == begins + 11


def test_payloads_pack_as_the_contract_says() -> None:
    """A layout made of a record has the record's places."""
    rng = np.random.default_rng(6)
    for spec in memory_specs(replace(PARAMS, folds=4)).values():
        values = {field.name: int(rng.integers(field.low, field.high + 1)) for field in spec.entry}
        assert packed(struct(spec.entry), values) == int(spec.entry.pack(**values))
    assert spikes_layout(PARAMS).size == PARAMS.block + PARAMS.block_bits + PARAMS.delay_bits


def test_a_simulation_that_does_not_end_is_a_failure() -> None:
    queue = Queue(1, 2)

    async def never(ctx: Any) -> None:
        await settle(ctx, queue.o.valid, 10_000)

    waiting: Process = never
    with pytest.raises(pytest.fail.Exception, match="1 of 1 processes were not done after 100 cycles"):
        simulate(queue, waiting, limit=100)
