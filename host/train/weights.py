"""Weights that are trained as real numbers and used as integers of a few bits."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from spikeloom.host.train.arithmetic import straight_through

Levels = Literal["symmetric", "odd"]
#: Which integers a weight may be: ``symmetric``: all from −largest to largest, also 0; ``odd``: the odd ones among them, so
#: that no stored weight is 0 and each does work.
LEVELS = ("symmetric", "odd")


def largest(bits: int) -> int:
    """The largest weight of so many bits, 2^(bits−1) − 1."""
    return (1 << (bits - 1)) - 1


def quantise_weights(latent: Tensor, bits: int, levels: Levels = "symmetric") -> Tensor:
    """Integers, in the dtype of ``latent``, from latent weights of which −1 … 1 spans all levels; those beyond are clipped.

    The gradient passes straight through, but for latent weights beyond ±1, whose gradient is 0.
    """
    top = largest(bits)
    if levels == "odd":
        count = 2.0 ** (bits - 1)  # levels, evenly spaced: bins of equal width
        exact = 2 * (latent.detach() * (count / 2)).floor().clamp(-count / 2, count / 2 - 1) + 1
    else:
        exact = (latent.detach() * top).round().clamp(-top, top)
    return straight_through(torch.clamp(latent, -1, 1) * top, exact)
