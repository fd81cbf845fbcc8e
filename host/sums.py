"""Sums of weighted spikes over a list of synapses, for many samples at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
#: Maps spikes or values (samples, inputs) to sums, float64 (samples, outputs).
Adder = Callable[[npt.NDArray[Any]], Floats]

#: Share of a matrix that must be synapses for it to be multiplied as one; 16 Mi entries are 128 MiB.
_DENSE_SHARE, _DENSE_LIMIT = 0.2, 1 << 24
#: Synapses walked at once, unless those of one sample are more: 4 Mi take about 128 MiB.
_WALKED = 1 << 22


def adder(pre: Ints, post: Ints, weight: npt.NDArray[Any], inputs: int, outputs: int) -> Adder:
    """Σ weight · value over synapses from ``pre`` to ``post``; sums of integers below 2**53 are exact.

    Where synapses are few among all pairs, only those of inputs that are not 0 are walked.
    """
    entries = inputs * outputs
    if entries <= _DENSE_LIMIT and len(weight) >= _DENSE_SHARE * entries:
        matrix = np.zeros((inputs, outputs))
        np.add.at(matrix, (pre, post), weight)
        return lambda values: values.astype(np.float64) @ matrix
    return _sparse(pre, post, weight.astype(np.float64), inputs, outputs)


def _sparse(pre: Ints, post: Ints, weight: Floats, inputs: int, outputs: int) -> Adder:
    order = np.argsort(pre, kind="stable")
    targets, weights = post[order], weight[order]
    start = np.concatenate(([0], np.cumsum(np.bincount(pre, minlength=inputs))))

    def sums(values: npt.NDArray[Any]) -> Floats:
        sample, neuron = np.nonzero(values)
        fan = start[neuron + 1] - start[neuron]
        if len(values) > 1 and fan.sum() > _WALKED:
            half = len(values) // 2
            return np.concatenate([sums(values[:half]), sums(values[half:])])
        index = np.arange(fan.sum()) + np.repeat(start[neuron] - (np.cumsum(fan) - fan), fan)
        each = weights[index] * np.repeat(values[sample, neuron].astype(np.float64), fan)
        flat = np.repeat(sample, fan) * outputs + targets[index]
        total = np.bincount(flat, each, minlength=len(values) * outputs).astype(np.float64)
        return total.reshape(len(values), outputs)

    return sums
