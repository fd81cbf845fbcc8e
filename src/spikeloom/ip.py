"""The outside of the IP, and the system around it, as plain data.

One description, from which follow the Verilog wrapper with its interface attributes, the packaging and block-design Tcl, the
``.hwh`` that pynq reads, the driver's addresses and the simulated board. Vendor facts: AXI DMA (AMD PG021), AXI interrupt
controller (PG099), processing systems (UG585 for Zynq-7000, UG1085 for Zynq UltraScale+).
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from spikeloom.packets import WORD_BITS, Fault
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS_BITS, REGISTERS, VERSION

#: Vendor, library, name and version of the packaged IP; the version is the contract's.
VENDOR, LIBRARY, NAME = "spikeloom", "snn", "spikeloom"
VLNV = f"{VENDOR}:{LIBRARY}:{NAME}:{VERSION}.0"
#: Verilog module of the array as Amaranth writes it, and of the wrapper that carries the interface attributes.
MODULE, WRAPPER = "spikeloom", "spikeloom_ip"
#: Name of the block design, and of its top module.
DESIGN = "system"
DESIGN_TOP = f"{DESIGN}_wrapper"

#: Bytes of the register space on the bus. The port decodes ``ADDRESS_BITS`` bits: the registers repeat every 256 bytes.
REGISTER_SPACE = 4096
REGISTER_PERIOD = 1 << ADDRESS_BITS


@dataclass(frozen=True)
class Port:
    """A port of the wrapper: ``direction`` "in" or "out", ``width`` in bits, the interface it belongs to and its name there."""

    name: str
    direction: str
    width: int
    interface: str
    logical: str


@dataclass(frozen=True)
class Interface:
    """An interface of the IP: bus definition (vendor:library:name:version) and mode ("slave" or "master")."""

    name: str
    definition: str
    mode: str
    parameters: tuple[tuple[str, str], ...] = ()

    @property
    def bus(self) -> str:
        """Name of the bus definition: aximm, axis, clock or reset."""
        return self.definition.split(":")[2]


#: Interfaces. Both streams and the registers run on ``aclk`` and reset with ``aresetn``.
INTERFACES: tuple[Interface, ...] = (
    Interface("s_axi", "xilinx.com:interface:aximm:1.0", "slave",
              (("PROTOCOL", "AXI4LITE"), ("DATA_WIDTH", "32"), ("ADDR_WIDTH", str(ADDRESS_BITS)))),
    Interface("s_axis", "xilinx.com:interface:axis:1.0", "slave", (("TDATA_NUM_BYTES", str(WORD_BITS // 8)), ("HAS_TLAST", "1"))),
    Interface("m_axis", "xilinx.com:interface:axis:1.0", "master", (("TDATA_NUM_BYTES", str(WORD_BITS // 8)), ("HAS_TLAST", "1"))),
    Interface("aclk", "xilinx.com:signal:clock:1.0", "slave",
              (("ASSOCIATED_BUSIF", "s_axi:s_axis:m_axis"), ("ASSOCIATED_RESET", "aresetn"))),
    Interface("aresetn", "xilinx.com:signal:reset:1.0", "slave", (("POLARITY", "ACTIVE_LOW"),)),
)

_LITE = (("awaddr", "in", ADDRESS_BITS), ("awprot", "in", 3), ("awvalid", "in", 1), ("awready", "out", 1),
         ("wdata", "in", 32), ("wstrb", "in", 4), ("wvalid", "in", 1), ("wready", "out", 1),
         ("bresp", "out", 2), ("bvalid", "out", 1), ("bready", "in", 1),
         ("araddr", "in", ADDRESS_BITS), ("arprot", "in", 3), ("arvalid", "in", 1), ("arready", "out", 1),
         ("rdata", "out", 32), ("rresp", "out", 2), ("rvalid", "out", 1), ("rready", "in", 1))
_STREAM = (("tdata", WORD_BITS), ("tvalid", 1), ("tready", 1), ("tlast", 1))


def _stream_ports(interface: str, forward: str, back: str) -> tuple[Port, ...]:
    return tuple(Port(f"{interface}_{name}", back if name == "tready" else forward, width, interface, name.upper())
                 for name, width in _STREAM)


#: Ports of the wrapper and of the array inside it, which have the same names.
PORTS: tuple[Port, ...] = (
    Port("aclk", "in", 1, "aclk", "CLK"), Port("aresetn", "in", 1, "aresetn", "RST"),
    *_stream_ports("s_axis", "in", "out"), *_stream_ports("m_axis", "out", "in"),
    *(Port(f"s_axi_{name}", direction, width, "s_axi", name.upper()) for name, direction, width in _LITE))


@dataclass(frozen=True)
class BitField:
    """Bits ``offset`` to ``offset + width - 1`` of a register."""

    name: str
    offset: int
    width: int
    meaning: str


_FAULT_MEANING = {
    Fault.OPCODE: "unknown command", Fault.TARGET: "rectangle outside the mesh, or empty",
    Fault.BLOCK: "spikes beyond the axons of a core", Fault.ADDRESS: "no such memory, or an address outside it",
    Fault.TRUNCATED: "TLAST within the data of a WRITE", Fault.DELAY: "too many packets waiting for a tick",
    Fault.CURRENT: "a synaptic current left its width", Fault.COUNT: "TICK without ticks, or a period beyond the limit"}

#: Bit fields of the registers that have any; the others are one number of 32 bits.
FIELDS: dict[str, tuple[BitField, ...]] = {
    "SHAPE": (BitField("COLUMNS", 0, 5, "cores in a row"), BitField("ROWS", 5, 5, "rows of cores"),
              BitField("LANES", 10, 12, "lanes of a core"), BitField("FOLDS", 22, 10, "accumulators behind a lane")),
    "CONTROL": (BitField("RESET", 0, 1, "reset the array and the host port; clears itself"),
                BitField("CLEAR", 1, 1, "clear faults and counters; clears itself")),
    "STATUS": (BitField("BUSY", 0, 1, "the host port works"),),
    "FAULTS": tuple(BitField(fault.name, int(fault), 1, _FAULT_MEANING[fault]) for fault in Fault),
}


@dataclass(frozen=True)
class Block:
    """A slave of the block design: its instance, VLNV as pynq shows it, register interface, base address and range (bytes)."""

    name: str
    vlnv: str
    interface: str
    address: int
    range: int

    @property
    def last(self) -> int:
        """Address of the last byte."""
        return self.address + self.range - 1


@dataclass(frozen=True)
class Family:
    """The system around the array on one family of parts: what the block design connects, and where.

    Parameters
    ----------
    name
        ``zynq7`` or ``zynqmp``.
    ps
        VLNV of the processing system. The build asks for any version of it.
    control, control_clock
        Its master for registers, and that port's clock pin.
    memory, memory_clock
        Its slave through which the DMA reaches DDR, and that port's clock pin.
    memory_bits
        Width of ``memory``, hence of the DMA's memory-mapped side.
    address_bits
        Width of the DMA's addresses.
    clock, reset, interrupt
        Its PL clock, active-low PL reset and interrupt pins.
    window
        First and last byte that ``control`` can reach.
    array, dma, intc
        The slaves.
    memories
        Segments of DDR that the DMA is mapped to: name, base; the size is the board's.
    """

    name: str
    ps: str
    control: str
    control_clock: str
    memory: str
    memory_clock: str
    memory_bits: int
    address_bits: int
    clock: str
    reset: str
    interrupt: str
    window: tuple[int, int]
    array: Block
    dma: Block
    intc: Block
    memories: tuple[tuple[str, int], ...]

    @property
    def blocks(self) -> tuple[Block, ...]:
        """The slaves, in the order of the control interconnect's ports."""
        return self.array, self.dma, self.intc


#: Instances in the block design that have no registers.
PS, RESET, CONTROL, MEMORY, CONCAT = "ps", "reset", "control", "memory", "interrupts"
DMA_VLNV, INTC_VLNV = "xilinx.com:ip:axi_dma:7.1", "xilinx.com:ip:axi_intc:4.1"
RESET_VLNV, CONCAT_VLNV = "xilinx.com:ip:proc_sys_reset:5.0", "xilinx.com:ip:xlconcat:2.1"
SMARTCONNECT_VLNV = "xilinx.com:ip:smartconnect:1.0"
#: The DMA's interrupts in the order of the interrupt controller's inputs: sent to the array, received from it.
INTERRUPTS = ("mm2s_introut", "s2mm_introut")
#: Bits of the DMA's length register: a transfer has at most 2**26 - 1 bytes.
DMA_LENGTH_BITS = 26


def _blocks(array: int, dma: int, intc: int) -> dict[str, Block]:
    return {"array": Block("array", VLNV, "s_axi", array, REGISTER_SPACE),
            "dma": Block("dma", DMA_VLNV, "S_AXI_LITE", dma, 0x1_0000),
            "intc": Block("intc", INTC_VLNV, "s_axi", intc, 0x1_0000)}


FAMILIES: dict[str, Family] = {
    "zynq7": Family(
        name="zynq7", ps="xilinx.com:ip:processing_system7:5.5", control="M_AXI_GP0", control_clock="M_AXI_GP0_ACLK",
        memory="S_AXI_HP0", memory_clock="S_AXI_HP0_ACLK", memory_bits=64, address_bits=32,
        clock="FCLK_CLK0", reset="FCLK_RESET0_N", interrupt="IRQ_F2P", window=(0x4000_0000, 0x7FFF_FFFF),
        memories=(("HP0_DDR_LOWOCM", 0),), **_blocks(0x43C0_0000, 0x4040_0000, 0x4180_0000)),
    "zynqmp": Family(
        name="zynqmp", ps="xilinx.com:ip:zynq_ultra_ps_e:3.5", control="M_AXI_HPM0_FPD", control_clock="maxihpm0_fpd_aclk",
        memory="S_AXI_HP0_FPD", memory_clock="saxihp0_fpd_aclk", memory_bits=128, address_bits=40,
        clock="pl_clk0", reset="pl_resetn0", interrupt="pl_ps_irq0", window=(0xA000_0000, 0xAFFF_FFFF),
        memories=(("HP0_DDR_LOW", 0), ("HP0_DDR_HIGH", 0x8_0000_0000)), **_blocks(0xA002_0000, 0xA000_0000, 0xA001_0000)),
}


def family(name: str) -> Family:
    """The family of that name; ValueError lists those that there are."""
    try:
        return FAMILIES[name]
    except KeyError:
        raise ValueError(f"Family must be one of {', '.join(FAMILIES)}, not {name!r}") from None


def dma_settings(of: Family) -> dict[str, int]:
    """Settings of the AXI DMA: direct register mode, both channels, whole words only (no realignment)."""
    return {
        "c_include_sg": 0, "c_sg_include_stscntrl_strm": 0, "c_micro_dma": 0, "c_sg_length_width": DMA_LENGTH_BITS,
        "c_addr_width": of.address_bits,
        "c_include_mm2s": 1, "c_include_mm2s_dre": 0, "c_m_axi_mm2s_data_width": of.memory_bits,
        "c_m_axis_mm2s_tdata_width": WORD_BITS, "c_mm2s_burst_size": 16,
        "c_include_s2mm": 1, "c_include_s2mm_dre": 0, "c_m_axi_s2mm_data_width": of.memory_bits,
        "c_s_axis_s2mm_tdata_width": WORD_BITS, "c_s2mm_burst_size": 16}


def array_text(params: ArrayParams) -> str:
    """The array's parameters as one word, such as ``columns=2,rows=2,…``: the IP carries it into the ``.hwh``."""
    return ",".join(f"{name}={value}" for name, value in params.describe().items())


def array_params(text: str) -> ArrayParams:
    """The parameters in an :func:`array_text`; ValueError if it is none."""
    try:
        return ArrayParams(**{name: int(value) for name, _, value in (part.partition("=") for part in text.split(","))})
    except (TypeError, ValueError) as error:
        raise ValueError(f"No array's parameters: {text!r}: {error}") from None


def ip_settings(params: ArrayParams) -> dict[str, str]:
    """Parameters of the packaged IP, which the ``.hwh`` shows: ``DIGEST`` as the register of that name has it, and ``ARRAY``."""
    return {"DIGEST": f"0x{params.digest()[:8]}", "ARRAY": array_text(params)}


def description(params: ArrayParams, of: Family) -> dict[str, Any]:
    """Everything above as plain data, for one array on one family."""
    return {
        "vlnv": VLNV, "module": MODULE, "wrapper": WRAPPER, "ports": [asdict(port) for port in PORTS],
        "interfaces": [asdict(interface) for interface in INTERFACES],
        "registers": [asdict(register) | {"fields": [asdict(field) for field in FIELDS.get(register.name, ())]}
                      for register in REGISTERS],
        "register_space": REGISTER_SPACE, "settings": ip_settings(params), "family": asdict(of), "dma": dma_settings(of),
        "interrupts": list(INTERRUPTS)}


def digest(params: ArrayParams, of: Family) -> str:
    """SHA-256 over the description, hexadecimal: equal for systems that software cannot tell apart."""
    return hashlib.sha256(json.dumps(description(params, of), sort_keys=True).encode()).hexdigest()
