"""What every component file needs: the base class, and memories."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Module, ShapeLike, Signal, Value
from amaranth.lib import memory, wiring

if TYPE_CHECKING:
    Component = wiring.Component[wiring.Signature]  # generic in amaranth-stubs, where a bare base class is an error,
else:
    Component = wiring.Component  # but not in amaranth

#: Deepest memory that is usually kept in LUT-RAM.
SHALLOW = 128


def ram(shape: ShapeLike, depth: int, *, block: bool) -> "memory.Memory[Any, Any]":
    """A memory in block RAM, or else in LUT-RAM. Its contents are set by accesses only: a reset keeps them.

    Named, like any memory, for the variable that it is assigned to. Its ports' data are ``Any`` to mypy, for shapes are
    known at run time only.
    """
    return memory.Memory(shape=shape, depth=depth, init=[], attrs={"ram_style": "block" if block else "distributed"},
                         src_loc_at=1)


def later(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = False) -> Value:
    """The value so many cycles later. Data beside a strobe can do without a reset: until the strobe comes, nobody looks."""
    for cycle in range(cycles):
        held = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=reset_less)
        m.d.sync += held.eq(value)
        value = held
    return value
