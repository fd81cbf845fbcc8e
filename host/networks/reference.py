"""The float reference: a network run step by step under its own discretisation, before anything is quantised.

It is a second reading of the semantics, independent of the golden model. Populations with a rule compute in their
framework's precision and order of operations; integer populations in int64, with products rounded toward zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError, NetworkError
from spikeloom.events import Events, InputSpikes, Spikes, dense_inputs
from spikeloom.host.networks.network import Floats, Ints, Network, Population, Projection
from spikeloom.host.networks.population import INTEGER_GAIN_BITS, Reals
from spikeloom.host.networks.sums import Adder, adder

#: Neurons of the largest population times samples that are run at once: some 1 MiB a state, whatever the samples.
_BATCH = 1 << 17


@dataclass(frozen=True)
class ReferenceResult:
    """What a reference run returns; a run given one sample without a samples axis returns arrays without it.

    ``spikes[name]`` is bool (samples, steps, neurons) for each spiking population; ``potentials[name]`` float64 of the same
    shape for the recorded ones: v after the reset, in the network's units.
    """

    spikes: dict[str, Spikes]
    potentials: dict[str, Floats]

    @property
    def counts(self) -> dict[str, Ints]:
        """Spikes per neuron over the steps: (samples, neurons)."""
        return {name: spikes.sum(axis=-2, dtype=np.int64) for name, spikes in self.spikes.items()}


def reference(network: Network, spikes: InputSpikes, *, record: Iterable[str] | None = None,
              state_bits: int | None = None, keep: Iterable[str] | None = None) -> ReferenceResult:
    """Run a network on input spikes, every sample from the zero state.

    Parameters
    ----------
    network
        Any :class:`spikeloom.host.networks.network.Network`.
    spikes
        As for :meth:`spikeloom.machine.Machine.run`; arrays may also hold real values, which are weighted like spikes
        (an input current).
    record
        Populations whose potentials are returned; default: those that never spike.
    state_bits
        Width at which the membranes of integer populations saturate; None: they do not.
    keep
        Populations whose spikes are returned; default: all that spike. What is returned is all that grows with the samples:
        they are run in batches.

    InputError for inputs that do not fit, NetworkError for unknown names in ``record`` and ``keep``.
    """
    inputs, single = _inputs(network, spikes)
    samples, steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)
    chosen = [p.name for p in network.populations if not p.spiking] if record is None else \
        [network.population(name).name for name in record]
    kept = [p.name for p in network.populations if p.spiking] if keep is None else \
        [name for name in dict.fromkeys(keep) if network.population(name).spiking]
    fired: dict[str, Spikes] = {name: np.zeros((samples, steps, network.size(name)), bool) for name in kept}
    potentials = {name: np.zeros((samples, steps, network.size(name))) for name in chosen}
    batch = max(1, _BATCH // max(population.size for population in network.populations))
    synapses = {name: [part for p in network.projections if p.target == name for part in _parts(p, network)]
                for name in network.order()}
    for first in range(0, samples, batch):
        part = slice(first, first + batch)
        _run(network, synapses, {name: array[part] for name, array in inputs.items()}, state_bits,
             {name: array[part] for name, array in fired.items()}, {name: array[part] for name, array in potentials.items()})
    if single:
        fired = {name: array[0] for name, array in fired.items()}
        potentials = {name: array[0] for name, array in potentials.items()}
    return ReferenceResult(fired, potentials)


def _run(network: Network, synapses: Mapping[str, list[_Part]], inputs: Mapping[str, npt.NDArray[Any]],
         state_bits: int | None, fired: Mapping[str, Spikes], potentials: Mapping[str, Floats]) -> None:
    """Run some samples and write their spikes and potentials to the given arrays."""
    samples, steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)
    history: dict[str, npt.NDArray[Any]] = {**inputs, **fired}  # (samples, steps, n); only the last steps of the others
    for population in network.populations:
        depth = 1 + max((part.delay for parts in synapses.values() for part in parts if part.source == population.name), default=0)
        history.setdefault(population.name, np.zeros((samples, depth, population.size), bool))
    neurons = {name: _neurons(network.population(name), samples, network.currents(name), state_bits) for name in synapses}
    for step in range(steps):
        for name, parts in synapses.items():
            drives = [np.zeros((samples, network.size(name))) for _ in range(network.currents(name))]
            for part in parts:
                if step >= part.delay:
                    past = history[part.source]
                    drives[part.receptor] += part.sums(past[:, (step - part.delay) % past.shape[1]])
            past = history[name]
            past[:, step % past.shape[1]] = neurons[name].update(drives)
            if name in potentials:
                potentials[name][:, step] = neurons[name].membrane


def _inputs(network: Network, spikes: InputSpikes) -> tuple[dict[str, npt.NDArray[Any]], bool]:
    """Inputs as (samples, steps, size), bool or, where they are not all 0 and 1, float64."""
    given = dict(spikes) if isinstance(spikes, Mapping) else dict.fromkeys(network.inputs, spikes) \
        if len(network.inputs) == 1 else spikes
    if not isinstance(given, Mapping):
        return dict(dense_inputs(network.inputs, given)[0]), False  # raises: which input is meant is not known
    real: dict[str, Reals] = {}
    binary: dict[str, Any] = {}
    for name, value in given.items():
        array = None if isinstance(value, Events) else np.asarray(value)
        if array is not None and np.issubdtype(array.dtype, np.floating):
            if not np.all(np.isfinite(array)):
                raise InputError(f"Input {name!r}: every value must be finite")
            real[name] = array.astype(np.float64)
            binary[name] = array != 0
        else:
            binary[name] = value
    dense, single = dense_inputs(network.inputs, binary)
    return {name: real[name].reshape(array.shape) if name in real else array for name, array in dense.items()}, single


@dataclass(frozen=True)
class _Part:
    """Synapses of one projection and one delay; ``sums`` maps what the source sends (samples, inputs) to (samples, outputs)."""

    source: str
    delay: int
    receptor: int
    sums: Adder


def _parts(projection: Projection, network: Network) -> list[_Part]:
    """The projection cut by delays."""
    inputs, outputs = network.size(projection.source), network.size(projection.target)
    parts: list[_Part] = []
    for delay in np.unique(projection.delay):
        here = projection.delay == delay
        pre, post, weight = projection.pre[here], projection.post[here], projection.weight[here]
        parts.append(_Part(projection.source, int(delay), projection.receptor, adder(pre, post, weight, inputs, outputs)))
    return parts


def _neurons(population: Population, samples: int, currents: int, state_bits: int | None) -> _Neurons:
    if population.integer:
        return _IntegerNeurons(population, samples, currents, state_bits)
    return _Neurons(population, samples, currents)


class _Neurons:
    """State of a population over all samples."""

    def __init__(self, population: Population, samples: int, currents: int) -> None:
        rule = population.rule
        self._population = population
        self._type: Any = np.float64 if rule is None else np.dtype(rule.precision)
        shape = (samples, population.size)
        self.membrane: npt.NDArray[Any] = np.zeros(shape, self._type)
        self._currents: list[npt.NDArray[Any]] = [np.zeros(shape, self._type) for _ in range(currents)]
        self._waiting = np.zeros(shape, np.int64)
        self._threshold = population.threshold.astype(self._type)
        self._reset = population.reset_value.astype(self._type)

    def update(self, drives: list[Floats]) -> Spikes:
        """One step with the synaptic sums (samples, n) of each current; returns the spikes."""
        population = self._population
        before = self.membrane
        membrane = self._advance(drives)
        if population.floor:
            membrane = np.maximum(membrane, -self._threshold)
        blocked = self._waiting > 0
        if population.hold:
            membrane = np.where(blocked, before, membrane)
        if not population.spiking:
            self.membrane = membrane
            return np.zeros(membrane.shape, bool)
        over = membrane > self._threshold if population.strict else membrane >= self._threshold
        spikes: Spikes = over & ~blocked
        after = self._subtract(membrane) if population.reset == "subtract" else self._reset
        self.membrane = np.where(spikes, after, membrane)
        self._waiting = np.where(spikes, population.refractory, np.maximum(self._waiting - 1, 0))
        return spikes

    def _advance(self, drives: list[Floats]) -> Reals:
        """Update the currents; returns the membrane before spike and reset."""
        p = self._population
        if p.rule is not None:
            self._currents[0], membrane = p.rule.advance(self._currents[0], self.membrane, drives[0].astype(self._type))
            return membrane
        gains = (p.current_gain, p.second_current_gain)
        for i, drive in enumerate(drives):
            self._currents[i] = gains[i] * self._currents[i] + p.input_gain * drive
        return cast(Reals, p.membrane_gain * self.membrane + sum(self._currents) + p.bias)

    def _subtract(self, membrane: Reals) -> Reals:
        return cast(Reals, membrane - self._reset)


class _IntegerNeurons(_Neurons):
    """Exact integers: u ← rtz(u α) + g Σ w s, v ← saturate(rtz(v β) + u₀ + u₁ + b), and v − ρ saturates too."""

    def __init__(self, population: Population, samples: int, currents: int, state_bits: int | None) -> None:
        super().__init__(population, samples, currents)
        self._type = np.int64
        self._high = None if state_bits is None else (1 << (state_bits - 1)) - 1
        whole = ("threshold", "reset_value", "bias", "input_gain")
        self._threshold, self._reset, self._bias, self._gain = (getattr(population, name).astype(np.int64) for name in whole)
        gains = (population.membrane_gain, population.current_gain, population.second_current_gain)
        self._beta, *self._alphas = (np.round(gain * 2.0**INTEGER_GAIN_BITS).astype(np.int64) for gain in gains)
        self.membrane = self.membrane.astype(np.int64)
        self._currents = [current.astype(np.int64) for current in self._currents]

    def _advance(self, drives: list[Floats]) -> Ints:
        for i, drive in enumerate(drives):
            if np.any(drive != np.round(drive)):
                raise InputError(f"Population {self._population.name!r} takes integers: inputs with fractions cannot drive it")
            self._currents[i] = _decay(self._currents[i], self._alphas[i]) + self._gain * drive.astype(np.int64)
        return self._saturate(_decay(self.membrane, self._beta) + sum(self._currents) + self._bias)

    def _subtract(self, membrane: Ints) -> Ints:
        return self._saturate(membrane - self._reset)

    def _saturate(self, values: Ints) -> Ints:
        return values if self._high is None else np.clip(values, -self._high - 1, self._high)


def _decay(state: Ints, gain: Ints) -> Ints:
    """State times gain / 2**16, rounded toward zero."""
    if state.size and int(np.abs(state).max()) >= 1 << 46:
        raise NetworkError("An integer network's state has left 46 bits: it has no decay and no reset that bounds it")
    return cast(Ints, np.sign(state) * (np.abs(state) * gain >> INTEGER_GAIN_BITS))
