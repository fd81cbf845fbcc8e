"""Values as input spikes for NetX networks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.events import Spikes
from spikeloom.host.importers.netx_file import read_layers
from spikeloom.host.importers.netx_neuron import LoihiNeurons


def netx_input_spikes(path: str | os.PathLike[str], values: npt.ArrayLike, steps: int) -> Spikes:
    """Spikes of a NetX file's input layer, whose neurons see the same values in every step.

    Its neurons follow Loihi's rule with ``a = trunc(weight · value + bias)`` as their weighted input, toward zero like the
    integers that lava is given; the layer's bias adds to that current, not to v. ``values`` are those of the
    training, (samples, …) with the layer's shape or size last. (lava's PilotNet brings pixels from 0 … 1 to −1 … 1 first.)
    Returns bool (samples, steps, neurons), which :meth:`spikeloom.machine.Machine.run` takes.

    NetworkError for a file that cannot be understood, or whose first layer is no input layer with neurons: then its
    training chose the encoding, such as :func:`integrate_and_fire`. InputError for values that do not fit.
    """
    first = read_layers(path)[0]
    if first.kind != "input" or first.neuron is None:
        first.fail("is no input layer with neurons: give the network spikes, encoded as in its training (integrate_and_fire is one way)")
    size = int(np.prod(first.shape))
    flat = _samples(values, first.shape, steps)
    neurons = LoihiNeurons.of(first, first.shape, np.zeros(size, np.int64))
    drive = np.trunc(first.number_of("weight", 64) * flat + first.number_of("bias", 0))
    if flat.size and np.abs(drive).max() >= 2.0 ** 23:
        raise InputError(f"weight · value + bias reaches {drive.flat[np.abs(drive).argmax()]:g}, beyond 24 bits")
    return neurons.run(drive.astype(np.int64), steps)


def integrate_and_fire(values: npt.ArrayLike, steps: int, threshold: int) -> Spikes:
    """Values as spike rates: in every step v ← v + value; where v > threshold there is a spike, and v ← 0.

    ``values`` are integers, 8-bit pixels for instance, (samples, …); returns bool (samples, steps, values in a sample).
    InputError for anything else. lava-dl's MNIST network was trained on pixels encoded with threshold 255.
    """
    array = np.asarray(values)
    if not (np.issubdtype(array.dtype, np.integer) or (np.issubdtype(array.dtype, np.floating) and np.all(array == np.round(array)))):
        raise InputError(f"integrate_and_fire takes integers, not {array.dtype} with fractions: scale them first")
    flat = _samples(array, array.shape[1:], steps).astype(np.int64)
    v = np.zeros_like(flat)
    spikes = np.zeros((len(flat), steps, flat.shape[1]), bool)
    for step in range(steps):
        v += flat
        spikes[:, step] = fired = v > threshold
        v[fired] = 0
    return spikes


def _samples(values: npt.ArrayLike, shape: tuple[int, ...], steps: int) -> npt.NDArray[np.float64]:
    """The values as float64 (samples, size)."""
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 0:
        raise InputError(f"steps must be 0, 1, 2 …, not {steps!r}")
    try:
        array: npt.NDArray[Any] = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        raise InputError(f"Values must be an array of numbers, not {type(values).__name__}") from None
    size = int(np.prod(shape, dtype=np.int64))
    if array.ndim < 2 or array.shape[1:] not in (shape, (size,)):
        raise InputError(f"Values have the shape {array.shape}; expected (samples, {', '.join(map(str, shape)) or '…'})")
    if not np.all(np.isfinite(array)):
        raise InputError("Every value must be finite")
    return array.reshape(len(array), size)
