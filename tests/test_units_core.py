"""Synapses, lanes, drain and spikes in Amaranth's simulator, with random waits, against references in plain Python."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from spikeloom.hdl.access import SYNAPSE_CYCLES
from spikeloom.hdl.drain import Drain, promised
from spikeloom.hdl.lanes import Lanes, Step
from spikeloom.hdl.layouts import Kind, flit_layout, spikes_layout
from spikeloom.hdl.spikes import SpikeUnit
from spikeloom.hdl.synapses import Synapses, adder_levels
from spikeloom.memories import Control, Memory, controls, destination_record, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams
from tests.units import Taker, packed, read, send, settle, simulate, watch, write

PARAMS = ArrayParams(lanes=8, banks=2, words=8, block=8, delays=4, delay_depth=4, destinations=32, state_bits=16, classes=4,
                     accumulator_bits=10, weight_bits=3)


def signed(value: int, bits: int) -> int:
    """The low bits as two's complement."""
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


# Synapses.

@pytest.mark.parametrize("banks", [1, 2, 8])
def test_banks_that_fire_are_added_lane_by_lane(banks: int) -> None:
    params = ArrayParams(lanes=5, neurons_per_cycle=1, banks=banks, words=8, block=8, weight_bits=16, accumulator_bits=24)
    rng = random.Random(banks)
    cells = [[[rng.randrange(-(1 << 15), 1 << 15) for _ in range(5)] for _ in range(4)] for _ in range(banks)]
    unit, spec, chunk = Synapses(params), memory_specs(params)[Memory.SYNAPSES], synapse_chunk(params)
    assert unit.latency == 1 + (banks - 1).bit_length()
    met = Counter[str]()

    async def run(ctx: Any) -> None:
        for bank in range(banks):
            for number in range(4):
                for part in range(params.chunks):
                    row = cells[bank][number][part * params.chunk_lanes:][: params.chunk_lanes]
                    datum = chunk.pack(**{f"cell{i}": value for i, value in enumerate(row)})
                    await write(ctx, unit.bus, Memory.SYNAPSES, int(spec.address.pack(bank=bank, word=number, chunk=part)), int(datum))
        expected: list[list[int] | None] = []
        for cycle in range(200 + unit.latency):
            fire = rng.randrange(1 << banks) if cycle < 200 and rng.random() < 0.8 else 0
            words = [rng.randrange(4) for _ in range(banks)]
            ctx.set(unit.fire, fire)
            for bank, number in enumerate(words):
                ctx.set(getattr(unit, f"word_{bank}"), number)
            firing = [cells[bank][number] for bank, number in enumerate(words) if fire >> bank & 1]
            met["one" if len(firing) == 1 else "all" if len(firing) == banks else "none" if not firing else "some"] += 1
            expected.append([sum(column) for column in zip(*firing, strict=True)] if firing else expected[-1] if expected else None)
            await ctx.tick()
            wanted = expected[cycle - unit.latency + 1] if cycle + 1 >= unit.latency else None
            if wanted is not None:
                assert [ctx.get(unit.sums[lane]) for lane in range(5)] == wanted, f"cycle {cycle}"
        ctx.set(unit.fire, 0)
        for bank, number, lane in ((0, 0, 0), (banks - 1, 3, 4), (banks - 1, 1, 2)):  # read back through the adders
            part, cell = divmod(lane, params.chunk_lanes)
            address = int(spec.address.pack(bank=bank, word=number, chunk=part))
            value = await read(ctx, unit.bus, Memory.SYNAPSES, address, SYNAPSE_CYCLES)
            assert signed(value >> 16 * cell, 16) == cells[bank][number][lane]

    simulate(unit, run)
    assert met["one"]
    assert met["none"]


# Lanes.

@pytest.mark.parametrize("folds", [1, 4])
def test_accumulators_swap_and_drain(folds: int) -> None:
    """Both copies at work: sums of the next tick come in while those of the last are taken out, fold after fold."""
    params = ArrayParams(lanes=6, banks=2, words=8, block=8, folds=folds, weight_bits=3, accumulator_bits=10)
    rng = random.Random(folds)
    lanes = Lanes(params)
    met = Counter[str]()

    async def run(ctx: Any) -> None:
        active = [[0] * 6 for _ in range(folds)]
        shadow: list[list[int]] = []
        drained: list[int] = []  # what the drain register is to hold, and what it holds
        shown: list[int] = []
        loads: list[int] = []
        asked = 0  # rows asked for in a fold
        due: list[list[int] | None] = [None] * lanes.ROW_LATENCY
        fold, sums = 0, [0] * 6
        for _ in range(600):
            wanted = due.pop(0)
            if wanted is not None:
                assert [ctx.get(lanes.rows[row][i]) for row in range(2) for i in range(2)][: len(wanted)] == wanted
            # A step is told a cycle before its fold and its sums.
            ctx.set(lanes.fold, fold)
            for lane, value in enumerate(sums):
                ctx.set(lanes.sums[lane], value)
            step = Step.IDLE
            index = rng.randrange(2)  # of two pairs, the second of which has one row only
            ctx.set(lanes.index[0], index)
            due.append(shown[4 * index: 4 * index + 4] if shown else None)
            asked += bool(shown) and shown is drained
            shown = drained
            chosen = rng.random()
            done = not drained or asked > params.lane_rows
            if loads and done and chosen < 0.4:
                step, fold = Step.LOAD, loads.pop(0)
                drained, asked = shadow[fold], 0
                met["load"] += 1
            elif not loads and done and chosen < 0.1:
                step = Step.SWAP
                shadow, active = active, [[0] * 6 for _ in range(folds)]
                met["swap"] += 1
                if folds == 1:
                    drained, asked = shadow[0], 0
                else:
                    loads = list(range(folds))
            elif chosen < 0.8:
                step, fold, sums = Step.ADD, rng.randrange(folds), [rng.randrange(-8, 7) for _ in range(6)]
                met["overlap"] += bool(loads) or bool(drained and not done)
                active[fold] = [signed(a + b, 10) for a, b in zip(active[fold], sums, strict=True)]
            ctx.set(lanes.step, step)
            await ctx.tick()

    simulate(lanes, run)
    assert met["swap"] > 5
    assert met["overlap"] > 20
    assert met["load"] > 15 or folds == 1


# Drain.

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


# Spikes.

def test_a_row_with_one_destination_takes_a_cycle() -> None:
    """Packets follow each other without a gap, and what is for the host leaves joined, once nothing more can join."""
    params = ArrayParams(lanes=16, banks=2, words=32, block=8, destinations=32, state_bits=16)
    rows = [{"row": number, "due": 0, "spikes": 3, "open": 0, "membrane": [0, 0]} for number in range(8)]
    for host in (0, 1):
        unit, specs = SpikeUnit(params), memory_specs(params)
        taker = Taker(unit.o, random.Random(1), held=False)

        async def run(ctx: Any, unit: SpikeUnit = unit, specs: Any = specs, host: int = host) -> None:
            for number in range(8):
                entry = destination_record(params).pack(mask=3, offset=number % 4, block=number // 4, host=host, last=1)
                await write(ctx, unit.bus, Memory.DESTINATIONS, number, int(entry))
                await write(ctx, unit.bus, Memory.FANOUT, number, int(specs[Memory.FANOUT].entry.pack(start=number, valid=1)))
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
    packets, specs = spikes_layout(params), memory_specs(params)
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
        row: dict[str, Any] = {"row": rng.randrange(4), "due": 0, "spikes": rng.randrange(4), "open": rng.randrange(4),
               "membrane": [rng.randrange(-32768, 32768) for _ in range(2)]}
        row["spikes"] &= ~row["open"]
        sent.append(row)
        index = fanout[row["row"]]["start"]
        while fanout[row["row"]]["valid"]:
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
                        expected.append(packed(flits, {"payload": payload, "kind": Kind.SPIKES, "target": way}))
            if entry["last"]:
                break
            index += 1

    async def run(ctx: Any) -> None:
        for address, entry in enumerate(table):
            await write(ctx, unit.bus, Memory.DESTINATIONS, address, int(record.pack(**entry)))
        for address, entry in enumerate(fanout):
            await write(ctx, unit.bus, Memory.FANOUT, address, int(specs[Memory.FANOUT].entry.pack(**entry)))
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
    later = [(flit, packet) for flit, packet in zip(found, inner, strict=True) if packet.delay and not flit.target.host]
    ways = ("x0", "x1", "y0", "y1", "host")
    assert Counter((tuple(getattr(flit.target, name) for name in ways), packet.delay, packet.block, bit)
                   for flit, packet in later for bit in range(8) if packet.mask >> bit & 1) == delayed
    assert len(later) < met["delayed"] or end
    for situation in ("plane", "spike", "silent", "carry", "for the host", *([] if end else ["delayed"])):
        assert met[situation] > 5, f"{situation}: {met}"
    assert not pause or taker.refused
