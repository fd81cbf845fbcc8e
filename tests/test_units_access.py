"""The access unit in Amaranth's simulator: entries read while the way out pauses, and how long they take.

That the owners of the memories show theirs as the bus demands is tested on whole arrays, in ``test_hostport.py``.
"""

from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise
from typing import Any

import pytest

from spikeloom.hdl.access import SYNAPSE_CYCLES, AccessUnit
from spikeloom.hdl.layouts import Kind, address_layout, flit_layout
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams
from tests.units import Process, Taker, packed, send, settle, simulate

PARAMS = ArrayParams(lanes=10, neurons_per_cycle=2, banks=2, words=12, block=8, classes=3, destinations=6)
SPECS = memory_specs(PARAMS)
UNKNOWN = sorted(set(range(16)) - set(map(int, SPECS)))


def stored(memory: int, address: int) -> int:
    """What the memories of these tests hold; 0 where nothing is."""
    there = memory in SPECS and bool(SPECS[Memory(memory)].valid(address))
    return (1 + memory << 20 | address) * 0x9E3779B1 & 0xFFFFFFFFF if there else 0


def owner(unit: AccessUnit) -> Process:
    """Shows what is stored a cycle later, and synapses as late as can be; what the unit may not look at is wrong."""
    async def run(ctx: Any) -> None:
        since, bus = SYNAPSE_CYCLES, unit.bus
        while True:
            _, _, chosen, address, read = await ctx.tick().sample(bus.chosen, bus.address, bus.read)
            memory = chosen.bit_length() - 1
            since = 1 if read else since + 1
            late = memory == Memory.SYNAPSES and since < SYNAPSE_CYCLES
            ctx.set(bus.value, stored(memory, address) if stored(memory, address) and not late else 0xBADBADBAD)
    return run


def access(unit: AccessUnit, flits: list[tuple[Kind, int]], rng: random.Random, pause: float = 0.0) -> Process:
    """Send (kind, payload), with random pauses; then wait until the unit is idle."""
    async def run(ctx: Any) -> None:
        for kind, payload in flits:
            while rng.random() < pause:
                await ctx.tick()
            await send(ctx, unit.i, {"payload": payload, "kind": kind})
        await settle(ctx, unit.idle, 5000)
    return run


def reading(memory: int, address: int, count: int) -> list[tuple[Kind, int]]:
    """The two flits of a READ."""
    return [(Kind.ADDRESS, packed(address_layout(), {"memory": memory, "address": address})), (Kind.READ, count)]


def count_faults(unit: AccessUnit, found: list[int]) -> Process:
    """Adds 1 to ``found`` for each cycle with a fault."""
    async def run(ctx: Any) -> None:
        while True:
            _, _, fault = await ctx.tick().sample(unit.fault)
            found[0] += fault
    return run


@pytest.mark.parametrize("pause", [0.0, 0.3, 0.8])
def test_entries_read_do_not_depend_on_pauses(pause: float) -> None:
    """Bursts that begin anywhere, also beyond the end: every entry comes once and in order, and what does not exist is 0 and a fault."""
    rng = random.Random(f"{pause}")
    unit, met = AccessUnit(PARAMS), Counter[str]()
    taker, faults = Taker(unit.o, rng, pause), [0]
    flits: list[tuple[Kind, int]] = []
    expected: list[int] = []
    for _ in range(120):
        memory = rng.choice(UNKNOWN if rng.random() < 0.1 else [Memory.SYNAPSES, *SPECS])
        span = SPECS[Memory(memory)].span if memory in SPECS else 8
        first, count = rng.randrange(span + 3), rng.choice((0, 1, 1, 2, 3, 4, 9, 20))
        flits += reading(memory, first, count)
        found = [stored(memory, address) for address in range(first, first + count)]
        expected += found
        met["none" if not count else "one" if count == 1 else "burst"] += 1
        met["partly there"] += 0 < found.count(0) < count
        met["unknown"] += memory not in SPECS
        met["synapses"] += memory == Memory.SYNAPSES and count > 1

    simulate(unit, access(unit, flits, rng, pause / 4), background=[taker.run, owner(unit), count_faults(unit, faults)],
             limit=10_000)
    layout = flit_layout(PARAMS)
    answers: list[Any] = [layout.from_bits(payload) for payload in taker.payloads]
    assert [flit.payload for flit in answers] == expected
    assert all(flit.target.host and flit.kind == Kind.DATA for flit in answers)
    assert faults == [expected.count(0)]
    for situation in ("none", "one", "burst", "partly there", "unknown", "synapses"):
        assert met[situation] > 3, f"{situation}: {met}"
    assert not pause or taker.refused > 100


@pytest.mark.parametrize("memory", [*SPECS, UNKNOWN[0]])
def test_an_entry_a_cycle_is_read(memory: int) -> None:
    """Whether it exists or not; only synapses, which are read through the adders, take longer."""
    unit = AccessUnit(PARAMS)
    taker, taken = Taker(unit.o, random.Random(1)), list[int]()

    async def watch(ctx: Any) -> None:
        cycle = 0
        while True:
            _, _, valid, ready = await ctx.tick().sample(unit.i.valid, unit.i.ready)
            taken.extend([cycle] * (valid and ready))
            cycle += 1

    simulate(unit, access(unit, reading(memory, 0, 20), random.Random(1)), background=[taker.run, owner(unit), watch], limit=1000)
    cycles = [cycle for cycle, _ in taker.found]
    assert len(cycles) == 20
    slow = memory == Memory.SYNAPSES
    assert {after - before for before, after in pairwise(cycles)} == {SYNAPSE_CYCLES + 1 if slow else 1}
    assert cycles[0] - taken[-1] == AccessUnit.LATENCY + slow * SYNAPSE_CYCLES


def test_a_pause_of_the_way_out_costs_only_itself() -> None:
    """Once the first entry is there, one is taken in every cycle in which the way out takes any."""
    unit, rng = AccessUnit(PARAMS), random.Random(4)
    taker, without = Taker(unit.o, rng, 0.5), list[int]()

    async def watch(ctx: Any) -> None:
        while True:
            _, _, valid, ready = await ctx.tick().sample(unit.o.valid, unit.o.ready)
            if ready and not valid and 0 < len(taker.found) < 300:
                without.append(len(taker.found))

    simulate(unit, access(unit, reading(Memory.MEMBRANE, 0, 300), rng), background=[taker.run, owner(unit), watch], limit=1000)
    assert len(taker.found) == 300
    assert not without
    assert taker.refused > 100
