"""The example's data: scikit-learn's handwritten digits, its split into training and test images, and its spike code.

The images are the test set of the UCI "Optical Recognition of Handwritten Digits" (E. Alpaydin and C. Kaynak, 1998), 1,797
images of 8 × 8 pixels with values 0 to 16, as shipped by scikit-learn. Training (examples/digits/train.py) and demo share
what stands here, so that they cannot disagree.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError, SpikeloomError
from spikeloom.events import Spikes
from spikeloom.host.boards import project_file

Ints = npt.NDArray[np.int64]

#: Largest value of a pixel.
WHITE = 16
#: Share of the images that is kept for the test: 540 of 1,797.
TEST_SHARE = 0.3
#: Seed of the split.
SPLIT_SEED = 0


@dataclass(frozen=True)
class Digits:
    """Images, int64 (images, 64) with values 0 to 16, and what they show, int64 (images,)."""

    images: Ints
    labels: Ints


def load_digits(seed: int = SPLIT_SEED) -> tuple[Digits, Digits]:
    """Training and test images: disjoint, with every digit's share in both; the same for the same seed."""
    try:
        from sklearn.datasets import load_digits as load
        from sklearn.model_selection import train_test_split
    except ImportError:
        raise SpikeloomError("The digits come with scikit-learn, which is not installed: pip install 'spikeloom[demo]'") from None
    data = load()
    images, labels = data.data.astype(np.int64), data.target.astype(np.int64)
    train, test = train_test_split(np.arange(len(labels)), test_size=TEST_SHARE, random_state=seed, stratify=labels)
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])


def encode(images: npt.ArrayLike, steps: int) -> Spikes:
    """Pixels as spikes, evenly spaced: bool (images, steps, pixels) from integers 0 to 16, (images, pixels).

    Pixel p adds p / 16 to a counter that starts at 1/2, and spikes in each step in which the counter passes a whole number:
    ``⌊1/2 + (t+1) p/16⌋ − ⌊1/2 + t p/16⌋``, in integers. So it spikes p · steps / 16 times, rounded to nearest, half up.
    InputError for pixels out of range.
    """
    pixels = np.asarray(images)
    if pixels.ndim != 2 or not np.issubdtype(pixels.dtype, np.integer):
        raise InputError(f"Images must be integers (images, pixels), not {pixels.dtype} of shape {pixels.shape}")
    if pixels.size and not (pixels.min() >= 0 and pixels.max() <= WHITE):
        raise InputError(f"Pixels must be 0 to {WHITE}, not {pixels.min()} to {pixels.max()}")
    counter = WHITE // 2 + pixels.astype(np.int64)[:, None, :] * np.arange(steps + 1)[None, :, None]
    spikes: Spikes = np.diff(counter // WHITE, axis=1) > 0
    return spikes


def example_file(name: str) -> Path:
    """A file of examples/digits; SpikeloomError where there is none."""
    path = project_file(f"examples/digits/{name}")
    if path is None:
        raise SpikeloomError(f"examples/digits/{name} was not found: make it with examples/digits/train.py")
    return path


def settings() -> dict[str, Any]:
    """How the example's network was trained and is to be read: ``profile``, ``dt``, ``steps``, ``split_seed`` and so on."""
    plain: dict[str, Any] = json.loads(example_file("digits.json").read_text())
    return plain
