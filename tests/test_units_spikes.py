"""Packets that the spike unit joins or keeps apart, in Amaranth's simulator, against a greedy joining in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import pytest

from spikeloom.hdl.layouts import flit_layout, spikes_layout
from spikeloom.hdl.spikes import SpikeUnit
from spikeloom.memories import Memory, destination_record
from spikeloom.params import ArrayParams
from tests.units import Taker, send, settle, simulate, write

PARAMS = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=32, block=8, delays=4, delay_depth=4, destinations=32, state_bits=16)
#: Neurons of a row, and rows.
WIDTH, ROWS = PARAMS.neurons_per_cycle, PARAMS.neuron_rows


@dataclass(frozen=True, kw_only=True)
class Packet:
    """One packet, before or after joining."""

    mask: int
    block: int = 0
    delay: int = 0
    x: int = 0
    host: int = 0
    due: int = 0

    @property
    def way(self) -> str:
        """Packets of a way stay in order, and may be joined, but for those that leave at once."""
        return "host" if self.host else "cores" if self.delay else "at once"


def joined(packets: list[Packet]) -> dict[str, list[Packet]]:
    """What leaves of each way, as long as more may come."""
    ways: dict[str, list[Packet]] = {"host": [], "cores": [], "at once": []}
    for packet in packets:
        way = ways[packet.way]
        if packet.way != "at once" and way and not way[-1].mask & packet.mask and replace(way[-1], mask=packet.mask) == packet:
            way[-1] = replace(packet, mask=packet.mask | way[-1].mask)
        else:
            way.append(packet)
    return ways


class Bench:
    """A spike unit, the lists of its rows, and what it sends."""

    def __init__(self, lists: list[list[dict[str, int]]], rng: random.Random, pause: float = 0.0) -> None:
        self.unit, self.lists, self.rng = SpikeUnit(PARAMS), lists, rng
        self.taker = Taker(self.unit.o, rng, pause, held=False)

    async def load(self, ctx: Any) -> None:
        """Write the lists, one behind the other."""
        record, address = destination_record(PARAMS), 0
        for entries in self.lists:
            for entry in entries:
                place = {"x0": entry["x"], "x1": entry["x"], "last": int(entry is entries[-1])}
                values = place | {name: entry[name] for name in ("mask", "offset", "block", "delay", "host")}
                await write(ctx, self.unit.bus, Memory.DESTINATIONS, address, int(record.pack(**values)))
                address += 1
        ctx.set(self.unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 0, "overlap": 0, "turn": 1})

    def row(self, row: int, spikes: int, due: int) -> tuple[dict[str, Any], list[Packet]]:
        """A row for the unit, and the packets that it is."""
        packets = [Packet(mask=(entry["mask"] & spikes) << WIDTH * entry["offset"], due=due,
                          **{name: entry[name] for name in ("block", "delay", "x", "host")})
                   for entry in self.lists[row] if entry["mask"] & spikes]
        start = sum(map(len, self.lists[:row]))
        return {"fanout": {"start": start, "valid": 1}, "due": due, "spikes": spikes, "open": 0, "membrane": [0] * WIDTH}, packets

    @property
    def found(self) -> list[Packet]:
        """What was sent."""
        flits, layout = flit_layout(PARAMS), spikes_layout(PARAMS)
        found = []
        for payload in self.taker.payloads:
            flit: Any = flits.from_bits(payload)
            inner: Any = layout.from_bits(flit.payload & (1 << layout.size) - 1)
            assert flit.target.x0 == flit.target.x1
            found.append(Packet(**{name: getattr(inner, name) for name in ("mask", "block", "delay")},
                                x=flit.target.x0, host=flit.target.host, due=flit.due))
        return found


def entry(mask: int = 3, offset: int = 0, block: int = 0, delay: int = 0, x: int = 0, host: int = 0) -> dict[str, int]:
    """A destination."""
    return {"mask": mask, "offset": offset, "block": block, "delay": delay, "x": x, "host": host}


def random_lists(rng: random.Random) -> list[list[dict[str, int]]]:
    """Few places, so that packets often meet; three ways. A row of one destination stands beside longer ones."""
    counts = (1, 1, 2, 3, 1, 4, 2, 6)
    ways = [{"host": 1}, {"host": 1}, {"delay": 0}, {"delay": 1}, {"delay": 1}] * 4
    rng.shuffle(ways)
    return [[entry(rng.randrange(1, 4), rng.randrange(4), rng.randrange(2), **ways.pop()) for _ in range(count)] for count in counts]


def by_bit(packets: list[Packet]) -> Counter[Packet]:
    """How often each bit was sent."""
    return Counter(replace(packet, mask=1 << bit) for packet in packets for bit in range(PARAMS.block) if packet.mask >> bit & 1)


@pytest.mark.parametrize(("pause_in", "pause_out"), [(0.0, 0.0), (0.0, 0.6), (0.7, 0.0), (0.5, 0.5), (0.9, 0.9)])
def test_packets_join_in_order_as_long_as_more_may_come(pause_in: float, pause_out: float) -> None:
    """Each way's packets are those of a greedy joining, whatever pauses; those of two turns are never one."""
    rng = random.Random(f"{pause_in}/{pause_out}")
    bench = Bench(random_lists(rng), rng, pause_out)
    unit, made = bench.unit, list[Packet]()

    async def run(ctx: Any) -> None:
        await bench.load(ctx)
        ctx.set(unit.more, 3)
        for number in range(300):
            row, packets = bench.row(rng.randrange(ROWS), rng.randrange(1, 1 << WIDTH), number // 7 % 2)
            made.extend(packets)
            while rng.random() < pause_in:
                await ctx.tick()
            await send(ctx, unit.i, row)
        ctx.set(unit.more, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[bench.taker.run], limit=40_000)
    expected = joined(made)
    for way, packets in expected.items():
        assert [packet for packet in bench.found if packet.way == way] == packets, way
        fewer = len(packets) < sum(packet.way == way for packet in made)
        assert fewer == (way != "at once")
        assert len(packets) > 50
    assert not pause_out or bench.taker.refused > 50


@pytest.mark.parametrize(("pause_in", "pause_out"), [(0.0, 0.0), (0.3, 0.6), (0.7, 0.2)])
def test_no_spike_is_lost_whenever_the_last_rows_of_two_turns_come(pause_in: float, pause_out: float) -> None:
    """Waves of rows, of either turn by turns. ``more`` falls when it likes once a wave's last row was taken, also in the midst of the
    next wave; ``due`` falls when the wave has been sent, and the wave after the next begins no sooner."""
    rng = random.Random(f"{pause_in}/{pause_out}")
    bench = Bench(random_lists(rng), rng, pause_out)
    unit, made = bench.unit, [list[Packet]() for _ in range(60)]
    left = [-1, -1]  # of each turn, cycles until `more` falls; -1: it is to stay
    sent = [list[Packet](), list[Packet]()]
    met = Counter[str]()

    async def more(ctx: Any) -> None:
        while True:
            await ctx.tick()
            left[:] = [max(0, turn - 1) if turn >= 0 else turn for turn in left]
            ctx.set(unit.more, sum(bool(turn) << number for number, turn in enumerate(left)))
            met["of both turns"] += ctx.get(unit.due) == 3

    def check(wave: int) -> None:
        """All of a wave has been sent, and nothing else with its turn."""
        turn = wave % 2
        found = [packet for packet in bench.found if packet.due == turn]
        assert by_bit(found[len(sent[turn]):]) == by_bit(made[wave]), f"wave {wave}"
        met["joined"] += len(found) - len(sent[turn]) < len(made[wave])
        sent[turn] = found

    async def run(ctx: Any) -> None:
        await bench.load(ctx)
        for wave in range(len(made)):
            turn = wave % 2
            if wave > 1:
                await settle(ctx, ~unit.due[turn] & ~unit.more[turn])
                check(wave - 2)
            left[turn] = -1
            await ctx.tick()
            for _ in range(rng.choice([0, 1, 2, 5, 9])):
                row, packets = bench.row(rng.randrange(ROWS), rng.randrange(1 << WIDTH), turn)
                made[wave].extend(packets)
                while rng.random() < pause_in:
                    await ctx.tick()
                await send(ctx, unit.i, row)
            left[turn] = rng.choice([1, 1, 2, 3, 10, 30])
        await settle(ctx, unit.idle & (unit.more == 0))
        check(len(made) - 2)
        check(len(made) - 1)

    simulate(unit, run, background=[bench.taker.run, more], limit=40_000)
    assert met["of both turns"] > 50
    assert met["joined"] > 10


@pytest.mark.parametrize("turn", [0, 1])
@pytest.mark.parametrize("way", ["host", "cores"])
def test_a_packet_is_kept_until_no_more_rows_of_its_turn_come(turn: int, way: str) -> None:
    bench = Bench([[entry(host=int(way == "host"), delay=2)]], random.Random(1))
    unit, falls = bench.unit, 0

    async def run(ctx: Any) -> None:
        nonlocal falls
        await bench.load(ctx)
        ctx.set(unit.more, 3)
        row, _ = bench.row(0, 3, turn)
        await send(ctx, unit.i, row)
        for more in (3, 1 << turn):
            ctx.set(unit.more, more)
            for _ in range(20):
                _, _, valid, due, idle = await ctx.tick().sample(unit.o.valid, unit.due, unit.idle)
                assert (valid, due, idle) == (0, 1 << turn, 0)
        ctx.set(unit.more, 1 << (1 - turn))  # now a packet of the other turn would be kept
        for cycle in range(3):
            _, _, valid, due, idle = await ctx.tick().sample(unit.o.valid, unit.due, unit.idle)
            assert (valid, due >> turn, idle) == [(0, 1, 0), (1, 1, 0), (0, 0, 1)][cycle]

    simulate(unit, run, background=[bench.taker.run])
    assert bench.found == [Packet(mask=3, delay=2, host=int(way == "host"), due=turn)]


def test_a_packet_for_the_next_tick_leaves_at_once() -> None:
    """``LATENCY`` cycles after its row came, past what is kept, which stays."""
    bench = Bench([[entry(host=1)], [entry(delay=1)], [entry(block=1)]], random.Random(2))
    unit, cycles = bench.unit, list[int]()

    async def run(ctx: Any) -> None:
        await bench.load(ctx)
        ctx.set(unit.more, 3)
        for number in (0, 1):
            row, _ = bench.row(number, 3, 0)
            await send(ctx, unit.i, row)
        await ctx.tick().repeat(20)
        row, _ = bench.row(2, 3, 0)
        await send(ctx, unit.i, row)
        for cycle in range(1, 20):
            _, _, valid = await ctx.tick().sample(unit.o.valid)
            cycles.extend([cycle] * valid)
        assert ctx.get(unit.due) == 1

    simulate(unit, run, background=[bench.taker.run])
    assert cycles == [SpikeUnit.LATENCY]
    assert bench.found == [Packet(mask=3, block=1)]


@pytest.mark.parametrize(("host", "change", "turns", "drives_out"), [
    *((host, *case) for host in (0, 1) for case in (
        ({"offset": 1}, (0, 0), False),
        ({"offset": 1}, (1, 1), False),
        ({}, (0, 0), True),                    # the same neurons once more
        ({"offset": 1, "block": 1}, (0, 0), True),
        ({"offset": 1}, (0, 1), True),
        ({"offset": 1}, (1, 0), True))),
    (0, {"offset": 1, "delay": 2}, (0, 0), True),
    (0, {"offset": 1, "x": 1}, (0, 0), True),
])
def test_what_does_not_go_with_a_packet_that_is_kept_drives_it_out(host: int, change: dict[str, int], turns: tuple[int, int],
                                                                   drives_out: bool) -> None:
    """And is kept in its place."""
    base = entry(host=host, delay=1 - host)
    bench = Bench([[base], [base | change]], random.Random(3))
    unit, made = bench.unit, list[Packet]()

    async def run(ctx: Any) -> None:
        await bench.load(ctx)
        ctx.set(unit.more, 3)
        for number, turn in enumerate(turns):
            row, packets = bench.row(number, 3, turn)
            made.extend(packets)
            await send(ctx, unit.i, row)
        await ctx.tick().repeat(20)
        assert bench.found == made[:drives_out]
        assert ctx.get(unit.due) == 1 << turns[1]
        ctx.set(unit.more, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[bench.taker.run])
    first, second = made
    assert bench.found == (made if drives_out else [replace(first, mask=first.mask | second.mask)])


def test_rows_for_two_ways_are_kept_beside_each_other() -> None:
    """None drives out one of another way; a bit that came twice does of its own, also when what is kept has just been joined."""
    places = [entry(1, 0, host=1), entry(1, 0, delay=1), entry(1, 1, host=1), entry(1, 1, delay=1), entry(1, 0, host=1)]
    bench = Bench([[place] for place in places], random.Random(4))
    unit = bench.unit

    async def run(ctx: Any) -> None:
        await bench.load(ctx)
        ctx.set(unit.more, 3)
        for number in range(len(places)):
            await send(ctx, unit.i, bench.row(number, 1, 0)[0])
        await ctx.tick().repeat(20)
        assert bench.found == [Packet(mask=5, host=1)]
        ctx.set(unit.more, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[bench.taker.run])
    assert sorted(bench.found[1:], key=lambda packet: packet.host) == [Packet(mask=5, delay=1), Packet(mask=1, host=1)]
