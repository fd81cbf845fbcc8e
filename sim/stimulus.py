"""Random arrays, images and inputs: the cases on which the golden model and the RTL are held against each other.

Images are drawn at the level of bits, so that everything an array can be told to do occurs, whether or not the compiler would
ask for it: recurrence, multicast, several destinations, delays, shared words and lists, sliced weights, both resets, refractory
periods, gains up to 2, one and two synaptic currents, phases of slowed networks, potentials sent as bit planes, and delays that
let ticks overlap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.events import Spikes
from spikeloom.fields import Words
from spikeloom.image import Core, Image, InputMap, PopulationMap
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams

Generator = np.random.Generator


def random_params(rng: Generator) -> ArrayParams:
    """An array of 1 to 16 cores, small enough that its RTL builds in seconds."""
    columns, rows = [(1, 1), (1, 1), (2, 1), (1, 3), (2, 2), (3, 2), (4, 2), (4, 4)][rng.integers(8)]
    small = columns * rows > 4
    banks = int(rng.choice([1, 2, 4, 8]))
    per_row = int(rng.choice([1, 2, 4]))
    block = max(int(rng.choice([4, 8, 16, 32])), banks, per_row)
    weight_bits = int(rng.choice([2, 3, 4, 4, 8]))
    folds = int(rng.choice([1, 1, 2, 4]))
    unit = block // banks
    words = unit * int(rng.integers(1, 3 if small else 5)) * (1 if unit > 2 else 4)
    axons = unit * int(rng.integers(1, 3 if small else 5)) * (1 if unit > 2 else 4)
    return ArrayParams(
        columns=columns, rows=rows, banks=banks, neurons_per_cycle=per_row, block=block, weight_bits=weight_bits, folds=folds,
        lanes=per_row * int(rng.integers(1, 4 if small else 8)), words=max(2, words), axons=max(2, axons),
        accumulator_bits=min(32, weight_bits + 10), state_bits=int(rng.integers(16, 33)), gain_bits=int(rng.integers(12, 17)),
        classes=int(rng.integers(1, 9)), delays=int(rng.choice([1, 2, 4, 8])), delay_depth=int(rng.choice([4, 8, 16])),
        entries=int(rng.choice([16, 32])), destinations=int(rng.choice([8, 16, 32])), refractory_bits=int(rng.integers(1, 6)),
        phases=int(rng.integers(1, 5)), currents=int(rng.choice([1, 1, 2, 0])), floors=int(rng.integers(0, 2)))


@dataclass(frozen=True)
class Case:
    """One random image with random inputs, and how they are to be run."""

    image: Image
    inputs: dict[str, Spikes]
    potentials: str


def random_case(params: ArrayParams, rng: Generator) -> Case:
    """An image for these parameters that may overflow (the golden model then says so) and inputs for it."""
    builder = _Builder(params, rng)
    image = builder.image()
    samples, steps = int(rng.integers(1, 4)), int(rng.integers(1, 12))
    rate = rng.choice([0.0, 0.05, 0.3, 0.8])
    inputs = {source.name: rng.random((samples, steps, source.size)) < rate for source in image.inputs}
    return Case(image, inputs, str(rng.choice(["end", "steps"])))


class _Builder:
    """Draws one image, memory by memory."""

    def __init__(self, params: ArrayParams, rng: Generator) -> None:
        self.params, self.rng, self.specs = params, rng, memory_specs(params)
        self.period = int(rng.integers(1, params.phases + 1))
        self.density = rng.choice([0.1, 0.5, 1.0])
        self.overlap = params.delays > 1 and rng.random() < 0.3  # every connection takes two ticks or more
        self.waiting = dict.fromkeys(self.cores(), 0)
        self.output = 0

    def cores(self) -> list[Core]:
        return [(x, y) for y in range(self.params.rows) for x in range(self.params.columns)]

    def image(self) -> Image:
        memories, populations = {}, []
        for core in self.cores():
            memories[core], population = self._core(core)
            if population is not None:
                populations.append(population)
        inputs = tuple(self._inputs(max((p.depth for p in populations), default=0)))
        return Image(self.params, memories, inputs, tuple(populations), self.period)

    def _entries(self, memory: Memory, **values: Any) -> Words:
        """A whole memory from the values of its fields at all valid addresses."""
        spec = self.specs[memory]
        words = np.zeros(spec.span, np.uint64)
        words[spec.addresses().astype(np.int64)] = spec.entry.pack(**values)
        return words

    def _core(self, core: Core) -> tuple[dict[Memory, Words], PopulationMap | None]:
        params, rng = self.params, self.rng
        slices = int(rng.integers(1, params.max_slices + 1)) if rng.random() < 0.5 else min(2, params.max_slices)
        currents = int(rng.integers(0, 3)) if params.currents > 1 and 2 * slices <= params.lane_rows else 1
        groups = int(rng.integers(1, params.lane_rows // (slices * max(1, currents)) + 1))
        folds = int(rng.integers(1, params.folds + 1)) if rng.random() > 0.05 else 0
        control = np.zeros(self.specs[Memory.CONTROL].span, np.uint64)
        control[[Control.SLICES, Control.GROUPS, Control.FOLDS]] = slices, groups, folds
        if params.currents > 1:
            control[Control.CURRENTS] = currents
        memories = {Memory.CONTROL: control, Memory.SYNAPSES: self._synapses(), **self._classes(), **self._lists()}
        rows = groups * folds
        memories |= self._neurons(slices)
        fanout, outputs = self._destinations(core, rows)
        memories |= fanout
        if not rows:
            return memories, None
        per_row = params.neurons_per_cycle
        row, column = np.divmod(np.arange(rows * per_row), per_row)
        where = self.specs[Memory.MEMBRANE].address.pack(column=column, row=row).astype(np.int64)
        places = np.stack([np.full_like(where, core[0]), np.full_like(where, core[1]), where,
                           np.where(outputs[row] < 0, -1, outputs[row] + column)], axis=1)
        recorded = bool(np.all(outputs >= 0))
        return memories, PopulationMap(f"core_{core[0]}_{core[1]}", (rows * per_row,), int(rng.integers(0, 3)), recorded, places,
                                       np.ones(rows * per_row))

    def _synapses(self) -> Words:
        chunk = synapse_chunk(self.params)
        count = len(self.specs[Memory.SYNAPSES].addresses())
        high = 1 << (self.params.weight_bits - 1)
        return self._entries(Memory.SYNAPSES, **{
            field.name: np.where(self.rng.random(count) < self.density, self.rng.integers(-high, high, count), 0)
            for field in chunk})

    def _lists(self) -> dict[Memory, Words]:
        params, rng = self.params, self.rng
        if not params.lists:
            return {}
        axons, entries = (len(self.specs[memory].addresses()) for memory in (Memory.AXONS, Memory.ENTRIES))
        start = rng.integers(0, params.entries, axons)
        count = np.minimum(rng.integers(0, 6, axons), params.entries - start)
        return {Memory.AXONS: self._entries(Memory.AXONS, start=start, base=rng.integers(0, params.folds, axons), count=count),
                Memory.ENTRIES: self._entries(Memory.ENTRIES, word=rng.integers(0, params.words, entries),
                                              fold=rng.integers(0, params.folds, entries))}

    def _classes(self) -> dict[Memory, Words]:
        """Gains of every kind: none, slow and fast decays, one, up to two for the membrane."""
        params, rng, count = self.params, self.rng, self.params.classes
        one = 1 << params.gain_bits
        self.shift = int(rng.integers(0, params.state_bits - 14)) if params.state_bits > 16 else 0
        first, second, *third = class_records(params)

        def decay() -> Any:
            return rng.choice([0, 0, one // 2, one * 7 // 8, int(rng.integers(0, one))], count)

        alpha = {"current_gain": decay()} if params.currents else {}
        gains = first.pack(**alpha,
                           membrane_gain=rng.choice([0, one, 2 * one, one * 15 // 16, int(rng.integers(0, 2 * one + 1))], count))
        floor = {"floor": rng.random(count) < 0.4} if params.floors else {}
        rules = second.pack(
            shift=np.where(rng.random(count) < 0.8, self.shift, 0), refractory=rng.integers(0, 1 << params.refractory_bits, count)
            * (rng.random(count) < 0.5), spiking=rng.random(count) < 0.8, subtract=rng.random(count) < 0.5,
            hold=rng.random(count) < 0.3, phases=rng.integers(1, 1 << params.phases, count) if self.period > 1 else 1,
            start=rng.integers(0, min(4, params.depths), count) * (rng.random(count) < 0.5), **floor)
        table = np.zeros(self.specs[Memory.CLASSES].span, np.uint64)
        for part, words in enumerate((gains, rules, *(record.pack(second_gain=decay()) for record in third))):
            table[self.specs[Memory.CLASSES].address.pack(part=part, index=np.arange(count)).astype(np.int64)] = words
        return {Memory.CLASSES: table}

    def _neurons(self, slices: int) -> dict[Memory, Words]:
        """Constants around the size of the sums, and now and then at the ends of their range."""
        params, rng = self.params, self.rng
        count = len(self.specs[Memory.THRESHOLD].addresses())
        top = (1 << (params.state_bits - 1)) - 1
        scale = min(top, (1 << (params.weight_bits * slices)) << self.shift)

        def draw(low: float, extreme: float) -> Any:
            usual = rng.integers(int(low * scale) - 1, scale + 1, count)
            ends = np.where(rng.random(count) < 0.5, -top - 1, top)
            return np.where(rng.random(count) < extreme, ends, usual)

        return {Memory.THRESHOLD: self._entries(Memory.THRESHOLD, value=draw(-0.1, 0.02)),
                Memory.BIAS: self._entries(Memory.BIAS, value=np.where(rng.random(count) < 0.5, 0, draw(-0.5, 0.1))),
                Memory.RESET: self._entries(Memory.RESET, value=draw(-0.5, 0.05)),
                Memory.NEURON_CLASS: self._entries(Memory.NEURON_CLASS, index=rng.integers(0, params.classes, count))}

    def _rectangle(self) -> tuple[int, int, int, int]:
        x0, y0 = int(self.rng.integers(self.params.columns)), int(self.rng.integers(self.params.rows))
        return x0, int(self.rng.integers(x0, self.params.columns)), y0, int(self.rng.integers(y0, self.params.rows))

    def _destinations(self, core: Core, rows: int) -> tuple[dict[Memory, Words], Any]:
        """Lists of destinations for the neuron rows; also each row's first output, −1 without one."""
        params, rng = self.params, self.rng
        per_row, record = params.neurons_per_cycle, destination_record(params)
        table = np.zeros(params.destinations, np.uint64)
        fanout = np.zeros(self.specs[Memory.FANOUT].span, np.uint64)
        outputs = np.full(rows, -1)
        used, recorded = 0, rng.random() < 0.8
        for row in range(rows):
            entries: list[dict[str, int]] = []
            if recorded and used + len(entries) < params.destinations:
                block, offset = divmod(self.output, params.block)
                outputs[row] = self.output
                self.output += per_row
                entries.append({"mask": (1 << per_row) - 1, "offset": offset // per_row, "block": block, "host": 1})
            for _ in range(int(rng.integers(0, 4))):
                entry = self._destination()
                if used + len(entries) < params.destinations and entry is not None:
                    entries.append(entry)
            if entries:
                rng.shuffle(entries)
                for i, entry in enumerate(entries):
                    table[used + i] = record.pack(**entry, last=int(i == len(entries) - 1))
                fanout[row] = self.specs[Memory.FANOUT].entry.pack(start=used, valid=1)
                used += len(entries)
        return {Memory.FANOUT: fanout, Memory.DESTINATIONS: table}, outputs

    def _destination(self) -> dict[str, int] | None:
        """A random destination, None when the packets that may wait would not fit."""
        params, rng = self.params, self.rng
        units = params.core_axons // params.neurons_per_cycle
        planes = int(rng.integers(1, min(params.state_bits, units) + 1)) if rng.random() < 0.2 else 0
        first = int(rng.integers(0, units - max(planes - 1, 0)))
        block, offset = divmod(first, params.block // params.neurons_per_cycle)
        delay = int(rng.integers(self.overlap, params.delays)) if self.overlap or rng.random() < 0.5 else 0
        x0, x1, y0, y1 = self._rectangle()
        if delay:
            covered = [(x, y) for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]
            if any(self.waiting[core] + max(planes, 1) > params.delay_depth for core in covered):
                return None
            for core in covered:
                self.waiting[core] += max(planes, 1)
        return {"mask": int(rng.integers(1, 1 << params.neurons_per_cycle)), "offset": offset, "block": block, "delay": delay,
                "x0": x0, "x1": x1, "y0": y0, "y1": y1, "planes": planes}

    def _inputs(self, depth: int) -> list[InputMap]:
        """One or two inputs; no two routes share an axon of a rectangle."""
        rng, params = self.rng, self.params
        inputs = []
        axons = rng.permutation(params.core_axons)
        for name in ("a", "b")[: 1 + int(rng.random() < 0.3 and params.core_axons > 1)]:
            size = int(rng.integers(1, max(2, min(len(axons), 40))))
            mine, axons = axons[:size], axons[size:]
            routes = [(neuron, int(rng.integers(0, depth + 1)), *self._rectangle(), int(axon))
                      for neuron, axon in enumerate(mine)]
            inputs.append(InputMap(name, (size,), np.array(routes, np.int64).reshape(-1, 7)))
        return [source for source in inputs if len(source.routes)]
