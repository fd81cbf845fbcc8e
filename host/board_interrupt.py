"""The DMA's interrupt through pynq's own class, which needs an AXI interrupt controller in the design and UIO in the system."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import threading
from typing import Any

from spikeloom.errors import MachineError

#: Seconds that pynq may take to find the pin; it takes milliseconds.
_MAKING_S = 10.0


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """An event loop of our own: pynq's interrupts come by the loop that ran when they were made, and the user's may not run
    while a run waits."""
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="spikeloom-interrupts", daemon=True).start()
    return loop


class PinInterrupt:
    """Called with seconds, waits at most so long for the interrupt of a pin, as ``dma/s2mm_introut``.

    Make it before anything else in the process makes pynq's interrupt of the pin (as the overlay's ``dma`` does): pynq opens its
    UIO device once. Where that was too late nothing is lost but time, for whoever waits looks after each wait by himself.
    MachineError when the system has no UIO device for it.
    """

    def __init__(self, pin: str) -> None:
        try:
            self._interrupt = asyncio.run_coroutine_threadsafe(_make(pin), _loop()).result(_MAKING_S)
        except (ValueError, OSError, KeyError, RuntimeError) as error:  # pynq has none of its own
            raise MachineError(f"There is no interrupt of {pin} ({error}): the system needs a UIO device for the fabric's interrupt, as "
                               f"PYNQ's images have; open without interrupts=True to poll") from error

    def __call__(self, seconds: float) -> None:
        """Wait until the interrupt has come, or the time is over."""
        asyncio.run_coroutine_threadsafe(self._wait(seconds), _loop()).result()

    async def _wait(self, seconds: float) -> None:
        with contextlib.suppress(asyncio.TimeoutError):  # which is not yet TimeoutError itself in Python 3.10
            await asyncio.wait_for(self._interrupt.wait(), seconds)


async def _make(pin: str) -> Any:
    from pynq import Interrupt
    return Interrupt(pin)
