"""Packets of the host for the tick that has not begun: sent early, so that they need no time when it begins."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.queue import Queue, Register
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
    idle : out, 1 bit. Nothing is due, nor will it be in the next cycle.
    """

    i: stream.Interface
    o: stream.Interface
    tick: Signal
    idle: Signal

    def __init__(self, params: ArrayParams) -> None:
        fields = {"mask": params.block, "block": params.block_bits}
        self.layout = data.StructLayout(fields)
        self.entry = data.StructLayout(fields | {"turn": 1})
        packets = stream.Signature(self.layout)
        super().__init__({"i": In(packets), "o": Out(packets), "tick": In(1), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.entry, 2 * AHEAD)
        m.submodules.register = register = Register(self.entry)
        wiring.connect(m, queue.o, register.i)
        before, turn = Signal(), Signal()  # of the running tick, which changes with every tick
        first = register.o.payload
        m.d.sync += before.eq(turn)
        m.d.comb += [
            turn.eq(before ^ self.tick),
            queue.i.payload.mask.eq(self.i.payload.mask), queue.i.payload.block.eq(self.i.payload.block), queue.i.payload.turn.eq(~turn),
            queue.i.valid.eq(self.i.valid), self.i.ready.eq(queue.i.ready),
            self.o.payload.mask.eq(first.mask), self.o.payload.block.eq(first.block),
            self.o.valid.eq(register.o.valid & (first.turn == turn)), register.o.ready.eq(self.o.valid & self.o.ready),
            self.idle.eq(~(self.o.valid | (queue.o.valid & (queue.o.payload.turn == turn)))),
        ]
        return m
