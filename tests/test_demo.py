"""The digits example: its data, its spike code, its trained network, and the demo that runs it."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import spikeloom as sl
from spikeloom.host.commands import demo as demo_module
from spikeloom.host.commands.group import run as run_cli
from spikeloom.host.digits import encode, example_file, load_digits, settings
from tests.scripts import load_script

KEYS = {"accuracy_float", "accuracy_quantised", "accuracy_rtl", "images", "differing_spikes", "differing_potentials",
        "differing_counts", "compared_spikes", "compared_potentials", "compared_counts", "cycles_per_image",
        "images_per_second", "latency_us", "clock_mhz", "luts", "ramb36", "energy_uj", "raster"}
#: What the example must reach on images that it never saw.
ENOUGH = 0.95


@pytest.fixture(scope="module")
def network() -> sl.Network:
    about = settings()
    return sl.from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])


@pytest.fixture(scope="module")
def training() -> ModuleType:
    """examples/digits/train.py as a module."""
    return load_script("examples/digits/train.py")


@given(st.lists(st.integers(0, 16), min_size=1, max_size=20), st.integers(1, 40))
def test_a_pixel_spikes_as_often_as_it_is_bright_and_evenly(pixels: list[int], steps: int) -> None:
    spikes = encode(np.array([pixels]), steps)
    assert spikes.shape == (1, steps, len(pixels))
    bright = np.array(pixels)
    np.testing.assert_array_equal(spikes[0].sum(axis=0), (8 + bright * steps) // 16)
    so_far = np.cumsum(spikes[0], axis=0)
    exact = bright * np.arange(1, steps + 1)[:, None] / 16
    assert np.abs(so_far - exact).max() <= 0.5


@pytest.mark.parametrize(("images", "message"), [
    (np.array([[17]]), "Pixels must be 0 to 16, not 17 to 17"),
    (np.array([[-1, 3]]), "Pixels must be 0 to 16, not -1 to 3"),
    (np.array([[0.5]]), "Images must be integers"),
    (np.array([3]), "Images must be integers"),
])
def test_images_that_are_none_are_refused(images: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(sl.InputError, match=message):
        encode(images, 4)


def test_no_image_is_in_both_sets() -> None:
    from sklearn.datasets import load_digits as all_digits
    train, test = load_digits()
    assert (len(train.labels), len(test.labels)) == (1257, 540)
    whole = {tuple(row) for row in np.column_stack([train.images, train.labels])}
    assert not whole & {tuple(row) for row in np.column_stack([test.images, test.labels])}
    both = np.sort(np.concatenate([train.images, test.images]).sum(axis=1))
    np.testing.assert_array_equal(both, np.sort(all_digits().data.sum(axis=1)))
    np.testing.assert_array_equal(load_digits()[1].labels, test.labels)
    assert np.bincount(test.labels).min() > 50


def test_the_file_is_taken_exactly(network: sl.Network) -> None:
    assert {node.status for node in network.report} == {"exact"}
    assert {population.name: population.size for population in network.populations} == {"hidden": 96, "scores": 10}
    gains = np.concatenate([population.membrane_gain for population in network.populations])
    np.testing.assert_allclose(gains * 4096, np.round(gains * 4096), atol=1e-3)


def test_the_file_holds_the_network_that_was_trained(network: sl.Network, training: ModuleType) -> None:
    """The training script's own equations against the imported network: two readings of one file."""
    import nir
    nodes = nir.read(example_file("digits.nir")).nodes
    weights = {"w1": nodes["fc1"].weight, "b1": nodes["fc1"].bias, "w2": nodes["fc2"].weight, "b2": nodes["fc2"].bias}
    _, test = load_digits()
    spikes = encode(test.images[:100], settings()["steps"])
    scores, _, fired = training.forward({name: value.astype(float) for name, value in weights.items()}, spikes.astype(float))
    result = sl.reference(network, spikes)
    same = np.all(np.moveaxis(fired, 0, 1) == result.spikes["hidden"], axis=(1, 2))
    assert same.mean() > 0.95  # the others have a potential within float32's rounding of the threshold
    np.testing.assert_allclose(result.potentials["scores"][same, -1], scores[same], atol=1e-4)


def test_the_example_classifies_well_before_and_after_quantisation(network: sl.Network) -> None:
    _, test = load_digits(settings()["split_seed"])
    spikes = encode(test.images, settings()["steps"])
    image = sl.compile(network, board=demo_module.ARRAY, weight_bits=demo_module.WEIGHT_BITS)
    with sl.open("golden") as machine:
        machine.load(image)
        quantised = machine.run(spikes).potentials["scores"]
    exact = sl.reference(network, spikes).potentials["scores"][:, -1]
    right = [float(np.mean(scores.argmax(axis=1) == test.labels)) for scores in (exact, quantised)]
    assert min(right) >= ENOUGH
    assert abs(right[0] - right[1]) <= 0.01


def test_training_repeats_from_its_seed(training: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    data, _ = load_digits()
    first, again, other = (training.train(data, seed=seed, epochs=1) for seed in (3, 3, 4))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
        assert np.any(first[name] != other[name])


@pytest.mark.slow
def test_training_reaches_what_the_file_has(training: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["train.py", "--out", str(tmp_path)])
    training.main()
    assert json.loads((tmp_path / "digits.json").read_text()) == settings()
    again = sl.from_nir(tmp_path / "digits.nir", profile="norse", dt=1e-3)
    _, test = load_digits()
    scores = sl.reference(again, encode(test.images, settings()["steps"])).potentials["scores"][:, -1]
    assert np.mean(scores.argmax(axis=1) == test.labels) >= ENOUGH


@pytest.mark.timeout(1200)  # the first run generates and compiles the whole array
def test_the_demo_finds_no_difference(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_cli(["demo", "--images", "20", "--out", str(tmp_path / "new"), "--json"]) == 0
    plain = json.loads(capsys.readouterr().out)
    assert set(plain) == KEYS
    assert plain["images"] == 20
    assert plain["accuracy_rtl"] == plain["accuracy_quantised"] >= 0.9
    assert [plain[f"differing_{what}"] for what in ("spikes", "potentials", "counts")] == [0, 0, 0]
    steps = settings()["steps"]
    assert plain["compared_spikes"] == 2 * 20 * steps * 96
    assert plain["compared_potentials"] == 20 * (steps * 106 + 10)
    assert plain["compared_counts"] == 2 * 20 * 96
    assert plain["images_per_second"] == pytest.approx(plain["clock_mhz"] * 1e6 / plain["cycles_per_image"])
    assert 0 < plain["energy_uj"]["low"] < plain["energy_uj"]["mid"] < plain["energy_uj"]["high"]
    assert Path(plain["raster"]).read_bytes().startswith(b"\x89PNG")


def test_the_demo_counts_what_differs(network: sl.Network) -> None:
    """Readings of the golden model stand for the RTL's, altered in known places."""
    _, test = load_digits()
    labels, steps = test.labels[:3], settings()["steps"]
    spikes = encode(test.images[:3], steps)
    image = sl.compile(network, board=demo_module.ARRAY, weight_bits=demo_module.WEIGHT_BITS)

    def run(**options: Any) -> sl.Result:
        with sl.open("golden") as machine:
            machine.load(image)
            return machine.run(spikes, **options)

    golden, read = (run(potentials="steps", record=["hidden", "scores"]) for _ in range(2))
    plain = run()
    read.spikes["hidden"][0, 2, 5] ^= True
    read.states["hidden"][1, 1, :4] += 1
    plain.states["scores"][2, 7] -= 1
    measured = demo_module.Measured(labels, steps, np.zeros((3, 10)), image, golden, read, plain, sl.boards()["pynq_z2"])
    found = measured.compared()
    assert (found["differing_spikes"], found["differing_potentials"], found["differing_counts"]) == (1, 5, 1)
