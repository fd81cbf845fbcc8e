"""Work shared evenly among the banks: which bank each axon lies in, from what spikes together in sample input.

A bank reads an axon a cycle, so that a tick takes as long as its busiest bank. Spikes that come in the same tick should lie in
different banks: each neuron in turn, the busiest first, takes the bank in which the fewest spikes of the sample come together
with its own (a greedy descent of Σ over steps and banks of the square of the spikes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from spikeloom.events import Spikes
from spikeloom.host.compiler.fanin import words_for
from spikeloom.host.quantisation.quant_network import Ints, QuantNetwork
from spikeloom.params import ArrayParams

#: Steps of a sample, all samples together, that are looked at.
MOST_STEPS = 4096


@dataclass(frozen=True)
class Seating:
    """``order``: neurons of a population in the order of their seats, int64 (neurons,); ``bank``: the bank of each neuron of an input,
    int64 (neurons,). Either by name; what is not named has no wish."""

    order: dict[str, Ints] = field(default_factory=dict)
    bank: dict[str, Ints] = field(default_factory=dict)


#: No wishes.
UNSEATED = Seating()


def seating(network: QuantNetwork, params: ArrayParams, activity: Mapping[str, Spikes]) -> Seating:
    """Seats for arrays without lists, where an axon is a synapse word.

    Neurons whose weights take more than one word sit together, so that few rows have further destinations for them. ``activity`` has
    the spikes of a sample by input and population, bool (samples, steps, neurons); those that it does not name, or whose
    potentials are sent, keep their order.
    """
    if params.lists:
        return UNSEATED
    banks = {name: _dealt(_steps(activity[name]), np.full(params.banks, network.size(name))) for name in network.inputs
             if name in activity}
    order = {}
    for name, population in network.populations.items():
        if not population.spiking or population.helper:
            continue
        words = _words(network, name, params)
        spikes = _steps(activity[name]) if name in activity else np.zeros((1, population.size), np.float32)
        order[name] = _order(words, spikes, params.banks)
    return Seating(order, banks)


def _steps(spikes: Spikes) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(samples · steps, neurons), not too many of the first."""
    return spikes.reshape(-1, spikes.shape[-1])[:MOST_STEPS].astype(np.float32)


def _words(network: QuantNetwork, name: str, params: ArrayParams) -> Ints:
    """Synapse words that the widest weight of each neuron takes."""
    words = np.ones(network.size(name), np.int64)
    for edge in network.edges:
        if edge.source == name:
            taken = words_for(edge.weight, params.weight_bits, network.populations[edge.target].slices)
            np.maximum.at(words, edge.pre, taken)
    return words


def _order(words: Ints, spikes: np.ndarray[tuple[int, ...], np.dtype[np.float32]], banks: int) -> Ints:
    """Seat i lies in bank i modulo ``banks``: neurons of many words first, each kind dealt to the banks."""
    order = np.zeros(len(words), np.int64)
    first = 0
    for count in np.unique(words)[::-1]:
        mine = np.flatnonzero(words == count)
        seats = first + np.arange(len(mine))
        bank = _dealt(spikes[:, mine], np.bincount(seats % banks, minlength=banks))
        for each in range(banks):
            order[seats[seats % banks == each]] = mine[bank == each]
        first += len(mine)
    return order


def _dealt(spikes: np.ndarray[tuple[int, ...], np.dtype[np.float32]], room: Ints) -> Ints:
    """A bank for each neuron, (neurons,), not more in a bank than it has room for."""
    counts = np.zeros((len(room), len(spikes)), np.float32)
    taken, chosen = np.zeros(len(room), np.int64), np.zeros(spikes.shape[1], np.int64)
    for neuron in np.argsort(-spikes.sum(axis=0), kind="stable").tolist():
        together = np.where(taken < room, counts @ spikes[:, neuron], np.inf)
        bank = int(np.lexsort((taken, together))[0])
        chosen[neuron] = bank
        counts[bank] += spikes[:, neuron]
        taken[bank] += 1
    return chosen
