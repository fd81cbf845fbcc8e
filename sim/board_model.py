"""A board behind its processing system's bus: DDR, AXI DMA, interrupt controller, clock registers, and the Verilated array.

What a processor sees, and nothing else: 32-bit registers at the addresses of :mod:`spikeloom.ip`, and DDR that is apart from the
host's buffers, so that a forgotten flush or invalidate fails as on a board. DMA and interrupt controller are in
:mod:`spikeloom.sim.dma_model`, the clocks follow UG585 (Zynq-7000) and UG1085 (Zynq UltraScale+). Faults can be put in, one at a
time.
"""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.boards import Board
from spikeloom.ip import REGISTER_PERIOD, Block
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, REGISTERS
from spikeloom.sim.compiled import LIMIT, CompiledTransport
from spikeloom.sim.dma_model import DmaModel, Injected, IntcModel

#: Where the DDR begins that buffers are taken from, and how finely (bytes).
DDR_BASE, PAGE = 0x1000_0000, 4096


class BoardModel:
    """The board; see the module.

    Parameters
    ----------
    board
        Family, addresses and clocks.
    memory_bytes
        DDR for buffers.
    limit
        Cycles without progress after which the simulation of a transfer stops; the transfer then stays outstanding.
    cache
        Where simulations are compiled (default: `build.cache_directory`).

    ``accesses`` lists the accesses to the PL: ("read" or "write", the block's name, offset). ``clock_ratio`` is the real clock over
    the one that the registers say.
    """

    def __init__(self, board: Board, *, memory_bytes: int = 64 << 20, limit: int = LIMIT, cache: Path | None = None) -> None:
        self.board = board
        self.memory: npt.NDArray[np.uint8] = np.zeros(memory_bytes, np.uint8)
        self.accesses: list[tuple[str, str, int]] = []
        self.clock_ratio = 1.0
        self._limit, self._cache = limit, cache
        self._taken: dict[int, int] = {}
        self._array: CompiledTransport | None = None
        self._dma = DmaModel(self.bytes, board.system.memory_bits // 8, self._exchange)
        self._intc = IntcModel()
        self._turn = threading.RLock()  # the processor's threads
        self._still: dict[int, int] = {}  # registers of an array that stands still
        self._ps = _clock_registers(board)

    def configure(self, params: ArrayParams | None) -> None:
        """Load a bitstream: one with this array, or (None) one without any."""
        self.close()
        self._dma.reset()
        self._intc, self._still = IntcModel(), {}
        if params is not None:
            self._array = CompiledTransport(params, limit=self._limit, random_start=True, cache=self._cache)

    def close(self) -> None:
        """Free the simulation."""
        if self._array is not None:
            self._array.close()
        self._array = None

    def allocate(self, size: int) -> int:
        """Physical address of ``size`` bytes, page by page; MemoryError when there are none."""
        place = DDR_BASE
        for start, taken in sorted(self._taken.items()):
            if place + size <= start:
                break
            place = start + -(-taken // PAGE) * PAGE
        if place + size > DDR_BASE + len(self.memory):
            raise MemoryError(f"No {size} bytes of contiguous memory are left")
        self._taken[place] = size
        return place

    def free(self, address: int) -> None:
        """Give back what :meth:`allocate` returned."""
        del self._taken[address]

    def bytes(self, address: int, size: int) -> npt.NDArray[np.uint8]:
        """View of DDR, uint8 (size,); IndexError where there is none."""
        start = address - DDR_BASE
        if start < 0 or start + size > len(self.memory):
            raise IndexError(f"No memory at 0x{address:x}")
        return self.memory[start:start + size]

    @property
    def fault(self) -> Injected | None:
        """What goes wrong in the next transfer; None once it has."""
        return self._dma.fault

    @fault.setter
    def fault(self, fault: Injected | None) -> None:
        self._dma.fault = fault

    @property
    def interrupt(self) -> bool:
        """Whether the PL interrupts the processor."""
        with self._turn:
            self._settle()
            return self._intc.output

    def read(self, address: int) -> int:
        """The processor reads a 32-bit register; RuntimeError where the bus has none."""
        block = self._block(address)
        if block is None:
            return self._ps.get(address, 0)
        offset = address - block.address
        with self._turn:
            self._settle()
            self.accesses.append(("read", block.name, offset))
            if block.name == "array":
                if offset in self._still:
                    return self._still[offset]
                return self._array.read_register(offset % REGISTER_PERIOD) if self._array else 0
            return self._dma.read(offset) if block.name == "dma" else self._intc.read(offset)

    def write(self, address: int, value: int) -> None:
        """The processor writes a 32-bit register; RuntimeError where the bus has none."""
        block = self._block(address)
        if block is None:
            self._ps[address] = value
            return
        offset = address - block.address
        with self._turn:
            self.accesses.append(("write", block.name, offset))
            if block.name == "array":
                self._still = {}
                if self._array:
                    self._array.write_register(offset % REGISTER_PERIOD, value)
            elif block.name == "dma":
                self._dma.write(offset, value)
            else:
                self._intc.write(offset, value)

    @property
    def clock_hz(self) -> float:
        """The PL clock by the PS registers, in Hz."""
        if self.board.family == "zynq7":
            word, first, second = self._ps[0xF800_0170], 8, 20
        else:
            word, first, second = self._ps[0xFF5E_00C0], 8, 16
        return self.board.io_pll_mhz * 1e6 / ((word >> first & 63) * (word >> second & 63))

    def wall(self) -> float:
        """Seconds of simulated time."""
        return (self._array.clock if self._array else 0) / (self.clock_hz * self.clock_ratio)

    def sleep(self, seconds: float) -> None:
        """Let simulated time pass."""
        if self._array:
            self._array.wait(round(seconds * self.clock_hz * self.clock_ratio))

    def _block(self, address: int) -> Block | None:
        """The PL's block at an address; None for the processing system's own registers."""
        system = self.board.system
        for block in system.blocks:
            if block.address <= address <= block.last:
                return block
        if system.window[0] <= address <= system.window[1]:
            raise RuntimeError(f"Bus error: nothing answers at 0x{address:08x}")
        return None

    def _settle(self) -> None:
        """What happens in the PL until the processor looks."""
        self._dma.settle()
        self._intc.sense(self._dma.interrupts)

    def _exchange(self, packet: Words, hang: bool) -> Words | None:
        """What the array answers; None if it stands still."""
        if self._array is None or not len(packet):  # a program of pynq's own may send anything to any overlay
            return None
        if hang:
            registers = {register.address: self._array.read_register(register.address) for register in REGISTERS}
            self._still = registers | {ADDRESS["STATUS"]: 1}
            return None
        try:
            return self._array.exchange(packet)
        except MachineError:  # no progress
            return None


def _clock_registers(board: Board) -> dict[int, int]:
    """The PS clock registers as a boot leaves them: PLLs from the crystal, PL clocks at the I/O PLL divided by 20."""
    multiplier = round(board.io_pll_mhz / board.crystal_mhz)
    if board.family == "zynq7":
        registers = dict.fromkeys((4160749824, 4160749828, 4160749832), multiplier << 12)
        return registers | {0xF800_0170 + 16 * i: 1 << 20 | 20 << 8 for i in range(4)}
    registers = dict.fromkeys((4284350496, 4284350512), 1 << 16 | 2 * multiplier << 8)
    return registers | {0xFF5E_00C0 + 4 * i: 1 << 24 | 1 << 16 | 20 << 8 for i in range(4)}
