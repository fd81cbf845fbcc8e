"""Which core takes which tiles.

*First fit*: tile by tile in the order of the network, into the first core with room. *Regions*: every map is cut into as many
blocks of tiles as cores are to be used, so that cores have equal work and a convolution's inputs come from the same core but
for a margin; the rest fills up the cores to equal work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.compiler.demand import Demand, TileDemand
from spikeloom.host.compiler.netlist import Netlist, fold_rows
from spikeloom.host.quantisation.quant_network import Ints, QuantPopulation
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class Strategy:
    """How to place: the share ``fill`` of each core's rows and axons to use at most, in how many ``regions`` (0: first fit).

    ``tight`` sends units to the cores that listen and to no other; ``words`` keeps a core within its synapse words (a count that
    may be too high where several tiles share a fold); ``even`` cuts populations that are no maps into regions too.
    """

    fill: float = 1.0
    tight: bool = False
    words: bool = True
    regions: int = 0
    even: bool = False

    def describe(self) -> str:
        """The strategy in words."""
        what = "populations" if self.even else "maps"
        how = f"spread over {self.regions} cores, {what} in regions" if self.regions else "first fit"
        how += f", cores filled to at most {self.fill:.0%}" if self.fill < 1 else ""
        return how + (", packets sent to listening cores alone" if self.tight else "")


@dataclass
class CorePlan:
    """A core being filled: ``heights`` rows used in each fold, ``words`` synapse words needed of each unit."""

    slices: int
    currents: int
    heights: Ints
    words: Ints
    axons: int = 0
    cells: int = 0
    classes: set[int] = field(default_factory=set)
    tiles: list[tuple[int, int, int]] = field(default_factory=list)  #: (tile, fold, first group)
    contents: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    fold_axons: dict[int, npt.NDArray[np.bool_]] = field(default_factory=dict)

    @property
    def groups(self) -> int:
        """Rows in each fold."""
        return int(self.heights.max(initial=0))

    @property
    def folds(self) -> int:
        """Folds in use."""
        return int(np.count_nonzero(self.heights))


class Filler:
    """Fills cores with the tiles of a netlist."""

    def __init__(self, netlist: Netlist, params: ArrayParams, demand: Demand) -> None:
        self.netlist, self.params, self.demand = netlist, params, demand

    def least(self) -> int:
        """Fewer cores than this have not enough lanes."""
        folds: dict[tuple[int, int], float] = {}
        for population in self.netlist.populations:
            kind = (population.slices, population.currents)
            folds[kind] = folds.get(kind, 0) + self._folds(population)
        return max(1, sum(int(np.ceil(count / self.params.folds - 1e-9)) for count in folds.values()))

    def fill(self, strategy: Strategy) -> list[CorePlan] | None:
        """The cores, not more than there are; None where the strategy makes no sense for this network.

        CompileError tells how many cores are needed, or what one tile needs that no core has.
        """
        if self.least() > self.params.cores:
            share = {p.name: int(np.ceil(self._folds(p) / self.params.folds - 1e-9)) for p in self.netlist.populations}
            raise CompileError(self._too_many(self.least(), "for its lanes alone", share))
        return self._regions(strategy) if strategy.regions else self._first_fit(strategy)

    # Strategies.

    def _first_fit(self, strategy: Strategy) -> list[CorePlan]:
        plans: list[CorePlan] = []
        for population in self.netlist.populations:
            for tile in self._tiles(population):
                need = self.demand.of(tile)
                at_hand = plans if len(plans) <= self.params.cores else plans[-1:]  # beyond, they are only counted
                if any(self._take(plan, population, tile, need, strategy) for plan in at_hand):
                    continue
                plans.append(self._empty(population))
                if not (self._take(plans[-1], population, tile, need, strategy)
                        or self._take(plans[-1], population, tile, need, Strategy(words=False))):
                    raise self._too_big(population, need)
        if len(plans) > self.params.cores:
            raise CompileError(self._too_many(len(plans), f"and {self.params.core_axons} axons", self._share(plans)))
        return plans

    def _regions(self, strategy: Strategy) -> list[CorePlan] | None:
        count, populations = strategy.regions, self.netlist.populations
        if len({(p.slices, p.currents) for p in populations}) > 1 or sum(map(self._tile_count, populations)) < count:
            return None
        plans = [self._empty(populations[0]) for _ in range(count)]
        quota = -(-sum(map(self._folds, populations)) // count) * fold_rows(populations[0], self.params)
        if not self.params.lists:
            quota = -(-int(self.demand.height.sum()) // count)
        for population in populations:
            tiles, grid = self._tiles(population), self.netlist.seats[population.name].grid
            if (strategy.even or self.demand.alike[tiles[0]]) and len(tiles) >= count:
                block = _blocks(grid, count, self.params)
                for tile, core in zip(tiles, block.tolist(), strict=True):
                    if not self._take(plans[core], population, tile, self.demand.of(tile), strategy):
                        raise CompileError(f"Population {population.name!r} does not fit in {count} regions")
                continue
            for tile in tiles:
                need, height = self.demand.of(tile), int(self.demand.height[tile])
                roomy = [plan for plan in plans if plan.heights.sum() + height <= quota]
                if not any(self._take(plan, population, tile, need, strategy) for plan in (*roomy, *plans)):
                    raise CompileError(f"Population {population.name!r} does not fit in {count} regions")
        return plans

    # One tile.

    def _take(self, plan: CorePlan, population: QuantPopulation, tile: int, need: TileDemand, strategy: Strategy) -> bool:
        """Seat a tile in a core if there is room for its rows, its axons, its words and its classes."""
        params, height = self.params, int(self.demand.height[tile])
        if (plan.slices, plan.currents) != (population.slices, population.currents):
            return False
        most = fold_rows(population, params)
        if plan.heights.sum() + height > max(strategy.fill * most * params.folds, height):
            return False
        room = np.flatnonzero(plan.heights + height <= most)
        if not room.size or len(plan.classes | need.classes) > params.classes:
            return False
        fold = int(room[0])
        more = np.maximum(need.words - plan.words[need.unit], 0)
        axons = plan.axons + int((more * self.netlist.units.width[need.unit]).sum())
        if axons > strategy.fill * params.core_axons:
            return False
        seen = self._seen(plan, tile, fold)
        cells = plan.cells + int(np.count_nonzero(~seen[need.cells])) if params.lists else 0
        if strategy.words and cells > params.words * params.banks:
            return False
        plan.tiles.append((tile, fold, int(plan.heights[fold])))
        plan.heights[fold] += height
        plan.words[need.unit] += more
        plan.axons, plan.cells = axons, cells
        plan.classes |= need.classes
        if params.lists:
            seen[need.cells] = True
        return True

    def _seen(self, plan: CorePlan, tile: int, fold: int) -> npt.NDArray[np.bool_]:
        """Which synapse words there are already: by content, or by the axons that have one for the fold."""
        if self.demand.alike[tile]:
            return plan.contents
        if fold not in plan.fold_axons:
            plan.fold_axons[fold] = np.zeros(self.demand.axons, bool)
        return plan.fold_axons[fold]

    def _empty(self, population: QuantPopulation) -> CorePlan:
        return CorePlan(population.slices, population.currents, np.zeros(self.params.folds, np.int64),
                        np.zeros_like(self.netlist.units.source), contents=np.zeros(self.demand.contents, bool))

    def _tiles(self, population: QuantPopulation) -> range:
        seats = self.netlist.seats[population.name]
        return range(seats.first_tile, seats.first_tile + seats.tiles)

    def _tile_count(self, population: QuantPopulation) -> int:
        return self.netlist.seats[population.name].tiles

    def _folds(self, population: QuantPopulation) -> float:
        """Folds that a population fills."""
        tiles = self._tiles(population)
        if self.demand.alike[tiles[0]]:
            return float(len(tiles))
        return float(self.demand.height[tiles[0]: tiles[-1] + 1].sum() / fold_rows(population, self.params))

    # What does not fit.

    def _too_big(self, population: QuantPopulation, need: TileDemand) -> CompileError:
        params = self.params
        if len(need.classes) > params.classes:
            return CompileError(f"Population {population.name!r}: neighbouring neurons have {len(need.classes)} different classes "
                                f"(gains, refractory periods); a core holds {params.classes}. Use fewer different time constants")
        axons = int((need.words * self.netlist.units.width[need.unit]).sum())
        return CompileError(f"Population {population.name!r}: neurons that stay together listen to {axons} axons; a core has "
                            f"{params.core_axons} ({params.bank_axons} in each of {params.banks} banks). Take an array with more "
                            f"{'axons' if params.lists else 'words'} or banks, at least {axons} axons a core")

    def _share(self, plans: list[CorePlan]) -> dict[str, int]:
        """In how many cores each population lies."""
        tile_row = self.netlist.row_tile.searchsorted(np.arange(self.demand.tiles))
        share: dict[str, set[int]] = {}
        for index, plan in enumerate(plans):
            for tile, _, _ in plan.tiles:
                name = self.netlist.populations[self.netlist.row_population[tile_row[tile]]].name
                share.setdefault(name, set()).add(index)
        return {name: len(cores) for name, cores in share.items()}

    def _too_many(self, count: int, what: str, share: dict[str, int]) -> str:
        params, network = self.params, self.netlist.network
        listed = ", ".join(f"{name!r}: {network.size(name)} neurons in {cores}" for name, cores in share.items())
        return (f"The network needs {count} cores of {params.lanes} lanes × {params.folds} folds {what}; this array has "
                f"{params.cores} ({listed}). Take fewer weight_bits, a smaller network, or an array with more cores or folds")


def _blocks(grid: tuple[int, int], count: int, params: ArrayParams) -> Ints:
    """A block number for each tile of a grid, (tiles,): ``count`` blocks of nearly equal size, with short margins.

    Rectangles, or runs of tiles where rectangles would be too unequal. Where the blocks are as many as the mesh has cores, they
    prefer to lie as those do.
    """
    tiles = np.arange(grid[0] * grid[1])
    most = -(-len(tiles) // count)
    best = most * 4.0 + -(-most // grid[1]) + grid[1], 0
    for down in range(1, count + 1):
        across = count // down
        if count % down or down > grid[0] or across > grid[1]:
            continue
        size = -(-grid[0] // down), -(-grid[1] // across)
        cost = size[0] * size[1] * 4 + size[0] + size[1] - 0.5 * (down == params.rows and across == params.columns)
        best = min(best, (cost, down))
    down = best[1]
    if not down:
        return np.asarray(tiles * count // len(tiles), np.int64)
    across = count // down
    y, x = np.divmod(tiles, grid[1])
    return np.asarray(y * down // grid[0] * across + x * across // grid[1], np.int64)
