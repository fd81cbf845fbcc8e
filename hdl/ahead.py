"""Packets of the host for the tick that has not begun: sent early, so that they need no time when it begins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.entrance import axons_layout
from spikeloom.hdl.expander import several
from spikeloom.hdl.layouts import StructView
from spikeloom.hdl.queue import Queue
from spikeloom.params import ArrayParams

#: Packets that the host port may send to the cores before their tick begins.
AHEAD = 16


def kept_layout(params: ArrayParams) -> data.StructLayout:
    """A packet that waits for its tick. ``hit``, ``several``: of which banks it has axons, and of which more than one."""
    return data.StructLayout({"mask": params.block, "block": params.block_bits, "hit": params.banks, "several": params.banks, "turn": 1})


def keep(m: Module, params: ArrayParams, kept: StructView, packet: StructView) -> None:
    """Fill in everything but the turn."""
    m.d.comb += [kept.mask.eq(packet.mask), kept.block.eq(packet.block)]
    for bank in range(params.banks):
        part = packet.mask[bank :: params.banks]
        m.d.comb += [kept.hit[bank].eq(part.any()), kept.several[bank].eq(several(part))]


class KeptRegister(Component):
    """A :class:`spikeloom.hdl.queue.Register` of a packet, of which ``hit`` and ``several`` are 0 while none is there.

    Members
    -------
    i, o : streams of :func:`kept_layout`, in and out.
    clear : in, 1 bit. Forget the packet, also one that comes.
    """

    i: stream.Interface
    o: stream.Interface
    clear: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.layout = kept_layout(params)
        packets = stream.Signature(self.layout)
        super().__init__({"i": In(packets), "o": Out(packets), "clear": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        there = Signal()
        held = {name: Signal(shape, name=name, reset_less=name not in ("hit", "several")) for name, shape in self.layout.members.items()}
        m.d.comb += [self.o.valid.eq(there), self.i.ready.eq(~there | self.o.ready),
                     *(self.o.payload[name].eq(value) for name, value in held.items())]
        with m.If(self.i.ready):
            m.d.sync += [there.eq(self.i.valid), *(value.eq(self.i.payload[name]) for name, value in held.items())]
            with m.If(~self.i.valid):
                m.d.sync += [held["hit"].eq(0), held["several"].eq(0)]
        with m.If(self.clear):
            m.d.sync += [there.eq(0), held["hit"].eq(0), held["several"].eq(0)]
        return m


class Ahead(Component):
    """A queue whose packets leave in the tick after they came. It holds those of two ticks, the second of which still come, so that it
    always has room: the host port counts to :data:`AHEAD`.

    Members
    -------
    i : stream of (mask, block), in.
    o : stream of (mask, block), out. From the cycle of ``tick`` on those that had come by then.
    tick : in, 1 bit. Begin the next tick; only while ``idle``.
    idle : out, 1 bit. Nothing is due, nor will it be in the next cycle.
    kept : out. The packet that is next, with what it has for which banks.
    there, now : out, 1 bit. It is there; it is due in the running tick, unless the next one begins.
    turn : out, 1 bit. Of the running tick, unless the next one begins. A register.
    """

    i: stream.Interface
    o: stream.Interface
    tick: Signal
    idle: Signal
    kept: StructView
    there: Signal
    now: Signal
    turn: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        self.layout = axons_layout(params)
        packets = stream.Signature(self.layout)
        super().__init__({"i": In(packets), "o": Out(packets), "tick": In(1), "idle": Out(1), "kept": Out(kept_layout(params)),
                          "there": Out(1), "now": Out(1), "turn": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(kept_layout(self.params), 2 * AHEAD)
        m.submodules.register = register = KeptRegister(self.params)
        wiring.connect(m, queue.o, register.i)
        before, turn = self.turn, Signal()  # of the running tick, which changes with every tick
        first = register.o.payload
        m.d.sync += before.eq(turn)
        keep(m, self.params, queue.i.payload, self.i.payload)
        m.d.comb += [
            turn.eq(before ^ self.tick), queue.i.payload.turn.eq(~turn),
            queue.i.valid.eq(self.i.valid), self.i.ready.eq(queue.i.ready),
            self.kept.eq(first), self.there.eq(register.o.valid), self.now.eq(register.o.valid & (first.turn == before)),
            self.o.payload.mask.eq(first.mask), self.o.payload.block.eq(first.block),
            self.o.valid.eq(register.o.valid & (first.turn == turn)), register.o.ready.eq(self.o.valid & self.o.ready),
            self.idle.eq(~(self.o.valid | (queue.o.valid & (queue.o.payload.turn == turn)))),
        ]
        return m
