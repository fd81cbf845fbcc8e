"""The compiled engine gives what the golden model gives, bit for bit: spikes, potentials, states, counts and errors."""

from __future__ import annotations

import ctypes
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import InputError, MachineError
from spikeloom.fields import bits_for
from spikeloom.host.digits import encode, example_file, load_digits, settings
from spikeloom.image import Image
from spikeloom.params import ArrayParams
from spikeloom.sim import engine_synapses
from spikeloom.sim.build import native_library
from spikeloom.sim.engine import EngineMachine, engine_library
from spikeloom.sim.engine_layout import Layout
from spikeloom.sim.engine_tables import tables
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.stimulus import random_case
from spikeloom.sim.verify import CASES_PER_ARRAY, compare_engine, draw, first_difference
from tests.arrays import SQUARE, TINY, everything, sound_case
from tests.images import Neuron, Send, lone

SEED = 2027
FORMS = ("steady", "general", "lanes")


def as_drawn(params: ArrayParams) -> ArrayParams:
    """What the other tests run too."""
    return params


def narrow(params: ArrayParams) -> ArrayParams:
    """Accumulators so small that they may overflow, and often do."""
    return replace(params, accumulator_bits=params.weight_bits + bits_for(params.banks) + 1)


def tame(params: ArrayParams) -> ArrayParams:
    """States in which nothing is likely to overflow, and ticks without phases."""
    return replace(params, state_bits=29, phases=1)


def differences(count: int, seed: int, change: Any, threads: int) -> tuple[list[str], Counter[str]]:
    """What differs between the golden model and the engine in random cases, and how often each form and an overflow was met."""
    engine, met, found = EngineMachine(threads=threads), Counter[str](), []
    for number in range(count):
        params, rng = draw(seed, CASES_PER_ARRAY * number)  # each of an array of its own
        case = random_case(change(params), rng)
        golden = GoldenMachine()
        text = compare_engine(case, golden, engine)
        met[engine.form] += 1
        met["overflows"] += not golden.counters()["TICKS"]
        if text is not None:
            found.append(f"case {number} of seed {seed}: {text}")
    return found, met


@pytest.mark.parametrize(("change", "forms"), [(as_drawn, {"general"}), (narrow, {"lanes", "general"}), (tame, {"steady"})])
@pytest.mark.parametrize("threads", [1, 3])
def test_random_images_run_as_on_the_golden_model(change: Any, forms: set[str], threads: int) -> None:
    found, met = differences(35, SEED + threads, change, threads)
    assert not found, found[:3]
    assert all(met[form] >= 5 for form in forms), met
    assert met["overflows"] or change is tame


@pytest.mark.slow
@pytest.mark.parametrize("change", [as_drawn, narrow, tame])
def test_many_random_images_run_as_on_the_golden_model(change: Any) -> None:
    found, met = differences(300, SEED + 100, change, 2)
    assert not found, found[:3]
    print(dict(met))


@pytest.fixture(scope="module")
def digits() -> tuple[Image, Any]:
    """The example's image for the throughput preset, and spikes of 30 digits."""
    about = settings()
    network = sl.from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])
    return sl.compile(network, board="pynq_z2"), encode(load_digits()[1].images[:30], about["steps"])


@pytest.mark.parametrize("potentials", ["none", "end", "steps"])
def test_the_digits_run_as_on_the_golden_model(digits: tuple[Image, Any], potentials: Any) -> None:
    image, spikes = digits
    results = []
    for kind, options in (("golden", {}), ("engine", {"threads": 2}), ("engine", {"threads": 1})):
        with sl.open(kind, **options) as machine:
            machine.load(image)
            results.append(machine.run(spikes, potentials=potentials))
            assert machine.params == image.params
    assert results[1].image.digest() == image.digest()
    for result in results[1:]:
        assert first_difference(results[0], result) is None
        assert list(result.states) == list(results[0].states)
        assert result.stats == results[0].stats
        assert result.cycles is None
    assert sum(counts.sum() for counts in results[0].counts.values()) > 1000


def test_compiled_images_take_the_fast_form(digits: tuple[Image, Any]) -> None:
    machine = EngineMachine()
    assert machine.form == "none"
    machine.load(digits[0])
    assert machine.form == "steady"


def test_one_sample_comes_back_without_the_samples_axis(digits: tuple[Image, Any]) -> None:
    image, spikes = digits
    golden, engine = GoldenMachine(), EngineMachine()
    for machine in (golden, engine):
        machine.load(image)
    names = [population.name for population in image.populations]
    for part in (spikes[0], spikes[:1], spikes[:0], spikes[:2, :0], spikes[0, :0]):
        first, second = (machine.run(part, potentials="steps", record=names) for machine in (golden, engine))
        for ours, theirs in ((first.spikes, second.spikes), (first.states, second.states)):
            assert {name: array.shape for name, array in ours.items()} == {name: array.shape for name, array in theirs.items()}
            for name, array in ours.items():
                np.testing.assert_array_equal(array, theirs[name])
        assert first.stats == second.stats
    assert golden.counters() == engine.counters()


def test_counters_go_on_and_a_reset_forgets_the_state_alone() -> None:
    case = sound_case(SQUARE, 4, spikes=20)
    golden, engine = GoldenMachine(), EngineMachine()
    for machine in (golden, engine):
        machine.load(case.image)
        for _ in range(2):
            machine.run(case.inputs, **everything(case.image))
    assert golden.counters() == engine.counters()
    assert golden.counters()["TICKS"] > 0
    name = case.image.populations[0].name
    engine.reset()
    assert all(not state.any() for state in engine.probe(name).values())
    assert golden.counters() == engine.counters()


def test_weights_too_large_for_a_row_are_added_from_a_list() -> None:
    """Weights of 16 bits to many neurons at once, more than 16-bit sums could take."""
    params = replace(TINY, lanes=64, weight_bits=16, accumulator_bits=26, state_bits=32)
    weights = np.random.default_rng(5).integers(-(1 << 15), 1 << 15, (40, 64))
    weights[:20, :32] = np.random.default_rng(6).integers(-40, 40, (20, 32))
    image = lone(params, weights.tolist(), [Neuron(alpha=3000, beta=4000, theta=90_000, subtract=1, reset=50_000)] * 64)
    spikes = np.random.default_rng(7).random((3, 20, 40)) < 0.5
    results = [run_all(machine, image, spikes) for machine in (GoldenMachine(), EngineMachine())]
    assert first_difference(*results) is None
    assert results[0].spikes["core_0_0"].sum() > 100


def run_all(machine: Any, image: Image, spikes: Any) -> sl.Result:
    """A run that reads everything."""
    machine.load(image)
    result: sl.Result = machine.run(spikes, **everything(image))
    return result


def test_rows_are_added_up_beyond_sixteen_bits() -> None:
    """As many of the largest weights as there are axons, all positive: 16-bit sums are carried over many times."""
    params = replace(TINY, lanes=64, words=512, weight_bits=12, accumulator_bits=28, state_bits=29)
    image = lone(params, [[2000] * 64] * 1000, [Neuron(theta=1_500_000, beta=0)] * 64)
    spikes = np.ones((1, 3, 1000), bool)
    engine = EngineMachine()
    results = [run_all(machine, image, spikes) for machine in (GoldenMachine(), engine)]
    assert engine.form == "steady"
    assert first_difference(*results) is None
    assert results[1].spikes["core_0_0"].all()


@pytest.mark.parametrize("sign", [(1, -1), (1, 1), (-1, -1), (-1, 1), (0, -1), (1, 0), (0, 0)])  # 0: weights of both signs
def test_currents_of_one_sign_decay_as_all_others(sign: tuple[int, int]) -> None:
    """Gains from 0 to almost 1 on both sides of a half, states that fill 29 bits."""
    rng = np.random.default_rng(SEED)
    params = replace(TINY, lanes=128, weight_bits=12, accumulator_bits=20, state_bits=29, gain_bits=16, currents=2, classes=32)
    weights = [which * np.abs(values) if which else values for which, values in zip(sign, rng.integers(-60, 61, (2, 24, 64)), strict=True)]
    gains = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xC0DE, 0xFFFE, 0xFFFF]
    ends = np.array([-(1 << 28), -(1 << 16) - 1, -(1 << 16), -1, 0, 1, (1 << 16) - 1, (1 << 28) - 1])
    neurons = [Neuron(alpha=gains[i % 8], second=gains[-1 - i % 8], beta=gains[(i + i // 8 % 3) % 8], bias=int(ends[i // 8]) // 40,
                      theta=int(ends[7 - i // 8] // 2 + rng.integers(2000)), reset=int(rng.choice(ends)), refractory=2 * (i % 2))
               for i in range(64)]
    image = lone(params, weights[0], neurons, second=weights[1])
    engine = EngineMachine()
    spikes = rng.random((3, 60, 24)) < 0.3
    results = [run_all(machine, image, spikes) for machine in (GoldenMachine(), engine)]
    assert engine.form == "steady"
    assert first_difference(*results) is None
    assert results[0].spikes["core_0_0"].sum() > 100
    signs = tables(image, ArrayModel(image))[0]["run_signs"]
    assert signs.any() == (sign == (1, -1))


def test_axons_that_many_bundles_share_are_bundles_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_synapses, "_FEW", -1)
    monkeypatch.setattr(engine_synapses, "_REPEATED", 0)
    found, _ = differences(30, SEED, as_drawn, 1)
    assert not found, found[:3]


def test_a_neuron_that_nothing_reaches_keeps_its_place() -> None:
    """One at rest, one whose bias moves it, one whose threshold of 0 makes it spike, and one with synapses."""
    quiet = Neuron(theta=5, beta=4096)
    neurons = [quiet, replace(quiet, bias=3), replace(quiet, theta=0, reset=-2), replace(quiet, refractory=2)]
    image = lone(TINY, [[0, 0, 0, 3], [0, 0, 0, 0]], neurons, sends=[Send(1, 1)])
    results = [run_all(machine, image, np.ones((1, 6, 2), bool)) for machine in (GoldenMachine(), EngineMachine())]
    assert first_difference(*results) is None
    assert (results[1].counts["core_0_0"][0] > 0).tolist() == [False, True, True, True]


def test_what_is_wrong_is_said_as_the_golden_model_says_it(digits: tuple[Image, Any]) -> None:
    image, spikes = digits
    small = sl.open("engine", board="small")
    with pytest.raises(sl.ImageError, match="compiled for another array"):
        small.load(image)
    machines = GoldenMachine(), EngineMachine()
    for machine in machines:
        for verb in (lambda m: m.run(spikes), lambda m: m.probe("x"), lambda m: m.reset()):
            with pytest.raises(MachineError, match="No image is loaded"):
                verb(machine)
        machine.load(image)
    for wrong in ({"spikes": spikes[:, :, 1:]}, {"spikes": spikes, "potentials": "all"}, {"spikes": spikes, "record": ["nobody"]},
                  {"spikes": {"other": spikes}}, {"spikes": spikes.astype(int) + 1}):
        said = []
        for machine in machines:
            with pytest.raises((InputError, sl.ImageError)) as caught:
                machine.run(**wrong)
            said.append((type(caught.value), str(caught.value)))
        assert said[0] == said[1]


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_a_wrong_number_of_threads_is_refused(threads: Any) -> None:
    with pytest.raises(MachineError, match="threads must be a positive number"):
        sl.open("engine", threads=threads)


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(sl.SpikeloomError, match=r"g\+\+ was not found: install a C\+\+ compiler"):
        EngineMachine(cache=tmp_path / "cache")


def test_what_does_not_compile_is_shown(tmp_path: Path) -> None:
    source = tmp_path / "wrong.cpp"
    source.write_text("int main() { return nothing; }")
    with pytest.raises(MachineError, match=r"(?s)failed with code 1.*nothing"):
        native_library([source], "", tmp_path / "cache")


def test_the_engine_is_compiled_once_and_again_for_other_sources(tmp_path: Path) -> None:
    assert engine_library() == engine_library()
    source, included = tmp_path / "small.cpp", tmp_path / "small.h"
    source.write_text("#include \"small.h\"\nextern \"C\" int answer() { return ANSWER; }")
    libraries = []
    for answer in (1, 1, 2):
        included.write_text(f"#define ANSWER {answer}")
        libraries.append(native_library([source, included], "", tmp_path))
    assert libraries[0] == libraries[1] != libraries[2]
    assert [ctypes.CDLL(str(library)).answer() for library in libraries] == [1, 1, 2]


def test_python_goes_on_while_the_engine_runs(digits: tuple[Image, Any]) -> None:
    """A thread that waits in the engine does not hold the interpreter: another one counts meanwhile."""
    image, spikes = digits
    machine = EngineMachine(threads=1)
    machine.load(image)
    long = np.repeat(spikes, 100, axis=0)
    ended, count = threading.Event(), 0

    def work() -> None:
        machine.run(long)
        ended.set()

    thread = threading.Thread(target=work)
    thread.start()
    while not ended.wait(0.001):
        count += 1
    thread.join()
    assert count > 3


def test_a_structure_is_laid_out_as_it_is_declared() -> None:
    layout = Layout("Pair", {"number": "int64", "factor": "float64", "list": "int16[]"})
    assert layout.declaration() == "struct Pair {\n    int64_t number;\n    double factor;\n    int16_t* list;\n};\n"
    cells, kept = layout.filled({"number": -3, "factor": 0.5, "list": [1, 2]})
    assert cells[0] == -3
    assert cells.view(np.float64)[1] == 0.5
    assert kept[0].dtype == np.int16
    assert cells[2] == kept[0].ctypes.data
