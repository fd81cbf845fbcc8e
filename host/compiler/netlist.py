"""The network as a core sees it: rows of neurons, and axons in units that one packet entry addresses.

A *row* holds ``neurons_per_cycle`` neurons that are updated and send together. A *tile* is a run of rows that stays together
in one fold. A *unit* is what a row (or one input neuron) sends with one delay: as many axons, side by side, as the row has
neurons, times the bit planes where it sends potentials.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.compiler.balance import UNSEATED, Seating
from spikeloom.host.compiler.fanin import words_for
from spikeloom.host.compiler.retime import Schedule
from spikeloom.host.quantisation.quant_network import Edge, Ints, QuantNetwork, QuantPopulation
from spikeloom.params import ArrayParams

#: Ticks that the route of an input may be behind its step: what fits the image's check.
MAX_ROUTE_TICK = (1 << 16) - 1


@dataclass(frozen=True)
class Seats:
    """How a population's neurons form rows: ``rows`` int64 (rows, per row), −1 for an empty seat; ``height`` rows in a tile.

    ``row`` and ``column`` (neurons,) are the inverse; ``base`` is added to rows, ``first_tile`` to tiles, for numbers that are
    unique in the network. The tiles of a map lie in a ``grid`` (down, across); else it is (tiles, 1).
    """

    rows: Ints
    height: int
    base: int
    first_tile: int
    row: Ints
    column: Ints
    grid: tuple[int, int]

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        return len(self.rows) // self.height


@dataclass(frozen=True)
class Units:
    """Units, each array (units,): source number (inputs, then populations), its row or input neuron, ticks, planes, axons, and the bank
    that it should lie in (−1: any)."""

    source: Ints
    row: Ints
    ticks: Ints
    planes: Ints
    width: Ints
    bank: Ints


@dataclass(frozen=True)
class Synapses:
    """Synapses, each array (synapses,): unit and axon within it, target row (of the network), column and current, weight."""

    unit: Ints
    offset: Ints
    row: Ints
    column: Ints
    receptor: Ints
    weight: Ints


@dataclass(frozen=True)
class Netlist:
    """Everything that placement needs. ``sources`` names inputs, then populations; ``row_population`` numbers the latter."""

    network: QuantNetwork
    schedule: Schedule
    sources: tuple[str, ...]
    seats: dict[str, Seats]
    units: Units
    synapses: Synapses
    row_population: Ints
    row_tile: Ints
    row_words: Ints

    @property
    def populations(self) -> list[QuantPopulation]:
        """The populations, in the order of ``row_population``."""
        return list(self.network.populations.values())


def build_netlist(network: QuantNetwork, schedule: Schedule, params: ArrayParams, seating: Seating = UNSEATED) -> Netlist:
    """Rows, tiles, units and synapses of a network."""
    seats: dict[str, Seats] = {}
    base = tile = 0
    for population in network.populations.values():
        seats[population.name] = seat = _seats(population, params, base, tile, seating)
        base, tile = base + len(seat.rows), tile + seat.tiles
    row_population = np.repeat(np.arange(len(seats)), [len(seat.rows) for seat in seats.values()])
    row_tile = np.concatenate([seat.first_tile + np.arange(len(seat.rows)) // seat.height for seat in seats.values()])
    sources = (*network.inputs, *network.populations)
    units, synapses = _synapses(network, schedule, params, sources, seats, seating)
    slices = np.array([population.slices for population in network.populations.values()], np.int64)
    words = np.ones(len(synapses.unit), np.int64)
    for count in np.unique(slices):
        of_this = slices[row_population[synapses.row]] == count
        words[of_this] = words_for(synapses.weight[of_this], params.weight_bits, int(count))
    return Netlist(network, schedule, sources, seats, units, synapses, row_population, row_tile, words)


def _seats(population: QuantPopulation, params: ArrayParams, base: int, tile: int, seating: Seating) -> Seats:
    per_row = params.neurons_per_cycle
    if not fold_rows(population, params):
        raise CompileError(f"Population {population.name!r}: a row of neurons takes {population.slices} digits × "
                           f"{population.currents} currents of {per_row} lanes; the array's cores have {params.lanes} lanes. Take "
                           f"fewer weight_bits, or an array with more lanes")
    patches = _patches(population, params) if params.lists and len(population.shape) in (2, 3) else None
    if patches is None:
        rows = np.full((-(-population.size // per_row), per_row), -1, np.int64)
        rows.ravel()[: population.size] = seating.order.get(population.name, np.arange(population.size))
        patches = rows, 1, (len(rows), 1)
    rows, height, grid = patches
    row, column = (np.zeros(population.size, np.int64) for _ in range(2))
    at = np.argwhere(rows >= 0)
    row[rows[rows >= 0]], column[rows[rows >= 0]] = at[:, 0], at[:, 1]
    return Seats(rows, height, base, tile, row, column, grid)


def fold_rows(population: QuantPopulation, params: ArrayParams) -> int:
    """Neuron rows that a fold holds: each takes lanes for every digit of every current."""
    return params.lane_rows // (population.slices * population.currents)


def _patches(population: QuantPopulation, params: ArrayParams) -> tuple[Ints, int, tuple[int, int]] | None:
    """Rows of a map (channels, height, width) or (channels, width), a tile being a patch of positions with all channels.

    Shifted by a patch, a convolution's synapse words are the same words: axons of all patches share them. None where a fold has
    not even lanes for one position. Returns the rows, the rows in a tile, and the tiles down and across.
    """
    channels, tall, wide = population.shape if len(population.shape) == 3 else (population.shape[0], 1, population.shape[1])
    positions = fold_rows(population, params) * params.neurons_per_cycle // channels
    if positions < 1:
        return None
    patch_tall = min(tall, max(1, int(np.sqrt(positions))))
    patch_wide = min(wide, positions // patch_tall)
    down, across = -(-tall // patch_tall), -(-wide // patch_wide)
    grid = np.full((down * patch_tall, across * patch_wide, channels), -1, np.int64)
    grid[:tall, :wide] = np.arange(population.size).reshape(channels, tall, wide).transpose(1, 2, 0)
    tiles = grid.reshape(down, patch_tall, across, patch_wide, channels).swapaxes(1, 2).reshape(down * across, -1)
    height = -(-tiles.shape[1] // params.neurons_per_cycle)
    padded = np.full((len(tiles), height * params.neurons_per_cycle), -1, np.int64)
    padded[:, : tiles.shape[1]] = tiles
    return padded.reshape(-1, params.neurons_per_cycle), height, (down, across)


def _synapses(network: QuantNetwork, schedule: Schedule, params: ArrayParams, sources: tuple[str, ...],
              seats: dict[str, Seats], seating: Seating) -> tuple[Units, Synapses]:
    parts: list[npt.NDArray[np.int64]] = [np.zeros((6, 0), np.int64)]
    for edge in network.edges:
        parts.append(_edge(edge, network, schedule, params, sources.index(edge.source), seats))
    key, offset, row, column, receptor, weight = np.concatenate(parts, axis=1)
    number, unit = np.unique(key, return_inverse=True)
    planes, ticks, at, source = number & 63, number >> 6 & MAX_ROUTE_TICK, number >> 22 & ((1 << 24) - 1), number >> 46
    width = np.where(source < len(network.inputs), 1, params.neurons_per_cycle * np.maximum(planes, 1))
    bank = np.full(len(number), -1, np.int64)
    for index, name in enumerate(network.inputs):
        if name in seating.bank:
            bank[source == index] = seating.bank[name][at[source == index]]
    return Units(source, at, ticks, planes, width, bank), Synapses(unit.ravel(), offset, row, column, receptor, weight)


def _edge(edge: Edge, network: QuantNetwork, schedule: Schedule, params: ArrayParams, source: int,
          seats: dict[str, Seats]) -> npt.NDArray[np.int64]:
    """Unit key, axon within the unit, target row, column and current, and weight of an edge's synapses, (6, synapses)."""
    from_input = edge.source in network.inputs
    ticks = edge.delay * schedule.ticks_per_step + schedule.physical(0, None if from_input else edge.source, edge.target)
    if ticks.size and ticks.max() > MAX_ROUTE_TICK:
        raise CompileError(f"The connection {edge.source!r} → {edge.target!r} has a delay of {ticks.max()} ticks; inputs can be "
                           f"delayed by at most {MAX_ROUTE_TICK}")
    if from_input:
        row, offset = edge.pre, np.zeros_like(edge.pre)
    else:
        row, offset = seats[edge.source].row[edge.pre], seats[edge.source].column[edge.pre]
    key = ((source << 24 | row) << 16 | ticks) << 6 | edge.planes
    target = seats[edge.target]
    table = np.stack([key, offset, target.base + target.row[edge.post], target.column[edge.post],
                      np.full_like(edge.post, edge.receptor), edge.weight])
    if not edge.planes:
        return table
    plane = np.repeat(np.arange(edge.planes), table.shape[1])
    table = np.tile(table, edge.planes)
    table[1] += plane * params.neurons_per_cycle
    table[5] *= np.where(plane == edge.planes - 1, -1, 1) << plane
    return table
