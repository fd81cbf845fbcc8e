"""The integer reference: a quantised network run step by step, before it is placed.

It tells what quantisation does without an array or a model of one, and is a reading of docs/semantics.md of its own, in steps
instead of ticks: u_j ← rtz(u_j α_j) + 2^k Σ w s, v ← saturate(rtz(v β) + u_0 + u_1 + b), spike if v ≥ θ and the refractory
count is 0, then v ← saturate(v − ρ) or v ← ρ. What it says equals the golden model's spikes and potentials, bit by bit.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError, InputError
from spikeloom.events import InputSpikes, Spikes, dense_inputs
from spikeloom.host.networks.sums import Adder, adder
from spikeloom.host.networks.values import forward
from spikeloom.host.quantisation.quant_network import Edge, Ints, QuantNetwork, QuantPopulation, Reals
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class QuantResult:
    """What a run of a quantised network returns, always with the samples axis.

    ``spikes[name]`` is bool (samples, steps, neurons) for each spiking population; ``states[name]`` int64 of the same shape, v
    after the reset in state units, and ``potentials[name]`` float64, the same in the network's units, for the recorded ones.
    """

    spikes: dict[str, Spikes]
    states: dict[str, Ints]
    scales: dict[str, Reals]

    @property
    def potentials(self) -> dict[str, Reals]:
        """Membrane potentials in the network's units."""
        return {name: states / self.scales[name] for name, states in self.states.items()}


def quant_reference(network: QuantNetwork, spikes: InputSpikes, params: ArrayParams, *,
                    record: Iterable[str] | None = None) -> QuantResult:
    """Run a quantised network on input spikes, every sample from the zero state.

    ``spikes`` as for :meth:`spikeloom.machine.Machine.run`; ``params`` give the widths of states and gains; ``record`` names the
    populations whose potentials are returned (default: those that never spike). InputError for inputs that do not fit or
    unknown names, CompileError where a synaptic current leaves its width, which :mod:`spikeloom.host.quantisation.quantise` excludes.
    """
    inputs, _ = dense_inputs(network.inputs, spikes)
    samples, steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)
    chosen = _recorded(network, record)
    history: dict[str, npt.NDArray[Any]] = dict(inputs)
    for name, population in network.populations.items():
        kind = np.int64 if any(edge.planes and edge.source == name for edge in network.edges) else np.bool_
        history[name] = np.zeros((samples, steps, population.size), kind)
    states = {name: np.zeros((samples, steps, network.size(name)), np.int64) for name in chosen}
    neurons = {name: _Neurons(population, samples, params) for name, population in network.populations.items()}
    parts = {name: [part for edge in network.edges if edge.target == name for part in _parts(edge, network)]
             for name in network.populations}
    order = _order(network)
    for step in range(steps):
        for name in order:
            sums = np.zeros((network.populations[name].currents, samples, network.size(name)), np.int64)
            for source, delay, receptor, add in parts[name]:
                if step >= delay:
                    sums[receptor] += add(history[source][:, step - delay]).astype(np.int64)
            fired = neurons[name].update(sums)
            history[name][:, step] = neurons[name].membrane if history[name].dtype == np.int64 else fired
            if name in states:
                states[name][:, step] = neurons[name].membrane
    fired_by = {name: history[name] for name, population in network.populations.items() if population.spiking}
    return QuantResult(fired_by, states, {name: population.scale for name, population in network.populations.items()})


def _recorded(network: QuantNetwork, record: Iterable[str] | None) -> list[str]:
    if record is None:
        return [name for name, population in network.populations.items() if not population.spiking and not population.helper]
    chosen = list(record)
    for name in chosen:
        if name not in network.populations:
            raise InputError(f"There is no population {name!r}; there are {', '.join(network.populations)}")
    return chosen


def _parts(edge: Edge, network: QuantNetwork) -> list[tuple[str, int, int, Adder]]:
    """Source, delay, receptor and sums for each delay of an edge."""
    found = []
    for delay in np.unique(edge.delay):
        here = edge.delay == delay
        add = adder(edge.pre[here], edge.post[here], edge.weight[here], network.size(edge.source), network.size(edge.target))
        found.append((edge.source, int(delay), edge.receptor, add))
    return found


def _order(network: QuantNetwork) -> list[str]:
    """Populations so that edges without delay lead forward."""
    before: dict[str, set[str]] = {name: set() for name in network.populations}
    for edge in network.edges:
        if edge.source in before and np.any(edge.delay == 0):
            before[edge.target].add(edge.source)
    done = forward(before)
    if len(done) < len(before):
        raise CompileError(f"Populations {', '.join(sorted(set(before) - set(done)))} form a loop without delay")
    return done


class _Neurons:
    """State of a population over all samples, int64 (samples, neurons); the current (currents, samples, neurons)."""

    def __init__(self, population: QuantPopulation, samples: int, params: ArrayParams) -> None:
        self._population, self._fraction = population, params.gain_bits
        self._high = (1 << (params.state_bits - 1)) - 1
        shape = (samples, population.size)
        self.membrane = np.zeros(shape, np.int64)
        self._current = np.zeros((population.currents, *shape), np.int64)
        self._waiting = np.zeros(shape, np.int64)
        self._alpha = np.stack([population.current_gain, population.second_current_gain])[:population.currents, None, :]

    def update(self, sums: Ints) -> Spikes:
        """One step with Σ w s, (currents, samples, neurons); returns the spikes (samples, neurons)."""
        population, before = self._population, self.membrane
        self._current = self._decay(self._current, self._alpha) + (sums << population.shift)
        if np.any(np.abs(self._current) > self._high + 1):
            raise CompileError(f"Population {population.name!r}: a synaptic current leaves the state's width")
        membrane = self._saturate(self._decay(before, population.membrane_gain) + self._current.sum(axis=0) + population.bias)
        if population.floor:
            membrane = np.maximum(membrane, self._saturate(-population.threshold))
        blocked = self._waiting > 0
        if population.hold:
            membrane = np.where(blocked, before, membrane)
        fired: Spikes = (membrane >= population.threshold) & ~blocked if population.spiking else np.zeros(membrane.shape, bool)
        after = self._saturate(membrane - population.reset) if population.subtract else population.reset
        self.membrane = np.where(fired, after, membrane)
        self._waiting = np.where(fired, population.refractory, np.maximum(self._waiting - 1, 0))
        return fired

    def _decay(self, state: Ints, gain: Ints) -> Ints:
        return np.asarray(np.sign(state) * (np.abs(state) * gain >> self._fraction), np.int64)

    def _saturate(self, values: Ints) -> Ints:
        return np.clip(values, -self._high - 1, self._high)
