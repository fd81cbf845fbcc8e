"""Pictures of runs, with matplotlib."""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.errors import InputError, SpikeloomError
from spikeloom.events import Spikes
from spikeloom.machine import Result

#: Up to so many potentials get a line each; more would hide each other.
MOST_LINES = 12


def raster(result: Result, sample: int = 0, inputs: Spikes | None = None) -> Any:
    """A matplotlib figure of one sample: a dot for each spike, and a line for each potential that was read in every step.

    Parameters
    ----------
    result
        Any run; one of a single sample without a samples axis has only sample 0.
    sample
        Which sample.
    inputs
        Spikes of the input, bool (steps, inputs), for a panel of their own.

    InputError for a sample that the run does not have; SpikeloomError where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpikeloomError("Rasters need matplotlib, which is not installed: pip install 'spikeloom[cli]'") from None
    panels = [(name, "spikes", _of(spikes, sample, 3)) for name, spikes in result.spikes.items()]
    if inputs is not None:
        panels.insert(0, ("input", "spikes", np.asarray(inputs, bool)))
    for name, values in result.potentials.items():
        population, steps = result.image.population(name), _per_step(result, values)
        if steps is not None and population.size <= MOST_LINES:
            panels.append((name, "potential", _of(values, sample, 3)))
    if not panels:
        raise InputError("The run recorded neither spikes nor potentials of every step: there is nothing to draw")
    heights = [max(1.0, min(4.0, array.shape[1] / 24)) if kind == "spikes" else 2.0 for _, kind, array in panels]
    figure = Figure(figsize=(7, 1 + 1.2 * sum(heights)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights})[:, 0]
    for axis, (name, kind, array) in zip(axes, panels, strict=True):
        if kind == "spikes":
            step, neuron = np.nonzero(array)
            axis.plot(step, neuron, "|", color="black", markersize=4)
            axis.set_ylim(array.shape[1] - 0.5, -0.5)
            axis.set_ylabel(f"{name}\nneuron")
        else:
            for number, line in enumerate(array.T):
                axis.plot(np.arange(len(array)), line, label=str(number))
            axis.set_ylabel(f"{name}\npotential")
            axis.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize="x-small")
    axes[-1].set_xlim(-0.5, max(len(array) for _, _, array in panels) - 0.5)
    axes[-1].set_xlabel("step")
    return figure


def _per_step(result: Result, values: Any) -> int | None:
    """Steps of potentials, None where they were read only at the end: with spikes to compare with, by the number of axes."""
    if result.spikes:
        return values.shape[-2] if values.ndim == next(iter(result.spikes.values())).ndim else None
    return values.shape[-2] if values.ndim == 3 else None


def _of(array: Any, sample: int, axes: int) -> Any:
    """One sample, (steps, neurons)."""
    whole = array if array.ndim == axes else array[None]
    if not 0 <= sample < len(whole):
        raise InputError(f"The run has samples 0 to {len(whole) - 1}, not {sample}")
    return whole[sample]
