"""A queue for where it is known late in a cycle what comes and what goes."""

from amaranth.hdl import Module, ResetSignal, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, ram


class LateQueue(Component):
    """A :class:`spikeloom.hdl.queue.Queue` in LUT-RAM, of which a transfer is an enable or a set of each register, and not in its data.

    Parameters
    ----------
    shape
        Shape of the payload.
    depth
        Power of two, at least 4.

    Members
    -------
    i, o : streams of ``shape``, in and out.
    clear : in, 1 bit. Forget everything, also what comes.
    last : out, 1 bit. Where ``o`` is valid: what it shows is all there is.
    """

    i: stream.Interface
    o: stream.Interface
    clear: Signal
    last: Signal

    #: Cycles from a transfer at ``i`` to ``o.valid``.
    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int) -> None:
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape)), "clear": In(1), "last": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = store = ram(self.shape, self.depth, block=False)
        write, read = store.write_port(), store.read_port(domain="comb")
        head, next_head = Signal(range(self.depth)), Signal(range(self.depth))
        tail, next_tail = Signal(range(self.depth)), Signal(range(self.depth))
        room, there = Signal(init=1), Signal(reset_less=True)
        come, gone, forget = Signal(), Signal(), Signal()
        m.d.comb += [
            self.i.ready.eq(room), self.o.valid.eq(there), next_head.eq(head + 1), next_tail.eq(tail + 1),
            come.eq(self.i.valid & room), gone.eq(there & self.o.ready), self.last.eq(next_head == tail),
            # While there is room, nothing is lost where the tail points: no decision lies before this enable either.
            write.addr.eq(tail), write.data.eq(self.i.payload), write.en.eq(room),
            read.addr.eq(head), self.o.payload.eq(read.data), forget.eq(self.clear | ResetSignal()),
        ]
        with m.If(come):
            m.d.sync += [tail.eq(next_tail), room.eq(next_tail != head)]
        with m.If(gone):
            m.d.sync += head.eq(next_head)
        with m.If(self.o.ready):  # also while nothing is there, and so there is room already
            m.d.sync += [room.eq(1), there.eq(there & ~self.last)]
        with m.If(self.clear):
            m.d.sync += [head.eq(0), tail.eq(0), room.eq(1)]
        # What comes is a set: so the reset, which would be in its place, is one of the things that are known early.
        with m.If(forget):
            m.d.sync += there.eq(0)
        with m.If(come & ~forget):
            m.d.sync += there.eq(1)
        return m
