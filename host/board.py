"""A board through the pynq package's own classes: Overlay, DefaultIP, AxiDMA, allocate, MMIO.

The only file of the host that imports pynq, and only when a board is opened. Nothing but pynq's common face is used, so that it
runs on 3.0, 3.1 and 4.0. What the opened board is, is checked here; :mod:`spikeloom.host.dma` carries its packets.
"""

from __future__ import annotations

import contextlib
import functools
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.host.board_interrupt import PinInterrupt
from spikeloom.host.board_remote import (
    RemoteTransport,
    Unsigned,
    chosen_device,
    is_remote,
    is_virtual,
    remote_buffer,
    remote_errors,
    send_bitstream,
)
from spikeloom.host.dma import CONTROL, LIMIT, RESET, SEND, DmaTransport, Registers
from spikeloom.host.driver import Driver
from spikeloom.host.progress import Progress
from spikeloom.host.telemetry import Telemetry, no_sensors, telemetry
from spikeloom.ip import DMA_LENGTH_BITS, DMA_VLNV, INTERRUPTS, LIBRARY, NAME, VENDOR, VLNV, array_params
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, IDENTITY

#: Seconds of the clock's measurement, and how far it may be off: Python's own delays are below a millisecond.
CLOCK_SECONDS, CLOCK_TOLERANCE = 0.1, 0.05
#: Boards are opened one after the other: pynq keeps devices, clocks and what it read of overlays in globals and files of its own.
_OPENING = threading.Lock()


@functools.cache
def ip_class() -> type:
    """The array's driver class, which pynq binds to every IP of our VLNV."""
    from pynq import DefaultIP

    class SpikeloomArray(DefaultIP):  # type: ignore[misc]  # pynq's class has no types
        """The array's registers: ``register_map`` shows them."""

        bindto = [VLNV]  # noqa: RUF012  # pynq reads it from the class

    return SpikeloomArray


def open_pynq(bitfile: str | Path, *, address: str | None = None, params: ArrayParams | None = None, download: bool = True,
              verify: bool = True, limit: int = LIMIT, deadline_s: float = 10.0, check_clock: bool = True, clock_s: float = CLOCK_SECONDS,
              wall: Callable[[], float] = time.perf_counter, sleep: Callable[[float], None] = time.sleep, interrupts: bool = False,
              progress: bool | Progress = False, closed: Callable[[], None] = lambda: None) -> Driver:
    """A machine: the driver over the array in a bitstream, on the board that this Python runs on or that pynq has as its device.

    Parameters
    ----------
    bitfile
        The ``.bit`` with its ``.hwh`` beside it.
    address
        A board on the network, whose image is one of PYNQ.remote, or a virtual one. (pynq's own way of naming one is the
        environment variable PYNQ_REMOTE_DEVICES.)
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
    progress
        True shows a bar while a run takes long.
    interrupts
        Wait for the DMA's interrupt instead of polling its status; see :class:`spikeloom.host.board_interrupt.PinInterrupt`.
    check_clock, clock_s, wall, sleep
        Compare the array's clock over so many seconds with this one. A virtual board's clock is not compared with a wall's.
    closed
        Called when a board on the network has been closed.

    MachineError when pynq is missing, the overlay is another, ``.bit`` and ``.hwh`` do not belong together, the clock is wrong, or
    a board on the network does not answer.
    """
    path = Path(bitfile)
    for needed in (path, path.with_suffix(".hwh")):
        if not needed.is_file():
            raise MachineError(f"{needed} was not found: a bitstream needs its .hwh of the same name beside it; spikeloom build makes both")
    try:
        from pynq import MMIO, allocate
    except ImportError as error:
        raise MachineError(f"A board needs {error.name}, which is not installed: PYNQ's images have it; elsewhere pip install "
                           f"'spikeloom[pynq]'") from None
    with contextlib.ExitStack() as stack:
        stack.enter_context(_OPENING)
        device = chosen_device(address)
        remote = is_remote(device)
        if remote:
            stack.enter_context(remote_errors(device.ip_addr))
            stack.enter_context(warnings.catch_warnings())
            # pynq cannot carry interrupts over the network and says so for each; the driver polls.
            warnings.filterwarnings("ignore", "Interrupt.* not (created|yet implemented)")
        overlay = _overlay(path, download, device)
        name, found = _array(overlay, path)
        if params is not None and params != found:
            raise MachineError(f"{bitfile} holds another array ({found.describe()}) than was asked for ({params.describe()})")
        dma_name = _dma(overlay, path)
        array = Unsigned(getattr(overlay, name))
        _identify(array, found, path)
        entry = overlay.ip_dict[dma_name]
        # A DMA that an earlier program left in an error never starts again by itself, and pynq's driver would wait for it for ever.
        MMIO(entry["phys_addr"], entry["addr_range"], device=device).write(SEND + CONTROL, RESET)
        if interrupts and remote:
            raise MachineError("pynq carries no interrupts over the network: open this board without interrupts=True")
        interrupt = PinInterrupt(f"{dma_name}/{INTERRUPTS[1]}") if interrupts else None
        dma = Unsigned(getattr(overlay, dma_name).mmio)
        make = functools.partial(remote_buffer, device) if remote else lambda words: allocate((words,), np.uint64, target=device)
        board = DmaTransport(array, dma, make, found, limit=limit, deadline_s=deadline_s, interrupt=interrupt)
        transport = RemoteTransport(board, device, closed) if remote else board
        try:
            machine = Driver(transport, verify=verify, limit=limit, sensors=_sensors(remote), progress=progress)
            if check_clock and not is_virtual(device):
                check_clock_of(machine, path.with_suffix(".hwh"), clock_s, wall, sleep)
            return machine
        except BaseException:
            transport.close()
            raise


def _sensors(remote: bool) -> Callable[[], Telemetry]:
    if remote:
        return functools.partial(no_sensors, "The sensors of a board on the network are not read: log in and run spikeloom doctor there.")
    from pynq import get_rails
    return functools.partial(telemetry, rails=get_rails)


def _overlay(path: Path, download: bool, device: Any) -> Any:
    from pynq import Overlay
    ip_class()
    try:
        if download and is_remote(device):
            send_bitstream(device, path)
        return Overlay(str(path.absolute()), download=download, device=device)
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


def check_clock_of(machine: Driver, hwh: Path, seconds: float = CLOCK_SECONDS, wall: Callable[[], float] = time.perf_counter,
                   sleep: Callable[[float], None] = time.sleep) -> tuple[float, float]:
    """The array's clock, measured, and the one that its ``.hwh`` gives, in Hz. MachineError when they differ."""
    wanted, found = clock_hz(hwh), machine.measure_clock(seconds, wall, sleep)
    if abs(found / wanted - 1) > CLOCK_TOLERANCE:
        raise MachineError(f"The array runs at {found / 1e6:.1f} MHz, but was built for {wanted / 1e6:.1f} MHz: the PL clock is set "
                           f"otherwise than {hwh} says (another I/O PLL or crystal). Results may be wrong above the built clock; set "
                           f"pynq.Clocks.fclk0_mhz, or open with check_clock=False to go on")
    return found, wanted


def clock_hz(hwh: Path) -> float:
    """The clock, in Hz, that a ``.hwh`` gives the array; MachineError if it gives none."""
    for port in Xml.parse(hwh).getroot().iterfind(f".//MODULE[@VLNV='{VLNV}']/PORTS/PORT[@NAME='aclk']"):
        if port.get("CLKFREQUENCY"):
            return float(port.get("CLKFREQUENCY", ""))
    raise MachineError(f"{hwh} gives no clock for the array: open with check_clock=False")


def devices() -> list[str]:
    """Names of the devices that pynq finds; MachineError when it is missing, or finds none."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pynq says that this computer is no board
            from pynq import Device
            found = [str(device.name) for device in Device.devices] or [str(Device.active_device.name)]
    except ImportError as error:
        raise MachineError(f"{error.name} is not installed: PYNQ's images have it; elsewhere pip install 'spikeloom[pynq]'") from None
    except RuntimeError as error:
        raise MachineError(f"pynq finds no device: {error}") from error
    return found
