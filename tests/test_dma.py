"""The board's transport over the board's model, without pynq: transfers by the DMA's registers, double-buffered, and their failures.

With the real pynq package above it: tests/pynq.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from spikeloom.errors import MachineError
from spikeloom.host.boards import board
from spikeloom.host.dma import DmaTransport
from spikeloom.host.driver import Driver
from spikeloom.host.encode import echo_words
from spikeloom.packets import RESPONSES, Response
from spikeloom.sim.board_model import BoardModel
from spikeloom.sim.dma_model import Injected, IntcModel
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import first_difference
from tests.arrays import SQUARE, everything, sound_case

BOARD = board("pynq_z2")


class Buffer(np.ndarray[Any, np.dtype[np.uint64]]):
    """What pynq's buffers do: the host's copy, and one in DDR."""

    model: BoardModel
    physical_address: int

    def flush(self) -> None:
        self.model.bytes(self.physical_address, self.nbytes)[:] = self.view(np.ndarray).view(np.uint8)

    def invalidate(self) -> None:
        self.view(np.ndarray).view(np.uint8)[:] = self.model.bytes(self.physical_address, self.nbytes)


class Block:
    """Registers of one of the PL's blocks."""

    def __init__(self, model: BoardModel, address: int) -> None:
        self.model, self.address = model, address

    def read(self, offset: int) -> int:
        return self.model.read(self.address + offset)

    def write(self, offset: int, value: int) -> None:
        self.model.write(self.address + offset, value)


def transport(model: BoardModel, **options: Any) -> DmaTransport:
    def allocate(words: int) -> npt.NDArray[np.uint64]:
        buffer = np.zeros(words, np.uint64).view(Buffer)
        buffer.model, buffer.physical_address = model, model.allocate(words * 8)
        return buffer

    system = model.board.system
    return DmaTransport(Block(model, system.array.address), Block(model, system.dma.address), allocate, SQUARE,
                        **{"deadline_s": 0.05, "limit": 2_000} | options)


@pytest.fixture(scope="module")
def model() -> Iterator[BoardModel]:
    made = BoardModel(BOARD, limit=50_000)
    made.configure(SQUARE)
    yield made
    made.close()


def test_runs_and_streams_over_the_dma_give_the_golden_result(model: BoardModel) -> None:
    case = sound_case(SQUARE, 4000)
    inputs = {name: np.repeat(array, 6, axis=0) for name, array in case.inputs.items()}
    with GoldenMachine() as golden, Driver(transport(model), verify=True, limit=2_000) as machine:
        for each in (golden, machine):
            each.load(case.image)
        expected = golden.run(inputs, **everything(case.image))
        before = machine.run(inputs, **everything(case.image))
        assert first_difference(expected, before) is None
        machine.probe(case.image.populations[0].name)
        machine.echo(20)
        with machine.stream(potentials="none") as stream:
            stream.submit({name: array[0] for name, array in case.inputs.items()})
            found = stream.finish()
        for name, spikes in expected.spikes.items():
            np.testing.assert_array_equal(found.spikes[name], spikes[0])
        after = machine.run(inputs, **everything(case.image))
        assert first_difference(expected, after) is None
        for name in ("TICKS", "EVENTS", "READS", "SPIKES"):
            assert after.stats[name] == before.stats[name], "what ran between is not counted"


def payloads(answer: npt.NDArray[np.uint64]) -> list[int]:
    fields: list[int] = RESPONSES[Response.ECHO].unpack(answer[:-1])["payload"].tolist()
    return fields


def test_a_second_packet_waits_in_its_own_buffer_and_a_third_is_refused(model: BoardModel) -> None:
    link = transport(model)
    for first in range(3):
        model.accesses.clear()
        link.submit(echo_words(first))
        link.submit(np.concatenate([echo_words(100 + first), echo_words(200 + first)]))
        starts = [access for access in model.accesses if access == ("write", "dma", 0x28)]
        assert len(starts) == 1, "the second is not started before the first has been answered"
        with pytest.raises(ValueError, match="2 packets are outstanding already"):
            link.submit(echo_words(5))
        assert payloads(link.collect()) == [first]
        assert payloads(link.collect()) == [100 + first, 200 + first]
    model.accesses.clear()
    link.exchange(echo_words(1))
    assert [access for access in model.accesses if access != ("read", "dma", 0x34)] == [
        ("write", "dma", 0x58), ("write", "dma", 0x28), ("read", "dma", 0x58)], "the pair of the last packet, whose addresses are set"
    link.close()
    with pytest.raises(MachineError, match="The board is closed"):
        link.submit(echo_words(1))


@pytest.mark.parametrize("fault", [fault for fault in Injected if fault not in (Injected.DEAD, Injected.TRUNCATED_SEND)],
                         ids=lambda fault: fault.name)
def test_after_a_failure_nothing_is_outstanding_and_the_next_packet_is_answered(model: BoardModel, fault: Injected) -> None:
    link = transport(model)
    link.submit(np.concatenate([echo_words(1)] * 8))
    link.submit(echo_words(2))
    model.fault = fault
    with pytest.raises(MachineError):
        link.collect()
    assert model.fault is None
    assert payloads(link.exchange(echo_words(3))) == [3]
    link.close()


def test_abandoned_packets_leave_nothing_behind(model: BoardModel) -> None:
    link = transport(model)
    link.submit(echo_words(1))
    link.submit(echo_words(2))
    link.abandon()
    assert payloads(link.exchange(echo_words(3))) == [3]
    link.close()


def test_what_changes_in_a_buffer_under_way_is_sent(model: BoardModel) -> None:
    """The model takes a packet when the processor next looks: a driver that used one buffer for two packets would be found."""
    link = transport(model)
    link.submit(echo_words(1))
    pair = link._pairs[link._last]
    pair.send[:1] = echo_words(9)
    pair.send.flush()
    assert payloads(link.collect()) == [9]
    link.close()


def test_interrupts_replace_polls(model: BoardModel) -> None:
    waits: list[float] = []
    link = transport(model, interrupt=waits.append)
    intc = Block(model, model.board.system.intc.address)
    intc.write(IntcModel.MASTER, 3)
    intc.write(IntcModel.SET, 2)
    link.submit(echo_words(1))
    assert model.interrupt, "the DMA has received"
    assert intc.read(IntcModel.PENDING) == 2
    assert payloads(link.collect()) == [1]
    intc.write(IntcModel.ACKNOWLEDGE, 2)
    assert not model.interrupt, "its status was cleared"
    assert len(waits) == 1
    link.close()


def test_limits_are_told(model: BoardModel) -> None:
    with pytest.raises(MachineError, match=r"limit must be 1 to \d+ words, not 0"):
        transport(model, limit=0)
    with pytest.raises(MachineError, match=r"no \d+ bytes of contiguous memory left"):
        transport(model, limit=8_000_000)
    link = transport(model)
    with pytest.raises(ValueError, match="at least one word"):
        link.submit(np.zeros(0, np.uint64))
    with pytest.raises(MachineError, match="does not fit one DMA transfer"):
        link.submit(np.zeros(1 << 23, np.uint64))
    link.close()
