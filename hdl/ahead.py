"""Packets of the host for the tick that has not begun: sent early, so that they need no time when it begins."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.queue import Queue
from spikeloom.params import ArrayParams

#: Packets that the host port may send to the cores before their tick begins.
AHEAD = 16


class Ahead(Component):
    """A queue whose packets leave in the tick after they came. It holds those of two ticks, the second of which still come, so that it
    always has room: the host port counts to :data:`AHEAD`.

    Members
    -------
    i : stream of (mask, block), in.
    o : stream of (mask, block), out. From the cycle of ``tick`` on those that had come by then.
    tick : in, 1 bit. Begin the next tick; only while ``idle``.
    idle : out, 1 bit. In the next cycle nothing is due.
    """

    i: stream.Interface
    o: stream.Interface
    tick: Signal
    idle: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.layout = data.StructLayout({"mask": params.block, "block": params.block_bits})
        packets = stream.Signature(self.layout)
        super().__init__({"i": In(packets), "o": Out(packets), "tick": In(1), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.layout, 2 * AHEAD)
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        inside, due = Signal(range(2 * AHEAD + 1)), Signal(range(2 * AHEAD + 1))
        now, gone = Signal.like(due), Signal()
        m.d.comb += [
            now.eq(Mux(self.tick, inside, due)), gone.eq(self.o.valid & self.o.ready),
            self.o.valid.eq(now != 0), self.o.payload.eq(queue.o.payload), queue.o.ready.eq(gone),
            self.idle.eq(now == gone),
        ]
        m.d.sync += [due.eq(now - gone), inside.eq(inside + (queue.i.valid & queue.i.ready) - gone)]
        return m
