"""Packets to an array, and sound answers from it: what a run and a stream have in common."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.decode import Answer
from spikeloom.host.transport import OUTSTANDING, Transport, split
from spikeloom.registers import ADDRESS

#: Bits of the CONTROL register.
RESET_ARRAY = 1
CLEAR_COUNTERS = 2
#: Registers that count since the last reset.
COUNTERS = ("CYCLES", "TICKS", "ACTIVE", "READS", "EVENTS", "SPIKES", "STALLS")


class HasPackets(Protocol):
    """What is answered as a whole."""

    @property
    def packets(self) -> list[Words]:
        """Its packets."""


Work = TypeVar("Work", bound=HasPackets)
Read = TypeVar("Read")


class Port:
    """An array's streams and registers.

    After any failure nothing is outstanding, the array is reset, and ``failed`` is set: its memories are not to be trusted until
    the image is written again.
    """

    def __init__(self, transport: Transport) -> None:
        self.failed = False
        self._transport = transport
        self._link = split(transport)
        self._waiting = 0
        self._payload = 0
        self._last_counters = dict.fromkeys(COUNTERS, 0)
        self._uncounted = False  # something ran since the counters were read

    def payload(self) -> int:
        """A payload for an ECHO, other than the last ones."""
        self._payload = (self._payload + 1) % (1 << 28)
        return self._payload

    def submit(self, packet: Words) -> None:
        """Send a packet; :meth:`collect` must follow before a third."""
        self._uncounted = True
        with self._trouble():
            self._link.submit(packet)
            self._waiting += 1

    def collect(self, read: Callable[[Answer], Read]) -> Read:
        """What ``read`` makes of the first answer outstanding. MachineError when it names faults."""
        with self._trouble():
            return read(_sound([self._collect()]))

    def exchange(self, *packets: Words) -> Answer:
        """The joined answer to packets that belong together. MachineError when it names faults."""
        self._uncounted = True
        with self._trouble():
            found = []
            for packet in packets:
                self._link.submit(packet)
                self._waiting += 1
                if self._waiting == OUTSTANDING:
                    found.append(self._collect())
            found += [self._collect() for _ in range(self._waiting)]
            return _sound(found)

    def work(self, batches: Iterable[Work], enter: Callable[[Work, Answer], None]) -> None:
        """Send batches and ``enter`` their answers, in order. A packet is under way while the next is taken from ``batches`` and
        the last is entered. MachineError when an answer names faults. :meth:`counted` tells afterwards what this work counted."""
        if self._uncounted:
            self.start_counting()
        waiting: deque[tuple[Work, bool]] = deque()
        parts: list[Words] = []

        def collect() -> None:
            parts.append(self._collect())
            batch, last = waiting.popleft()
            if last:
                enter(batch, _sound(parts))
                parts.clear()

        with self._trouble():
            for batch in batches:
                for number, packet in enumerate(batch.packets, 1):
                    self._link.submit(packet)
                    self._waiting += 1
                    waiting.append((batch, number == len(batch.packets)))
                    if len(waiting) == OUTSTANDING:
                        collect()
            while waiting:
                collect()

    def drain(self) -> None:
        """Forget the answers that are outstanding, once they have come."""
        with self._trouble():
            while self._waiting:
                self._collect()

    def control(self, bits: int) -> None:
        """Write the CONTROL register, which may clear the counters."""
        self._transport.write_register(ADDRESS["CONTROL"], bits)

    def counters(self) -> dict[str, int]:
        """Counters since the last reset, by the names of the registers; 32 bits each, then from 0 again."""
        return {name: self._transport.read_register(ADDRESS[name]) for name in COUNTERS}

    def start_counting(self) -> None:
        """Count from here on."""
        self._last_counters = self.counters()
        self._uncounted = False

    def counted(self) -> dict[str, int]:
        """What the counters gained since they were read last."""
        now, before = self.counters(), self._last_counters
        self._last_counters = now
        return {name: (now[name] - before[name]) % (1 << 32) for name in COUNTERS}

    @contextlib.contextmanager
    def _trouble(self) -> Iterator[None]:
        """A failure within leaves the port as the class says."""
        try:
            yield
        except BaseException:
            self.failed = True
            self._waiting = 0
            self._last_counters = dict.fromkeys(COUNTERS, 0)
            with contextlib.suppress(MachineError):  # the first error tells more, and the next packet fails too
                self._link.abandon()
                self.control(RESET_ARRAY | CLEAR_COUNTERS)
            raise

    def _collect(self) -> Words:
        answer = self._link.collect()
        self._waiting -= 1
        return answer


def _sound(parts: list[Words]) -> Answer:
    """Joined answers; MachineError when they name faults."""
    answer = Answer.read(np.concatenate(parts))
    faults = answer.faults()
    if faults:
        raise MachineError(f"The array reports {faults}")
    return answer
