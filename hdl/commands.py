"""Commands that send something into the mesh: which of them are legal, and the flits that they become."""

from amaranth.hdl import Module, Value
from amaranth.lib import stream

from spikeloom.hdl.layouts import Kind, StructView
from spikeloom.params import ArrayParams


def inside(params: ArrayParams, target: StructView, single: bool = False) -> Value:
    """Whether a command's rectangle, or its first core, is one of the mesh."""
    first: Value = (target.x0 < params.columns) & (target.y0 < params.rows)
    if single:
        return first
    whole: Value = first & (target.x1 < params.columns) & (target.y1 < params.rows) & (target.x0 <= target.x1) & (target.y0 <= target.y1)
    return whole


def known(params: ArrayParams, spikes: StructView) -> Value:
    """Whether a core has the axons of a SPIKES word."""
    there: Value = (spikes.block < params.axon_blocks) & (spikes.mask[params.block:] == 0)
    return there


def offer(m: Module, mesh: stream.Interface, kind: Kind, payload: Value, target: StructView, single: bool = False) -> None:
    """Offer a flit to the mesh, for the command's rectangle or for its first core."""
    flit = mesh.payload
    m.d.comb += [mesh.valid.eq(1), flit.kind.eq(kind), flit.payload.eq(payload), flit.target.x0.eq(target.x0),
                 flit.target.x1.eq(target.x0 if single else target.x1), flit.target.y0.eq(target.y0),
                 flit.target.y1.eq(target.y0 if single else target.y1)]
