"""Sums of weighted spikes over a list of synapses, for many samples at once: what both references are made of."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.host.networks.population import Floats, Ints

#: Maps spikes or values (samples, inputs) to sums, float64 (samples, outputs).
Adder = Callable[[npt.NDArray[Any]], Floats]

#: Share of a matrix that must be synapses for its rows to be added whole; 16 Mi entries are 128 MiB.
_DENSE_SHARE, _DENSE_LIMIT = 0.2, 1 << 24
#: Synaptic events that are listed at once; each takes some 50 bytes.
_EVENTS = 1 << 22


def adder(pre: Ints, post: Ints, weight: npt.NDArray[Any], inputs: int, outputs: int) -> Adder:
    """Σ weight · value over synapses from ``pre`` to ``post``; sums of integers below 2**53 are exact."""
    rows = inputs * outputs <= _DENSE_LIMIT and len(weight) >= _DENSE_SHARE * inputs * outputs
    add = (_rows if rows else _lists)(pre, post, weight.astype(np.float64), inputs, outputs)
    return partial(_sums, np.full(inputs, outputs) if rows else np.bincount(pre, minlength=inputs), add)


#: Adds weights up: samples and neurons of the spikes, their values (None: 1), number of samples → (samples, outputs).
_Add = Callable[[Ints, Ints, "Floats | None", int], Floats]


def _sums(fan: Ints, add: _Add, spikes: npt.NDArray[Any]) -> Floats:
    """What the spikes (samples, inputs) sum up to, of which only those that are not 0 are walked, in bounded memory.

    A target's weights are added in the order of their sources, however many samples there are.
    """
    sample, neuron = np.nonzero(spikes)
    values = None if spikes.dtype == np.bool_ else spikes[sample, neuron].astype(np.float64)
    ends = np.cumsum(fan[neuron])
    if not len(ends) or ends[-1] <= _EVENTS:
        return add(sample, neuron, values, len(spikes))
    if len(spikes) > 1:
        half = len(spikes) // 2
        return np.concatenate((_sums(fan, add, spikes[:half]), _sums(fan, add, spikes[half:])))
    cuts = np.searchsorted(ends, np.arange(_EVENTS, ends[-1], _EVENTS))
    total = np.zeros((1, 1))
    for part in np.split(np.arange(len(ends)), cuts):
        total = total + add(sample[part], neuron[part], None if values is None else values[part], 1)
    return total


def _rows(pre: Ints, post: Ints, weight: Floats, inputs: int, outputs: int) -> _Add:
    """Whole rows of a matrix (inputs, outputs)."""
    matrix = np.zeros((inputs, outputs))
    np.add.at(matrix, (pre, post), weight)

    def add(sample: Ints, neuron: Ints, values: Floats | None, samples: int) -> Floats:
        total = np.zeros((samples, outputs))
        if len(sample):
            rows = matrix[neuron]
            if values is not None:
                rows *= values[:, None]
            first = np.concatenate(([0], np.flatnonzero(sample[1:] != sample[:-1]) + 1))
            total[sample[first]] = np.add.reduceat(rows, first, axis=0)
        return total

    return add


def _lists(pre: Ints, post: Ints, weight: Floats, inputs: int, outputs: int) -> _Add:
    """Lists of the synapses of each input."""
    order = np.argsort(pre, kind="stable")
    targets, weights = post[order], weight[order]
    start = np.concatenate(([0], np.cumsum(np.bincount(pre, minlength=inputs))))

    def add(sample: Ints, neuron: Ints, values: Floats | None, samples: int) -> Floats:
        fan = start[neuron + 1] - start[neuron]
        index = np.arange(fan.sum()) + np.repeat(start[neuron] - (np.cumsum(fan) - fan), fan)
        addends = weights[index] if values is None else weights[index] * np.repeat(values, fan)
        flat = np.repeat(sample * outputs, fan) + targets[index]
        return np.bincount(flat, addends, minlength=samples * outputs).astype(np.float64).reshape(samples, outputs)

    return add
