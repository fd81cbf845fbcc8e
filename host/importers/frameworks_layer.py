"""What a neuron layer of a PyTorch framework says of itself, in the terms of a population."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.networks.population import Floats, Population, Reals

Changes = Mapping[str, Any]


@dataclass(frozen=True)
class Layer:
    """What a neuron layer of a framework says of itself.

    ``changes`` gives, from the population that NIR's numbers make, the fields that the module knows better; ``notes`` tell
    what was read; ``exact`` is False where something can only be approximated, which the notes then say.
    """

    changes: Callable[[Population], Changes]
    notes: tuple[str, ...] = ()
    exact: bool = True


@dataclass(frozen=True)
class Direct:
    """α u + k (Σ w s + c) and β v + that: a framework that decays and adds. ``decay_first`` multiplies the sum by α too."""

    precision: str
    alpha: Floats
    beta: Floats
    factor: Floats
    offset: Floats
    decay_first: bool = False

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        alpha, beta, factor, offset = (x.astype(self.precision) for x in (self.alpha, self.beta, self.factor, self.offset))
        drive = drive + offset
        current = alpha * (current + drive) if self.decay_first else alpha * current + drive
        return current, beta * membrane + factor * current


def numbers(value: Any) -> npt.NDArray[np.float32]:
    """A framework's number or tensor as float32."""
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value, np.float32)


def spread(value: Any, shape: tuple[int, ...], what: str) -> Floats:
    """A layer's number or tensor, one value a neuron: (n,)."""
    try:
        return np.broadcast_to(numbers(value), shape).reshape(-1).astype(np.float64)
    except ValueError:
        raise NetworkError(f"{what} has shape {numbers(value).shape}, but the layer has the shape {shape}") from None


def offset_of(population: Population) -> Floats:
    """The constant that biases before a population add to its sum, (n,)."""
    return np.asarray(getattr(population.rule, "offset", np.zeros(population.size)))


def direct(population: Population, alpha: Floats | float, beta: Floats | float, factor: Floats | float,
           decay_first: bool = False) -> dict[str, Any]:
    """Fields of a population that decays by α and β and takes its input k times, as :class:`Direct`."""
    offset = offset_of(population)
    alphas, betas, factors = (np.broadcast_to(np.asarray(x, np.float64), population.size) for x in (alpha, beta, factor))
    gain = factors * alphas if decay_first else factors
    return {"current_gain": alphas, "membrane_gain": betas, "input_gain": gain, "bias": gain * offset,
            "rule": Direct("float32", alphas, betas, factors, offset, decay_first)}


def refuse(title: str, name: str, module: Any, faults: Sequence[tuple[bool, str]]) -> None:
    """NetworkError for the first fault of a layer that is there."""
    for there, text in faults:
        if there:
            raise NetworkError(f"{title}: {type(module).__name__} {name!r} {text}, which neither NIR nor the hardware's neuron can "
                               f"represent")
