"""A board behind its processing system's bus: DDR, AXI DMA, clock registers, and the Verilated array.

What a processor sees, and nothing else: 32-bit registers at the addresses of :mod:`spikeloom.ip`, and DDR that is apart from the
host's buffers, so that a forgotten flush or invalidate fails as on a board. The AXI DMA is modelled after AMD PG021 (direct
register mode), the clocks after UG585 (Zynq-7000) and UG1085 (Zynq UltraScale+); interrupts are not raised. A transfer takes no
wall time: it happens within the write that completes its start. Faults can be put in, one at a time.
"""

from __future__ import annotations

import enum
import hashlib
import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.boards import Board
from spikeloom.host.build.hwh import hwh_text
from spikeloom.ip import DMA_LENGTH_BITS, REGISTER_PERIOD, Block, array_params, array_text
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, REGISTERS
from spikeloom.sim.compiled import LIMIT, CompiledTransport

#: Where the DDR begins that buffers are taken from, and how finely (bytes).
DDR_BASE, PAGE = 0x1000_0000, 4096
#: Offsets of the DMA's two channels, and of the registers in each.
MM2S, S2MM = 0x00, 0x30
_CONTROL, _STATUS, _ADDRESS, _ADDRESS_MSB, _LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
_RUN, _RESET = 1, 4
_HALTED, _IDLE, _DONE, _ERROR_IRQ = 0x1, 0x2, 0x1000, 0x4000
_WRITABLE = 0x7000  # status bits that are cleared by writing 1


class Injected(enum.Enum):
    """Faults of the next transfer; the value says what goes wrong."""

    SEND_INTERNAL = (MM2S, 0x10)      #: DMAIntErr of the sending channel
    SEND_SLAVE = (MM2S, 0x20)         #: DMASlvErr of the sending channel
    SEND_DECODE = (MM2S, 0x40)        #: DMADecErr of the sending channel
    RECEIVE_INTERNAL = (S2MM, 0x10)
    RECEIVE_SLAVE = (S2MM, 0x20)
    RECEIVE_DECODE = (S2MM, 0x40)
    TRUNCATED_SEND = "half of the words reach the array, TLAST on the last of them"
    TRUNCATED_RECEIVE = "half of the answer reaches memory"
    NO_TLAST = "the answer's TLAST is lost"
    HANG = "a tick does not end: the array takes no more words and stays busy, until CONTROL is written"
    DEAD = "the DMA never leaves its next reset"


class _Channel:
    """Registers of one direction of the DMA."""

    def __init__(self) -> None:
        self.control, self.status, self.address, self.length = 0, _HALTED, 0, 0

    def fail(self, bits: int) -> None:
        self.control &= ~_RUN
        self.status |= bits | _HALTED | _ERROR_IRQ

    def done(self, length: int) -> None:
        self.length = length
        self.status |= _IDLE | _DONE


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
        self.fault: Injected | None = None
        self.clock_ratio = 1.0
        self._limit, self._cache = limit, cache
        self._taken: dict[int, int] = {}
        self._array: CompiledTransport | None = None
        self._intc: dict[int, int] = {}
        self._still: dict[int, int] = {}  # registers of an array that stands still
        self._ps = _clock_registers(board)
        self._reset_dma()

    def configure(self, params: ArrayParams | None) -> None:
        """Load a bitstream: one with this array, or (None) one without any."""
        self.close()
        self._reset_dma()
        self._intc, self._still = {}, {}
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

    def read(self, address: int) -> int:
        """The processor reads a 32-bit register; RuntimeError where the bus has none."""
        block = self._block(address)
        if block is None:
            return self._ps.get(address, 0)
        offset = address - block.address
        self.accesses.append(("read", block.name, offset))
        if block.name == "array":
            if offset in self._still:
                return self._still[offset]
            return self._array.read_register(offset % REGISTER_PERIOD) if self._array else 0
        return self._read_dma(offset) if block.name == "dma" else self._intc.get(offset, 0)

    def write(self, address: int, value: int) -> None:
        """The processor writes a 32-bit register; RuntimeError where the bus has none."""
        block = self._block(address)
        if block is None:
            self._ps[address] = value
            return
        offset = address - block.address
        self.accesses.append(("write", block.name, offset))
        if block.name == "array":
            self._still = {}
            if self._array:
                self._array.write_register(offset % REGISTER_PERIOD, value)
        elif block.name == "dma":
            self._write_dma(offset, value)
        else:
            self._intc[offset] = value

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

    def _reset_dma(self) -> None:
        self._channels = {MM2S: _Channel(), S2MM: _Channel()}
        self._packet: Words | None = None
        self._armed = False

    def _read_dma(self, offset: int) -> int:
        base = S2MM if offset >= S2MM else MM2S
        channel = self._channels[base]
        return {_CONTROL: channel.control, _STATUS: channel.status, _ADDRESS: channel.address & 0xFFFF_FFFF,
                _ADDRESS_MSB: channel.address >> 32, _LENGTH: channel.length}.get(offset - base, 0)

    def _write_dma(self, offset: int, value: int) -> None:
        base = S2MM if offset >= S2MM else MM2S
        channel, register = self._channels[base], offset - base
        if register == _CONTROL:
            if value & _RESET:
                self._reset_dma()  # either channel's bit resets both
                if self.fault is Injected.DEAD:
                    self._channels[base].control = _RESET
            else:
                channel.control = value
                channel.status = channel.status & ~_HALTED if value & _RUN else channel.status | _HALTED
        elif register == _STATUS:
            channel.status &= ~(value & _WRITABLE)
        elif register == _ADDRESS:
            channel.address = channel.address >> 32 << 32 | value
        elif register == _ADDRESS_MSB:
            channel.address = value << 32 | channel.address & 0xFFFF_FFFF
        elif register == _LENGTH and not channel.status & _HALTED:
            self._start(base, value & ((1 << DMA_LENGTH_BITS) - 1))

    def _start(self, base: int, length: int) -> None:
        channel = self._channels[base]
        channel.length = length
        channel.status &= ~_IDLE
        if length == 0 or channel.address % (self.board.system.memory_bits // 8):
            channel.fail(Injected.SEND_INTERNAL.value[1])
            return
        try:
            data = self.bytes(channel.address, length)
        except IndexError:
            channel.fail(Injected.SEND_DECODE.value[1])
            return
        if base == MM2S:
            self._packet = data[:length // 8 * 8].view(np.uint64).copy()
        else:
            self._armed = True
        if self._packet is not None and self._armed:
            self._transfer(self._packet)

    def _transfer(self, packet: Words) -> None:
        """The array takes a packet and answers."""
        self._packet, self._armed = None, False
        sending, receiving = self._channels[MM2S], self._channels[S2MM]
        fault, self.fault = self.fault, None
        if fault is not None and isinstance(fault.value, tuple):
            base, bits = fault.value
            self._channels[base].fail(bits)
            return
        if fault is Injected.TRUNCATED_SEND:
            packet = packet[:max(1, len(packet) // 2)]
        assert self._array is not None  # without an array nothing gets here: open_pynq refuses
        if fault is Injected.HANG:
            registers = {register.address: self._array.read_register(register.address) for register in REGISTERS}
            self._still = registers | {ADDRESS["STATUS"]: 1}
            return
        try:
            answer = self._array.exchange(packet)
        except MachineError:  # no progress: both directions stay outstanding
            return
        sending.done(sending.length)
        if fault is Injected.TRUNCATED_RECEIVE:
            answer = answer[:len(answer) // 2]
        fits = answer[:receiving.length // 8]
        self.bytes(receiving.address, fits.nbytes)[:] = fits.view(np.uint8)
        if len(fits) < len(answer):
            receiving.fail(Injected.RECEIVE_INTERNAL.value[1])
        elif fault is not Injected.NO_TLAST:
            receiving.done(answer.nbytes)


def _clock_registers(board: Board) -> dict[int, int]:
    """The PS clock registers as a boot leaves them: PLLs from the crystal, PL clocks at the I/O PLL divided by 20."""
    multiplier = round(board.io_pll_mhz / board.crystal_mhz)
    if board.family == "zynq7":
        registers = dict.fromkeys((4160749824, 4160749828, 4160749832), multiplier << 12)
        return registers | {0xF800_0170 + 16 * i: 1 << 20 | 20 << 8 for i in range(4)}
    registers = dict.fromkeys((4284350496, 4284350512), 1 << 16 | 2 * multiplier << 8)
    return registers | {0xFF5E_00C0 + 4 * i: 1 << 24 | 1 << 16 | 20 << 8 for i in range(4)}


def write_overlay(folder: Path, board: Board, params: ArrayParams, *, bitstream: ArrayParams | None = None,
                  foreign: bool = False, name: str = "spikeloom") -> Path:
    """Write ``.hwh`` and a stand-in ``.bit`` that :meth:`BoardModel.configure` can follow; returns the latter's path.

    ``bitstream`` puts another array into the ``.bit`` than the ``.hwh`` has, ``foreign`` none. The ``.bit`` carries a digest of
    the ``.hwh``, for pynq keeps what it read by the ``.bit``'s contents.
    """
    text = hwh_text(board, params)
    (folder / f"{name}.hwh").write_text(text)
    array = None if foreign else array_text(bitstream or params)
    path = folder / f"{name}.bit"
    path.write_text(json.dumps({"array": array, "hwh": hashlib.sha256(text.encode()).hexdigest()}))
    return path


def read_bitstream(path: Path) -> ArrayParams | None:
    """The array in a stand-in ``.bit``; None if it has none."""
    text = json.loads(path.read_text())["array"]
    return None if text is None else array_params(text)
