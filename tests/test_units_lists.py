"""Lists of axons in Amaranth's simulator, with random waits, against references in plain Python."""

from __future__ import annotations

import random
from typing import Any

import pytest

from spikeloom.hdl.axons import ListWalker
from spikeloom.hdl.layouts import struct
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams
from tests.units import Taker, feed, packed, settle, simulate

PAUSES = [(0.0, 0.0), (0.0, 0.7), (0.7, 0.0), (0.5, 0.5)]
LISTS = ArrayParams(lanes=8, banks=2, words=32, block=8, folds=4, axons=16, entries=64)


@pytest.mark.parametrize("pauses", PAUSES)
def test_a_walker_follows_lists_in_order(pauses: tuple[float, float]) -> None:
    rng = random.Random(f"{pauses}")
    specs = memory_specs(LISTS)
    axon_layout, entry_layout = (struct(specs[memory].entry) for memory in (Memory.AXONS, Memory.ENTRIES))
    counts = [0, 1, 2, 1, 0, 3, 5, 1, 0, 0, 7, 4, 1, 2, 3, 1]
    axons = [{"start": rng.randrange(64 - count), "base": rng.randrange(4), "count": count} for count in counts]
    entries = [{"word": rng.randrange(32), "fold": rng.randrange(4)} for _ in range(64)]
    order = [rng.randrange(16) for _ in range(50)]
    walker = ListWalker(LISTS, axon_layout, entry_layout)
    taker = Taker(walker.o, rng, pauses[1])
    expected = [packed(entry_layout, {"word": entries[i]["word"], "fold": (entries[i]["fold"] + axons[axon]["base"]) % 4})
                for axon in order for i in range(axons[axon]["start"], axons[axon]["start"] + axons[axon]["count"])]

    async def tables(ctx: Any) -> None:
        """Synchronous memories."""
        while True:
            _, _, axon, entry = await ctx.tick().sample(walker.axon_address, walker.entry_address)
            ctx.set(walker.axon, axons[axon])
            ctx.set(walker.entry, entries[entry])

    async def run(ctx: Any) -> None:
        await feed(walker.i, order, rng, pauses[0])(ctx)
        await settle(ctx, walker.idle)

    simulate(walker, run, background=[taker.run, tables])
    assert taker.payloads == expected


def test_a_walker_gives_an_entry_a_cycle_between_axons_that_wait() -> None:
    specs = memory_specs(LISTS)
    walker = ListWalker(LISTS, struct(specs[Memory.AXONS].entry), struct(specs[Memory.ENTRIES].entry))
    taker = Taker(walker.o, random.Random(4))

    async def tables(ctx: Any) -> None:
        while True:
            _, _, axon, entry = await ctx.tick().sample(walker.axon_address, walker.entry_address)
            ctx.set(walker.axon, {"start": axon, "base": 0, "count": 1 + axon % 3})
            ctx.set(walker.entry, {"word": entry % 32, "fold": 0})

    async def run(ctx: Any) -> None:
        await feed(walker.i, [i % 16 for i in range(64)], random.Random(5))(ctx)
        await settle(ctx, walker.idle)

    simulate(walker, run, background=[taker.run, tables])
    assert len(taker.found) == sum(1 + i % 16 % 3 for i in range(64))
    assert taker.found[-1][0] - taker.found[0][0] == len(taker.found) - 1
