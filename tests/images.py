"""Images written by hand, a core at a time: for tests that want to know every bit, without the compiler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikeloom.fields import Ints, Words
from spikeloom.image import Core, Image, InputMap, PopulationMap
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class Neuron:
    """A neuron's constants; gains in units of ``2**-gain_bits``."""

    alpha: int = 0
    beta: int = 0
    shift: int = 0
    theta: int = 1
    bias: int = 0
    reset: int = 0
    subtract: int = 0
    refractory: int = 0
    hold: int = 0
    spiking: int = 1
    phases: int = 1
    start: int = 0
    second: int = 0  # the second current's gain


@dataclass(frozen=True)
class Send:
    """Spikes of ``neuron`` hit ``axon`` of the cores x0..x1, y0..y1 after ``delay`` ticks; ``planes`` as in the record."""

    neuron: int
    axon: int
    delay: int = 1
    area: tuple[int, int, int, int] = (0, 0, 0, 0)
    planes: int = 0


@dataclass(frozen=True)
class CoreSpec:
    """A core: neurons in rows of ``neurons_per_cycle``, and ``words`` (banks, words, lanes) of digits.

    ``lists`` gives (base, entries) for axons of an array with lists. Every neuron is recorded.
    """

    neurons: Sequence[Neuron]
    words: npt.NDArray[np.int64]
    slices: int = 1
    sends: Sequence[Send] = ()
    lists: Mapping[int, tuple[int, Sequence[tuple[int, int]]]] = field(default_factory=dict)
    folds: int = 1
    currents: int = 1


def digits(weights: npt.ArrayLike, bits: int, slices: int) -> Ints:
    """Signed digits of weights, most significant first, along a new last axis."""
    rest = np.asarray(weights, np.int64)
    parts = []
    for _ in range(slices):
        low = (rest + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
        parts.append(low)
        rest = (rest - low) >> bits
    if np.any(rest):
        raise ValueError(f"Weights do not fit in {slices} digits of {bits} bits")
    return np.stack(parts[::-1], axis=-1)


def words_of(params: ArrayParams, weights: npt.ArrayLike, slices: int = 1, second: npt.ArrayLike | None = None
             ) -> npt.NDArray[np.int64]:
    """Synapse words of a core without lists: ``weights`` (axons, neurons), axon a in bank a mod banks, word a div banks; where the
    core has two currents, those of the ``second`` too."""
    currents = [np.asarray(matrix, np.int64) for matrix in (weights, second) if matrix is not None]
    per_row = params.neurons_per_cycle
    words = np.zeros((params.banks, params.words, params.lanes), np.int64)
    for current, matrix in enumerate(currents):
        for (axon, neuron), parts in zip(np.ndindex(*matrix.shape), digits(matrix, params.weight_bits, slices).reshape(-1, slices),
                                         strict=True):
            group, column = divmod(neuron, per_row)
            lanes = ((group * len(currents) + current) * slices + np.arange(slices)) * per_row + column
            words[axon % params.banks, axon // params.banks, lanes] = parts
    return words


def make(params: ArrayParams, cores: Mapping[Core, CoreSpec], routes: npt.ArrayLike, size: int, period: int = 1,
         depth: int = 0) -> Image:
    """An image with one input ``in`` of ``size`` neurons and a population for each core, ``core_x_y``.

    ``routes`` are rows (neuron, tick, x0, x1, y0, y1, axon).
    """
    memories, populations = {}, []
    first = 0
    for core, spec in cores.items():
        memories[core], count = _memories(params, spec, first)
        where = memory_specs(params)[Memory.MEMBRANE].address.pack(
            column=np.arange(count) % params.neurons_per_cycle, row=np.arange(count) // params.neurons_per_cycle)
        places = np.stack([np.full(count, core[0]), np.full(count, core[1]), where.astype(np.int64), first + np.arange(count)], 1)
        populations.append(PopulationMap(f"core_{core[0]}_{core[1]}", (count,), depth, True, places, np.ones(count)))
        first += -(-count // params.neurons_per_cycle) * params.neurons_per_cycle
    table = np.asarray(routes, np.int64).reshape(-1, 7)
    return Image(params, memories, (InputMap("in", (size,), table),), tuple(populations), period)


def lone(params: ArrayParams, weights: npt.ArrayLike, neurons: Sequence[Neuron], slices: int = 1, sends: Sequence[Send] = (),
         period: int = 1, second: npt.ArrayLike | None = None) -> Image:
    """One core; input i hits axon i with ``weights[i]`` (inputs, neurons), and with ``second[i]`` on neurons of two currents. Its
    population is ``core_0_0``."""
    matrix = np.atleast_2d(np.asarray(weights, np.int64))
    spec = CoreSpec(neurons, words_of(params, matrix, slices, second), slices, sends, currents=1 if second is None else 2)
    routes = [(i, 0, 0, 0, 0, 0, i) for i in range(len(matrix))]
    return make(params, {(0, 0): spec}, routes, len(matrix), period)


def _memories(params: ArrayParams, spec: CoreSpec, first_output: int) -> tuple[dict[Memory, Words], int]:
    specs = memory_specs(params)
    per_row, count = params.neurons_per_cycle, len(spec.neurons)
    rows = -(-count // per_row)
    control = np.zeros(specs[Memory.CONTROL].span, np.uint64)
    control[[Control.SLICES, Control.GROUPS, Control.FOLDS]] = spec.slices, -(-rows // spec.folds), spec.folds
    if params.currents > 1:
        control[Control.CURRENTS] = spec.currents
    memories = {Memory.CONTROL: control, Memory.SYNAPSES: _synapses(params, spec.words)}
    where = specs[Memory.MEMBRANE].address.pack(column=np.arange(count) % per_row, row=np.arange(count) // per_row).astype(int)
    for memory, name in ((Memory.THRESHOLD, "theta"), (Memory.BIAS, "bias"), (Memory.RESET, "reset")):
        memories[memory] = np.zeros(specs[memory].span, np.uint64)
        memories[memory][where] = specs[memory].entry.pack(value=[getattr(neuron, name) for neuron in spec.neurons])
    memories |= _classes(params, spec.neurons, where)
    if params.lists:
        memories |= _lists(params, spec)
    return memories | _destinations(params, spec, rows, first_output), count


def _synapses(params: ArrayParams, words: npt.NDArray[np.int64]) -> Words:
    spec = memory_specs(params)[Memory.SYNAPSES]
    address = spec.address.unpack(spec.addresses())
    padded = np.zeros((params.banks, params.words, params.chunks * params.chunk_lanes), np.int64)
    padded[..., : params.lanes] = words
    cells = {f"cell{i}": padded[address["bank"], address["word"], address["chunk"] * params.chunk_lanes + i]
             for i in range(params.chunk_lanes)}
    table = np.zeros(spec.span, np.uint64)
    table[spec.addresses().astype(int)] = synapse_chunk(params).pack(**cells)
    return table


def _classes(params: ArrayParams, neurons: Sequence[Neuron], where: Ints) -> dict[Memory, Words]:
    specs = memory_specs(params)
    first, rules, *third = class_records(params)
    kinds: dict[tuple[int, ...], int] = {}
    table = np.zeros(specs[Memory.CLASSES].span, np.uint64)
    index = np.zeros(specs[Memory.NEURON_CLASS].span, np.uint64)
    for neuron, at in zip(neurons, where, strict=True):
        words = (int(first.pack(current_gain=neuron.alpha, membrane_gain=neuron.beta)),
                 int(rules.pack(shift=neuron.shift, refractory=neuron.refractory, spiking=neuron.spiking,
                                subtract=neuron.subtract, hold=neuron.hold, phases=neuron.phases,
                                start=neuron.start)),
                 *(int(record.pack(second_gain=neuron.second)) for record in third))
        number = index[at] = kinds.setdefault(words, len(kinds))
        for part, word in enumerate(words):
            table[int(specs[Memory.CLASSES].address.pack(part=part, index=number))] = word
    return {Memory.CLASSES: table, Memory.NEURON_CLASS: index}


def _lists(params: ArrayParams, spec: CoreSpec) -> dict[Memory, Words]:
    """Equal lists of a bank are stored once."""
    specs = memory_specs(params)
    axons, entries = (np.zeros(specs[memory].span, np.uint64) for memory in (Memory.AXONS, Memory.ENTRIES))
    places: dict[tuple[int, tuple[tuple[int, int], ...]], int] = {}
    used = [0] * params.banks
    for axon, (base, items) in spec.lists.items():
        bank, index = axon % params.banks, axon // params.banks
        key = (bank, tuple(items))
        if key not in places:
            places[key] = used[bank]
            for word, fold in items:
                entries[int(specs[Memory.ENTRIES].address.pack(index=used[bank], bank=bank))] = \
                    specs[Memory.ENTRIES].entry.pack(word=word, fold=fold)
                used[bank] += 1
        axons[int(specs[Memory.AXONS].address.pack(index=index, bank=bank))] = \
            specs[Memory.AXONS].entry.pack(start=places[key], base=base, count=len(items))
    return {Memory.AXONS: axons, Memory.ENTRIES: entries}


def _destinations(params: ArrayParams, spec: CoreSpec, rows: int, first_output: int) -> dict[Memory, Words]:
    per_row, record = params.neurons_per_cycle, destination_record(params)
    table = np.zeros(params.destinations, np.uint64)
    fanout = np.zeros(memory_specs(params)[Memory.FANOUT].span, np.uint64)
    used = 0
    for row in range(rows):
        block, offset = divmod(first_output + row * per_row, params.block)
        entries = [{"mask": (1 << per_row) - 1, "block": block, "offset": offset // per_row, "host": 1}]
        for send in spec.sends:
            if send.neuron // per_row == row:
                if send.axon % per_row != send.neuron % per_row:
                    raise ValueError(f"Neuron {send.neuron} cannot reach axon {send.axon}: they differ modulo {per_row}")
                block, offset = divmod(send.axon, params.block)
                x0, x1, y0, y1 = send.area
                entries.append({"mask": 1 << send.neuron % per_row, "block": block, "offset": offset // per_row,
                                "delay": send.delay - 1, "x0": x0, "x1": x1, "y0": y0, "y1": y1, "planes": send.planes})
        fanout[row] = memory_specs(params)[Memory.FANOUT].entry.pack(start=used, valid=1)
        for i, entry in enumerate(entries):
            table[used] = record.pack(**entry, last=int(i == len(entries) - 1))
            used += 1
    return {Memory.FANOUT: fanout, Memory.DESTINATIONS: table}
