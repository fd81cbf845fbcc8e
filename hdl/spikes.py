"""The spike unit: turns updated rows of neurons into packets for their destinations."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import SHALLOW, Component, ram
from spikeloom.hdl.layouts import (
    Kind,
    StructView,
    flit_layout,
    row_layout,
    spikes_layout,
    struct,
    struct_signal,
    target_layout,
    tick_layout,
)
from spikeloom.hdl.queue import Queue
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


class SpikeUnit(Component):
    """Sends every row to each destination of its list: spikes in one packet, or potentials in one packet a bit plane.

    A packet a cycle: the list of the next row is looked up, and its first destination, while the row before is sent. A packet that
    would be empty is not sent, but costs its cycle, as it waits for those before it. Packets for the host are joined, and so are those
    for cores that are not due in the next tick: as long as ``more`` rows may come, one of each kind is kept back, and what follows on
    the same way for the same block goes with it.

    Members
    -------
    i : stream of :func:`row_layout`, in.
    o : stream of flits, out.
    tick : :func:`tick_layout`, in. About the tick that ended last; if it has ``end``, rows are sent to the host only.
    more, more_late : in, 1 bit each. Rows are still to come; some of them are due in the running tick.
    idle : out, 1 bit. Nothing is inside.
    late : out, 1 bit. Something is inside that is due in the running tick.
    fault : out, 1 bit. A packet is made without delay in ticks that overlap: it may come a tick too late.
    bus : :class:`AccessBus`, in. Serves FANOUT and DESTINATIONS.
    """

    i: stream.Interface
    o: stream.Interface
    tick: StructView
    more: Signal
    more_late: Signal
    idle: Signal
    late: Signal
    fault: Signal
    bus: AccessInterface

    #: Cycles from a row at ``i`` to its first packet at ``o``.
    LATENCY = 3

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(row_layout(params))), "o": Out(stream.Signature(flit_layout(params))),
                          "tick": In(tick_layout(params)), "more": In(1), "more_late": In(1), "idle": Out(1), "late": Out(1),
                          "fault": Out(1), "bus": In(AccessBus())})
        self.packet = data.StructLayout({"spikes": spikes_layout(params), "target": target_layout(params), "due": 1})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        next_row, row = (struct_signal(row_layout(self.params), name=name, reset_less=True) for name in ("next_row", "row"))
        waiting, active = Signal(), Signal()  # whether there is a next row, and one that is being sent
        take, done, ended = Signal(), Signal(), Signal()
        index, following = Signal(range(self.params.destinations)), Signal(range(self.params.destinations))
        fanout = self._table(m, Memory.FANOUT, Mux(self.i.valid, self.i.payload.row, self.bus.address), self.i.ready)
        entry = self._table(m, Memory.DESTINATIONS, following)
        plane = Signal.like(entry.planes)
        m.submodules.packets = packets = Queue(self.packet, 2)  # which parts the paths in front of it and behind
        wanted, taken = self._packet(m, row, entry, plane, packets.i.payload), packets.i.ready
        # Whether this plane is the last one: of the first plane its entry tells, of the others a register.
        first, last_plane = Signal(init=1), Signal()
        last = Mux(first, ~entry.planes[1:].any(), last_plane)
        late_row = self.more_late | (waiting & (next_row.due == self.tick.turn)) | (active & (row.due == self.tick.turn))
        kept = self._send(m, packets.o, self.more | waiting | active, late_row)

        m.d.comb += [
            packets.i.valid.eq(active & wanted),
            # Nothing here asks what is in the packet, which is known late.
            done.eq(active & taken & last), ended.eq(done & entry.last),
            take.eq(waiting & fanout.valid & (~active | ended)),
            self.i.ready.eq(~waiting | take | ~fanout.valid),
            # The bus has the table while nothing is sent; what is known last comes last.
            following.eq(Mux(take, fanout.start, Mux(done, index + 1, Mux(active | waiting, index, self.bus.address)))),
        ]
        m.d.sync += index.eq(following)
        with m.If(active & taken):
            m.d.sync += [plane.eq(Mux(done, 0, plane + 1)), first.eq(done), last_plane.eq(plane + 2 >= entry.planes)]
        with m.If(self.i.ready):
            m.d.sync += [waiting.eq(self.i.valid), next_row.eq(self.i.payload)]
        with m.If(take):
            m.d.sync += [active.eq(1), row.eq(next_row)]
        with m.Elif(ended):
            m.d.sync += active.eq(0)
        # In the order of their ticks, so that the first of the packets is late if any is.
        there = [(waiting, next_row.due), (active, row.due), (packets.o.valid, packets.o.payload.due), *kept]
        m.d.comb += [self.idle.eq(~(self.i.valid | Cat(valid for valid, _ in there).any())),
                     self.late.eq(Cat(valid & (due == self.tick.turn) for valid, due in there).any()),
                     self.fault.eq(active & wanted & ~entry.host & (entry.delay == 0) & self.tick.overlap)]
        return m

    def _table(self, m: Module, kind: Memory, address: Value, enable: Value | int = 1) -> StructView:
        """A memory, read at ``address``, which is the bus's while nothing else is to be read; returns the entry, shown a cycle later."""
        spec = memory_specs(self.params)[kind]
        m.submodules[kind.name.lower()] = store = ram(struct(spec.entry), spec.span, block=spec.span > 2 * SHALLOW)
        read, write = store.read_port(), store.write_port()
        chosen = self.bus.chosen[kind]
        m.d.comb += [read.addr.eq(address), read.en.eq(enable), write.addr.eq(self.bus.address),
                     write.data.eq(self.bus.data), write.en.eq(chosen & self.bus.write)]
        with m.If(chosen):
            m.d.comb += self.bus.value.eq(read.data)
        shown: StructView = read.data
        return shown

    def _packet(self, m: Module, row: StructView, entry: StructView, plane: Signal, packet: StructView) -> Value:
        """Makes a row's ``packet`` for a destination: spikes, or bit ``plane`` of each open potential, at their place in the block;
        returns whether there is anything to send."""
        params = self.params
        bits = Cat(row.membrane[column].bit_select(plane, 1) for column in range(params.neurons_per_cycle))
        sent = Signal(params.neurons_per_cycle)
        place = Signal(params.block_bits + params.offset_bits)
        offset_bits = (params.block // params.neurons_per_cycle - 1).bit_length()
        m.d.comb += [
            sent.eq(entry.mask & Mux(entry.planes == 0, row.spikes, bits & row.open)),
            place.eq(Cat(entry.offset[:offset_bits], entry.block) + plane),
            packet.spikes.mask.eq(sent << (place[:offset_bits] * params.neurons_per_cycle if offset_bits else 0)),
            packet.spikes.block.eq(place[offset_bits:]), packet.spikes.delay.eq(entry.delay),
            packet.due.eq(row.due), *(packet.target[name].eq(entry[name]) for name in ("x0", "x1", "y0", "y1", "host")),
        ]
        wanted: Value = (sent != 0) & (entry.host | ~self.tick.end)
        return wanted

    def _send(self, m: Module, packets: stream.Interface, more: Value, more_late: Value) -> list[tuple[Value, Value]]:
        """Packets that cores need for the next tick leave at once; the others are kept while ``more`` may join, or ``more_late`` where
        they are late. Returns of those that are kept whether they are there, and their ``due``."""
        head = packets.payload
        pressing = ~head.target.host & (head.spikes.delay == 0)
        kinds = {"host": head.target.host} | ({"cores": ~head.target.host & ~pressing} if self.params.delays > 1 else {})
        offers: list[tuple[Value, Value]] = [(packets.valid & pressing, head.as_value())]
        accepts = [pressing & self.o.ready]
        kept: list[tuple[Value, Value]] = []
        chosen = Signal(1 + len(kinds))
        for number, (name, mine) in enumerate(kinds.items(), 1):
            # What is on another way, or for another block, or of another tick, drives out what is kept. A neuron that spikes twice is
            # sent twice.
            keep, valid = struct_signal(self.packet, name=f"kept_{name}", reset_less=True), Signal(name=f"kept_{name}_valid")
            same, leaves = Signal(name=f"same_{name}"), Signal(name=f"leaves_{name}")
            comes = packets.valid & mine
            other = [keep.spikes.block != head.spikes.block, (keep.spikes.mask & head.spikes.mask) != 0, keep.due != head.due]
            if name == "cores":
                other += [keep.target != head.target, keep.spikes.delay != head.spikes.delay]
            m.d.comb += [same.eq(~Cat(other).any()), leaves.eq(chosen[number] & self.o.ready)]
            offers.append((valid & Mux(comes, ~same, ~Mux(keep.due == self.tick.turn, more_late, more)), keep.as_value()))
            accept = ~valid | Mux(chosen[number], self.o.ready, same)
            with m.If(comes & accept):
                m.d.sync += [valid.eq(1), keep.eq(head), keep.spikes.mask.eq(head.spikes.mask | Mux(valid & ~leaves, keep.spikes.mask, 0))]
            with m.Elif(leaves):
                m.d.sync += valid.eq(0)
            accepts.append(mine & accept)
            kept.append((valid, keep.due))

        # One of those that want to leave, the first; what was offered stays.
        waiting, before = Signal(), Signal.like(chosen)
        wants = Cat(want for want, _ in offers)
        sent = self.packet(reduce(or_, [payload & chosen[number].replicate(len(payload)) for number, (_, payload) in enumerate(offers)]))
        first = Cat(want & ~wants[:number].any() for number, want in enumerate(wants))
        m.d.comb += [
            chosen.eq(Mux(waiting, before, first)), packets.ready.eq(Cat(accepts[0] & chosen[0], *accepts[1:]).any()),
            self.o.valid.eq(chosen.any()), self.o.payload.kind.eq(Kind.SPIKES), self.o.payload.due.eq(sent.due),
            self.o.payload.payload.eq(sent.spikes), self.o.payload.target.eq(sent.target),
        ]
        m.d.sync += [waiting.eq(self.o.valid & ~self.o.ready), before.eq(chosen)]
        return kept
