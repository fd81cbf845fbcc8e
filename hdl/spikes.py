"""The spike unit: turns updated rows of neurons into packets for their destinations."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import SHALLOW, Component, ram
from spikeloom.hdl.layouts import Kind, flit_layout, row_layout, spikes_layout, struct
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


class SpikeUnit(Component):
    """Sends every row to each destination of its list: spikes in one packet, or potentials in one packet a bit plane.

    A destination costs two cycles, and one more for each plane after the first; a row two more. A packet that would be empty
    is not sent, but costs its cycle.

    Members
    -------
    i : stream of :func:`row_layout`, in.
    o : stream of flits, out.
    end : in, 1 bit. Send to the host only.
    idle : out, 1 bit. Nothing is inside.
    bus : :class:`AccessBus`, in. Serves FANOUT and DESTINATIONS.
    """

    i: stream.Interface
    o: stream.Interface
    end: Signal
    idle: Signal
    bus: AccessInterface

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(row_layout(params))), "o": Out(stream.Signature(flit_layout(params))),
                          "end": In(1), "idle": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params, specs = self.params, memory_specs(self.params)
        row, index = self.i.payload, Signal(range(params.destinations))
        plane = Signal(specs[Memory.DESTINATIONS].entry.fields[-3].bits)
        entries = {}
        for kind, address, valid in ((Memory.FANOUT, row.row, self.i.valid), (Memory.DESTINATIONS, index, self.i.valid)):
            depth = specs[kind].span
            m.submodules[kind.name.lower()] = store = ram(
                struct(specs[kind].entry), depth, block=depth > 2 * SHALLOW)
            read, write = store.read_port(), store.write_port()
            chosen = self.bus.memory == kind
            m.d.comb += [read.addr.eq(Mux(valid, address, self.bus.address)), write.addr.eq(self.bus.address),
                         write.data.eq(self.bus.data), write.en.eq(chosen & self.bus.write)]
            with m.If(chosen):
                m.d.comb += self.bus.value.eq(read.data)
            entries[kind] = read.data
        fanout, entry = entries[Memory.FANOUT], entries[Memory.DESTINATIONS]

        # Bit `plane` of each potential, and the row's mask at its place in the block.
        bits = Cat(row.membrane[column].bit_select(plane, 1) for column in range(params.neurons_per_cycle))
        sent = Signal(params.neurons_per_cycle)
        place = Signal(params.block_bits + params.offset_bits)
        offset_bits = (params.block // params.neurons_per_cycle - 1).bit_length()
        spikes = spikes_layout(params)(self.o.payload.payload[: spikes_layout(params).size])
        m.d.comb += [
            sent.eq(entry.mask & Mux(entry.planes == 0, row.spikes, bits & row.open)),
            place.eq(Cat(entry.offset[:offset_bits], entry.block) + plane),
            spikes.mask.eq(sent << (place[:offset_bits] * params.neurons_per_cycle if offset_bits else 0)),
            spikes.block.eq(place[offset_bits:]), spikes.delay.eq(entry.delay),
            self.o.payload.kind.eq(Kind.SPIKES),
            *(self.o.payload.target[name].eq(entry[name]) for name in ("x0", "x1", "y0", "y1", "host")),
            self.idle.eq(~self.i.valid),
        ]
        with m.FSM():
            with m.State("LOOKUP"), m.If(self.i.valid):  # the row's address is at the table
                m.next = "BEGIN"
            with m.State("BEGIN"):
                m.d.sync += [index.eq(fanout.start), plane.eq(0)]
                with m.If(fanout.valid):
                    m.next = "FETCH"
                with m.Else():
                    m.d.comb += self.i.ready.eq(1)
                    m.next = "LOOKUP"
            with m.State("FETCH"):
                m.next = "SEND"
            with m.State("SEND"):
                m.d.comb += self.o.valid.eq((sent != 0) & (entry.host | ~self.end))
                with m.If(~self.o.valid | self.o.ready):
                    m.d.sync += plane.eq(plane + 1)
                    with m.If(plane + 1 >= entry.planes):
                        m.d.sync += [plane.eq(0), index.eq(index + 1)]
                        m.next = "FETCH"
                        with m.If(entry.last):
                            m.d.comb += self.i.ready.eq(1)
                            m.next = "LOOKUP"
        return m
