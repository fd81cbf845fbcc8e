"""A core of an image, unpacked for the golden model: digits as a matrix, neuron constants, destinations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Ints
from spikeloom.image import Core, Image
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class Neurons:
    """The constants of a core's neurons in use, each int64 (neurons,), by rising address ``where``."""

    where: Ints
    threshold: Ints
    bias: Ints
    reset: Ints
    current_gain: Ints
    membrane_gain: Ints
    shift: Ints
    refractory: Ints
    spiking: Ints
    subtract: Ints
    hold: Ints
    phases: Ints
    start: Ints


@dataclass(frozen=True)
class Branch:
    """One destination entry of one neuron row: columns ``neurons`` (positions in the core's vector) reach ``axons``.

    ``cores`` are indices of the target cores, empty for the host; ``plane`` is −1 for spikes, else the bit of v that is sent.
    """

    neurons: Ints
    axons: Ints
    cores: tuple[int, ...]
    delay: int
    plane: int


class CoreModel:
    """One core of the image, unpacked: digits as a matrix, neuron constants, destinations."""

    def __init__(self, image: Image, core: Core) -> None:
        params = image.params
        control = image.entries(core, Memory.CONTROL).astype(np.int64)
        self.slices, self.groups, self.folds = (int(control[i]) for i in Control)
        self._check_control(params, core)
        self.digits = self._digits(image, core)
        self.sums = self._join(params)
        self.reads = self._reads(image, core)
        self.neurons = self._neurons(image, core)
        self.branches = self._branches(image, core)

    def _check_control(self, params: ArrayParams, core: Core) -> None:
        if not self.folds:
            self.groups, self.slices = 0, 1
        if self.folds > params.folds or not 1 <= self.slices <= params.max_slices \
                or self.groups * self.slices > params.lane_rows:
            raise MachineError(f"Core {core}: {self.slices} slices × {self.groups} groups × {self.folds} folds exceed the "
                               f"core's {params.lane_rows} lane rows × {params.folds} folds")

    def _words(self, image: Image, core: Core) -> Ints:
        """Synapse words as digits, (banks, words, lanes)."""
        params = image.params
        spec = memory_specs(params)[Memory.SYNAPSES]
        address = spec.addresses()
        cells = synapse_chunk(params).unpack(image.entries(core, Memory.SYNAPSES)[address.astype(np.int64)])
        chunked = np.stack(list(cells.values()), axis=-1)
        rows = chunked.reshape(params.banks, params.words, params.chunks * params.chunk_lanes)
        return rows[..., : params.lanes]

    def _entries(self, image: Image, core: Core) -> tuple[Ints, Ints, Ints]:
        """Axon, word and fold of everything that axons select: each int64 (entries,); the bank is axon mod banks."""
        params = image.params
        if not params.lists:
            axon = np.arange(params.core_axons)
            return axon, axon // params.banks, np.zeros_like(axon)
        specs = memory_specs(params)
        found: list[tuple[int, int, int]] = []
        tables = {}
        for memory in (Memory.AXONS, Memory.ENTRIES):
            spec = specs[memory]
            parts = spec.entry.unpack(image.entries(core, memory)[spec.addresses().astype(np.int64)])
            tables[memory] = {name: value.reshape(params.banks, -1) for name, value in parts.items()}
        axons, lists = tables[Memory.AXONS], tables[Memory.ENTRIES]
        for bank, index in np.argwhere(axons["count"] != 0):
            start, count = int(axons["start"][bank, index]), int(axons["count"][bank, index])
            if start + count > params.entries:
                raise MachineError(f"Core {core}, bank {bank}, axon {index}: its list runs beyond {params.entries} entries")
            for entry in range(start, start + count):
                fold = (axons["base"][bank, index] + lists["fold"][bank, entry]) % params.folds
                found.append((int(index * params.banks + bank), int(lists["word"][bank, entry]), int(fold)))
        return tuple(np.array(found, np.int64).reshape(-1, 3).T)  # type: ignore[return-value]  # three columns

    def _digits(self, image: Image, core: Core) -> Ints:
        """What one hit of an axon adds to each accumulator: (axons, folds in use × lanes)."""
        params = image.params
        words = self._words(image, core)
        axon, word, fold = self._entries(image, core)
        digits = np.zeros((params.core_axons, params.folds, params.lanes), np.int64)
        np.add.at(digits, (axon, fold), words[axon % params.banks, word])
        return digits[:, : self.folds].reshape(params.core_axons, -1)

    def _join(self, params: ArrayParams) -> Ints:
        """The weights that the digits stand for: (axons, neurons)."""
        lanes = self.digits.reshape(params.core_axons, self.folds, params.lane_rows, params.neurons_per_cycle)
        rows = lanes[:, :, : self.groups * self.slices]
        parts = rows.reshape(params.core_axons, self.folds, self.groups, self.slices, params.neurons_per_cycle)
        place = 1 << (params.weight_bits * np.arange(self.slices)[::-1])
        joined: Ints = np.einsum("afgsk,s->afgk", parts, place)
        return joined.reshape(params.core_axons, self.folds * self.groups * params.neurons_per_cycle)

    def _reads(self, image: Image, core: Core) -> Ints:
        """Synapse words read by one hit of each axon: (axons,)."""
        axon, _, _ = self._entries(image, core)
        return np.bincount(axon, minlength=image.params.core_axons).astype(np.int64)

    def _neurons(self, image: Image, core: Core) -> Neurons:
        params = image.params
        specs = memory_specs(params)
        rows = np.arange(self.folds * self.groups)
        row, column = np.meshgrid(rows, np.arange(params.neurons_per_cycle), indexing="ij")
        where = specs[Memory.MEMBRANE].address.pack(column=column, row=row).ravel().astype(np.int64)

        def each(memory: Memory) -> Ints:
            return next(iter(specs[memory].entry.unpack(image.entries(core, memory)[where]).values()))

        first, second = class_records(params)
        table = image.entries(core, Memory.CLASSES)
        index = each(Memory.NEURON_CLASS)
        if index.size and index.max() >= params.classes:
            raise MachineError(f"Core {core}: neuron class {index.max()} exceeds the {params.classes} classes")
        at = {part: table[specs[Memory.CLASSES].address.pack(part=part, index=index).astype(np.int64)] for part in (0, 1)}
        return Neurons(where, each(Memory.THRESHOLD), each(Memory.BIAS), each(Memory.RESET),
                       **first.unpack(at[0]), **second.unpack(at[1]))

    def _branches(self, image: Image, core: Core) -> list[Branch]:
        params, per_row = image.params, image.params.neurons_per_cycle
        fanout = memory_specs(params)[Memory.FANOUT].entry.unpack(image.entries(core, Memory.FANOUT))
        table = destination_record(params).unpack(image.entries(core, Memory.DESTINATIONS))
        branches: list[Branch] = []
        for row in range(self.folds * self.groups):
            if not fanout["valid"][row]:
                continue
            index = int(fanout["start"][row])
            while True:
                if index >= params.destinations:
                    raise MachineError(f"Core {core}, neuron row {row}: its destinations run beyond {params.destinations}")
                entry = {name: int(values[index]) for name, values in table.items()}
                columns = np.flatnonzero([entry["mask"] >> column & 1 for column in range(per_row)])
                cores = () if entry["host"] else tuple(
                    y * params.columns + x for y in range(entry["y0"], entry["y1"] + 1)
                    for x in range(entry["x0"], entry["x1"] + 1))
                first = entry["block"] * params.block + entry["offset"] * per_row
                branches += [Branch(row * per_row + columns, first + max(plane, 0) * per_row + columns, cores,
                                    entry["delay"] + 1, plane)
                             for plane in (range(entry["planes"]) if entry["planes"] else [-1])]
                if entry["last"]:
                    break
                index += 1
        return branches
