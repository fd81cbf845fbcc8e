"""A board as a transport: the array's registers, and its streams through an AXI DMA in direct register mode (AMD PG021).

Knows registers and buffers, not pynq: :mod:`spikeloom.host.board` gives it pynq's.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.port import CLEAR_COUNTERS, RESET_ARRAY
from spikeloom.host.transport import OUTSTANDING
from spikeloom.ip import DMA_LENGTH_BITS
from spikeloom.packets import Fault, Response
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS

#: Words of a packet in either direction, unless another limit is given: 2 MB for each of four buffers, of the board's contiguous
#: memory (128 MB as PYNQ's images set it up). A long run takes several packets, so that the host's work overlaps with the array's.
LIMIT = 1 << 18
#: Words that an answer has beyond the driver's limit at the most: its marks, ECHO and STATUS.
SLACK = 1 << 12
#: Bytes of a transfer at the most: whole words.
MOST_BYTES = ((1 << DMA_LENGTH_BITS) - 1) // 8 * 8
#: Offsets of the DMA's channels, and of the registers in each.
SEND, RECEIVE = 0x00, 0x30
CONTROL, STATUS, BUFFER, BUFFER_MSB, LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
#: Bits of the control register: run, reset, and interrupts when a transfer is complete or has failed.
RUN, RESET, INTERRUPTS = 1, 4, 0x5000
#: Bits of the status register; the interrupts are cleared by writing them.
HALTED, IDLE = 1, 2
#: What the status words' error bits say.
ERRORS = {0x10: "DMAIntErr (a packet longer than its buffer, or no length)", 0x20: "DMASlvErr (memory refused an access)",
          0x40: "DMADecErr (no memory at the address)"}
_ERROR_BITS = 0x70
#: Seconds that the DMA may take for a reset; it takes microseconds.
_RESET_LIMIT = 1.0
#: Seconds after which an interrupt that has not come is no longer waited for, but the status read.
_INTERRUPT_LIMIT = 0.1
#: Registers that tell whether the array gets on.
_PROGRESS = ("TICKS", "EVENTS", "SPIKES")


class Registers(Protocol):
    """What is used of pynq's MMIO and DefaultIP: 32-bit registers at byte offsets."""

    def read(self, offset: int) -> int:
        """The register's value."""

    def write(self, offset: int, value: int) -> None:
        """Set the register."""


@dataclass
class _Pair:
    """Buffers of one packet and its answer; ``words`` are in use of the former."""

    send: Any
    receive: Any
    words: int = 0


class DmaTransport:
    """An array on a board, behind an AXI DMA; see :class:`spikeloom.host.transport.SplitTransport`.

    A packet is one transfer each way, the receive started before the send. There are two pairs of buffers: while one packet is
    under way the next is put into the other pair, and started as soon as the first has been answered. It costs two register
    accesses to start a packet, two more where the pair changes, one to read the received length, and polls of the status in
    between; the first packet after a start or a failure two more, for the addresses' upper halves.
    After a failure DMA and array are reset, nothing is outstanding, and the next packet can be sent; the array's memories keep
    their contents.

    Parameters
    ----------
    array, dma
        Their registers.
    allocate
        ``allocate(words)`` gives a buffer, uint64 (words,), with ``physical_address``, ``flush()`` and ``invalidate()``.
    params
        The array.
    limit
        Words of a packet from the array at the most.
    deadline_s
        Seconds without progress after which an exchange is given up.
    interrupt
        ``interrupt(seconds)`` waits at most so long for the DMA's interrupt of a received packet; None polls.
    """

    def __init__(self, array: Registers, dma: Registers, allocate: Callable[[int], Any], params: ArrayParams, *,
                 limit: int = LIMIT, deadline_s: float = 10.0, interrupt: Callable[[float], None] | None = None) -> None:
        if not 1 <= limit <= MOST_BYTES // 8:
            raise MachineError(f"limit must be 1 to {MOST_BYTES // 8} words, not {limit}")
        self.params = params
        self._array, self._dma, self._allocate, self._deadline, self._interrupt = array, dma, allocate, deadline_s, interrupt
        self._written: dict[int, int] = {}
        self._open = True
        self._pairs = [_Pair(self._buffer(1), self._cleared(min(limit + SLACK, MOST_BYTES // 8))) for _ in range(OUTSTANDING)]
        self._last = 0
        self._outstanding: deque[_Pair] = deque()  # the first is under way
        self.abandon()

    def exchange(self, packet: Words) -> Words:
        """See :class:`spikeloom.host.transport.Transport`. MachineError with a diagnosis when the transfer fails."""
        self.submit(packet)
        return self.collect()

    def submit(self, packet: Words) -> None:
        """Send a packet, or have it sent after the one that is under way. MachineError where its buffer does not fit."""
        if not len(packet):
            raise ValueError("A packet has at least one word")
        if len(self._outstanding) == OUTSTANDING:
            raise ValueError(f"{OUTSTANDING} packets are outstanding already: collect an answer first")
        if packet.nbytes > MOST_BYTES:
            raise MachineError(f"A packet of {packet.nbytes} bytes does not fit one DMA transfer of {MOST_BYTES}: open the board with a "
                               f"smaller limit")
        self._usable()
        if self._outstanding:  # else the last pair again: its addresses are in the registers
            self._last = 1 - self._last
        pair = self._pairs[self._last]
        if len(pair.send) < len(packet):
            size = min(1 << (len(packet) - 1).bit_length(), MOST_BYTES // 8)
            pair.send = self._buffer(1)  # give the old one back first
            pair.send = self._buffer(size)
        pair.words = len(packet)
        pair.send[:len(packet)] = packet
        prefix(pair.send, len(packet)).flush()
        self._outstanding.append(pair)
        if len(self._outstanding) == 1:
            self._start(pair)

    def collect(self) -> Words:
        """The answer to the first packet outstanding; the next one is started before it is copied."""
        self._usable()
        pair = self._outstanding[0]
        try:
            words = self._wait(pair)
            self._outstanding.popleft()
            if self._outstanding:
                self._start(self._outstanding[0])
        except BaseException:  # a keyboard interrupt leaves transfers behind too
            self.abandon()
            raise
        prefix(pair.receive, words).invalidate()
        answer: Words = np.array(pair.receive[:words], np.uint64)
        if int(answer[-1]) >> 60 != Response.STATUS:
            self.abandon()
            raise MachineError(f"The answer of {words} words to a packet of {pair.words} does not end with STATUS: it is cut short, or "
                               f"memory and caches disagree. DMA and array were reset; the image is written again before the next run")
        return answer

    def abandon(self) -> None:
        """Reset DMA and array, and start both channels: nothing is outstanding any more."""
        self._outstanding.clear()
        self._written.clear()
        self._dma.write(SEND + CONTROL, RESET)  # resets both channels
        self._until(lambda: not any(self._dma.read(channel + CONTROL) & RESET for channel in (SEND, RECEIVE)), "leave its reset")
        self._array.write(ADDRESS["CONTROL"], RESET_ARRAY | CLEAR_COUNTERS)
        for channel in (RECEIVE, SEND):
            self._dma.write(channel + CONTROL, RUN | (INTERRUPTS if self._interrupt and channel == RECEIVE else 0))
        self._until(lambda: not any(self._dma.read(channel + STATUS) & HALTED for channel in (SEND, RECEIVE)), "start")

    def read_register(self, address: int) -> int:
        """A register of the array."""
        self._usable()
        return int(self._array.read(address))

    def write_register(self, address: int, value: int) -> None:
        """Set a register of the array."""
        self._usable()
        self._array.write(address, int(value))

    def close(self) -> None:
        """Stop the DMA and give the buffers back; the bitstream stays."""
        if self._open:
            self._open = False
            self._dma.write(SEND + CONTROL, RESET)
            self._outstanding.clear()
            self._pairs.clear()

    def _usable(self) -> None:
        if not self._open:
            raise MachineError("The board is closed")

    def _buffer(self, words: int) -> Any:
        try:
            return self._allocate(words)
        except (MemoryError, RuntimeError, OSError) as error:  # pynq's devices raise one or another
            raise MachineError(f"The board has no {words * 8} bytes of contiguous memory left for a buffer ({error}): delete other "
                               f"buffers and overlays, restart other notebooks, or open the board with a smaller limit") from error

    def _cleared(self, words: int) -> Any:
        """A buffer of zeros, so that nothing which it held before passes for an answer."""
        buffer = self._buffer(words)
        buffer[:] = 0
        buffer.flush()
        return buffer

    def _start(self, pair: _Pair) -> None:
        """Start both transfers; the address registers keep their values from the last ones."""
        for channel, buffer, size in ((RECEIVE, pair.receive, pair.receive.nbytes), (SEND, pair.send, pair.words * 8)):
            address = int(buffer.physical_address)
            for register, value in ((channel + BUFFER, address & 0xFFFF_FFFF), (channel + BUFFER_MSB, address >> 32)):
                if self._written.get(register) != value:
                    self._dma.write(register, value)
                    self._written[register] = value
            self._dma.write(channel + LENGTH, size)

    def _wait(self, pair: _Pair) -> int:
        """Wait until the answer is there; its words."""
        until, pause = time.monotonic() + self._deadline, 0.0
        last = None
        while True:
            if self._interrupt:
                self._interrupt(min(_INTERRUPT_LIMIT, self._deadline))
            receiving = self._dma.read(RECEIVE + STATUS)
            if receiving & IDLE and not receiving & _ERROR_BITS:
                if self._interrupt:
                    self._dma.write(RECEIVE + STATUS, INTERRUPTS)
                size = self._dma.read(RECEIVE + LENGTH)
                if not size or size % 8:
                    raise MachineError(f"The DMA received {size} bytes, which are no words: {self._state(pair)}")
                return size // 8
            sending = self._dma.read(SEND + STATUS)
            for name, status in (("send", sending), ("receive", receiving)):
                if status & (_ERROR_BITS | HALTED):
                    what = ", ".join(text for bit, text in ERRORS.items() if status & bit) or "it halted"
                    raise MachineError(f"The DMA's {name} channel failed: {what}. {self._state(pair)}. DMA and array were reset; the "
                                       f"image is written again before the next run")
            if time.monotonic() > until:
                now = tuple(self._array.read(ADDRESS[name]) for name in _PROGRESS)  # a tick that never ends moves none
                if now == last:
                    raise MachineError(f"The board did not answer: no progress for {self._deadline:g} s. {self._state(pair)}. DMA and "
                                       f"array were reset; the image is written again before the next run")
                last, until = now, time.monotonic() + self._deadline
            if not self._interrupt:
                time.sleep(pause)
                pause = min(1e-3, pause + 1e-5)

    def _state(self, pair: _Pair) -> str:
        """What is known of a transfer: sent, received, outstanding; sticky faults; the DMA's status words."""
        sending, receiving = (self._dma.read(channel + STATUS) for channel in (SEND, RECEIVE))
        before = np.array(pair.receive)
        pair.receive.invalidate()
        changed = np.flatnonzero(np.asarray(pair.receive) != before)
        faults = self._array.read(ADDRESS["FAULTS"])
        names = ", ".join(fault.name for fault in Fault if faults >> fault & 1) or "none"
        return (f"Sent: {'all' if sending & IDLE else 'not all'} of {pair.words} words. Received: "
                f"{int(changed[-1]) + 1 if len(changed) else 0} words or more; outstanding: "
                f"{'nothing' if receiving & IDLE else 'the word with TLAST'}. Array: "
                f"{'busy' if self._array.read(ADDRESS['STATUS']) & 1 else 'not busy'}, {self._array.read(ADDRESS['TICKS'])} ticks, faults "
                f"{names}. DMA status: send 0x{sending:08x}, receive 0x{receiving:08x}")

    def _until(self, done: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _RESET_LIMIT
        while not done():
            if time.monotonic() > until:
                raise MachineError(f"The DMA does not {what} within {_RESET_LIMIT:g} s: load the overlay again, by opening the board again")


def prefix(buffer: Any, words: int) -> Any:
    """The part of a buffer that a flush or invalidate is needed for; the whole where pynq's buffer cannot be cut (PYNQ.remote's)."""
    return buffer[:words] if hasattr(buffer, "bo") else buffer
