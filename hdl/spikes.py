"""The spike unit: turns updated rows of neurons into packets for their destinations."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import SHALLOW, Component, ram
from spikeloom.hdl.layouts import Kind, StructView, flit_layout, row_layout, spikes_layout, struct, struct_signal, target_layout
from spikeloom.hdl.queue import Queue
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


class SpikeUnit(Component):
    """Sends every row to each destination of its list: spikes in one packet, or potentials in one packet a bit plane.

    A packet a cycle: the list of the next row is looked up, and its first destination, while the row before is sent. A packet
    that would be empty is not sent, but costs its cycle. Packets for the host are joined: as long as ``more`` rows may come, one
    is kept back, and what follows for the same block goes with it.

    Members
    -------
    i : stream of :func:`row_layout`, in.
    o : stream of flits, out.
    end : in, 1 bit. Send to the host only.
    more : in, 1 bit. Rows of this tick are still to come.
    idle : out, 1 bit. Nothing is inside.
    bus : :class:`AccessBus`, in. Serves FANOUT and DESTINATIONS.
    """

    i: stream.Interface
    o: stream.Interface
    end: Signal
    more: Signal
    idle: Signal
    bus: AccessInterface

    #: Cycles from a row at ``i`` to its first packet at ``o``.
    LATENCY = 3

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(row_layout(params))), "o": Out(stream.Signature(flit_layout(params))),
                          "end": In(1), "more": In(1), "idle": Out(1), "bus": In(AccessBus())})
        self.packet = data.StructLayout({"spikes": spikes_layout(params), "target": target_layout(params)})
        self.kept = struct_signal(data.StructLayout({"mask": params.block, "block": params.block_bits, "valid": 1}), name="kept")

    def elaborate(self, platform: object) -> Module:
        m = Module()
        next_row, row = struct_signal(row_layout(self.params)), struct_signal(row_layout(self.params))
        waiting, active = Signal(), Signal()  # whether there is a next row, and one that is being sent
        take, done, ended = Signal(), Signal(), Signal()
        index, following = Signal(range(self.params.destinations)), Signal(range(self.params.destinations))
        fanout = self._table(m, Memory.FANOUT, self.i.payload.row, self.i.valid, self.i.ready)
        entry = self._table(m, Memory.DESTINATIONS, following, active | waiting)
        plane = Signal.like(entry.planes)
        m.submodules.packets = packets = Queue(self.packet, 2)  # which parts the paths in front of it and behind
        wanted, taken = self._packet(m, row, entry, plane, packets.i.payload), Signal()
        self._send(m, packets.o, self.more | waiting | active)

        m.d.comb += [
            packets.i.valid.eq(active & wanted), taken.eq(~wanted | packets.i.ready),
            done.eq(active & taken & (plane + 1 >= entry.planes)), ended.eq(done & entry.last),
            take.eq(waiting & fanout.valid & (~active | ended)),
            self.i.ready.eq(~waiting | take | ~fanout.valid),
            following.eq(Mux(take, fanout.start, index + done)),
        ]
        m.d.sync += index.eq(following)
        with m.If(active & taken):
            m.d.sync += plane.eq(Mux(done, 0, plane + 1))
        with m.If(self.i.ready):
            m.d.sync += [waiting.eq(self.i.valid), next_row.eq(self.i.payload)]
        with m.If(take):
            m.d.sync += [active.eq(1), row.eq(next_row)]
        with m.Elif(ended):
            m.d.sync += active.eq(0)
        m.d.comb += self.idle.eq(~(self.i.valid | waiting | active | packets.o.valid | self.kept.valid))
        return m

    def _table(self, m: Module, kind: Memory, address: Signal, valid: Value, enable: Value | int = 1) -> StructView:
        """A memory, read at ``address`` while ``valid``, else by the bus; returns the entry, shown a cycle later."""
        spec = memory_specs(self.params)[kind]
        m.submodules[kind.name.lower()] = store = ram(struct(spec.entry), spec.span, block=spec.span > 2 * SHALLOW)
        read, write = store.read_port(), store.write_port()
        chosen = self.bus.memory == kind
        m.d.comb += [read.addr.eq(Mux(valid, address, self.bus.address)), read.en.eq(enable), write.addr.eq(self.bus.address),
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
            *(packet.target[name].eq(entry[name]) for name in ("x0", "x1", "y0", "y1", "host")),
        ]
        wanted: Value = (sent != 0) & (entry.host | ~self.end)
        return wanted

    def _send(self, m: Module, packets: stream.Interface, more: Value) -> None:
        """Packets for cores leave at once; those for the host are kept while ``more`` may join."""
        kept, spikes, target = self.kept, packets.payload.spikes, packets.payload.target
        for_core, for_host = Signal(), Signal()
        same, leaving, held = Signal(), Signal(), Signal()
        m.d.comb += [
            for_core.eq(packets.valid & ~target.host), for_host.eq(packets.valid & target.host),
            same.eq((kept.block == spikes.block) & ((kept.mask & spikes.mask) == 0)),  # a neuron that spikes twice is sent twice
            leaving.eq(kept.valid & (held | ~for_core & Mux(for_host, ~same, ~more))),
            self.o.valid.eq(leaving | for_core), self.o.payload.kind.eq(Kind.SPIKES),
        ]
        with m.If(leaving):
            m.d.comb += [self.o.payload.payload.eq(Cat(kept.mask, kept.block)), self.o.payload.target.host.eq(1)]
        with m.Else():
            m.d.comb += [self.o.payload.payload.eq(spikes), self.o.payload.target.eq(target)]
        m.d.sync += held.eq(leaving & ~self.o.ready)  # what was offered stays
        with m.If(for_core):
            m.d.comb += packets.ready.eq(~leaving & self.o.ready)
        with m.Else():
            m.d.comb += packets.ready.eq(~kept.valid | Mux(leaving, self.o.ready, same))
        with m.If(for_host & packets.ready):
            m.d.sync += [kept.valid.eq(1), kept.block.eq(spikes.block),
                         kept.mask.eq(spikes.mask | Mux(kept.valid & ~leaving, kept.mask, 0))]
        with m.Elif(leaving & self.o.ready):
            m.d.sync += kept.valid.eq(0)
