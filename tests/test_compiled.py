"""The compiled simulation as a transport, on a design that returns what it is sent."""

from __future__ import annotations

import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.host.driver import Driver
from spikeloom.host.transport import Transport
from spikeloom.params import preset
from spikeloom.sim.build import cache_directory, for_simulation, verilator_library
from spikeloom.sim.compiled import CompiledTransport
from tests.loopback import EARLY, ENDLESS, HANG, VERILOG, WITHDRAW, expected, packet

PARAMS = preset("tiny")
PAUSES = [0.0, 0.5, (0.9, 0.0), (0.0, 0.9), (0.9, 0.9)]


@pytest.fixture(scope="session")
def library() -> Path:
    """The loopback design, compiled (or found in the user's cache)."""
    return verilator_library(VERILOG)


@pytest.mark.parametrize("pauses", PAUSES)
@pytest.mark.parametrize("words", [1, 2, 3, 1000])
def test_packets_come_back_whole_whatever_the_pauses(library: Path, pauses: float | tuple[float, float], words: int) -> None:
    transport = CompiledTransport(PARAMS, library=library, pauses=pauses, seed=words)
    assert isinstance(transport, Transport)
    for seed in range(5):
        sent = packet(words, seed)
        np.testing.assert_array_equal(transport.exchange(sent), expected(sent))
    transport.close()
    transport.close()


def test_pauses_take_time_and_repeat_from_their_seed(library: Path) -> None:
    def clock(pauses: float | tuple[float, float], seed: int) -> int:
        transport = CompiledTransport(PARAMS, library=library, pauses=pauses, seed=seed)
        before = transport.clock
        transport.exchange(packet(1000))
        return transport.clock - before
    assert clock(0.0, 1) == clock(0.0, 2) == 1002  # a word a cycle, one to pass through, and STATUS
    assert clock(0.5, 1) == clock(0.5, 1)
    assert clock(0.5, 1) != clock(0.5, 2)
    assert 1800 < clock((0.5, 0.0), 1) < 2200
    assert 9000 < clock((0.0, 0.9), 1) < 11000


@pytest.mark.parametrize("pauses", PAUSES)
def test_registers_keep_what_was_written_whatever_the_pauses(library: Path, pauses: float | tuple[float, float]) -> None:
    transport = CompiledTransport(PARAMS, library=library, pauses=pauses, seed=4)
    for address in range(0, 256, 4):
        transport.write_register(address, 0x9E3779B1 * (address + 1) & 0xFFFFFFFF)
    assert [transport.read_register(address) for address in range(0, 256, 4)] \
        == [0x9E3779B1 * (address + 1) & 0xFFFFFFFF for address in range(0, 256, 4)]


def test_an_axi_error_is_reported(library: Path) -> None:
    transport = CompiledTransport(PARAMS, library=library)
    transport.write_register(8, 0xBAD)
    with pytest.raises(MachineError, match=r"Reading register 0x08: the array answered with AXI response 2"):
        transport.read_register(8)


def test_a_hung_array_is_given_up_with_what_was_outstanding(library: Path) -> None:
    transport = CompiledTransport(PARAMS, library=library, limit=1000)
    sent = packet(10)
    sent[4] = HANG
    with pytest.raises(MachineError, match=r"no progress for 1000 cycles: 5 of 10 words were taken, 5 answered, at cycle \d+"):
        transport.exchange(sent)


def test_a_withdrawn_word_is_found(library: Path) -> None:
    sent = packet(10)
    sent[7] = WITHDRAW
    with pytest.raises(MachineError, match="changed a word on m_axis that was not yet taken"):
        CompiledTransport(PARAMS, library=library, pauses=(0.0, 0.9)).exchange(sent)


def test_an_early_end_of_the_answer_is_found(library: Path) -> None:
    sent = packet(10)
    sent[3] = EARLY
    with pytest.raises(MachineError, match="ended its answer before it had the whole packet"):
        CompiledTransport(PARAMS, library=library).exchange(sent)


def test_an_endless_answer_is_cut_off(library: Path) -> None:
    with pytest.raises(MachineError, match="does not end its answer: 1 of 2 words were taken, 16777216 answered"):
        CompiledTransport(PARAMS, library=library).exchange(np.array([ENDLESS, 0], np.uint64))


def test_memories_start_at_random_when_asked(library: Path) -> None:
    def contents(random_start: bool, seed: int) -> list[int]:
        transport = CompiledTransport(PARAMS, library=library, random_start=random_start, seed=seed)
        return [transport.read_register(4 * i) for i in range(64)]
    assert contents(False, 3) == [0] * 64
    assert contents(True, 3) == contents(True, 3)
    assert contents(True, 3) != contents(True, 4)
    assert len(set(contents(True, 3))) == 64


def test_instances_in_threads_do_not_disturb_each_other(library: Path) -> None:
    def work(seed: int) -> int:
        transport = CompiledTransport(PARAMS, library=library, pauses=0.3, seed=seed)
        for turn in range(20):
            sent = packet(500, 100 * seed + turn)
            np.testing.assert_array_equal(transport.exchange(sent), expected(sent))
            transport.write_register(0, seed)
            assert transport.read_register(0) == seed
        return transport.clock
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(work, range(8)))
    assert together == [work(seed) for seed in range(8)]


def test_a_large_packet_takes_one_call(library: Path) -> None:
    transport = CompiledTransport(PARAMS, library=library)
    sent = packet(300_000)
    start = time.perf_counter()
    np.testing.assert_array_equal(transport.exchange(sent), expected(sent))
    assert time.perf_counter() - start < 10  # measured 0.02 s
    before = transport.clock
    transport.wait(77)
    assert transport.clock == before + 77


def test_a_closed_simulation_says_so(library: Path) -> None:
    transport = CompiledTransport(PARAMS, library=library)
    transport.close()
    with pytest.raises(MachineError, match="closed"):
        transport.exchange(packet(1))
    with pytest.raises(MachineError, match="closed"):
        transport.read_register(0)


def test_nonsense_is_refused(library: Path) -> None:
    with pytest.raises(ValueError, match=r"probabilities from 0 to below 1, not 1\.5"):
        CompiledTransport(PARAMS, library=library, pauses=1.5)
    with pytest.raises(ValueError, match="at least one word"):
        CompiledTransport(PARAMS, library=library).exchange(packet(0))


def test_a_design_that_is_not_the_array_is_refused_by_the_driver(library: Path) -> None:
    with pytest.raises(MachineError, match="There is no Spikeloom array"):
        Driver(CompiledTransport(PARAMS, library=library))


def test_a_broken_design_shows_verilator_s_words(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"(?s)verilator failed with code \d+:.*syntax error"):
        verilator_library("module spikeloom(; endmodule\n", tmp_path)
    assert not list(tmp_path.glob("verilator-*.so"))
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_processes_that_build_at_once_share_one_library(tmp_path: Path) -> None:
    text = VERILOG.replace("32'hBAD", "32'hBADBAD")
    with ProcessPoolExecutor(2) as pool:
        first, second = pool.map(verilator_library, [text, text], [tmp_path, tmp_path])
    assert first == second
    assert len(list(tmp_path.glob("*.so"))) == 1
    written = first.stat().st_mtime_ns
    assert verilator_library(text, tmp_path).stat().st_mtime_ns == written


def test_the_cache_lies_where_the_environment_says() -> None:
    assert cache_directory({"SPIKELOOM_CACHE": "/a", "XDG_CACHE_HOME": "/b"}) == Path("/a")
    assert cache_directory({"XDG_CACHE_HOME": "/b"}) == Path("/b/spikeloom")
    assert cache_directory({}) == Path.home() / ".cache" / "spikeloom"


def test_only_memories_of_zeros_start_at_random() -> None:
    kept = "  initial begin\n    rom[0] = 8'h00;\n    rom[1] = 8'h03;\n  end\n  reg a = 1'h0;\n"
    zeros = "  initial begin\n    \\a.mem [0] = 36'h000000000;\n    \\a.mem [1] = 36'hxxxxxxxxx;\n  end\n"
    text = for_simulation(kept + zeros + kept)
    assert text.startswith(kept)
    assert text.endswith(kept)
    assert "if (random != 0) \\a.mem [i] = {$random(seed), $random(seed)};" in text
    assert "i <= 1;" in text


def test_constant_bits_are_set_once() -> None:
    text = for_simulation("  always @*\n    a[3:2] = 2'h2;\n  always @*\n    b[1] = c ;\n")
    assert text == "  initial\n    a[3:2] = 2'h2;\n  always @*\n    b[1] = c ;\n"


def test_signals_without_bits_are_dropped() -> None:
    assert for_simulation("  wire [-1:0] none;\n  wire [1:0] two;\n  reg [-1:0] \\no.ne ;\n") == "  wire [1:0] two;\n"
