"""What carries packets between the driver and an array: a simulation or a board."""

from __future__ import annotations

from collections import deque
from typing import Protocol, runtime_checkable

from spikeloom.fields import Words
from spikeloom.params import ArrayParams
from spikeloom.stream import AHEAD

#: Packets that may be outstanding: one under way, and the next one ready. A stream's submission is a packet.
OUTSTANDING = AHEAD


@runtime_checkable
class Transport(Protocol):
    """A way to one array's streams and registers. Not meant for several threads at a time.

    Every method raises MachineError, saying what was outstanding, when the array does not answer within its limit.
    """

    params: ArrayParams

    def exchange(self, packet: Words) -> Words:
        """Send one packet, uint64 (words,) with at least one word, TLAST on the last. Returns the answering packet,
        uint64 (words,), up to and including its word with TLAST."""

    def read_register(self, address: int) -> int:
        """Value of the 32-bit register at a byte address."""

    def write_register(self, address: int, value: int) -> None:
        """Write the 32-bit register at a byte address."""

    def close(self) -> None:
        """Let go of the board or the simulator; may be called twice."""


@runtime_checkable
class SplitTransport(Transport, Protocol):
    """A transport with which something else can be done while a packet is under way."""

    def submit(self, packet: Words) -> None:
        """Send a packet as for `exchange`, or, while one is under way, have it ready to be sent next. ValueError when
        :data:`OUTSTANDING` are outstanding."""

    def collect(self) -> Words:
        """Wait for the answer to the first packet that is outstanding. After an error none is."""

    def abandon(self) -> None:
        """Forget what is outstanding; the array may have done it, in part or whole, or not."""


class InTurn:
    """The split of a transport that has only `exchange`: a packet is under way while its answer is being collected."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._packets: deque[Words] = deque()

    def submit(self, packet: Words) -> None:
        """See :class:`SplitTransport`."""
        if len(self._packets) == OUTSTANDING:
            raise ValueError(f"{OUTSTANDING} packets are outstanding already: collect an answer first")
        self._packets.append(packet)

    def collect(self) -> Words:
        """See :class:`SplitTransport`."""
        try:
            answer = self._transport.exchange(self._packets[0])
        except BaseException:
            self._packets.clear()
            raise
        self._packets.popleft()
        return answer

    def abandon(self) -> None:
        """See :class:`SplitTransport`."""
        self._packets.clear()


def split(transport: Transport) -> SplitTransport | InTurn:
    """The transport itself, where it can be split, or a stand-in."""
    return transport if isinstance(transport, SplitTransport) else InTurn(transport)
