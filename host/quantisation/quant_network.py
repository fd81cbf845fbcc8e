"""The network in integers: what quantisation makes and placement takes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class QuantPopulation:
    """A population in hardware units; arrays are int64 (neurons,), ``scale`` float64 (neurons,): state units per network unit.

    Gains have ``gain_bits`` fraction bits; ``currents`` is 2 where edges of receptor 1 drive a second synaptic current, which
    decays with ``second_current_gain`` and has the same scale and shift as the first. ``floor`` holds v at or above −threshold.
    ``helper`` populations were added by the compiler and belong to ``owner``.
    """

    name: str
    shape: tuple[int, ...]
    size: int
    current_gain: Ints
    second_current_gain: Ints
    membrane_gain: Ints
    shift: int
    threshold: Ints
    bias: Ints
    reset: Ints
    refractory: Ints
    subtract: bool
    hold: bool
    spiking: bool
    slices: int
    scale: Reals
    currents: int = 1
    floor: bool = False
    helper: bool = False
    owner: str = ""

    @property
    def eager(self) -> bool:
        """Whether some neuron changes or spikes without input, starting from zero."""
        return bool(np.any(self.bias != 0) or (self.spiking and np.any(self.threshold <= 0)))


@dataclass(frozen=True)
class Edge:
    """Synapses from an input or a population to a population; arrays are int64 (synapses,), no two alike in pre, post, delay.

    They drive the target's synaptic current number ``receptor``, 0 or 1, and there is one edge per source, target and receptor.
    With ``planes`` n > 0 the source sends its potential, n bits of two's complement, and ``weight`` multiplies that.
    """

    source: str
    target: str
    pre: Ints
    post: Ints
    delay: Ints
    weight: Ints
    planes: int = 0
    receptor: int = 0


@dataclass(frozen=True)
class QuantNetwork:
    """A network in integers. ``errors`` holds plain data per population: what quantisation did to it."""

    inputs: dict[str, tuple[int, ...]]
    populations: dict[str, QuantPopulation]
    edges: tuple[Edge, ...]
    outputs: tuple[str, ...]
    errors: dict[str, dict[str, Any]] = field(default_factory=dict)

    def size(self, name: str) -> int:
        """Neurons of an input or a population."""
        if name in self.inputs:
            return int(np.prod(self.inputs[name], dtype=np.int64))
        return self.populations[name].size


def digit_range(weight_bits: int, slices: int) -> tuple[int, int]:
    """Least and greatest integer of ``slices`` signed digits of ``weight_bits``."""
    ones = sum(1 << (weight_bits * i) for i in range(slices))
    half = 1 << (weight_bits - 1)
    return -half * ones, (half - 1) * ones
