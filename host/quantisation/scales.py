"""Scales: how many weight steps make one unit of the network, for each neuron, channel or population.

Thresholds, biases and resets are stored per neuron, so every neuron may have a scale of its own: the largest that its
weights allow, ``scale = qmax / max|w|`` (Krishnamoorthi 2018, "Quantizing deep convolutional networks for efficient
inference", per-channel symmetric quantisation). Populations with more than one axis are maps, whose neurons share the scale of
their channel (first axis), so that equal kernels stay equal words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.host.quantisation.fan import Fan
from spikeloom.host.quantisation.quant_network import Ints, Reals, digit_range
from spikeloom.params import ArrayParams

#: Which neurons share a scale: none (those of a map's channel), or all of a population.
ScaleKind = Literal["neuron", "tensor"]


@dataclass(frozen=True)
class WeightRange:
    """Least and greatest integer of weights, and the cells that one takes."""

    low: int
    high: int
    slices: int

    def integers(self, fan: Fan, steps: Reals) -> Ints:
        """Weights rounded to the nearest step and clipped, int64 (synapses,); ``steps`` (neurons,) a unit."""
        return np.clip(np.rint(fan.weight * steps[fan.post]), self.low, self.high).astype(np.int64)

    def clipped(self, fan: Fan, steps: Reals) -> int:
        """Weights that lie beyond the range by more than rounding."""
        scaled = fan.weight * steps[fan.post]
        return int(np.count_nonzero((scaled > self.high + 0.5) | (scaled < self.low - 0.5)))


def weight_range(fan: Fan, params: ArrayParams, weight_bits: int) -> WeightRange:
    """What ``weight_bits`` hold in the array's cells; CompileError where they are too many."""
    if isinstance(weight_bits, bool) or not isinstance(weight_bits, int | np.integer) or not 2 <= weight_bits <= 16:
        raise CompileError(f"{fan.title}: weight_bits must be 2 to 16, not {weight_bits}")
    slices = -(-int(weight_bits) // params.weight_bits)
    if slices > params.max_slices:
        raise CompileError(f"{fan.title}: weights of {weight_bits} bits take {slices} cells of {params.weight_bits} bits; this "
                           f"array joins at most {params.max_slices}")
    low, high = digit_range(params.weight_bits, slices)
    half = 1 << (int(weight_bits) - 1)
    return WeightRange(max(low, -half), min(high, half - 1), slices)


def groups(fan: Fan, kind: ScaleKind) -> Ints:
    """Number of the group that each neuron shares its scale with, int64 (neurons,), from 0 on."""
    population = fan.population
    if kind == "tensor":
        return np.zeros(population.size, np.int64)
    if len(population.shape) > 1:
        return np.repeat(np.arange(population.shape[0]), population.size // population.shape[0])
    return np.arange(population.size)


def largest_scales(fan: Fan, params: ArrayParams, weights: WeightRange, group: Ints) -> tuple[Reals, Reals]:
    """Weight steps per network unit with which no weight is clipped, and those that the state's width allows at most.

    Both are (neurons,), alike within a group.
    """
    size = fan.population.size
    top, bottom = np.zeros(size), np.zeros(size)
    np.maximum.at(top, fan.post, fan.weight)
    np.minimum.at(bottom, fan.post, fan.weight)
    constants = fan.constants
    with np.errstate(divide="ignore", over="ignore"):
        scale = np.minimum(np.where(top > 0, weights.high / top, np.inf), np.where(bottom < 0, weights.low / bottom, np.inf))
        room = np.where(constants > 0, 2.0 ** (params.state_bits - 7) / constants, np.inf)
    scale, room = _least(scale, group), _least(room, group)
    idle = np.where(np.isinf(room), 1.0, np.minimum(room, 2.0 ** params.state_bits))  # of neurons without synapses
    return np.where(np.isinf(scale), idle, np.minimum(scale, room)), room


def _least(values: Reals, group: Ints) -> Reals:
    """The least value of each group, at each of its members."""
    least = np.full(int(group.max(initial=-1)) + 1, np.inf)
    np.minimum.at(least, group, values)
    return least[group]
