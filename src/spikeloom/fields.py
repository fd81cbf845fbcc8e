"""Bit fields: how a memory entry, a command word or a register is cut into named parts.

A :class:`Record` is written once, in the contract, and read everywhere: the gateware turns it into a struct
layout, the packer and the golden model use :meth:`Record.pack` and :meth:`Record.unpack` on whole arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]


def bits_for(count: int) -> int:
    """Bits that number ``count`` things from 0; at least one, so that no field has zero width."""
    return max(1, (count - 1).bit_length())


@dataclass(frozen=True)
class Field:
    """A named run of bits; ``signed`` ones hold two's complement."""

    name: str
    bits: int
    signed: bool = False

    @property
    def low(self) -> int:
        """Smallest value that the field holds."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def high(self) -> int:
        """Largest value that the field holds."""
        return (1 << (self.bits - self.signed)) - 1


class Record:
    """Fields side by side, the first in the least significant bits; at most 64 bits together."""

    def __init__(self, *fields: Field) -> None:
        self.fields = fields
        self.bits = sum(field.bits for field in fields)
        if self.bits > 64:
            raise ValueError(f"Record must fit in 64 bits, not {self.bits}")

    def __iter__(self) -> Iterator[Field]:
        return iter(self.fields)

    def pack(self, **values: npt.ArrayLike) -> Words:
        """Join one value per field (arrays broadcast) into words; fields that are not named are 0.

        Raises ValueError when a value does not fit its field.
        """
        unknown = set(values) - {field.name for field in self.fields}
        if unknown:
            raise ValueError(f"Record has no field {', '.join(sorted(unknown))}")
        shape = np.broadcast_shapes(*(np.shape(value) for value in values.values()))
        words = np.zeros(shape, np.uint64)
        shift = 0
        for field in self.fields:
            value = np.asarray(values.get(field.name, 0)).astype(np.int64)
            if value.size and (value.min() < field.low or value.max() > field.high):
                raise ValueError(f"Field {field.name} holds {field.low} to {field.high}, "
                                 f"not {value.min()} to {value.max()}")
            mask = np.uint64((1 << field.bits) - 1)
            words |= (value.astype(np.uint64) & mask) << np.uint64(shift)
            shift += field.bits
        return words

    def unpack(self, words: npt.ArrayLike) -> dict[str, npt.NDArray[np.int64]]:
        """The inverse of :meth:`pack`: one int64 array per field, of the words' shape."""
        rest = np.asarray(words).astype(np.uint64)
        parts: dict[str, npt.NDArray[np.int64]] = {}
        for field in self.fields:
            value = (rest & np.uint64((1 << field.bits) - 1)).astype(np.int64)
            if field.signed:
                value = sign_extend(value, field.bits)
            parts[field.name] = value
            rest = rest >> np.uint64(field.bits) if field.bits < 64 else np.zeros_like(rest)
        return parts

    def describe(self) -> Mapping[str, Any]:
        """The record as plain data, for the digest and the documentation."""
        return {field.name: (-field.bits if field.signed else field.bits) for field in self.fields}


def sign_extend(value: npt.NDArray[np.int64], bits: int) -> npt.NDArray[np.int64]:
    """Read the low ``bits`` of each int64 as two's complement."""
    half = np.int64(1 << (bits - 1))
    low = value & np.int64((1 << bits) - 1)
    return (low ^ half) - half
