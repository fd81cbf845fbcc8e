"""The network that the compiler takes: inputs, populations and projections, whatever framework they come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.networks.population import Floats, Ints, Population, Rule
from spikeloom.host.networks.values import check_name, check_shape, forward, unique

__all__ = ["Floats", "Ints", "Network", "NodeReport", "Population", "Projection", "Rule"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Projection:
    """Synapses from one input or population to a population, as a list.

    Synapse i goes from neuron ``pre[i]`` to ``post[i]`` with ``weight[i]`` (float64) and ``delay[i]`` in steps (int64): 0 is
    seen by the target in the step of the spike, 1 in the next one. ``delay`` may be one number. Synapses of one pair add up.
    ``receptor`` tells which synaptic current of the target they drive, 0 or 1.
    """

    name: str
    source: str
    target: str
    pre: Ints
    post: Ints
    weight: Floats
    delay: Ints
    receptor: int = 0

    def __post_init__(self) -> None:
        check_name(self.name, "Projection")
        title = f"Projection {self.name!r}"
        if isinstance(self.receptor, bool) or self.receptor not in (0, 1):
            raise NetworkError(f"{title}: receptor must be 0 or 1, not {self.receptor!r}: neurons have at most two synaptic "
                               f"currents")
        object.__setattr__(self, "receptor", int(self.receptor))
        arrays = {name: np.asarray(getattr(self, name)) for name in ("pre", "post", "weight", "delay")}
        if arrays["delay"].ndim == 0:
            arrays["delay"] = np.full(arrays["weight"].shape, arrays["delay"])
        for name, array in arrays.items():
            if array.ndim != 1 or array.shape != arrays["pre"].shape:
                raise NetworkError(f"{title}: pre, post, weight and delay must be lists of equal length; {name} has shape "
                                   f"{array.shape}")
            if not (np.issubdtype(array.dtype, np.number) or array.dtype == np.bool_ or array.size == 0) \
                    or np.issubdtype(array.dtype, np.complexfloating):
                raise NetworkError(f"{title}: {name} must be real numbers, not {array.dtype}")
            if not np.all(np.isfinite(array)):
                bad = int(np.flatnonzero(~np.isfinite(array))[0])
                raise NetworkError(f"{title}: {name} of synapse {bad} is {array[bad]}; every number must be finite")
            whole = name != "weight"
            if whole and (np.any(array != np.floor(array)) or np.any(array < 0)):
                raise NetworkError(f"{title}: {name} must be 0, 1, 2 …, not {array[(array != np.floor(array)) | (array < 0)][0]}")
            final = array.astype(np.int64 if whole else np.float64)
            final.flags.writeable = False
            object.__setattr__(self, name, final)

    @property
    def size(self) -> int:
        """Number of synapses."""
        return len(self.weight)

    @classmethod
    def dense(cls, name: str, source: str, target: str, weights: npt.ArrayLike, delay: npt.ArrayLike = 0, *,
              receptor: int = 0) -> Projection:
        """Synapses from a matrix (outputs, inputs); zero weights make none. ``delay`` is a number or a matrix like it."""
        try:
            matrix = np.asarray(weights, np.float64)
            delays = np.broadcast_to(np.asarray(delay), matrix.shape)
        except (TypeError, ValueError) as error:
            raise NetworkError(f"Projection {name!r}: weights and delay do not form matrices: {error}") from None
        if matrix.ndim != 2:
            raise NetworkError(f"Projection {name!r}: weights must be a matrix (outputs, inputs), not of shape {matrix.shape}")
        post, pre = np.nonzero(matrix)
        return cls(name=name, source=source, target=target, pre=pre, post=post, weight=matrix[post, pre],
                   delay=delays[post, pre], receptor=receptor)


@dataclass(frozen=True)
class NodeReport:
    """What became of one node of an imported file: ``exact``, ``approximated`` or ``refused``, and how."""

    name: str
    kind: str
    status: Literal["exact", "approximated", "refused"]
    detail: str


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A whole network.

    ``inputs`` gives the shape of each input; ``outputs`` names the populations that the user wants to see; ``dt`` is the step
    in seconds (None where it has none). Raises NetworkError, naming the culprit, for names that are unknown or used
    twice, synapses outside their populations, readouts that feed others, and loops in which no synapse has a delay.
    """

    inputs: Mapping[str, tuple[int, ...]]
    populations: tuple[Population, ...]
    projections: tuple[Projection, ...]
    outputs: tuple[str, ...]
    dt: float | None = None
    report: tuple[NodeReport, ...] = field(default_factory=tuple)

    def __post_init__(self) -> None:
        for name in ("populations", "projections", "outputs", "report"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in self.inputs:
            check_name(name, "Input")
        shapes = {name: check_shape(shape, f"Input {name!r}") for name, shape in self.inputs.items()}
        object.__setattr__(self, "inputs", shapes)
        if not self.inputs and not self.populations:
            raise NetworkError("The network has neither inputs nor populations")
        if not self.populations:
            raise NetworkError("The network has no populations: there is nothing to run")
        if self.dt is not None and not (np.isfinite(self.dt) and self.dt > 0):
            raise NetworkError(f"dt must be a positive number of seconds, not {self.dt}")
        unique((*self.inputs, *(p.name for p in self.populations)), "Input or population")
        unique((p.name for p in self.projections), "Projection")
        for projection in self.projections:
            self._check_projection(projection)
        for name in self.outputs:
            self.population(name)
        unique(self.outputs, "Output")
        self.order()

    def population(self, name: str) -> Population:
        """The named population; NetworkError lists them when it is unknown."""
        for population in self.populations:
            if population.name == name:
                return population
        raise NetworkError(f"There is no population {name!r}; there are {', '.join(p.name for p in self.populations)}")

    def size(self, name: str) -> int:
        """Neurons of an input or population."""
        if name in self.inputs:
            return int(np.prod(self.inputs[name], dtype=np.int64))
        return self.population(name).size

    def currents(self, name: str) -> int:
        """Synaptic currents of a population's neurons: 2 if any projection drives its receptor 1, else 1."""
        self.population(name)
        return 1 + max((p.receptor for p in self.projections if p.target == name), default=0)

    def order(self) -> tuple[str, ...]:
        """Populations so that synapses without delay lead forward; NetworkError names a loop that prevents it."""
        before: dict[str, set[str]] = {population.name: set() for population in self.populations}
        for projection in self.projections:
            if projection.source in before and np.any(projection.delay == 0):
                before[projection.target].add(projection.source)
        done = forward(before)
        if len(done) < len(before):
            raise NetworkError(f"Populations {' → '.join(_loop(before, done))} form a loop in which no synapse has a "
                               f"delay; give one projection of it delay=1")
        return tuple(done)

    def _check_projection(self, projection: Projection) -> None:
        title = f"Projection {projection.name!r}"
        names = [population.name for population in self.populations]
        if projection.source not in (*self.inputs, *names):
            raise NetworkError(f"{title}: there is no input or population {projection.source!r}; there are "
                               f"{', '.join((*self.inputs, *names))}")
        if projection.target not in names:
            why = "an input cannot be a target" if projection.target in self.inputs else f"there are {', '.join(names)}"
            raise NetworkError(f"{title}: there is no population {projection.target!r}; {why}")
        for what, values, name in (("pre", projection.pre, projection.source), ("post", projection.post, projection.target)):
            if values.size and values.max() >= self.size(name):
                raise NetworkError(f"{title}: {what} reaches neuron {values.max()}, but {name!r} has only {self.size(name)}")
        if projection.source in names and not self.population(projection.source).spiking:
            raise NetworkError(f"{title}: {projection.source!r} never spikes, so that it cannot drive {projection.target!r}; "
                               f"only spikes travel between populations")
        if projection.receptor and self.population(projection.target).rule is not None:
            raise NetworkError(f"{title}: {projection.target!r} follows a framework's rule, which knows one synaptic current; a "
                               f"population with a second one (receptor 1) must have rule=None")
        if self.population(projection.target).integer and np.any(projection.weight != np.round(projection.weight)):
            raise NetworkError(f"{title}: {projection.target!r} is an integer population, so that its weights must be integers")


def _loop(before: Mapping[str, set[str]], done: list[str]) -> list[str]:
    """Names around one loop among those that are not done, the first repeated at the end."""
    path: list[str] = [next(name for name in before if name not in done)]
    while True:
        step = min(before[path[-1]].difference(done))
        if step in path:
            return [*path[path.index(step):], step][::-1]
        path.append(step)
