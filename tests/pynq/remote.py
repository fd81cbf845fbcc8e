"""The digits on a virtual board in a process of its own. Import it after `pytest.importorskip("pynq.remote")`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spikeloom as sl
from spikeloom.host.build.standin import write_standin
from spikeloom.sim.virtual_machine import Served, server
from tests.pynq.bench import ARRAY, BOARD, Digits, digits, equal


@dataclass
class Place:
    """A served board, an overlay for it, and the digits."""

    served: Served
    bitfile: Path
    digits: Digits

    def open(self, **options: Any) -> sl.Machine:
        """The board, opened, with the digits on it."""
        machine = sl.open("pynq", bitfile=self.bitfile, address=self.served.address, **options)
        machine.load(self.digits.image)
        return machine

    def check(self) -> None:
        """The board can be opened and gives what it should."""
        with self.open() as machine:
            equal(machine.run(self.digits.spikes), self.digits.golden)


@contextmanager
def served_digits(folder: Path) -> Iterator[Place]:
    """A served board; the overlay's files lie in ``folder``."""
    with server(BOARD.name) as served:
        yield Place(served, write_standin(folder, BOARD, ARRAY), digits())
