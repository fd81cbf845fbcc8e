"""Reading and writing a core's memories: the bus, and the unit that turns packets into accesses."""

from typing import Protocol

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import COUNT_BITS, MEMORY_BITS, Kind, address_layout, flit_layout
from spikeloom.memories import ADDRESS_BITS, Memory, memory_specs
from spikeloom.params import DATA_BITS, ArrayParams


class AccessBus(wiring.Signature):
    """From the access unit to a component that owns memories.

    ``memory`` holds still while entries are written or read. ``write`` is one cycle long, with ``data``. The owner of the memory
    shows on ``value`` the entry at the ``address`` of the cycle before; all others show 0. So a new address can be read in every
    cycle, and an address that holds still keeps its entry in sight. SYNAPSES alone need to be asked, by a ``read`` of one cycle, at an
    address that holds still, and show the entry at the latest :data:`SYNAPSE_CYCLES` later.
    """

    def __init__(self) -> None:
        super().__init__({"memory": Out(MEMORY_BITS), "address": Out(ADDRESS_BITS), "data": Out(DATA_BITS),
                          "write": Out(1), "read": Out(1), "value": In(DATA_BITS)})


class AccessInterface(Protocol):
    """An :class:`AccessBus`, as it is seen from either side."""

    memory: Signal
    address: Signal
    data: Signal
    write: Signal
    read: Signal
    value: Signal


def forward(m: Module, bus: AccessInterface, owner: AccessInterface) -> None:
    """Show accesses to one of several owners, whose values are to be joined with OR."""
    m.d.comb += [getattr(owner, name).eq(getattr(bus, name)) for name in ("memory", "address", "data", "write", "read")]


#: Cycles from ``read`` to a synapse entry's settled ``value``. The longest way, through the adders of eight banks, takes half of them.
SYNAPSE_CYCLES = 8


class AccessUnit(Component):
    """Serves ADDRESS, DATA and READ packets one after another; addresses count up.

    A write takes a cycle. Entries are read one a cycle, the first of them ``LATENCY`` cycles after its READ; synapse words one in
    ``SYNAPSE_CYCLES`` + 1. While ``o`` waits, the address stands still; the one entry that was asked for by then is kept. An
    address that does not exist is not written, is read as 0, and raises ``fault``.

    Members
    -------
    i : stream of flits, in. Never SPIKES.
    o : stream of flits, out. Entries read, for the host.
    bus : :class:`AccessBus`, out.
    idle : out, 1 bit. No access is under way.
    fault : out, 1 bit. The address of this cycle is written or read, and does not exist.
    """

    i: stream.Interface
    o: stream.Interface
    bus: AccessInterface
    idle: Signal
    fault: Signal

    #: Cycles from a READ at ``i`` to its first entry at ``o``, of every memory but SYNAPSES.
    LATENCY = 2

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({"i": In(flit), "o": Out(flit), "bus": Out(AccessBus()), "idle": Out(1), "fault": Out(1)})

    def _exists(self) -> Value:
        """Whether the bus points at an entry."""
        known: Value = Signal(name="never")
        for memory, spec in memory_specs(self.params).items():
            inside: Value = (self.bus.memory == memory) & (self.bus.address >> spec.address.bits == 0)
            low = 0
            for field, size in zip(spec.address, spec.sizes, strict=True):
                if size != 1 << field.bits:
                    inside &= self.bus.address[low: low + field.bits] < size
                low += field.bits
            known = known | inside
        return known

    def elaborate(self, platform: object) -> Module:
        m = Module()
        remaining, none = Signal(COUNT_BITS), Signal(init=1)  # `none`: nothing remains
        timer = Signal(range(SYNAPSE_CYCLES + 1))
        place = address_layout()(self.i.payload.payload[: address_layout().size])
        exists, asked, waits = Signal(), Signal(), Signal()
        slow, timed = Signal(), Signal()  # the memory is SYNAPSES; so the timer has to run down first
        m.d.comb += [exists.eq(self._exists()), self.bus.data.eq(self.i.payload.payload), waits.eq(self.o.valid & ~self.o.ready)]

        with m.If(none):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid), m.Switch(self.i.payload.kind):
                with m.Case(Kind.ADDRESS):
                    m.d.sync += [self.bus.memory.eq(place.memory), self.bus.address.eq(place.address),
                                 slow.eq(place.memory == Memory.SYNAPSES)]
                with m.Case(Kind.DATA):
                    m.d.comb += [self.bus.write.eq(exists), self.fault.eq(~exists)]
                    m.d.sync += self.bus.address.eq(self.bus.address + 1)
                with m.Case(Kind.READ):
                    count = self.i.payload.payload[:COUNT_BITS]
                    m.d.sync += [remaining.eq(count), none.eq(count == 0), timer.eq(SYNAPSE_CYCLES), timed.eq(slow)]
        with m.Elif(timed):
            m.d.comb += self.bus.read.eq((timer == SYNAPSE_CYCLES) & exists)
            m.d.sync += [timer.eq(timer - 1), timed.eq(timer != 1)]
        with m.Elif(~waits):
            m.d.comb += [asked.eq(1), self.fault.eq(~exists)]
            m.d.sync += [remaining.eq(remaining - 1), none.eq(remaining == 1), self.bus.address.eq(self.bus.address + 1),
                         timer.eq(SYNAPSE_CYCLES), timed.eq(slow)]

        # The entry asked for in the cycle before shows on the bus. Where it has to wait it is kept, and the address with the entry after.
        shown, known, kept = Signal(), Signal(), Signal()
        entry = Signal(DATA_BITS)
        m.d.sync += [shown.eq(asked), known.eq(exists), kept.eq(waits), entry.eq(self.o.payload.payload)]
        m.d.comb += [self.o.valid.eq(shown | kept), self.o.payload.target.host.eq(1), self.o.payload.kind.eq(Kind.DATA),
                     self.o.payload.payload.eq(Mux(kept, entry, Mux(known, self.bus.value, 0))),
                     self.idle.eq(none & ~self.i.valid & ~self.o.valid)]
        return m
