"""The register bank on AXI4-Lite: a walk over the contract's list of registers."""

from functools import reduce
from operator import or_
from typing import Protocol

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, later
from spikeloom.packets import Fault
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, ADDRESS_BITS, IDENTITY, REGISTERS, VERSION, shape_word

#: Responses of AXI4-Lite (ARM IHI 0022, A3.4.4).
OKAY, SLVERR = 0, 2


class LiteBus(wiring.Signature):
    """The signals of AXI4-Lite with 32-bit data, in the direction of the manager."""

    def __init__(self) -> None:
        super().__init__({
            "awaddr": Out(ADDRESS_BITS), "awprot": Out(3), "awvalid": Out(1), "awready": In(1),
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "araddr": Out(ADDRESS_BITS), "arprot": Out(3), "arvalid": Out(1), "arready": In(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1)})


class LiteInterface(Protocol):
    """A :class:`LiteBus`, as it is seen from either side."""

    awaddr: Signal
    awprot: Signal
    awvalid: Signal
    awready: Signal
    wdata: Signal
    wstrb: Signal
    wvalid: Signal
    wready: Signal
    bresp: Signal
    bvalid: Signal
    bready: Signal
    araddr: Signal
    arprot: Signal
    arvalid: Signal
    arready: Signal
    rdata: Signal
    rresp: Signal
    rvalid: Signal
    rready: Signal


class RegisterBank(Component):
    """Identity, control, status, faults and counters.

    One read and one write at a time. An address without a register, a write to a read-only register, or a write of less
    than a word is answered SLVERR and does nothing.

    Members
    -------
    bus : :class:`LiteBus`, in.
    reset : out, 1 bit. Reset everything else, for one cycle.
    forget : out, 1 bit. Clear the sticky faults; the counters clear with them.
    busy, faults, tick, took_spikes, gave_spikes, stalled : in. As in :class:`spikeloom.hdl.hostport.HostPort`.
    reads : in. As in :class:`spikeloom.hdl.mesh.Mesh`.
    """

    bus: LiteInterface
    reset: Signal
    forget: Signal
    busy: Signal
    faults: Signal
    tick: Signal
    reads: Signal
    took_spikes: Signal
    gave_spikes: Signal
    stalled: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({
            "bus": In(LiteBus()), "reset": Out(1), "forget": Out(1), "busy": In(1),
            "faults": In(len(Fault)), "tick": In(1), "reads": In(range(params.cores * params.banks + 1)),
            "took_spikes": In(1), "gave_spikes": In(1), "stalled": In(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        values = self._values(m)
        datum = Signal.like(bus.wdata, reset_less=True)
        control, whole = Signal(), Signal()  # what is written: CONTROL, all four bytes of it

        # Read: address, two cycles for the choice, datum. The address is kept as a bit for each register, which leaves less to choose.
        asks, chosen = Signal(), Signal()
        asked = Signal(len(REGISTERS))
        m.d.comb += bus.arready.eq(~asks & ~chosen & ~bus.rvalid)
        m.d.sync += [asks.eq(bus.arvalid & bus.arready), chosen.eq(asks)]
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += asked.eq(Cat(bus.araddr == register.address for register in REGISTERS))
        shown = [Mux(asked[place], values[register.name], 0) for place, register in enumerate(REGISTERS)]
        few = [later(m, reduce(or_, shown[place:place + 5]), 1, f"shown_{place}", reset_less=True) for place in range(0, len(shown), 5)]
        with m.If(chosen):
            m.d.sync += [bus.rvalid.eq(1), bus.rresp.eq(Mux(asked.any(), OKAY, SLVERR)), bus.rdata.eq(reduce(or_, few))]
        with m.If(bus.rvalid & bus.rready):
            m.d.sync += bus.rvalid.eq(0)

        # Write: address and datum in either order, then the answer.
        has_address, has_datum = Signal(), Signal()
        m.d.comb += [bus.awready.eq(~has_address & ~bus.bvalid), bus.wready.eq(~has_datum & ~bus.bvalid)]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [has_address.eq(1), control.eq(bus.awaddr == ADDRESS["CONTROL"])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [has_datum.eq(1), datum.eq(bus.wdata), whole.eq(bus.wstrb.all())]
        with m.If(has_address & has_datum):
            good = control & whole
            m.d.comb += [self.reset.eq(good & datum[0]), self.forget.eq(good & (datum[0] | datum[1]))]
            m.d.sync += [has_address.eq(0), has_datum.eq(0), bus.bvalid.eq(1), bus.bresp.eq(Mux(good, OKAY, SLVERR))]
        with m.If(bus.bvalid & bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        return m

    def _values(self, m: Module) -> dict[str, Value | int]:
        """What each register shows. Counters wrap at 32 bits; they count, and clear, a cycle late, so that each begins at a register; and
        as late is ``busy``."""
        counters, steps = {}, {
            "CYCLES": self.busy, "TICKS": self.tick, "ACTIVE": self.reads != 0, "READS": self.reads, "EVENTS": self.took_spikes,
            "SPIKES": self.gave_spikes, "STALLS": self.stalled}
        cleared = later(m, self.forget, 1, "cleared")
        late = {name: later(m, step, 1, f"{name.lower()}_step") for name, step in steps.items()}
        for name, step in late.items():
            counters[name] = counter = Signal(32, name=name.lower())
            m.d.sync += counter.eq(Mux(cleared, 0, counter + step))
        return {"IDENTITY": IDENTITY, "VERSION": VERSION, "DIGEST": int(self.params.digest()[:8], 16),
                "SHAPE": shape_word(self.params), "CONTROL": 0, "STATUS": late["CYCLES"], "FAULTS": self.faults, **counters}
