"""The whole array on two simulators: equal to the golden model and to each other, silent when nothing happens, and its tick's cost."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pytest

from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.host.encode import clear_words
from spikeloom.host.estimates.cycle_latencies import EMPTY, READ, READ_ENTRY
from spikeloom.host.port import RESET_ARRAY
from spikeloom.image import Image
from spikeloom.memories import Control, Memory, memory_specs
from spikeloom.packets import Command, Response
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS
from spikeloom.sim.compiled import CompiledTransport, open_compiled
from spikeloom.sim.cosim import open_cocotb
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import check_case, first_difference
from tests.arrays import SQUARE, TINY, TWIN, answers, everything, packet, sound_case, word
from tests.images import Neuron, lone

#: Cycles of the boundary between two busy ticks: what this gateware takes. A change for the better is welcome, and goes here.
BOUNDARY = 1

icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="Icarus Verilog (iverilog) is not installed")


def calm(image: Image) -> Image:
    """The image with biases of 0 and thresholds above 0: without input it never spikes."""
    field = memory_specs(image.params)[Memory.THRESHOLD].entry
    memories = {core: dict(parts) for core, parts in image.memories.items()}
    for parts in memories.values():
        threshold = field.unpack(parts[Memory.THRESHOLD])["value"]
        parts[Memory.THRESHOLD] = field.pack(value=np.maximum(threshold, 1))
        parts[Memory.BIAS] = np.zeros_like(parts[Memory.BIAS])
    return replace(image, memories=memories)


def test_the_image_outlives_a_reset() -> None:
    spikes = 0
    with open_compiled(SQUARE) as machine:
        for seed in range(4):
            case = sound_case(SQUARE, 1000 + seed)
            machine.load(case.image)
            before = machine.run(case.inputs, **everything(case.image))
            machine.reset()
            after = machine.run(case.inputs, **everything(case.image))
            for found, expected in ((after.spikes, before.spikes), (after.states, before.states)):
                for name, values in expected.items():
                    np.testing.assert_array_equal(found[name], values, f"seed {1000 + seed}")
            spikes += sum(int(values.sum()) for values in before.spikes.values())
    assert spikes > 0


def test_without_events_no_synapse_is_read() -> None:
    """The claim of an event-driven array, in the RTL's own counters."""
    read = 0
    with open_compiled(SQUARE, random_start=True, seed=3) as machine:
        for seed in range(12):
            case = sound_case(SQUARE, 1000 + seed)
            image = calm(case.image)
            machine.load(image)
            silent = machine.run({name: np.zeros((2, 20, array.shape[2]), bool) for name, array in case.inputs.items()},
                                 **everything(image))
            assert silent.stats["READS"] == silent.stats["ACTIVE"] == 0, f"seed {1000 + seed}"
            assert silent.stats["TICKS"] == 2 * image.ticks(20)
            assert not any(array.any() for array in (*silent.spikes.values(), *silent.states.values()))
            read += machine.run(case.inputs).stats["READS"]
    assert read > 0, "no image read anything when it had events: the images were empty"


def test_neurons_of_two_currents_follow_the_golden_model() -> None:
    met: set[int] = set()
    with open_compiled(TWIN, pauses=(0.1, 0.3), random_start=True, seed=4) as machine:
        for seed in range(12):
            case = sound_case(TWIN, 500 + seed)
            text, _ = check_case(case, machine, GoldenMachine())
            assert text is None, f"seed {500 + seed}: {text}"
            met |= {int(case.image.entries(core, Memory.CONTROL)[Control.CURRENTS]) for core in case.image.memories}
    assert met == {0, 1, 2}


@icarus
@pytest.mark.parametrize("params", [TINY, SQUARE], ids=["one core", "2 × 2"])
def test_cocotb_and_compiled_rtl_agree_to_the_cycle(params: ArrayParams) -> None:
    case = sound_case(params, 21, spikes=3)
    golden = GoldenMachine()
    golden.load(case.image)
    expected = golden.run(case.inputs, **everything(case.image))
    results = []
    for machine in (open_compiled(params), open_cocotb(params)):
        with machine:
            machine.load(case.image)
            results.append(machine.run(case.inputs, **everything(case.image)))
    compiled, cocotb = results
    assert first_difference(expected, compiled) is None
    assert first_difference(compiled, cocotb) is None
    np.testing.assert_array_equal(compiled.cycles, cocotb.cycles)
    assert compiled.stats == cocotb.stats
    assert compiled.cycles is not None
    assert np.all(compiled.cycles > 0)


@icarus
def test_cocotb_with_pauses_and_a_random_start_agrees_with_the_golden_model() -> None:
    with open_cocotb(SQUARE, pauses=(0.3, 0.5), seed=9, random_start=True, limit=200_000) as machine:
        for seed in (31, 32):
            case = sound_case(SQUARE, seed, spikes=3)
            golden = GoldenMachine()
            golden.load(case.image)
            machine.load(case.image)
            expected, found = (each.run(case.inputs, **everything(case.image)) for each in (golden, machine))
            assert first_difference(expected, found) is None, f"seed {seed}"
        assert machine.counters()["STALLS"] > 0, "the host never paused while a word waited"


def cycles_of(transport: CompiledTransport, *parts: Words) -> int:
    """Cycles from before these commands to the end of a tick after them, by the array's own clock."""
    found = answers(transport.exchange(packet(word(Command.RESET), word(Command.ECHO), *parts, word(Command.TICK, count=1, mark=1))))
    (echo,), (mark,) = ([fields["cycles"] for kind, fields in found if kind == which] for which in (Response.ECHO, Response.MARK))
    return mark - echo


@pytest.mark.parametrize("params", [TINY, SQUARE], ids=["one core", "2 × 2"])
def test_an_empty_tick_costs_two_cycles_whatever_the_mesh(params: ArrayParams) -> None:
    """Cores without neurons in use. The two: the host port's pulse reaches the cores through a register, and quiet comes back through
    another."""
    with Driver(CompiledTransport(params, limit=100_000)) as driver:
        transport = blank(driver)
        first = cycles_of(transport)
        for ticks in (2, 10, 1000):
            assert cycles_of(transport, word(Command.TICK, count=ticks)) - first == EMPTY * ticks


@pytest.mark.parametrize(("params", "hops"), [(TINY, 0), (SQUARE, 2)], ids=["one core", "2 × 2"])
def test_a_busy_tick_costs_its_axons_and_a_boundary(params: ArrayParams, hops: int) -> None:
    """Every word of the host holds four axons for each of two banks, in every core: an axon a bank a cycle, without a gap, and
    once a tick one more, for its words were sent ahead. A single word, four cycles of axons, is not enough to hide the hops."""
    with Driver(CompiledTransport(params, limit=100_000)) as driver:
        transport = blank(driver)
        whole = {"mask": (1 << params.block) - 1, "x1": params.columns - 1, "y1": params.rows - 1}
        axons = params.block // params.banks
        for words in range(1, 9):
            tick = packet(*[word(Command.SPIKES, block=i % 4, **whole) for i in range(words)], word(Command.TICK, count=1))
            spent = [cycles_of(transport, *[tick] * ticks) for ticks in (11, 51)]
            late = max(0, hops + 4 - axons) if words == 1 else 0
            assert spent[1] - spent[0] == 40 * (words * axons + BOUNDARY + late), f"{words} words"


@pytest.mark.parametrize(("params", "hops"), [(TINY, 0), (SQUARE, 2)], ids=["one core", "2 × 2"])
def test_a_read_costs_a_cycle_an_entry(params: ArrayParams, hops: int) -> None:
    """Of the farthest core, and of every memory but the synapses, whose entries come through the adders."""
    place = {"x0": params.columns - 1, "y0": params.rows - 1}
    with Driver(CompiledTransport(params, limit=100_000)) as driver:
        transport = blank(driver)
        nothing = cycles_of(transport)
        for memory in sorted(set(memory_specs(params)) - {Memory.SYNAPSES}):
            for count in (1, 2, 100):
                spent = cycles_of(transport, word(Command.READ, memory=int(memory), count=count, **place)) - nothing
                assert spent == READ + 2 * hops + READ_ENTRY * count, f"{memory.name}, {count} entries"


@pytest.mark.parametrize("banks", [1, 4, 8])
def test_a_reset_forgets_sums_that_have_not_come_to_the_lanes(banks: int) -> None:
    """The more banks, the longer the way through the adders."""
    params = ArrayParams(lanes=8, banks=banks, words=32, block=8)
    with Driver(CompiledTransport(params, limit=100_000)) as driver:
        transport = blank(driver)
        driver.load(lone(params, [[5]], [Neuron(beta=1 << params.gain_bits, bias=3, spiking=0)]))
        read = word(Command.READ, memory=int(Memory.MEMBRANE), address=0, count=1)
        for spikes in range(1, 5):
            sent = packet(*[word(Command.SPIKES, mask=1)] * spikes, word(Command.RESET), word(Command.TICK, count=1), read)
            assert [fields["data"] for kind, fields in answers(transport.exchange(sent)) if kind == Response.DATA] == [3], spikes


def blank(driver: Driver) -> CompiledTransport:
    """The driver's array with every memory cleared."""
    transport = driver._transport
    assert isinstance(transport, CompiledTransport)
    transport.write_register(ADDRESS["CONTROL"], RESET_ARRAY)
    transport.exchange(clear_words(driver.params))
    return transport
