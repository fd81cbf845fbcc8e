"""What every component file needs: the base class, and memories."""

from typing import TYPE_CHECKING, Any

from amaranth.hdl import Cat, Const, Module, ShapeLike, Signal, Value
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


#: Attributes of registers that are equal on purpose, each for some of the loads: tools would join them into one that drives all.
COPY = {"keep": "true", "dont_touch": "true"}
#: Attribute of a net that stays one, so that the logic before it and that behind it are mapped to LUTs of their own.
CUT = {"keep": "true"}
#: Loads of a copy, about.
LOADS = 170


def copies(m: Module, value: Value, count: int, name: str) -> list[Signal]:
    """So many registers of one value. No reset, which would be a LUT before each: the value should be that of a reset by then."""
    found = [Signal(value.shape(), name=f"{name}_{copy}", attrs=COPY, reset_less=True) for copy in range(count)]
    m.d.sync += [copy.eq(value) for copy in found]
    return found


def later(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = False) -> Value:
    """The value so many cycles later. Data beside a strobe can do without a reset: until the strobe comes, nobody looks. Of three
    registers in a row one has it all the same, or a LUT would take their place, of which there are fewer."""
    for cycle in range(cycles):
        held = Signal(value.shape(), name=f"{name}_{cycle}", reset_less=reset_less and (cycles < 3 or cycle % 3 > 0))
        m.d.sync += held.eq(value)
        value = held
    return value


def every(terms: list[Value]) -> Value:
    """Whether all are set: by a carry chain, one LUT of whose slices is each term, which of many takes less time than levels of logic."""
    return (Const(1, 1) + Cat(Const(1, 1), *terms))[-1]


def some(terms: list[Value]) -> Value:
    """Likewise whether any is set."""
    return (Const((1 << len(terms)) - 1, len(terms)) + Cat(*terms))[-1]
