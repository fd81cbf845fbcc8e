"""The events from which cycles are predicted: those of a run, or drawn at a rate."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.fields import Ints
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.image import Image

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Activity:
    """Events core by core (row by row of the mesh), neurons in the order of their rows: ``fired`` bool (samples, ticks, neurons);
    ``open`` bool (ticks, neurons), whose potentials may be sent; ``membrane`` int64 (samples, ticks, neurons), None where none are;
    ``reads``, synapse words read, None where nobody counted."""

    fired: list[Bools]
    open: list[Bools]
    membrane: list[Ints] | None = None
    reads: int | None = None


def at_rates(image: Image, rate: float, samples: int, steps: int, seed: int = 0) -> tuple[dict[str, Bools], Activity]:
    """Input spikes and events in which every input and neuron spikes with probability ``rate`` in a step; bits of potentials at half.

    InputError unless 0 <= rate <= 1 and there is a step of a sample.
    """
    if not 0 <= rate <= 1 or samples < 1 or steps < 1:
        raise InputError(f"Rates are 0 to 1, of at least one step of one sample, not {rate} of {samples} × {steps}")
    rng, ticks, params = np.random.default_rng(seed), image.ticks(steps), image.params
    inputs = {source.name: rng.random((samples, steps, source.size)) < rate for source in image.inputs}
    fired, open_, membrane = [], [], []
    for y in range(params.rows):
        for x in range(params.columns):
            size = CoreTables(image, (x, y)).rows * params.neurons_per_cycle
            spiking, potential = np.zeros(size, bool), np.zeros(size, bool)
            for population in image.populations:
                at = population.column("neuron")[(population.column("x") == x) & (population.column("y") == y)]
                (spiking if population.spiking else potential)[at] = True
            fired.append((rng.random((samples, ticks, size)) < rate / image.ticks_per_step) & spiking)
            open_.append(np.broadcast_to(potential, (ticks, size)))
            membrane.append(rng.integers(0, 1 << 31, (samples, ticks, size)))
    return inputs, Activity(fired, open_, membrane)
