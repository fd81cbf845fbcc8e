"""Placement: which core, row and lanes each neuron takes, and which axons reach it.

The fewest cores that hold the network are taken, then those arrangements that load them evenly and keep packets on short ways.
A core joins a fixed number of digits and currents, so populations that differ in them lie in different cores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.host.compiler.arrange import arrange, distances, packets
from spikeloom.host.compiler.demand import Demand
from spikeloom.host.compiler.fill import CorePlan, Filler, Strategy
from spikeloom.host.compiler.grants import Grants, Overflow, grant
from spikeloom.host.compiler.netlist import Netlist
from spikeloom.host.quantisation.quant_network import Ints
from spikeloom.params import ArrayParams

#: What placement is to make small first: the number of cores, or the cycles of a tick.
Objective = Literal["cores", "speed"]

#: Shares of a core to fill, tried in turn when axons, words, lists or destinations do not suffice.
FILLS = (1.0, 0.75, 0.5, 0.35, 0.25, 0.125, 0.06)

Made = TypeVar("Made")


@dataclass(frozen=True)
class Placement:
    """Where everything lies. ``core``, ``fold`` and ``group`` are int64 (rows of the network,); core is y · columns + x.

    ``plans`` are the cores in use, by that number; ``hops`` is packets × hops if every row and every input sends once.
    """

    netlist: Netlist
    plans: dict[int, CorePlan]
    core: Ints
    fold: Ints
    group: Ints
    class_of: list[Ints]
    class_table: Ints
    grants: Grants
    strategy: Strategy
    hops: int

    def address_row(self, row: Ints) -> Ints:
        """Row of the neuron memories for rows of the network."""
        groups = np.zeros(max(self.plans) + 1, np.int64)
        for index, plan in self.plans.items():
            groups[index] = plan.groups
        return np.asarray(self.fold[row] * groups[self.core[row]] + self.group[row], np.int64)


class Placer:
    """Places one netlist, in one way after another."""

    def __init__(self, netlist: Netlist, params: ArrayParams) -> None:
        self.netlist, self.params = netlist, params
        self.class_of, self.class_table = _classes(netlist)
        self.demand = Demand(netlist, params)
        self.demand.add_classes(netlist, self.class_of)
        self.family = self.demand.families(len(netlist.units.source))
        self.filler = Filler(netlist, params, self.demand)

    def best(self, objective: Objective, finish: Callable[[Placement], Made]) -> tuple[Placement, Made]:
        """The first placement, of those that the objective prefers in turn, that ``finish`` accepts, and what it made.

        ``finish`` raises Overflow where a core is too full in a way that more cores may cure. CompileError otherwise.
        """
        first: Overflow | None = None
        hopeless = False  # the words alone need more cores than there are
        for strategy in self._strategies(objective):
            if hopeless and strategy.words and not strategy.regions:
                continue
            try:
                placement = self.place(strategy)
                if placement is not None:
                    return placement, finish(placement)
            except Overflow as error:
                first = first or error
            except CompileError as error:
                if strategy.regions:
                    continue  # only a wish: first fit says what is missing
                if strategy.words:
                    hopeless = True
                    continue
                if first is None:
                    raise
                raise CompileError(f"{first} (Spread thinner, the network would not fit either: {error})") from None
        raise CompileError(str(first))

    def place(self, strategy: Strategy) -> Placement | None:
        """Seats for all neurons and axons for all units; None where the strategy makes no sense for this network.

        Overflow when a core is too full in a way that more cores may cure, else CompileError; both name the numbers.
        """
        plans = self.filler.fill(strategy)
        if plans is None:
            return None
        plans = [plan for plan in plans if plan.tiles]  # there may be fewer tiles than regions
        netlist, params = self.netlist, self.params
        number, fold, group = (np.zeros(len(netlist.row_population), np.int64) for _ in range(3))
        first_row = netlist.row_tile.searchsorted(np.arange(self.demand.tiles))
        for index, plan in enumerate(plans):
            tile, in_fold, first = np.array(plan.tiles, np.int64).T
            height = self.demand.height[tile]
            within = np.arange(height.sum()) - np.repeat(np.cumsum(height) - height, height)
            rows = np.repeat(first_row[tile], height) + within
            number[rows], fold[rows], group[rows] = index, np.repeat(in_fold, height), np.repeat(first, height) + within
        words = np.stack([plan.words for plan in plans])
        flow, error = packets(netlist, params, number, words), None
        for at in (arrange(flow, params), np.arange(len(plans))):
            try:
                grants = grant(netlist, params, self._at(words, at), self.family, strategy.tight)
            except Overflow as too_full:  # other cores lie in the rectangles when their places are others
                error = error or too_full
                continue
            ways = distances(params)[np.ix_(*[np.append(at, params.cores)] * 2)]
            return Placement(netlist, {int(at[i]): plan for i, plan in sorted(enumerate(plans), key=lambda item: int(at[item[0]]))},
                             at[number], fold, group, self.class_of, self.class_table, grants, strategy, int((flow * ways).sum()))
        raise error or CompileError("No placement was tried")

    def _at(self, words: Ints, at: Ints) -> Ints:
        placed = np.zeros((self.params.cores, words.shape[1]), np.int64)
        placed[at] = words
        return placed

    def _strategies(self, objective: Objective) -> Iterator[Strategy]:
        """Ways to place, the preferred ones first."""
        if objective == "speed":
            for even in (True, False):
                for tight in (False, True):
                    yield Strategy(regions=self.params.cores, tight=tight, even=even)
        elif self.params.lists and any(self.demand.alike[seats.first_tile] and seats.tiles > 1
                                       for seats in self.netlist.seats.values()):
            try:
                enough = len(self.filler.fill(Strategy()) or ())
            except CompileError:
                enough = self.params.cores
            for regions in range(max(2, self.filler.least()), enough + 1):
                for tight in (False, True):
                    yield Strategy(regions=regions, tight=tight)
        for words in (True, False):
            for fill in FILLS:
                for tight in (False, True):
                    yield Strategy(fill, tight, words)


def _classes(netlist: Netlist) -> tuple[list[Ints], Ints]:
    """Class number of each population's neurons, and the classes: columns as the fields of the class records."""
    k = netlist.schedule.ticks_per_step
    tables = []
    for population in netlist.populations:
        phase = 1 << (netlist.schedule.depth[population.name] % k)
        flags = [population.shift, int(population.spiking), int(population.subtract), int(population.hold), phase,
                 netlist.schedule.depth[population.name] if population.eager else 0, int(population.floor)]
        tables.append(np.column_stack([population.current_gain, population.membrane_gain, population.refractory,
                                       np.tile(flags, (population.size, 1)), population.second_current_gain]))
    table, number = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
    ends = np.cumsum([population.size for population in netlist.populations])[:-1]
    return np.split(number.ravel(), ends), table
