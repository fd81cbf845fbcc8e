"""The whole IP: register bank, host port and mesh behind flat AXI ports."""

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.axi import LiteBus, RegisterBank
from spikeloom.hdl.component import COPY, Component
from spikeloom.hdl.hostport import HostPort
from spikeloom.hdl.mesh import Mesh
from spikeloom.packets import WORD_BITS
from spikeloom.params import ArrayParams


class Top(Component):
    """Spikeloom with the canonical port names of Xilinx's tools, all in the clock domain of ``aclk``.

    Members
    -------
    aclk : in. The clock.
    aresetn : in. Synchronous reset, active low. Memories keep their contents.
    s_axis_* : commands, AXI4-Stream, 64 bits.
    m_axis_* : answers, AXI4-Stream, 64 bits.
    s_axi_* : registers, AXI4-Lite.
    """

    aclk: Signal
    aresetn: Signal
    s_axis_tdata: Signal
    s_axis_tvalid: Signal
    s_axis_tready: Signal
    s_axis_tlast: Signal
    m_axis_tdata: Signal
    m_axis_tvalid: Signal
    m_axis_tready: Signal
    m_axis_tlast: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        lite = {f"s_axi_{name}": member.flip() for name, member in LiteBus().members.items()}
        super().__init__({
            "aclk": In(1), "aresetn": In(1),
            "s_axis_tdata": In(WORD_BITS), "s_axis_tvalid": In(1), "s_axis_tready": Out(1), "s_axis_tlast": In(1),
            "m_axis_tdata": Out(WORD_BITS), "m_axis_tvalid": Out(1), "m_axis_tready": In(1), "m_axis_tlast": Out(1)} | lite)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        registers, port, mesh = RegisterBank(self.params), HostPort(self.params), Mesh(self.params)
        m.submodules.registers = registers
        m.submodules.port = DomainRenamer("array")(port)
        m.submodules.mesh = DomainRenamer("array")(mesh)

        # Each reset is a register of its own, and each part of the array has one: no logic hangs on the pin (nor has a simulator to
        # settle it all twice a cycle), none lies before the many registers that it reaches, and none reaches too many.
        m.domains.start = ClockDomain("start", reset_less=True)
        m.d.comb += ClockSignal("start").eq(self.aclk)
        m.domains.sync, m.domains.array = ClockDomain("sync"), ClockDomain("array")
        m.d.comb += [ClockSignal("sync").eq(self.aclk), ClockSignal("array").eq(self.aclk)]
        resets = [ResetSignal("sync"), ResetSignal("array"), *mesh.resets]
        for number, reset in enumerate(resets):
            held = Signal(name=f"held_{number}", attrs=COPY)
            m.d.start += held.eq(~self.aresetn | (registers.reset if number else 0))
            m.d.comb += reset.eq(held)
        wiring.connect(m, port.mesh_i, mesh.i)
        wiring.connect(m, mesh.o, port.mesh_o)
        m.d.comb += [
            mesh.tick.eq(port.tick), mesh.info.eq(port.info), mesh.clear.eq(port.clear),
            port.idle.eq(mesh.idle), port.resting.eq(mesh.resting), mesh.overlap.eq(port.overlap),
            port.core_faults.eq(mesh.faults), port.forget.eq(registers.forget),
            port.i.payload.data.eq(self.s_axis_tdata), port.i.payload.last.eq(self.s_axis_tlast),
            port.i.valid.eq(self.s_axis_tvalid), self.s_axis_tready.eq(port.i.ready),
            self.m_axis_tdata.eq(port.o.payload.data), self.m_axis_tlast.eq(port.o.payload.last),
            self.m_axis_tvalid.eq(port.o.valid), port.o.ready.eq(self.m_axis_tready),
            registers.tick.eq(port.tick), registers.reads.eq(mesh.reads),
            *(getattr(registers, name).eq(getattr(port, name))
              for name in ("busy", "faults", "took_spikes", "gave_spikes", "stalled")),
        ]
        for name, member in LiteBus().members.items():
            inner, outer = getattr(registers.bus, name), getattr(self, f"s_axi_{name}")
            m.d.comb += inner.eq(outer) if member.flow == Out else outer.eq(inner)
        return m
