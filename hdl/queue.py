"""A first-in first-out queue between two streams."""

from amaranth.hdl import Module, ShapeLike, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, ram


class Queue(Component):
    """Holds up to ``depth`` payloads, in LUT-RAM.

    A payload can leave in the cycle after it came; one may come and one leave in every cycle. ``i.ready`` and ``o.valid``
    depend on registers only, so that no path runs through.

    Parameters
    ----------
    shape
        Shape of the payload.
    depth
        Power of two, at least 2.

    Members
    -------
    i, o : streams of ``shape``, in and out.
    """

    i: stream.Interface
    o: stream.Interface

    #: Cycles from a transfer at ``i`` to ``o.valid``.
    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int = 2) -> None:
        if depth < 2 or depth & (depth - 1):
            raise ValueError(f"Queue depth must be a power of two of at least 2, not {depth}")
        self.shape, self.depth = shape, depth
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.store = store = ram(self.shape, self.depth, block=False)
        write = store.write_port()
        read = store.read_port(domain="comb")
        head = Signal(range(2 * self.depth))
        tail = Signal(range(2 * self.depth))
        m.d.comb += [
            self.i.ready.eq((tail - head)[: len(head)] != self.depth),
            self.o.valid.eq(head != tail),
            write.addr.eq(tail), write.data.eq(self.i.payload), write.en.eq(self.i.valid & self.i.ready),
            read.addr.eq(head), self.o.payload.eq(read.data),
        ]
        with m.If(write.en):
            m.d.sync += tail.eq(tail + 1)
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += head.eq(head + 1)
        return m
