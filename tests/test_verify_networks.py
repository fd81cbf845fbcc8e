"""Random networks through compiler, golden model, RTL and the integers in steps; and proof that each disagreement is found."""

from __future__ import annotations

import copy
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from spikeloom.errors import CompileError, MachineError
from spikeloom.host import executor
from spikeloom.host.commands.verify import check, joined, spans
from spikeloom.host.compiler.compile import compile
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.sketch import Sketch, build, conv_matrix, convolved, spikes
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.image import Image
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams
from spikeloom.sim import verify_networks as module
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.situations import ALL
from spikeloom.sim.verify_networks import NetworkCase, WrongRefusal, check_network, draw_network, fitting_case, verify_networks
from tests.broken import Broken, flipped

#: Its first array has two cores, folds, two currents and floors.
SEED = 147


def test_random_networks_agree() -> None:
    report = check(("networks", SEED, 0, 10))
    assert report["cases"] == 10
    assert not report["failures"], f"seed {SEED}: {report['failures']}"
    assert report["compared"]["spikes"] > 500
    assert report["compared"]["potentials"] > 500
    assert {"convolution", "sparse", "spikes", "slices"} <= set(report["met"])


def test_more_random_networks_agree_on_the_golden_model() -> None:
    *_, report = verify_networks(75, 1, first=300, build_rtl=False)
    assert report.cases == 75
    assert not report.failures, report.failures
    assert report.redrawn < report.cases, "most networks that are drawn should fit"


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_three_hundred_random_networks_meet_every_situation() -> None:
    parts = executor.map(check, [("networks", 1, first, count) for first, count in spans(300, 0)], jobs=2)
    whole = joined(parts, 1)
    print({name: whole["met"].get(name, 0) for name in sorted(ALL)}, whole["compared"], whole["redrawn"], "redrawn")
    assert whole["cases"] == 300
    assert not whole["failures"], whole["failures"]
    assert not ALL - set(whole["met"]), "never met"
    assert set(whole["met"]) <= ALL


def test_a_network_is_drawn_from_its_number_alone() -> None:
    for number in (0, 1, 24, 25, 999):
        first, second = (fitting_case(*draw_network(5, number)) for _ in range(2))
        assert first.sketch == second.sketch
        assert first.image.digest() == second.image.digest()
    assert draw_network(5, 0)[0] == draw_network(5, 24)[0] != draw_network(5, 25)[0]
    assert draw_network(5, 0)[0] != draw_network(6, 0)[0]


def drawn(wanted: Any) -> NetworkCase:
    """The first of some drawn cases for which ``wanted`` holds."""
    return next(case for number in range(200) if wanted(case := fitting_case(*draw_network(SEED, number))))


def same(first: Sketch, second: Sketch) -> None:
    one, other = build(first), build(second)
    for ours, theirs in zip(one.projections, other.projections, strict=True):
        np.testing.assert_array_equal(ours.weight, theirs.weight)
        np.testing.assert_array_equal(ours.delay, theirs.delay)
    for mine, yours in zip(one.populations, other.populations, strict=True):
        np.testing.assert_array_equal(mine.threshold, yours.threshold)


def test_a_sketch_is_plain_data_that_can_be_edited() -> None:
    sketch = drawn(lambda case: len(case.sketch["projections"]) > 2).sketch
    same(sketch, json.loads(json.dumps(sketch)))
    shorter = copy.deepcopy(sketch)
    gone = shorter["projections"].pop()
    network = build(shorter)
    assert gone["name"] not in [p.name for p in network.projections]
    for projection, before in zip(network.projections, build(sketch).projections, strict=False):
        np.testing.assert_array_equal(projection.weight, before.weight, err_msg="a part changed because another went")


@pytest.mark.parametrize(("shape", "out", "kernel", "stride", "padding", "groups"), [
    ((1, 3, 3), 1, (1, 1), 1, 0, 1), ((2, 5, 4), 3, (3, 2), 1, 1, 1), ((4, 6, 5), 6, (2, 3), 2, 1, 2), ((3, 4, 7), 3, (3, 3), 2, 0, 3)])
def test_a_convolution_is_the_sum_over_its_windows(shape: tuple[int, int, int], out: int, kernel: tuple[int, int], stride: int,
                                                   padding: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    each = shape[0] // groups
    weight, image = rng.normal(size=(out, each, *kernel)), rng.normal(size=shape)
    padded = np.pad(image, ((0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel, axis=(1, 2))[:, ::stride, ::stride]
    expected = np.concatenate([
        np.einsum("cyxij,ocij->oyx", windows[g * each:(g + 1) * each], weight[g * out // groups:(g + 1) * out // groups])
        for g in range(groups)])
    assert expected.shape == (out, *convolved(shape, kernel, stride, padding))
    np.testing.assert_allclose(conv_matrix(shape, weight, stride, padding, groups) @ image.ravel(), expected.ravel())


def lively() -> NetworkCase:
    """A case of integer populations in which something spikes."""
    return drawn(lambda case: all(p.integer for p in case.network.populations)
                 and any(array.any() for array in golden_spikes(case.image, case).values()))


def golden_spikes(image: Image, case: NetworkCase) -> dict[str, Any]:
    """What an image makes of the inputs of a case."""
    machine = GoldenMachine()
    machine.load(image)
    return machine.run(spikes(case.sketch)).spikes


def wrong_bias(case: NetworkCase) -> Image:
    """The image of a case with the bias of a neuron that updates in each step changed by 2."""
    x, y, where, _ = (int(i) for i in case.image.populations[0].places[0])
    return flipped(case.image, Memory.BIAS, where, 1, (x, y))


def test_what_the_compiler_does_wrong_is_found() -> None:
    case = lively()
    text, _, _ = check_network(case, GoldenMachine(), None)
    assert text is None
    text, compared, _ = check_network(replace(case, image=wrong_bias(case)), GoldenMachine(), None)
    assert text is not None
    assert text.startswith("Integers in steps: ")
    assert f"of {case.image.populations[0].name!r}, sample 0, step 0" in text
    assert compared["potentials"] > 0


def test_what_quantisation_does_wrong_to_integers_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compiler and integers in steps agree on a wrong weight, the reference does not."""
    case = drawn(lambda case: all(p.integer for p in case.network.populations) and case.network.projections[0].source == "in"
                 and case.network.projections[0].size and not np.any(case.network.projections[0].delay) and case.sketch["rate"] > 0.1)

    def wrong(network: Network, *rest: Any, **options: Any) -> Any:
        first = network.projections[0]
        return quantise(replace(network, projections=(replace(first, weight=first.weight * 2), *network.projections[1:])), *rest, **options)

    monkeypatch.setattr("spikeloom.host.compiler.compile.quantise", wrong)
    monkeypatch.setattr(module, "quantise", wrong)
    image = compile(case.network, params=module.roomy(case.image.params))
    text, _, _ = check_network(replace(case, image=image), GoldenMachine(), None)
    assert text is not None
    assert text.startswith("Reference: ")


def test_what_the_gateware_does_wrong_is_found() -> None:
    case = lively()
    text, _, _ = check_network(case, GoldenMachine(), Broken(wrong_bias(case)))
    assert text is not None
    assert text.startswith(("Potential of neuron 0", "Spike of neuron 0"))


def test_a_refusal_is_only_right_where_there_is_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(network: Network, *, params: ArrayParams, **options: Any) -> Image:
        if len(network.projections) > 5:
            raise CompileError("six projections are too many")
        return compile(network, params=params, **options)

    monkeypatch.setattr(module, "compile", refuse)
    with pytest.raises(WrongRefusal, match="refuses a network even for a roomy array: six projections are too many"):
        drawn(lambda case: False)
    *_, report = verify_networks(30, SEED, build_rtl=False)
    assert 0 < report.differing < report.cases == 30
    assert all("six projections are too many" in text for _, text in report.failures)
    assert "Sketch: {'seed'" in report.failures[0][1]


def test_arrays_on_which_nothing_fits_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    tight = replace(draw_network(SEED, 0)[0], columns=1, rows=1, lanes=4, neurons_per_cycle=4, folds=1)

    def refuse(network: Network, *, params: ArrayParams, **options: Any) -> Image:
        if params == tight:
            raise CompileError("too small")
        return compile(network, params=params, **options)

    monkeypatch.setattr(module, "compile", refuse)
    with pytest.raises(MachineError, match="None of 40 random networks fits; the last error: too small"):
        fitting_case(tight, np.random.default_rng(0))
