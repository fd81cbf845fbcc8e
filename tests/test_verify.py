"""Golden model against RTL on random cases, and proof that the comparison finds what is wrong."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.machine import Result
from spikeloom.memories import Memory, memory_specs
from spikeloom.sim.compiled import open_compiled
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.stimulus import random_case
from spikeloom.sim.verify import check_case, count_differences, draw, first_difference, verify
from tests.arrays import SQUARE, everything, sound_case
from tests.broken import Broken, flipped
from tests.images import Neuron, lone

#: 60 cases of the ordinary run share three random arrays.
SEED = 2026


def run(arguments: tuple[int, int]) -> dict[str, Any]:
    """Verify ``(first, cases)``; for a process of its own."""
    first, cases = arguments
    *_, report = verify(cases, SEED, first)
    return report.plain()


@pytest.mark.parametrize("first", [0, 25, 50])
def test_random_cases_agree(first: int) -> None:
    report = run((first, 20))
    assert report["cases"] == 20
    assert report["differing"] == 0, f"seed {SEED}: {report['failures']}"
    assert report["compared"]["spikes"] > 500
    assert report["compared"]["potentials"] > 500


def test_a_case_is_drawn_from_its_number_alone() -> None:
    for number in (0, 1, 24, 25, 999):
        first, second = draw(5, number), draw(5, number)
        assert first[0] == second[0]
        cases = [random_case(params, rng) for params, rng in (first, second)]
        assert cases[0].image.digest() == cases[1].image.digest()
        assert cases[0].potentials == cases[1].potentials
        for name, array in cases[0].inputs.items():
            np.testing.assert_array_equal(array, cases[1].inputs[name])
    digests = {random_case(*draw(5, number)).image.digest() for number in range(30)}
    assert len(digests) == 30
    assert draw(5, 0)[0] == draw(5, 24)[0] != draw(5, 25)[0]
    assert draw(5, 0)[0] != draw(6, 0)[0]


def test_a_wrong_bit_of_an_image_is_found_on_rtl_and_named() -> None:
    """Axon 0 adds 5 to neuron 1; with bit 0 of its cell wrong it adds 4, from tick 3 on."""
    image = lone(SQUARE, [[0, 5]], [Neuron(theta=100), Neuron(beta=1 << SQUARE.gain_bits, theta=100)])
    spikes = np.zeros((2, 6, 1), bool)
    spikes[1, 3] = True
    case = replace(sound_case(SQUARE, 1), image=image, inputs={"in": spikes}, potentials="steps")
    with open_compiled(SQUARE, limit=100_000) as rtl:
        assert check_case(case, rtl, GoldenMachine())[0] is None
        wrong = flipped(image, Memory.SYNAPSES, 0, SQUARE.weight_bits)  # cell 1 of the first chunk
        text, compared = check_case(case, rtl, Broken(wrong))
    assert text == ("Potential of neuron 1 of 'core_0_0' (core (0, 0), address 1), sample 1, step 3 (tick 3): 4 against 5")
    assert compared == {"spikes": 24, "potentials": 24, "ticks": 12}


def test_a_wrong_bit_of_any_memory_is_found_or_without_effect() -> None:
    """Whatever differs in what the golden model returns is reported; most bits that a run uses make a difference."""
    found = 0
    for seed in range(12):
        case = sound_case(SQUARE, 200 + seed, spikes=5)
        case = replace(case, potentials="steps")
        for memory in (Memory.THRESHOLD, Memory.BIAS, Memory.NEURON_CLASS):
            wrong = flipped(case.image, memory, 0, memory_specs(SQUARE)[memory].entry.bits - 1)
            try:
                text, _ = check_case(case, Broken(wrong), GoldenMachine())
            except MachineError:
                continue
            golden, broken = GoldenMachine(), Broken(wrong)
            results: list[Result] = []
            errors: list[tuple[str | None, str]] = []
            for machine in (golden, broken):
                machine.load(case.image)
                try:
                    results.append(machine.run(case.inputs, **everything(case.image)))
                except MachineError as error:
                    errors.append((text, f"RTL: {error}"))  # the wrong image overflows
            assert all(reported == raised for reported, raised in errors)
            if len(results) == 2 and count_differences(results[0], results[1]) != (0, 0):
                assert text is not None
                assert " against " in text
                found += 1
    assert found > 5


def results() -> tuple[Result, Result]:
    """Two equal results with a spike train each."""
    case = sound_case(SQUARE, 303, spikes=5)
    golden = GoldenMachine()
    golden.load(case.image)
    first, second = (golden.run(case.inputs, **everything(case.image)) for _ in range(2))
    return first, second


def test_patched_results_are_found_at_their_first_difference() -> None:
    first, second = results()
    assert first_difference(first, second) is None
    assert count_differences(first, second) == (0, 0)
    name, spikes = next((name, spikes) for name, spikes in second.spikes.items() if spikes.shape[1] > 2)
    population = first.image.population(name)
    last = spikes.shape[2] - 1
    spikes[0, 2, last] ^= True
    second.states[name][0, 1, 0] += 3
    assert count_differences(first, second) == (1, 1)
    difference = first_difference(first, second)
    assert difference is not None
    assert difference.what == "Potential"
    assert (difference.sample, difference.step, difference.neuron) == (0, 1, 0)
    assert difference.values == (int(first.states[name][0, 1, 0]), int(first.states[name][0, 1, 0]) + 3)
    second.states[name][0, 1, 0] -= 3
    difference = first_difference(first, second)
    assert difference is not None
    x, y, address, _ = population.places[last].tolist()
    tick = 2 * first.image.ticks_per_step + population.depth
    fired = int(first.spikes[name][0, 2, last])
    assert str(difference) == (f"Spike of neuron {last} of '{name}' (core ({x}, {y}), address {address}), sample 0, step 2 "
                               f"(tick {tick}): {fired} against {1 - fired}")


def test_results_of_other_shapes_cannot_be_compared() -> None:
    first, second = results()
    name = next(iter(first.spikes))
    second.spikes[name] = second.spikes[name][:, :0]
    with pytest.raises(MachineError, match=r"The runs cannot be compared: spikes of .* differ in shape"):
        first_difference(first, second)
