"""Work shared evenly among the banks: which bank each axon lies in, from what spikes together in sample input.

A bank reads an axon a cycle, so that a tick takes as long as its busiest bank. Spikes that come in the same tick should lie in
different banks: each neuron in turn, the busiest first, takes the bank in which the fewest spikes of the sample come together
with its own (a greedy descent of Σ over ticks and banks of the square of the spikes).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikeloom.events import Spikes
from spikeloom.host.compiler.fanin import words_for
from spikeloom.host.compiler.retime import Schedule
from spikeloom.host.quantisation.quant_network import Ints, QuantNetwork
from spikeloom.params import ArrayParams

#: Steps, all samples together, of which samples are looked at.
MOST_STEPS = 2048

Counts = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Seating:
    """``order``: neurons of a population in the order of their seats, int64 (neurons,); ``bank``: the bank of each neuron of an input,
    int64 (neurons,). Either by name; what is not named has no wish."""

    order: dict[str, Ints] = field(default_factory=dict)
    bank: dict[str, Ints] = field(default_factory=dict)


#: No wishes.
UNSEATED = Seating()


def seating(network: QuantNetwork, schedule: Schedule, params: ArrayParams, activity: Mapping[str, Spikes]) -> Seating:
    """Seats for arrays without lists, where an axon is a synapse word.

    Neurons whose weights take more than one word sit together, so that few rows have further destinations for them. ``activity`` has
    the spikes of a sample by input and population, bool (samples, steps, neurons); those that it does not name, or whose
    potentials are sent, keep their order.
    """
    if params.lists:
        return UNSEATED
    table = _Table(params.banks, schedule, activity)
    bank = {name: table.pattern(name) for name in network.inputs if name in activity}
    order = {name: _order(_words(network, name, params), name, table) for name, population in network.populations.items()
             if population.spiking and not population.helper}
    return Seating(order, bank)


class _Table:
    """Spikes that have been given a bank, ``counts`` (banks, samples, ticks) by the tick in which they are added up."""

    def __init__(self, banks: int, schedule: Schedule, activity: Mapping[str, Spikes]) -> None:
        samples, steps = next(iter(activity.values())).shape[:2] if activity else (0, 0)
        self._chosen = slice(0, max(1, MOST_STEPS // max(1, steps)))
        self._activity, self._schedule, self._k = activity, schedule, schedule.ticks_per_step
        ticks = steps * self._k + max(schedule.depth.values(), default=0) + 2
        self.counts: Counts = np.zeros((banks, min(samples, self._chosen.stop), ticks), np.float32)

    def deal(self, name: str, neurons: Ints, room: Ints) -> Ints:
        """A bank for each of these neurons, (neurons,), in none more than it has room for."""
        banks, taken = np.zeros(len(neurons), np.int64), np.zeros(len(room), np.int64)
        spikes = self._activity[name][self._chosen][:, :, neurons].astype(np.float32) if name in self._activity else None
        # Connections of the same population may differ in ticks; most take the fewest.
        first = self._schedule.depth[name] + 1 if name in self._schedule.depth else 0
        size = np.zeros(len(neurons)) if spikes is None else spikes.sum(axis=(0, 1))
        for at in np.argsort(-size, kind="stable").tolist():
            together = np.zeros(len(room))
            if spikes is not None:
                here = self.counts[:, :, first: first + spikes.shape[1] * self._k: self._k]
                together = np.tensordot(here, spikes[:, :, at], 2)
            chosen = int(np.lexsort((taken, np.where(taken < room, together, np.inf)))[0])
            banks[at] = chosen
            taken[chosen] += 1
            if spikes is not None:
                here[chosen] += spikes[:, :, at]
        return banks


    def pattern(self, name: str) -> Ints:
        """A bank for each neuron, (neurons,): the best of the patterns i + s · ⌊i / w⌋ modulo the banks."""
        spikes = self._activity[name][self._chosen]
        size, banks = spikes.shape[2], len(self.counts)
        shown = spikes.reshape(-1, size).astype(np.float32)
        shown = shown[shown.any(axis=1)]
        number, best = np.arange(size), (np.inf, np.zeros(size, np.int64))
        for width in range(2, min(size, 2 * int(np.sqrt(size)) + 1)):
            for shift in range(banks):
                bank = (number + shift * (number // width)) % banks
                cost = float((shown @ np.eye(banks, dtype=np.float32)[bank]).max(axis=1).sum())
                best = min(best, (cost, bank), key=lambda pair: pair[0])
        bank = best[1]
        for each in range(banks):
            self.counts[each, :, : spikes.shape[1] * self._k: self._k] += spikes[:, :, bank == each].sum(axis=2)
        return bank


def _words(network: QuantNetwork, name: str, params: ArrayParams) -> Ints:
    """Synapse words that the widest weight of each neuron takes."""
    words = np.ones(network.size(name), np.int64)
    for edge in network.edges:
        if edge.source == name:
            taken = words_for(edge.weight, params.weight_bits, network.populations[edge.target].slices)
            np.maximum.at(words, edge.pre, taken)
    return words


def _order(words: Ints, name: str, table: _Table) -> Ints:
    """Neurons by seat, of which number i lies in bank i modulo the banks: those of many words first, each kind dealt to the banks."""
    banks = len(table.counts)
    order = np.zeros(len(words), np.int64)
    first = 0
    for count in np.unique(words)[::-1]:
        mine = np.flatnonzero(words == count)
        seats = first + np.arange(len(mine))
        bank = table.deal(name, mine, np.bincount(seats % banks, minlength=banks))
        for each in range(banks):
            order[seats[seats % banks == each]] = mine[bank == each]
        first += len(mine)
    return order
