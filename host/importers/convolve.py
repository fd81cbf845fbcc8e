"""Kernels laid over maps, unrolled into lists of weights: what the importers' convolutions and pools are made of.

They are correlated, not flipped (as in PyTorch): output y sees input ``y · stride − padding + k · dilation`` through tap k, for
each axis; what lies outside the map is 0. Along each axis the taps are listed as triples (output, kernel, input); an axis more is
one more product.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.host.networks.population import Ints

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Taps:
    """Flat positions of output, kernel and input that meet, over all axes; and the extents of input and output."""

    inside: Shape
    extents: Shape
    output: Ints
    kernel: Ints
    input: Ints


def taps(inside: Shape, extents: Shape, kernel: Shape, stride: Shape, padding: Sequence[int], dilation: Shape) -> Taps:
    """Where a kernel meets a map ``inside`` to make one of ``extents``; ``padding``: zeros before the first element of each axis."""
    output, tap, source = (np.zeros(1, np.int64) for _ in range(3))
    for have, count, k, s, before, d in zip(inside, extents, kernel, stride, padding, dilation, strict=True):
        out, at = (grid.reshape(-1) for grid in np.meshgrid(np.arange(count), np.arange(k), indexing="ij"))
        seen = out * s + at * d - before
        here = (seen >= 0) & (seen < have)
        output, tap, source = ((outer[:, None] * n + inner[here]).reshape(-1)
                               for outer, inner, n in ((output, out, count), (tap, at, k), (source, seen, have)))
    return Taps(inside, extents, output, tap, source)


def slide(weight: npt.NDArray[Any], groups: int, met: Taps) -> tuple[Ints, Ints, npt.NDArray[Any]]:
    """Flat inputs, flat outputs and weights other than 0 of a kernel (outputs, inputs / groups, …) at the given places."""
    outputs, inputs = weight.shape[:2]
    out = np.arange(outputs)[:, None, None]
    channel = np.arange(inputs)[None, :, None] + out // (outputs // groups) * inputs
    values = weight.reshape(outputs, inputs, -1)[:, :, met.kernel]
    keep = values != 0
    post = np.broadcast_to(out * int(np.prod(met.extents)) + met.output, values.shape)[keep]
    pre = np.broadcast_to(channel * int(np.prod(met.inside)) + met.input, values.shape)[keep]
    return pre, post, values[keep]
