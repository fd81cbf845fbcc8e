"""A first-in first-out queue between two streams, and a register."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, ShapeLike, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, ram


class Queue(Component):
    """Holds up to ``depth`` payloads: two in registers, more in LUT-RAM.

    A payload can leave in the cycle after it came; one may come and one leave in every cycle. ``i.ready`` and ``o.valid``
    are registers, so that no path runs through and none begins with a comparison; of a queue of two ``o.payload`` is one, too.

    Parameters
    ----------
    shape
        Shape of the payload.
    depth
        Power of two, at least 2.
    late
        What comes is taken even while ``i.ready`` is 0, which says, a cycle late, whether less than three quarters of the places are
        used: whoever fills the queue has time to heed it, as long as one place stays free. Of a depth of at least 8.

    Members
    -------
    i, o : streams of ``shape``, in and out.
    clear : in, 1 bit. Forget everything, also what comes; of queues of more than two.
    last : out, 1 bit. Where ``o`` is valid: what it shows is all there is; of queues of more than two.
    """

    i: stream.Interface
    o: stream.Interface
    clear: Signal
    last: Signal

    #: Cycles from a transfer at ``i`` to ``o.valid``.
    LATENCY = 1

    def __init__(self, shape: ShapeLike, depth: int = 2, *, late: bool = False) -> None:
        least = 8 if late else 2
        if depth < least or depth & (depth - 1):
            raise ValueError(f"Queue depth must be a power of two of at least {least}, not {depth}")
        self.shape, self.depth, self.late = shape, depth, late
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))}
                         | ({"clear": In(1), "last": Out(1)} if depth > 2 else {}))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        room, there = Signal(init=1), Signal(reset_less=self.depth > 2)
        m.d.comb += [self.i.ready.eq(room), self.o.valid.eq(there)]
        if self.depth == 2:
            self._registers(m, room, there)
        else:
            self._memory(m, room, there)
        return m

    def _registers(self, m: Module, room: Signal, there: Signal) -> None:
        """``shown`` is first in line; ``spare`` takes what comes while that stays, and is full when there is no room."""
        shown = Signal(self.i.payload.shape(), reset_less=True)
        spare = Signal(self.i.payload.shape(), reset_less=True)
        m.d.comb += self.o.payload.eq(shown)
        with m.If(room):  # also a payload that goes past it, so that no decision lies before its enable
            m.d.sync += spare.eq(self.i.payload)
        with m.If(self.o.ready | ~there):
            m.d.sync += [shown.eq(Mux(room, self.i.payload, spare)), there.eq(self.i.valid | ~room), room.eq(1)]
        with m.Elif(self.i.valid):
            m.d.sync += room.eq(0)

    def _memory(self, m: Module, room: Signal, there: Signal) -> None:
        """Of each register a transfer is an enable or a set, and not in its data: what comes and what goes may be known late."""
        m.submodules.store = store = ram(self.shape, self.depth, block=False)
        write, read = store.write_port(), store.read_port(domain="comb")
        head, next_head = Signal(range(self.depth)), Signal(range(self.depth))
        tail, next_tail, latest = Signal(range(self.depth)), Signal(range(self.depth)), Signal(range(self.depth))
        come, gone, forget = Signal(), Signal(), Signal()
        m.d.comb += [
            next_head.eq(head + 1), next_tail.eq(tail + 1),
            come.eq(self.i.valid & (room | self.late)), gone.eq(there & self.o.ready), self.last.eq(head == latest),
            # While there is room, nothing is lost where the tail points: no decision lies before this enable either.
            write.addr.eq(tail), write.data.eq(self.i.payload), write.en.eq(room | self.late),
            read.addr.eq(head), self.o.payload.eq(read.data), forget.eq(self.clear | ResetSignal()),
        ]
        with m.If(come):
            m.d.sync += [tail.eq(next_tail), latest.eq(tail)]
        with m.If(gone):
            m.d.sync += head.eq(next_head)
        with m.If(self.o.ready):
            m.d.sync += there.eq(there & ~self.last)
        if self.late:
            m.d.sync += room.eq(~self._three_quarters(head, tail))
        else:
            with m.If(come):
                m.d.sync += room.eq(next_tail != head)
            with m.If(self.o.ready):  # also while nothing is there, and so there is room already
                m.d.sync += room.eq(1)
        with m.If(self.clear):
            m.d.sync += [head.eq(0), tail.eq(0), room.eq(1)]
        # What comes is a set: so the reset, which would be in its place, is one of the things that are known early.
        with m.If(forget):
            m.d.sync += there.eq(0)
        with m.If(come & ~forget):
            m.d.sync += there.eq(1)

    def _three_quarters(self, head: Signal, tail: Signal) -> Value:
        """So many places are used, of which a few are always free: the upper bits of tail − head, in two levels and without a chain."""
        borrow: Value = Const(0)
        for mine, taken in zip(tail[:-2], head[:-2], strict=True):
            borrow = Mux(mine ^ taken, taken, borrow)
        differ, upper = tail[-2:] ^ head[-2:], tail[-2]
        return Mux(borrow, ~differ.any(), differ == Cat(1, upper))  # they are 3: the head's are equal, or one more


class Register(Component):
    """Holds one payload: behind a queue in LUT-RAM, so that its first can be looked at from the beginning of a cycle.

    ``i.ready`` follows ``o.ready``. A payload a cycle, each ``LATENCY`` later.

    Parameters
    ----------
    shape
        Shape of the payload.

    Members
    -------
    i, o : streams of ``shape``, in and out.
    """

    i: stream.Interface
    o: stream.Interface

    #: Cycles from a transfer at ``i`` to ``o.valid``.
    LATENCY = 1

    def __init__(self, shape: ShapeLike) -> None:
        super().__init__({"i": In(stream.Signature(shape)), "o": Out(stream.Signature(shape))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        there, held = Signal(), Signal(self.i.payload.shape(), reset_less=True)
        m.d.comb += [self.o.valid.eq(there), self.o.payload.eq(held), self.i.ready.eq(~there | self.o.ready)]
        with m.If(self.i.ready):
            m.d.sync += [there.eq(self.i.valid), held.eq(self.i.payload)]
        return m
