"""The host port on simulated RTL: what is illegal is answered, changes nothing else, and leaves the array usable."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.host.port import CLEAR_COUNTERS, RESET_ARRAY
from spikeloom.memories import Control, Memory, class_records, controls, memory_specs
from spikeloom.packets import COMMANDS, Command, Fault, Response
from spikeloom.registers import ADDRESS, IDENTITY, REGISTERS
from spikeloom.sim.compiled import CompiledTransport
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import first_difference
from tests.arrays import SQUARE, TWIN, answers, everything, packet, sound_case, word
from tests.images import Neuron, Send, lone

SPECS = memory_specs(SQUARE)
ONE = 1 << SQUARE.gain_bits
EVERYWHERE = {"x1": 1, "y1": 1}
DATA = np.arange(1, 4, dtype=np.uint64)


@pytest.fixture(scope="module")
def transport() -> Iterator[CompiledTransport]:
    """A 2 × 2 array whose memories start at random, with pauses on its ports."""
    array = CompiledTransport(SQUARE, pauses=0.2, seed=5, random_start=True, limit=100_000)
    yield array
    array.close()


@pytest.fixture(autouse=True)
def fresh(transport: CompiledTransport) -> None:
    """Faults and counters of another test are none of this one's business."""
    transport.write_register(ADDRESS["CONTROL"], RESET_ARRAY | CLEAR_COUNTERS)
    assert transport.read_register(ADDRESS["FAULTS"]) == 0


def assert_usable(transport: CompiledTransport, seed: int) -> None:
    """A random image runs as on the golden model."""
    case = sound_case(SQUARE, seed)
    golden, driver = GoldenMachine(), Driver(transport)
    for machine in (golden, driver):
        machine.load(case.image)
    expected, found = (machine.run(case.inputs, **everything(case.image)) for machine in (golden, driver))
    assert first_difference(expected, found) is None


def access(command: Command, memory: int, address: int, count: int, **target: int) -> Words:
    return word(command, memory=memory, address=address, count=count, **target)


WRITE, READ, SPIKES, TICK = Command.WRITE, Command.READ, Command.SPIKES, Command.TICK
BIAS = int(Memory.BIAS)
TOP = SPECS[Memory.BIAS].span

#: What is sent, the faults that it raises, and how many DATA words of zero answer it.
ILLEGAL: dict[str, tuple[Words, set[Fault], int]] = {
    **{f"opcode {code}": (word(code), {Fault.OPCODE}, 0) for code in range(7, 16)},
    "an opcode between commands": (packet(word(Command.NOP), word(9), word(Command.ECHO)), {Fault.OPCODE}, 0),
    "spikes east of the mesh": (word(SPIKES, mask=1, x0=1, x1=2), {Fault.TARGET}, 0),
    "spikes south of the mesh": (word(SPIKES, mask=1, y0=2, y1=2), {Fault.TARGET}, 0),
    "spikes to x0 > x1": (word(SPIKES, mask=1, x0=1, x1=0), {Fault.TARGET}, 0),
    "spikes to y0 > y1": (word(SPIKES, mask=1, y0=1, y1=0), {Fault.TARGET}, 0),
    "spikes to block 8 of 8": (word(SPIKES, mask=1, block=8), {Fault.BLOCK}, 0),
    "spikes to the last block number": (word(SPIKES, mask=1, block=4095), {Fault.BLOCK}, 0),
    "spikes beyond the block": (word(SPIKES, mask=1 << 8), {Fault.BLOCK}, 0),
    "a tick of no ticks": (word(TICK, count=0, end=1, mark=1), {Fault.COUNT}, 0),
    "a period beyond the phases": (word(TICK, count=1, period=SQUARE.phases), {Fault.COUNT}, 0),
    "a write outside": (packet(access(WRITE, BIAS, 0, 3, x0=2, x1=2), DATA), {Fault.TARGET}, 0),
    "a write to an empty rectangle": (packet(access(WRITE, BIAS, 0, 3, x0=1, x1=0), DATA), {Fault.TARGET}, 0),
    "a write of nothing outside": (access(WRITE, BIAS, 0, 0, y0=3, y1=3), {Fault.TARGET}, 0),
    "a write beyond a memory": (packet(access(WRITE, BIAS, TOP, 3, **EVERYWHERE), DATA), {Fault.ADDRESS}, 0),
    "a write to the last address": (packet(access(WRITE, BIAS, (1 << 20) - 3, 3), DATA), {Fault.ADDRESS}, 0),
    **{f"a write to memory {code}": (packet(access(WRITE, code, 0, 3), DATA), {Fault.ADDRESS}, 0)
       for code in sorted(set(range(16)) - set(SPECS))},
    "a write whose header ends the packet": (access(WRITE, BIAS, 0, 3), {Fault.TRUNCATED}, 0),
    "a write that lacks a word": (packet(access(WRITE, BIAS, 0, 4), DATA), {Fault.TRUNCATED}, 0),
    "a write outside that lacks a word": (packet(access(WRITE, BIAS, 0, 4, x0=3, x1=3), DATA), {Fault.TARGET, Fault.TRUNCATED}, 0),
    "a read outside": (access(READ, BIAS, 0, 5, x0=2), {Fault.TARGET}, 5),
    "a read of nothing outside": (access(READ, BIAS, 0, 0, y0=2), {Fault.TARGET}, 0),
    "a read beyond a memory": (access(READ, BIAS, TOP, 5), {Fault.ADDRESS}, 5),
    "a read beyond every memory": (access(READ, BIAS, 1 << 19, 5, x0=1, y0=1), {Fault.ADDRESS}, 5),
    **{f"a read of memory {code}": (access(READ, code, 0, 5), {Fault.ADDRESS}, 5) for code in sorted(set(range(16)) - set(SPECS))},
}


@pytest.mark.parametrize("name", ILLEGAL)
def test_an_illegal_command_is_answered_and_does_nothing_else(transport: CompiledTransport, name: str) -> None:
    sent, faults, zeros = ILLEGAL[name]
    before = snapshot(transport)
    found = answers(transport.exchange(sent))
    errors = [fields for kind, fields in found if kind == Response.ERROR]
    assert {fields["fault"] for fields in errors} == set(faults)
    code = next(int(value) >> 60 for value in sent if int(value) >> 60 not in (Command.NOP, Command.ECHO))
    assert {fields["command"] for fields in errors} == {code}
    assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [0] * zeros
    bits = sum(1 << fault for fault in faults)
    assert found[-1][0] == Response.STATUS
    assert found[-1][1]["faults"] == bits
    assert [kind for kind, _ in found].count(Response.STATUS) == 1
    # Sticky until cleared, and cleared without a reset.
    assert answers(transport.exchange(word(Command.NOP)))[-1][1]["faults"] == bits
    assert transport.read_register(ADDRESS["FAULTS"]) == bits
    transport.write_register(ADDRESS["CONTROL"], CLEAR_COUNTERS)
    assert transport.read_register(ADDRESS["FAULTS"]) == 0
    if Fault.TRUNCATED not in faults:  # what came of a truncated write is written
        assert snapshot(transport) == before
    assert_usable(transport, len(name))


def snapshot(transport: CompiledTransport) -> list[int]:
    """All biases and potentials, and the tick number."""
    words = [access(READ, memory, 0, SPECS[memory].span, x0=x, y0=y) for memory in (Memory.BIAS, Memory.MEMBRANE)
             for x in range(2) for y in range(2)]
    found = answers(transport.exchange(packet(*words)))
    return [fields["data"] for kind, fields in found if kind == Response.DATA] + [found[-1][1]["tick"]]


def test_what_came_of_a_truncated_write_is_written(transport: CompiledTransport) -> None:
    transport.exchange(packet(access(WRITE, BIAS, 0, 8), np.zeros(8, np.uint64)))
    transport.exchange(packet(access(WRITE, BIAS, 0, 8), DATA))
    found = answers(transport.exchange(access(READ, BIAS, 0, 8)))
    assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [1, 2, 3, 0, 0, 0, 0, 0]


def test_an_access_across_the_end_of_a_memory_does_its_legal_part(transport: CompiledTransport) -> None:
    transport.exchange(packet(access(WRITE, BIAS, TOP - 2, 2), np.array([7, 8], np.uint64)))
    found = answers(transport.exchange(access(READ, BIAS, TOP - 2, 4)))
    assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [7, 8, 0, 0]
    assert found[-1][1]["faults"] == 1 << Fault.ADDRESS
    found = answers(transport.exchange(packet(access(WRITE, BIAS, TOP - 1, 3), DATA, access(READ, BIAS, TOP - 2, 2))))
    assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [7, 1]


@pytest.mark.parametrize("code", list(Command))
def test_tlast_may_stand_on_any_command(transport: CompiledTransport, code: Command) -> None:
    """Also on a NOP alone, which is how a host says nothing: one STATUS answers."""
    fields = {"count": 1} if code == Command.TICK else {}
    found = answers(transport.exchange(word(code, **fields)))
    expected = [Response.ECHO, Response.STATUS] if code == Command.ECHO else [Response.STATUS]
    assert [kind for kind, _ in found] == expected
    assert found[-1][1]["faults"] == 0
    assert found[-1][1]["tick"] == (1 if code == Command.TICK else 0)


def test_many_faults_of_one_packet_are_all_named(transport: CompiledTransport) -> None:
    parts = [sent for sent, faults, _ in ILLEGAL.values() if Fault.TRUNCATED not in faults]
    found = answers(transport.exchange(packet(*parts, access(WRITE, BIAS, 0, 9))))
    named = {fields["fault"] for kind, fields in found if kind == Response.ERROR}
    wanted = set().union(*(faults for _, faults, _ in ILLEGAL.values()))
    assert named == wanted == {Fault.OPCODE, Fault.TARGET, Fault.BLOCK, Fault.ADDRESS, Fault.TRUNCATED, Fault.COUNT}
    assert found[-1][1]["faults"] == sum(1 << fault for fault in wanted)
    assert_usable(transport, 77)


def test_more_delayed_packets_than_fit_are_a_fault(transport: CompiledTransport) -> None:
    """A slot holds exactly ``delay_depth`` packets."""
    driver = Driver(transport)
    for packets in (SQUARE.delay_depth, SQUARE.delay_depth + 1):
        sends = [Send(0, 8 * (i % 4) + 2 * (i // 8), 3) for i in range(packets)]
        weights = np.zeros((32, 2), np.int64)
        weights[0, 0], weights[2:, 1] = 1, 1
        image = lone(SQUARE, weights, [Neuron(), Neuron(beta=ONE, spiking=0)], 1, sends)
        spikes = np.zeros((6, 32), bool)
        spikes[0, 0] = True
        driver.load(image)
        if packets > SQUARE.delay_depth:
            with pytest.raises(MachineError, match="DELAY"):
                driver.run(spikes)
        else:
            golden = GoldenMachine()
            golden.load(image)
            assert first_difference(golden.run(spikes, **everything(image)), driver.run(spikes, **everything(image))) is None
    assert_usable(transport, 78)


def test_a_current_beyond_its_width_is_a_fault(transport: CompiledTransport) -> None:
    """The last that fits passes."""
    driver = Driver(transport)
    for weight, shift, fits in ((-8, 20, True), (7, 20, True), (-8, 21, False), (4, 21, False), (3, 21, True)):
        driver.load(lone(SQUARE, [[weight]], [Neuron(shift=shift, spiking=0)]))
        if fits:
            state = driver.run(np.ones((1, 1)), potentials="end", record=["core_0_0"]).states["core_0_0"]
            assert state.tolist() == [weight << shift]
        else:
            with pytest.raises(MachineError, match="CURRENT"):
                driver.run(np.ones((1, 1)))
    assert_usable(transport, 79)


def test_every_memory_reads_back_what_was_written(transport: CompiledTransport) -> None:
    check_memories(transport)
    assert_usable(transport, 80)


def test_memories_of_two_currents_read_back_too() -> None:
    array = CompiledTransport(TWIN, pauses=0.2, seed=6, random_start=True, limit=100_000)
    check_memories(array)
    array.close()


def check_memories(transport: CompiledTransport) -> None:
    rng = np.random.default_rng(8)
    params = transport.params
    specs = memory_specs(params)
    written = {}
    words = []
    for memory, spec in specs.items():
        for x, y in np.ndindex(2, 2):
            data = rng.integers(0, 1 << spec.entry.bits, spec.span, dtype=np.uint64)
            if memory == Memory.CONTROL:
                values = {Control.SLICES: 2, Control.GROUPS: 1 + x, Control.FOLDS: y, Control.CURRENTS: 1 + x}
                data = np.array([values[control] for control in controls(params)], np.uint64)
            if memory == Memory.CLASSES:  # the words of a class are shorter than an entry
                parts = spec.address.unpack(np.arange(spec.span))["part"]
                bits = np.array([record.bits for record in class_records(params)] + [0])[np.minimum(parts, len(class_records(params)))]
                data &= (np.uint64(1) << bits.astype(np.uint64)) - np.uint64(1)
            written[memory, x, y] = data
            for address in spec.addresses().tolist():
                words.append(packet(access(WRITE, memory, address, 1, x0=x, x1=x, y0=y, y1=y), data[address:address + 1]))
    assert answers(transport.exchange(packet(*words)))[-1][1]["faults"] == 0
    for (memory, x, y), data in written.items():
        spec = specs[memory]
        wanted = np.zeros(spec.span, np.int64)
        there = spec.addresses().astype(int)
        wanted[there] = data[there]
        if memory == Memory.SYNAPSES:  # lanes beyond the last do not exist and show 0
            cells = SQUARE.lanes - spec.address.unpack(np.arange(spec.span))["chunk"] * SQUARE.chunk_lanes
            wanted &= (1 << (np.minimum(cells, SQUARE.chunk_lanes) * SQUARE.weight_bits)) - 1
        for burst in (1, 5, spec.span):  # alone, in pieces, and an entry a cycle from end to end
            words = [access(READ, memory, address, min(burst, spec.span - address), x0=x, y0=y) for address in range(0, spec.span, burst)]
            found = [fields["data"] for kind, fields in answers(transport.exchange(packet(*words))) if kind == Response.DATA]
            np.testing.assert_array_equal(found, wanted, err_msg=f"{memory.name} of core ({x}, {y}), {burst} at a time")


def test_a_burst_to_a_rectangle_writes_each_of_its_cores(transport: CompiledTransport) -> None:
    data = np.arange(100, 100 + TOP, dtype=np.uint64)
    transport.exchange(packet(access(WRITE, BIAS, 0, TOP, **EVERYWHERE), np.zeros(TOP, np.uint64),
                              access(WRITE, BIAS, 0, TOP, x0=1, x1=1, y1=1), data))
    for x, y in np.ndindex(2, 2):
        found = answers(transport.exchange(access(READ, BIAS, 0, TOP, x0=x, y0=y)))
        assert [fields["data"] for kind, fields in found if kind == Response.DATA] == (data.tolist() if x else [0] * TOP)


def test_registers_answer_as_the_contract_lists_them(transport: CompiledTransport) -> None:
    assert transport.read_register(ADDRESS["IDENTITY"]) == IDENTITY
    beyond = 4 * len(REGISTERS)
    for address in (beyond, 252, 2):
        with pytest.raises(MachineError, match=rf"Reading register 0x{address:02x}: the array answered with AXI response 2"):
            transport.read_register(address)
    for register in REGISTERS:
        if register.access == "ro":
            with pytest.raises(MachineError, match=rf"Writing register 0x{register.address:02x}: the array answered with AXI resp"):
                transport.write_register(register.address, 0)
    with pytest.raises(MachineError, match="AXI response 2"):
        transport.write_register(beyond, 3)
    assert transport.read_register(ADDRESS["CONTROL"]) == 0  # its bits clear themselves
    assert transport.read_register(ADDRESS["STATUS"]) == 0


def test_counters_count_and_are_cleared(transport: CompiledTransport) -> None:
    transport.exchange(packet(word(SPIKES, mask=0b11), word(SPIKES, mask=1, block=2), word(TICK, count=5)))
    assert transport.read_register(ADDRESS["TICKS"]) == 5
    assert transport.read_register(ADDRESS["EVENTS"]) == 2
    assert transport.read_register(ADDRESS["READS"]) == 3  # an axon without a list reads its word, whatever stands there
    assert 2 <= transport.read_register(ADDRESS["ACTIVE"]) <= 3
    cycles = transport.read_register(ADDRESS["CYCLES"])
    assert cycles > 5
    assert transport.read_register(ADDRESS["CYCLES"]) == cycles  # the port is idle, and reading registers is no work
    transport.write_register(ADDRESS["CONTROL"], CLEAR_COUNTERS)
    for name in ("CYCLES", "TICKS", "ACTIVE", "READS", "EVENTS", "SPIKES", "STALLS"):
        assert transport.read_register(ADDRESS[name]) == 0


def test_reset_forgets_axons_of_the_running_tick_and_the_sample(transport: CompiledTransport) -> None:
    driver = Driver(transport)
    driver.load(lone(SQUARE, [[5]], [Neuron(beta=ONE, bias=3, spiking=0)]))
    spike = word(SPIKES, mask=1)
    read = access(READ, Memory.MEMBRANE, 0, 1)
    for before in (packet(spike), packet(spike, word(TICK, count=1), spike), packet(word(TICK, count=3))):
        found = answers(transport.exchange(packet(before, word(Command.RESET), word(TICK, count=1), read)))
        assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [3]
        assert found[-1][1]["tick"] == 1
    found = answers(transport.exchange(packet(spike, spike, word(TICK, count=1), read)))
    assert [fields["data"] for kind, fields in found if kind == Response.DATA] == [3 + 3 + 10]


def test_echo_comes_after_everything_before_it(transport: CompiledTransport) -> None:
    echo = COMMANDS[Command.ECHO]
    high = echo.fields[1].high
    found = answers(transport.exchange(packet(word(Command.ECHO, payload=high), word(TICK, count=4, mark=1),
                                              word(Command.ECHO, payload=1))))
    assert [kind for kind, _ in found] == [Response.ECHO, Response.MARK, Response.ECHO, Response.STATUS]
    assert [fields["payload"] for kind, fields in found if kind == Response.ECHO] == [high, 1]
    cycles = [fields["cycles"] for _, fields in found[:3]]
    assert cycles[0] < cycles[1] <= cycles[2]
    assert found[1][1]["tick"] == 3
