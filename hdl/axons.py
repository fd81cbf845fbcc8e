"""The axon unit: takes spike packets, holds back delayed ones, and hands each bank its axons one by one."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.ahead import Ahead, KeptRegister, keep, kept_layout
from spikeloom.hdl.component import CUT, SHALLOW, Component, ram
from spikeloom.hdl.entrance import axons_layout, delayed_layout
from spikeloom.hdl.expander import BankExpander
from spikeloom.hdl.layouts import StructView, struct_signal
from spikeloom.hdl.queue import Queue
from spikeloom.params import ArrayParams


class DelaySlots(Component):
    """A queue of waiting packets for each of the next ticks.

    A packet that is due ``delay`` ticks after tick t waits in slot ``t + delay`` modulo the slots; the slot of the running
    tick is emptied into ``o``. One packet in and one out a cycle. The first packets of the next tick are read before it begins, so
    that they can leave in the cycle of ``tick``.

    Members
    -------
    i : stream of :func:`delayed_layout`, in. Packets that are due after the running tick, in the cycle of ``tick`` after the one that
        begins; always accepted.
    o : stream of :func:`axons_layout`, out. Packets due now.
    tick, clear : in, 1 bit. Begin the next tick; forget all packets. Both only while not ``busy``.
    busy : out, 3 bits. In the next cycle something is due or ``overflow`` is set, if any of them is.
    overflow : out, 1 bit. A packet was lost a cycle ago because its slot was full.
    kept : out. The packet that is next, with what it has for which banks.
    """

    i: stream.Interface
    o: stream.Interface
    tick: Signal
    clear: Signal
    busy: Signal
    overflow: Signal
    kept: StructView

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(delayed_layout(params))), "o": Out(stream.Signature(axons_layout(params))),
                          "tick": In(1), "clear": In(1), "busy": Out(3), "overflow": Out(1), "kept": Out(kept_layout(params))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        slots = self.params.delays
        depth = 1 << bits_for(self.params.delay_depth)
        entry = kept_layout(self.params)  # the turn is known when it is read
        m.submodules.store = store = ram(entry, slots * depth, block=slots * depth > SHALLOW)
        write, read = store.write_port(), store.read_port()
        now, following, source = Signal(range(slots)), Signal(range(slots)), Signal(range(slots))
        counts = Array([Signal(range(depth + 1), name=f"count_{slot}") for slot in range(slots)])
        # So that no comparison lies before a decision: any, and as many as there may be.
        useds = Array([Signal(name=f"used_{slot}") for slot in range(slots)])
        fulls = Array([Signal(name=f"full_{slot}") for slot in range(slots)])

        # Ticks of turn 1 have the odd slots: the lowest bit of a packet's slot asks for no tick, and the next one for six bits at most.
        slot, running = Signal(range(slots)), Signal(range(slots))
        lost, lost_before = Signal(slots), Signal(slots)
        m.d.comb += [
            following.eq(now + 1), running.eq(now + self.tick),
            slot.eq(Cat(self.i.payload.made, running[1:] - (self.i.payload.made & ~running[0])) + self.i.payload.delay),
            self.i.ready.eq(1),
            write.addr.eq(Cat(counts[slot][: bits_for(depth)], slot)),  # type: ignore[index]  # the stubs forget slices
            write.en.eq(self.i.valid),  # one too many takes the first one's place: lost is lost, and full is known late
            lost.eq(Cat(self.i.valid & (slot == number) & full for number, full in enumerate(fulls))),
            self.overflow.eq(lost_before.any()),
        ]
        keep(m, self.params, write.data, self.i.payload)
        # Which slot it is is an enable of each slot's, and not in their data.
        for number, (count, used, full) in enumerate(zip(counts, useds, fulls, strict=True)):
            with m.If(self.i.valid & (slot == number)):
                m.d.sync += [count.eq(count + ~full), used.eq(1), full.eq(full | (count == self.params.delay_depth - 1))]

        # Packets are read from the running tick's slot, and when that is empty, from the next one's. They wait in a ready queue with the
        # turn of the tick in which they are due. `held` are in it or on their way to it.
        m.submodules.ready = queue = Queue(entry, 4)
        m.submodules.register = register = KeptRegister(self.params)
        m.d.comb += [queue.clear.eq(self.clear), register.clear.eq(self.clear)]
        wiring.connect(m, queue.o, register.i)
        held, before, turn = Signal(range(5)), Signal(), Signal()
        fetch, reading, read_turn, due, leaves, running_due = Signal(), Signal(), Signal(), Signal(), Signal(), Signal()
        packet = register.o.payload
        # `past`: the slot that is read is the next tick's. A packet that came for that a cycle ago has `come`; without it, there is a
        # `rest` in the slot, up to `end`. Nothing comes for the running tick.
        head, after, end = Signal(range(depth + 1)), Signal(range(depth + 1), init=1), Signal(range(depth + 1))
        past, come, rest, leave, soon = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            turn.eq(before ^ self.tick), due.eq(register.o.valid & (packet.turn == turn)),
            source.eq(Mux(past, following, now)), leave.eq(~past & ~rest),
            soon.eq(~self.tick & (self.i.payload.delay == Mux(self.i.payload.made == now[0], 1, 2))),
            fetch.eq(((come & past) | rest) & ~held[2] & ~self.clear),
            read.addr.eq(Cat(head[: bits_for(depth)], source)), read.en.eq(fetch),
            queue.i.valid.eq(reading), queue.i.payload.turn.eq(read_turn),
            *(queue.i.payload[name].eq(read.data[name]) for name in entry.members if name != "turn"),
            self.kept.eq(packet),
            self.o.valid.eq(due & ~self.clear), self.o.payload.mask.eq(packet.mask), self.o.payload.block.eq(packet.block),
            register.o.ready.eq(leaves), leaves.eq(due & self.o.ready),
            # Without a tick, `before` is the turn. What is in LUT-RAM is known late.
            running_due.eq((~past & rest) | (reading & (read_turn == before)) | (register.o.valid & (packet.turn == before))),
            self.busy.eq(Cat(Mux(self.tick, ~self.clear & useds[following], running_due),
                             ~self.tick & queue.o.valid & (queue.o.payload.turn == before), lost.any())),
        ]
        m.d.sync += [
            lost_before.eq(lost),
            reading.eq(fetch), read_turn.eq(turn ^ (past & ~self.tick)), before.eq(turn), held.eq(held + fetch - leaves),
            past.eq((past | ~rest) & ~self.tick), end.eq(counts[Mux(past | ~rest, following, now)]),
            come.eq(self.i.valid & soon & ~fulls[following]),
            rest.eq(Mux(leave, useds[following], Mux(come & past, rest | held[2], rest & (held[2] | (end > after))))),
        ]
        with m.If(fetch):
            m.d.sync += [head.eq(after), after.eq(after + 1)]
        with m.If(leave):
            m.d.sync += [head.eq(0), after.eq(1)]
        with m.If(self.tick):
            m.d.sync += now.eq(following)
        for number, (count, used, full) in enumerate(zip(counts, useds, fulls, strict=True)):
            with m.If(self.clear | (self.tick & (now == number))):
                m.d.sync += [count.eq(0), used.eq(0), full.eq(0)]
        with m.If(self.clear):
            m.d.sync += [past.eq(0), come.eq(0), rest.eq(0), head.eq(0), after.eq(1), held.eq(0)]
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
    tick, clear : in, 1 bit. Begin the next tick, when no axon waits any more; forget delayed packets. Both only after ``idle``.
    idle : out. Where all bits are set: in the cycle after the next nothing is left to do in the running tick.
    overflow : out, 1 bit. A delayed packet was lost a cycle ago; that long it is not ``idle``.
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
                          "tick": In(1), "clear": In(1), "idle": Out(params.banks + (4 if params.delays > 1 else 1)), "overflow": Out(1)}
                         | {f"o_{bank}": Out(axon) for bank in range(params.banks)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks = self.params.banks
        ready = Signal(init=1)
        # With names, or a module's ports are numbered, and no core is like the others.
        ahead_idle = Signal(name="ahead_idle")
        slots_idle = Signal(3 if self.params.delays > 1 else 0, name="slots_idle")
        m.submodules.ahead = ahead = Ahead(self.params)
        wiring.connect(m, wiring.flipped(self.i_ahead), ahead.i)
        m.d.comb += ahead.tick.eq(self.tick)
        kept = struct_signal(axons_layout(self.params), attrs=CUT)  # behind it, one level chooses between them and the queue's
        if self.params.delays > 1:
            m.submodules.slots = slots = DelaySlots(self.params)
            wiring.connect(m, wiring.flipped(self.i_later), slots.i)
            m.d.comb += [slots.tick.eq(self.tick), slots.clear.eq(self.clear), self.overflow.eq(slots.overflow),
                         slots_idle.eq(~slots.busy)]

        # The first of the sources goes first. What the kept ones have for which bank was found before they were kept, and which of them
        # it is in a running tick, and which in a tick's first cycle, when all banks have room.
        hit, several, first_hit, first_several = (Signal(banks, name=name) for name in ("hit", "several", "first_hit", "first_several"))
        mine = ahead.kept
        m.d.comb += [self.i.ready.eq(ready), ahead.o.ready.eq(ready & ~self.i.valid)]
        if self.params.delays > 1:
            theirs = slots.kept
            running = theirs.turn == ahead.turn
            m.d.comb += [
                slots.o.ready.eq(ready & ~self.i.valid & ~ahead.o.valid),
                kept.eq(Mux(ahead.o.valid, ahead.o.payload.as_value(), slots.o.payload.as_value())),
                hit.eq(Mux(ahead.now, mine.hit, Mux(running, theirs.hit, 0))),
                several.eq(Mux(ahead.now, mine.several, Mux(running, theirs.several, 0))),
                first_hit.eq(Mux(ahead.there, mine.hit, Mux(self.clear, 0, theirs.hit))),
                first_several.eq(Mux(ahead.there, mine.several, Mux(self.clear, 0, theirs.several))),
            ]
        else:
            m.d.comb += [kept.eq(ahead.o.payload), hit.eq(Mux(ahead.now, mine.hit, 0)), several.eq(Mux(ahead.now, mine.several, 0)),
                         first_hit.eq(mine.hit), first_several.eq(mine.several)]

        expanders = []
        for bank in range(banks):
            m.submodules[f"bank_{bank}"] = expander = BankExpander(self.params)
            m.d.comb += [
                expander.i.payload.mask.eq(self.i.payload.mask[bank::banks]), expander.i.payload.block.eq(self.i.payload.block),
                expander.i.valid.eq(self.i.valid), expander.ready.eq(ready), expander.chosen.eq(~self.i.valid),
                expander.kept.mask.eq(kept.mask[bank::banks]), expander.kept.block.eq(kept.block),
                expander.comes.eq(hit[bank] & ~self.i.valid), expander.several.eq(several[bank]),
                expander.comes_several.eq(several[bank] & ~self.i.valid),
                expander.begins.eq(first_hit[bank] & self.tick & ~self.i.valid),
                expander.begins_several.eq(first_several[bank] & self.tick & ~self.i.valid),
            ]
            wiring.connect(m, expander.o, wiring.flipped(getattr(self, f"o_{bank}")))
            expanders.append(expander)
        # All banks take their part together, so one full queue holds the packet back.
        m.d.sync += ready.eq(Cat(expander.room for expander in expanders).all())
        m.d.comb += [ahead_idle.eq(ahead.idle & ~self.i.valid),
                     self.idle.eq(Cat((expander.idle for expander in expanders), ahead_idle, slots_idle))]
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
