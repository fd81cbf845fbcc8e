"""The driver's memory test on the gateware: every array's memories pass it, and it finds a bit that does not hold."""

from __future__ import annotations

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.memories import Memory, memory_specs
from spikeloom.packets import COMMANDS, Command, Response
from spikeloom.params import ArrayParams
from spikeloom.sim.compiled import CompiledTransport, open_compiled
from tests.arrays import SQUARE, TINY, TWIN


@pytest.mark.parametrize("params", [TINY, SQUARE, TWIN], ids=["tiny", "square", "twin"])
def test_every_memory_but_control_passes(params: ArrayParams) -> None:
    with open_compiled(params, random_start=True, limit=100_000) as machine:
        counts = machine.check_memories()
        specs = memory_specs(params)
        assert counts == {memory.name: len(spec.addresses()) * params.cores for memory, spec in specs.items() if memory != Memory.CONTROL}
        machine.echo(1000)
        with pytest.raises(MachineError, match="No image is loaded"):
            machine.run(np.zeros((1, 1), bool))


class Stuck(CompiledTransport):
    """Bit 2 of every THRESHOLD that is read is 1."""

    def exchange(self, packet: Words) -> Words:
        answer = super().exchange(packet)
        kinds = packet[packet >> np.uint64(60) == Command.READ]
        if np.any(COMMANDS[Command.READ].unpack(kinds)["memory"] == Memory.THRESHOLD):
            answer[answer >> np.uint64(60) == Response.DATA] |= np.uint64(4)
        return answer


def test_a_stuck_bit_is_named_with_its_memory() -> None:
    with Driver(Stuck(TINY, limit=100_000)) as machine, \
            pytest.raises(MachineError, match=r"Core \(0, 0\): THRESHOLD entry \d+ reads back as 0x\w+, not 0x\w+"):
        machine.check_memories()


def test_the_clock_is_measured_by_echoes() -> None:
    transport = CompiledTransport(TINY, limit=100_000)
    with Driver(transport) as machine:
        hz = machine.measure_clock(0.01, lambda: transport.clock / 2e8, lambda seconds: transport.wait(round(seconds * 2e8)))
    assert hz == pytest.approx(2e8, rel=1e-3)
