"""The memories of a core, as data: code, address fields and entry layout of each.

Every memory entry is one configuration word of at most 36 bits. An address is a :class:`Record` too, so that a
bank, a word and a chunk have fixed places in it; the first field varies fastest, so a burst of entries walks it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.fields import Field, Record, Words, bits_for
from spikeloom.params import DATA_BITS, ArrayParams

#: Width of an entry's address within its memory.
ADDRESS_BITS = 20
#: Longest list of an axon.
MAX_LIST = 1023


class Memory(enum.IntEnum):
    """Memories of a core; the value is the code in WRITE and READ commands."""

    CONTROL = 0
    SYNAPSES = 1
    AXONS = 2
    ENTRIES = 3
    CLASSES = 4
    NEURON_CLASS = 5
    THRESHOLD = 6
    BIAS = 7
    RESET = 8
    CURRENT = 9
    MEMBRANE = 10
    REFRACTORY = 11
    FANOUT = 12
    DESTINATIONS = 13
    SECOND_CURRENT = 14  #: only in arrays whose neurons may have two currents


class Control(enum.IntEnum):
    """Entries of the CONTROL memory, see :func:`controls`. A core with 0 folds in use updates nothing.

    In a fold, slice s of current c of the neurons of group g lies in lane row ``(g · currents + c) · slices + s``; so
    ``groups · currents · slices`` must not exceed ``lane_rows``.
    """

    SLICES = 0    #: lanes of a sum (weight digits), 1 to ``max_slices``
    GROUPS = 1    #: neuron rows in each fold
    FOLDS = 2     #: folds in use
    CURRENTS = 3  #: synaptic currents of each neuron, 1 (or 0) or 2; only in arrays with two


@dataclass(frozen=True)
class MemorySpec:
    """Where the entries of a memory lie and what they hold.

    ``sizes`` gives the number of values of each address field, in the order of ``address``.
    """

    memory: Memory
    address: Record
    sizes: tuple[int, ...]
    entry: Record
    meaning: str

    @property
    def span(self) -> int:
        """Addresses from 0 up to and including the last valid one, holes counted."""
        top = self.address.pack(**{f.name: n - 1 for f, n in zip(self.address, self.sizes, strict=True)})
        return int(top) + 1

    def valid(self, address: npt.ArrayLike) -> npt.NDArray[np.bool_]:
        """Which of the addresses exist."""
        number = np.asarray(address).astype(np.int64)
        ok = (number >= 0) & (number < (1 << self.address.bits))
        parts = self.address.unpack(np.where(ok, number, 0))
        for field, size in zip(self.address, self.sizes, strict=True):
            ok &= parts[field.name] < size
        return ok

    def addresses(self) -> Words:
        """All addresses, ascending."""
        every = np.arange(self.span)
        return every[self.valid(every)].astype(np.uint64)


def controls(params: ArrayParams) -> tuple[Control, ...]:
    """The CONTROL entries that the cores of this array have."""
    return tuple(control for control in Control if control != Control.CURRENTS or params.currents > 1)


def state_memories(params: ArrayParams) -> tuple[Memory, ...]:
    """The memories that a neuron's update changes; the others hold the image."""
    states = (Memory.CURRENT, Memory.MEMBRANE, Memory.REFRACTORY, Memory.SECOND_CURRENT)
    return states[params.currents == 0: 3 + (params.currents > 1)]


def synapse_chunk(params: ArrayParams) -> Record:
    """Cells of one configuration word of a synapse row: lane ``chunk * chunk_lanes + i`` is cell i."""
    return Record(*(Field(f"cell{i}", params.weight_bits, True) for i in range(params.chunk_lanes)))


def destination_record(params: ArrayParams) -> Record:
    """One destination of a neuron row: who of the row (``mask``) is sent where.

    The row's mask is laid into the block's mask at ``offset * neurons_per_cycle``. A ``host`` entry's block numbers
    outputs instead of axons. ``delay`` is stored less one. The row's list ends at the entry with ``last``.

    With ``planes`` n > 0 the neurons whose class never spikes send potentials instead: bit p of each v, for p from 0 to n − 1, as
    a mask to ``offset + p`` (carrying into the block). So a neuron's sum can be added up again in another core, exactly.
    """
    return Record(Field("mask", params.neurons_per_cycle), Field("offset", params.offset_bits),
                  Field("block", params.block_bits), Field("delay", params.delay_bits),
                  Field("x0", params.x_bits), Field("x1", params.x_bits),
                  Field("y0", params.y_bits), Field("y1", params.y_bits), Field("planes", bits_for(params.state_bits + 1)),
                  Field("host", 1), Field("last", 1))


def class_records(params: ArrayParams) -> tuple[Record, ...]:
    """The words of a neuron class by part: two, and a third where neurons may have two currents.

    Gains are ``value / 2**gain_bits``. The neuron stays at zero before tick ``start`` of a sample. ``phases`` has a bit per
    tick of a step: the neuron updates where it is set. ``hold`` keeps v unchanged while refractory; ``subtract`` chooses
    v − RESET over v = RESET after a spike. ``floor``, only in arrays with ``floors``, holds v at or above −THRESHOLD.
    """
    gain = params.gain_bits + 2
    words = (Record(*([Field("current_gain", gain)] if params.currents else []), Field("membrane_gain", gain)),
             Record(Field("shift", params.shift_bits), Field("refractory", params.refractory_bits),
                    Field("spiking", 1), Field("subtract", 1), Field("hold", 1), Field("phases", params.phases),
                    Field("start", bits_for(params.depths)), *([Field("floor", 1)] if params.floors else [])))
    return words if params.currents < 2 else (*words, Record(Field("second_gain", gain)))


def memory_specs(params: ArrayParams) -> dict[Memory, MemorySpec]:
    """Every memory of a core with these parameters."""
    def spec(memory: Memory, sizes: dict[str, int], entry: Record, meaning: str) -> MemorySpec:
        address = Record(*(Field(name, bits_for(size)) for name, size in sizes.items()))
        if address.bits > ADDRESS_BITS:
            raise ValueError(f"Memory {memory.name} needs {address.bits} address bits, more than {ADDRESS_BITS}")
        if entry.bits > DATA_BITS:
            raise ValueError(f"Entries of {memory.name} need {entry.bits} bits, more than {DATA_BITS}")
        return MemorySpec(memory, address, tuple(sizes.values()), entry, meaning)

    def neuron(memory: Memory, field: Field, meaning: str) -> MemorySpec:
        return spec(memory, {"column": params.neurons_per_cycle, "row": params.neuron_rows}, Record(field), meaning)

    state, parts = params.state_bits, len(class_records(params))
    words = [
        spec(Memory.CONTROL, {"index": len(controls(params))}, Record(Field("value", 16)),
             "slices, groups and folds in use" + (", and currents" if params.currents > 1 else "")),
        spec(Memory.SYNAPSES, {"chunk": params.chunks, "word": params.words, "bank": params.banks},
             synapse_chunk(params), "synapse words, a chunk of cells at a time"),
        spec(Memory.CLASSES, {"part": parts, "index": params.classes}, Record(Field("value", DATA_BITS)),
             f"neuron classes, {'two' if parts == 2 else 'three'} words each"),
        neuron(Memory.NEURON_CLASS, Field("index", bits_for(params.classes)), "class of each neuron"),
        neuron(Memory.THRESHOLD, Field("value", state, True), "threshold θ of each neuron"),
        neuron(Memory.BIAS, Field("value", state, True), "bias b of each neuron"),
        neuron(Memory.RESET, Field("value", state, True), "amount subtracted, or value set, after a spike"),
        *([neuron(Memory.CURRENT, Field("value", state, True), "synaptic current u")] if params.currents else []),
        neuron(Memory.MEMBRANE, Field("value", state, True), "membrane potential v"),
        neuron(Memory.REFRACTORY, Field("value", params.refractory_bits), "refractory ticks left"),
        spec(Memory.FANOUT, {"row": params.neuron_rows},
             Record(Field("start", bits_for(params.destinations)), Field("valid", 1)), "first destination of a neuron row"),
        spec(Memory.DESTINATIONS, {"index": params.destinations}, destination_record(params), "destination lists"),
    ]
    if params.lists:
        words += [
            spec(Memory.AXONS, {"index": params.axons, "bank": params.banks},
                 Record(Field("start", bits_for(params.entries)), Field("base", bits_for(params.folds)),
                        Field("count", bits_for(min(params.entries, MAX_LIST) + 1))),
                 "an axon's list: first entry, length (0: none), and the fold that its entries count from"),
            spec(Memory.ENTRIES, {"index": params.entries, "bank": params.banks},
                 Record(Field("word", bits_for(params.words)), Field("fold", bits_for(params.folds))),
                 "(word, fold) lists; the fold is added to the axon's base modulo the folds"),
        ]
    if params.currents > 1:
        words.append(neuron(Memory.SECOND_CURRENT, Field("value", state, True), "second synaptic current u₁, where a core has two"))
    return {word.memory: word for word in words}


def memory_map(params: ArrayParams) -> dict[str, Any]:
    """The memories as plain data, for the digest and the documentation."""
    return {spec.memory.name: {"code": int(spec.memory), "address": spec.address.describe(), "sizes": list(spec.sizes),
                               "entry": spec.entry.describe()} for spec in memory_specs(params).values()}
