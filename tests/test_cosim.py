"""The cocotb simulation as a transport, on a design that returns what it is sent."""

from __future__ import annotations

import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.host.transport import Transport
from spikeloom.params import preset
from spikeloom.sim.cosim import CocotbTransport
from tests.loopback import HANG, VERILOG, expected, packet

PARAMS = preset("tiny")
pytestmark = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog (iverilog) is not installed")


def opened(pauses: float | tuple[float, float] = 0.0, limit: int = 100_000,
           module: str = "spikeloom.sim.cosim_server") -> CocotbTransport:
    """A transport to the loopback design."""
    return CocotbTransport(PARAMS, verilog=VERILOG, pauses=pauses, seed=7, limit=limit, module=module)


@pytest.mark.parametrize("pauses", [0.0, 0.5, (0.8, 0.0), (0.0, 0.8)])
def test_packets_and_registers_pass_whatever_the_pauses(pauses: float | tuple[float, float]) -> None:
    transport = opened(pauses)
    assert isinstance(transport, Transport)
    for words in (1, 2, 50):
        sent = packet(words, words)
        before = transport.clock
        np.testing.assert_array_equal(transport.exchange(sent), expected(sent))
        assert transport.clock > before
        transport.write_register(4 * words, 0xFEDCBA98 - words)
        assert transport.read_register(4 * words) == 0xFEDCBA98 - words
    transport.close()
    transport.close()


def test_a_hung_array_is_given_up_and_its_registers_still_answer() -> None:
    transport = opened(limit=500)
    sent = packet(6)
    sent[2] = HANG
    with pytest.raises(MachineError, match="did not complete its answer to 6 words within 500 cycles; not all"):
        transport.exchange(sent)
    transport.write_register(4, 9)
    assert transport.read_register(4) == 9
    transport.close()


def test_an_axi_error_is_reported() -> None:
    transport = opened()
    transport.write_register(8, 0xBAD)
    with pytest.raises(MachineError, match="Reading register 0x08: the array answered with AXI response 2"):
        transport.read_register(8)
    transport.close()


def test_a_simulator_that_dies_does_not_hang_its_caller() -> None:
    transport = opened()
    assert transport._process is not None
    start = time.monotonic()
    os.killpg(transport._process.pid, signal.SIGKILL)
    with pytest.raises(MachineError, match="The simulator ended during exchange: it left no results"):
        transport.exchange(packet(3))
    assert time.monotonic() - start < 10
    transport.close()
    with pytest.raises(MachineError, match="The simulation is closed"):
        transport.exchange(packet(3))


def test_a_run_without_tests_is_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MachineError, match=r"(?s)before it connected: it left no results.*No tests were discovered"):
        opened(module="spikeloom.sim.cosim_run")
    monkeypatch.setenv("COCOTB_TEST_FILTER", "nothing")
    with pytest.raises(MachineError, match="before it connected: it matched no test"):
        opened()


def test_memories_start_at_random_when_asked() -> None:
    def contents(random_start: bool, seed: int) -> list[int]:
        transport = CocotbTransport(PARAMS, verilog=VERILOG, seed=seed, random_start=random_start)
        try:
            return [transport.read_register(4 * i) for i in range(64)]
        finally:
            transport.close()
    assert contents(False, 3) == [0] * 64
    first = contents(True, 3)
    assert contents(True, 3) == first
    assert len(set(first)) == 64
    assert contents(True, 4) != first


def test_a_failing_test_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "spikeloom_broken_bench.py").write_text(
        "import cocotb\n@cocotb.test()\nasync def broken(dut):\n    raise ValueError('broken on purpose')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MachineError, match=r"(?s)before it connected: 1 of 1 tests failed.*broken on purpose"):
        opened(module="spikeloom_broken_bench")


def test_a_broken_design_shows_the_compiler_s_words(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"(?s)iverilog failed with code \d+:.*syntax error"):
        CocotbTransport(PARAMS, verilog="module spikeloom(; endmodule\n", cache=tmp_path)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="simulator must be 'icarus', not 'questa'"):
        CocotbTransport(PARAMS, verilog=VERILOG, simulator="questa")
    with pytest.raises(ValueError, match="probabilities"):
        CocotbTransport(PARAMS, verilog=VERILOG, pauses=-0.1)
