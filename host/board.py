"""A board as a transport, on the pynq package's own classes: Overlay, DefaultIP, AxiDMA, allocate, MMIO.

The only file of the host that imports pynq, and only when a board is opened. Nothing but pynq's common face is used, so that it
runs on 3.0, 3.1 and 4.0. Registers of the DMA: AMD PG021, direct register mode.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol
from xml.etree import ElementTree as Xml

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import CLEAR_COUNTERS, RESET_ARRAY, Driver
from spikeloom.host.encode import echo_words
from spikeloom.ip import DMA_LENGTH_BITS, DMA_VLNV, LIBRARY, NAME, VENDOR, VLNV, array_params
from spikeloom.packets import RESPONSES, Fault, Response
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, IDENTITY

#: Words of a packet in either direction, unless another limit is given: 8 MB each, of the board's contiguous memory (128 MB as
#: PYNQ's images set it up).
LIMIT = 1 << 20
#: Words that an answer has beyond the driver's limit at the most: its marks, ECHO and STATUS.
SLACK = 1 << 12
#: Bytes of a transfer at the most: whole words.
MOST_BYTES = ((1 << DMA_LENGTH_BITS) - 1) // 8 * 8
#: Offsets of the DMA's channels, and of the registers in each.
_SEND, _RECEIVE = 0x00, 0x30
_CONTROL, _STATUS, _ADDRESS, _ADDRESS_MSB, _LENGTH = 0x00, 0x04, 0x18, 0x1C, 0x28
_RUN, _RESET, _HALTED, _IDLE = 1, 4, 1, 2
#: What the status words' error bits say.
_ERRORS = {0x10: "DMAIntErr (a packet longer than its buffer, or no length)", 0x20: "DMASlvErr (memory refused an access)",
           0x40: "DMADecErr (no memory at the address)"}
_ERROR_BITS = 0x70
#: Seconds that the DMA may take for a reset; it takes microseconds.
_RESET_LIMIT = 1.0
#: Registers that tell whether the array gets on.
_PROGRESS = ("TICKS", "EVENTS", "SPIKES")
#: Seconds of the clock's measurement, and how far it may be off: Python's own delays are below a millisecond.
CLOCK_SECONDS, CLOCK_TOLERANCE = 0.1, 0.05


class Registers(Protocol):
    """What is used of pynq's MMIO and DefaultIP: 32-bit registers at byte offsets."""

    def read(self, offset: int) -> int:
        """The register's value."""

    def write(self, offset: int, value: int) -> None:
        """Set the register."""


class PynqTransport:
    """An array on a board, behind an AXI DMA; see :class:`spikeloom.host.transport.Transport`.

    A packet is one transfer each way, the receive started before the send. It costs two register accesses to start, one to read
    the received length, and polls of the status in between; the first packet after a start or a failure four more, for addresses.
    After a failure DMA and array are reset, and the next packet can be sent; the array's memories keep their contents.

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
    """

    def __init__(self, array: Registers, dma: Registers, allocate: Callable[[int], Any], params: ArrayParams, *,
                 limit: int = LIMIT, deadline_s: float = 10.0) -> None:
        if not 1 <= limit <= MOST_BYTES // 8:
            raise MachineError(f"limit must be 1 to {MOST_BYTES // 8} words, not {limit}")
        self.params = params
        self._array, self._dma, self._allocate, self._deadline = array, dma, allocate, deadline_s
        self._addresses: dict[int, int] = {}
        self._open = True
        self._receive = self._buffer(min(limit + SLACK, MOST_BYTES // 8))
        self._receive[:] = 0
        self._receive.flush()
        self._send = self._buffer(1)
        self._recover()

    def exchange(self, packet: Words) -> Words:
        """See :class:`spikeloom.host.transport.Transport`. MachineError with a diagnosis when the transfer fails."""
        if not len(packet):
            raise ValueError("A packet has at least one word")
        if packet.nbytes > MOST_BYTES:
            raise MachineError(f"A packet of {packet.nbytes} bytes does not fit one DMA transfer of {MOST_BYTES}: open the board with a "
                               f"smaller limit")
        self._usable()
        if len(self._send) < len(packet):
            size = min(1 << (len(packet) - 1).bit_length(), MOST_BYTES // 8)
            self._send = self._buffer(1)  # give the old one back first
            self._send = self._buffer(size)
        self._send[:len(packet)] = packet
        prefix(self._send, len(packet)).flush()
        try:
            self._start(_RECEIVE, self._receive, self._receive.nbytes)
            self._start(_SEND, self._send, packet.nbytes)
            words = self._wait(len(packet))
        except BaseException:  # a keyboard interrupt leaves transfers behind too
            self._recover()
            raise
        prefix(self._receive, words).invalidate()
        answer: Words = np.array(self._receive[:words], np.uint64)
        if int(answer[-1]) >> 60 != Response.STATUS:
            self._recover()
            raise MachineError(f"The answer of {words} words to a packet of {len(packet)} does not end with STATUS: it is cut short, or "
                               f"memory and caches disagree. Both were reset; load the image again")
        return answer

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
            self._dma.write(_SEND + _CONTROL, _RESET)
            del self._send, self._receive

    def _usable(self) -> None:
        if not self._open:
            raise MachineError("The board is closed")

    def _buffer(self, words: int) -> Any:
        try:
            return self._allocate(words)
        except (MemoryError, RuntimeError, OSError) as error:  # pynq's devices raise one or another
            raise MachineError(f"The board has no {words * 8} bytes of contiguous memory left for a buffer ({error}): delete other "
                               f"buffers and overlays, restart other notebooks, or open the board with a smaller limit") from error

    def _start(self, channel: int, buffer: Any, size: int) -> None:
        """Start a transfer; the address registers keep their values from the last one."""
        address = int(buffer.physical_address)
        if self._addresses.get(channel) != address:
            self._dma.write(channel + _ADDRESS, address & 0xFFFF_FFFF)
            self._dma.write(channel + _ADDRESS_MSB, address >> 32)
            self._addresses[channel] = address
        self._dma.write(channel + _LENGTH, size)

    def _wait(self, sent: int) -> int:
        """Poll until the answer is there; its words."""
        until, seen, pause = time.monotonic() + self._deadline, self._progress, 0.0
        last = None
        while True:
            receiving = self._dma.read(_RECEIVE + _STATUS)
            if receiving & _IDLE and not receiving & _ERROR_BITS:
                size = self._dma.read(_RECEIVE + _LENGTH)
                if not size or size % 8:
                    raise MachineError(f"The DMA received {size} bytes, which are no words: {self._state(sent)}")
                return size // 8
            sending = self._dma.read(_SEND + _STATUS)
            for name, status in (("send", sending), ("receive", receiving)):
                if status & (_ERROR_BITS | _HALTED):
                    what = ", ".join(text for bit, text in _ERRORS.items() if status & bit) or "it halted"
                    raise MachineError(f"The DMA's {name} channel failed: {what}. {self._state(sent)}. DMA and array were reset; "
                                       f"load the image again if this happened while it was loaded")
            if time.monotonic() > until:
                now = seen()
                if now == last:
                    raise MachineError(f"The board did not answer: no progress for {self._deadline:g} s. {self._state(sent)}. DMA and "
                                       f"array were reset; the image is written again before the next run")
                last, until = now, time.monotonic() + self._deadline
            time.sleep(pause)
            pause = min(1e-3, pause + 1e-5)

    def _progress(self) -> tuple[int, ...]:
        """Counters that move while the array works. A tick that never ends moves none."""
        return tuple(self._array.read(ADDRESS[name]) for name in _PROGRESS)

    def _state(self, sent: int) -> str:
        """What is known of a transfer: sent, received, outstanding; sticky faults; the DMA's status words."""
        sending, receiving = (self._dma.read(channel + _STATUS) for channel in (_SEND, _RECEIVE))
        before = np.array(self._receive)
        self._receive.invalidate()
        changed = np.flatnonzero(np.asarray(self._receive) != before)
        faults = self._array.read(ADDRESS["FAULTS"])
        names = ", ".join(fault.name for fault in Fault if faults >> fault & 1) or "none"
        return (f"Sent: {'all' if sending & _IDLE else 'not all'} of {sent} words. Received: {int(changed[-1]) + 1 if len(changed) else 0} "
                f"words or more; outstanding: {'nothing' if receiving & _IDLE else 'the word with TLAST'}. Array: "
                f"{'busy' if self._array.read(ADDRESS['STATUS']) & 1 else 'not busy'}, {self._array.read(ADDRESS['TICKS'])} ticks, faults "
                f"{names}. DMA status: send 0x{sending:08x}, receive 0x{receiving:08x}")

    def _recover(self) -> None:
        """Reset DMA and array, and start both channels."""
        self._addresses.clear()
        self._dma.write(_SEND + _CONTROL, _RESET)  # resets both channels
        self._until(lambda: not any(self._dma.read(channel + _CONTROL) & _RESET for channel in (_SEND, _RECEIVE)), "leave its reset")
        self._array.write(ADDRESS["CONTROL"], RESET_ARRAY | CLEAR_COUNTERS)
        for channel in (_RECEIVE, _SEND):
            self._dma.write(channel + _CONTROL, _RUN)
        self._until(lambda: not any(self._dma.read(channel + _STATUS) & _HALTED for channel in (_SEND, _RECEIVE)), "start")

    def _until(self, done: Callable[[], bool], what: str) -> None:
        until = time.monotonic() + _RESET_LIMIT
        while not done():
            if time.monotonic() > until:
                raise MachineError(f"The DMA does not {what} within {_RESET_LIMIT:g} s: load the overlay again, by opening the board again")


def prefix(buffer: Any, words: int) -> Any:
    """The part of a buffer that a flush or invalidate is needed for; the whole where pynq's buffer cannot be cut (PYNQ.remote's)."""
    return buffer[:words] if hasattr(buffer, "bo") else buffer


@functools.cache
def ip_class() -> type:
    """The array's driver class, which pynq binds to every IP of our VLNV."""
    from pynq import DefaultIP

    class SpikeloomArray(DefaultIP):  # type: ignore[misc]  # pynq's class has no types
        """The array's registers: ``register_map`` shows them."""

        bindto = [VLNV]  # noqa: RUF012  # pynq reads it from the class

    return SpikeloomArray


def open_pynq(bitfile: str | Path, *, params: ArrayParams | None = None, download: bool = True, verify: bool = True, limit: int = LIMIT,
              deadline_s: float = 10.0, check_clock: bool = True, clock_s: float = CLOCK_SECONDS,
              wall: Callable[[], float] = time.perf_counter,
              sleep: Callable[[float], None] = time.sleep) -> Driver:
    """A machine: the driver over the array in a bitstream, on the board that this Python runs on or that pynq has as its device.

    Parameters
    ----------
    bitfile
        The ``.bit`` with its ``.hwh`` beside it.
    params
        The array that is expected; by default the one that the ``.hwh`` says.
    download
        Load the bitstream; False if it is loaded already.
    verify
        Read every image back after writing it.
    limit
        Words of a packet in either direction.
    deadline_s
        Seconds without progress after which a run is given up.
    check_clock, clock_s, wall, sleep
        Compare the array's clock over so many seconds with this one.

    MachineError when pynq is missing, the overlay is another, ``.bit`` and ``.hwh`` do not belong together, or the clock is wrong.
    """
    overlay = _overlay(Path(bitfile), download)
    name, found = _array(overlay, Path(bitfile))
    if params is not None and params != found:
        raise MachineError(f"{bitfile} holds another array ({found.describe()}) than was asked for ({params.describe()})")
    dma_name = _dma(overlay, Path(bitfile))
    from pynq import MMIO, allocate
    array = getattr(overlay, name)
    _identify(array, found, Path(bitfile))
    entry = overlay.ip_dict[dma_name]
    # A DMA that an earlier program left in an error never starts again by itself, and pynq's driver would wait for it for ever.
    MMIO(entry["phys_addr"], entry["addr_range"], device=overlay.device).write(_SEND + _CONTROL, _RESET)
    dma = getattr(overlay, dma_name)
    transport = PynqTransport(array, dma.mmio, lambda words: allocate((words,), np.uint64, target=overlay.device), found, limit=limit,
                              deadline_s=deadline_s)
    try:
        if check_clock:
            _check_clock(transport, Path(bitfile).with_suffix(".hwh"), name, wall, sleep, clock_s)
        return Driver(transport, verify=verify, limit=limit)
    except BaseException:
        transport.close()
        raise


def _overlay(path: Path, download: bool) -> Any:
    for needed in (path, path.with_suffix(".hwh")):
        if not needed.is_file():
            raise MachineError(f"{needed} was not found: a bitstream needs its .hwh of the same name beside it; spikeloom build makes both")
    try:
        from pynq import Overlay
    except ImportError as error:
        raise MachineError(f"A board needs {error.name}, which is not installed: PYNQ's images have it; elsewhere pip install "
                           f"'spikeloom[pynq]'") from None
    ip_class()
    try:
        return Overlay(str(path.absolute()), download=download)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:  # pynq has none of its own
        raise MachineError(f"pynq could not load {path}: {type(error).__name__}: {error}") from error


def _array(overlay: Any, path: Path) -> tuple[str, ArrayParams]:
    """Name and parameters of the one array that the ``.hwh`` shows."""
    ours = {name: entry for name, entry in overlay.ip_dict.items() if str(entry.get("type")).startswith(f"{VENDOR}:{LIBRARY}:{NAME}:")}
    if len(ours) != 1:
        others = ", ".join(sorted(str(entry.get("type")) for entry in overlay.ip_dict.values())) or "no IP at all"
        raise MachineError(f"{path} is not an overlay with one Spikeloom array: its .hwh has {len(ours)} of them, among {others}")
    ((name, entry),) = ours.items()
    if entry["type"] != VLNV:
        raise MachineError(f"{path} was built with {entry['type']}, this is {VLNV}: use matching releases, or build it again")
    try:
        params = array_params(entry["parameters"]["ARRAY"])
        digest = int(entry["parameters"]["DIGEST"], 16)
    except (KeyError, ValueError) as error:
        raise MachineError(f"{path.with_suffix('.hwh')} does not say which array it has ({error}): build the overlay again") from None
    if digest != int(params.digest()[:8], 16):
        raise MachineError(f"{path.with_suffix('.hwh')} says digest 0x{digest:08x}, its parameters have 0x{params.digest()[:8]}: it was "
                           f"made by another release of Spikeloom, or changed; build the overlay again")
    return name, params


def _dma(overlay: Any, path: Path) -> str:
    """Name of the one AXI DMA, in direct register mode."""
    kind = DMA_VLNV.rpartition(":")[0]
    names = [name for name, entry in overlay.ip_dict.items() if str(entry.get("type")).startswith(f"{kind}:")]
    if len(names) != 1:
        raise MachineError(f"{path} has {len(names)} AXI DMAs, not one: this driver knows the design that spikeloom build makes")
    settings = {key.lower(): value for key, value in overlay.ip_dict[names[0]]["parameters"].items()}
    for key, wanted in (("c_include_sg", 0), ("c_sg_length_width", DMA_LENGTH_BITS)):
        if int(settings.get(key, -1)) != wanted:
            raise MachineError(f"{path}: the DMA's {key} is {settings.get(key)}, not {wanted}: build it with spikeloom build")
    return str(names[0])


def _identify(array: Registers, params: ArrayParams, path: Path) -> None:
    """MachineError unless the bitstream has what its ``.hwh`` says."""
    identity = array.read(ADDRESS["IDENTITY"])
    if identity != IDENTITY:
        raise MachineError(f"There is no Spikeloom array in the bitstream that is loaded (IDENTITY reads 0x{identity:08x}, not "
                           f"0x{IDENTITY:08x}): {path} is another overlay than its .hwh says, or another was loaded since")
    digest = array.read(ADDRESS["DIGEST"])
    if digest != int(params.digest()[:8], 16):
        raise MachineError(f"{path.with_suffix('.hwh')} is stale: it says digest 0x{params.digest()[:8]}, the array in the bitstream "
                           f"0x{digest:08x}. Copy .bit and .hwh of the same build; if they are, remove pynq's cache with "
                           f"pynq.PL.reset()")


def _check_clock(transport: PynqTransport, hwh: Path, name: str, wall: Callable[[], float], sleep: Callable[[float], None],
                 seconds: float) -> None:
    """MachineError when the array's free-running clock, which ECHO tells, is not the one of the ``.hwh``."""
    wanted = clock_hz(hwh, name)
    times, cycles = [], []
    for wait in (0.0, 0.0, seconds):  # the first warms up
        sleep(wait)
        words = transport.exchange(np.atleast_1d(echo_words(0)))
        times.append(wall())
        cycles.append(int(RESPONSES[Response.ECHO].unpack(words[:1])["cycles"][0]))
    found = ((cycles[2] - cycles[1]) % (1 << 32)) / (times[2] - times[1])
    if abs(found / wanted - 1) > CLOCK_TOLERANCE:
        raise MachineError(f"The array runs at {found / 1e6:.1f} MHz, but was built for {wanted / 1e6:.1f} MHz: the PL clock is set "
                           f"otherwise than {hwh} says (another I/O PLL or crystal). Results may be wrong above the built clock; set "
                           f"pynq.Clocks.fclk0_mhz, or open with check_clock=False to go on")


def clock_hz(hwh: Path, name: str) -> float:
    """The clock, in Hz, that a ``.hwh`` gives the IP of that name; MachineError if it gives none."""
    for port in Xml.parse(hwh).getroot().iterfind(f".//MODULE[@INSTANCE='{name}']/PORTS/PORT[@NAME='aclk']"):
        if port.get("CLKFREQUENCY"):
            return float(port.get("CLKFREQUENCY", ""))
    raise MachineError(f"{hwh} gives no clock for {name}: open with check_clock=False")
