"""An image as the tables that its cycles follow from: rows of neurons, their destinations, and the lists of axons."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.errors import ImageError
from spikeloom.fields import Ints
from spikeloom.image import Core, Image
from spikeloom.memories import Control, Memory, destination_record, memory_specs


@dataclass(frozen=True)
class Destination:
    """One destination of a row: ``mask`` of the row's neurons, first axon or output ``first``, ``delay`` in ticks less one, ``planes``,
    and the ``cores``' columns and rows (first and last of each), or None for the host."""

    mask: int
    first: int
    delay: int
    planes: int
    cores: tuple[int, int, int, int] | None


class CoreTables:
    """What one core does in a tick: ``rows`` of neurons over ``folds``, each ``row_cycles`` cycles of the drain; ``fan[row]`` their
    destinations; ``lists[axon]`` the folds of an axon's entries, in order (None where axons have no lists)."""

    def __init__(self, image: Image, core: Core) -> None:
        params = self.params = image.params
        control = image.entries(core, Memory.CONTROL).astype(int).tolist()
        self.groups, self.folds = control[Control.GROUPS], control[Control.FOLDS]
        currents = max(1, control[Control.CURRENTS]) if params.currents > 1 else 1
        slices = max(1, control[Control.SLICES])
        self.row_cycles = (1 if slices == 2 else slices) * currents  # two slices are drained together
        self.rows = self.groups * self.folds
        self.core = core
        self.fan = self._fan(image)
        self.lists = self._lists(image) if params.lists else None

    def _fan(self, image: Image) -> list[tuple[Destination, ...]]:
        params, specs = self.params, memory_specs(self.params)
        fanout = specs[Memory.FANOUT].entry.unpack(image.entries(self.core, Memory.FANOUT))
        table = destination_record(params).unpack(image.entries(self.core, Memory.DESTINATIONS))
        made: dict[int, tuple[Destination, ...]] = {}
        fan: list[tuple[Destination, ...]] = []
        for row in range(self.rows):
            start = int(fanout["start"][row])
            if not fanout["valid"][row]:
                fan.append(())
                continue
            if start not in made:
                made[start] = self._list(table, start)
            fan.append(made[start])
        return fan

    def _list(self, table: dict[str, Ints], start: int) -> tuple[Destination, ...]:
        found = []
        for index in range(start, self.params.destinations):
            entry = {name: int(values[index]) for name, values in table.items()}
            first = entry["block"] * self.params.block + entry["offset"] * self.params.neurons_per_cycle
            cores = None if entry["host"] else (entry["x0"], entry["x1"], entry["y0"], entry["y1"])
            found.append(Destination(entry["mask"], first, entry["delay"], entry["planes"], cores))
            if entry["last"]:
                return tuple(found)
        raise ImageError(f"Core {self.core}: the destinations from {start} on run beyond {self.params.destinations}")

    def _lists(self, image: Image) -> list[list[int]]:
        params, specs = self.params, memory_specs(self.params)
        axons, entries = ({name: value.reshape(params.banks, -1) for name, value in specs[memory].entry.unpack(
            image.entries(self.core, memory)[specs[memory].addresses().astype(np.int64)]).items()}
            for memory in (Memory.AXONS, Memory.ENTRIES))
        lists = []
        for axon in range(params.core_axons):
            index, bank = divmod(axon, params.banks)
            start, base, count = (int(axons[name][bank, index]) for name in ("start", "base", "count"))
            lists.append(((entries["fold"][bank, start:start + count] + base) % params.folds).tolist() if count else [])
        return lists
