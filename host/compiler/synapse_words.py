"""The synapse memories of a core: rows of the crossbar, and with folds the lists by which axons walk them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.fields import Words
from spikeloom.host.compiler.grants import Overflow
from spikeloom.host.quantisation.quant_network import Ints
from spikeloom.memories import MAX_LIST, Memory, memory_specs, synapse_chunk
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class CoreSynapses:
    """The digits of a core, each array (digits,): axon, number of the word where a weight takes several, fold, lane, value."""

    axon: Ints
    word: Ints
    fold: Ints
    lane: Ints
    value: Ints


def direct_words(synapses: CoreSynapses, params: ArrayParams, at: tuple[int, int]) -> dict[Memory, Words]:
    """Without folds an axon reads the word of its own number."""
    rows = np.zeros((params.words, params.banks, params.lanes), np.int64)
    np.add.at(rows, (synapses.axon // params.banks, synapses.axon % params.banks, synapses.lane), synapses.value)
    return {Memory.SYNAPSES: _pack(rows.swapaxes(0, 1), params)}


def list_words(synapses: CoreSynapses, params: ArrayParams, at: tuple[int, int]) -> dict[Memory, Words]:
    """With folds, equal words are stored once a bank, and so are equal lists: an axon's folds count from its base."""
    key = (synapses.axon * params.folds + synapses.fold) * (int(synapses.word.max(initial=0)) + 1) + synapses.word
    entry, position = np.unique(key, return_inverse=True)
    cells = np.zeros((len(entry), params.lanes), np.int16)
    np.add.at(cells, (position.ravel(), synapses.lane), synapses.value.astype(np.int16))
    place = entry // (int(synapses.word.max(initial=0)) + 1)
    axon, fold = place // params.folds, place % params.folds
    rows = np.zeros((params.banks, params.words, params.lanes), np.int64)
    specs = memory_specs(params)
    axons = np.zeros(specs[Memory.AXONS].span, np.uint64)
    entries = np.zeros(specs[Memory.ENTRIES].span, np.uint64)
    for bank in range(params.banks):
        mine = np.flatnonzero(axon % params.banks == bank)
        if not mine.size:
            continue
        unique, word = _distinct(cells[mine])
        if len(unique) > params.words:
            raise Overflow(f"Core {at}: bank {bank} needs {len(unique)} different synapse words; it holds {params.words}. Take "
                           f"an array with more words or banks")
        rows[bank, : len(unique)] = unique
        lists = _lists(axon[mine] // params.banks, fold[mine], word.ravel(), params, at, bank)
        spec = specs[Memory.ENTRIES]
        index = np.arange(len(lists.word))
        entries[spec.address.pack(index=index, bank=bank).astype(np.int64)] = spec.entry.pack(word=lists.word, fold=lists.fold)
        spec = specs[Memory.AXONS]
        axons[spec.address.pack(index=lists.index, bank=bank).astype(np.int64)] = spec.entry.pack(
            start=lists.start, base=lists.base, count=lists.count)
    return {Memory.SYNAPSES: _pack(rows, params), Memory.AXONS: axons, Memory.ENTRIES: entries}


def _distinct(rows: npt.NDArray[np.int16]) -> tuple[npt.NDArray[np.int16], Ints]:
    """The distinct rows of an array, and which of them each row is; rows are compared as bytes, many times faster than as numbers."""
    whole = np.ascontiguousarray(rows).view(np.dtype((np.void, rows.shape[1] * rows.itemsize))).ravel()
    _, first, which = np.unique(whole, return_index=True, return_inverse=True)
    return rows[first], which.ravel()


@dataclass(frozen=True)
class _Lists:
    word: list[int]
    fold: list[int]
    index: list[int]
    start: list[int]
    base: list[int]
    count: list[int]


def _lists(index: Ints, fold: Ints, word: Ints, params: ArrayParams, at: tuple[int, int], bank: int) -> _Lists:
    """Entries of a bank; axons whose lists are equal from their first fold on share one."""
    done, known = _Lists([], [], [], [], [], []), dict[tuple[tuple[int, ...], tuple[int, ...]], int]()
    first = np.flatnonzero(np.diff(index, prepend=-1))
    for begin, end in zip(first, [*first[1:], len(index)], strict=True):
        base = int(fold[begin])
        pattern = (tuple(word[begin:end].tolist()), tuple((fold[begin:end] - base).tolist()))
        if end - begin > MAX_LIST:
            raise Overflow(f"Core {at}: an axon of bank {bank} has {end - begin} list entries; the longest list has {MAX_LIST}")
        if pattern not in known:
            known[pattern] = len(done.word)
            done.word.extend(pattern[0])
            done.fold.extend(pattern[1])
        done.index.append(int(index[begin]))
        done.start.append(known[pattern])
        done.base.append(base)
        done.count.append(int(end - begin))
    if len(done.word) > params.entries:
        raise Overflow(f"Core {at}: bank {bank} needs {len(done.word)} list entries; it holds {params.entries}. Take an array "
                       f"with more entries or banks")
    return done


def _pack(rows: Ints, params: ArrayParams) -> Words:
    """SYNAPSES entries from digits (banks, words, lanes)."""
    spec, record = memory_specs(params)[Memory.SYNAPSES], synapse_chunk(params)
    padded = np.zeros((*rows.shape[:2], params.chunks * params.chunk_lanes), np.int64)
    padded[..., : params.lanes] = rows
    cells = padded.reshape(params.banks, params.words, params.chunks, params.chunk_lanes)
    bank, word, chunk = np.indices(cells.shape[:3])
    words = np.zeros(spec.span, np.uint64)
    words[spec.address.pack(chunk=chunk, word=word, bank=bank).astype(np.int64)] = record.pack(
        **{f"cell{i}": cells[..., i] for i in range(params.chunk_lanes)})
    return words
