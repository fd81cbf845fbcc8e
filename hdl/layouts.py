"""The contract's records as Amaranth layouts, and the packets (flits) of the mesh."""

from typing import TypeAlias, cast

from amaranth.hdl import Signal, signed, unsigned
from amaranth.lib import data, enum

from spikeloom.fields import Record, bits_for
from spikeloom.memories import ADDRESS_BITS, Memory, memory_specs
from spikeloom.packets import WORD_BITS
from spikeloom.params import DATA_BITS, ArrayParams

#: Bits of a memory's code, and of the number of entries in a READ.
MEMORY_BITS = 4
COUNT_BITS = 16

#: A word of a host stream; ``last`` is AXI4-Stream's TLAST.
WORD = data.StructLayout({"data": WORD_BITS, "last": 1})

# Strings, because `data.View` takes no parameters at run time. Fields are known at run time only, so they are `Any` to mypy.
#: A value with the fields of a struct layout.
StructView: TypeAlias = "data.View[data.StructLayout]"
#: A value with the elements of an array layout.
ArrayView: TypeAlias = "data.View[data.ArrayLayout]"


def struct_signal(layout: data.StructLayout, name: str | None = None, *, reset_less: bool = False,
                  attrs: dict[str, str] | None = None) -> StructView:
    """A signal with fields, named for the variable that it is assigned to unless it is given a name.

    It is what ``Signal(layout)`` returns; mypy, which leaves a metaclass's ``__call__`` aside, takes that for a plain signal.
    """
    return cast("StructView", Signal(layout, name=name, reset_less=reset_less, attrs=attrs or {}, src_loc_at=1))


def struct(record: Record) -> data.StructLayout:
    """A record of the contract as a struct layout: same fields, same places."""
    return data.StructLayout({field.name: signed(field.bits) if field.signed else unsigned(field.bits) for field in record})


class Kind(enum.Enum, shape=2):
    """What a flit carries."""

    SPIKES = 0   #: ``spikes_layout``: axons of one block, or outputs of one block when sent to the host
    ADDRESS = 1  #: ``address_layout``: where the accesses that follow begin
    DATA = 2     #: an entry to write, or an entry read when sent to the host
    READ = 3     #: number of entries to read


def spikes_layout(params: ArrayParams) -> data.StructLayout:
    """Axons ``block * params.block + i`` for each bit i of the mask; ``delay`` is stored less one."""
    return data.StructLayout({"mask": params.block, "block": params.block_bits, "delay": params.delay_bits})


def arrival_layout(params: ArrayParams) -> data.StructLayout:
    """What a core makes of a flit, told by who sends it, as a flit comes too late to be decoded.

    ``soon``: SPIKES that may be due in the running tick. Of these, ``ahead``: of the host, for the tick that began next when they were
    sent; ``following``: with a delay of one tick more. ``far``: SPIKES with one of several. ``access``: no SPIKES.
    """
    return data.StructLayout(dict.fromkeys(("soon", "ahead", "access", *(("following", "far") if params.delays > 1 else ())), 1))


def address_layout() -> data.StructLayout:
    """A memory's code and an address in it."""
    return data.StructLayout({"address": ADDRESS_BITS, "memory": MEMORY_BITS})


def target_layout(params: ArrayParams) -> data.StructLayout:
    """A rectangle of cores, or the host."""
    return data.StructLayout({"x0": params.x_bits, "x1": params.x_bits, "y0": params.y_bits, "y1": params.y_bits, "host": 1})


def flit_layout(params: ArrayParams) -> data.StructLayout:
    """A packet of the mesh; every packet is one flit. ``due``: the turn of the tick that may not end before it has arrived."""
    payload = max(DATA_BITS, spikes_layout(params).size, address_layout().size)
    return data.StructLayout({"payload": payload, "kind": Kind, "arrival": arrival_layout(params), "target": target_layout(params),
                              "due": 1})


def row_layout(params: ArrayParams) -> data.StructLayout:
    """A row of updated neurons: its entry of FANOUT, who spiked, who has a potential to send, and the potentials; ``due`` as for a flit."""
    per_row = params.neurons_per_cycle
    return data.StructLayout({"fanout": struct(memory_specs(params)[Memory.FANOUT].entry), "spikes": per_row, "open": per_row, "due": 1,
                              "membrane": data.ArrayLayout(signed(params.state_bits), per_row)})


def tick_layout(params: ArrayParams) -> data.StructLayout:
    """What goes with a tick.

    ``phase``: its place in the step. ``age``: ticks since the neurons last started from zero, up to the largest that fits.
    ``end``: its spikes reach the host only. ``fresh``: neurons start from zero. ``overlap``: its packets may still be on their way when
    the tick that it begins ends. ``turn``: of the tick that it begins, which is 1 in every other tick.
    """
    return data.StructLayout({"phase": bits_for(params.phases), "age": bits_for(params.depths), "end": 1, "fresh": 1, "overlap": 1,
                              "turn": 1})
