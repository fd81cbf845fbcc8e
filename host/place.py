"""Placement: which core, row and lanes each neuron takes, and which axons reach it.

Cores are filled population by population, first fit. A core joins a fixed number of slices, so populations whose weights have
different widths lie in different cores. Axon numbers are given out first fit too: a unit takes the same numbers in every core
of the rectangle it is sent to; where no such numbers are free, the rectangle is cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.netlist import Netlist
from spikeloom.host.quant_network import Ints, QuantPopulation
from spikeloom.params import ArrayParams

Bools = npt.NDArray[np.bool_]
Rectangle = tuple[int, int, int, int]


class Overflow(CompileError):
    """A core is too full; spreading its neurons over more cores may help."""


@dataclass
class CorePlan:
    """A core being filled: ``heights`` rows used in each fold, ``words`` synapse words needed of each unit."""

    slices: int
    heights: Ints
    words: Ints
    axons: int = 0
    classes: set[int] = field(default_factory=set)
    tiles: list[tuple[int, int, int]] = field(default_factory=list)  #: (tile, fold, first group)

    @property
    def groups(self) -> int:
        """Rows in each fold."""
        return int(self.heights.max(initial=0))

    @property
    def folds(self) -> int:
        """Folds in use."""
        return int(np.count_nonzero(self.heights))


@dataclass(frozen=True)
class Grant:
    """Axons of a unit: ``axon`` is the first, in all cores of the rectangle; ``word`` counts the unit's extra words."""

    unit: int
    word: int
    rectangle: Rectangle
    axon: int
    cores: tuple[int, ...]


@dataclass(frozen=True)
class Placement:
    """Where everything lies. ``core``, ``fold`` and ``group`` are int64 (rows of the network,); core is y · columns + x."""

    netlist: Netlist
    plans: list[CorePlan]
    core: Ints
    fold: Ints
    group: Ints
    class_of: list[Ints]
    class_table: Ints
    grants: list[Grant]

    def address_row(self, row: Ints) -> Ints:
        """Row of the neuron memories for rows of the network."""
        groups = np.array([plan.groups for plan in self.plans], np.int64)
        return self.fold[row] * groups[self.core[row]] + self.group[row]


def place(netlist: Netlist, params: ArrayParams, fill: float = 1.0, tight: bool = False) -> Placement:
    """Seats for all neurons and axons for all units, using at most the share ``fill`` of each core's rows and axons.

    ``tight`` sends units to the cores that listen and to no other: more destination entries, no axon held for nothing.

    Overflow when a core is too full in a way that more cores may cure, else CompileError; both name the numbers.
    """
    class_of, class_table = _classes(netlist)
    plans = _fill(netlist, params, class_of, fill)
    core, fold, group = (np.zeros(len(netlist.row_population), np.int64) for _ in range(3))
    for index, plan in enumerate(plans):
        for tile, in_fold, first in plan.tiles:
            rows = np.flatnonzero(netlist.row_tile == tile)
            core[rows], fold[rows], group[rows] = index, in_fold, first + np.arange(len(rows))
    grants = _grant(netlist, params, plans, tight)
    return Placement(netlist, plans, core, fold, group, class_of, class_table, grants)


def _classes(netlist: Netlist) -> tuple[list[Ints], Ints]:
    """Class number of each population's neurons, and the classes: columns as the fields of both class records."""
    k = netlist.schedule.ticks_per_step
    tables = []
    for population in netlist.populations:
        phase = 1 << (netlist.schedule.depth[population.name] % k)
        flags = [population.shift, int(population.spiking), int(population.subtract), int(population.hold), phase,
                 netlist.schedule.depth[population.name] if population.eager else 0]
        tables.append(np.column_stack([population.current_gain, population.membrane_gain, population.refractory,
                                       np.tile(flags, (population.size, 1))]))
    table, number = np.unique(np.concatenate(tables), axis=0, return_inverse=True)
    ends = np.cumsum([population.size for population in netlist.populations])[:-1]
    return np.split(number.ravel(), ends), table


class _Demand:
    """What each tile needs: units with the words of each, and classes."""

    def __init__(self, netlist: Netlist, params: ArrayParams, class_of: list[Ints]) -> None:
        units = len(netlist.units.source)
        key = netlist.row_tile[netlist.synapses.row] * max(units, 1) + netlist.synapses.unit
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        unique = key[order][first]
        self.unit = unique % max(units, 1)
        self.words = np.maximum.reduceat(netlist.row_words[order], first) if len(first) else first
        if params.lists:
            self.words = np.ones_like(self.words)  # further words are further list entries, not axons
        tiles = int(netlist.row_tile[-1]) + 1
        self.bounds = np.searchsorted(unique // max(units, 1), np.arange(tiles + 1))
        self.classes: list[set[int]] = []
        for population, classes in zip(netlist.populations, class_of, strict=True):
            seats = netlist.seats[population.name]
            for rows in seats.rows.reshape(seats.tiles, -1):
                self.classes.append(set(classes[rows[rows >= 0]].tolist()))

    def of(self, tile: int) -> tuple[Ints, Ints]:
        """Units and words of a tile."""
        part = slice(self.bounds[tile], self.bounds[tile + 1])
        return self.unit[part], self.words[part]


def _fill(netlist: Netlist, params: ArrayParams, class_of: list[Ints], fill: float) -> list[CorePlan]:
    demand, plans = _Demand(netlist, params, class_of), list[CorePlan]()
    for population in netlist.populations:
        seats = netlist.seats[population.name]
        for tile in range(seats.first_tile, seats.first_tile + seats.tiles):
            unit, words = demand.of(tile)
            for plan in plans:
                if _take(plan, netlist, params, population, tile, seats.height, unit, words, demand.classes[tile], fill):
                    break
            else:
                plan = CorePlan(population.slices, np.zeros(params.folds, np.int64), np.zeros_like(netlist.units.source))
                plans.append(plan)
                if not any(_take(plan, netlist, params, population, tile, seats.height, unit, words, demand.classes[tile], share)
                           for share in (fill, 1)):
                    raise _too_big(netlist, params, population, unit, words, demand.classes[tile])
    if len(plans) > params.cores:
        raise CompileError(_too_many(netlist, params, plans))
    return plans


def _take(plan: CorePlan, netlist: Netlist, params: ArrayParams, population: QuantPopulation, tile: int, height: int,
          unit: Ints, words: Ints, classes: set[int], fill: float) -> bool:
    """Seat a tile in a core if there is room for its rows, its axons and its classes."""
    if plan.slices != population.slices or len(plan.classes | classes) > params.classes:
        return False
    most = params.lane_rows // plan.slices
    if plan.heights.sum() + height > max(fill * most * params.folds, height):
        return False
    room = np.flatnonzero(plan.heights + height <= most)
    if not room.size:
        return False
    more = np.maximum(words - plan.words[unit], 0)
    axons = plan.axons + int((more * netlist.units.width[unit]).sum())
    if axons > fill * params.core_axons:
        return False
    fold = int(room[0])
    plan.tiles.append((tile, fold, int(plan.heights[fold])))
    plan.heights[fold] += height
    plan.words[unit] += more
    plan.axons = axons
    plan.classes |= classes
    return True


def _too_big(netlist: Netlist, params: ArrayParams, population: QuantPopulation, unit: Ints, words: Ints,
             classes: set[int]) -> CompileError:
    if len(classes) > params.classes:
        return CompileError(f"Population {population.name!r}: neighbouring neurons have {len(classes)} different classes (gains, "
                            f"refractory periods); a core holds {params.classes}. Use fewer different time constants")
    axons = int((words * netlist.units.width[unit]).sum())
    return CompileError(f"Population {population.name!r}: a row of its neurons listens to {axons} axons; a core has "
                        f"{params.core_axons} ({params.bank_axons} in each of {params.banks} banks). Take an array with more "
                        f"words or "
                        f"banks, at least {axons} axons a core")


def _too_many(netlist: Netlist, params: ArrayParams, plans: list[CorePlan]) -> str:
    first_row = {int(tile): i for i, tile in reversed(list(enumerate(netlist.row_tile)))}
    share: dict[str, set[int]] = {}
    for index, plan in enumerate(plans):
        for tile, _, _ in plan.tiles:
            name = netlist.populations[netlist.row_population[first_row[tile]]].name
            share.setdefault(name, set()).add(index)
    listed = ", ".join(f"{name!r}: {netlist.network.size(name)} neurons in {len(cores)}" for name, cores in share.items())
    return (f"The network needs {len(plans)} cores of {params.lanes} lanes × {params.folds} folds and {params.core_axons} "
            f"axons; this "
            f"array has {params.cores} ({listed}). Take fewer weight_bits, a smaller network, or an array with more cores or "
            f"folds")


def _grant(netlist: Netlist, params: ArrayParams, plans: list[CorePlan], tight: bool) -> list[Grant]:
    """Axon numbers for every unit in every core that listens to it."""
    units = netlist.units
    words = np.array([plan.words for plan in plans], np.int64).reshape(len(plans), -1)
    occupied = np.zeros((params.cores, params.core_axons), bool)
    spread = (words > 0).sum(axis=0)
    single = units.width == 1
    grants: list[Grant] = []
    for unit in np.lexsort((np.arange(len(spread)), -spread, -units.width, single)):
        for word in range(int(words[:, unit].max(initial=0))):
            cores = np.flatnonzero(words[:, unit] > word)
            grants += _request(netlist, params, occupied, int(unit), word, cores, tight)
    return grants


def _request(netlist: Netlist, params: ArrayParams, occupied: Bools, unit: int, word: int, cores: Ints,
             tight: bool) -> list[Grant]:
    """Axons for one unit in some cores: one rectangle if possible, else two halves of it."""
    x, y = cores % params.columns, cores // params.columns
    rectangle = (int(x.min()), int(x.max()), int(y.min()), int(y.max()))
    inside = np.array([j * params.columns + i for j in range(rectangle[2], rectangle[3] + 1)
                       for i in range(rectangle[0], rectangle[1] + 1)])
    width = int(netlist.units.width[unit])
    align = 1 if width == 1 else params.neurons_per_cycle
    axon = _first_free(occupied[inside].any(axis=0), width, align)
    if axon >= 0 and not (tight and len(cores) < len(inside)):
        occupied[inside, axon: axon + width] = True
        return [Grant(unit, word, rectangle, axon, tuple(cores.tolist()))]
    if len(cores) == 1:
        source = netlist.sources[netlist.units.source[unit]]
        used = int(occupied[cores[0]].sum())
        raise Overflow(f"Core ({x[0]}, {y[0]}): no {width} axons side by side are left for {source!r}; {used} of "
                       f"{params.core_axons} are "
                       f"in use. Take an array with more words or banks")
    axis = x if rectangle[1] - rectangle[0] >= rectangle[3] - rectangle[2] else y
    middle = (int(axis.min()) + int(axis.max())) // 2
    return _request(netlist, params, occupied, unit, word, cores[axis <= middle], tight) + \
        _request(netlist, params, occupied, unit, word, cores[axis > middle], tight)


def _first_free(busy: Bools, width: int, align: int) -> int:
    """First aligned run of free axons, −1 if there is none."""
    if width == 1:
        first = int(np.argmin(busy))
        return -1 if busy[first] else first
    blocks = len(busy) // align
    free = ~busy[: blocks * align].reshape(blocks, align).any(axis=1)
    need = width // align
    if need > blocks:
        return -1
    count = np.concatenate([[0], np.cumsum(free)])
    runs = np.flatnonzero(count[need:] - count[:-need] == need)
    return int(runs[0]) * align if runs.size else -1
