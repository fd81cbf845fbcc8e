"""Quantisation: a network of real numbers becomes one of integers, and the error that this makes is told.

Thresholds, biases and resets are stored per neuron, so every neuron has a scale of its own: the largest that its weights
allow, ``scale = qmax / max|w|`` (Krishnamoorthi 2018, per-channel symmetric quantisation). Populations with more than one
axis are maps, whose neurons share the scale of their channel (first axis), so that equal kernels stay equal words.
State is kept 2^k finer than weights, with the largest k that the state's width allows, so that the rounding of the decays
stays far below a weight step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.network import Network, Population
from spikeloom.host.quant_network import Edge, Ints, QuantNetwork, QuantPopulation, Reals, digit_range
from spikeloom.params import ArrayParams

#: Fraction bits below a weight step that are worth more than room for improbable potentials.
WISHED_SHIFT = 8
#: Steps' worth of strongest input that the membrane must hold before saturating, where the proven bound asks for more.
HEADROOM = 4
#: Weights of integer networks: signed, so many bits.
INTEGER_BITS = 16


def quantise(network: Network, params: ArrayParams, weight_bits: int | Mapping[str, int] = 8) -> QuantNetwork:
    """The network in integers that fit the array's cells, states and gains.

    ``weight_bits`` is 2 to 16, for all populations or by name (8 for those not named); integer populations are taken as they
    are. CompileError names the population that cannot be represented.
    """
    if isinstance(weight_bits, Mapping):
        unknown = set(weight_bits) - {population.name for population in network.populations}
        if unknown:
            raise CompileError(f"weight_bits names {', '.join(map(repr, sorted(unknown)))}, which the network has not; it has "
                               f"{', '.join(population.name for population in network.populations)}")
    merged = _merge(network)
    populations: dict[str, QuantPopulation] = {}
    edges: list[Edge] = []
    errors: dict[str, dict[str, Any]] = {}
    for population in network.populations:
        bits = weight_bits.get(population.name, 8) if isinstance(weight_bits, Mapping) else weight_bits
        work = _Work(population, [real for real in merged if real.target == population.name], params, bits)
        populations[population.name], errors[population.name] = work.result()
        edges += work.edges()
    return QuantNetwork(dict(network.inputs), populations, tuple(edges), tuple(network.outputs), errors)


@dataclass(frozen=True)
class _RealEdge:
    source: str
    target: str
    pre: Ints
    post: Ints
    delay: Ints
    weight: Reals


def _merge(network: Network) -> list[_RealEdge]:
    """Projections between the same two ends joined, synapses alike in pre, post and delay added, zeros dropped."""
    grouped: dict[tuple[str, str], list[Any]] = {}
    for projection in network.projections:
        grouped.setdefault((projection.source, projection.target), []).append(projection)
    gains = {population.name: np.asarray(population.input_gain, np.float64) for population in network.populations}
    merged = []
    for (source, target), group in grouped.items():
        pre, post, delay = (np.concatenate([np.asarray(getattr(p, name)) for p in group]).astype(np.int64)
                            for name in ("pre", "post", "delay"))
        weight = np.concatenate([np.asarray(p.weight, np.float64) for p in group]) * gains[target][post]
        span = int(delay.max(initial=0)) + 1
        key = (pre * len(gains[target]) + post) * span + delay
        unique, first, inverse = np.unique(key, return_index=True, return_inverse=True)
        total = np.bincount(inverse.ravel(), weight, minlength=len(unique))
        keep = total != 0
        first = first[keep]
        merged.append(_RealEdge(source, target, pre[first], post[first], delay[first], total[keep]))
    return merged


class _Work:
    """Quantisation of one population and the synapses into it."""

    def __init__(self, population: Population, edges: list[_RealEdge], params: ArrayParams, weight_bits: int) -> None:
        self.population, self.real, self.params = population, edges, params
        self.title = f"Population {population.name!r}"
        self.limit = (1 << (params.state_bits - 1)) - 1
        self.coarser = 0  # bits that weights were cut short by
        self.post = np.concatenate([edge.post for edge in edges] or [np.zeros(0, np.int64)])
        self.weight = np.concatenate([edge.weight for edge in edges] or [np.zeros(0)])
        self.alpha = self._gains(population.current_gain, "current", below_one=True)
        self.beta = self._gains(population.membrane_gain, "membrane", below_one=False)
        self._check_periods()
        if population.integer:
            self.steps, self.integers, self.shift = self._exact()
            self.slices = self._integer_slices()
        else:
            self.slices = self._slices(weight_bits)
            self.steps, self.integers, self.shift = self._approximate(weight_bits)
        self._check_current()

    # Gains and periods.

    def _gains(self, gain: npt.ArrayLike, what: str, below_one: bool) -> Ints:
        real, one = np.asarray(gain, np.float64), 1 << self.params.gain_bits
        if not np.all((real >= 0) & (real <= 2)):
            raise CompileError(f"{self.title}: its {what} gain must lie in 0 to 2, not {real.min():g} to {real.max():g}")
        fixed = np.rint(real * one)
        if self.population.integer and np.any(fixed != real * one):
            bad = real[fixed != real * one][0]
            raise CompileError(f"{self.title}: its {what} gain {bad!r} has more than {self.params.gain_bits} fraction bits, so "
                               f"an "
                               f"exact integer network cannot run on this array; take gain_bits up to 16, or round it")
        if below_one:  # a decay that became 1 could not be bounded
            fixed = np.where((real < 1) & (fixed >= one), one - 1, fixed)
        return np.asarray(fixed, np.int64)

    def _check_periods(self) -> None:
        longest, most = int(np.max(self.population.refractory, initial=0)), (1 << self.params.refractory_bits) - 1
        if longest > most:
            raise CompileError(f"{self.title}: its refractory period of {longest} steps exceeds the {most} that "
                               f"{self.params.refractory_bits} refractory bits count")

    # Integer populations.

    def _exact(self) -> tuple[Reals, Ints, int]:
        """Scale of a weight step (1 / 2^k state units), integer weights, k: zeros that all weights end in become the shift."""
        integers = np.rint(self.weight).astype(np.int64)
        if np.any(integers != self.weight):
            raise CompileError(f"{self.title}: is marked integer but has the weight {self.weight[integers != self.weight][0]!r}")
        for name in ("bias", "reset_value"):
            values = np.asarray(getattr(self.population, name), np.float64)
            if np.any(values != np.rint(values)):
                raise CompileError(f"{self.title}: is marked integer but its {name} is not")
        low, high = -(1 << (INTEGER_BITS - 1)), (1 << (INTEGER_BITS - 1)) - 1
        common = int(np.bitwise_or.reduce(np.abs(integers))) if integers.size else 0
        shift = min((common & -common).bit_length() - 1, self.params.state_bits - 1) if common else 0
        weights = integers >> shift
        if weights.size and (weights.min() < low or weights.max() > high):
            raise CompileError(f"{self.title}: its weights run from {integers.min()} to {integers.max()}; integer networks have "
                               f"at most {INTEGER_BITS} bits, beyond zeros that all of them end in")
        return np.full(self.population.size, 2.0 ** -shift), weights, shift

    def _integer_slices(self) -> int:
        """Fewest digits that hold all weights but a few, which take a second word."""
        for slices in range(1, self.params.max_slices + 1):
            low, high = digit_range(self.params.weight_bits, slices)
            beyond = (self.integers < low) | (self.integers > high)
            twice = (self.integers < 2 * low) | (self.integers > 2 * high)
            if 4 * np.count_nonzero(beyond) <= len(beyond) and not np.any(twice):
                return slices
        return self.params.max_slices

    # Real populations.

    def _slices(self, weight_bits: int) -> int:
        if not 2 <= weight_bits <= 16:
            raise CompileError(f"{self.title}: weight_bits must be 2 to 16, not {weight_bits}")
        slices = -(-weight_bits // self.params.weight_bits)
        if slices > self.params.max_slices:
            raise CompileError(f"{self.title}: weights of {weight_bits} bits take {slices} cells of {self.params.weight_bits} "
                               f"bits; "
                               f"this array joins at most {self.params.max_slices}")
        return slices

    def _approximate(self, weight_bits: int) -> tuple[Reals, Ints, int]:
        low, high = digit_range(self.params.weight_bits, self.slices)
        low, high = max(low, -(1 << (weight_bits - 1))), min(high, (1 << (weight_bits - 1)) - 1)
        steps = self._scales(low, high)
        while True:
            integers = np.clip(np.rint(self.weight * steps[self.post]), low, high).astype(np.int64)
            shift = self._shift(integers, steps)
            if integers.size and np.max(np.abs(integers)) < 2:
                raise CompileError(f"{self.title}: {self.params.state_bits} state bits hold its currents and thresholds only "
                                   f"if all weights "
                                   f"become 0 or 1. Take more state_bits, fewer weight_bits, or a shorter synaptic time constant")
            if shift >= 0:
                return steps, integers, shift
            self.coarser -= shift
            steps = steps * 2.0 ** shift  # the state cannot hold these sums: coarser weights

    def _scales(self, low: int, high: int) -> Reals:
        """Weight steps per network unit, (neurons,)."""
        size, population = self.population.size, self.population
        top, bottom = np.zeros(size), np.zeros(size)
        np.maximum.at(top, self.post, self.weight)
        np.minimum.at(bottom, self.post, self.weight)
        with np.errstate(divide="ignore", over="ignore"):
            scale = np.minimum(np.where(top > 0, high / top, np.inf), np.where(bottom < 0, low / bottom, np.inf))
            constants = np.max(np.abs(np.stack([self._threshold(), population.bias, population.reset_value])), axis=0)
            room = np.where(constants > 0, 2.0 ** (self.params.state_bits - 7) / constants, np.inf)
        scale = np.where(np.isinf(scale), np.minimum(room, 2.0 ** self.params.state_bits), np.minimum(scale, room))
        scale = np.where(np.isinf(room) & (top == 0) & (bottom == 0), 1.0, scale)
        if len(population.shape) > 1:
            channels = scale.reshape(population.shape[0], -1)
            scale = np.broadcast_to(channels.min(axis=1, keepdims=True), channels.shape).ravel()
        return np.asarray(scale, np.float64)

    def _threshold(self) -> Reals:
        real = np.asarray(self.population.threshold, np.float64)
        return real if self.population.spiking else np.zeros_like(real)

    def _strength(self, integers: Ints) -> Reals:
        """The greatest sum in either direction that one step can bring each neuron, in weight steps."""
        sides = [np.bincount(self.post, np.maximum(sign * integers, 0), minlength=self.population.size) for sign in (1, -1)]
        return np.asarray(np.maximum(*sides), np.float64)

    def _current_bound(self, integers: Ints) -> Reals:
        """Bound on |u| in weight steps: a geometric series; infinite where the current does not decay."""
        left = 1 - self.alpha / (1 << self.params.gain_bits)
        strength = self._strength(integers)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(strength > 0, np.where(left > 0, strength / left, np.inf), 0)

    def _shift(self, integers: Ints, steps: Reals) -> int:
        """Largest k, below 0 when even 0 is too many."""
        population, beta = self.population, self.beta / (1 << self.params.gain_bits)
        current = self._current_bound(integers)
        if np.any(np.isinf(current)):
            raise CompileError(f"{self.title}: a synaptic current with gain 1 or more has no bound; use a gain below 1")
        drive = current + np.abs(population.bias) * steps
        constants = np.max(np.abs(np.stack([self._threshold(), population.bias, population.reset_value])), axis=0) * steps
        proven = drive / np.maximum(1 - beta, 2.0 ** -10) + constants
        room = [self._bits_left(current), self._bits_left(2 * constants), self.params.state_bits - 2]
        wanted = self._bits_left(proven)
        if wanted < WISHED_SHIFT:
            wanted = min(WISHED_SHIFT, self._bits_left(HEADROOM * drive + constants))
        return min(*room, wanted)

    def _bits_left(self, values: Reals) -> int:
        most = float(np.max(values, initial=0))
        return self.params.state_bits if most == 0 else int(np.floor(np.log2((self.limit - 1) / most)))

    # Both.

    def _check_current(self) -> None:
        bound = self._current_bound(self.integers) * 2.0 ** self.shift
        if np.any(bound > self.limit):
            worst = int(np.argmax(bound))
            why = "does not decay (its gain is 1 or more), so it has no bound" if np.isinf(bound[worst]) else \
                f"may reach {bound[worst]:.0f}"
            raise CompileError(f"{self.title}: the synaptic current of neuron {worst} {why}; {self.params.state_bits} state "
                               f"bits hold "
                               f"{self.limit}. Take more state_bits, or a shorter synaptic time constant")

    def edges(self) -> list[Edge]:
        """The synapses in weight steps, without those that became 0."""
        done: list[Edge] = []
        start = 0
        for real in self.real:
            weight = self.integers[start: start + len(real.pre)]
            start += len(real.pre)
            keep = weight != 0
            done.append(Edge(real.source, real.target, real.pre[keep], real.post[keep], real.delay[keep], weight[keep]))
        return done

    def _fit(self, values: Reals, name: str) -> Ints:
        fixed = values.astype(np.int64)
        if fixed.size and (fixed.min() < -self.limit - 1 or fixed.max() > self.limit):
            raise CompileError(f"{self.title}: its {name} runs from {fixed.min()} to {fixed.max()}; {self.params.state_bits} "
                               f"state bits "
                               f"hold {-self.limit - 1} to {self.limit}")
        return fixed

    def result(self) -> tuple[QuantPopulation, dict[str, Any]]:
        """The population and what quantisation did to it."""
        population = self.population
        scale = self.steps * 2.0 ** self.shift
        level = self._threshold() * scale
        threshold = self._fit(np.floor(level) + 1 if population.strict else np.ceil(level), "threshold")
        done = QuantPopulation(
            name=population.name, shape=tuple(population.shape), size=population.size, current_gain=self.alpha,
            membrane_gain=self.beta, shift=self.shift, threshold=threshold,
            bias=self._fit(np.rint(np.asarray(population.bias) * scale), "bias"),
            reset=self._fit(np.rint(np.asarray(population.reset_value) * scale), "reset"),
            refractory=np.asarray(population.refractory, np.int64), subtract=population.reset == "subtract",
            hold=bool(population.hold), spiking=bool(population.spiking), slices=self.slices, scale=scale)
        return done, self._errors(done)

    def _errors(self, done: QuantPopulation) -> dict[str, Any]:
        one = 1 << self.params.gain_bits
        error = self.integers / self.steps[self.post] - self.weight
        most = float(np.max(np.abs(self.weight), initial=0)) or 1.0
        gains = {"current": self.alpha / one - self.population.current_gain,
                 "membrane": self.beta / one - self.population.membrane_gain}
        level = np.abs(self._threshold() * done.scale)
        data: dict[str, Any] = {
            "weight_error_max": float(np.max(np.abs(error), initial=0)) / most,
            "weight_error_rms": float(np.sqrt(np.mean(error ** 2))) / most if error.size else 0.0,
            **{f"{name}_gain_error": float(np.max(np.abs(gap), initial=0)) for name, gap in gains.items()},
            "threshold_steps": float(np.min(level[level > 0], initial=np.inf)),
            "slices": self.slices, "shift": self.shift, "integer": bool(self.population.integer),
            "coarser_bits": self.coarser,
        }
        if not np.isfinite(data["threshold_steps"]):
            data["threshold_steps"] = 0.0
        data["status"] = "exact" if self.population.integer else "approximated"
        return data
