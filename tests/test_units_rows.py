"""Rows of neurons to packets in Amaranth's simulator, with random waits, against a reference in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from spikeloom.hdl.layouts import Kind, flit_layout, spikes_layout
from spikeloom.hdl.spikes import SpikeUnit
from spikeloom.memories import Memory, destination_record
from spikeloom.params import ArrayParams
from tests.units import Taker, arrival, packed, send, settle, simulate, write


def test_a_row_with_one_destination_takes_a_cycle() -> None:
    """Packets follow each other without a gap, and what is for the host leaves joined, once nothing more can join."""
    params = ArrayParams(lanes=16, banks=2, words=32, block=8, destinations=32, state_bits=16)
    rows = [{"fanout": {"start": number, "valid": 1}, "due": 0, "spikes": 3, "open": 0, "membrane": [0, 0]} for number in range(8)]
    for host in (0, 1):
        unit = SpikeUnit(params)
        taker = Taker(unit.o, random.Random(1), held=False)

        async def run(ctx: Any, unit: SpikeUnit = unit, host: int = host) -> None:
            for number in range(8):
                entry = destination_record(params).pack(mask=3, offset=number % 4, block=number // 4, host=host, last=1)
                await write(ctx, unit.bus, Memory.DESTINATIONS, number, int(entry))
            ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 0, "overlap": 0, "turn": 1})
            ctx.set(unit.more, 1)
            for row in rows:
                await send(ctx, unit.i, row)
            ctx.set(unit.more, 0)
            await settle(ctx, unit.idle)

        simulate(unit, run, background=[taker.run])
        found = [spikes_layout(params).from_bits(payload & 0xFFFF) for payload in taker.payloads]
        if host:
            assert [(packet.block, packet.mask) for packet in found] == [(0, 255), (1, 255)]
        else:
            assert len(found) == 8
            assert taker.found[-1][0] - taker.found[0][0] == 7


@pytest.mark.parametrize(("pause", "more"), [(0.0, 1), (0.6, 1), (0.6, 0)])
@pytest.mark.parametrize("end", [0, 1])
def test_rows_are_sent_to_their_destinations(pause: float, more: int, end: int) -> None:
    rng = random.Random(f"{pause}/{end}")
    params = ArrayParams(columns=4, rows=3, lanes=8, banks=2, words=32, block=8, destinations=32, state_bits=16)
    unit, record, flits = SpikeUnit(params), destination_record(params), flit_layout(params)
    packets = spikes_layout(params)
    table = [{"mask": rng.randrange(1, 4), "offset": rng.randrange(4), "block": rng.randrange(4), "delay": rng.randrange(4),
              "x0": rng.randrange(4), "x1": rng.randrange(4), "y0": rng.randrange(3), "y1": rng.randrange(3),
              "planes": (0, 5, 0, 16, 1, 0)[i % 6], "host": i // 2 % 2, "last": int(i % 6 == 5 or i == 31)}
             for i in range(32)]
    fanout = [{"start": start, "valid": int(i != 1)} for i, start in enumerate((0, 3, 8, 29))]
    taker = Taker(unit.o, rng, pause, held=False)
    sent = []
    expected: list[int] = []
    outputs = Counter[Any]()  # (block, bit) sent to the host
    delayed = Counter[Any]()  # (target, delay, block, bit) sent to cores for later ticks
    met = Counter[str]()
    for _ in range(50):
        row: dict[str, Any] = {"fanout": rng.choice(fanout), "due": 0, "spikes": rng.randrange(4), "open": rng.randrange(4),
               "membrane": [rng.randrange(-32768, 32768) for _ in range(2)]}
        row["spikes"] &= ~row["open"]
        sent.append(row)
        index = row["fanout"]["start"]
        while row["fanout"]["valid"]:
            entry = table[index]
            for plane in range(max(1, entry["planes"])):
                bits = sum((row["membrane"][i] >> plane & 1) << i for i in range(2))
                chosen = entry["mask"] & (bits & row["open"] if entry["planes"] else row["spikes"])
                place = entry["block"] * 4 + entry["offset"] + plane
                met["plane" if entry["planes"] else "spike" if chosen else "silent"] += 1
                met["carry"] += entry["offset"] + plane >= 4 and bool(chosen)
                if chosen and (entry["host"] or not end):
                    mask = chosen << place % 4 * 2
                    payload = packed(packets, {"mask": mask, "block": place // 4, "delay": entry["delay"]})
                    way = {name: entry[name] for name in ("x0", "x1", "y0", "y1", "host")}
                    if entry["host"]:
                        outputs.update((place // 4, bit) for bit in range(8) if mask >> bit & 1)
                        met["for the host"] += 1
                    elif entry["delay"]:
                        delayed.update((tuple(way.values()), entry["delay"], place // 4, bit) for bit in range(8) if mask >> bit & 1)
                        met["delayed"] += 1
                    else:
                        expected.append(packed(flits, {"payload": payload, "kind": Kind.SPIKES, "arrival": {"soon": 1}, "target": way}))
            if entry["last"]:
                break
            index += 1

    async def run(ctx: Any) -> None:
        for address, entry in enumerate(table):
            await write(ctx, unit.bus, Memory.DESTINATIONS, address, int(record.pack(**entry)))
        ctx.set(unit.tick, {"phase": 0, "age": 0, "end": end, "fresh": 0, "overlap": 0, "turn": 1})
        ctx.set(unit.more, more)
        for row in sent:
            while rng.random() < pause:
                await ctx.tick()
            await send(ctx, unit.i, row)
        ctx.set(unit.more, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[taker.run], limit=40_000)
    found: list[Any] = [flits.from_bits(payload) for payload in taker.payloads]
    inner = [packets.from_bits(flit.payload & (1 << packets.size) - 1) for flit in found]
    pressing = [not flit.target.host and not packet.delay for flit, packet in zip(found, inner, strict=True)]
    assert [payload for payload, chosen in zip(taker.payloads, pressing, strict=True) if chosen] == expected
    joined = [packet for flit, packet in zip(found, inner, strict=True) if flit.target.host]
    assert Counter((flit.block, bit) for flit in joined for bit in range(8) if flit.mask >> bit & 1) == outputs
    assert len(joined) < met["for the host"]
    for flit, packet in zip(found, inner, strict=True):
        told = {name: getattr(flit.arrival, name) for name in ("soon", "following", "far")}
        assert flit.target.host or told == arrival(params, Kind.SPIKES, packet.delay)
    later = [(flit, packet) for flit, packet in zip(found, inner, strict=True) if packet.delay and not flit.target.host]
    ways = ("x0", "x1", "y0", "y1", "host")
    assert Counter((tuple(getattr(flit.target, name) for name in ways), packet.delay, packet.block, bit)
                   for flit, packet in later for bit in range(8) if packet.mask >> bit & 1) == delayed
    assert len(later) < met["delayed"] or end
    for situation in ("plane", "spike", "silent", "carry", "for the host", *([] if end else ["delayed"])):
        assert met[situation] > 5, f"{situation}: {met}"
    assert not pause or taker.refused
