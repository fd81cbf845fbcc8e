"""What each tile needs of the core that takes it: axons, synapse words, neuron classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.host.compiler.netlist import Netlist, fold_rows
from spikeloom.host.quantisation.quant_network import Ints
from spikeloom.params import ArrayParams

_U64 = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class TileDemand:
    """The needs of one tile: ``unit`` and the synapse ``words`` of each; ``cells``: numbers of its synapse words, see Demand."""

    unit: Ints
    words: Ints
    cells: Ints
    classes: frozenset[int]


class Demand:
    """What each tile of a netlist needs.

    With lists, words are counted too. A tile that fills more than half a fold never shares a fold with another of its kind: its
    words are known by what they hold, so that equal words of different patches have one number (``alike``). Of other tiles the
    axons are numbered, those alike in all such tiles as one: an axon and a fold make a word.
    """

    def __init__(self, netlist: Netlist, params: ArrayParams) -> None:
        table, units = netlist.synapses, netlist.units
        self.tiles = int(netlist.row_tile[-1]) + 1
        start = np.concatenate([[0], np.cumsum(units.width)]).astype(np.int64)
        self.axons = int(start[-1])
        axon = start[table.unit] + table.offset
        tile = netlist.row_tile[table.row]
        order = np.argsort(tile * max(self.axons, 1) + axon, kind="stable")
        tile, axon, unit = tile[order], axon[order], table.unit[order]
        first = _changes(tile, axon)
        of_unit = _changes(tile, unit)
        self.unit = unit[of_unit]
        words = np.ones(len(of_unit), np.int64)  # with lists, further words are further list entries, not axons
        if len(of_unit) and not params.lists:
            words = np.maximum.reduceat(netlist.row_words[order], of_unit)
        self.words = words
        self._unit_bounds = np.searchsorted(tile[of_unit], np.arange(self.tiles + 1))
        self.alike = np.zeros(self.tiles, bool)
        heights = []
        for population in netlist.populations:
            seats = netlist.seats[population.name]
            here = slice(seats.first_tile, seats.first_tile + seats.tiles)
            self.alike[here] = seats.height > fold_rows(population, params) // 2
            heights += [seats.height] * seats.tiles
        self.height = np.array(heights, np.int64)
        self.cell, self.contents = axon[first], 0
        if params.lists and len(first):
            tile_row = netlist.row_tile.searchsorted(np.arange(self.tiles))
            lane = (table.row - tile_row[netlist.row_tile[table.row]]) * params.neurons_per_cycle + table.column
            mixed = _mix(((lane * 2 + table.receptor) << 20) + table.weight)
            content, number = np.unique(np.add.reduceat(mixed[order], first), return_inverse=True)
            self.contents = len(content)
            self.cell = np.where(self.alike[tile[first]], number.ravel(), self._twins(tile[first], axon[first], number.ravel()))
        self._cell_bounds = np.searchsorted(tile[first], np.arange(self.tiles + 1))
        self._axon_of_cell = axon[first]
        self._tile_of_cell = tile[first]
        self._unit_of_cell = unit[first]
        self.classes: list[frozenset[int]] = []

    def _twins(self, tile: Ints, axon: Ints, content: Ints) -> Ints:
        """Numbers of axons, equal for those whose words are equal in every tile that may share its fold."""
        here = ~self.alike[tile]
        signature = np.zeros(self.axons, np.uint64)
        np.add.at(signature, axon[here], _mix(tile[here] << 32 | content[here]))
        return np.asarray(np.unique(signature, return_inverse=True)[1].ravel()[axon], np.int64)

    def add_classes(self, netlist: Netlist, class_of: list[Ints]) -> None:
        """Tell which classes the neurons of each tile have."""
        for population, classes in zip(netlist.populations, class_of, strict=True):
            seats = netlist.seats[population.name]
            for rows in seats.rows.reshape(seats.tiles, -1):
                self.classes.append(frozenset(np.unique(classes[rows[rows >= 0]]).tolist()))

    def of(self, tile: int) -> TileDemand:
        """The needs of a tile."""
        part = slice(self._unit_bounds[tile], self._unit_bounds[tile + 1])
        cells = slice(self._cell_bounds[tile], self._cell_bounds[tile + 1])
        return TileDemand(self.unit[part], self.words[part], np.unique(self.cell[cells]), self.classes[tile])

    def families(self, units: int) -> Ints:
        """For each unit, a number that it shares with all units that use a word of equal content; −1 where it uses none.

        Units of one family are best put into one bank, so that the bank alone holds their words.
        """
        label = np.full(units, -1, np.int64)
        here = self.alike[self._tile_of_cell]
        unit, word = self._unit_of_cell[here], self.cell[here]
        if not self.contents or not len(unit):
            return label
        label[unit] = unit
        while True:
            lowest = np.full(self.contents, units, np.int64)
            np.minimum.at(lowest, word, label[unit])
            after = label.copy()
            np.minimum.at(after, unit, lowest[word])
            if np.array_equal(after, label):
                return label
            label = after


def _changes(major: Ints, minor: Ints) -> Ints:
    """Where a sorted list of pairs goes on to the next pair."""
    if not len(major):
        return np.zeros(0, np.int64)
    return np.flatnonzero(np.concatenate([[True], (np.diff(major) != 0) | (np.diff(minor) != 0)]))


def _mix(values: Ints) -> _U64:
    """Well mixed 64-bit numbers (splitmix64), whose sums tell sets apart."""
    with np.errstate(over="ignore"):
        mixed = values.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)), np.uint64)
