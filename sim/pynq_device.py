"""A board model as a device of the pynq package, so that its own classes run against simulated RTL, in one process."""

from __future__ import annotations

import asyncio
import ctypes
import functools
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pynq says that this computer is no board
    import pynq.interrupt
    import pynq.ps
    from pynq import PL, Clocks
    from pynq.buffer import PynqBuffer
    from pynq.pl_server.device import Device
    from pynqmetadata.frontends import Metadata
    try:
        from pynqmetadata.views.runtime import RuntimeMetadataParser  # pynq 4
    except ImportError:
        from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser

from spikeloom.host.build.standin import read_standin
from spikeloom.sim.board_model import BoardModel

#: Seconds between two looks whether the model interrupts.
_LOOK_S = 1e-3
_ARCHITECTURES = {"zynq7": "armv7l", "zynqmp": "aarch64"}


class ModelDevice(Device):  # type: ignore[misc]  # pynq's class has no types
    """The device that pynq uses from now on.

    ``forget`` names what does not happen although it is called: "flush", "invalidate". With ``interrupts`` pynq finds a UIO device
    for the fabric's interrupt, and counts in ``interrupted`` how often it came.
    """

    def __init__(self, model: BoardModel, interrupts: bool = False) -> None:
        super().__init__("spikeloom-model")
        self.model = model
        self.capabilities = {"REGISTER_RW": True}
        self.forget: set[str] = set()
        self.name = model.board.title
        self.bitfile_name, self.timestamp = "", ""
        self.arch = pynq.ps.CPU_ARCH = _ARCHITECTURES[model.board.family]  # pynq 3.0 knows the computer's alone
        for holder, name in ((Clocks, "_real_instance"), (PL, "_dict_views_cached")):  # of the device before
            if hasattr(holder, name):
                delattr(holder, name)
        Device.active_device = self
        self.interrupted = 0
        pynq.interrupt.get_uio_irq = lambda _: "the model" if interrupts else None
        pynq.interrupt.UioController = functools.partial(_Uio, self)
        pynq.interrupt._InterruptController._uio_devices.clear()

    def read_registers(self, address: int, length: int) -> bytes:
        """Registers from an address on, ``length`` bytes."""
        return b"".join(self.model.read(address + at).to_bytes(4, "little") for at in range(0, length, 4))

    def write_registers(self, address: int, data: bytes) -> None:
        """Write registers from an address on."""
        plain = bytes(data)
        for at in range(0, len(plain), 4):
            self.model.write(address + at, int.from_bytes(plain[at:at + 4], "little"))

    def allocate(self, shape: Any, dtype: npt.DTypeLike, **_: Any) -> Any:
        """A buffer of the host whose other copy is in DDR."""
        address = self.model.allocate(int(np.prod(shape)) * np.dtype(dtype).itemsize)
        buffer = PynqBuffer(shape, dtype, device=self, device_address=address, bo=address, coherent=False)
        buffer.memory, buffer.pointer, buffer.return_to = self, address, self
        return buffer

    def return_pointer(self, address: int) -> None:
        """A buffer is no longer used."""
        self.model.free(address)

    def flush(self, bo: int, offset: int, pointer: int, size: int) -> None:
        """Host to DDR."""
        if "flush" not in self.forget:
            self.model.bytes(bo + offset, size)[:] = np.frombuffer(ctypes.string_at(pointer, size), np.uint8)

    def invalidate(self, bo: int, offset: int, pointer: int, size: int) -> None:
        """DDR to host."""
        if "invalidate" not in self.forget:
            ctypes.memmove(pointer, self.model.bytes(bo + offset, size).tobytes(), size)

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        """What pynq reads from the ``.hwh``."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's own
            parser = RuntimeMetadataParser(Metadata(input=Path(bitfile_name).with_suffix(".hwh")))
            parser.refresh_hierarchy_dict()
        return parser

    def download(self, bitstream: Any, parser: Any = None) -> None:
        """Configure the PL."""
        self.model.configure(read_standin(Path(bitstream.bitfile_name).read_bytes()))
        self.post_download(bitstream, parser)


class _Uio:
    """pynq's UioController over the model: events that are waited for are set when the processor is interrupted."""

    def __init__(self, device: ModelDevice, _: str) -> None:
        self._device, self._events = device, list[Any]()

    def add_event(self, event: Any, _: int) -> None:
        """Set this event when the interrupt comes."""
        self._events.append(event)
        if len(self._events) == 1:  # as a device's file, it is heard of later, never within this call
            asyncio.get_running_loop().call_soon(self._look)

    def _look(self) -> None:
        if self._device.model.interrupt:
            self._device.interrupted += 1
            events, self._events = self._events, []
            for event in events:
                event.set()
        else:
            asyncio.get_running_loop().call_later(_LOOK_S, self._look)
