"""Reading and writing a core's memories: the bus, and the unit that turns packets into accesses."""

from typing import Protocol

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, later
from spikeloom.hdl.layouts import COUNT_BITS, MEMORY_BITS, Kind, address_layout, flit_layout
from spikeloom.hdl.queue import Queue, Register
from spikeloom.memories import ADDRESS_BITS, Memory, memory_specs
from spikeloom.params import DATA_BITS, ArrayParams


class AccessBus(wiring.Signature):
    """From the access unit to a component that owns memories.

    ``chosen`` has a bit for each memory, so that no owner decodes; it holds still while entries are written or read. ``write`` is one
    cycle long, with ``data``. The owner of the memory shows on ``value`` the entry at the ``address`` of the cycle before; all others
    show 0. So a new address can be read in every cycle, and an address that holds still keeps its entry in sight. ``coming`` is the
    address of the next cycle, for owners that need two to find what they show. SYNAPSES alone need to be asked, by a ``read`` of one
    cycle, at an address that holds still, and show the entry at the latest :data:`SYNAPSE_CYCLES` later.
    """

    def __init__(self) -> None:
        super().__init__({"chosen": Out(1 << MEMORY_BITS), "address": Out(ADDRESS_BITS), "coming": Out(ADDRESS_BITS),
                          "data": Out(DATA_BITS), "write": Out(1), "read": Out(1), "value": In(DATA_BITS)})


class AccessInterface(Protocol):
    """An :class:`AccessBus`, as it is seen from either side."""

    chosen: Signal
    address: Signal
    coming: Signal
    data: Signal
    write: Signal
    read: Signal
    value: Signal


def forward(m: Module, bus: AccessInterface, owner: AccessInterface) -> None:
    """Show accesses to one of several owners, whose values are to be joined with OR."""
    m.d.comb += [getattr(owner, name).eq(getattr(bus, name)) for name in ("chosen", "address", "coming", "data", "write", "read")]


#: Entries read ahead: what is on its way when the first leaves.
ENTRIES = 5
#: Cycles from ``read`` to a synapse entry's settled ``value``. The longest way, through the adders of eight banks, takes six of them.
SYNAPSE_CYCLES = 8


class AccessUnit(Component):
    """Serves ADDRESS, DATA and READ packets one after another; addresses count up.

    A write takes a cycle. Entries are read one a cycle, the first of them ``LATENCY`` cycles after its READ; synapse words one in
    ``SYNAPSE_CYCLES`` + 1. While ``o`` waits, up to ``ENTRIES`` wait in a queue. An address that does not exist is not written, is read
    as 0, and raises ``fault``. The bus is registers: what it does was decided a cycle before.

    Members
    -------
    i : stream of flits, in. Never SPIKES.
    o : stream of flits, out. Entries read, for the host.
    bus : :class:`AccessBus`, out.
    idle : out, 1 bit. No access is under way.
    fault : out, 1 bit. An address was to be written or read that does not exist.
    """

    i: stream.Interface
    o: stream.Interface
    bus: AccessInterface
    idle: Signal
    fault: Signal

    #: Cycles from a READ at ``i`` to its first entry at ``o``, of every memory but SYNAPSES.
    LATENCY = 5

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({"i": In(flit), "o": Out(flit), "bus": Out(AccessBus()), "idle": Out(1), "fault": Out(1)})

    def _holes(self, memory: Value, address: Value) -> Value:
        """Whether the place, if below the memory's span, is not one of an entry: a field but the last has a size of no power of two."""
        holes: Value = Const(0)
        for kind, spec in memory_specs(self.params).items():
            low = 0
            for field, size in zip(spec.address.fields[:-1], spec.sizes, strict=False):
                if size != 1 << field.bits:
                    holes |= (memory == kind) & (address[low: low + field.bits] >= size)
                low += field.bits
        return holes

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # Entries that remain to be asked for, less one; `none`, its sign: there are none.
        remaining, none = Signal(COUNT_BITS, reset_less=True), Signal(init=1)
        timer = Signal(range(SYNAPSE_CYCLES + 1))
        place = address_layout()(self.i.payload.payload[: address_layout().size])
        memory, address = Signal(MEMORY_BITS, reset_less=True), Signal.like(self.bus.address, reset_less=True)
        exists, writing, begins, reading, asked, asked_before, written = (Signal(name=name) for name in (
            "exists", "writing", "begins", "reading", "asked", "asked_before", "written"))
        held, nothing = Signal(range(ENTRIES + 1)), Signal(init=1)  # entries asked for that have not left; there are none
        slow, timed = Signal(), Signal()  # the memory is SYNAPSES; so the timer has to run down first
        span = Signal(ADDRESS_BITS + 1, reset_less=True)  # looked up when the memory is chosen, so that one comparison is left
        m.d.comb += exists.eq((address < span) & ~self._holes(memory, address))

        with m.If(none):
            m.d.comb += self.i.ready.eq(1)
            with m.If(self.i.valid), m.Switch(self.i.payload.kind):
                with m.Case(Kind.ADDRESS):
                    m.d.sync += [memory.eq(place.memory), address.eq(place.address), slow.eq(place.memory == Memory.SYNAPSES),
                                 span.eq(0)]
                    with m.Switch(place.memory):
                        for kind, spec in memory_specs(self.params).items():
                            with m.Case(kind):
                                m.d.sync += span.eq(spec.span)
                with m.Case(Kind.DATA):
                    m.d.comb += writing.eq(1)
                    m.d.sync += address.eq(address + 1)
                with m.Case(Kind.READ):
                    m.d.comb += begins.eq(1)
                    m.d.sync += [timer.eq(SYNAPSE_CYCLES), timed.eq(slow)]
        with m.Elif(timed):
            m.d.comb += reading.eq(timer == SYNAPSE_CYCLES)
            m.d.sync += [timer.eq(timer - 1), timed.eq(timer != 1)]
        with m.Elif(held != ENTRIES):
            m.d.comb += asked.eq(1)
            m.d.sync += [address.eq(address + 1), timer.eq(SYNAPSE_CYCLES), timed.eq(slow)]
        with m.If(begins | asked):
            m.d.sync += Cat(remaining, none).eq(Mux(none, self.i.payload.payload[:COUNT_BITS], remaining) - 1)

        # Whether the entry exists takes a cycle to find out, and so does reading it; then it waits in the queue, which has room for all
        # that were asked for.
        known, shown, shown_known = Signal(), Signal(), Signal()
        m.submodules.queue = queue = Queue(DATA_BITS, 1 << ENTRIES.bit_length())
        m.submodules.register = register = Register(DATA_BITS)
        wiring.connect(m, queue.o, register.i)
        leaves = self.o.valid & self.o.ready
        m.d.comb += [self.bus.coming.eq(address), self.bus.address.eq(later(m, address, 1, "at", reset_less=True)),
                     self.bus.data.eq(later(m, self.i.payload.payload, 1, "data", reset_less=True))]
        m.d.sync += [
            self.bus.chosen.eq(1 << memory),
            self.bus.write.eq(writing & exists), self.bus.read.eq(reading & exists), self.fault.eq((writing | asked) & ~exists),
            written.eq(writing), known.eq(exists), asked_before.eq(asked), shown.eq(asked_before), shown_known.eq(known),
            held.eq(held + asked - leaves), nothing.eq(Mux(asked, 0, (held == 0) | (leaves & (held == 1)))),
        ]
        m.d.comb += [queue.i.valid.eq(shown), queue.i.payload.eq(Mux(shown_known, self.bus.value, 0)),
                     self.o.valid.eq(register.o.valid), register.o.ready.eq(self.o.ready),
                     self.o.payload.payload.eq(register.o.payload),
                     self.o.payload.target.host.eq(1), self.o.payload.kind.eq(Kind.DATA),
                     self.idle.eq(none & nothing & ~self.i.valid & ~written)]
        return m
