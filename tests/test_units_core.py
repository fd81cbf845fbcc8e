"""The arithmetic and access units of the gateware in Amaranth's simulator, with random waits, against references in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from spikeloom.hdl.access import READ_CYCLES
from spikeloom.hdl.axi import OKAY, SLVERR, RegisterBank
from spikeloom.hdl.drain import Drain
from spikeloom.hdl.lanes import Lanes, Step
from spikeloom.hdl.layouts import Kind, flit_layout, row_layout, spikes_layout
from spikeloom.hdl.neurons import ROWS, NeuronUnit
from spikeloom.hdl.queue import Queue
from spikeloom.hdl.spikes import SpikeUnit
from spikeloom.hdl.synapses import Synapses
from spikeloom.hdl.top import Top
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk
from spikeloom.packets import Command, Response
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, IDENTITY
from tests.arrays import packet, word
from tests.units import Taker, read, send, settle, simulate, write

PARAMS = ArrayParams(lanes=8, banks=2, words=8, block=8, delays=4, delay_depth=4, destinations=32, state_bits=16, classes=4,
                     accumulator_bits=10, weight_bits=3)
SPECS = memory_specs(PARAMS)


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
            value = await read(ctx, unit.bus, Memory.SYNAPSES, address, READ_CYCLES)
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
        drained: list[int] = []  # what the drain register should hold
        loads: list[int] = []
        shifts = 0
        for _ in range(600):
            ctx.set(lanes.step, Step.IDLE)
            ctx.set(lanes.shift, 0)
            if drained and shifts < params.lane_rows:
                assert [ctx.get(lanes.row[i]) for i in range(2)] == drained[2 * shifts: 2 * shifts + 2]
                if rng.random() < 0.6:
                    ctx.set(lanes.shift, 1)
                    shifts += 1
            chosen = rng.random()
            done = not drained or shifts == params.lane_rows
            if loads and done and chosen < 0.4:
                fold = loads.pop(0)
                ctx.set(lanes.step, Step.LOAD)
                ctx.set(lanes.fold, fold)
                ctx.set(lanes.shift, 0)
                drained, shifts = shadow[fold], 0
                met["load"] += 1
            elif not loads and done and chosen < 0.1:
                ctx.set(lanes.step, Step.SWAP)
                ctx.set(lanes.shift, 0)
                shadow, active = active, [[0] * 6 for _ in range(folds)]
                met["swap"] += 1
                if folds == 1:
                    drained, shifts = shadow[0], 0
                else:
                    loads = list(range(folds))
            elif chosen < 0.8:
                fold = rng.randrange(folds)
                sums = [rng.randrange(-8, 7) for _ in range(6)]
                ctx.set(lanes.step, Step.ADD)
                ctx.set(lanes.fold, fold)
                for lane, value in enumerate(sums):
                    ctx.set(lanes.sums[lane], value)
                met["overlap"] += bool(loads) or bool(drained and shifts < params.lane_rows)
                active[fold] = [signed(a + b, 10) for a, b in zip(active[fold], sums, strict=True)]
            await ctx.tick()

    simulate(lanes, run)
    assert met["swap"] > 5
    assert met["overlap"] > 20
    assert met["load"] > 15 or folds == 1


# Drain.

@pytest.mark.parametrize(("slices", "groups"), [(1, 4), (2, 2), (4, 1), (3, 1), (1, 0)])
def test_slices_are_joined_in_order(slices: int, groups: int) -> None:
    rng = random.Random(slices)
    drain = Drain(PARAMS)
    rows = [[rng.randrange(-512, 512) for _ in range(2)] for _ in range(PARAMS.lane_rows)]
    found: list[tuple[int, list[int]]] = []
    position = 0

    async def lanes(ctx: Any) -> None:
        """The drain register: shows its row, and the next after a shift."""
        nonlocal position
        while True:
            row = rows[min(position, len(rows) - 1)]
            for column in range(2):
                ctx.set(drain.row[column], row[column])
            _, _, shift, valid, number, *sums = await ctx.tick().sample(drain.shift, drain.valid, drain.number, drain.sums[0], drain.sums[1])
            position += shift
            if valid:
                found.append((number, sums))

    async def enable(ctx: Any) -> None:
        while True:
            ctx.set(drain.enable, rng.random() < 0.5)
            await ctx.tick()

    async def run(ctx: Any) -> None:
        for control, value in ((Control.SLICES, slices), (Control.GROUPS, groups), (Control.FOLDS, 1)):
            await write(ctx, drain.bus, Memory.CONTROL, control, value)
            assert await read(ctx, drain.bus, Memory.CONTROL, control, 1) == value
        for _ in range(3):
            nonlocal position
            position = 0
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
            wanted = [[sum(rows[g * slices + i][column] << 3 * (slices - 1 - i) for i in range(slices)) for column in range(2)]
                      for g in range(groups)]
            assert found == list(enumerate(wanted))

    simulate(drain, run, background=[lanes, enable])


# Neurons.

def toward_zero(product: int, fraction: int) -> int:
    return product >> fraction if product >= 0 else -(-product >> fraction)


class Model:
    """Neurons of a unit, one by one, from DESIGN §2."""

    def __init__(self, rng: random.Random) -> None:
        first, second = class_records(PARAMS)
        one = 1 << PARAMS.gain_bits
        self.classes = [{"current_gain": rng.choice([0, one // 2, one]), "membrane_gain": rng.choice([0, one * 7 // 8, one, 2 * one]),
                         "shift": rng.randrange(4), "refractory": 0 if n == 2 else 2, "spiking": int(n != 3), "subtract": rng.randrange(2),
                         "hold": n % 2, "phases": 1 if n == 2 else 3, "start": 2 * (n == 2)} for n in range(4)]
        self.words = [int(record.pack(**{field.name: c[field.name] for field in record}))
                      for c in self.classes for record in (first, second)]
        count = PARAMS.core_neurons
        self.constants = {
            Memory.THRESHOLD: [rng.randrange(-50, 500) for _ in range(count)],
            Memory.BIAS: [rng.choice([0, 0, 7, -7, 30000, -30000]) for _ in range(count)],
            Memory.RESET: [rng.choice([0, 300, -300, 32767]) for _ in range(count)],
            Memory.NEURON_CLASS: [n % 4 for n in range(count)]}
        self.state = {memory: [0] * count for memory in (Memory.CURRENT, Memory.MEMBRANE, Memory.REFRACTORY)}
        self.met = Counter[str]()

    def update(self, n: int, total: int, tick: dict[str, int]) -> tuple[int, int]:
        """One neuron's tick; returns whether it spikes, and whether it has a potential to send."""
        c = self.classes[self.constants[Memory.NEURON_CLASS][n]]
        u, v, wait = (0 if tick["fresh"] else self.state[memory][n] for memory in (Memory.CURRENT, Memory.MEMBRANE, Memory.REFRACTORY))
        active = c["phases"] >> tick["phase"] & 1 and tick["age"] >= c["start"]
        spike = 0
        if active:
            u = toward_zero(u * c["current_gain"], PARAMS.gain_bits) + (total << c["shift"])
            exact = toward_zero(v * c["membrane_gain"], PARAMS.gain_bits) + u + self.constants[Memory.BIAS][n]
            moved = min(32767, max(-32768, exact))
            self.met["high" if exact > 32767 else "low" if exact < -32768 else "between"] += 1
            self.met["overflow"] += not -32768 <= u <= 32767
            reaches = c["spiking"] and moved >= self.constants[Memory.THRESHOLD][n]
            spike = int(bool(reaches and not wait))
            self.met["spike"] += spike
            self.met["refractory"] += bool(reaches and wait)
            reset = self.constants[Memory.RESET][n]
            if spike:
                v = min(32767, max(-32768, moved - reset)) if c["subtract"] else reset
                wait = c["refractory"]
            else:
                self.met["hold"] += bool(c["hold"] and wait)
                v = v if c["hold"] and wait else moved
                wait = max(0, wait - 1)
        else:
            self.met["rest"] += 1
        for memory, value in ((Memory.CURRENT, u), (Memory.MEMBRANE, v), (Memory.REFRACTORY, wait)):
            self.state[memory][n] = value
        return spike, int(bool(active and not c["spiking"]))


async def load_neurons(ctx: Any, unit: NeuronUnit, model: Model) -> None:
    """Write a model's constants, and garbage for its state."""
    for address, value in enumerate(model.words):
        await write(ctx, unit.bus, Memory.CLASSES, address, value)
    for memory, values in model.constants.items():
        for address, value in enumerate(values):
            await write(ctx, unit.bus, memory, address, value & (1 << SPECS[memory].entry.bits) - 1)
    for memory in model.state:
        for address in range(PARAMS.core_neurons):
            await write(ctx, unit.bus, memory, address, 0x2A)


@pytest.mark.parametrize("pauses", [(0.0, 0.0), (0.3, 0.8)])
def test_neurons_follow_the_equations(pauses: tuple[float, float]) -> None:
    rng = random.Random(f"{pauses}")
    unit, model, layout = NeuronUnit(PARAMS), Model(rng), row_layout(PARAMS)
    taker = Taker(unit.o, rng, pauses[1])
    expected: list[dict[str, Any]] = []

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        for number in range(40):
            tick = {"phase": rng.randrange(2), "age": min(number % 10, 15), "end": 0, "fresh": int(number % 10 == 0)}
            ctx.set(unit.tick, tick)
            for row in range(PARAMS.neuron_rows):
                _, _, enabled = await ctx.tick().sample(unit.enable)
                while not enabled or rng.random() < pauses[0]:
                    _, _, enabled = await ctx.tick().sample(unit.enable)
                sums = [rng.randrange(-200, 400) for _ in range(2)]
                ctx.set(unit.valid, 1)
                ctx.set(unit.number, row)
                for column, total in enumerate(sums):
                    ctx.set(unit.sums[column], total)
                outcome = [model.update(2 * row + column, total, tick) for column, total in enumerate(sums)]
                if any(spike or opened for spike, opened in outcome):
                    expected.append({
                        "row": row, "spikes": sum(spike << i for i, (spike, _) in enumerate(outcome)),
                        "open": sum(opened << i for i, (_, opened) in enumerate(outcome)),
                        "membrane": [model.state[Memory.MEMBRANE][2 * row + i] if opened else None for i, (_, opened) in enumerate(outcome)]})
                await ctx.tick()
                ctx.set(unit.valid, 0)
            await settle(ctx, unit.idle)
        for memory, values in model.state.items():
            for address, value in enumerate(values):
                found = await read(ctx, unit.bus, memory, address, 1)
                assert found == value & (1 << SPECS[memory].entry.bits) - 1, f"{memory.name} {address}"

    simulate(unit, run, background=[taker.run])
    found = [layout.from_bits(payload) for payload in taker.payloads]  # only potentials that are open mean anything
    assert [{"row": row.row, "spikes": row.spikes, "open": row.open,
             "membrane": [row.membrane[i] if row.open >> i & 1 else None for i in range(2)]} for row in found] == expected
    for situation in ("high", "low", "spike", "refractory", "hold", "rest"):
        assert model.met[situation] > 3, f"{situation}: {model.met}"
    assert not model.met["overflow"]


def test_neurons_answer_after_their_latency_and_take_a_row_a_cycle() -> None:
    unit, model = NeuronUnit(PARAMS), Model(random.Random(9))
    for values, value in ((model.constants[Memory.NEURON_CLASS], 0), (model.constants[Memory.THRESHOLD], -32768)):
        values[:] = [value] * len(values)
    first, second = class_records(PARAMS)
    model.words[:2] = int(first.pack(membrane_gain=0)), int(second.pack(spiking=1, phases=1))
    taker = Taker(unit.o, random.Random(1))
    began: list[int] = []

    async def watch(ctx: Any) -> None:
        cycle = 0
        while True:
            _, _, valid = await ctx.tick().sample(unit.valid)
            began.extend([cycle] * valid)
            cycle += 1

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 1})
        ctx.set(unit.valid, 1)
        for row in range(4):
            ctx.set(unit.number, row)
            await ctx.tick()
        ctx.set(unit.valid, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[taker.run, watch])
    cycles = [at for at, _ in taker.found]
    assert cycles == [at + NeuronUnit.LATENCY + Queue.LATENCY for at in began] == list(range(cycles[0], cycles[0] + 4))


def test_neurons_ask_for_a_pause_before_their_queue_overflows() -> None:
    """Rows come whenever ``enable`` lets them, and nobody takes any for a long time."""
    unit, model = NeuronUnit(PARAMS), Model(random.Random(9))
    first, second = class_records(PARAMS)
    model.words = [int(first.pack()), int(second.pack(spiking=1, phases=1))] * 4
    model.constants[Memory.THRESHOLD] = [-32768] * PARAMS.core_neurons
    taker = Taker(unit.o, random.Random(1), 0.97)
    sent = 0
    stopped = False

    async def run(ctx: Any) -> None:
        nonlocal sent, stopped
        await load_neurons(ctx, unit, model)
        ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 1})
        enabled = 1
        while sent < 60:
            ctx.set(unit.valid, enabled)
            ctx.set(unit.number, sent % PARAMS.neuron_rows)
            sent += enabled
            _, _, enabled = await ctx.tick().sample(unit.enable)
            stopped = stopped or not enabled
        ctx.set(unit.valid, 0)
        await settle(ctx, unit.idle, 5000)

    simulate(unit, run, background=[taker.run])
    assert stopped
    assert [payload & PARAMS.neuron_rows - 1 for payload in taker.payloads] == [i % PARAMS.neuron_rows for i in range(60)]
    assert ROWS < 60


def test_a_current_beyond_its_width_raises_overflow() -> None:
    unit, model = NeuronUnit(PARAMS), Model(random.Random(9))
    first, second = class_records(PARAMS)
    model.words = [int(first.pack(current_gain=1 << 12)), int(second.pack(phases=1, shift=5))] * 4
    raised: list[bool] = []

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        for fresh, total in ((1, 1023), (0, 0), (0, 1), (1, -1024), (0, -1), (1, 1024)):
            ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": fresh})
            ctx.set(unit.sums[0], total)
            ctx.set(unit.valid, 1)
            await ctx.tick()
            ctx.set(unit.valid, 0)
            seen = 0
            for _ in range(unit.LATENCY + 4):
                _, _, overflow = await ctx.tick().sample(unit.overflow)
                seen += overflow
            raised.append(bool(seen))

    simulate(unit, run, background=[Taker(unit.o, random.Random(1)).run])
    assert raised == [False, False, True, False, True, True]


# Spikes.

@pytest.mark.parametrize("pause", [0.0, 0.6])
@pytest.mark.parametrize("end", [0, 1])
def test_rows_are_sent_to_their_destinations(pause: float, end: int) -> None:
    rng = random.Random(f"{pause}/{end}")
    params = ArrayParams(columns=4, rows=3, lanes=8, banks=2, words=32, block=8, destinations=32, state_bits=16)
    unit, record, rows, flits = SpikeUnit(params), destination_record(params), row_layout(params), flit_layout(params)
    packets, specs = spikes_layout(params), memory_specs(params)
    table = [{"mask": rng.randrange(1, 4), "offset": rng.randrange(4), "block": rng.randrange(4), "delay": rng.randrange(4),
              "x0": rng.randrange(4), "x1": rng.randrange(4), "y0": rng.randrange(3), "y1": rng.randrange(3),
              "planes": (0, 5, 0, 16, 1, 0)[i % 6], "host": i // 2 % 2, "last": int(i % 6 == 5 or i == 31)}
             for i in range(32)]
    fanout = [{"start": start, "valid": int(i != 1)} for i, start in enumerate((0, 3, 8, 29))]
    taker = Taker(unit.o, rng, pause)
    sent = []
    expected = []
    met = Counter[str]()
    for _ in range(50):
        row = {"row": rng.randrange(4), "spikes": rng.randrange(4), "open": rng.randrange(4),
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
                    payload = packets.const({"mask": chosen << place % 4 * 2, "block": place // 4, "delay": entry["delay"]}).as_bits()
                    target = {name: entry[name] for name in ("x0", "x1", "y0", "y1", "host")}
                    expected.append(flits.const({"payload": payload, "kind": Kind.SPIKES, "target": target}).as_bits())
            if entry["last"]:
                break
            index += 1

    async def run(ctx: Any) -> None:
        for address, entry in enumerate(table):
            await write(ctx, unit.bus, Memory.DESTINATIONS, address, int(record.pack(**entry)))
        for address, entry in enumerate(fanout):
            await write(ctx, unit.bus, Memory.FANOUT, address, int(specs[Memory.FANOUT].entry.pack(**entry)))
        ctx.set(unit.end, end)
        for row in sent:
            while rng.random() < pause:
                await ctx.tick()
            await send(ctx, unit.i, rows.const(row))
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[taker.run], limit=40_000)
    assert taker.payloads == expected
    for situation in ("plane", "spike", "silent", "carry"):
        assert met[situation] > 5, f"{situation}: {met}"
    assert not pause or taker.refused


# The ports.

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
    bank = RegisterBank(PARAMS)
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


@pytest.mark.parametrize("cut", [1, 4, 9])
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

    writes = [int(value) for value in packet(word(Command.WRITE, memory=int(Memory.BIAS), count=4)).tolist() + [5, 6, 7, 8]]
    more = packet(word(Command.TICK, count=3), word(Command.SPIKES, mask=3), word(Command.WRITE, memory=int(Memory.BIAS), count=4))
    dying = [*writes, *(int(value) for value in more.tolist()), 99]
    reads = packet(word(Command.READ, memory=int(Memory.BIAS), count=4), word(Command.TICK, count=2), word(Command.ECHO, payload=77))

    async def run(ctx: Any) -> None:
        ctx.set(top.aresetn, 1)
        await offer(ctx, writes, True)
        await offer(ctx, dying[:cut], False)
        await ctx.tick().repeat(5)
        assert await lite.write(ctx, ADDRESS["CONTROL"], 1) == OKAY
        await ctx.tick().repeat(5)
        found.clear()
        await offer(ctx, [int(value) for value in reads.tolist()], True)
        while not found or not found[-1][1]:
            await ctx.tick()

    simulate(top, run, background=[sink], clock=top.aclk)
    kinds = [Response(data >> 60) for data, _ in found]
    assert kinds == [Response.DATA] * 4 + [Response.ECHO, Response.STATUS]
    wanted = [99, 6, 7, 8] if cut == len(dying) else [5, 6, 7, 8]
    assert [data & 0xFFFFFFFFF for data, _ in found[:4]] == wanted
    assert found[-1][0] >> 0 & 0xFFFF == 0, "a fault is left"
