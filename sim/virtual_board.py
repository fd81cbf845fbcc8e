"""The processor's side of a virtual board: the files, buffers and register windows that PYNQ.remote's server offers.

Behind it is a :class:`spikeloom.sim.board_model.BoardModel`. Three copies of a buffer are apart, as they are with a board on the
network: the client's, the processor's (caches included), and the DDR that the DMA sees. ``write`` and ``read`` move bytes between
the first two (that is the protocol's business), ``flush`` and ``invalidate`` between the last two.

One lock makes the model's users take turns; files need none, so that a client can ask for them while a simulation runs.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.errors import SpikeloomError
from spikeloom.host.board_remote import VIRTUAL
from spikeloom.host.boards import Board
from spikeloom.host.build.standin import read_standin
from spikeloom.params import ArrayParams
from spikeloom.sim.board_model import BoardModel
from spikeloom.sim.compiled import LIMIT

#: Files that pynq's client reads and writes.
FIRMWARE, MANAGER = "/lib/firmware/", "/sys/class/fpga_manager/fpga0/"
#: Bytes of all files at the most; a bitstream of the largest part has 26 MB.
MOST_BYTES = 128 << 20
#: Machine names of the processors, by family.
_ARCHITECTURES = {"zynq7": "armv7l", "zynqmp": "aarch64"}


class Refused(SpikeloomError):
    """A request that this board cannot serve. ``kind`` is "missing", "invalid", "exhausted" or "impossible"."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass
class Buffer:
    """Bytes of DDR, and the processor's copy of them."""

    address: int
    cached: npt.NDArray[np.uint8]
    cacheable: bool


class VirtualBoard:
    """A board; see the module.

    Parameters
    ----------
    board
        Which one.
    tell
        Gets a line of text for what a person watching would want to know.
    memory_bytes, limit, cache
        As for :class:`spikeloom.sim.board_model.BoardModel`.

    Refused is raised for whatever a client asks for wrongly; the board stays as it was.
    """

    def __init__(self, board: Board, *, tell: Callable[[str], None] = lambda line: None, memory_bytes: int = 64 << 20,
                 limit: int = LIMIT, cache: Path | None = None) -> None:
        self.board = board
        self.model = BoardModel(board, memory_bytes=memory_bytes, limit=limit, cache=cache)
        self.lock = threading.Lock()
        self._tell = tell
        self._buffers: dict[str, Buffer] = {}
        self._series, self._made = secrets.token_hex(4), 0  # no identifier of an earlier server means anything here
        system = f"Linux version 0 (Spikeloom's virtual board) {_ARCHITECTURES[board.family]}\n"
        self._files = {"/proc/version": system.encode(), VIRTUAL: b"",
                       "/proc/device-tree/chosen/pynq_board": board.title.encode() + b"\0",
                       MANAGER + "state": b"unknown\n", MANAGER + "flags": b"0\n"}

    def close(self) -> None:
        """Free the simulation."""
        with self.lock:
            self.model.close()

    def exists(self, path: str) -> bool:
        """Is there such a file?"""
        return path in self._files

    def read_file(self, path: str) -> bytes:
        """A file's bytes."""
        try:
            return self._files[path]
        except KeyError:
            raise Refused("missing", f"The virtual board has no file {path}") from None

    def write_file(self, path: str, data: bytes) -> None:
        """Write a file, in memory. A name written to the FPGA manager's ``firmware`` loads that bitstream."""
        self.room(path, len(data))
        if path == MANAGER + "firmware":
            self._configure(data.decode(errors="replace").strip("\0\n "))
        else:
            self._files[path] = data

    def room(self, path: str, size: int) -> None:
        """Refused unless a file of this size can be written."""
        if not path.startswith("/"):
            raise Refused("invalid", f"A file's path must begin with /, not {path!r}")
        if sum(map(len, self._files.values())) - len(self._files.get(path, b"")) + size > MOST_BYTES:
            raise Refused("exhausted", f"The virtual board keeps {MOST_BYTES} bytes of files at the most")

    def expect_bitstream(self, name: str, partial: bool) -> None:
        """A client is about to load a bitstream. What the board has under that name is forgotten, for pynq's client sends a file
        only if there is none of its name."""
        if partial:
            raise Refused("impossible", "The virtual board has no partial reconfiguration")
        self._files.pop(FIRMWARE + name, None)

    def _configure(self, name: str) -> None:
        data = self.read_file(FIRMWARE + name)
        try:
            params = read_standin(data)
        except SpikeloomError as error:
            raise Refused("impossible", f"{name}: {error}") from None
        self._tell(f"Loading {name}: {_named(params)}. The first time this compiles its simulation, which can take minutes")
        with self.lock:
            self._release()
            try:
                self.model.configure(params)
            except ImportError as error:
                raise Refused("impossible", f"The server lacks {error.name}: pip install 'spikeloom[rtl]' there") from None
        self._files[MANAGER + "state"] = b"operating\n"
        self._tell(f"Loaded {name}")

    def _release(self) -> None:
        """Give all buffers back: the clients that left them are gone."""
        for buffer in self._buffers.values():
            self.model.free(buffer.address)
        self._buffers.clear()

    def allocate(self, size: int, cacheable: bool) -> str:
        """Identifier of a new buffer of ``size`` bytes."""
        if size < 1:
            raise Refused("invalid", f"A buffer has at least one byte, not {size}")
        with self.lock:
            try:
                address = self.model.allocate(size)
            except MemoryError as error:
                raise Refused("exhausted", f"{error}: {len(self._buffers)} buffers are in use, of {len(self.model.memory)} bytes "
                                           f"altogether") from None
            self._made += 1
            name = f"{self._series}-{self._made}"
            self._buffers[name] = Buffer(address, self.model.bytes(address, size).copy(), cacheable)
        return name

    def buffer(self, name: str) -> Buffer:
        """A buffer by its identifier."""
        try:
            return self._buffers[name]
        except KeyError:
            raise Refused("missing", f"The virtual board has no buffer {name!r}: buffers end when they are freed, when a bitstream is "
                                     f"loaded, and with the server") from None

    def free(self, name: str) -> None:
        """Give a buffer back."""
        with self.lock:
            self.model.free(self.buffer(name).address)
            del self._buffers[name]

    def flush(self, name: str) -> None:
        """The processor's copy to DDR."""
        buffer = self.buffer(name)
        with self.lock:
            self.model.bytes(buffer.address, len(buffer.cached))[:] = buffer.cached

    def invalidate(self, name: str) -> None:
        """DDR to the processor's copy."""
        buffer = self.buffer(name)
        with self.lock:
            buffer.cached[:] = self.model.bytes(buffer.address, len(buffer.cached))

    @staticmethod
    def window(base: int, length: int) -> str:
        """Identifier of a range of addresses. It says what it stands for, so that one from before a restart still works."""
        if base % 4 or not 4 <= length <= 1 << 32 or base + length > 1 << 40:
            raise Refused("invalid", f"No range of registers: {length} bytes from 0x{base:x}")
        return f"{base:x}+{length:x}"

    def read(self, window: str, offset: int, length: int) -> int:
        """The register at an offset in a window: its lower ``length`` bytes, 1, 2 or 4 (0 stands for 4)."""
        if length not in (0, 1, 2, 4):
            raise Refused("invalid", f"A read takes 1, 2 or 4 bytes, not {length}: PYNQ.remote's answer has 32 bits")
        address = _place(window, offset, 4)
        with self._bus():
            value = self.model.read(address)
        return value & (1 << 8 * (length or 4)) - 1

    def write(self, window: str, offset: int, data: bytes) -> None:
        """Write registers from an offset in a window on."""
        if not data or len(data) % 4:
            raise Refused("invalid", f"A write takes whole 32-bit words, not {len(data)} bytes")
        address = _place(window, offset, len(data))
        with self._bus():
            for at in range(0, len(data), 4):
                self.model.write(address + at, int.from_bytes(data[at:at + 4], "little"))

    @contextmanager
    def _bus(self) -> Iterator[None]:
        """The model, for register accesses."""
        with self.lock:
            try:
                yield
            except RuntimeError as error:  # a bus error; it would end a real board's server
                raise Refused("impossible", str(error)) from None
            finally:
                self.model.accesses.clear()  # nobody reads this log, and a server runs for long


def _place(window: str, offset: int, length: int) -> int:
    base, plus, size = window.partition("+")
    try:
        start, room = int(base, 16), int(size, 16)
    except ValueError:
        raise Refused("missing", f"The virtual board gave no range of registers the name {window!r}") from None
    if not plus or offset % 4 or offset + length > room:
        raise Refused("invalid", f"{length} bytes at offset 0x{offset:x} are not words within the {room} bytes from 0x{start:x}")
    return start + offset


def _named(params: ArrayParams | None) -> str:
    if params is None:
        return "no array"
    return f"{params.columns} × {params.rows} cores of {params.lanes} lanes and {params.folds} folds, digest {params.digest()[:8]}"
