"""Structures that Python and the engine's C++ share, each written down once: here C's declaration and ctypes' are made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.fields import Ints

#: C's types, by NumPy's names.
_TYPES = {"uint8": "uint8_t", "int16": "int16_t", "int32": "int32_t", "int64": "int64_t", "float64": "double", "uintp": "void*"}
#: Arrays begin at a multiple of this many bytes: a cache line, so that a row of weights takes as few of them as it can.
_LINE = 64


class Layout:
    """A structure of 8-byte members: ``fields`` gives each name its type, ``int64`` or ``float64``, or an array's: ``int16[]``."""

    def __init__(self, name: str, fields: Mapping[str, str]) -> None:
        self.name, self.fields = name, dict(fields)
        self._members = [(field, kind.endswith("[]"), np.dtype(kind.removesuffix("[]"))) for field, kind in fields.items()]

    def declaration(self) -> str:
        """The structure in C++."""
        lines = (f"    {_TYPES[kind[:-2]] + '* ' if kind.endswith('[]') else _TYPES[kind] + ' '}{field};\n"
                 for field, kind in self.fields.items())
        return f"struct {self.name} {{\n{''.join(lines)}}};\n"

    def filled(self, values: Mapping[str, Any]) -> tuple[Ints, list[Any]]:
        """The structure with these values, int64 (members,), and the arrays that it points to: it is sound as long as they are kept.

        Arrays of the right type are shared when ``values`` has them so, else copied. In place of an array its address may stand.
        """
        cells, kept = [], []
        for field, is_array, dtype in self._members:
            value = values[field]
            if is_array and not isinstance(value, int):
                if not (isinstance(value, np.ndarray) and value.dtype == dtype and value.flags.c_contiguous):
                    value = np.ascontiguousarray(value, dtype)
                kept.append(value)
                cells.append(address(value))
            else:
                cells.append(int(np.float64(value).view(np.int64)) if dtype == np.float64 else value)
        return np.array(cells, np.int64), kept


def address(array: npt.NDArray[Any]) -> int:
    """Where an array's numbers begin."""
    return int(array.__array_interface__["data"][0])


def aligned(count: int, dtype: str) -> Any:
    """``count`` zeros that begin at a cache line."""
    size = np.dtype(dtype).itemsize
    room = np.zeros(count * size + _LINE, np.uint8)
    first = -address(room) % _LINE
    return room[first:first + count * size].view(dtype)
