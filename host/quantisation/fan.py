"""What quantisation works on: the synapses into one population, of all sources and both synaptic currents, in one list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.host.networks.network import Network, Population
from spikeloom.host.quantisation.quant_network import Edge, Ints, Reals


@dataclass(frozen=True)
class RealEdge:
    """Synapses of one source, target and receptor before they are quantised: int64, and float64 weights, (synapses,) each."""

    source: str
    target: str
    receptor: int
    pre: Ints
    post: Ints
    delay: Ints
    weight: Reals


@dataclass(frozen=True)
class Fan:
    """A population and its synapses: ``post``, ``receptor`` (int64) and ``weight`` (float64) are those of ``edges``, joined."""

    population: Population
    currents: int
    edges: tuple[RealEdge, ...]
    post: Ints
    receptor: Ints
    weight: Reals

    @property
    def title(self) -> str:
        """How errors call the population."""
        return f"Population {self.population.name!r}"

    @property
    def threshold(self) -> Reals:
        """Thresholds, (neurons,); 0 for a readout, which has none."""
        real = np.asarray(self.population.threshold, np.float64)
        return real if self.population.spiking else np.zeros_like(real)

    @property
    def constants(self) -> Reals:
        """The largest of |threshold|, |bias| and |reset| of each neuron, (neurons,)."""
        population = self.population
        return np.asarray(np.max(np.abs(np.stack([self.threshold, population.bias, population.reset_value])), axis=0), np.float64)

    def quantised(self, integers: Ints) -> list[Edge]:
        """The edges with integer weights (synapses,), without the synapses whose weight is 0."""
        done: list[Edge] = []
        start = 0
        for real in self.edges:
            weight = integers[start: start + len(real.pre)]
            start += len(real.pre)
            keep = weight != 0
            done.append(Edge(real.source, real.target, real.pre[keep], real.post[keep], real.delay[keep], weight[keep],
                             receptor=real.receptor))
        return done


def fans(network: Network) -> list[Fan]:
    """The synapses into each population, input gains multiplied in."""
    merged = _merge(network)
    found = []
    for population in network.populations:
        edges = tuple(edge for edge in merged if edge.target == population.name)
        post = np.concatenate([edge.post for edge in edges] or [np.zeros(0, np.int64)])
        receptor = np.concatenate([np.full(len(edge.post), edge.receptor) for edge in edges] or [np.zeros(0, np.int64)])
        weight = np.concatenate([edge.weight for edge in edges] or [np.zeros(0)])
        found.append(Fan(population, network.currents(population.name), edges, post, receptor, weight))
    return found


def _merge(network: Network) -> list[RealEdge]:
    """Projections of the same ends and receptor joined, synapses alike in pre, post and delay added, zeros dropped."""
    grouped: dict[tuple[str, str, int], list[Any]] = {}
    for projection in network.projections:
        grouped.setdefault((projection.source, projection.target, projection.receptor), []).append(projection)
    gains = {population.name: np.asarray(population.input_gain, np.float64) for population in network.populations}
    merged = []
    for (source, target, receptor), group in grouped.items():
        pre, post, delay = (np.concatenate([np.asarray(getattr(p, name)) for p in group]).astype(np.int64)
                            for name in ("pre", "post", "delay"))
        weight = np.concatenate([np.asarray(p.weight, np.float64) for p in group]) * gains[target][post]
        span = int(delay.max(initial=0)) + 1
        key = (pre * len(gains[target]) + post) * span + delay
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        total = np.bincount(inverse.ravel(), weight, minlength=len(unique))
        keep = total != 0
        first = first[keep]
        merged.append(RealEdge(source, target, receptor, pre[first], post[first], delay[first], total[keep]))
    return merged
