"""Synapses and lanes in Amaranth's simulator, with random waits, against references in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from spikeloom.hdl.access import SYNAPSE_CYCLES
from spikeloom.hdl.lanes import Lanes, Step
from spikeloom.hdl.synapses import Synapses
from spikeloom.memories import Memory, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams
from tests.units import read, simulate, write

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
