"""Where things are put: fewest cores, equal work, short ways; what is reported of it, and what is said of what does not fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from spikeloom.errors import CompileError
from spikeloom.host.boards import boards
from spikeloom.host.compiler.arrange import arrange, distances
from spikeloom.host.compiler.compile import compile
from spikeloom.host.compiler.mesh_map import mesh_text
from spikeloom.host.compiler.report import CompileReport
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from spikeloom.image import Image
from spikeloom.params import PRESETS, ArrayParams
from spikeloom.sim.golden import GoldenMachine
from tests.compile_cases import DIRECT, FOLDED, layers
from tests.nmnist import network as nmnist

MAPS = ArrayParams(columns=2, rows=2, lanes=32, folds=16, banks=2, words=128, axons=256, entries=256, block=16, weight_bits=8,
                   destinations=512, accumulator_bits=16, delays=8)


def convolutions(size: int, channels: int = 8) -> Network:
    """Two 3 × 3 convolutions of random integer kernels on ``size`` × ``size`` positions, 1 > channels > channels."""
    rng = np.random.default_rng(size)
    shapes = {"in": (1, size, size), "a": (channels, size, size), "b": (channels, size, size)}
    projections = []
    for source, target in (("in", "a"), ("a", "b")):
        kernel = rng.integers(1, 100, (channels, shapes[source][0], 3, 3))
        o, c, i, j, y, x = (axis.ravel() for axis in np.indices((*kernel.shape, size, size)))
        row, column = y + i - 1, x + j - 1
        inside = (row >= 0) & (row < size) & (column >= 0) & (column < size)
        projections.append(Projection(
            name=f"to {target}", source=source, target=target, pre=((c * size + row) * size + column)[inside],
            post=((o * size + y) * size + x)[inside], weight=kernel[o, c, i, j][inside], delay=np.array(0)))
    populations = tuple(Population(name=name, shape=shapes[name], integer=True, threshold=200) for name in "ab")
    return Network(inputs={"in": shapes["in"]}, populations=populations, projections=tuple(projections), outputs=("b",))


def check(image: Image, network: Network) -> None:
    """Every spike of the network's output on random input is the reference's."""
    spikes = np.random.default_rng(1).random((6, network.size("in"))) < 0.3
    expected = reference(network, spikes, state_bits=image.params.state_bits)
    machine = GoldenMachine(image.params)
    machine.load(image)
    output = network.outputs[0]
    assert expected.spikes[output].any()
    np.testing.assert_array_equal(machine.run(spikes).spikes[output], expected.spikes[output])


def updates(image: Image) -> list[int]:
    """Cycles that each core's update takes."""
    return [core["updates"] for core in image.report["cores"]]


def test_maps_share_the_work_among_the_fewest_cores() -> None:
    """50 patches of 4 positions need two cores of 32 folds: both take 25 or so, and each has a half of both maps."""
    network = convolutions(10)
    wide = dataclasses.replace(MAPS, axons=1024, entries=1024, words=256, destinations=1024, folds=32)
    image = compile(network, params=wide, record="outputs")
    assert image.report["array"]["cores"][0] == 2
    assert max(updates(image)) <= 1.2 * min(updates(image))
    assert all(set(core["populations"]) == {"a", "b"} for core in image.report["cores"])
    check(image, network)


def test_speed_spreads_over_all_cores_and_changes_no_spike() -> None:
    network = convolutions(8)
    wide = dataclasses.replace(MAPS, axons=1024, entries=1024, words=256, destinations=1024, folds=32)
    images = [compile(network, params=wide, objective=objective) for objective in ("cores", "speed")]  # type: ignore[arg-type]
    for image in images:
        check(image, network)
    assert [image.report["array"]["cores"][0] for image in images] == [1, 4]
    assert max(updates(images[1])) * 3 < max(updates(images[0]))


def test_speed_cuts_dense_layers_evenly_too() -> None:
    """Every core has a share of both layers, so that spikes of either come from all cores at once."""
    network = layers(12, 16, 8)
    params = dataclasses.replace(DIRECT, columns=2, rows=2)
    images = [compile(network, params=params, objective=objective) for objective in ("cores", "speed")]  # type: ignore[arg-type]
    check(images[1], network)
    shares = [core["populations"] for core in images[1].report["cores"]]
    assert len(shares) == 4
    assert all(share == shares[0] and len(share) == 2 for share in shares)
    assert len(images[0].report["cores"]) < 4


def test_input_axons_that_share_words_share_a_bank() -> None:
    """Patches of 3 × 3: inputs numbered in turn would need the words of shifted patches in both banks."""
    params = dataclasses.replace(MAPS, columns=1, rows=1, lanes=36, axons=1024, entries=2048, words=256, destinations=1024)
    for size in (9, 12):
        image = compile(convolutions(size, channels=4), params=dataclasses.replace(params, folds=32), record="outputs")
        assert image.report["array"]["words"][0] <= 5 * 5 + 5 * 5 * 4  # offsets of a patch's inputs, times channels


def test_swaps_shorten_the_ways() -> None:
    """A ring of cores, numbered at random, is laid so that neighbours lie side by side."""
    params = ArrayParams(columns=4, rows=4)
    order = np.random.default_rng(4).permutation(16)
    flow = np.zeros((17, 17), np.int64)
    flow[order, np.roll(order, -1)] = 10
    place = np.append(arrange(flow, params), 16)
    hops = distances(params)
    before, after = int((flow * hops[:16 + 1, :17]).sum()), int((flow * hops[np.ix_(place, place)]).sum())
    assert sorted(place[:16].tolist()) == list(range(16))
    assert after <= 0.65 * before
    assert after == int((flow * hops[np.ix_(np.append(arrange(flow, params), 16), place)]).sum())


def test_few_cores_lie_together_at_the_host() -> None:
    image = compile(layers(4, 60), params=dataclasses.replace(DIRECT, columns=8, rows=8, lanes=16))
    assert {tuple(core["core"]) for core in image.report["cores"]} == {(0, 0), (1, 0), (0, 1), (1, 1)}


def test_the_map_tells_what_lies_where(tmp_path: Path) -> None:
    image = compile(layers(3, 20, 13, 6), params=FOLDED)
    text = mesh_text(image.report)
    assert "(0, 0)" in text
    assert "p0 20, p1 13, p2 6" in text
    assert text in str(CompileReport(image.report))
    picture = tmp_path / "map.png"
    CompileReport(image.report).save_map(picture)
    assert picture.stat().st_size > 5000


def test_a_board_offers_the_first_of_its_arrays_that_fits() -> None:
    arrays = boards()["pynq_z2"].arrays
    image = compile(layers(3, 20, 13), board="pynq_z2")
    assert (image.params, image.report["array_name"], image.report["passed_over"]) == (PRESETS[arrays[0]], arrays[0], {})
    image = compile(layers(3, 700, 13), board="pynq_z2", record="outputs")
    assert (image.params, image.report["array_name"]) == (PRESETS[arrays[1]], arrays[1])
    assert list(image.report["passed_over"]) == [arrays[0]]
    assert f"Array {arrays[0]} was passed over: The network needs 5 cores" in str(CompileReport(image.report))


def test_what_does_not_fit_is_told_where_it_would() -> None:
    with pytest.raises(CompileError, match=r"needs 2 cores .* has 1 [\s\S]*Tried: it would fit 'small', 'pynq_z2' \(board .*pynq_z2"):
        compile(layers(3, 20), board="tiny")
    with pytest.raises(CompileError, match=r"Tried: it would not fit .*tiny.* either"):
        compile(layers(3, 18_000), params=DIRECT)


def test_bad_options_are_not_blamed_on_the_array() -> None:
    with pytest.raises(CompileError, match="record must be") as caught:
        compile(layers(3, 4), board="tiny", record="none")
    assert "Tried" not in str(caught.value)


def test_the_report_tells_when_membranes_may_saturate() -> None:
    """Weights of both signs: without a leak v passes any width, with one it stays at its steady state."""
    def steps(**options: object) -> float | None:
        population = Population(name="a", shape=(1,), integer=True, threshold=100, **options)  # type: ignore[arg-type]  # any option
        weights = np.array([[100, -60]])
        network = Network(inputs={"in": (2,)}, populations=(population,), outputs=("a",),
                          projections=(Projection.dense("s", "in", "a", weights),))
        found: float | None = compile(network, params=dataclasses.replace(DIRECT, state_bits=16, floors=1)
                                      ).report["populations"][0]["steps_to_saturation"]
        return found

    assert steps() == pytest.approx(32767 / 100)
    assert steps(reset="value") == pytest.approx(32767 / 60)  # a spike bounds it above
    assert steps(reset="value", floor=True) is None
    assert steps(membrane_gain=0.5) is None


def test_nmnist_stores_its_kernels_once_a_core_and_shares_the_work() -> None:
    """Words: offsets of a patch's inputs times channels; a fold of dense weights takes 128 words, four axons alike."""
    image = compile(nmnist(), board="pynq_z2", weight_bits=8, record="outputs")
    kernels = 7 * 7 * 2 + 4 * 4 * 16 + 4 * 6 * 16
    assert image.report["synapses"] > 1_000_000
    assert max(core["words"] for core in image.report["cores"]) < kernels + 2 * 128
    assert max(updates(image)) <= 1.1 * min(updates(image))


def test_few_tiles_leave_cores_empty() -> None:
    """More cores than neurons: "speed" uses no more than there is work for."""
    image = compile(layers(3, 4), params=dataclasses.replace(DIRECT, columns=2, rows=1), objective="speed")
    assert image.report["array"]["cores"] == [2, 2]
    assert sorted(core["neurons"] for core in image.report["cores"]) == [2, 2]
    assert compile(layers(3, 4), params=DIRECT, objective="speed").report["array"]["cores"] == [1, 6]
