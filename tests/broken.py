"""Machines and images with a fault, to show that a comparison finds it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from spikeloom.image import Core, Image
from spikeloom.memories import Memory
from spikeloom.sim.golden import GoldenMachine


class Broken(GoldenMachine):
    """A machine that runs another image than the one it was given."""

    def __init__(self, other: Image) -> None:
        super().__init__()
        self._other = other

    def load(self, image: Image) -> None:
        """Take the other image."""
        super().load(self._other)

    def __enter__(self) -> Broken:
        return self


def flipped(image: Image, memory: Memory, index: int, bit: int, core: Core = (0, 0)) -> Image:
    """The image with one bit of a core changed."""
    words = image.memories[core][memory].copy()
    words[index] ^= np.uint64(1 << bit)
    return replace(image, memories=image.memories | {core: image.memories[core] | {memory: words}})
