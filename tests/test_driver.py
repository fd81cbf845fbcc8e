"""The driver's words, on an array that computes nothing: what goes in where, and what comes out when."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import ImageError, InputError, MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import LIMIT, Driver
from spikeloom.host.encode import MARK_TICKS, InputEncoder, ReadPlan, cut, image_words, runs, sample_words
from spikeloom.host.transport import Transport
from spikeloom.image import Image, InputMap, PopulationMap
from spikeloom.machine import Machine
from spikeloom.memories import Memory, memory_specs
from spikeloom.packets import COMMANDS, Command, Fault
from spikeloom.params import ArrayParams
from tests.fake_array import FakeArray, membrane

PARAMS = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=32, block=8, delay_depth=16, destinations=32)


def relay(size: int, depth: int = 0, step: int = 1, params: ArrayParams = PARAMS, seed: int = 0) -> Image:
    """An image whose input i goes to a random axon, in tick ``depth`` of a step, which population ``out`` records. Population
    ``read`` never spikes; its neurons lie in random cores."""
    random = np.random.default_rng(seed)
    axon = random.permutation(params.core_axons)[:size]
    routes = np.zeros((size, 7), np.int64)
    routes[:, 0], routes[:, 1], routes[:, 6] = np.arange(size), depth, axon
    places = np.zeros((size, 4), np.int64)
    places[:, 3] = axon
    neurons = random.permutation(params.cores * params.core_neurons)[:5]
    addresses = memory_specs(params)[Memory.MEMBRANE].addresses().astype(np.int64)
    core, neuron = neurons // params.core_neurons, addresses[neurons % params.core_neurons]
    read = np.stack([core % params.columns, core // params.columns, neuron, np.full(5, -1)], axis=1)
    return Image(params, {(0, 0): {Memory.CONTROL: np.array([1, 8, 1], np.uint64)}}, (InputMap("in", (size,), routes),),
                 (PopulationMap("out", (size,), depth, True, places, np.ones(size)),
                  PopulationMap("read", (5,), depth // 2, False, read, np.ones(5))), step)


def machine(image: Image, limit: int = LIMIT) -> tuple[Driver, FakeArray]:
    """A driver with the image loaded, and the array behind it."""
    array = FakeArray(image.params)
    driver = Driver(array, limit=limit)
    driver.load(image)
    return driver, array


def test_driver_and_fake_have_the_contract_s_shape() -> None:
    driver, array = machine(relay(4))
    assert isinstance(driver, Machine)
    assert isinstance(array, Transport)
    with driver:
        pass
    assert array.closed


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 1 << 30), depth=st.integers(0, 5), step=st.integers(1, 4), samples=st.integers(1, 5),
       steps=st.integers(1, 9), density=st.sampled_from([0.0, 0.05, 0.6]), limit=st.sampled_from([1, 40, 300, LIMIT]),
       lanes=st.sampled_from([1, 2, 4]), potentials=st.sampled_from(["none", "end", "steps"]))
def test_spikes_and_potentials_come_back_in_the_network_s_steps(seed: int, depth: int, step: int, samples: int, steps: int,
                                                                 density: float, limit: int, lanes: int, potentials: str) -> None:
    image = relay(40, depth, step, dataclasses.replace(PARAMS, neurons_per_cycle=lanes), seed)
    driver, array = machine(image, limit=limit)
    spikes = np.random.default_rng(seed).random((samples, steps, 40)) < density
    result = driver.run(spikes, potentials=potentials)  # type: ignore[arg-type]  # hypothesis draws plain strings
    np.testing.assert_array_equal(result.spikes["out"], spikes)
    assert set(result.spikes) == {"out"}
    read = image.population("read")
    core = read.column("y") * image.params.columns + read.column("x")
    wanted = np.stack([membrane(core, read.column("neuron"), s * step + read.depth + 1, image.params.state_bits)
                       for s in range(steps)])
    if potentials == "none":
        assert result.states == {}
    elif potentials == "end":
        np.testing.assert_array_equal(result.states["read"], np.broadcast_to(wanted[-1], (samples, 5)))
    else:
        np.testing.assert_array_equal(result.states["read"], np.broadcast_to(wanted, (samples, steps, 5)))
    words = [np.count_nonzero((packet >> np.uint64(60)) == Command.SPIKES) for packet in array.log]
    assert result.cycles is not None
    assert result.cycles.sum() == 7 * samples * image.ticks(steps) + sum(words)
    if limit == LIMIT:
        assert len(array.log) == 2  # the image, and one packet for the whole batch


def test_one_sample_without_its_axis_comes_back_without_it() -> None:
    driver, _ = machine(relay(6, 1))
    result = driver.run(np.ones((3, 6), bool))
    assert result.spikes["out"].shape == (3, 6)
    assert result.states["read"].shape == (5,)
    assert result.cycles is not None
    assert result.cycles.shape == ()


@pytest.mark.parametrize(("samples", "steps"), [(0, 4), (3, 0), (0, 0)])
def test_empty_runs_send_nothing(samples: int, steps: int) -> None:
    driver, array = machine(relay(6))
    result = driver.run(np.zeros((samples, steps, 6), bool))
    assert result.spikes["out"].shape == (samples, steps, 6)
    assert result.cycles is not None
    assert result.cycles.tolist() == [0] * samples
    assert len(array.log) == 1


def spike_words(image: Image, ticks: list[int], axons: list[int], spikes: np.ndarray) -> dict[str, list[int]]:
    """The SPIKES words of a run in which input i goes to ``axons[i]`` in tick ``ticks[i]`` of a step."""
    routes = image.inputs[0].routes.copy()
    routes[:, 1], routes[:, 6] = ticks, axons
    image = dataclasses.replace(image, inputs=(InputMap("in", image.inputs[0].shape, routes),))
    encoder = InputEncoder(image)
    masks = encoder.masks({"in": spikes}, image.ticks(spikes.shape[1]))
    sent = sample_words(masks, encoder.headers, {}, image.ticks_per_step)
    fields = COMMANDS[Command.SPIKES].unpack(sent[(sent >> np.uint64(60)) == Command.SPIKES])
    return {name: values.tolist() for name, values in fields.items()}


def test_hits_of_one_axon_are_never_merged() -> None:
    words = spike_words(relay(3), [0, 0, 0], [9, 9, 9], np.ones((1, 1, 3), bool))
    assert words["mask"] == [2, 2, 2]
    assert words["block"] == [1, 1, 1]


def test_inputs_of_several_ticks_meet_in_one_word() -> None:
    words = spike_words(relay(2, depth=1), [0, 1], [8, 11], np.array([[[True, True], [True, False]]]))
    assert words["mask"] == [0b0001, 0b1001]


def test_input_after_the_last_tick_is_not_sent() -> None:
    words = spike_words(relay(2), [0, 2], [8, 11], np.ones((2, 4, 2), bool))
    assert words["mask"] == [0b0001, 0b0001, 0b1001, 0b1001] * 2
    assert spike_words(relay(2), [7, 9], [8, 11], np.ones((2, 4, 2), bool))["mask"] == []


def test_words_of_a_tick_ascend() -> None:
    words = spike_words(relay(4), [0] * 4, [40, 3, 17, 2], np.ones((1, 1, 4), bool))
    assert words["block"] == [0, 2, 5]
    assert words["mask"] == [0b1100, 0b10, 0b1]


def test_quiet_ticks_share_a_command_and_long_samples_are_marked() -> None:
    image = relay(4, depth=2)
    driver, array = machine(image)
    steps = 70_000  # beyond 16 bits of tick number
    spikes = np.zeros((2, steps, 4), bool)
    spikes[:, [0, 9, 40_000, 65_535, 65_536, 69_999], 1] = True
    result = driver.run(spikes)
    np.testing.assert_array_equal(result.spikes["out"], spikes)
    sent = array.log[-1]
    ticks = COMMANDS[Command.TICK].unpack(sent[(sent >> np.uint64(60)) == Command.TICK])
    assert len(ticks["count"]) < 2 * (steps // MARK_TICKS + 20)
    assert ticks["count"].sum() == 2 * image.ticks(steps)
    assert ticks["end"].sum() == 2
    assert result.cycles is not None
    assert result.cycles.tolist() == [7 * image.ticks(steps) + 6] * 2


def test_loading_clears_every_memory_and_writes_the_image() -> None:
    image = relay(4)
    random = np.random.default_rng(5)
    specs = memory_specs(PARAMS)
    for core in [(0, 0), (1, 1)]:
        for memory in (Memory.SYNAPSES, Memory.THRESHOLD, Memory.CLASSES):
            entries = random.integers(0, 1 << specs[memory].entry.bits, specs[memory].span, dtype=np.uint64)
            entries[random.random(len(entries)) < 0.5] = 0
            entries[~specs[memory].valid(np.arange(len(entries)))] = 0
            image.memories.setdefault(core, {})[memory] = entries
    array = FakeArray(PARAMS)
    Driver(array, verify=True).load(image)
    assert len(array.log) == 1
    for number in range(PARAMS.cores):
        for spec in specs.values():
            place = (number % PARAMS.columns, number // PARAMS.columns)
            valid = spec.addresses().astype(np.int64)
            np.testing.assert_array_equal(array.memory[number, spec.memory][valid], image.entries(place, spec.memory)[valid])


def test_verification_finds_a_lost_write() -> None:
    image = relay(4)
    array = FakeArray(PARAMS)
    driver = Driver(array, verify=True)
    array.ignored = {Memory.CONTROL}
    with pytest.raises(MachineError, match=r"Core \(0, 0\): CONTROL entry 0 reads back as 0x5a, not 0x1"):
        driver.load(image)
    with pytest.raises(MachineError, match=r"No image is loaded: call load\(image\) before run"):
        driver.run(np.zeros((1, 4), bool))
    array.ignored = set()
    driver.load(image)
    driver.run(np.zeros((1, 4), bool))


def test_an_entry_in_a_hole_of_a_memory_is_refused() -> None:
    params = dataclasses.replace(PARAMS, neurons_per_cycle=1)
    entries = np.zeros(4, np.uint64)
    entries[1] = 1
    image = Image(params, {(0, 1): {Memory.BIAS: entries}}, (), ())
    with pytest.raises(ImageError, match=r"Core \(0, 1\): BIAS has no address 1"):
        image_words(image)


def test_images_of_another_array_are_refused() -> None:
    driver, _ = machine(relay(4))
    with pytest.raises(ImageError, match=r"lanes 32 \(array: 16\)"):
        driver.load(relay(4, params=dataclasses.replace(PARAMS, lanes=32)))


@pytest.mark.parametrize(("name", "value", "message"), [
    ("IDENTITY", 0, "There is no Spikeloom array: IDENTITY reads 0x00000000"),
    ("VERSION", 9, "version 9 of the contract"),
    ("SHAPE", 1 | 1 << 5 | 72 << 10 | 1 << 22, "1 × 1 cores of 72 lanes and 1 folds, the parameters say 2 × 2 of 16 and 1"),
    ("DIGEST", 1, "digest 0x00000001"),
])
def test_a_wrong_array_is_named(name: str, value: int, message: str) -> None:
    array = FakeArray(PARAMS)
    array.registers[name] = value
    with pytest.raises(MachineError, match=message):
        Driver(array)


@pytest.mark.parametrize("fault", list(Fault))
def test_faults_are_named_and_the_machine_stays_usable(fault: Fault) -> None:
    driver, array = machine(relay(4))
    array.fault = fault
    array.registers.pop("CONTROLLED")
    with pytest.raises(MachineError, match=rf"The array reports {fault.name} \(SPIKES\): \w+"):
        driver.run(np.ones((1, 4), bool))
    assert array.registers["CONTROLLED"] == 3
    assert driver.run(np.ones((1, 4), bool)).spikes["out"].all()


def test_input_of_the_wrong_shape_is_refused_before_anything_is_sent() -> None:
    driver, array = machine(relay(4))
    with pytest.raises(InputError, match="shape"):
        driver.run(np.zeros((1, 5), bool))
    with pytest.raises(InputError, match="potentials must be"):
        driver.run(np.zeros((1, 4), bool), potentials="all")  # type: ignore[arg-type]  # that is the test
    assert len(array.log) == 1


def test_reset_and_probe_show_the_state_memories() -> None:
    image = relay(4)
    driver, array = machine(image)
    driver.run(np.zeros((3, 4), bool))
    read = image.population("read")
    core = read.column("y") * PARAMS.columns + read.column("x")
    state = driver.probe("read")
    np.testing.assert_array_equal(state["membrane"], membrane(core, read.column("neuron"), 3, PARAMS.state_bits))
    assert state["refractory"].tolist() == state["current"].tolist() == [0] * 5
    driver.reset()
    assert driver.probe("read")["membrane"].tolist() == [0] * 5
    assert array.registers["CONTROLLED"] == 2  # the counters alone: a reset of the cores would take their CONTROL entries
    with pytest.raises(ImageError, match="no population 'nothing'"):
        driver.probe("nothing")


def test_counters_bear_the_registers_names() -> None:
    driver, array = machine(relay(4))
    array.registers["READS"] = 12
    assert driver.counters()["READS"] == 12
    assert driver.run(np.zeros((1, 4), bool)).stats["READS"] == 12
    array.registers["READS"] = 5  # 32 bits went round
    assert driver.run(np.zeros((1, 4), bool)).stats["READS"] == (5 - 12) % (1 << 32)


class Meddler(FakeArray):
    """Answers runs with words that were tampered with."""

    change = staticmethod(lambda answer: answer)

    def exchange(self, packet: Words) -> Words:
        return self.change(super().exchange(packet))  # type: ignore[no-any-return]  # a lambda of each test


@pytest.mark.parametrize(("change", "message"), [
    (lambda a: a[:-1], "does not end with STATUS"),
    (lambda a: np.concatenate([a[:1] & np.uint64((1 << 60) - 1), a]), "is of no known kind"),
    (lambda a: np.delete(a, -2), "MARK words, not 1"),
    (lambda a: a ^ (np.uint64(1 << 44) * ((a >> np.uint64(60)) == 3)), "lost count of its ticks"),
    (lambda a: a ^ (np.uint64(1 << 50) * ((a >> np.uint64(60)) == 1)), "sent a spike of tick"),
    (lambda a: a ^ (np.uint64(1 << 32) * ((a >> np.uint64(60)) == 6)), "answered an earlier packet"),
    (lambda a: np.concatenate([a[:1], a[-2:-1], a[1:-2], a[-1:]]), "after the last tick's mark"),
])
def test_answers_that_contradict_the_packet_are_refused(change: object, message: str) -> None:
    array = Meddler(PARAMS)
    driver = Driver(array)
    driver.load(relay(4))
    array.change = change  # type: ignore[assignment]  # a lambda
    with pytest.raises(MachineError, match=message):
        driver.run(np.ones((1, 4), bool), potentials="none")


def test_bursts_end_at_gaps_and_at_the_largest_count() -> None:
    addresses = np.concatenate([np.arange(70_000), [70_001, 80_000, 80_001]]).astype(np.uint64)
    starts, counts = runs(addresses)
    assert starts.tolist() == [0, 65_535, 70_000, 70_001]
    assert counts.tolist() == [65_535, 4_465, 1, 2]
    assert [part.tolist() for part in runs(addresses[:0])] == [[], []]


def test_neurons_that_share_an_address_are_read_once() -> None:
    places = np.array([[0, 0, 3, -1], [1, 0, 0, -1], [0, 0, 2, -1], [0, 0, 3, -1]])
    plan = ReadPlan.make(PopulationMap("p", (4,), 0, False, places, np.ones(4)), Memory.MEMBRANE)
    assert (plan.count, plan.position.tolist(), len(plan.words)) == (3, [1, 2, 0, 1], 2)


def test_packets_stay_within_the_limit() -> None:
    read = COMMANDS[Command.READ].pack(opcode=int(Command.READ), count=[5] * 9)
    parts = cut(read, 10, 1)
    assert np.concatenate(parts).tolist() == read.tolist()
    assert max(len(part) for part in parts) <= 3


def test_encoding_a_data_set_takes_seconds() -> None:
    image = relay(784, params=ArrayParams(lanes=2048 // 4, folds=4))
    spikes = np.random.default_rng(1).random((2_000, 20, 784)) < 0.1
    encoder = InputEncoder(image)
    start = time.perf_counter()
    masks = encoder.masks({"in": spikes}, 20)
    words = sample_words(masks, encoder.headers, {19: np.zeros(1, np.uint64)}, 1)
    assert time.perf_counter() - start < 10  # measured 0.3 s: a call of Python per word would take minutes
    sent = words[(words >> np.uint64(60)) == Command.SPIKES]
    masked = np.ascontiguousarray(COMMANDS[Command.SPIKES].unpack(sent)["mask"])
    assert int(np.unpackbits(masked.view(np.uint8)).sum()) == int(spikes.sum())


def test_an_output_beyond_the_host_port_is_refused() -> None:
    image = relay(4)
    image.populations[0].places[2, 3] = 4096
    driver = Driver(FakeArray(PARAMS))
    with pytest.raises(ImageError, match=r"Population 'out': output 4096 is beyond the 64 of the host port"):
        driver.load(image)
