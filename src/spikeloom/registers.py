"""Registers of the AXI4-Lite port, as data; the gateware's register bank and the driver are walks over this list."""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.params import ArrayParams

#: "SPKL" in ASCII, read from IDENTITY.
IDENTITY = 0x53504B4C
#: Version of the contract: memories, packets and registers together.
VERSION = 1


@dataclass(frozen=True)
class Register:
    """A 32-bit register at a byte address; ``access`` is ``ro`` or ``rw``."""

    name: str
    address: int
    access: str
    meaning: str


REGISTERS: tuple[Register, ...] = tuple(Register(name, 4 * i, access, meaning) for i, (name, access, meaning) in enumerate((
    ("IDENTITY", "ro", "constant 0x53504B4C"),
    ("VERSION", "ro", "version of the contract"),
    ("DIGEST", "ro", "first 32 bits of the parameters' digest"),
    ("SHAPE", "ro", "columns, rows, lanes and folds, see `shape_word`"),
    ("CONTROL", "rw", "bit 0: reset the array and the host port; bit 1: clear faults and counters; both clear themselves"),
    ("STATUS", "ro", "bit 0: busy"),
    ("FAULTS", "ro", "sticky faults, bits as `packets.Fault`"),
    ("CYCLES", "ro", "cycles in which the host port was busy"),
    ("TICKS", "ro", "ticks ended"),
    ("ACTIVE", "ro", "cycles in which at least one synapse word was read"),
    ("READS", "ro", "synapse words read, over all banks and cores"),
    ("EVENTS", "ro", "SPIKES words taken from the host"),
    ("SPIKES", "ro", "SPIKES words sent to the host"),
    ("STALLS", "ro", "cycles in which the host did not take a response"),
)))

ADDRESS = {register.name: register.address for register in REGISTERS}
#: Bits of the port's byte address.
ADDRESS_BITS = 8


def shape_word(params: ArrayParams) -> int:
    """Value of SHAPE: columns in bits 0–4, rows in 5–9, lanes in 10–21, folds in 22–31."""
    return params.columns | params.rows << 5 | params.lanes << 10 | params.folds << 22
