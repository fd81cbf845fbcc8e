"""Stimulus for components in Amaranth's simulator: streams with random waits on both sides, written once.

A stream is fed by :func:`feed` and emptied by :class:`Taker`; the taker also watches the rules of ``lib.stream``: a payload that waits
stays as it is, and is not withdrawn. Every simulation has a limit in cycles.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import pytest
from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

from spikeloom.hdl.layouts import Kind
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams

Process = Callable[[Any], Awaitable[None]]
PERIOD = 1e-6


def simulate(component: Elaboratable, *processes: Process, background: Iterable[Process] = (), limit: int = 20_000,
             clock: Any = None) -> None:
    """Run until every process has ended; ``background`` ones need not end. Fails after ``limit`` cycles.

    ``clock`` is the input that carries the clock of a component that makes its own domain.
    """
    simulator: Any = Simulator(component)  # its methods bear no types
    left = len(processes)
    if clock is None:
        simulator.add_clock(PERIOD)
    else:
        async def toggle(ctx: Any) -> None:
            while True:
                await ctx.delay(PERIOD / 2)
                ctx.set(clock, 1)
                await ctx.delay(PERIOD / 2)
                ctx.set(clock, 0)
        simulator.add_testbench(toggle, background=True)

    def counted(process: Process) -> Process:
        async def run(ctx: Any) -> None:
            nonlocal left
            await process(ctx)
            left -= 1
        return run

    for process in processes:
        simulator.add_testbench(counted(process))
    for process in background:
        simulator.add_testbench(process, background=True)
    simulator.run_until(limit * PERIOD)
    if left:
        pytest.fail(f"{left} of {len(processes)} processes were not done after {limit} cycles")


def bits(value: Any) -> int:
    """A payload as a number."""
    return int(value.as_bits()) if hasattr(value, "as_bits") else int(value)


def packed(layout: Any, value: Any) -> int:
    """A payload of this layout, given by its fields, as a number."""
    return int(layout.const(value).as_bits())


def arrival(params: ArrayParams, kind: Kind, delay: int = 0, ahead: int = 0) -> dict[str, int]:
    """What the sender of a flit to a core tells of it."""
    if kind is not Kind.SPIKES:
        return {"access": 1}
    flags = {"soon": int(ahead or delay < 2)} | ({"ahead": 1} if ahead else {})
    if params.delays > 1 and not ahead:
        flags |= {"following": int(delay == 1), "far": int(delay > 1)}
    return flags


def feed(stream: Any, payloads: Iterable[Any], rng: random.Random, pause: float = 0.0) -> Process:
    """Send payloads, with random pauses between them; a payload offered stays until it is taken."""
    async def run(ctx: Any) -> None:
        for payload in payloads:
            while rng.random() < pause:
                await ctx.tick()
            await send(ctx, stream, payload)
    return run


async def send(ctx: Any, stream: Any, payload: Any) -> None:
    """Send one payload."""
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    ready = False
    while not ready:
        _, _, ready = await ctx.tick().sample(stream.ready)
    ctx.set(stream.valid, 0)


class Taker:
    """Takes payloads, with random pauses; ``found`` holds (cycle, payload as a number), ``refused`` the cycles in which one waited.

    ``meaning``: of a payload, what must stay while it waits, and is kept in ``found``; with ``held`` false, nothing must.
    """

    def __init__(self, stream: Any, rng: random.Random, pause: float = 0.0, meaning: Callable[[Any], int] = bits, *,
                 held: bool = True) -> None:
        self.stream, self.rng, self.pause, self.meaning, self.held = stream, rng, pause, meaning, held
        self.found: list[tuple[int, int]] = []
        self.refused = 0

    @property
    def payloads(self) -> list[int]:
        """What came, in order."""
        return [payload for _, payload in self.found]

    async def run(self, ctx: Any) -> None:
        """A background process."""
        cycle, waiting = 0, None
        while True:
            ready = self.rng.random() >= self.pause
            ctx.set(self.stream.ready, ready)
            _, _, valid, value = await ctx.tick().sample(self.stream.valid, self.stream.payload)
            if self.held and waiting is not None:
                assert valid, "a payload was withdrawn before it was taken"
                assert self.meaning(value) == waiting, "a payload changed before it was taken"
            waiting = self.meaning(value) if valid and not ready else None
            if valid and ready:
                self.found.append((cycle, self.meaning(value)))
            self.refused += bool(valid and not ready)
            cycle += 1


def watch(signal: Any, found: list[int]) -> Process:
    """A background process that notes the cycles in which a signal is 1."""
    async def run(ctx: Any) -> None:
        cycle = 0
        while True:
            _, _, value = await ctx.tick().sample(signal)
            found.extend([cycle] * value)
            cycle += 1
    return run


async def settle(ctx: Any, signal: Any, cycles: int = 2000) -> None:
    """Wait for a signal to be 1 at a clock edge."""
    for _ in range(cycles):
        _, _, value = await ctx.tick().sample(signal)
        if value:
            return
    pytest.fail(f"{signal!r} did not come within {cycles} cycles")


async def write(ctx: Any, bus: Any, memory: Memory, address: int, data: int) -> None:
    """Write an entry over an access bus."""
    ctx.set(bus.chosen, 1 << memory)
    ctx.set(bus.address, address)
    ctx.set(bus.coming, address)
    ctx.set(bus.data, data)
    ctx.set(bus.write, 1)
    await ctx.tick()
    ctx.set(bus.write, 0)
    ctx.set(bus.chosen, 0)


async def read(ctx: Any, bus: Any, memory: Memory, address: int, cycles: int = 8) -> int:
    """Read an entry over an access bus."""
    ctx.set(bus.chosen, 1 << memory)
    ctx.set(bus.address, address)
    ctx.set(bus.coming, address)
    ctx.set(bus.read, 1)
    await ctx.tick()
    ctx.set(bus.read, 0)
    await ctx.tick().repeat(cycles)
    value = int(ctx.get(bus.value))
    ctx.set(bus.chosen, 0)
    return value
