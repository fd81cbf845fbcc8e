"""Memories written, read back, and compared."""

from __future__ import annotations

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.encode import Core, cut, read_words, reset_words, write_words
from spikeloom.host.port import Port
from spikeloom.memories import Memory, MemorySpec, class_records, memory_specs
from spikeloom.packets import RESPONSES, Response
from spikeloom.params import ArrayParams


def read_back(port: Port, params: ArrayParams, before: Words, reads: list[tuple[Core, MemorySpec, Words, Words]], limit: int) -> None:
    """Send the words ``before``, then reads, each (core, memory, READ words, entries that must come, by the memory's valid
    addresses). MachineError names the first entry that differs in bits that the memory holds."""
    lengths = [len(wanted) for _, _, _, wanted in reads]
    first, *more = cut(np.concatenate([words for _, _, words, _ in reads]), limit, 0) if reads else [before[:0]]
    answer = port.exchange(np.concatenate([before, first]), *more)
    answer.expect(data=sum(lengths))
    found = RESPONSES[Response.DATA].unpack(answer.data)["data"]
    for (core, spec, _, wanted), part in zip(reads, np.split(found, np.cumsum(lengths)[:-1]) if reads else [], strict=True):
        wrong = np.flatnonzero((part.astype(np.uint64) ^ wanted) & stored(params, spec))
        if len(wrong):
            at = int(wrong[0])
            raise MachineError(f"Core {core}: {spec.memory.name} entry {int(spec.addresses()[at])} reads back as 0x{int(part[at]):x}, "
                               f"not 0x{int(wanted[at]):x} ({len(wrong)} entries differ)")


def stored(params: ArrayParams, spec: MemorySpec) -> Words:
    """The bits that each valid entry of a memory holds: not all have the entry's whole width."""
    bits = np.full(len(spec.addresses()), spec.entry.bits)
    if spec.memory is Memory.SYNAPSES:  # lanes beyond the last do not exist
        lanes = params.lanes - spec.address.unpack(spec.addresses())["chunk"] * params.chunk_lanes
        bits = np.minimum(lanes, params.chunk_lanes) * params.weight_bits
    elif spec.memory is Memory.CLASSES:  # each part of a class has its own width
        widths = np.array([record.bits for record in class_records(params)])
        bits = widths[spec.address.unpack(spec.addresses())["part"]]
    return (np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1)


def check_memories(port: Port, params: ArrayParams, limit: int) -> dict[str, int]:
    """Write random bits, and then their complement, to every entry of every memory but CONTROL, which starts and stops cores, and
    read both back. Returns the number of entries by the memories' names; MachineError names the first that differs."""
    rng = np.random.default_rng(2)
    entries: dict[str, int] = {}
    for core in ((x, y) for y in range(params.rows) for x in range(params.columns)):
        for spec in memory_specs(params).values():
            if spec.memory is not Memory.CONTROL:
                addresses, bits = spec.addresses(), stored(params, spec)
                data = rng.integers(0, 1 << spec.entry.bits, len(addresses), dtype=np.uint64)
                for written in (data & bits, ~data & bits):
                    words = np.concatenate([reset_words(), write_words(spec.memory, addresses, written, core, core)])
                    read_back(port, params, words, [(core, spec, read_words(spec.memory, addresses, core), written)], limit)
                entries[spec.memory.name] = entries.get(spec.memory.name, 0) + len(addresses)
    return entries
