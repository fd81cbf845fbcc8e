"""What a spike adds, in the engine's form.

The axons that one spike hits in one tick, in all cores together, are a *bundle*; a hit of a bundle adds the weights of all its axons.
Where a bundle's weights stand close together among the sums they are a row of a *panel*, elsewhere a list.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.fields import Ints
from spikeloom.sim.engine_layout import aligned
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.golden_core import ranges

#: Columns of a panel are a multiple of this: 16-bit numbers in the widest vector.
VECTOR = 32
#: Most columns of a panel: where a population is larger, parts of it may be rows and others lists.
PANEL = 512
#: Largest weight in a panel: 16 rows of such can be added in 16 bits before the sum is carried over to 32.
_ROW_WEIGHT = 32767 // 16
#: Weights of all bundles together, in those of all axons, and their number below which it does not matter, from which on each axon is a
#: bundle of its own: where many bundles share axons they would repeat their weights.
_REPEATED, _FEW = 4, 1 << 20


def first_of(source: Ints, sources: int) -> Ints:
    """Where the entries of each source begin, in a list sorted by source: (sources + 1,)."""
    return np.concatenate([[0], np.cumsum(np.bincount(source, minlength=sources))])


def joined(parts: list[Ints]) -> Ints:
    """Arrays one behind another, of none an empty one."""
    return np.concatenate([np.zeros(0, np.int64), *parts])


class Bundles:
    """Which axons are hit together, from what hits what: ``source`` and ``axon`` int64 (entries,).

    ``source`` and ``number`` (entries,) then say which bundles a source hits, by source. ``axon_first``, ``axon`` list each bundle's
    axons; ``uses`` counts the sources of each, and ``hits`` (axons,) the sources of each axon: how often it may be hit in one tick,
    as every source hits once.
    """

    def __init__(self, array: ArrayModel, source: Ints, axon: Ints) -> None:
        order = np.lexsort((axon, source))
        source, axon = source[order], axon[order]
        self.hits = np.bincount(axon, minlength=array.axons).astype(np.int64)
        edges = np.flatnonzero(np.diff(source, prepend=-1))
        known: dict[bytes, int] = {}
        members: list[Ints] = []
        numbers = np.zeros(len(edges), np.int64)
        for i, part in enumerate(np.split(axon, edges[1:]) if len(edges) else []):
            numbers[i] = known.setdefault(part.tobytes(), len(members))
            if numbers[i] == len(members):
                members.append(part)
        counts = array.synapses.count
        self.axon = joined(members)
        if counts[self.axon].sum() > _FEW + _REPEATED * counts.sum():
            self.axon, self.number = np.unique(axon, return_inverse=True)
            self.source = source
            members = [self.axon[:0]] * len(self.axon)
            self.axon_first = np.arange(len(self.axon) + 1)
        else:
            self.source, self.number = source[edges], numbers
            self.axon_first = np.cumsum([0, *map(len, members)])
        self.uses = np.bincount(self.number, minlength=len(members)).astype(np.int64)

    @property
    def count(self) -> int:
        """How many bundles there are."""
        return len(self.uses)

    def total(self, values: Ints) -> Ints:
        """The sum of an axon's values over the axons of each bundle."""
        whole = np.concatenate([[0], np.cumsum(values[self.axon])])
        totals: Ints = whole[self.axon_first[1:]] - whole[self.axon_first[:-1]]
        return totals


class Sums:
    """The digits of all bundles, and the weights that they join to. Sums are numbered current · neurons + neuron, by the golden model's
    numbers of neurons.

    ``bundle``, ``lane``, ``digit``: by bundle. ``source``, ``target``, ``weight``: from bundles to sums, by bundle. ``slices``: (sum,
    lane, place value) of each slice in use. ``most``, ``least``: what can come to each sum in one tick of positive and of negative
    weights, as floats. ``exact``: whether it is proven that no lane and no 32-bit sum can overflow.
    """

    def __init__(self, array: ArrayModel, bundles: Bundles) -> None:
        synapses, neurons, lanes = array.synapses, array.neuron_count, array.sum_base[-1]
        owner, entry = synapses.reach(bundles.axon)
        self.bundle = np.repeat(np.arange(bundles.count), np.diff(bundles.axon_first))[owner]
        self.lane, self.digit = synapses.target[entry], synapses.value[entry]
        slices = [(current * neurons + np.arange(neurons), lane, place)
                  for current, parts in enumerate(array.sums) for lane, place in parts]
        self.slices = tuple(joined([part[i][part[2] != 0] for part in slices]) for i in range(3))
        sums, where, places = self.slices
        target, worth = np.full(lanes, -1), np.zeros(lanes, np.int64)
        target[where], worth[where] = sums, places
        used = target[self.lane] >= 0
        pair, number = np.unique(self.bundle[used] * max(1, 2 * neurons) + target[self.lane[used]], return_inverse=True)
        weight = np.bincount(number.ravel(), self.digit[used] * worth[self.lane[used]], len(pair)).astype(np.int64)
        self.source, self.target = np.divmod(pair[weight != 0], max(1, 2 * neurons))
        self.weight = weight[weight != 0]
        # Each lane's positive and negative digits, each summed alone, over all that may ever come in one tick.
        hits = bundles.hits[np.repeat(np.arange(array.axons), synapses.count)].astype(np.float64)
        lane_most = (np.bincount(synapses.target, hits * np.maximum(sign * synapses.value, 0), lanes).max(initial=0) for sign in (1, -1))
        self.most, self.least = (np.bincount(self.target, bundles.uses[self.source] * np.maximum(sign * self.weight, 0.0), 2 * neurons)
                                 for sign in (1, -1))
        reach = max(self.most.max(initial=0), self.least.max(initial=0))
        self.exact = bool(max(lane_most) < 1 << (array.params.accumulator_bits - 1) and reach < 1 << 30)


def rows_and_lists(bundles: Bundles, source: Ints, target: Ints, weight: Ints, panels: list[tuple[int, int]]) -> dict[str, Any]:
    """Weights by bundle as the engine's tables; ``target`` are its sums. ``panels`` are the first sum and the columns of each."""
    begin, width = (np.array([panel[i] for panel in panels], np.int64) for i in range(2))
    panel = np.searchsorted(begin, target, side="right") - 1
    pair, number, count = np.unique(source * max(1, len(panels)) + panel, return_inverse=True, return_counts=True)
    number = number.ravel()
    largest = np.zeros(len(pair), np.int64)
    np.maximum.at(largest, number, np.abs(weight))
    owner, its = np.divmod(pair, max(1, len(panels)))
    dense = (count >= width[its] // 16 + 2) & (largest <= _ROW_WEIGHT)
    owner, its, largest = owner[dense], its[dense], largest[dense]
    rows = np.bincount(its, minlength=len(panels))
    row = np.zeros(len(its), np.int64)
    row[np.argsort(its, kind="stable")] = ranges(np.zeros_like(rows), rows)[1]
    base = np.cumsum(rows * width) - rows * width
    there = dense[number]
    which = (np.cumsum(dense) - 1)[number[there]]
    weights = aligned(int((rows * width).sum()), "int16")
    weights[base[its[which]] + row[which] * width[its[which]] + target[there] - begin[its[which]]] = weight[there]
    bound = np.ones(len(panels), np.int64)
    np.maximum.at(bound, its, largest)
    waiting = np.bincount(its, bundles.uses[owner], len(panels)).astype(np.int64)  # rows that one tick can ask for
    return {"panels": len(panels), "panel_sum": begin, "panel_vectors": width // VECTOR, "panel_rows": 32767 // bound, "panel_base": base,
            "panel_waiting": np.cumsum([0, *waiting]), "weights": weights,
            "row_first": first_of(owner, bundles.count), "row": np.stack([its, row], axis=1),
            "synapse_first": first_of(source[~there], bundles.count), "synapse": np.stack([target[~there], weight[~there]], axis=1)}
