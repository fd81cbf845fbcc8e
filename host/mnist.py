"""The MNIST example's data: its images, their split into training and test, the bitmaps and the votes.

The images are the 10,000 of MNIST's test set (Y. LeCun, C. Cortes and C. Burges, two IDX files compressed with gzip), which
are all that the example takes: 8,000 of them are for training, 2,000 for the test, drawn once by :data:`SPLIT_SEED`. No image
is in both. Accuracies on them are therefore not those of MNIST's own split, whose training set is 7.5 times as large.

An image is one tick: a bitmap of three planes, "brighter than" each of :data:`LEVELS`, over the 26 × 26 pixels that are left
without the border of one. Plane p of pixel (x, y), row and column of those 26, is input ``676 p + 26 y + x``; rows of 26 put
the pixels of a stroke into all four banks of a core (bank = input mod 4), whatever its direction.
"""

from __future__ import annotations

import gzip
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError, SpikeloomError
from spikeloom.events import Spikes
from spikeloom.host.boards import project_file
from spikeloom.host.estimates.arrays import from_arrays
from spikeloom.host.networks.network import Network

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

FILES = ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz")
SPLIT_SEED = 0
TEST_IMAGES = 2000
#: Grey values, 0 to 255, that a pixel must exceed to be set in each plane.
LEVELS = (16, 96, 192)
_SIDE, _BORDER = 28, 1
INPUTS = len(LEVELS) * (_SIDE - 2 * _BORDER) ** 2
NEURONS, CLASSES = 576, 10
#: The population of the network.
OUTPUT = "votes"
_STRIDE = 13  # prime to the number of pairs, 45: neighbours differ, and a part of a round is spread over all


@dataclass(frozen=True)
class Mnist:
    """Images, uint8 (images, 28, 28), and what they show, int64 (images,)."""

    images: Bytes
    labels: Ints

    def subset(self, index: Ints) -> Mnist:
        """Those of these numbers."""
        return Mnist(self.images[index], self.labels[index])


def load_mnist(folder: str | Path) -> Mnist:
    """The 10,000 images of a folder with :data:`FILES`; SpikeloomError where they are missing or are something else."""
    arrays = []
    for name, magic in zip(FILES, (2051, 2049), strict=True):
        try:
            data = gzip.decompress(Path(folder, name).read_bytes())
        except (OSError, EOFError) as error:
            raise SpikeloomError(f"MNIST: {Path(folder, name)} cannot be read ({error}); it is one of the four files of MNIST") from None
        header = np.frombuffer(data, ">u4", 4 if magic == 2051 else 2) if len(data) >= 16 else np.zeros(1)
        shape = tuple(int(n) for n in header[1:])
        if header[0] != magic or len(data) != header.nbytes + np.prod(shape):
            raise SpikeloomError(f"MNIST: {Path(folder, name)} is not the IDX file of that name")
        arrays.append(np.frombuffer(data, np.uint8, offset=header.nbytes).reshape(shape))
    return Mnist(arrays[0], arrays[1].astype(np.int64))


def split(seed: int = SPLIT_SEED, images: int = 10_000) -> tuple[Ints, Ints]:
    """Numbers of the training images and of the test images: disjoint, all images together, the same for the same seed."""
    order = np.random.default_rng(seed).permutation(images)
    return order[TEST_IMAGES:], order[:TEST_IMAGES]


def bitmaps(images: npt.ArrayLike) -> Spikes:
    """Bitmaps, bool (images, 2028), of uint8 images (images, 28, 28); InputError for anything else."""
    grey = np.asarray(images)
    if grey.dtype != np.uint8 or grey.ndim != 3 or grey.shape[1:] != (_SIDE, _SIDE):
        raise InputError(f"Images must be uint8 (images, {_SIDE}, {_SIDE}), not {grey.dtype} of shape {grey.shape}")
    inner = grey[:, _BORDER:-_BORDER, _BORDER:-_BORDER].reshape(len(grey), -1)
    return np.concatenate([inner > level for level in LEVELS], axis=1)


def code(neurons: int = NEURONS, classes: int = CLASSES) -> npt.NDArray[np.bool_]:
    """Which classes each neuron votes for, bool (neurons, classes): for two of them, all pairs about as often.

    Fixed, and known to training and decision alike. A neuron that votes for two classes learns what they share, so that neurons
    differ more than if each stood for one class (error-correcting output codes: Dietterich and Bakiri, JAIR 2, 1995).
    """
    pairs = np.array(list(itertools.combinations(range(classes), 2)))
    made = np.zeros((neurons, classes), bool)
    np.put_along_axis(made, pairs[np.arange(neurons) * _STRIDE % len(pairs)], True, axis=1)
    return made


def decide(spikes: npt.ArrayLike) -> Ints:
    """The class with the most votes, int64 (…,), from output spikes (…, neurons); the lowest among equals."""
    fired = np.asarray(spikes)
    return np.asarray((fired @ code(fired.shape[-1]).astype(np.int64)).argmax(axis=-1), np.int64)


def network(path: str | Path | None = None) -> Network:
    """The network of a file of examples/mnist/train.py, by default the trained one there; SpikeloomError where there is none."""
    place = project_file("examples/mnist/mnist.npz") if path is None else Path(path)
    if place is None or not place.is_file():
        raise SpikeloomError(f"{path or 'examples/mnist/mnist.npz'} was not found: make it with examples/mnist/train.py")
    with np.load(place, allow_pickle=False) as file:
        weights, bias, threshold = file["weights"], file["bias"], int(file["threshold"])
    return from_arrays(inputs={"pixels": weights.shape[1]}, outputs=[OUTPUT],
                       populations={OUTPUT: {"size": weights.shape[0], "threshold": threshold, "bias": bias, "membrane_gain": 0.0,
                                             "reset": "zero"}},
                       projections=[{"source": "pixels", "target": OUTPUT, "weights": weights}])
