"""A board's model with the digits on it, driven through the real pynq package. Import it after `pytest.importorskip("pynq")`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.host.boards import board
from spikeloom.host.build.standin import write_standin
from spikeloom.host.digits import encode, example_file, load_digits, settings
from spikeloom.host.driver import Driver
from spikeloom.params import PRESETS
from spikeloom.sim.board_model import BoardModel
from spikeloom.sim.pynq_device import ModelDevice, pynq

#: pynq's own warnings: no UIO device for the DMA's interrupts, which the driver polls for by default.
MARKS = [pytest.mark.filterwarnings("ignore:Interrupt .* not created"),
         pytest.mark.filterwarnings("ignore:Could not load Xilinx:ResourceWarning")]  # pynq 4's video library
#: The same with pynq's client of PYNQ.remote.
REMOTE_MARKS = [*MARKS, pytest.mark.filterwarnings("ignore:Interrupts are not yet implemented"),
                pytest.mark.filterwarnings("ignore:The `(json|parse_obj)` method is deprecated"),
                pytest.mark.filterwarnings("ignore:unclosed file .*_current_metadata:ResourceWarning")]

#: Just large enough for the digits, so that it compiles soon.
ARRAY = dataclasses.replace(PRESETS["pynq_z2"], lanes=64, banks=2)
#: Cycles without progress that end a simulation; a digit takes a few thousand.
LIMIT = 50_000
#: pynq 4 has left Zynq-7000 behind.
BOARD = board("kv260" if pynq.__version__.startswith("4") else "pynq_z2")
IMAGES = 20


@dataclass
class Bench:
    """A board with the digits on it, and what they must give."""

    model: BoardModel
    device: ModelDevice
    bitfile: Path
    machine: Driver
    image: sl.Image
    spikes: np.ndarray[Any, np.dtype[np.bool_]]
    golden: sl.Result

    def check(self) -> None:
        """Everything that a run returns is what the golden model returns."""
        equal(self.machine.run(self.spikes), self.golden)

    def open(self, bitfile: Path | None = None, **options: Any) -> Driver:
        """The board opened as another program would."""
        settled: dict[str, Any] = {"deadline_s": 0.2, "limit": 1 << 16, "clock_s": 1e-4} | options
        machine = sl.open("pynq", bitfile=bitfile or self.bitfile, wall=self.model.wall, sleep=self.model.sleep, **settled)
        assert isinstance(machine, Driver)
        return machine

    def reload(self) -> None:
        """Open the board again, load the image, and check."""
        self.machine.close()
        self.machine = self.open()
        self.machine.load(self.image)
        self.check()


def equal(result: sl.Result, golden: sl.Result) -> None:
    """Two results are the same."""
    for ours, theirs in ((result.spikes, golden.spikes), (result.states, golden.states), (result.counts, golden.counts)):
        assert ours.keys() == theirs.keys()
        assert ours
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


@dataclass(frozen=True)
class Digits:
    """The digits network, some inputs, and what they must give."""

    image: sl.Image
    spikes: np.ndarray[Any, np.dtype[np.bool_]]
    golden: sl.Result


def digits() -> Digits:
    """The digits network on :data:`ARRAY`."""
    about = settings()
    network = sl.from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])
    image = sl.compile(network, params=ARRAY, weight_bits=8)
    spikes = encode(load_digits()[1].images[:IMAGES], about["steps"])
    with sl.open("golden") as machine:
        machine.load(image)
        return Digits(image, spikes, machine.run(spikes))


@contextmanager
def digits_on_board(folder: Path) -> Iterator[Bench]:
    """A bench whose stand-in for a bitstream lies in ``folder``."""
    known = digits()
    model = BoardModel(BOARD, limit=LIMIT)
    device = ModelDevice(model)
    bitfile = write_standin(folder, BOARD, ARRAY)
    bench = Bench(model, device, bitfile, None, known.image, known.spikes, known.golden)  # type: ignore[arg-type]  # opened next
    bench.machine = bench.open()
    bench.machine.load(bench.image)
    yield bench
    bench.machine.close()
    model.close()
