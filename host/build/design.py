"""The block design around the array as data: cells, connections and addresses, from the description of the IP and a board."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.host.boards import Board
from spikeloom.ip import (
    CONCAT,
    CONCAT_VLNV,
    CONTROL,
    DMA_VLNV,
    INTC_VLNV,
    INTERRUPTS,
    MEMORY,
    PS,
    RESET,
    RESET_VLNV,
    SMARTCONNECT_VLNV,
    VLNV,
    dma_settings,
    ip_settings,
)
from spikeloom.params import ArrayParams

#: Bytes of DDR that a Zynq UltraScale+ has below 4 GiB.
LOW_DDR = 1 << 31


@dataclass(frozen=True)
class Cell:
    """An IP in the block design: instance name, VLNV as the ``.hwh`` shows it (the build takes any version), settings."""

    name: str
    vlnv: str
    settings: dict[str, str]


@dataclass(frozen=True)
class Net:
    """A wire: its driving pin and the pins that it drives, each ``cell/pin``."""

    driver: str
    sinks: tuple[str, ...]


@dataclass(frozen=True)
class Segment:
    """Addresses: master's port and its address space, slave's port, the segment's name, base and range (bytes)."""

    master: str
    space: str
    slave: str
    block: str
    address: int
    range: int


@dataclass(frozen=True)
class Design:
    """The whole block design. ``buses``: (master, slave) interface pins, each ``cell/interface``."""

    cells: tuple[Cell, ...]
    buses: tuple[tuple[str, str], ...]
    nets: tuple[Net, ...]
    segments: tuple[Segment, ...]


def ps_settings(board: Board, clock_mhz: float) -> dict[str, str]:
    """Settings of the processing system: its ports, its crystal and the PL clock.

    An overlay is loaded into a system that has booted, so DDR, pins and PLLs stay as the boot set them.
    """
    if board.family == "zynq7":
        return {
            "PCW_CRYSTAL_PERIPHERAL_FREQMHZ": f"{board.crystal_mhz:.6f}",
            "PCW_USE_M_AXI_GP0": "1", "PCW_USE_S_AXI_HP0": "1", "PCW_S_AXI_HP0_DATA_WIDTH": str(board.system.memory_bits),
            "PCW_USE_FABRIC_INTERRUPT": "1", "PCW_IRQ_F2P_INTR": "1",
            "PCW_EN_CLK0_PORT": "1", "PCW_EN_RST0_PORT": "1", "PCW_FCLK0_PERIPHERAL_CLKSRC": "IO PLL",
            "PCW_FPGA0_PERIPHERAL_FREQMHZ": f"{clock_mhz:g}"}
    return {
        "PSU__PSS_REF_CLK__FREQMHZ": f"{board.crystal_mhz:.6f}",
        "PSU__USE__M_AXI_GP0": "1", "PSU__USE__M_AXI_GP1": "0", "PSU__USE__M_AXI_GP2": "0", "PSU__MAXIGP0__DATA_WIDTH": "32",
        "PSU__USE__S_AXI_GP2": "1", "PSU__SAXIGP2__DATA_WIDTH": str(board.system.memory_bits),
        "PSU__USE__IRQ0": "1", "PSU__USE__FABRIC__RST": "1", "PSU__FPGA_PL0_ENABLE": "1",
        "PSU__HIGH_ADDRESS__ENABLE": "1" if board.memory_mb << 20 > LOW_DDR else "0",
        "PSU__CRL_APB__PL0_REF_CTRL__SRCSEL": "IOPLL", "PSU__CRL_APB__PL0_REF_CTRL__FREQMHZ": f"{clock_mhz:g}"}


def pll_settings(board: Board, clock_mhz: float) -> dict[str, str]:
    """What a build without Vivado's files of the board needs besides, so that the I/O PLL is the one that the board boots with.

    pynq writes the divisors in the ``.hwh`` into the clock's registers and leaves the PLL alone: divisors for another PLL
    would give another clock, without a word.
    """
    if board.family == "zynq7":  # Gigabit Ethernet, which all these boards have, makes the tool set the PLL to 1,000 MHz
        return {"PCW_ENET0_PERIPHERAL_ENABLE": "1", "PCW_ENET0_PERIPHERAL_FREQMHZ": "1000 Mbps"}
    return {"PSU__OVERRIDE__BASIC_CLOCK": "1", "PSU__CRL_APB__IOPLL_CTRL__DIV2": "1",
            "PSU__CRL_APB__IOPLL_CTRL__FBDIV": str(round(2 * board.io_pll_mhz / board.crystal_mhz)),
            **divisor_settings(board, clock_mhz)}


def divisor_settings(board: Board, clock_mhz: float) -> dict[str, str]:
    """The two settings that hold the PL clock's divisors. Their product is what counts, and the build checks it."""
    names = "PCW_FCLK0_PERIPHERAL_DIVISOR{}" if board.family == "zynq7" else "PSU__CRL_APB__PL0_REF_CTRL__DIVISOR{}"
    return {names.format(i): str(divisor) for i, divisor in enumerate(board.divisors(clock_mhz))}


def memory_ranges(board: Board) -> tuple[tuple[str, int, int], ...]:
    """Segments of DDR that the DMA reaches: name, base and range in bytes."""
    size = board.memory_mb << 20
    if len(board.system.memories) == 1:
        ((name, base),) = board.system.memories
        return ((name, base, size),)
    (low, low_base), (high, high_base) = board.system.memories
    ranges = [(low, low_base, min(size, LOW_DDR))]
    if size > LOW_DDR:
        ranges.append((high, high_base, size - LOW_DDR))
    return tuple(ranges)


def design(board: Board, params: ArrayParams, clock_mhz: float | None = None) -> Design:
    """The block design of an array on a board, at the board's clock unless another is given.

    One clock and one reset for everything. ValueError for a clock that the I/O PLL cannot give.
    """
    system = board.system
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    array, dma, intc = system.array.name, system.dma.name, system.intc.name
    cells = (
        Cell(PS, system.ps, ps_settings(board, clock)),
        Cell(RESET, RESET_VLNV, {}),
        Cell(array, VLNV, ip_settings(params)),
        Cell(dma, DMA_VLNV, {name: str(value) for name, value in dma_settings(system).items()}),
        Cell(intc, INTC_VLNV, {"C_IRQ_CONNECTION": "1", "C_IRQ_IS_LEVEL": "1"}),  # one level-sensitive output
        Cell(CONCAT, CONCAT_VLNV, {"NUM_PORTS": str(len(INTERRUPTS))}),
        Cell(CONTROL, SMARTCONNECT_VLNV, {"NUM_SI": "1", "NUM_MI": str(len(system.blocks)), "NUM_CLKS": "1"}),
        Cell(MEMORY, SMARTCONNECT_VLNV, {"NUM_SI": "2", "NUM_MI": "1", "NUM_CLKS": "1"}))
    buses = (
        (f"{PS}/{system.control}", f"{CONTROL}/S00_AXI"),
        *((f"{CONTROL}/M{i:02}_AXI", f"{block.name}/{block.interface}") for i, block in enumerate(system.blocks)),
        (f"{dma}/M_AXI_MM2S", f"{MEMORY}/S00_AXI"), (f"{dma}/M_AXI_S2MM", f"{MEMORY}/S01_AXI"),
        (f"{MEMORY}/M00_AXI", f"{PS}/{system.memory}"),
        (f"{dma}/M_AXIS_MM2S", f"{array}/s_axis"), (f"{array}/m_axis", f"{dma}/S_AXIS_S2MM"))
    nets = (
        Net(f"{PS}/{system.clock}", (
            f"{PS}/{system.control_clock}", f"{PS}/{system.memory_clock}", f"{RESET}/slowest_sync_clk", f"{array}/aclk",
            f"{dma}/s_axi_lite_aclk", f"{dma}/m_axi_mm2s_aclk", f"{dma}/m_axi_s2mm_aclk", f"{intc}/s_axi_aclk",
            f"{CONTROL}/aclk", f"{MEMORY}/aclk")),
        Net(f"{PS}/{system.reset}", (f"{RESET}/ext_reset_in",)),
        Net(f"{RESET}/peripheral_aresetn", (f"{array}/aresetn", f"{dma}/axi_resetn", f"{intc}/s_axi_aresetn",
                                            f"{CONTROL}/aresetn", f"{MEMORY}/aresetn")),
        *(Net(f"{dma}/{pin}", (f"{CONCAT}/In{i}",)) for i, pin in enumerate(INTERRUPTS)),
        Net(f"{CONCAT}/dout", (f"{intc}/intr",)),
        Net(f"{intc}/irq", (f"{PS}/{system.interrupt}",)))
    segments = (
        *(Segment(f"{PS}/{system.control}", "Data", f"{block.name}/{block.interface}", "Reg", block.address, block.range)
          for block in system.blocks),
        *(Segment(f"{dma}/M_AXI_{channel}", f"Data_{channel}", f"{PS}/{system.memory}", name, base, size)
          for channel in ("MM2S", "S2MM") for name, base, size in memory_ranges(board)))
    return Design(cells, buses, nets, segments)
