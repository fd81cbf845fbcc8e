"""The ``.hwh`` of a system: the XML in which Vivado tells pynq what is in a bitstream.

It has what pynq 3.0 to 4.0 read (``pynq.pl_server.hwh_parser`` and ``pynqmetadata``): the processing system with its clocks and
port widths, the DMA, the interrupt controller, the array with its registers, addresses, and the wires of clock, reset and
interrupts. The one that Vivado writes beside a bitstream has these and more.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree as Xml

from spikeloom.host.boards import Board
from spikeloom.host.build.design import Cell, Design, design, divisor_settings
from spikeloom.ip import DESIGN, FIELDS, INTERRUPTS, PS, Family
from spikeloom.params import ArrayParams
from spikeloom.registers import REGISTERS

_AXIMM, _AXIS = "xilinx.com:interface:aximm:1.0", "xilinx.com:interface:axis:1.0"
_ACCESS = {"ro": "read-only", "rw": "read-write"}
#: What the tools call the families.
_ARCH = {"zynq7": "zynq", "zynqmp": "zynquplus"}
#: Pins that are clocks, resets or interrupts, by the end of their names.
_KINDS = (("clk", "clk"), ("clk0", "clk"), ("resetn", "rst"), ("reset_in", "rst"), ("resetn0", "rst"), ("reset0_n", "rst"),
          ("introut", "INTERRUPT"), ("irq", "INTERRUPT"), ("intr", "INTERRUPT"))
#: Bits of the registers that pynq's DMA driver uses (AMD PG021): name, offset, access.
_DMA_REGISTERS = (
    ("MM2S_DMACR", 0x00, "read-write"), ("MM2S_DMASR", 0x04, "read-write"), ("MM2S_SA", 0x18, "read-write"),
    ("MM2S_SA_MSB", 0x1C, "read-write"), ("MM2S_LENGTH", 0x28, "read-write"), ("S2MM_DMACR", 0x30, "read-write"),
    ("S2MM_DMASR", 0x34, "read-write"), ("S2MM_DA", 0x48, "read-write"), ("S2MM_DA_MSB", 0x4C, "read-write"),
    ("S2MM_LENGTH", 0x58, "read-write"))


def hwh_text(board: Board, params: ArrayParams, clock_mhz: float | None = None) -> str:
    """The ``.hwh`` of an array on a board, at the board's clock unless another is given: the same text each time, about 22 kB.

    ValueError for a clock that the board's I/O PLL cannot give.
    """
    whole = design(board, params, clock_mhz)
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    root = Xml.Element("EDKSYSTEM", EDWVERSION="1.2", TIMESTAMP="", VIVADOVERSION="")
    Xml.SubElement(root, "SYSTEMINFO", ARCH=_ARCH[board.family], DEVICE=board.part.partition("-")[0].removeprefix("xc"), NAME=DESIGN)
    Xml.SubElement(root, "EXTERNALPORTS")
    Xml.SubElement(root, "EXTERNALINTERFACES")
    modules = Xml.SubElement(root, "MODULES")
    for cell in whole.cells:
        _module(modules, cell, whole, board, clock)
    Xml.indent(root, space="")
    return '<?xml version="1.0" encoding="UTF-8" standalone="no" ?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _module(parent: Xml.Element, cell: Cell, whole: Design, board: Board, clock_mhz: float) -> None:
    kind, version = cell.vlnv.split(":")[2:]
    module = Xml.SubElement(parent, "MODULE", FULLNAME=f"/{cell.name}", HWVERSION=version, INSTANCE=cell.name, IPTYPE="PERIPHERAL",
                            IS_ENABLE="1", MODCLASS="PERIPHERAL", MODTYPE=kind, VLNV=cell.vlnv, COREREVISION="0")
    if cell.name == PS:
        module.set("IS_PL", "FALSE")
    system = board.system
    blocks = Xml.SubElement(module, "ADDRESSBLOCKS")
    for block in system.blocks:
        if block.name == cell.name:
            address = Xml.SubElement(blocks, "ADDRESSBLOCK", ACCESS="read-write", INTERFACE=block.interface, NAME="Reg",
                                     RANGE=str(block.range), USAGE="register")
            _registers(Xml.SubElement(address, "REGISTERS"), cell.name, system)
    settings = cell.settings | (_ps_settings(board, clock_mhz) if cell.name == PS else {})
    parameters = Xml.SubElement(module, "PARAMETERS")
    for name, value in settings.items():
        Xml.SubElement(parameters, "PARAMETER", NAME=name, VALUE=value)
    ports = Xml.SubElement(module, "PORTS")
    for name, driver, sinks in _pins(cell.name, whole):
        _port(ports, cell.name, name, driver, sinks, clock_mhz)
    _buses(Xml.SubElement(module, "BUSINTERFACES"), cell.name, whole, system)
    _memory_map(Xml.SubElement(module, "MEMORYMAP"), cell.name, whole)


def _ps_settings(board: Board, clock_mhz: float) -> dict[str, str]:
    """Settings that Vivado computes and pynq reads: every PL clock's enable and divisors, and the ports' widths."""
    plain: dict[str, str] = {}
    for clock in range(4):
        if board.family == "zynq7":
            plain |= {f"PCW_FPGA_FCLK{clock}_ENABLE": str(int(clock == 0)), f"PCW_FCLK{clock}_PERIPHERAL_DIVISOR0": "1",
                      f"PCW_FCLK{clock}_PERIPHERAL_DIVISOR1": "1", f"PCW_FCLK{clock}_PERIPHERAL_CLKSRC": "IO PLL"}
        else:
            plain |= {f"PSU__FPGA_PL{clock}_ENABLE": str(int(clock == 0)), f"PSU__CRL_APB__PL{clock}_REF_CTRL__DIVISOR0": "1",
                      f"PSU__CRL_APB__PL{clock}_REF_CTRL__DIVISOR1": "1", f"PSU__CRL_APB__PL{clock}_REF_CTRL__SRCSEL": "IOPLL"}
    if board.family == "zynqmp":
        plain |= {"C_MAXIGP0_DATA_WIDTH": "32", "C_SAXIGP2_DATA_WIDTH": str(board.system.memory_bits),
                  "PSU__CRL_APB__PL0_REF_CTRL__ACT_FREQMHZ": f"{clock_mhz:g}"}
    else:
        plain |= {"PCW_ACT_FPGA0_PERIPHERAL_FREQMHZ": f"{clock_mhz:.6f}"}
    return plain | divisor_settings(board, clock_mhz)


def _property(parent: Xml.Element, name: str, value: str) -> None:
    Xml.SubElement(parent, "PROPERTY", NAME=name, VALUE=value)


def _registers(parent: Xml.Element, cell: str, system: Family) -> None:
    """Registers of the array, or of the DMA; the interrupt controller's are pynq's own business."""
    if cell == system.array.name:
        for register in REGISTERS:
            element = _register(parent, register.name, register.address, _ACCESS[register.access], register.meaning)
            fields = Xml.SubElement(element, "FIELDS")
            for field in FIELDS.get(register.name, ()):
                one = Xml.SubElement(fields, "FIELD", NAME=field.name)
                for name, value in (("DESCRIPTION", field.meaning), ("ACCESS", _ACCESS[register.access]),
                                    ("BIT_OFFSET", str(field.offset)), ("BIT_WIDTH", str(field.width))):
                    _property(one, name, value)
    elif cell == system.dma.name:
        for name, offset, access in _DMA_REGISTERS:
            Xml.SubElement(_register(parent, name, offset, access, name), "FIELDS")


def _register(parent: Xml.Element, name: str, offset: int, access: str, meaning: str) -> Xml.Element:
    element = Xml.SubElement(parent, "REGISTER", NAME=name)
    for key, value in (("DESCRIPTION", meaning), ("ADDRESS_OFFSET", hex(offset)), ("SIZE", "32"), ("ACCESS", access),
                       ("IS_ENABLED", "true")):
        _property(element, key, value)
    return element


def _pins(cell: str, whole: Design) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    """Pins of a cell that are on wires: name, the wire's driver, and its sinks."""
    for net in whole.nets:
        for pin in (net.driver, *net.sinks):
            if pin.partition("/")[0] == cell:
                yield pin.partition("/")[2], net.driver, net.sinks


def _port(parent: Xml.Element, cell: str, name: str, driver: str, sinks: tuple[str, ...], clock_mhz: float) -> None:
    pin = f"{cell}/{name}"
    kind = next((kind for end, kind in _KINDS if name.lower().endswith(end)), "undef")
    port = Xml.SubElement(parent, "PORT", DIR="O" if pin == driver else "I", NAME=name, SIGIS=kind,
                          SIGNAME=driver.replace("/", "_"))
    if kind == "clk":
        port.set("CLKFREQUENCY", str(round(clock_mhz * 1e6)))
    if name in ("dout", "intr"):
        port.set("LEFT", str(len(INTERRUPTS) - 1))
        port.set("RIGHT", "0")
    connections = Xml.SubElement(port, "CONNECTIONS")
    for other in sinks if pin == driver else (driver,):
        instance, _, pin_name = other.partition("/")
        Xml.SubElement(connections, "CONNECTION", INSTANCE=instance, PORT=pin_name)


def _buses(parent: Xml.Element, cell: str, whole: Design, system: Family) -> None:
    streams = {f"{system.array.name}/s_axis", f"{system.array.name}/m_axis"}
    for master, slave in whole.buses:
        stream = bool(streams & {master, slave})
        for pin, types in ((master, ("MASTER", "INITIATOR")), (slave, ("SLAVE", "TARGET"))):
            if pin.partition("/")[0] == cell:
                bus = Xml.SubElement(parent, "BUSINTERFACE", BUSNAME=master.replace("/", "_"), NAME=pin.partition("/")[2],
                                     TYPE=types[stream], VLNV=_AXIS if stream else _AXIMM)
                if not stream:
                    bus.set("DATAWIDTH", str(system.memory_bits if _of_memory(master, slave, system) else 32))
                else:
                    Xml.SubElement(bus, "PARAMETER", NAME="TDATA_NUM_BYTES", VALUE="8")


def _of_memory(master: str, slave: str, system: Family) -> bool:
    """Whether a connection is on the DMA's way to DDR."""
    return master.startswith(f"{system.dma.name}/") or slave.endswith(f"/{system.memory}")


def _memory_map(parent: Xml.Element, cell: str, whole: Design) -> None:
    for segment in whole.segments:
        master, _, bus = segment.master.partition("/")
        if master == cell:
            slave, _, interface = segment.slave.partition("/")
            kind = "REGISTER" if segment.block == "Reg" else "MEMORY"
            Xml.SubElement(parent, "MEMRANGE", ADDRESSBLOCK=segment.block, BASENAME="C_BASEADDR",
                           BASEVALUE=f"0x{segment.address:08X}", HIGHNAME="C_HIGHADDR",
                           HIGHVALUE=f"0x{segment.address + segment.range - 1:08X}", INSTANCE=slave, IS_DATA="TRUE",
                           IS_INSTRUCTION="TRUE", MASTERBUSINTERFACE=bus, MEMTYPE=kind, SLAVEBUSINTERFACE=interface)
