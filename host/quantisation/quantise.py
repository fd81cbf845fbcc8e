"""Quantisation: a network of real numbers becomes one of integers, and the error that this makes is told.

Weights are rounded to steps of a scale per neuron, channel or population (:mod:`spikeloom.host.quantisation.scales`), which sample
input may choose (:mod:`spikeloom.host.quantisation.calibrate`). State is kept 2^k finer than weights, with the largest k that the state's
width allows (:mod:`spikeloom.host.quantisation.bounds`), so that the rounding of the decays stays far below a weight step.
Integer populations are taken as they are (:mod:`spikeloom.host.quantisation.integer`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.events import InputSpikes
from spikeloom.host.networks.network import Network
from spikeloom.host.quantisation.bounds import Bounds
from spikeloom.host.quantisation.calibrate import Calibration
from spikeloom.host.quantisation.fan import Fan, fans
from spikeloom.host.quantisation.integer import exact, slices_for
from spikeloom.host.quantisation.quant_network import Edge, Ints, QuantNetwork, QuantPopulation, Reals
from spikeloom.host.quantisation.report import layer_report, spike_report
from spikeloom.host.quantisation.scales import ScaleKind, WeightRange, groups, largest_scales, weight_range
from spikeloom.params import ArrayParams

#: Width of real weights where none is given.
DEFAULT_BITS = 8


def quantise(network: Network, params: ArrayParams, weight_bits: int | Mapping[str, int] = DEFAULT_BITS, *,
             scale: ScaleKind = "neuron", calibrate: InputSpikes | Calibration | None = None) -> QuantNetwork:
    """The network in integers that fit the array's cells, states and gains.

    Parameters
    ----------
    network, params
        The network and the array.
    weight_bits
        2 to 16, for all populations or by name (8 for those not named); integer populations are taken as they are.
    scale
        "neuron": a scale for each neuron (for each channel of a map); "tensor": one for each population.
    calibrate
        Sample input as for :func:`spikeloom.host.networks.reference.reference`, or what was recorded of it before: scales are then those
        with the least error in membrane potential on it. InputError for input that does not fit.

    CompileError names the population that cannot be represented. ``errors`` of the result holds, for each population, what
    :func:`spikeloom.host.quantisation.report.layer_report` tells and, after calibration, under "calibration" what differs on the
    sample input.
    """
    _check(network, weight_bits, scale)
    sample = calibrate if calibrate is None or isinstance(calibrate, Calibration) else Calibration(network, calibrate)
    populations: dict[str, QuantPopulation] = {}
    edges: list[Edge] = []
    errors: dict[str, dict[str, Any]] = {}
    for fan in fans(network):
        name = fan.population.name
        bits = weight_bits.get(name, DEFAULT_BITS) if isinstance(weight_bits, Mapping) else weight_bits
        populations[name], integers, errors[name] = _population(fan, params, bits, scale, sample)
        edges += fan.quantised(integers)
    done = QuantNetwork(dict(network.inputs), populations, tuple(edges), tuple(network.outputs), errors)
    if sample is not None:
        for name, data in spike_report(done, sample, params).items():
            errors[name].setdefault("calibration", {}).update(data)
    return done


def _check(network: Network, weight_bits: int | Mapping[str, int], scale: str) -> None:
    if scale not in ("neuron", "tensor"):
        raise CompileError(f"scale must be 'neuron' or 'tensor', not {scale!r}")
    if isinstance(weight_bits, Mapping):
        unknown = set(weight_bits) - {population.name for population in network.populations}
        if unknown:
            raise CompileError(f"weight_bits names {', '.join(map(repr, sorted(unknown)))}, which the network has not; it has "
                               f"{', '.join(population.name for population in network.populations)}")


def _population(fan: Fan, params: ArrayParams, bits: int, kind: ScaleKind,
                sample: Calibration | None) -> tuple[QuantPopulation, Ints, dict[str, Any]]:
    """The population in integers, its integer weights (synapses,), and what quantisation did to it."""
    bounds = Bounds(fan, params)
    told: dict[str, Any] = {}
    if fan.population.integer:
        integers, shift = exact(fan, params)
        choice = _Choice(np.full(fan.population.size, 2.0 ** -shift), integers, shift)
        slices = slices_for(integers, params)
    else:
        weights = weight_range(fan, params, bits)
        slices = weights.slices
        choice, told = _approximate(fan, params, weights, bounds, kind, sample)
        told |= {"weight_bits": int(bits), "scale_kind": kind, "clipped_weights": weights.clipped(fan, choice.steps)}
    bounds.check(choice.integers, choice.shift)
    done = _finish(fan, bounds, choice, slices)
    report = layer_report(fan, done, choice.integers, choice.steps, params.gain_bits)
    return done, choice.integers, report | {"coarser_bits": choice.coarser} | told


@dataclass(frozen=True)
class _Choice:
    """Weight steps per network unit (neurons,), integers (synapses,), the shift, and bits that weights were cut short by."""

    steps: Reals
    integers: Ints
    shift: int
    coarser: int = 0


def _approximate(fan: Fan, params: ArrayParams, weights: WeightRange, bounds: Bounds, kind: ScaleKind,
                 sample: Calibration | None) -> tuple[_Choice, dict[str, Any]]:
    group = groups(fan, kind)
    steps, room = largest_scales(fan, params, weights, group)
    plain = _settle(fan, weights, bounds, steps)
    if sample is None:
        return plain, {}
    probe = sample.probe(fan, group)
    better = _settle(fan, weights, bounds, probe.best(weights, steps, room))
    errors = probe.errors([(plain.integers, plain.steps), (better.integers, better.steps)])
    worse = ~(errors[1] < errors[0])  # by group; where the state made the better scales coarser again
    keep = worse[group]
    integers = np.where(keep[fan.post], plain.integers, better.integers)
    steps = np.where(keep, plain.steps, better.steps)
    chosen = _Choice(steps, integers, bounds.shift(integers, steps), max(plain.coarser, better.coarser))
    return chosen, {"calibration": probe.report(np.where(worse, errors[0], errors[1]), errors[0])}


def _settle(fan: Fan, weights: WeightRange, bounds: Bounds, steps: Reals) -> _Choice:
    """Integers with these steps, made coarser until the state holds their sums."""
    coarser = 0
    while True:
        integers = weights.integers(fan, steps)
        shift = bounds.shift(integers, steps)
        if coarser and integers.size and np.max(np.abs(integers)) < 2:
            raise CompileError(f"{fan.title}: {bounds.params.state_bits} state bits hold its currents and thresholds only if all "
                               f"weights become 0 or 1. Take more state_bits, fewer weight_bits, or a shorter synaptic time "
                               f"constant")
        if shift >= 0:
            return _Choice(steps, integers, shift, coarser)
        coarser -= shift
        steps = steps * 2.0 ** shift


def _finish(fan: Fan, bounds: Bounds, choice: _Choice, slices: int) -> QuantPopulation:
    population = fan.population
    scale = choice.steps * 2.0 ** choice.shift
    level = fan.threshold * scale
    return QuantPopulation(
        name=population.name, shape=tuple(population.shape), size=population.size, current_gain=bounds.alpha[0],
        second_current_gain=bounds.alpha[1] if fan.currents == 2 else np.zeros(population.size, np.int64),
        membrane_gain=bounds.beta, shift=choice.shift,
        threshold=bounds.fit(np.floor(level) + 1 if population.strict else np.ceil(level), "threshold"),
        bias=bounds.fit(np.rint(np.asarray(population.bias) * scale), "bias"),
        reset=bounds.fit(np.rint(np.asarray(population.reset_value) * scale), "reset"),
        refractory=np.asarray(population.refractory, np.int64), subtract=population.reset == "subtract",
        hold=bool(population.hold), floor=population.floor, spiking=bool(population.spiking), slices=slices, scale=scale,
        currents=fan.currents)
