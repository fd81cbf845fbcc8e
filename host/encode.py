"""From images and input spikes to command words; vectorised, for a call of Python per word would take minutes."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import ImageError
from spikeloom.events import Spikes
from spikeloom.fields import Ints, Words
from spikeloom.image import Image, PopulationMap
from spikeloom.memories import Memory, MemorySpec, memory_specs, state_memories
from spikeloom.packets import COMMANDS, Command
from spikeloom.params import ArrayParams

Core = tuple[int, int]
Masks = npt.NDArray[np.uint32]

#: Largest count of a WRITE or READ.
MAX_COUNT = 0xFFFF
#: A long sample is marked every so many ticks: far below 2**15, so that 16-bit tick numbers can be unwrapped, and few enough
#: that a transport sees progress within its limit.
MARK_TICKS = 1024
#: Bits of a SPIKES mask.
_MASK_BITS = 32
#: Cells of the expanded input that are worked on at a time (bytes): bounds the memory that encoding takes.
_CELLS = 1 << 25


def _command(command: Command, **fields: npt.ArrayLike) -> Words:
    return np.atleast_1d(COMMANDS[command].pack(opcode=int(command), **fields))


def reset_words() -> Words:
    """RESET."""
    return _command(Command.RESET)


def echo_words(payload: int) -> Words:
    """ECHO with a payload of 28 bits."""
    return _command(Command.ECHO, payload=payload)


def runs(addresses: Words) -> tuple[Ints, Ints]:
    """Split ascending addresses into bursts of consecutive ones: index of each burst's first address, and its length."""
    if not len(addresses):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    first = np.concatenate([[0], np.flatnonzero(np.diff(addresses.astype(np.int64)) != 1) + 1])
    bounds = np.append(first, len(addresses))
    starts = np.concatenate([np.arange(low, high, MAX_COUNT) for low, high in itertools.pairwise(bounds)]) \
        if np.any(np.diff(bounds) > MAX_COUNT) else first
    return starts, np.diff(np.append(starts, len(addresses)))


def write_words(memory: Memory, addresses: Words, data: Words, low: Core, high: Core) -> Words:
    """WRITE commands with their data for ascending addresses, to every core of the rectangle ``low`` to ``high``."""
    starts, counts = runs(addresses)
    words = np.empty(len(addresses) + len(starts), np.uint64)
    header = starts + np.arange(len(starts))
    words[header] = _command(Command.WRITE, address=addresses[starts], memory=int(memory), count=counts, x0=low[0], y0=low[1],
                             x1=high[0], y1=high[1])
    body = np.ones(len(words), bool)
    body[header] = False
    words[body] = data
    return words


def read_words(memory: Memory, addresses: Words, core: Core) -> Words:
    """READ commands for ascending addresses of a core; as many DATA words answer, in the same order."""
    starts, counts = runs(addresses)
    return _command(Command.READ, address=addresses[starts], memory=int(memory), count=counts, x0=core[0], y0=core[1],
                    x1=core[0], y1=core[1])


def clear_words(params: ArrayParams, memories: tuple[Memory, ...] | None = None) -> Words:
    """Zeros to all entries of the memories (default: every one) in all cores."""
    high = (params.columns - 1, params.rows - 1)
    return np.concatenate([write_words(spec.memory, spec.addresses(), np.zeros(1, np.uint64), (0, 0), high)
                           for spec in memory_specs(params).values() if memories is None or spec.memory in memories])


def image_words(image: Image) -> Words:
    """The image's entries that are not zero, core by core; ImageError for an entry where the memory has a hole."""
    specs = memory_specs(image.params)
    parts = [np.zeros(0, np.uint64)]
    for core, memories in sorted(image.memories.items()):
        for memory, entries in sorted(memories.items()):
            used = entries != 0
            valid = specs[memory].valid(np.arange(len(entries)))
            if np.any(used & ~valid):
                address = int(np.flatnonzero(used & ~valid)[0])
                raise ImageError(f"Core {core}: {memory.name} has no address {address}, but the image has an entry there")
            used[1:-1] |= used[:-2] & used[2:] & valid[1:-1]  # a lone zero costs less than another command
            addresses = np.flatnonzero(used).astype(np.uint64)
            parts.append(write_words(memory, addresses, entries[used], core, core))
    return np.concatenate(parts)


def image_reads(image: Image) -> list[tuple[Core, MemorySpec, Words]]:
    """Everything that a loaded image decides, (core, memory, READ words), for reading it back."""
    cores = [(x, y) for y in range(image.params.rows) for x in range(image.params.columns)]
    return [(core, spec, read_words(spec.memory, spec.addresses(), core))
            for core in cores for spec in memory_specs(image.params).values() if spec.memory not in state_memories(image.params)]


@dataclass(frozen=True)
class ReadPlan:
    """How to read one memory for all neurons of a population: ``words`` to send, ``count`` DATA words to expect, and for
    each neuron the position of its DATA word among them, int64 (neurons,)."""

    words: Words
    count: int
    position: Ints

    @classmethod
    def make(cls, population: PopulationMap, memory: Memory) -> ReadPlan:
        """Bursts over consecutive neuron addresses, core by core."""
        keys = np.stack([population.column("y"), population.column("x"), population.column("neuron")], axis=1)
        places, position = np.unique(keys, axis=0, return_inverse=True)
        parts = [np.zeros(0, np.uint64)]
        for y, x in np.unique(places[:, :2], axis=0).tolist():
            addresses = places[(places[:, 0] == y) & (places[:, 1] == x), 2].astype(np.uint64)
            parts.append(read_words(memory, addresses, (x, y)))
        return cls(np.concatenate(parts), len(places), position.reshape(-1).astype(np.int64))


class InputEncoder:
    """Turns input spikes into SPIKES masks, by the routes of an image.

    Routes are grouped by (rectangle, block of axons); a group is one possible word of a tick, its header in ``headers``,
    ascending. Where several routes hit one axon, each beyond the first gets a group of its own, for hits add up.
    """

    def __init__(self, image: Image) -> None:
        params = image.params
        self._names = [source.name for source in image.inputs]
        self._step = image.ticks_per_step
        #: Whether ticks may overlap.
        self.overlap = image.overlaps
        sizes = [source.size for source in image.inputs]
        self._silent = sum(sizes)  # column that never spikes, for axons of a group without a route
        base = np.cumsum([0, *sizes])
        routes = np.concatenate([np.zeros((0, 7), np.int64)] + [source.routes for source in image.inputs])
        neuron = np.concatenate([np.zeros(0, np.int64)] + [source.column("neuron") + start for source, start in
                                                           zip(image.inputs, base, strict=False)])
        tick, x0, x1, y0, y1, axon = routes[:, 1:].T
        header = _command(Command.SPIKES, x0=x0, x1=x1, y0=y0, y1=y1, block=axon // params.block)
        bit = axon % params.block
        unique, number = np.unique(header, return_inverse=True)
        turn = _turns(number.reshape(-1) * _MASK_BITS + bit)
        groups, group = np.unique(number.reshape(-1) * (turn.max(initial=0) + 1) + turn, return_inverse=True)
        self.headers: Words = unique[groups // (turn.max(initial=0) + 1)]
        #: (tick of the step, its groups, and for each bit of those the input neuron).
        self._gathers: list[tuple[int, Ints, Ints]] = []
        for offset in np.unique(tick).tolist():
            here = tick == offset
            present, place = np.unique(group.reshape(-1)[here], return_inverse=True)
            index = np.full(len(present) * _MASK_BITS, self._silent)
            index[place.reshape(-1) * _MASK_BITS + bit[here]] = neuron[here]
            self._gathers.append((offset, present, index))

    def masks(self, dense: dict[str, Spikes], ticks: int) -> Masks:
        """Masks of all words: uint32 (samples, ticks, groups), from bool (samples, steps, size) per input."""
        arrays = [dense[name] for name in self._names]
        samples, steps = arrays[0].shape[:2] if arrays else (0, 0)
        masks = np.zeros((samples, ticks, len(self.headers)), np.uint32)
        widest = max([len(index) for _, _, index in self._gathers] + [self._silent + 1])
        block = max(1, _CELLS // max(1, steps * widest))
        for low in range(0, samples if steps else 0, block):
            part = [array[low:low + block] for array in arrays]
            whole = np.concatenate([*part, np.zeros((*part[0].shape[:2], 1), bool)], axis=2)
            for offset, present, index in self._gathers:
                times = range(offset, min(offset + steps * self._step, ticks), self._step)  # later ones reach no population
                if times:
                    packed = np.packbits(np.take(whole[:, :len(times)], index, axis=2), axis=2, bitorder="little").view("<u4")
                    masks[low:low + block, times.start:times.stop:times.step, present] |= packed
        return masks


def _turns(keys: Ints) -> Ints:
    """How many times each key occurred before."""
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    first = np.searchsorted(ordered, ordered)
    turns = np.empty(len(keys), np.int64)
    turns[order] = np.arange(len(keys)) - first
    return turns


def mark_ticks(ticks: int) -> Ints:
    """Ticks of a sample that are answered by a MARK: every ``MARK_TICKS``-th and the last."""
    return np.unique(np.append(np.arange(MARK_TICKS - 1, ticks, MARK_TICKS), ticks - 1))


def sample_words(masks: Masks, headers: Words, reads: dict[int, Words], period: int, *, end: bool = True,
                 overlap: bool = False) -> Words:
    """The commands of a batch of samples: in each tick SPIKES words, then TICK, then the READ words of ``reads[tick]``.

    Ticks without input or readings before them join the TICK of the tick before. ``period`` is the number of ticks in a step.
    Without ``end`` the samples do not end with their last tick. ``overlap``: ticks may overlap (:attr:`Image.overlaps`).
    """
    samples, ticks, groups = masks.shape
    spikes = np.count_nonzero(masks, axis=2)
    starts = spikes > 0
    starts[:, ::MARK_TICKS] = True
    extra = np.zeros(ticks, np.int64)
    for tick, words in reads.items():
        extra[tick] = len(words)
        starts[:, tick + 1:tick + 2] = True
    count = (spikes + starts + extra).reshape(-1)
    begin = np.cumsum(count) - count
    out = np.empty(int(count.sum()), np.uint64)

    flat = masks.reshape(-1)
    used = np.flatnonzero(flat)
    number = spikes.reshape(-1)
    rank = np.arange(len(used)) - np.repeat(np.cumsum(number) - number, number)
    out[np.repeat(begin, number) + rank] = headers[used % max(groups, 1)] | flat[used]

    first = np.flatnonzero(starts.reshape(-1))
    following = np.append(first[1:], samples * ticks)
    last = following % ticks == 0
    mark = last | (following % ticks % MARK_TICKS == 0)
    out[begin[first] + number[first]] = _command(Command.TICK, count=following - first, period=period - 1, end=last & end, mark=mark,
                                               overlap=overlap)

    after = (begin + number + starts.reshape(-1)).reshape(samples, ticks)
    for tick, words in reads.items():
        out[after[:, tick, None] + np.arange(len(words))] = words
    return out


def cut(words: Words, limit: int, rows: int) -> list[Words]:
    """Split the commands of a run into packets of at most about ``limit`` words each way; ``rows`` is the number of
    SPIKES words that a tick may answer. A single command is never split."""
    opcode = (words >> np.uint64(60)).astype(np.int64)
    reply = np.ones(len(words), np.int64)
    reading, ticking = opcode == Command.READ, opcode == Command.TICK
    reply[reading] = COMMANDS[Command.READ].unpack(words[reading])["count"]
    reply[ticking] = COMMANDS[Command.TICK].unpack(words[ticking])["count"] * rows + 1
    total = np.cumsum(np.maximum(reply, 1))
    if total[-1] <= limit:
        return [words]
    return np.split(words, np.flatnonzero(np.diff(total // limit)) + 1)
