"""How machines are called: one call at a time, from any thread, or from asyncio; and one stream at a time."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes

if TYPE_CHECKING:
    from spikeloom.machine import Potentials, Result
    from spikeloom.stream import Stream

Self = TypeVar("Self")  # typing.Self needs Python 3.11, the boards have 3.10


class Calls(abc.ABC):
    """What all machines share: `run_async`, `with`, and a clear error for calls that would disturb one another.

    A machine does its work under :meth:`_alone`, and where it can stop calls :meth:`_check_stop`.
    """

    def __init__(self) -> None:
        self._turn = threading.RLock()
        self._live: Stream | None = None
        self._stop = threading.Event()
        self._worker: ThreadPoolExecutor | None = None

    async def run_async(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """`run` as a coroutine: other tasks go on meanwhile. Several at a time take turns, in the order in which they were called.

        A task that is cancelled before its turn does not run; one that runs ends after the packet (or batch of samples) that is
        under way, and only then is the cancellation passed on, so that the machine can be used at once.
        """
        stop = threading.Event()
        if self._worker is None:
            self._worker = ThreadPoolExecutor(1, "spikeloom")
        call = self._worker.submit(self._run_in_turn, stop, spikes, potentials, record)
        future = asyncio.wrap_future(call)
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            if not call.cancel():  # it has begun
                stop.set()
                await asyncio.wait([future])
                if not future.cancelled():
                    future.exception()  # that it was stopped is no news
            raise

    def stream(self, *, potentials: Literal["none", "steps"] = "steps", record: Iterable[str] | None = None) -> Stream:
        """A :class:`spikeloom.stream.Stream` for live input, on this machine with its image; MachineError where it has none."""
        raise MachineError(f"{type(self).__name__} takes whole samples only: use the golden model, rtl, or one board to stream")

    @abc.abstractmethod
    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """See :class:`spikeloom.machine.Machine`."""

    def close(self) -> None:
        """See :class:`spikeloom.machine.Machine`: runs that wait their turn do not run any more."""
        worker, self._worker = self._worker, None
        if worker is not None:
            self._stop.set()
            worker.shutdown(wait=True, cancel_futures=True)
            self._stop = threading.Event()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _run_in_turn(self, stop: threading.Event, spikes: InputSpikes, potentials: Any, record: Any) -> Result:
        with self._turn:
            before, self._stop = self._stop, stop
            try:
                return self.run(spikes, potentials=potentials, record=record)
            finally:
                self._stop = before

    def _check_stop(self) -> None:
        """MachineError when the run under way is not wanted any more."""
        if self._stop.is_set():
            raise MachineError("The run was stopped")

    @contextlib.contextmanager
    def _alone(self, verb: str, stream: Stream | None = None) -> Iterator[None]:
        """The machine to oneself; MachineError where another thread has it, or a stream other than the caller."""
        if not self._turn.acquire(blocking=False):
            raise MachineError(f"The machine is busy in another thread: {verb}() must wait until that has ended; run_async() waits by "
                               f"itself")
        try:
            if self._live is not None and self._live is not stream:
                raise MachineError(f"A stream is open on this machine: finish() or close() it before {verb}()")
            yield
        finally:
            self._turn.release()

    def _released(self) -> None:
        """The stream has ended."""
        self._live = None
