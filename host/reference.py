"""The float reference: a network run step by step under its own discretisation, before anything is quantised.

It is a second reading of the semantics, independent of the golden model. Populations with a rule compute in their
framework's precision and order of operations; integer populations in int64, with products rounded toward zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError, NetworkError
from spikeloom.events import Events, InputSpikes, Spikes, dense_inputs
from spikeloom.host.network import Floats, Ints, Network, Population, Projection
from spikeloom.host.population import INTEGER_GAIN_BITS, Reals

#: Share of a matrix that must be synapses for it to be multiplied as one; 16 Mi entries are 128 MiB.
_DENSE_SHARE, _DENSE_LIMIT = 0.2, 1 << 24


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
              state_bits: int | None = None) -> ReferenceResult:
    """Run a network on input spikes, every sample from the zero state.

    Parameters
    ----------
    network
        Any :class:`spikeloom.host.network.Network`.
    spikes
        As for :meth:`spikeloom.machine.Machine.run`; arrays may also hold real values, which are weighted like spikes
        (an input current).
    record
        Populations whose potentials are returned; default: those that never spike.
    state_bits
        Width at which the membranes of integer populations saturate; None: they do not.

    InputError for inputs that do not fit, NetworkError for unknown names in ``record``.
    """
    inputs, single = _inputs(network, spikes)
    samples, steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)
    chosen = [p.name for p in network.populations if not p.spiking] if record is None else \
        [network.population(name).name for name in record]
    history: dict[str, npt.NDArray[Any]] = dict(inputs)
    for population in network.populations:
        history[population.name] = np.zeros((samples, steps, population.size), bool)
    potentials = {name: np.zeros((samples, steps, network.size(name))) for name in chosen}
    order = network.order()
    neurons = {name: _neurons(network.population(name), samples, state_bits) for name in order}
    synapses = {name: [part for p in network.projections if p.target == name for part in _parts(p, network)] for name in order}
    for step in range(steps):
        for name in order:
            drive = np.zeros((samples, network.size(name)))
            for source, delay, matmul in synapses[name]:
                if step >= delay:
                    drive += matmul(history[source][:, step - delay])
            history[name][:, step] = neurons[name].update(drive)
            if name in potentials:
                potentials[name][:, step] = neurons[name].membrane
    fired = {p.name: cast(Spikes, history[p.name]) for p in network.populations if p.spiking}
    if single:
        fired = {name: array[0] for name, array in fired.items()}
        potentials = {name: array[0] for name, array in potentials.items()}
    return ReferenceResult(fired, potentials)


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


Part = tuple[str, int, Callable[[npt.NDArray[Any]], Floats]]


def _parts(projection: Projection, network: Network) -> list[Part]:
    """The projection cut by delays: source, delay, and what maps (samples, inputs) to sums (samples, outputs)."""
    inputs, outputs = network.size(projection.source), network.size(projection.target)
    parts: list[Part] = []
    for delay in np.unique(projection.delay):
        here = projection.delay == delay
        pre, post, weight = projection.pre[here], projection.post[here], projection.weight[here]
        entries = inputs * outputs
        if entries <= _DENSE_LIMIT and len(weight) >= _DENSE_SHARE * entries:
            matrix = np.zeros((inputs, outputs))
            np.add.at(matrix, (pre, post), weight)
            parts.append((projection.source, int(delay), _dense(matrix)))
        else:
            parts.append((projection.source, int(delay), _sparse(pre, post, weight, inputs, outputs)))
    return parts


def _dense(matrix: Floats) -> Callable[[npt.NDArray[Any]], Floats]:
    return lambda spikes: spikes.astype(np.float64) @ matrix


def _sparse(pre: Ints, post: Ints, weight: Floats, inputs: int, outputs: int) -> Callable[[npt.NDArray[Any]], Floats]:
    """Only the synapses of neurons that spike are walked."""
    order = np.argsort(pre, kind="stable")
    targets, weights = post[order], weight[order]
    start = np.concatenate(([0], np.cumsum(np.bincount(pre, minlength=inputs))))

    def sums(spikes: npt.NDArray[Any]) -> Floats:
        sample, neuron = np.nonzero(spikes)
        fan = start[neuron + 1] - start[neuron]
        index = np.arange(fan.sum()) + np.repeat(start[neuron] - (np.cumsum(fan) - fan), fan)
        values = weights[index] * np.repeat(spikes[sample, neuron].astype(np.float64), fan)
        flat = np.repeat(sample, fan) * outputs + targets[index]
        total = np.bincount(flat, values, minlength=len(spikes) * outputs).astype(np.float64)
        return total.reshape(len(spikes), outputs)

    return sums


def _neurons(population: Population, samples: int, state_bits: int | None) -> _Neurons:
    if population.integer:
        return _IntegerNeurons(population, samples, state_bits)
    return _Neurons(population, samples)


class _Neurons:
    """State of a population over all samples."""

    def __init__(self, population: Population, samples: int) -> None:
        rule = population.rule
        self._population = population
        self._type: Any = np.float64 if rule is None else np.dtype(rule.precision)
        shape = (samples, population.size)
        self.membrane: npt.NDArray[Any] = np.zeros(shape, self._type)
        self._current: npt.NDArray[Any] = np.zeros(shape, self._type)
        self._waiting = np.zeros(shape, np.int64)
        self._threshold = population.threshold.astype(self._type)
        self._reset = population.reset_value.astype(self._type)

    def update(self, drive: Floats) -> Spikes:
        """One step with the synaptic sums (samples, n); returns the spikes."""
        population = self._population
        before = self.membrane
        self._current, membrane = self._advance(drive)
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

    def _advance(self, drive: Floats) -> tuple[Reals, Reals]:
        p = self._population
        if p.rule is not None:
            return p.rule.advance(self._current, self.membrane, drive.astype(self._type))
        current = p.current_gain * self._current + p.input_gain * drive
        return current, p.membrane_gain * self.membrane + current + p.bias

    def _subtract(self, membrane: Reals) -> Reals:
        return cast(Reals, membrane - self._reset)


class _IntegerNeurons(_Neurons):
    """Exact integers: u ← rtz(u α) + g Σ w s, v ← saturate(rtz(v β) + u + b), and v − ρ saturates too."""

    def __init__(self, population: Population, samples: int, state_bits: int | None) -> None:
        super().__init__(population, samples)
        self._type = np.int64
        self._high = None if state_bits is None else (1 << (state_bits - 1)) - 1
        whole = ("threshold", "reset_value", "bias", "input_gain")
        self._threshold, self._reset, self._bias, self._gain = (getattr(population, name).astype(np.int64) for name in whole)
        gains = (population.current_gain, population.membrane_gain)
        self._alpha, self._beta = (np.round(gain * 2.0**INTEGER_GAIN_BITS).astype(np.int64) for gain in gains)
        self.membrane = self.membrane.astype(np.int64)
        self._current = self._current.astype(np.int64)

    def _advance(self, drive: Floats) -> tuple[Ints, Ints]:
        if np.any(drive != np.round(drive)):
            raise InputError(f"Population {self._population.name!r} takes integers: inputs with fractions cannot drive it")
        current = _decay(self._current, self._alpha) + self._gain * drive.astype(np.int64)
        return current, self._saturate(_decay(self.membrane, self._beta) + current + self._bias)

    def _subtract(self, membrane: Ints) -> Ints:
        return self._saturate(membrane - self._reset)

    def _saturate(self, values: Ints) -> Ints:
        return values if self._high is None else np.clip(values, -self._high - 1, self._high)


def _decay(state: Ints, gain: Ints) -> Ints:
    """State times gain / 2**16, rounded toward zero."""
    if state.size and int(np.abs(state).max()) >= 1 << 46:
        raise NetworkError("An integer network's state has left 46 bits: it has no decay and no reset that bounds it")
    return cast(Ints, np.sign(state) * (np.abs(state) * gain >> INTEGER_GAIN_BITS))
