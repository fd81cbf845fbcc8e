"""The neuron unit in Amaranth's simulator, with random waits, against DESIGN §2 in plain Python; with one current and with two."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from spikeloom.hdl.drain import LEAST_ROWS, Drain, promised
from spikeloom.hdl.layouts import row_layout
from spikeloom.hdl.neurons import ROWS, NeuronUnit
from spikeloom.hdl.synapses import adder_levels
from spikeloom.memories import Memory, class_records, memory_specs, state_memories
from spikeloom.params import ArrayParams
from tests.units import Taker, bits, packed, read, settle, simulate, watch, write

PARAMS = ArrayParams(lanes=8, banks=2, words=8, block=8, delays=4, delay_depth=4, destinations=32, state_bits=16, classes=4,
                     accumulator_bits=10, weight_bits=3)
TWO = replace(PARAMS, currents=2)
#: Cycles from the change of the tick to its first row.
FIRST = Drain.LATENCY + adder_levels(PARAMS) + 2


def toward_zero(product: int, fraction: int) -> int:
    return product >> fraction if product >= 0 else -(-product >> fraction)


class Model:
    """Neurons of a unit, one by one, from DESIGN §2."""

    def __init__(self, rng: random.Random, params: ArrayParams = PARAMS) -> None:
        self.specs = memory_specs(params)
        one = 1 << PARAMS.gain_bits
        self.classes = [{"current_gain": rng.choice([0, one // 2, one]), "membrane_gain": rng.choice([0, one * 7 // 8, one, 2 * one]),
                         "shift": rng.randrange(4), "refractory": 0 if n == 2 else 2, "spiking": int(n != 3), "subtract": rng.randrange(2),
                         "hold": n % 2, "phases": 1 if n == 2 else 3, "start": 2 * (n == 2),
                         "second_gain": one * n // 4} for n in range(4)]
        self.words = {int(self.specs[Memory.CLASSES].address.pack(part=part, index=n)):
                      int(record.pack(**{field.name: c[field.name] for field in record}))
                      for n, c in enumerate(self.classes) for part, record in enumerate(class_records(params))}
        count = PARAMS.core_neurons
        self.constants = {
            Memory.THRESHOLD: [rng.randrange(-50, 500) for _ in range(count)],
            Memory.BIAS: [rng.choice([0, 0, 7, -7, 30000, -30000]) for _ in range(count)],
            Memory.RESET: [rng.choice([0, 300, -300, 32767]) for _ in range(count)],
            Memory.NEURON_CLASS: [n % 4 for n in range(count)]}
        self.state = {memory: [0] * count for memory in state_memories(params)}
        self.met = Counter[str]()

    def update(self, n: int, totals: list[int], tick: dict[str, int]) -> tuple[int, int]:
        """One neuron's tick; returns whether it spikes, and whether it has a potential to send."""
        c = self.classes[self.constants[Memory.NEURON_CLASS][n]]
        state = {memory: 0 if tick["fresh"] else values[n] for memory, values in self.state.items()}
        v, wait = state[Memory.MEMBRANE], state[Memory.REFRACTORY]
        active = c["phases"] >> tick["phase"] & 1 and tick["age"] >= c["start"]
        spike = 0
        if active:
            exact = toward_zero(v * c["membrane_gain"], PARAMS.gain_bits) + self.constants[Memory.BIAS][n]
            currents = ((Memory.CURRENT, "current_gain"), (Memory.SECOND_CURRENT, "second_gain"))
            for (memory, gain), total in zip(currents[:len(totals)], totals, strict=True):
                state[memory] = u = toward_zero(state[memory] * c[gain], PARAMS.gain_bits) + (total << c["shift"])
                self.met["overflow"] += not -32768 <= u <= 32767
                exact += u
            moved = min(32767, max(-32768, exact))
            self.met["high" if exact > 32767 else "low" if exact < -32768 else "between"] += 1
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
        for memory, value in (state | {Memory.MEMBRANE: v, Memory.REFRACTORY: wait}).items():
            self.state[memory][n] = value
        return spike, int(bool(active and not c["spiking"]))


async def load_neurons(ctx: Any, unit: NeuronUnit, model: Model) -> None:
    """Write a model's constants, and garbage for its state."""
    for address, value in model.words.items():
        await write(ctx, unit.bus, Memory.CLASSES, address, value)
    for memory, values in model.constants.items():
        for address, value in enumerate(values):
            await write(ctx, unit.bus, memory, address, value & (1 << model.specs[memory].entry.bits) - 1)
    for memory in model.state:
        for address in range(PARAMS.core_neurons):
            await write(ctx, unit.bus, memory, address, 0x2A)
    for row in range(PARAMS.neuron_rows):
        await write(ctx, unit.bus, Memory.FANOUT, row, int(model.specs[Memory.FANOUT].entry.pack(**fanout(row))))


def fanout(row: int) -> dict[str, int]:
    """A row's entry of FANOUT; its lowest bits are the row's number."""
    return {"start": PARAMS.neuron_rows + row, "valid": int(row % 3 > 0)}


def told(row: Any) -> int:
    """A row as a number. Potentials mean something only where one is open."""
    return bits(row) if row.open else packed(row_layout(PARAMS), {name: getattr(row, name) for name in ("fanout", "due", "spikes")})


@pytest.mark.parametrize("overlap", [False, True])
@pytest.mark.parametrize(("pauses", "params"), [((0.0, 0.0), PARAMS), ((0.3, 0.8), PARAMS), ((0.1, 0.4), TWO)])
def test_neurons_follow_the_equations(pauses: tuple[float, float], params: ArrayParams, overlap: bool) -> None:
    """With ``overlap`` the tick changes before its last rows have come, as ``ample`` allows; the next one's come as soon as they may."""
    rng = random.Random(f"{pauses}")
    unit, model, layout = NeuronUnit(params), Model(rng, params), row_layout(PARAMS)
    ports = [unit.sums] if params.currents == 1 else [unit.sums, unit.second_sums]
    taker = Taker(unit.o, rng, pauses[1], told)
    expected: list[dict[str, Any]] = []
    met = Counter[str]()
    early = min(promised(params), FIRST + PARAMS.neuron_rows - LEAST_ROWS)  # rows that come after the change

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        phases = [rng.randrange(2) for _ in range(100)]
        ticks = [{"phase": phase, "age": min(number % 10, 15), "end": 0, "fresh": int(number % 10 == 0)}
                 for number, phase in enumerate(phases)]
        changed = False
        for number, tick in enumerate(ticks):
            if not changed:
                ctx.set(unit.tick, tick | {"overlap": 0, "turn": number % 2})
                await ctx.tick().repeat(FIRST)
            changed, since = False, 0
            for row in range(PARAMS.neuron_rows):
                if overlap and row >= PARAMS.neuron_rows - early and number < 99 and not changed and ctx.get(unit.ample):
                    ctx.set(unit.tick, ticks[number + 1] | {"overlap": 0, "turn": (number + 1) % 2})
                    changed = True
                    met["early"] += 1
                while not changed and (rng.random() < pauses[0] or not ctx.get(unit.enable)):
                    await ctx.tick()
                sums = [[rng.randrange(-200, 400) for _ in ports] for _ in range(2)]
                ctx.set(unit.valid, 1)
                ctx.set(unit.number, row)
                for column, totals in enumerate(sums):
                    for port, total in zip(ports, totals, strict=True):
                        ctx.set(port[column], total)
                outcome = [model.update(2 * row + column, totals, tick) for column, totals in enumerate(sums)]
                if any(spike or opened for spike, opened in outcome):
                    expected.append({
                        "fanout": fanout(row), "due": 1 - number % 2, "spikes": sum(spike << i for i, (spike, _) in enumerate(outcome)),
                        "open": sum(opened << i for i, (_, opened) in enumerate(outcome)),
                        "membrane": [model.state[Memory.MEMBRANE][2 * row + i] if opened else None
                                     for i, (_, opened) in enumerate(outcome)]})
                await ctx.tick()
                since += changed
                ctx.set(unit.valid, 0)
            if changed:
                await ctx.tick().repeat(FIRST - since)
            else:
                await settle(ctx, unit.idle)
        await settle(ctx, unit.idle)
        for row in range(PARAMS.neuron_rows):
            assert model.specs[Memory.FANOUT].entry.pack(**fanout(row)) == await read(ctx, unit.bus, Memory.FANOUT, row, 1)
        for memory, values in model.state.items():
            for address, value in enumerate(values):
                found = await read(ctx, unit.bus, memory, address, 1)
                assert found == value & (1 << model.specs[memory].entry.bits) - 1, f"{memory.name} {address}"

    simulate(unit, run, background=[taker.run])
    found: list[Any] = [layout.from_bits(payload) for payload in taker.payloads]
    assert [{"fanout": {"start": row.fanout.start, "valid": row.fanout.valid}, "due": row.due, "spikes": row.spikes, "open": row.open,
             "membrane": [row.membrane[i] if row.open >> i & 1 else None for i in range(2)]} for row in found] == expected
    for situation in ("high", "low", "spike", "refractory", "hold", "rest"):
        assert model.met[situation] > 3, f"{situation}: {model.met}"
    assert not overlap or met["early"] > 20
    assert not model.met["overflow"]


def test_neurons_answer_after_their_latency_and_take_a_row_a_cycle() -> None:
    unit, model = NeuronUnit(PARAMS), Model(random.Random(9))
    for values, value in ((model.constants[Memory.NEURON_CLASS], 0), (model.constants[Memory.THRESHOLD], -32768)):
        values[:] = [value] * len(values)
    first, second = class_records(PARAMS)
    model.words |= {0: int(first.pack(membrane_gain=0)), 1: int(second.pack(spiking=1, phases=1))}
    taker = Taker(unit.o, random.Random(1))
    began: list[int] = []

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 1, "overlap": 0, "turn": 0})
        await ctx.tick().repeat(FIRST)
        ctx.set(unit.valid, 1)
        for row in range(4):
            ctx.set(unit.number, row)
            await ctx.tick()
        ctx.set(unit.valid, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[taker.run, watch(unit.valid, began)])
    cycles = [at for at, _ in taker.found]
    assert cycles == [at + NeuronUnit.LATENCY for at in began] == list(range(cycles[0], cycles[0] + 4))


def test_neurons_ask_for_a_pause_before_their_queue_overflows() -> None:
    """Rows come whenever ``enable`` lets them, and nobody takes any for a long time."""
    unit, model = NeuronUnit(PARAMS), Model(random.Random(9))
    first, second = class_records(PARAMS)
    model.words = dict(enumerate([int(first.pack()), int(second.pack(spiking=1, phases=1))] * 4))
    model.constants[Memory.THRESHOLD] = [-32768] * PARAMS.core_neurons
    taker = Taker(unit.o, random.Random(1), 0.97, told)
    sent = 0
    stopped = False

    async def run(ctx: Any) -> None:
        nonlocal sent, stopped
        await load_neurons(ctx, unit, model)
        ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": 1, "overlap": 0, "turn": 0})
        await ctx.tick().repeat(FIRST)
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


@pytest.mark.parametrize(("params", "port"), [(PARAMS, "sums"), (TWO, "sums"), (TWO, "second_sums")])
def test_a_current_beyond_its_width_raises_overflow(params: ArrayParams, port: str) -> None:
    unit, model = NeuronUnit(params), Model(random.Random(9), params)
    first, second, *third = class_records(params)
    words = [first.pack(current_gain=1 << 12), second.pack(phases=1, shift=5), *(word.pack(second_gain=1 << 12) for word in third)]
    address = model.specs[Memory.CLASSES].address
    model.words = {int(address.pack(part=part, index=n)): int(word) for n in range(4) for part, word in enumerate(words)}
    raised: list[bool] = []

    async def run(ctx: Any) -> None:
        await load_neurons(ctx, unit, model)
        for fresh, total in ((1, 1023), (0, 0), (0, 1), (1, -1024), (0, -1), (1, 1024)):
            ctx.set(unit.tick, {"phase": 0, "age": 0, "end": 0, "fresh": fresh, "overlap": 0, "turn": 0})
            await ctx.tick().repeat(FIRST)
            ctx.set(getattr(unit, port)[0], total)
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
