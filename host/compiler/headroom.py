"""How far a population's membranes are from saturating: what the widths prove, and how much input it would take."""

from __future__ import annotations

import numpy as np

from spikeloom.host.quantisation.quant_network import QuantNetwork, QuantPopulation, Reals
from spikeloom.params import ArrayParams


def steps_to_saturation(network: QuantNetwork, name: str, params: ArrayParams) -> float | None:
    """Steps of the strongest input of one sign that carry some membrane from 0 to its limit; None where none can reach it.

    An upper bound on v needs no more than the sums of the positive and of the negative weights, the decays (a geometric
    series), the bias, and that a spike which sets v, or a floor, bounds it on one side.
    """
    population, limit = network.populations[name], float((1 << (params.state_bits - 1)) - 1)
    shortest = np.inf
    for sign in (1, -1):
        drive = _drive(network, population, sign, params.gain_bits)
        beta = population.membrane_gain / (1 << params.gain_bits)
        with np.errstate(divide="ignore", invalid="ignore"):
            most = np.where(drive > 0, np.where(beta < 1, drive / (1 - beta), np.inf), 0.0)
            steps = np.where(drive > 0, limit / drive, np.inf)
        if sign > 0 and population.spiking and not population.subtract and not population.refractory.any():
            most = np.minimum(most, np.maximum(population.threshold, population.reset) + drive)
        if sign < 0 and population.floor:
            most = np.minimum(most, np.abs(population.threshold))
        shortest = min(shortest, float(np.min(np.where(most > limit, steps, np.inf), initial=np.inf)))
    return None if np.isinf(shortest) else shortest


def _drive(network: QuantNetwork, population: QuantPopulation, sign: int, gain_bits: int) -> Reals:
    """What a step adds at most to each membrane in one direction, (neurons,)."""
    total = np.maximum(sign * population.bias, 0).astype(np.float64)
    for edge in network.edges:
        if edge.target == population.name:
            gain = (population.current_gain, population.second_current_gain)[edge.receptor] / (1 << gain_bits)
            most = (1 << (edge.planes - 1)) if edge.planes else 1  # of a potential that is sent
            weight = np.abs(edge.weight) * most if edge.planes else np.maximum(sign * edge.weight, 0)
            sums = np.bincount(edge.post, weight, minlength=population.size) * 2.0 ** population.shift
            with np.errstate(divide="ignore", invalid="ignore"):
                total += np.where(sums > 0, np.where(gain < 1, sums / (1 - gain), np.inf), 0)
    return np.asarray(total, np.float64)
