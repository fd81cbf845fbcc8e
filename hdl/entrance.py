"""The way into a core: a register for each packet, and what becomes of it."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import StructView, arrival_layout, flit_layout, spikes_layout, struct_signal, tick_layout
from spikeloom.params import ArrayParams


def axons_layout(params: ArrayParams) -> data.StructLayout:
    """Axons ``block * params.block + i`` for each bit i of the mask."""
    return data.StructLayout({"mask": params.block, "block": params.block_bits})


def delayed_layout(params: ArrayParams) -> data.StructLayout:
    """The same, due ``delay`` ticks after the one in which it was made. ``made``: the turn of that, which is the running tick or the one
    before: 0 for the first tick and for every other one."""
    return data.StructLayout({"mask": params.block, "block": params.block_bits, "delay": params.delay_bits, "made": 1})


class Entrance(Component):
    """Spikes for the axon unit, by the tick in which they are due, and everything else for the access unit.

    A packet a cycle, each ``LATENCY`` later, when it leaves at once or waits; the two streams for later always take what comes. What it
    is its sender told; only which tick is running is asked for when it leaves: a delay counts from the tick in which its
    packet was made, and one that is due in the running tick was made in the tick before. Such a packet of a sample that has ended is
    dropped.

    Members
    -------
    i : stream of flits, in.
    info : :func:`tick_layout`, in. About the tick that ends, or ended last.
    o_now, o_ahead : streams of :func:`axons_layout`, out. Due in the running tick; in the next one, from the host.
    o_later : stream of :func:`delayed_layout`, out. Delayed, by one tick at least.
    o_access : stream of flits, out. Not SPIKES.
    """

    i: stream.Interface
    info: StructView
    o_now: stream.Interface
    o_ahead: stream.Interface
    o_later: stream.Interface
    o_access: stream.Interface

    #: Cycles from a packet at ``i`` to the same packet at an output.
    LATENCY = 1

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit, axons = stream.Signature(flit_layout(params)), stream.Signature(axons_layout(params))
        super().__init__({"i": In(flit), "info": In(tick_layout(params)), "o_now": Out(axons), "o_ahead": Out(axons),
                          "o_later": Out(stream.Signature(delayed_layout(params))), "o_access": Out(flit)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spikes = spikes_layout(self.params)
        flit = struct_signal(flit_layout(self.params), reset_less=True)
        packet = spikes(flit.payload[: spikes.size])
        # Of the packet that is kept; none where there is no packet.
        flags = {name: Signal(name=name) for name in arrival_layout(self.params).members}
        soon, ahead, access, following, far = (flags.get(name, Const(0, 1)) for name in ("soon", "ahead", "access", "following", "far"))
        with m.If(self.i.ready):
            m.d.sync += [flit.eq(self.i.payload), *(flag.eq(self.i.valid & self.i.payload.arrival[name]) for name, flag in flags.items())]

        # What may be due now waits until it could leave so, whether it is or not: the way back asks for no turn.
        now, free = Signal(), Signal()  # `now`: due in the running tick, or made in the one before where there is a delay
        m.d.comb += [
            free.eq(self.o_now.ready),
            now.eq(flit.due == self.info.turn),
            self.o_now.valid.eq(soon & Mux(ahead | following, now & (ahead | ~self.info.end), 1)),
            self.o_ahead.valid.eq(ahead & ~now & free),
            self.o_later.valid.eq((following & ~now & free) | (far & ~(now & self.info.end))),
            self.o_later.payload.delay.eq(packet.delay), self.o_later.payload.made.eq(~flit.due),
            self.o_access.valid.eq(access), self.o_access.payload.eq(flit),
            self.i.ready.eq((~soon | free) & (~access | self.o_access.ready)),
        ]
        for output in (self.o_now, self.o_ahead, self.o_later):
            m.d.comb += [output.payload.mask.eq(packet.mask), output.payload.block.eq(packet.block)]
        return m
