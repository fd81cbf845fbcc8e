"""The MNIST example: an honest split, the bitmaps and votes, and the trained network at its accuracy."""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.host import mnist
from tests.data import shared_data
from tests.scripts import ROOT, load_script

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "mnist"
#: What examples/mnist/train.py printed for the committed network: right of the 2,000 test images.
RIGHT = 1939


def test_no_image_is_trained_on_and_tested() -> None:
    train, test = mnist.split()
    assert (len(train), len(test)) == (8000, 2000)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(10_000))
    assert np.array_equal(train, mnist.split()[0])
    # The split is fixed for good: were NumPy to draw differently, the committed network would have seen test images.
    assert test[:5].tolist() == SPLIT_START


SPLIT_START = [3577, 8925, 1634, 485, 4753]


def test_no_two_images_are_alike() -> None:
    """So that no image of the test is among the training images under another number."""
    images = mnist.load_mnist(shared_data("mnist")).images
    assert len(np.unique(images.reshape(len(images), -1), axis=0)) == len(images)


def test_a_bitmap_is_brighter_than_its_level() -> None:
    images = np.zeros((2, 28, 28), np.uint8)
    images[0, 1, 2], images[0, 27, 27], images[1, 4, 3] = 97, 255, 255
    bits = mnist.bitmaps(images)
    assert bits.shape == (2, mnist.INPUTS)
    assert np.flatnonzero(bits[0]).tolist() == [1, 676 + 1]
    assert np.flatnonzero(bits[1]).tolist() == [3 * 26 + 2, 676 + 3 * 26 + 2, 1352 + 3 * 26 + 2]
    with pytest.raises(sl.SpikeloomError, match=r"uint8 \(images, 28, 28\), not float64"):
        mnist.bitmaps(np.zeros((1, 28, 28)))


def test_votes_are_fair_and_decide() -> None:
    code = mnist.code()
    assert (code.sum(1) == 2).all()
    assert code.sum(0).max() - code.sum(0).min() <= 12
    for one in range(10):
        assert mnist.decide(code[:, one]) == one  # who votes for a class elects it
    assert mnist.decide(np.zeros((3, 4, 576), bool)).tolist() == [[0] * 4] * 3


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda data: data[:-1], "is not the IDX file"), (lambda data: b"\0" + data[1:3] + b"\1" + data[4:], "is not the IDX file"),
    (lambda data: data[:3], "is not the IDX file")])
def test_a_file_that_is_not_mnist_is_refused(tmp_path: Path, spoil: Any, message: str) -> None:
    images = np.array([2051, 2, 28, 28], ">u4").tobytes() + bytes(2 * 784)
    (tmp_path / mnist.FILES[0]).write_bytes(gzip.compress(spoil(images)))
    with pytest.raises(sl.SpikeloomError, match=message):
        mnist.load_mnist(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(sl.SpikeloomError, match=r"t10k-images-idx3-ubyte\.gz cannot be read"):
        mnist.load_mnist(tmp_path)
    with pytest.raises(sl.SpikeloomError, match=r"none\.npz was not found: make it with examples/mnist/train\.py"):
        mnist.network(tmp_path / "none.npz")


def test_the_trained_network_fills_the_array_and_keeps_its_accuracy() -> None:
    data = mnist.load_mnist(shared_data("mnist"))
    tested = data.subset(mnist.split()[1])
    net = mnist.network()
    assert net.projections[0].size == mnist.NEURONS * mnist.INPUTS  # every stored weight works
    image = sl.compile(net, board="pynq_z2", record="outputs")
    with sl.open("golden") as machine:
        machine.load(image)
        spikes = machine.run(mnist.bitmaps(tested.images)[:, None], potentials="none").spikes[mnist.OUTPUT][:, 0]
    assert int((mnist.decide(spikes) == tested.labels).sum()) == RIGHT


def test_training_sees_the_bitmaps_that_the_array_sees() -> None:
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'spikeloom[train]'")
    module = load_script("examples/mnist/train.py")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (5, 28, 28), np.uint8)
    pixels = torch.from_numpy(images)[:, None].float() / 255
    assert np.array_equal(module.spikes_of(pixels)[:, 0].numpy() > 0, mnist.bitmaps(images))
    data = mnist.Mnist(images, np.arange(5))
    first, again = (module.train(data, epochs=1, seed=3).layers[0].weights() for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.slow
@pytest.mark.timeout(1200)  # the array is compiled first
def test_a_thousand_images_agree_in_every_spike_potential_and_cycle() -> None:
    folder = shared_data("mnist")
    done = subprocess.run([sys.executable, "benchmarks/all_images.py", "--data", folder, "--images", "1000", "--json"], cwd=ROOT,
                          capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["images"] == 1000
    assert found["spikes"] == found["potentials"] == 1000 * mnist.NEURONS
    assert not any(value for name, value in found.items() if "differ" in name), found
