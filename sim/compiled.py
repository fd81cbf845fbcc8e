"""The array's RTL compiled by Verilator, as a transport: cycle-exact, about a million cycles a second."""

from __future__ import annotations

import ctypes
import enum
from pathlib import Path

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.params import ArrayParams
from spikeloom.sim.build import compiled_library

#: Cycles without a word in or out after which an exchange is given up: the driver asks for a mark at least every
#: ``encode.MARK_TICKS`` ticks, and a tick of a full core takes a few thousand cycles.
LIMIT = 5_000_000


class Outcome(enum.IntEnum):
    """Results of the harness's calls, as in ``harness.cpp``."""

    DONE = 0
    STALLED = 1
    UNSTABLE = 2
    EARLY = 3
    ENDLESS = 4


def pause_pair(pauses: float | tuple[float, float]) -> tuple[float, float]:
    """Probabilities (0 to below 1) of a pause per cycle towards the array and from it; one number stands for both."""
    pair = pauses if isinstance(pauses, tuple) else (pauses, pauses)
    for pause in pair:
        if not 0 <= pause < 1:
            raise ValueError(f"Pauses must be probabilities from 0 to below 1, not {pause}")
    return float(pair[0]), float(pair[1])


def _bind(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, number = ctypes.c_void_p, ctypes.c_uint32
    out = ctypes.POINTER(number)
    wide = ctypes.POINTER(ctypes.c_uint64)
    for name, result, arguments in (
        ("open", handle, [ctypes.c_uint64, ctypes.c_int, ctypes.c_double, ctypes.c_double, ctypes.c_uint64]),
        ("close", None, [handle]),
        ("exchange", ctypes.c_int, [handle, wide, ctypes.c_size_t]),
        ("counts", None, [handle, wide]),
        ("output", wide, [handle]),
        ("read", ctypes.c_int, [handle, number, out, out]),
        ("write", ctypes.c_int, [handle, number, number, out]),
        ("wait", None, [handle, ctypes.c_uint64]),
    ):
        function = getattr(library, f"spikeloom_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class CompiledTransport:
    """A simulated array in this process. Instances are independent; a call lets other Python threads run.

    Parameters
    ----------
    params
        The array.
    pauses
        Probability of a pause per cycle on the ports, one number or (towards the array, from the array).
    seed
        Seed of the pauses and of the random start.
    limit
        Cycles without progress after which MachineError is raised.
    random_start
        Start memories with random contents, as after another image, instead of zeros.
    library, cache
        A library that was already built; where to build it otherwise (default: `build.cache_directory`).
    """

    def __init__(self, params: ArrayParams, *, pauses: float | tuple[float, float] = 0.0, seed: int = 0, limit: int = LIMIT,
                 random_start: bool = False, library: Path | None = None, cache: Path | None = None) -> None:
        source, sink = pause_pair(pauses)
        self.params = params
        self._limit = limit
        self._library = _bind(library or compiled_library(params, cache))
        self._handle: int | None = self._library.spikeloom_open(seed, random_start, source, sink, limit)

    @property
    def clock(self) -> int:
        """Cycles simulated so far."""
        return self._counts()[2]

    def exchange(self, packet: Words) -> Words:
        """Simulate until the answer is complete; see :class:`spikeloom.host.transport.Transport`."""
        if not len(packet):
            raise ValueError("A packet has at least one word")
        words = np.ascontiguousarray(packet, np.uint64)
        pointer = words.ctypes.data_as(ctypes.POINTER(ctypes.c_uint64))
        outcome = self._library.spikeloom_exchange(self._open(), pointer, len(words))
        sent, received, clock = self._counts()
        if outcome == Outcome.DONE:
            return np.ctypeslib.as_array(self._library.spikeloom_output(self._open()), (received,)).copy()
        state = f"{sent} of {len(words)} words were taken, {received} answered, at cycle {clock}"
        raise MachineError({
            Outcome.STALLED: f"The simulated array made no progress for {self._limit} cycles: {state}; the answer's last "
                             f"word is outstanding",
            Outcome.UNSTABLE: f"The simulated array changed a word on m_axis that was not yet taken: {state}",
            Outcome.EARLY: f"The simulated array ended its answer before it had the whole packet: {state}",
            Outcome.ENDLESS: f"The simulated array does not end its answer: {state}",
        }[Outcome(outcome)])

    def read_register(self, address: int) -> int:
        """One AXI4-Lite read."""
        value, response = ctypes.c_uint32(), ctypes.c_uint32()
        outcome = self._library.spikeloom_read(self._open(), address, ctypes.byref(value), ctypes.byref(response))
        self._check(outcome, response.value, f"Reading register 0x{address:02x}")
        return value.value

    def write_register(self, address: int, value: int) -> None:
        """One AXI4-Lite write."""
        response = ctypes.c_uint32()
        outcome = self._library.spikeloom_write(self._open(), address, value, ctypes.byref(response))
        self._check(outcome, response.value, f"Writing register 0x{address:02x}")

    def wait(self, cycles: int) -> None:
        """Let the clock run with nothing on the ports."""
        self._library.spikeloom_wait(self._open(), cycles)

    def close(self) -> None:
        """Free the simulation."""
        handle, self._handle = self._handle, None
        if handle is not None:
            self._library.spikeloom_close(handle)

    def __del__(self) -> None:
        if hasattr(self, "_handle"):  # the constructor may have failed
            self.close()

    def _open(self) -> int:
        if self._handle is None:
            raise MachineError("The simulation is closed")
        return self._handle

    def _counts(self) -> tuple[int, int, int]:
        counts = (ctypes.c_uint64 * 3)()
        self._library.spikeloom_counts(self._open(), counts)
        return counts[0], counts[1], counts[2]

    def _check(self, outcome: int, response: int, what: str) -> None:
        if outcome == Outcome.STALLED:
            raise MachineError(f"{what}: no answer within {self._limit} cycles")
        if outcome != Outcome.DONE:
            raise MachineError(f"{what}: answered before it was asked")
        if response:
            raise MachineError(f"{what}: the array answered with AXI response {response}")


def open_compiled(params: ArrayParams, *, pauses: float | tuple[float, float] = 0.0, seed: int = 0, limit: int = LIMIT,
                  random_start: bool = False, verify: bool = False, cache: Path | None = None) -> Driver:
    """A machine: the driver over compiled RTL. Parameters as `CompiledTransport` and `Driver`."""
    transport = CompiledTransport(params, pauses=pauses, seed=seed, limit=limit, random_start=random_start, cache=cache)
    try:
        return Driver(transport, verify=verify)
    except BaseException:
        transport.close()
        raise
