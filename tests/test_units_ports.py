"""The outer ports in Amaranth's simulator: the register bank on AXI4-Lite, and a reset in the middle of a packet."""

from __future__ import annotations

import random
from typing import Any

import pytest

from spikeloom.hdl.axi import OKAY, SLVERR, RegisterBank
from spikeloom.hdl.top import Top
from spikeloom.memories import Memory
from spikeloom.packets import Command, Response
from spikeloom.params import ArrayParams, preset
from spikeloom.registers import ADDRESS, IDENTITY
from tests.arrays import packet, word
from tests.units import simulate


class Lite:
    """A manager on AXI4-Lite with random waits."""

    def __init__(self, bus: Any, rng: random.Random, pause: float) -> None:
        self.bus, self.rng, self.pause = bus, rng, pause

    async def wait(self, ctx: Any) -> None:
        while self.rng.random() < self.pause:
            await ctx.tick()

    async def offer(self, ctx: Any, valid: Any, ready: Any) -> None:
        ctx.set(valid, 1)
        taken = False
        while not taken:
            _, _, taken = await ctx.tick().sample(ready)
        ctx.set(valid, 0)

    async def answer(self, ctx: Any, valid: Any, ready: Any, *values: Any) -> list[int]:
        await self.wait(ctx)
        ctx.set(ready, 1)
        came = False
        while not came:
            _, _, came, *found = await ctx.tick().sample(valid, *values)
        ctx.set(ready, 0)
        return [int(value) for value in found]

    async def read(self, ctx: Any, address: int) -> tuple[int, int]:
        """Response and value."""
        ctx.set(self.bus.araddr, address)
        await self.wait(ctx)
        await self.offer(ctx, self.bus.arvalid, self.bus.arready)
        response, value = await self.answer(ctx, self.bus.rvalid, self.bus.rready, self.bus.rresp, self.bus.rdata)
        return response, value

    async def write(self, ctx: Any, address: int, value: int, strobe: int = 0xF) -> int:
        """Response; address and datum in a random order."""
        ctx.set(self.bus.awaddr, address)
        ctx.set(self.bus.wdata, value)
        ctx.set(self.bus.wstrb, strobe)
        channels = [(self.bus.awvalid, self.bus.awready), (self.bus.wvalid, self.bus.wready)]
        self.rng.shuffle(channels)
        for valid, ready in channels:
            await self.wait(ctx)
            await self.offer(ctx, valid, ready)
        (response,) = await self.answer(ctx, self.bus.bvalid, self.bus.bready, self.bus.bresp)
        return response


@pytest.mark.parametrize("pause", [0.0, 0.6])
def test_registers_refuse_what_is_not_a_whole_word_for_control(pause: float) -> None:
    bank = RegisterBank(preset("tiny"))
    lite = Lite(bank.bus, random.Random(7), pause)
    resets: list[tuple[int, int]] = []

    async def watch(ctx: Any) -> None:
        while True:
            _, _, reset, forget = await ctx.tick().sample(bank.reset, bank.forget)
            if reset or forget:
                resets.append((reset, forget))

    async def run(ctx: Any) -> None:
        assert await lite.read(ctx, ADDRESS["IDENTITY"]) == (OKAY, IDENTITY)
        assert await lite.read(ctx, ADDRESS["CONTROL"]) == (OKAY, 0)
        for address in (0xFC, 4 * len(ADDRESS), 1, 2):
            assert await lite.read(ctx, address) == (SLVERR, 0)
            assert await lite.write(ctx, address, 3) == SLVERR
        for strobe in range(15):
            assert await lite.write(ctx, ADDRESS["CONTROL"], 3, strobe) == SLVERR
        for name, address in ADDRESS.items():
            if name != "CONTROL":
                assert await lite.write(ctx, address, 3) == SLVERR
        assert resets == []
        for value, seen in ((1, (1, 1)), (2, (0, 1)), (3, (1, 1))):
            assert await lite.write(ctx, ADDRESS["CONTROL"], value) == OKAY
            assert resets == [seen]
            resets.clear()
        assert await lite.write(ctx, ADDRESS["CONTROL"], 0xFFFFFFFC) == OKAY
        assert resets == []

    simulate(bank, run, background=[watch])


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_a_reset_in_the_middle_of_a_packet_recovers(cut: int) -> None:
    """A host that dies within a packet resets the array and begins anew; memories keep what was written."""
    params = ArrayParams(lanes=4, banks=1, words=8, block=8, classes=2, destinations=2)
    top = Top(params)
    lite = Lite(type("Ports", (), {name[6:]: getattr(top, name) for name in top.signature.members if name.startswith("s_axi_")}),
                random.Random(3), 0.0)
    found: list[tuple[int, int]] = []

    async def sink(ctx: Any) -> None:
        ctx.set(top.m_axis_tready, 1)
        while True:
            _, _, valid, data, last = await ctx.tick().sample(top.m_axis_tvalid, top.m_axis_tdata, top.m_axis_tlast)
            if valid:
                found.append((data, last))

    async def offer(ctx: Any, words: list[int], last: bool) -> None:
        for i, value in enumerate(words):
            ctx.set(top.s_axis_tdata, value)
            ctx.set(top.s_axis_tlast, int(last and i == len(words) - 1))
            ctx.set(top.s_axis_tvalid, 1)
            ready = False
            while not ready:
                _, _, ready = await ctx.tick().sample(top.s_axis_tready)
        ctx.set(top.s_axis_tvalid, 0)

    writes = [int(value) for value in [*packet(word(Command.WRITE, memory=int(Memory.BIAS), count=4)).tolist(), 5, 6, 7, 8]]
    more = packet(word(Command.TICK, count=3), word(Command.SPIKES, mask=3), word(Command.WRITE, memory=int(Memory.BIAS), count=4))
    dying = [*more.tolist(), 99]
    reads = packet(word(Command.READ, memory=int(Memory.BIAS), count=4), word(Command.TICK, count=2), word(Command.ECHO, payload=77))

    async def run(ctx: Any) -> None:
        ctx.set(top.aresetn, 1)
        await offer(ctx, writes, True)
        await offer(ctx, dying[:cut], False)
        await ctx.tick().repeat(20)
        assert await lite.write(ctx, ADDRESS["CONTROL"], 1) == OKAY
        await ctx.tick().repeat(5)
        found.clear()
        await offer(ctx, reads.tolist(), True)
        while not found or not found[-1][1]:
            await ctx.tick()

    simulate(top, run, background=[sink], clock=top.aclk)
    kinds = [Response(data >> 60) for data, _ in found]
    assert kinds == [Response.DATA] * 4 + [Response.ECHO, Response.STATUS]
    wanted = [99, 6, 7, 8] if cut == len(dying) else [5, 6, 7, 8]
    assert [data & 0xFFFFFFFFF for data, _ in found[:4]] == wanted
    assert found[-1][0] >> 0 & 0xFFFF == 0, "a fault is left"
