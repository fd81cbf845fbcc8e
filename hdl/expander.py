"""From the mask of a packet to a bank's axons, one by one."""

from amaranth.hdl import Cat, Const, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.component import COPY, Component
from spikeloom.hdl.layouts import StructView, struct_signal
from spikeloom.hdl.queue import Queue
from spikeloom.params import ArrayParams

#: Packets that may wait for a bank. The first three quarters are used; what comes before that is known takes a few of the others.
WAITING = 32


def several(mask: Value) -> Value:
    """More than one bit is set: of eight bits in two levels, for up to six of them fit into a LUT. In equal parts, so that of eight two
    LUTs say whether any is set."""
    size = -(-len(mask) // -(-len(mask) // 6))
    low, high = mask[:size], mask[size:]
    found = Cat(low[i] & low[:i].any() for i in range(len(low))).any()
    return found | (low.any() & high.any()) | several(high) if len(high) else found


def few(mask: Value, enables: list[Signal]) -> Value:
    """No more than two bits are set, or none of the enables: of eight bits in two levels, for three bits are a sum of two. So that each
    sum stays one level with its enable, every other one has a copy of its own."""
    one: Value = Const(0, 1)  # at least so many of the bits so far
    two: Value = Const(0, 1)
    three: Value = Const(0, 1)
    whole = len(mask) // 3 * 3
    for i in range(0, whole, 3):
        a, b, c, enable = mask[i], mask[i + 1], mask[i + 2], enables[i // 3 % len(enables)].any()
        low, high = enable & (a ^ b ^ c), enable & ((a & b) | (a & c) | (b & c))
        one, two, three = one | low | high, two | high | (one & low), three | (high & (low | one)) | (two & (low | high))
    for bit in mask[whole:]:  # two at most, which need no enable
        one, two, three = one | bit, two | (one & bit), three | (two & bit)
    return ~three


class BankExpander(Component):
    """Numbers the set bits of masks: one axon a cycle, without a gap between packets that wait. With nothing to do, the first axon of
    a packet is there in the cycle after it.

    The bank's packet is the one at ``i``, which is known late, or else the one that is kept. Whether it is the latter is asked for on
    its own, as is whether it has axons of the bank: so that none of it waits for the other.

    Members
    -------
    i : stream of (mask: block / banks bits, block), in. A mask of 0 is nothing.
    room : out, 1 bit. Less than three quarters of :data:`WAITING` packets waited a cycle ago. All banks take a packet together, so that
    ready : in, 1 bit. is set where all had room, at most a few cycles ago. Without it nothing is taken.
    kept : in, (mask, block). Instead of ``i``,
    chosen : in, 1 bit. where this is set.
    several : in, 1 bit. More than one bit of the kept packet is set.
    comes, comes_several : in, 1 bit. It comes, if there is room, and has a bit that is set; or more than one.
    begins, begins_several : in, 1 bit. The same of the first packet of a tick, while no axon waits.
    o : stream of axon numbers within the bank, out.
    idle : out, 1 bit. Unless a packet comes, no axon waits in the cycle after the next: one that is left leaves in the next, for nothing
        stops the last two.
    """

    i: stream.Interface
    room: Signal
    ready: Signal
    kept: StructView
    chosen: Signal
    comes: Signal
    several: Signal
    comes_several: Signal
    begins: Signal
    begins_several: Signal
    o: stream.Interface
    idle: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        self.width = params.block // params.banks
        self.layout = data.StructLayout({"mask": self.width, "block": params.block_bits})
        self.queued = data.StructLayout(self.layout.members | {"several": 1})
        super().__init__({"i": In(stream.Signature(self.layout)), "room": Out(1), "ready": In(1), "kept": In(self.layout), "chosen": In(1),
                          "comes": In(1), "several": In(1), "comes_several": In(1), "begins": In(1), "begins_several": In(1),
                          "o": Out(stream.Signature(bits_for(params.bank_axons))), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.queued, WAITING, late=True)
        # `there`: an axon is, or else the mask is anything. `more`: behind it there is another one, if a bit says so: one for packets
        # out of the queue, one for those of `i`, and one for kept ones.
        mask, block = Signal(self.width, reset_less=True), Signal(self.params.block_bits, reset_less=True)
        there, more, more_copy = Signal(reset_less=True), Signal(3, attrs=COPY), Signal(3, attrs=COPY)
        first = Signal(range(max(2, self.width)))
        for i in reversed(range(self.width)):
            with m.If(mask[i]):
                m.d.comb += first.eq(i)
        take, passes, queues, comes, last = (Signal(name=name) for name in ("take", "passes", "queues", "comes", "last"))
        packet, coming, queued = struct_signal(self.layout), struct_signal(self.layout), queue.o.payload
        free = self.o.ready | ~there
        m.d.comb += [
            self.o.valid.eq(there), self.o.payload.eq(Cat(first, block) if self.width > 1 else block),
            take.eq(~more.any() & free), last.eq(few(mask, [more, more_copy])),
            # A packet passes by an empty queue. In the cycle of a tick, every queue is. Each is asked first, the packet last.
            passes.eq(self.ready & ~queue.o.valid & take), queues.eq(self.ready & ~ResetSignal() & (queue.o.valid | ~take)),
            comes.eq((self.i.valid & self.i.payload.mask.any()) | self.comes),
            coming.eq(Mux(self.chosen, self.kept, self.i.payload)),
            *(queue.i.payload[name].eq(coming[name]) for name in self.layout.members),
            queue.i.payload.several.eq(Mux(self.chosen, self.several, several(self.i.payload.mask))),
            queue.i.valid.eq(comes & queues), self.room.eq(queue.i.ready), self.i.ready.eq(self.ready), queue.o.ready.eq(take),
            *(packet[name].eq(Mux(queue.o.valid, queued[name], coming[name])) for name in self.layout.members),
            self.idle.eq(Mux(queue.o.valid, take & queue.last & ~queued.several, ~there | (self.o.ready & last))),
        ]
        # What comes is all that lies before mask and block: whether it does is their enable, and an axon that leaves is a reset of its bit.
        with m.If(take):
            m.d.sync += [there.eq(comes & self.ready), mask.eq(packet.mask), block.eq(packet.block)]
        for i in range(self.width):
            with m.If(more.any() & self.o.ready & ~mask[:i].any()):
                m.d.sync += mask[i].eq(0)
        with m.If(free & last):
            m.d.sync += [each.eq(Cat(queue.o.valid & take & queued.several, passes & self.i.valid & several(self.i.payload.mask),
                                     (passes & self.comes_several) | self.begins_several)) for each in (more, more_copy)]
        with m.If(ResetSignal()):
            m.d.sync += there.eq(0)
        with m.If((queue.o.valid | self.begins) & ~ResetSignal()):  # the queue's waits for room here
            m.d.sync += there.eq(1)
        return m
