"""Boards on the network, through PYNQ.remote: pynq's client on this computer, its server on the board or behind a virtual one.

What differs from a board that this Python runs on: registers come back signed from pynq 3.1's client, every access can fail with
an error of gRPC, and a server can be gone without a word. All that ends here.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.dma import Registers
from spikeloom.host.transport import SplitTransport

#: Where PYNQ.remote's server listens; pynq's client knows no other port.
PORT = 7967
#: A file that a virtual board has and a real one has not.
VIRTUAL = "/proc/device-tree/chosen/spikeloom_virtual"
#: Seconds between two questions to a board whether it is still there, and that it may take to answer.
WATCH_S, ANSWER_S = 5.0, 10.0


class BoardLost(MachineError):
    """A board on the network does not answer any more."""


def chosen_device(address: str | None) -> Any:
    """pynq's device for the board at an address, or, without one, the device that pynq uses by itself.

    MachineError when there is none.
    """
    if address is not None:
        return remote_device(address)
    from pynq import Device
    try:
        active = Device.active_device
    except RuntimeError as error:
        if hasattr(Device, "_devices"):
            del Device._devices  # else pynq would not look again
        raise MachineError(f"pynq finds no board ({error}): run this on a board, or name one on the network, by open(…, address=…) or in "
                           f"the environment variable PYNQ_REMOTE_DEVICES") from None
    return remote_device(active.ip_addr) if is_remote(active) else active


def remote_device(address: str) -> Any:
    """A new device of pynq for the board at an address; pynq uses it from now on where no other is named.

    MachineError when pynq is missing or older than 3.1, and when no server answers within pynq's five seconds.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # pynq says that this computer is no board
            from pynq import Clocks, Device
            from pynq.pl_server.remote_device import RemoteDevice
    except ImportError as error:
        raise MachineError(f"A board on the network needs pynq 3.1 or newer ({error.name} is missing): pip install 'spikeloom[pynq]'"
                           ) from None
    try:
        with remote_errors(address):
            device = RemoteDevice(ip_addr=address, tag=f"spikeloom {address}")
    except RuntimeError as error:
        raise MachineError(f"No server of PYNQ.remote answers at {address}:{PORT} ({error}): is the board on, and its image one of "
                           f"PYNQ.remote? A virtual board is started with spikeloom serve --address {address}") from None
    Device.active_device = device  # pynq's setting of AXI port widths takes no other
    if hasattr(Clocks, "_real_instance"):
        del Clocks._real_instance  # it belongs to the first device that was used, whatever device is set
    return device


def forget(device: Any) -> None:
    """Disconnect a device of the network; pynq looks for its devices anew.

    gRPC tries to reach a server that is gone ever more rarely, for all connections to it: the next one is to begin afresh.
    """
    from pynq import Clocks, Device
    device.client.channel.close()
    if getattr(Device, "_active_device", None) is device:
        del Device._active_device
    if hasattr(Clocks, "_real_instance"):
        del Clocks._real_instance


def is_remote(device: Any) -> bool:
    """Is this device of pynq one on the network?"""
    return "REMOTE" in device.capabilities


def is_virtual(device: Any) -> bool:
    """Is this device of pynq a virtual board, whose clock has nothing to do with the time on a wall?"""
    return is_remote(device) and bool(device.exists_file(VIRTUAL).exists)


def send_bitstream(device: Any, path: Path) -> None:
    """Put a ``.bit`` where the board looks for it. pynq's client sends none if the board has a file of its name, of whatever build.

    What pynq keeps of the last overlay is removed first: it is one file for all boards and processes, which pynq's client removes
    at each download anyway, and of which half was written when a program was interrupted at the wrong time.
    """
    from pynq.pl_server.global_state import clear_global_state
    with suppress(FileNotFoundError):
        clear_global_state()
    device.write_file(f"/lib/firmware/{path.stem}.bin", device.get_bitfile_metadata(str(path)).bin_data)


def remote_buffer(device: Any, words: int) -> Any:
    """A buffer of the board, uint64 (words,); MemoryError when it has no room."""
    try:
        buffer = device.allocate((words,), np.uint64)
    except Exception as error:
        if _code(error) == "RESOURCE_EXHAUSTED":
            raise MemoryError(error.details()) from None  # type: ignore[attr-defined]  # an error of gRPC
        raise
    if not buffer.buffer_id:  # all that PYNQ.remote's own server says
        raise MemoryError("its server gave none")
    return buffer


@contextmanager
def remote_errors(address: str) -> Iterator[None]:
    """Errors of gRPC as MachineErrors, as BoardLost where the board does not answer."""
    try:
        yield
    except Exception as error:
        code = _code(error)
        if code == "CANCELLED" or (isinstance(error, ValueError) and "closed channel" in str(error)):  # Watch closed it
            raise BoardLost(f"Board {address}: it did not answer within {ANSWER_S:g} s and was given up. When it is back, open it again "
                            f"and load the image") from error
        if code is None:
            raise
        details = error.details()  # type: ignore[attr-defined]  # an error of gRPC
        if code == "UNAVAILABLE":
            raise BoardLost(f"Board {address}: its server is gone ({details}). When it runs again, open the board again and load the "
                            f"image") from error
        if code == "NOT_FOUND":
            raise MachineError(f"Board {address}: {details}. If its server was restarted, or another program loaded a bitstream, open the "
                               f"board again") from error
        raise MachineError(f"Board {address}: its server refused: {code}: {details}") from error


def _code(error: Exception) -> str | None:
    """The status of an error of gRPC, by its name; None for any other error."""
    grpc = sys.modules.get("grpc")
    return str(error.code().name) if grpc is not None and isinstance(error, grpc.RpcError) else None


class Unsigned:
    """Registers as numbers from 0 to 2**32 - 1."""

    def __init__(self, registers: Registers) -> None:
        self._registers = registers

    def read(self, offset: int) -> int:
        """The register's value."""
        return int(self._registers.read(offset)) & 0xFFFF_FFFF

    def write(self, offset: int, value: int) -> None:
        """Set the register."""
        self._registers.write(offset, value)


class Watch:
    """Asks a board now and then whether it is there, on a connection of its own; a board that no longer answers is disconnected, so
    that whatever waits for it ends with an error. (A server that was killed says so itself; a cable that was pulled does not.)"""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._ended = threading.Event()
        threading.Thread(target=self._run, name=f"watch {device.ip_addr}", daemon=True).start()

    def end(self) -> None:
        """No more questions."""
        self._ended.set()

    def _run(self) -> None:
        import grpc
        from pynq.remote import remote_device_pb2, remote_device_pb2_grpc
        with grpc.insecure_channel(f"{self._device.ip_addr}:{self._device.port}") as channel:
            stub = remote_device_pb2_grpc.RemoteDeviceStub(channel)
            while not self._ended.wait(WATCH_S):
                try:
                    stub.existsfile(remote_device_pb2.ExistsFileRequest(file_path="/"), timeout=ANSWER_S)
                except grpc.RpcError as error:
                    if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                        forget(self._device)
                        return


class RemoteTransport:
    """A transport to a board on the network: the errors of gRPC are MachineErrors, and a board that falls silent is noticed.
    ``closed`` is called when it has been closed."""

    def __init__(self, transport: SplitTransport, device: Any, closed: Callable[[], None]) -> None:
        self.params = transport.params
        self._transport, self._device, self._closed = transport, device, closed
        self._lost: BoardLost | None = None
        self._watch = Watch(device)

    def exchange(self, packet: Words) -> Words:
        """See :class:`spikeloom.host.transport.Transport`."""
        with self._reached():
            return self._transport.exchange(packet)

    def submit(self, packet: Words) -> None:
        """See :class:`spikeloom.host.transport.SplitTransport`."""
        with self._reached():
            self._transport.submit(packet)

    def collect(self) -> Words:
        """See :class:`spikeloom.host.transport.SplitTransport`."""
        with self._reached():
            return self._transport.collect()

    def abandon(self) -> None:
        """See :class:`spikeloom.host.transport.SplitTransport`."""
        with self._reached():
            self._transport.abandon()

    def read_register(self, address: int) -> int:
        """A register of the array."""
        with self._reached():
            return self._transport.read_register(address)

    def write_register(self, address: int, value: int) -> None:
        """Set a register of the array."""
        with self._reached():
            self._transport.write_register(address, value)

    def close(self) -> None:
        """Stop the DMA and give the buffers back, if the board is still there."""
        self._watch.end()
        try:
            with suppress(MachineError), self._reached():  # nothing is left to stop on a board that is gone
                self._transport.close()
        finally:
            self._closed()

    @contextmanager
    def _reached(self) -> Iterator[None]:
        """Errors as :func:`remote_errors` has them; once lost, the board stays so."""
        if self._lost is not None:
            raise BoardLost(str(self._lost)) from self._lost
        try:
            with remote_errors(str(self._device.ip_addr)):
                yield
        except BoardLost as error:
            self._lost = error
            self._watch.end()
            forget(self._device)
            raise
