"""Imported networks beside BrainPy's own spikes, in a file, so that they can be compared where BrainPy is not installed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from spikeloom.host.networks.network import Network, Population, Projection

FOLDER = Path(__file__).parent
_POPULATION = ("current_gain", "second_current_gain", "membrane_gain", "input_gain", "bias", "threshold", "reset_value", "refractory")
_PROJECTION = ("pre", "post", "weight", "delay")
Spikes = dict[str, npt.NDArray[np.bool_]]


def save(path: Path, network: Network, inputs: Spikes, spikes: Spikes) -> None:
    """Write a network of refractory neurons that reset to a value, its input spikes, and what BrainPy answered."""
    data: dict[str, npt.NDArray[np.generic]] = {}
    for population in network.populations:
        if population.reset != "value" or not population.hold:
            raise ValueError(f"{population.name} is not a LifRef")
        data.update({f"population/{population.name}/{name}": getattr(population, name) for name in _POPULATION})
    for projection in network.projections:
        ends = np.array([projection.source, projection.target, str(projection.receptor)])
        data.update({f"projection/{projection.name}/{name}": getattr(projection, name) for name in _PROJECTION})
        data[f"projection/{projection.name}/ends"] = ends
    data.update({f"input/{name}": array for name, array in inputs.items()})
    data.update({f"spikes/{name}": array for name, array in spikes.items()})
    np.savez_compressed(path, **data)  # type: ignore[arg-type]  # mypy takes the arrays for its allow_pickle


def load(path: Path) -> tuple[Network, Spikes, Spikes]:
    """The network, its input spikes (steps, inputs) and BrainPy's spikes (steps, neurons)."""
    parts: dict[str, dict[str, dict[str, npt.NDArray[np.generic]]]] = {"population": {}, "projection": {}}
    inputs: Spikes = {}
    spikes: Spikes = {}
    with np.load(path) as file:
        for key in file.files:
            kind, name, *rest = key.split("/")
            if rest:
                parts[kind].setdefault(name, {})[rest[0]] = file[key]
            else:
                (inputs if kind == "input" else spikes)[name] = file[key]
    populations = tuple(Population(name=name, shape=values["bias"].shape, reset="value", hold=True, **values)  # type: ignore[arg-type]
                        for name, values in parts["population"].items())  # fields by name, which mypy cannot follow
    projections = []
    for name, values in parts["projection"].items():
        source, target, receptor = values.pop("ends")
        projections.append(Projection(name=name, source=str(source), target=str(target), receptor=int(receptor),
                                      **values))  # type: ignore[arg-type]  # the same
    shapes = {name: array.shape[1:] for name, array in inputs.items()}
    return Network(inputs=shapes, populations=populations, projections=tuple(projections), outputs=tuple(spikes), dt=1e-4), \
        inputs, spikes
