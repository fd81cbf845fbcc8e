"""A core of an image, unpacked for the golden model: its digits, neurons and destinations as flat tables of what is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.fields import Ints
from spikeloom.image import Core, Image
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk


def ranges(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """The numbers first[i], first[i] + 1, …, count[i] of them, one run after another: (i, number) of each, int64 (sum of counts,)."""
    owner = np.repeat(np.arange(len(count)), count)
    begins = np.cumsum(count) - count
    return owner, np.arange(len(owner)) + (first - begins)[owner]


@dataclass(frozen=True)
class Neurons:
    """The constants of neurons in use, each int64 (neurons,), by rising address ``where``."""

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
    second_gain: Ints
    floor: Ints


@dataclass(frozen=True)
class Digits:
    """What one hit of ``axon`` adds to ``accumulator`` (number fold × lanes + lane): int64 (digits other than zero,) each."""

    axon: Ints
    accumulator: Ints
    digit: Ints


@dataclass(frozen=True)
class Sends:
    """Who is sent where, int64 (entries,) each: ``neuron`` (position in the core) reaches ``axon``, an output where ``host``, of
    the cores x0..x1, y0..y1 after ``delay`` ticks. ``plane`` is −1 for spikes, else the bit of v that is sent."""

    neuron: Ints
    axon: Ints
    host: Ints
    delay: Ints
    plane: Ints
    x0: Ints
    x1: Ints
    y0: Ints
    y1: Ints


class CoreModel:
    """One core of the image, unpacked: ``digits``, ``neurons``, ``sends``, and for each axon (axons,) the synapse words that a hit
    ``reads`` and the weights other than zero (``useful``) that it adds."""

    def __init__(self, image: Image, core: Core) -> None:
        self.params, self.core = image.params, core
        control: list[int] = image.entries(core, Memory.CONTROL).astype(int).tolist()
        self.slices, self.groups, self.folds = (control[i] for i in (Control.SLICES, Control.GROUPS, Control.FOLDS))
        self.currents = max(1, control[Control.CURRENTS]) if self.params.currents > 1 else 1
        self._check_control()
        axon, word, fold = self._entries(image)
        self.reads = np.bincount(axon, minlength=self.params.core_axons).astype(np.int64)
        self.digits = self._digits(self._words(image), axon, word, fold)
        self.useful = self._useful()
        self.neurons = self._neurons(image)
        self.sends = self._sends(image)

    @property
    def accumulators(self) -> int:
        """Accumulators of the folds in use."""
        return self.folds * self.params.lanes

    def sources(self, current: int, slice_: int) -> Ints:
        """The accumulator in which each neuron's sum for a current has a slice, by the neurons' order: int64 (neurons,)."""
        params = self.params
        fold, group, column = np.indices((self.folds, self.groups, params.neurons_per_cycle))
        row = (group * self.currents + current) * self.slices + slice_
        flat: Ints = (fold * params.lanes + row * params.neurons_per_cycle + column).ravel()
        return flat

    def place(self, slice_: npt.ArrayLike) -> Ints:
        """What a 1 in a slice is worth: 2^(W·(slices−1−i))."""
        place: Ints = np.left_shift(1, self.params.weight_bits * (self.slices - 1 - np.asarray(slice_, np.int64)))
        return place

    def _check_control(self) -> None:
        params = self.params
        if not self.folds:
            self.groups, self.slices, self.currents = 0, 1, 1
        if self.folds > params.folds or not 1 <= self.slices <= params.max_slices or self.currents > max(1, params.currents) \
                or self.groups * self.currents * self.slices > params.lane_rows:
            raise MachineError(f"Core {self.core}: {self.slices} slices × {self.currents} currents × {self.groups} groups × "
                               f"{self.folds} folds exceed the core's {params.lane_rows} lane rows × {params.folds} folds")

    def _words(self, image: Image) -> Ints:
        """Synapse words as digits, (banks × words, lanes)."""
        params = self.params
        spec = memory_specs(params)[Memory.SYNAPSES]
        cells = synapse_chunk(params).unpack(image.entries(self.core, Memory.SYNAPSES)[spec.addresses().astype(np.int64)])
        rows = np.stack(list(cells.values()), axis=-1).reshape(params.banks * params.words, params.chunks * params.chunk_lanes)
        return rows[:, : params.lanes]

    def _entries(self, image: Image) -> tuple[Ints, Ints, Ints]:
        """Axon, word and fold of everything that axons select: each int64 (entries,); the bank is axon mod banks."""
        params = self.params
        if not params.lists:
            axon = np.arange(params.core_axons)
            return axon, axon // params.banks, np.zeros_like(axon)
        specs = memory_specs(params)
        axons, lists = ({name: value.reshape(params.banks, -1) for name, value in specs[memory].entry.unpack(
            image.entries(self.core, memory)[specs[memory].addresses().astype(np.int64)]).items()}
            for memory in (Memory.AXONS, Memory.ENTRIES))
        beyond = np.argwhere((axons["count"] != 0) & (axons["start"] + axons["count"] > params.entries))
        if len(beyond):
            raise MachineError(f"Core {self.core}, bank {beyond[0][0]}, axon {beyond[0][1]}: its list runs beyond {params.entries} "
                               f"entries")
        bank, index = np.nonzero(axons["count"])
        owner, entry = ranges(axons["start"][bank, index], axons["count"][bank, index])
        bank, index = bank[owner], index[owner]
        fold = (axons["base"][bank, index] + lists["fold"][bank, entry]) % params.folds
        return index * params.banks + bank, lists["word"][bank, entry], fold

    def _digits(self, words: Ints, axon: Ints, word: Ints, fold: Ints) -> Digits:
        """The digits of the words that axons select, in folds in use."""
        axon, word, fold = (values[fold < self.folds] for values in (axon, word, fold))
        row, lane = np.nonzero(words)
        count = np.bincount(row, minlength=len(words))
        first = np.cumsum(count) - count
        chosen = axon % self.params.banks * self.params.words + word
        owner, at = ranges(first[chosen], count[chosen])
        return Digits(axon[owner], fold[owner] * self.params.lanes + lane[at], words[row[at], lane[at]])

    def _useful(self) -> Ints:
        """Weights other than zero that one hit of each axon adds, the digits joined: (axons,)."""
        params, digits = self.params, self.digits
        fold, lane = np.divmod(digits.accumulator, params.lanes)
        row, column = np.divmod(lane, params.neurons_per_cycle)
        sums, slice_ = np.divmod(row, self.slices)
        used = sums < self.groups * self.currents
        key = ((digits.axon * params.folds + fold) * params.lane_rows + sums) * params.neurons_per_cycle + column
        synapse, number = np.unique(key[used], return_inverse=True)
        weight = np.bincount(number.ravel(), digits.digit[used] * self.place(slice_[used]), len(synapse))
        axon = synapse[weight != 0] // (params.folds * params.lanes)
        return np.bincount(axon, minlength=params.core_axons).astype(np.int64)

    def _neurons(self, image: Image) -> Neurons:
        params, core = self.params, self.core
        specs = memory_specs(params)
        rows = np.arange(self.folds * self.groups)
        row, column = np.meshgrid(rows, np.arange(params.neurons_per_cycle), indexing="ij")
        where = specs[Memory.MEMBRANE].address.pack(column=column, row=row).ravel().astype(np.int64)

        def each(memory: Memory) -> Ints:
            return next(iter(specs[memory].entry.unpack(image.entries(core, memory)[where]).values()))

        table = image.entries(core, Memory.CLASSES)
        index = each(Memory.NEURON_CLASS)
        if index.size and index.max() >= params.classes:
            raise MachineError(f"Core {core}: neuron class {index.max()} exceeds the {params.classes} classes")
        fields = dict.fromkeys(("current_gain", "second_gain", "floor"), np.zeros_like(index))  # not every array has them
        for part, record in enumerate(class_records(params)):
            fields |= record.unpack(table[specs[Memory.CLASSES].address.pack(part=part, index=index).astype(np.int64)])
        return Neurons(where, each(Memory.THRESHOLD), each(Memory.BIAS), each(Memory.RESET), **fields)

    def _sends(self, image: Image) -> Sends:
        params, per_row = self.params, self.params.neurons_per_cycle
        fanout = memory_specs(params)[Memory.FANOUT].entry.unpack(image.entries(self.core, Memory.FANOUT))
        table = destination_record(params).unpack(image.entries(self.core, Memory.DESTINATIONS)[: params.destinations])
        row = np.flatnonzero(fanout["valid"][: self.folds * self.groups])
        start = fanout["start"][row]
        last = np.flatnonzero(table["last"])
        end = np.searchsorted(last, start)
        endless = np.flatnonzero(end == len(last))
        if len(endless):
            raise MachineError(f"Core {self.core}, neuron row {row[endless[0]]}: its destinations run beyond {params.destinations}")
        owner, index = ranges(start, last[end] - start + 1)
        # An entry with planes is as many as it has planes, and each of these as many as its mask has neurons.
        planes = table["planes"][index]
        entry, plane = ranges(np.where(planes > 0, 0, -1), np.maximum(planes, 1))
        owner, index = owner[entry], index[entry]
        entry, column = np.nonzero(table["mask"][index, None] >> np.arange(per_row) & 1)
        owner, index, plane = owner[entry], index[entry], plane[entry]
        first = table["block"][index] * params.block + table["offset"][index] * per_row
        ends = {name: table[name][index] for name in ("x0", "x1", "y0", "y1")}
        return Sends(row[owner] * per_row + column, first + np.maximum(plane, 0) * per_row + column, table["host"][index],
                     table["delay"][index] + 1, plane, **ends)
