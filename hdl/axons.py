"""The axon unit: takes spike packets, holds back delayed ones, and hands each bank its axons one by one."""

from typing import cast

from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.ahead import Ahead
from spikeloom.hdl.component import SHALLOW, Component, ram
from spikeloom.hdl.entrance import axons_layout, delayed_layout
from spikeloom.hdl.layouts import StructView, struct_signal
from spikeloom.hdl.queue import Queue, Register
from spikeloom.params import ArrayParams


class DelaySlots(Component):
    """A queue of waiting packets for each of the next ticks.

    A packet that is due ``delay`` ticks from now waits in slot ``now + delay`` modulo the slots; the slot of the running
    tick is emptied into ``o``. One packet in and one out a cycle. The first packets of the next tick are read before it begins, so
    that they can leave in the cycle of ``tick``.

    Members
    -------
    i : stream of :func:`delayed_layout`, in. Packets with ``delay`` > 0 (ticks after the running one, in the cycle of ``tick`` after the
        one that begins); always accepted.
    o : stream of :func:`axons_layout`, out. Packets due now.
    tick, clear : in, 1 bit. Begin the next tick; forget all packets. Both only while ``idle``.
    idle : out, 1 bit. In the next cycle nothing is due.
    overflow : out, 1 bit. A packet was lost because its slot was full.
    """

    i: stream.Interface
    o: stream.Interface
    tick: Signal
    clear: Signal
    idle: Signal
    overflow: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(delayed_layout(params))), "o": Out(stream.Signature(axons_layout(params))),
                          "tick": In(1), "clear": In(1), "idle": Out(1), "overflow": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slots = self.params.delays
        depth = 1 << bits_for(self.params.delay_depth)
        entry = axons_layout(self.params)
        m.submodules.store = store = ram(entry, slots * depth, block=slots * depth > SHALLOW)
        write, read = store.write_port(), store.read_port()
        now, following = Signal(range(slots)), Signal(range(slots))
        counts = Array([Signal(range(depth + 1), name=f"count_{slot}") for slot in range(slots)])
        fulls = Array([Signal(name=f"full_{slot}") for slot in range(slots)])  # so that no comparison lies before an enable

        slot = Signal(range(slots))
        full = fulls[slot]
        m.d.comb += [
            following.eq(now + 1), slot.eq(now + self.tick + self.i.payload.delay),
            self.i.ready.eq(1),
            write.addr.eq(Cat(counts[slot][: bits_for(depth)], slot)),  # type: ignore[index]  # the stubs forget slices
            write.data.mask.eq(self.i.payload.mask), write.data.block.eq(self.i.payload.block),
            write.en.eq(self.i.valid & ~full),
            self.overflow.eq(self.i.valid & full),
        ]
        with m.If(write.en):
            m.d.sync += [counts[slot].eq(counts[slot] + 1), fulls[slot].eq(counts[slot] == self.params.delay_depth - 1)]

        # Packets are read from one slot after another, up to the next tick's, and wait in a ready queue with the turn of the tick in
        # which they are due. `held` are in it or on their way to it.
        prepared = data.StructLayout({"packet": entry, "turn": 1})
        m.submodules.ready = queue = cast("Queue", ResetInserter(self.clear)(Queue(prepared, 4)))
        m.submodules.register = register = cast("Register", ResetInserter(self.clear)(Register(prepared)))
        wiring.connect(m, queue.o, register.i)
        head, source = Signal(range(depth + 1)), Signal(range(slots))
        held, before, turn = Signal(range(5)), Signal(), Signal()
        fetch, reading, read_turn, due, leaves = Signal(), Signal(), Signal(), Signal(), Signal()
        packet = register.o.payload.packet
        to_come = Cat(reading & (read_turn == turn), queue.o.valid & (queue.o.payload.turn == turn)).any()
        m.d.comb += [
            turn.eq(before ^ self.tick), due.eq(register.o.valid & (register.o.payload.turn == turn)),
            fetch.eq((counts[source] != head) & ~held[2] & ~self.clear),
            read.addr.eq(Cat(head[: bits_for(depth)], source)), read.en.eq(fetch),
            queue.i.valid.eq(reading), queue.i.payload.packet.eq(read.data), queue.i.payload.turn.eq(read_turn),
            self.o.valid.eq(due & ~self.clear), self.o.payload.mask.eq(packet.mask), self.o.payload.block.eq(packet.block),
            register.o.ready.eq(leaves), leaves.eq(self.o.valid & self.o.ready),
            self.idle.eq(Mux(self.tick, self.clear | (counts[following] == 0),
                             ((source != now) | (counts[source] == head)) & ~(due | to_come))),
        ]
        m.d.sync += [reading.eq(fetch), read_turn.eq(turn ^ ((source != now) & ~self.tick)), before.eq(turn),
                     held.eq(held + fetch - leaves)]
        with m.If(fetch):
            m.d.sync += head.eq(head + 1)
        with m.Elif((source == now) & (counts[source] == head)):
            m.d.sync += [source.eq(following), head.eq(0)]
        with m.If(self.tick):
            m.d.sync += [now.eq(following), counts[now].eq(0), fulls[now].eq(0)]
        with m.If(self.clear):
            m.d.sync += [source.eq(Mux(self.tick, following, now)), head.eq(0), held.eq(0), reading.eq(0),
                         *(count.eq(0) for count in (*counts, *fulls))]
        return m


class BankExpander(Component):
    """Numbers the set bits of masks: one axon a cycle, without a gap between packets that wait. With nothing to do, the first axon of
    a packet is there in the cycle after it.

    Members
    -------
    i : stream of (mask: block / banks bits, block), in. No mask is 0.
    o : stream of axon numbers within the bank, out.
    idle : out, 1 bit. In the cycle after the next no axon waits: one that is left leaves in the next, for nothing stops the last two.
    """

    i: stream.Interface
    o: stream.Interface
    idle: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        self.width = params.block // params.banks
        self.layout = data.StructLayout({"mask": self.width, "block": params.block_bits})
        self.queued = data.StructLayout(self.layout.members | {"single": 1})  # one bit of the mask is set
        super().__init__({"i": In(stream.Signature(self.layout)),
                          "o": Out(stream.Signature(bits_for(params.bank_axons))), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(self.queued, 16)
        mask = Signal(self.width)
        block = Signal(self.params.block_bits)
        rest, more = Signal(self.width), Signal(self.width)  # behind the first axon, and behind the second
        take, there = Signal(), Signal()  # `there`: the mask is not 0
        first = Signal(range(max(2, self.width)))
        for i in reversed(range(self.width)):
            with m.If(mask[i]):
                m.d.comb += first.eq(i)
        m.d.comb += [
            rest.eq(Cat(mask[i] & mask[:i].any() for i in range(self.width))),
            more.eq(Cat(rest[i] & rest[:i].any() for i in range(self.width))),
            self.o.valid.eq(there),
            self.o.payload.eq(Cat(first, block) if self.width > 1 else block),
            # A packet passes by an empty queue.
            take.eq(~there | (self.o.ready & ~rest.any())),
            *(queue.i.payload[name].eq(self.i.payload[name]) for name in self.layout.members),
            queue.i.payload.single.eq(~Cat(self.i.payload.mask[i] & self.i.payload.mask[:i].any() for i in range(self.width)).any()),
            queue.i.valid.eq(self.i.valid & (queue.o.valid | ~take)),
            self.i.ready.eq(queue.i.ready), queue.o.ready.eq(take),
            self.idle.eq(~self.i.valid & Mux(queue.o.valid, there & self.o.ready & ~rest.any() & queue.only & queue.o.payload.single,
                                             ~there | (self.o.ready & ~more.any()))),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += mask.eq(rest)
        with m.If(take):  # no packet's part is empty
            m.d.sync += there.eq(queue.o.valid | self.i.valid)
        with m.If(take & queue.o.valid):
            m.d.sync += [mask.eq(queue.o.payload.mask), block.eq(queue.o.payload.block)]
        with m.Elif(take & self.i.valid):
            m.d.sync += [mask.eq(self.i.payload.mask), block.eq(self.i.payload.block)]
        return m


class AxonUnit(Component):
    """Packets in, axon numbers out: axon a of the core is axon ``a // banks`` of bank ``a % banks``.

    A packet for the running tick goes to the banks at once, a delayed one to its slot, and one of the host for the next tick to a
    queue. One packet a cycle while the banks' queues have room; each bank gets one axon a cycle.

    Members
    -------
    i, i_ahead : streams of :func:`axons_layout`, in. Due in the running tick; from the host, for the next one.
    i_later : stream of :func:`delayed_layout`, in. Of the three one is valid at most.
    o_0 … : stream of axon numbers for each bank, out.
    tick, clear : in, 1 bit. Begin the next tick; forget delayed packets.
    idle : out, 1 bit. In the cycle after the next nothing is left to do in the running tick.
    overflow : out, 1 bit. A delayed packet was lost.
    """

    i: stream.Interface
    i_ahead: stream.Interface
    i_later: stream.Interface
    tick: Signal
    clear: Signal
    idle: Signal
    overflow: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        axons, axon = stream.Signature(axons_layout(params)), stream.Signature(bits_for(params.bank_axons))
        super().__init__({"i": In(axons), "i_ahead": In(axons), "i_later": In(stream.Signature(delayed_layout(params))),
                          "tick": In(1), "clear": In(1), "idle": Out(1), "overflow": Out(1)}
                         | {f"o_{bank}": Out(axon) for bank in range(params.banks)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks = self.params.banks
        ready, slots_idle = Signal(), Signal(init=1)
        m.submodules.ahead = ahead = Ahead(self.params)
        wiring.connect(m, wiring.flipped(self.i_ahead), ahead.i)
        m.d.comb += ahead.tick.eq(self.tick)
        sources = [self.i, ahead.o]
        if self.params.delays > 1:
            m.submodules.slots = slots = DelaySlots(self.params)
            wiring.connect(m, wiring.flipped(self.i_later), slots.i)
            m.d.comb += [slots.tick.eq(self.tick), slots.clear.eq(self.clear), self.overflow.eq(slots.overflow), slots_idle.eq(slots.idle)]
            sources.append(slots.o)

        # The first of the sources goes first. What is in the packets is found before it is known which one that is.
        packet = struct_signal(axons_layout(self.params))
        hits = Signal(banks)  # the banks of which the packet has axons
        m.d.comb += packet.eq(sources[-1].payload)
        for number, source in reversed(list(enumerate(sources))):
            parts = Cat(source.payload.mask[bank::banks].any() for bank in range(banks))
            m.d.comb += source.ready.eq(ready & ~Cat(other.valid for other in sources[:number]).any())
            with m.If(source.valid):
                m.d.comb += [packet.eq(source.payload), hits.eq(parts)]

        expanders = []
        for bank in range(banks):
            m.submodules[f"bank_{bank}"] = expander = BankExpander(self.params)
            m.d.comb += [expander.i.payload.mask.eq(packet.mask[bank::banks]), expander.i.payload.block.eq(packet.block),
                         expander.i.valid.eq(ready & hits[bank])]
            wiring.connect(m, expander.o, wiring.flipped(getattr(self, f"o_{bank}")))
            expanders.append(expander)
        # All banks take their part together, so one full queue holds the packet back.
        m.d.comb += [ready.eq(Cat(expander.i.ready for expander in expanders).all()),
                     self.idle.eq(Cat(expander.idle for expander in expanders).all() & ahead.idle & slots_idle & ~self.i.valid)]
        return m


class ListWalker(Component):
    """Follows an axon's list: one (word, fold) a cycle, without a gap between axons that wait. One axon is looked up a cycle,
    also one whose list is empty.

    Members
    -------
    i : stream of axon numbers within the bank, in.
    o : stream of (word, fold), out. The list's base is added to the fold, modulo the folds.
    idle : out, 1 bit. Nothing is under way.
    axon_address, entry_address : out. Read addresses of the bank's tables, whose data come a cycle later in
    axon, entry : in. (start, base, count) and (word, fold).
    """

    i: stream.Interface
    o: stream.Interface
    idle: Signal
    axon_address: Signal
    axon: StructView
    entry_address: Signal
    entry: StructView

    def __init__(self, params: ArrayParams, axon: data.StructLayout, entry: data.StructLayout) -> None:
        self.params = params
        super().__init__({
            "i": In(stream.Signature(bits_for(params.bank_axons))), "o": Out(stream.Signature(entry)), "idle": Out(1),
            "axon_address": Out(bits_for(params.axons)), "axon": In(axon),
            "entry_address": Out(bits_for(params.entries)), "entry": In(entry)})
        self.axon_layout, self.entry_layout = axon, entry

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.lists = lists = Queue(self.axon_layout, 4)
        m.submodules.entries = entries = Queue(self.entry_layout, 4)
        looking, fetching = Signal(), Signal()
        waiting, filled = Signal(range(5)), Signal(range(5))
        base, next_base = Signal.like(self.axon.base), Signal.like(self.axon.base)
        position, left = Signal.like(self.axon.start), Signal.like(self.axon.count)
        look, fetch, take = Signal(), Signal(), Signal()

        # Axon table: `waiting` counts lists queued or being looked up.
        m.d.comb += [
            look.eq(self.i.valid & (waiting < 4)), self.i.ready.eq(look), self.axon_address.eq(self.i.payload),
            lists.i.payload.eq(self.axon), lists.i.valid.eq(looking & (self.axon.count != 0)),
            take.eq((left == 0) | (fetch & (left == 1))), lists.o.ready.eq(take),
        ]
        gone = (lists.o.valid & lists.o.ready) + (looking & (self.axon.count == 0))
        m.d.sync += [looking.eq(look), waiting.eq(waiting + look - gone)]

        # Entries: `filled` counts those queued or being fetched.
        m.d.comb += [fetch.eq((left != 0) & (filled < 4)), self.entry_address.eq(position)]
        m.d.sync += [fetching.eq(fetch), filled.eq(filled + fetch - (entries.o.valid & entries.o.ready))]
        with m.If(fetch):
            m.d.sync += [position.eq(position + 1), left.eq(left - 1), next_base.eq(base)]
        with m.If(take):
            m.d.sync += left.eq(Mux(lists.o.valid, lists.o.payload.count, 0))
            m.d.sync += [position.eq(lists.o.payload.start), base.eq(lists.o.payload.base)]
        m.d.comb += [entries.i.valid.eq(fetching), entries.i.payload.word.eq(self.entry.word),
                     entries.i.payload.fold.eq(self.entry.fold + next_base)]
        wiring.connect(m, entries.o, wiring.flipped(self.o))
        m.d.comb += self.idle.eq((waiting == 0) & (left == 0) & (filled == 0) & ~self.i.valid)
        return m
