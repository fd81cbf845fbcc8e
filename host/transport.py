"""What carries packets between the driver and an array: a simulation or a board."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from spikeloom.fields import Words
from spikeloom.params import ArrayParams


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
