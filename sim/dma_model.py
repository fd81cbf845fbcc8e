"""An AXI DMA after AMD PG021 (direct register mode) and an AXI interrupt controller after PG099, as their registers."""

from __future__ import annotations

import enum
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from spikeloom.fields import Words
from spikeloom.ip import DMA_LENGTH_BITS, INTERRUPTS

#: Offsets of the DMA's two channels, and of the registers in each.
MM2S, S2MM = 0x00, 0x30
_CONTROL, _STATUS, _ADDRESS, _ADDRESS_MSB, _LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
_RUN, _RESET = 1, 4
_HALTED, _IDLE, _DONE, _ERROR_IRQ = 0x1, 0x2, 0x1000, 0x4000
_INTERRUPTS = 0x7000  # status bits that are cleared by writing 1, and the control bits that let them out


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

    @property
    def interrupt(self) -> bool:
        return bool(self.status & self.control & _INTERRUPTS)

    def fail(self, bits: int) -> None:
        self.control &= ~_RUN
        self.status |= bits | _HALTED | _ERROR_IRQ

    def done(self, length: int) -> None:
        self.length = length
        self.status |= _IDLE | _DONE


class DmaModel:
    """The DMA. A transfer takes no wall time: it happens when its state is next asked for (:meth:`settle`), so that what the
    processor meanwhile changes in a buffer is sent.

    Parameters
    ----------
    memory
        ``memory(address, size)``: a view of the DDR, uint8 (size,); IndexError where there is none.
    alignment
        Bytes to which addresses must be aligned.
    array
        ``array(packet, hang)``: what the array answers; None if it never does. With ``hang`` it must not.

    ``fault`` is put into the next transfer, and then None.
    """

    def __init__(self, memory: Callable[[int, int], npt.NDArray[np.uint8]], alignment: int,
                 array: Callable[[Words, bool], Words | None]) -> None:
        self.fault: Injected | None = None
        self._memory, self._alignment, self._array = memory, alignment, array
        self.reset()

    def reset(self) -> None:
        """As after configuration, or a reset by either channel's bit."""
        self._channels = {MM2S: _Channel(), S2MM: _Channel()}
        self._sending = self._receiving = False

    @property
    def interrupts(self) -> int:
        """Its interrupt outputs, a bit for each, in the order of `spikeloom.ip.INTERRUPTS`."""
        by_name = {"mm2s_introut": self._channels[MM2S], "s2mm_introut": self._channels[S2MM]}
        return sum(by_name[name].interrupt << i for i, name in enumerate(INTERRUPTS))

    def read(self, offset: int) -> int:
        """A register's value."""
        base = S2MM if offset >= S2MM else MM2S
        channel = self._channels[base]
        return {_CONTROL: channel.control, _STATUS: channel.status, _ADDRESS: channel.address & 0xFFFF_FFFF,
                _ADDRESS_MSB: channel.address >> 32, _LENGTH: channel.length}.get(offset - base, 0)

    def write(self, offset: int, value: int) -> None:
        """Set a register; a length starts a transfer."""
        base = S2MM if offset >= S2MM else MM2S
        channel, register = self._channels[base], offset - base
        if register == _CONTROL:
            if value & _RESET:
                self.reset()
                if self.fault is Injected.DEAD:
                    self._channels[base].control = _RESET
            else:
                channel.control = value
                channel.status = channel.status & ~_HALTED if value & _RUN else channel.status | _HALTED
        elif register == _STATUS:
            channel.status &= ~(value & _INTERRUPTS)
        elif register == _ADDRESS:
            channel.address = channel.address >> 32 << 32 | value
        elif register == _ADDRESS_MSB:
            channel.address = value << 32 | channel.address & 0xFFFF_FFFF
        elif register == _LENGTH and not channel.status & _HALTED:
            self._start(base, value & ((1 << DMA_LENGTH_BITS) - 1))

    def settle(self) -> None:
        """Let a transfer happen that both channels were started for."""
        if not (self._sending and self._receiving):
            return
        self._sending = self._receiving = False
        sending, receiving = self._channels[MM2S], self._channels[S2MM]
        fault, self.fault = self.fault, None
        if fault is not None and isinstance(fault.value, tuple):
            base, bits = fault.value
            self._channels[base].fail(bits)
            return
        packet = self._memory(sending.address, sending.length)[:sending.length // 8 * 8].view(np.uint64).copy()
        if fault is Injected.TRUNCATED_SEND:
            packet = packet[:max(1, len(packet) // 2)]
        answer = self._array(packet, fault is Injected.HANG)
        if answer is None:  # both directions stay outstanding
            return
        sending.done(sending.length)
        if fault is Injected.TRUNCATED_RECEIVE:
            answer = answer[:len(answer) // 2]
        fits = answer[:receiving.length // 8]
        self._memory(receiving.address, fits.nbytes)[:] = fits.view(np.uint8)
        if len(fits) < len(answer):
            receiving.fail(Injected.RECEIVE_INTERNAL.value[1])
        elif fault is not Injected.NO_TLAST:
            receiving.done(answer.nbytes)

    def _start(self, base: int, length: int) -> None:
        channel = self._channels[base]
        channel.length = length
        channel.status &= ~_IDLE
        if length == 0 or channel.address % self._alignment:
            channel.fail(Injected.SEND_INTERNAL.value[1])
            return
        try:
            self._memory(channel.address, length)
        except IndexError:
            channel.fail(Injected.SEND_DECODE.value[1])
            return
        if base == MM2S:
            self._sending = True
        else:
            self._receiving = True


class IntcModel:
    """The interrupt controller: inputs by level, one output."""

    STATUS, PENDING, ENABLE, ACKNOWLEDGE, SET, CLEAR, MASTER = 0x00, 0x04, 0x08, 0x0C, 0x10, 0x14, 0x1C

    def __init__(self) -> None:
        self._status = self._enable = self._master = 0

    def sense(self, inputs: int) -> None:
        """Take in the interrupt inputs, a bit each."""
        if self._master & 2:  # hardware interrupts are enabled
            self._status |= inputs

    @property
    def output(self) -> bool:
        """Whether the processor is interrupted."""
        return bool(self._master & 1 and self._status & self._enable)

    def read(self, offset: int) -> int:
        """A register's value."""
        return {self.STATUS: self._status, self.PENDING: self._status & self._enable, self.ENABLE: self._enable,
                self.MASTER: self._master}.get(offset, 0)

    def write(self, offset: int, value: int) -> None:
        """Set a register."""
        if offset == self.ENABLE:
            self._enable = value
        elif offset == self.ACKNOWLEDGE:
            self._status &= ~value
        elif offset == self.SET:
            self._enable |= value
        elif offset == self.CLEAR:
            self._enable &= ~value
        elif offset == self.MASTER:
            self._master = value & 3
