"""Queues of the gateware, in Amaranth's simulator."""

from __future__ import annotations

import gc
import random
import warnings
from collections import Counter
from typing import Any

import pytest
from amaranth.hdl import UnusedElaboratable

from spikeloom.hdl.ahead import AHEAD, Ahead
from spikeloom.hdl.queue import Queue, Register
from spikeloom.params import ArrayParams
from tests.units import Taker, feed, packed, send, settle, simulate, watch

PARAMS = ArrayParams(lanes=8, banks=2, words=32, block=8, delays=4, delay_depth=4, destinations=16)
PAUSES = [(0.0, 0.0), (0.0, 0.7), (0.7, 0.0), (0.5, 0.5)]


# Queue.

@pytest.mark.parametrize("depth", [2, 8])
@pytest.mark.parametrize("pauses", PAUSES)
def test_a_queue_keeps_order_and_fills(depth: int, pauses: tuple[float, float]) -> None:
    rng = random.Random(depth)
    sent = [rng.randrange(1 << 9) for _ in range(300)]
    queue = Queue(9, depth)
    taker = Taker(queue.o, rng, pauses[1])
    full = Counter[str]()

    async def count(ctx: Any) -> None:
        while True:
            _, _, ready, valid = await ctx.tick().sample(queue.i.ready, queue.o.valid)
            full["full"] += not ready
            full["empty"] += not valid

    async def done(ctx: Any) -> None:
        await feed(queue.i, sent, rng, pauses[0])(ctx)
        while len(taker.found) < len(sent):
            await ctx.tick()

    simulate(queue, done, background=[taker.run, count])
    assert taker.payloads == sent
    if pauses == (0.0, 0.7):
        assert full["full"] > 50, "the queue was never full"
    if pauses == (0.7, 0.0):
        assert full["empty"] > 50, "the queue was never empty"
    if pauses == (0.0, 0.0):  # a payload a cycle, each later by the latency
        assert [cycle for cycle, _ in taker.found] == list(range(Queue.LATENCY, len(sent) + Queue.LATENCY))


@pytest.mark.parametrize("depth", [4, 8])
def test_a_queue_says_that_one_is_inside(depth: int) -> None:
    """At every fill, whatever comes and leaves in the same cycle, where there is any."""
    rng = random.Random(depth)
    queue = Queue(4, depth)
    met = Counter[tuple[int, bool, bool]]()

    async def run(ctx: Any) -> None:
        inside = 0
        for cycle in range(4000):
            often = (0.2, 0.5, 0.8)[cycle // 100 % 3]
            valid, ready = rng.random() < often, rng.random() < 0.5
            ctx.set(queue.i.valid, valid)
            ctx.set(queue.o.ready, ready)
            _, _, last, comes, leaves = await ctx.tick().sample(queue.last, queue.i.ready, queue.o.valid)
            assert not inside or last == (inside == 1), f"cycle {cycle}: {inside} inside"
            come, gone = bool(valid and comes), bool(ready and leaves)
            met[inside, come, gone] += 1
            inside += come - gone

    simulate(queue, run)
    possible = {(inside, come, gone) for inside in range(depth + 1) for come in (False, True) for gone in (False, True)
                if not (come and inside == depth) and not (gone and inside == 0)}
    assert set(met) == possible


def test_a_queue_forgets_what_is_inside_and_what_comes() -> None:
    queue = Queue(4, 4)

    async def run(ctx: Any) -> None:
        for inside in range(4):
            for i in range(inside):
                await send(ctx, queue.i, i)
            assert ctx.get(queue.o.valid) == (inside > 0)
            ctx.set(queue.clear, 1)
            await send(ctx, queue.i, 7)
            ctx.set(queue.clear, 0)
            await ctx.tick()
            assert (ctx.get(queue.o.valid), ctx.get(queue.i.ready)) == (0, 1)
            await send(ctx, queue.i, 9)
            assert (ctx.get(queue.o.valid), ctx.get(queue.o.payload), ctx.get(queue.last)) == (1, 9, 1)
            ctx.set(queue.o.ready, 1)
            await ctx.tick()
            ctx.set(queue.o.ready, 0)

    simulate(queue, run)


def test_a_queue_holds_exactly_its_depth() -> None:
    queue = Queue(4, 4)

    async def fill(ctx: Any) -> None:
        for i in range(4):
            assert ctx.get(queue.i.ready)
            await send(ctx, queue.i, i)
        assert not ctx.get(queue.i.ready)

    simulate(queue, fill)


@pytest.mark.parametrize("pause", [0.2, 0.5, 0.8])
def test_a_late_queue_says_a_cycle_ago_that_it_is_three_quarters_full_and_takes_what_comes(pause: float) -> None:
    rng = random.Random(pause)
    queue = Queue(8, 16, late=True)
    taker = Taker(queue.o, rng, pause)
    sent: list[int] = []
    met = Counter[int]()

    async def run(ctx: Any) -> None:
        inside, before, heeded = 0, 0, [1] * 2
        for cycle in range(4000):
            assert ctx.get(queue.i.ready) == (before < 12), f"cycle {cycle}: {before} were inside"
            met[inside] += 1
            before = inside
            heeded.append(ctx.get(queue.i.ready))
            valid = heeded.pop(0) and rng.random() < (0.3, 1.0)[cycle // 200 % 2]  # two cycles late
            ctx.set(queue.i.payload, cycle % 256)
            ctx.set(queue.i.valid, valid)
            _, _, gone = await ctx.tick().sample(queue.o.valid & queue.o.ready)
            inside += bool(valid) - gone
            if valid:
                sent.append(cycle % 256)
        ctx.set(queue.i.valid, 0)
        while ctx.get(queue.o.valid):
            await ctx.tick()

    simulate(queue, run, background=[taker.run])
    assert taker.payloads == sent
    assert pause < 0.5 or met[15] > 0, "it was never as full as it may be"


@pytest.mark.parametrize("depth", [0, 1, 3, 12])
def test_a_queue_of_an_odd_depth_is_refused(depth: int) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UnusedElaboratable)  # what Amaranth says of a component that was never finished
        with pytest.raises(ValueError, match=f"Queue depth must be a power of two of at least 2, not {depth}"):
            Queue(1, depth)
        with pytest.raises(ValueError, match="a power of two of at least 8, not 4"):
            Queue(1, 4, late=True)
        gc.collect()


# Register.

@pytest.mark.parametrize("pauses", PAUSES)
def test_a_register_keeps_order(pauses: tuple[float, float]) -> None:
    rng = random.Random(f"{pauses}")
    sent = [rng.randrange(1 << 9) for _ in range(300)]
    register = Register(9)
    taker = Taker(register.o, rng, pauses[1])

    async def run(ctx: Any) -> None:
        await feed(register.i, sent, rng, pauses[0])(ctx)
        while len(taker.found) < len(sent):
            await ctx.tick()
        await ctx.tick().repeat(5)

    simulate(register, run, background=[taker.run])
    assert taker.payloads == sent
    assert not pauses[1] or taker.refused > 50
    if pauses == (0.0, 0.0):  # a payload a cycle, each later by the latency
        assert [cycle for cycle, _ in taker.found] == list(range(Register.LATENCY, len(sent) + Register.LATENCY))


# Packets of the next tick.

@pytest.mark.parametrize("pauses", PAUSES)
def test_packets_sent_ahead_leave_in_their_tick_and_not_before(pauses: tuple[float, float]) -> None:
    """Up to as many as the host port may send come for the next tick while those of this one still leave."""
    rng = random.Random(9)
    ahead = Ahead(PARAMS)
    taker = Taker(ahead.o, rng, pauses[1])
    sent: list[int] = []
    counts = [AHEAD, 0, AHEAD, AHEAD, *(rng.randrange(AHEAD + 1) for _ in range(20))]
    full: list[int] = []

    async def run(ctx: Any) -> None:
        due = 0
        for count in counts:
            words = [{"mask": rng.randrange(1, 1 << PARAMS.block), "block": rng.randrange(4)} for _ in range(count)]
            await feed(ahead.i, words, rng, pauses[0])(ctx)
            sent.extend(packed(ahead.layout, word) for word in words)
            assert len(taker.found) <= due
            await settle(ctx, ahead.idle)
            await ctx.tick()
            assert taker.payloads == sent[:due], "a packet left before its tick, or was lost"
            ctx.set(ahead.tick, 1)
            await ctx.tick()
            ctx.set(ahead.tick, 0)
            due = len(sent)
        await settle(ctx, ahead.idle)
        await ctx.tick()

    simulate(ahead, run, background=[taker.run, watch(~ahead.i.ready, full)])
    assert taker.payloads == sent
    assert len(sent) > 3 * AHEAD
    assert not full, "no room, which nobody in front of it asks for"
