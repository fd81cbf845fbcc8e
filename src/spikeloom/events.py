"""Input spikes in their two forms, dense and as events, checked against an image."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.image import Image

Spikes = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Events:
    """Spikes as a list: event i is a spike of ``neuron[i]`` in ``step[i]`` of ``sample[i]``.

    The arrays are integers of equal length in any order; a spike listed twice is an error, for it would be lost.
    """

    sample: npt.NDArray[np.int64]
    step: npt.NDArray[np.int64]
    neuron: npt.NDArray[np.int64]
    samples: int
    steps: int

    def dense(self, size: int, what: str = "Events") -> Spikes:
        """The same spikes as bool (samples, steps, size); InputError for an event out of range or repeated."""
        spikes = np.zeros((self.samples, self.steps, size), bool)
        parts = (("sample", self.sample, self.samples), ("step", self.step, self.steps), ("neuron", self.neuron, size))
        index = []
        for name, values, limit in parts:
            array = np.asarray(values)
            if array.ndim != 1 or len(array) != len(np.asarray(self.sample)):
                raise InputError(f"{what}: sample, step and neuron must be one-dimensional and of equal length")
            if array.size and not np.issubdtype(array.dtype, np.integer):
                raise InputError(f"{what}: {name} must be integers, not {array.dtype}")
            if array.size and not (array.min() >= 0 and array.max() < limit):
                bad = int(np.flatnonzero((array < 0) | (array >= limit))[0])
                raise InputError(f"{what}: event {bad} has {name} {array[bad]}, outside 0 to {limit - 1}")
            index.append(array.astype(np.int64))
        spikes[tuple(index)] = True
        if np.count_nonzero(spikes) != len(index[0]):
            places, counts = np.unique(np.stack(index), axis=1, return_counts=True)
            at = places[:, counts > 1][:, 0]
            raise InputError(f"{what}: sample {at[0]}, step {at[1]}, neuron {at[2]} spikes more than once in one step")
        return spikes


InputSpikes = npt.ArrayLike | Events | Mapping[str, npt.ArrayLike | Events]


def prepare(image: Image, spikes: InputSpikes) -> tuple[dict[str, Spikes], bool]:
    """Check input spikes against an image.

    Takes an array (samples, steps, …) or (steps, …) with the input's shape or size last, :class:`Events`, or a mapping
    with one of these per input. Returns bool arrays (samples, steps, size) per input, and whether the samples axis
    was absent. InputError names the input that does not fit.
    """
    return dense_inputs({source.name: source.shape for source in image.inputs}, spikes)


def dense_inputs(shapes: Mapping[str, tuple[int, ...]], spikes: InputSpikes) -> tuple[dict[str, Spikes], bool]:
    """Check input spikes against inputs of these shapes by name; takes, returns and raises what :func:`prepare` does."""
    names = list(shapes)
    if not isinstance(spikes, Mapping):
        if len(names) != 1:
            raise InputError(f"The network has inputs {', '.join(names)}: give a mapping with spikes for each")
        spikes = {names[0]: spikes}
    if set(spikes) != set(names):
        raise InputError(f"The network has inputs {', '.join(names)}, not {', '.join(map(str, spikes))}")
    dense: dict[str, Spikes] = {}
    single = False
    for name, shape in shapes.items():
        dense[name], lone = _dense(spikes[name], name, shape, math.prod(shape))
        single = single or lone
    leads = {array.shape[:2] for array in dense.values()}
    if len(leads) > 1:
        raise InputError(f"Inputs differ in samples or steps: { {name: a.shape[:2] for name, a in dense.items()} }")
    return dense, single


def _dense(spikes: npt.ArrayLike | Events, name: str, shape: tuple[int, ...], size: int) -> tuple[Spikes, bool]:
    if isinstance(spikes, Events):
        return spikes.dense(size, f"Input {name!r}"), False
    array = np.asarray(spikes)
    if array.dtype != np.bool_:
        if not (np.issubdtype(array.dtype, np.number) and np.all((array == 0) | (array == 1))):
            raise InputError(f"Input {name!r}: spikes must be bool, or numbers 0 and 1")
        array = array.astype(bool)
    for tail in {shape, (size,)}:
        lead = array.ndim - len(tail)
        if lead in (1, 2) and array.shape[lead:] == tail:
            return array.reshape(-1 if lead == 2 else 1, array.shape[lead - 1], size) if array.size else \
                np.zeros((array.shape[0] if lead == 2 else 1, array.shape[lead - 1], size), bool), lead == 1
    raise InputError(f"Input {name!r} has shape {array.shape}; expected (samples, steps, {size}) or (steps, {size}), or "
                     f"{shape} in place of {size}")
