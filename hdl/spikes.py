"""The spike unit: turns updated rows of neurons into packets for their destinations."""


from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessBus, AccessInterface, forward
from spikeloom.hdl.component import Component, every, some
from spikeloom.hdl.destinations import Destinations
from spikeloom.hdl.layouts import (
    Kind,
    StructView,
    flit_layout,
    row_layout,
    spikes_layout,
    struct_signal,
    target_layout,
    tick_layout,
)
from spikeloom.hdl.queue import Queue
from spikeloom.params import ArrayParams


class SpikeUnit(Component):
    """Sends every row to each destination of its list: spikes in one packet, or potentials in one packet a bit plane.

    A packet a cycle: the first destination of the next row is looked up while the row before is sent. A packet that
    would be empty is not sent, but costs its cycle, as it waits for those before it. Packets for the host are joined, and so are those
    for cores that are not due in the next tick: as long as ``more`` rows of the same tick may come, one of each kind is kept back, and
    what follows on the same way for the same block goes with it.

    Members
    -------
    i : stream of :func:`row_layout`, in.
    entries : stream of flits, in. Entries read; they never come together with anything of its own, and go out at once.
    o : stream of flits, out. What it offers may change until it is taken: the router looks at it no sooner.
    tick : :func:`tick_layout`, in. About the tick that ended last; if it has ``end``, rows are sent to the host only.
    more : in, 2 bits. Rows that are due in a tick of turn 0, of turn 1 are still to come, one of them may wait at ``i``.
    idle : out, 1 bit. Nothing is inside; a row may wait at ``i``.
    due : out, 2 bits. Something is inside that is due in a tick of turn 0, of turn 1.
    fault : out, 1 bit. A packet is made without delay in ticks that overlap: it may come a tick too late.
    bus : :class:`AccessBus`, in. Serves DESTINATIONS.
    """

    i: stream.Interface
    entries: stream.Interface
    o: stream.Interface
    tick: StructView
    more: Signal
    idle: Signal
    due: Signal
    fault: Signal
    bus: AccessInterface

    #: Cycles from a row at ``i`` to its first packet at ``o``.
    LATENCY = 4

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({"i": In(stream.Signature(row_layout(params))), "entries": In(flit), "o": Out(flit),
                          "tick": In(tick_layout(params)), "more": In(2), "idle": Out(1), "due": Out(2),
                          "fault": Out(1), "bus": In(AccessBus())})
        self.packet = data.StructLayout({"spikes": spikes_layout(params), "target": target_layout(params), "due": 1})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        next_row, row = (struct_signal(row_layout(self.params), name=name, reset_less=True) for name in ("next_row", "row"))
        waiting, active = Signal(), Signal()  # whether there is a next row, and one that is being sent
        take, done, ends = Signal(), Signal(), Signal()
        fanout = next_row.fanout
        m.submodules.destinations = destinations = Destinations(self.params)
        entry = destinations.entry
        forward(m, self.bus, destinations.bus)
        m.submodules.packets = packets = Queue(self.packet, 2)  # which parts the paths in front of it and behind
        taken, advance = packets.i.ready, Signal()
        m.d.comb += advance.eq(active & taken)
        # Whether this plane is the last one: of the first plane its entry tells, of the others a register.
        first, last_plane = Signal(init=1), Signal()
        last = Mux(first, ~entry.several, last_plane)
        opened = Signal(self.params.neurons_per_cycle)  # of the row: the first bit of each open potential
        wanted = self._packet(m, row, entry, opened, first, advance, packets.i.payload)
        # Of either tick, whether more may come behind the head: as it was a cycle ago. Of a full queue only the first is seen.
        coming = Signal(2)
        behind = [(waiting, next_row.due), (active, row.due), (packets.o.valid, packets.o.payload.due)]
        m.d.sync += [coming[turn].eq(some([self.more[turn], *(valid & (due == turn) for valid, due in behind), ~taken]))
                     for turn in range(2)]
        kept = self._send(m, packets.o, coming)

        m.d.comb += [
            packets.i.valid.eq(active & wanted),
            # Nothing here asks what is in the packet, which is known late.
            done.eq(active & taken & last), ends.eq(taken & last & entry.last),
            take.eq(waiting & fanout.valid & (~active | ends)),
            self.i.ready.eq(~(waiting & fanout.valid & active) | ends),
            # The entry that may come next is looked for before anybody knows whether this one is done, which is known late and tells
            # only whether it is taken.
            destinations.start.eq(fanout.start), destinations.begins.eq(Mux(active, entry.last, waiting)),
            destinations.used.eq(active | waiting), destinations.advance.eq(~active | done),
            self.bus.value.eq(destinations.bus.value),
        ]
        planes = Signal.like(entry.planes)  # from this one on, where it is not the first
        left = Mux(first, entry.planes, planes)
        with m.If(advance):
            m.d.sync += [first.eq(done), planes.eq(left - 1), last_plane.eq(left == 2)]
        with m.If(self.i.ready):
            m.d.sync += [waiting.eq(self.i.valid), next_row.eq(self.i.payload)]
        with m.If(take):
            m.d.sync += [active.eq(1), row.eq(next_row),
                         opened.eq(Cat(potential[0] for potential in next_row.membrane) & next_row.open)]
        with m.Elif(ends):
            m.d.sync += active.eq(0)
        there = [*behind, *kept]  # rows and packets stay in order, so that of a queue the first is late if any is
        m.d.comb += [self.idle.eq(~Cat(valid for valid, _ in there).any()),
                     *(self.due[turn].eq(Cat(valid & (due == turn) for valid, due in there).any()) for turn in range(2)),
                     self.fault.eq(active & wanted & ~entry.host & (entry.delay == 0) & self.tick.overlap)]
        return m

    def _packet(self, m: Module, row: StructView, entry: StructView, opened: Signal, first: Signal, advance: Signal,
                packet: StructView) -> Value:
        """Makes a row's ``packet`` for a destination: spikes, or a bit plane of the open potentials, at their place in the block; returns
        whether there is anything to send. The ``first`` plane is of the row and the entry themselves; with each that goes, those behind it
        move up, and so does the place."""
        params = self.params
        columns, offset_bits = range(params.neurons_per_cycle), (params.block // params.neurons_per_cycle - 1).bit_length()
        # Only open potentials have anything but 0 in `opened`, the first bits, and in `behind`, the rest.
        behind = [Signal(params.state_bits, name=f"behind_{column}", reset_less=True) for column in columns]
        begin, place = (Signal(params.block_bits + params.offset_bits, name=name) for name in ("begin", "place"))
        next_place = Signal.like(place, reset_less=True)
        with m.If(advance):
            m.d.sync += [next_place.eq(place + 1), *(
                behind[column].eq(Mux(row.open[column], Mux(first, row.membrane[column], behind[column])[1:], 0)) for column in columns)]
        sent = Signal(params.neurons_per_cycle)
        m.d.comb += [
            *(sent[column].eq(entry.mask[column] & Mux(entry.spikes, row.spikes[column], Mux(first, opened[column], behind[column][0])))
              for column in columns),
            begin.eq(Cat(entry.offset[:offset_bits], entry.block)), place.eq(Mux(first, begin, next_place)),
            packet.spikes.mask.eq(sent << (place[:offset_bits] * params.neurons_per_cycle if offset_bits else 0)),
            packet.spikes.block.eq(place[offset_bits:]), packet.spikes.delay.eq(entry.delay),
            packet.due.eq(row.due), *(packet.target[name].eq(entry[name]) for name in ("x0", "x1", "y0", "y1", "host")),
        ]
        wanted: Value = sent.any() & (entry.host | ~self.tick.end)
        return wanted

    def _flit(self, m: Module, packet: StructView, name: str) -> Value:
        """A packet as it goes into the mesh."""
        flit = struct_signal(flit_layout(self.params), name=f"flit_{name}")
        m.d.comb += [flit.kind.eq(Kind.SPIKES), flit.due.eq(packet.due), flit.payload.eq(packet.spikes), flit.target.eq(packet.target)]
        if name == "cores":
            following = packet.spikes.delay == 1
            m.d.comb += [flit.arrival.soon.eq(following), flit.arrival.following.eq(following), flit.arrival.far.eq(~following)]
        else:
            m.d.comb += flit.arrival.soon.eq(name == "head")  # those for the host go to no core
        value: Value = flit.as_value()
        return value

    def _alike(self, one: StructView, other: StructView, name: str) -> list[Value]:
        """Whether two packets for the host, or two for cores, can be one: all of these. A neuron that spikes twice is sent twice. Three
        pairs of bits each, which are a LUT."""
        fields = ["block"] if name == "host" else ["block", "delay"]
        pairs = [(one.spikes[field], other.spikes[field]) for field in fields] + [(one.due, other.due)]
        if name == "cores":
            pairs.append((one.target.as_value(), other.target.as_value()))
        ones, others = (Cat(*values) for values in zip(*pairs, strict=True))
        return [ones[low: low + 3] == others[low: low + 3] for low in range(0, len(ones), 3)]

    def _apart(self, one: Value, other: Value) -> list[Value]:
        """Likewise whether two masks have no bit in common."""
        return [(one[low: low + 3] & other[low: low + 3]) == 0 for low in range(0, len(one), 3)]

    def _send(self, m: Module, packets: stream.Interface, coming: Signal) -> list[tuple[Value, Value]]:
        """Packets that cores need for the next tick leave at once; the others are kept while any of the same tick are ``coming``, which
        may join them. Returns of those that are here whether they are there, and their ``due``."""
        # Each waits a cycle at the head, so that when it is here it is known where it goes, and whether it goes with what is kept.
        names = ["host"] + (["cores"] if self.params.delays > 1 else [])
        head, following = struct_signal(self.packet, reset_less=True), packets.payload
        mine, way = Signal(1 + len(names)), Signal(1 + len(names))  # of the head, if there is one; of the packet behind it
        to_host, at_once = following.target.host, (following.spikes.delay == 0) if self.params.delays > 1 else Const(1, 1)
        m.d.comb += way.eq(Cat(~to_host & at_once, to_host, ~to_host & ~at_once))
        moves, none = Signal(), Signal(init=1)  # `none`: there is no head
        m.d.comb += packets.ready.eq(moves | ~packets.valid)  # the queue, when empty, takes no logic of its own then
        with m.If(moves):
            m.d.sync += [mine.eq(Mux(packets.valid, way, 0)), none.eq(~packets.valid), head.eq(following)]

        # When the head goes on: there is none, or it is accepted. One that leaves at once goes before those that are kept, of which that
        # for cores goes first. Nothing is held that waits to leave: the router looks at it only when it takes it.
        kept: list[tuple[Value, Value]] = [(~none, head.due)]
        goes: list[Value] = [none | (mine[0] & self.o.ready)]
        apart = self._apart(head.spikes.mask, following.spikes.mask)
        wanted: list[Value] = []
        flits: list[Value] = []
        for number, name in reversed(list(enumerate(names, 1))):
            # What does not go with what is kept drives it out.
            keep, valid = struct_signal(self.packet, name=f"kept_{name}", reset_less=True), Signal(name=f"kept_{name}_valid")
            same, wants, comes = Signal(name=f"same_{name}"), Signal(name=f"wants_{name}"), mine[number]
            apart_from_kept = self._apart(keep.spikes.mask, following.spikes.mask)
            goes_with_head = every(self._alike(head, following, name) + apart)
            with m.If(moves):
                m.d.sync += same.eq(Mux(comes, goes_with_head & (every(apart_from_kept) | ~(valid & same)),
                                        every(self._alike(keep, following, name) + apart_from_kept)))
            first = ~Cat(mine[0], *wanted).any() & self.o.ready
            m.d.comb += wants.eq(valid & Mux(comes, ~same, ~coming.bit_select(keep.due, 1)))
            goes.append(comes & (~valid | same | first))
            with m.If(goes[-1]):
                m.d.sync += [valid.eq(1), keep.eq(head), keep.spikes.mask.eq(head.spikes.mask | Mux(valid & same, keep.spikes.mask, 0))]
            with m.Elif(wants & first):
                m.d.sync += valid.eq(0)
            wanted.append(wants)
            kept.append((valid, keep.due))
            flits.append(self._flit(m, keep, name))

        # The choice among those that are kept is known last.
        flit = Mux(wanted[0], flits[0], flits[1]) if len(flits) > 1 else flits[0]
        sooner = self.entries.valid | mine[0]
        m.d.comb += [
            moves.eq(Cat(goes).any()), self.o.valid.eq(Cat(sooner, *wanted).any()), self.entries.ready.eq(self.o.ready),
            self.o.payload.eq(Mux(sooner, Mux(self.entries.valid, self.entries.payload.as_value(), self._flit(m, head, "head")), flit)),
        ]
        return kept
