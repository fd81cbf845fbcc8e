"""All cores of an image side by side, for the golden model: neurons, axons and accumulators numbered through the whole array."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from itertools import accumulate, pairwise

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.fields import Ints
from spikeloom.image import Core, Image, InputMap, PopulationMap
from spikeloom.sim.golden_core import CoreModel, Neurons, ranges

Reals = npt.NDArray[np.float64]
#: Additions that are worked on at a time: bounds the memory that a tick takes (about 40 bytes each).
_EVENTS = 1 << 20
#: Entries of the matrices kept for dense ticks, over all cores (8 bytes each).
_DENSE = 1 << 24
#: A multiplication in a matrix product takes about this part of the time of an addition looked up in the tables.
_PER_EVENT = 1 / 50


class Fan:
    """Entries by their source: ``target`` and ``value``, int64 (entries,), those of source s from ``first[s]`` on, ``count[s]``."""

    def __init__(self, source: Ints, target: Ints, value: Ints, sources: int) -> None:
        order = np.argsort(source, kind="stable")
        self.target, self.value = target[order], value[order]
        self.count = np.bincount(source, minlength=sources).astype(np.int64)
        self.first = np.cumsum(self.count) - self.count

    def reach(self, sources: Ints) -> tuple[Ints, Ints]:
        """(i, entry) of all entries of each source i."""
        return ranges(self.first[sources], self.count[sources])


class ArrayModel:
    """An image as flat tables.

    Neurons, axons and accumulators of core c are numbered from ``neuron_base[c]``, ``c * core_axons`` and ``sum_base[c]`` on; in
    the last place of the bases stands their number in all.

    ``neurons``: constants of all. ``synapses``: from axons to accumulators, with digits. ``reads``, ``useful``: of each axon.
    ``sums``: (accumulators, place values) of the slices of each current, (neurons,) each; value 0 where a core has fewer.
    ``outputs``, ``sends``: from spiking neurons to outputs, and by delay to axons. ``planes``: by delay (0: outputs), the
    (neuron, plane, target) of potentials sent as bits. ``inputs``: by name, by tick, from input neurons to axons.
    """

    def __init__(self, image: Image) -> None:
        params = self.params = image.params
        self.cores = [CoreModel(image, (x, y)) for y in range(params.rows) for x in range(params.columns)]
        self.neuron_base = [0, *accumulate(len(core.neurons.where) for core in self.cores)]
        self.sum_base = [0, *accumulate(core.accumulators for core in self.cores)]
        self.axons, self.neuron_count = len(self.cores) * params.core_axons, self.neuron_base[-1]
        self.neurons = Neurons(*(self._joined(lambda core, name=f.name: getattr(core.neurons, name))  # type: ignore[misc]  # default
                                 for f in dataclasses.fields(Neurons)))
        self.reads, self.useful = self._joined(lambda core: core.reads), self._joined(lambda core: core.useful)
        self.synapses = self._synapses()
        self.matrices = self._matrices()
        self.sums = [self._slices(current) for current in range(max((core.currents for core in self.cores), default=1))]
        self._destinations()
        self.inputs = {source.name: self._inputs(source) for source in image.inputs}

    def core_at(self, bases: list[int], number: int) -> Core:
        """Column and row of the core that has a neuron or accumulator."""
        index = int(np.searchsorted(bases, number, side="right")) - 1
        return self.cores[index].core

    def positions(self, population: PopulationMap) -> Ints:
        """The numbers of a population's neurons: (neurons,)."""
        home = population.column("y") * self.params.columns + population.column("x")
        found = np.zeros(population.size, np.int64)
        for index in np.unique(home):
            own = home == index
            where = self.cores[index].neurons.where
            address = population.column("neuron")[own]
            position = np.searchsorted(where, address)
            if np.any(position >= len(where)) or np.any(where[position] != address):
                raise MachineError(f"Population {population.name!r} has neurons that core {self.cores[index].core} does not update")
            found[own] = self.neuron_base[index] + position
        return found

    def lane_sums(self, sample: Ints, axon: Ints, samples: int) -> Reals:
        """What the axons hit, each in its sample, add to the accumulators: (samples, accumulators).

        Floats are exact: the sums stay far below 2**53. Many hits are multiplied as matrices, few are looked up; the result is
        the same.
        """
        width, count = self.sum_base[-1], np.cumsum(self.synapses.count[axon])
        if self.matrices and samples * sum(m.size for m in self.matrices) * _PER_EVENT < (count[-1] if len(count) else 0):
            heights = [len(matrix) for matrix in self.matrices]
            there = self.row[axon] >= 0
            key = sample[there] * sum(heights) + self.row[axon[there]]
            hits = np.bincount(key, minlength=samples * sum(heights)).reshape(samples, -1).astype(np.float64)
            parts = np.split(hits, np.cumsum(heights)[:-1], axis=1)
            return np.concatenate([part @ matrix for part, matrix in zip(parts, self.matrices, strict=True)], axis=1)
        total = np.zeros(samples * width)
        cuts = np.searchsorted(count, np.arange(_EVENTS, count[-1], _EVENTS)).tolist() if len(count) else []
        for low, high in pairwise([0, *cuts, len(axon)]):
            owner, entry = self.synapses.reach(axon[low:high])
            key = sample[low:high][owner] * width + self.synapses.target[entry]
            total += np.bincount(key, self.synapses.value[entry], samples * width)
        return total.reshape(samples, width)

    def _joined(self, part: Callable[[CoreModel], Ints]) -> Ints:
        return np.concatenate([part(core) for core in self.cores])

    def _numbered(self, part: Callable[[CoreModel], Ints], bases: Iterable[int]) -> Ints:
        return np.concatenate([part(core) + base for core, base in zip(self.cores, bases, strict=True)])

    def _synapses(self) -> Fan:
        axon = self._numbered(lambda core: core.digits.axon, range(0, self.axons, self.params.core_axons))
        return Fan(axon, self._numbered(lambda core: core.digits.accumulator, self.sum_base[:-1]),
                   self._joined(lambda core: core.digits.digit), self.axons)

    def _matrices(self) -> list[Reals]:
        """For each core what its axons that add anything add: (axons, accumulators). Empty when they would take too much.

        ``row`` has the axons' rows, counted through all matrices, −1 for those that add nothing.
        """
        self.row = np.full(self.axons, -1)
        adding = np.flatnonzero(self.synapses.count)
        self.row[adding] = np.arange(len(adding))
        used = [np.unique(core.digits.axon) for core in self.cores]
        if sum(len(axons) * core.accumulators for axons, core in zip(used, self.cores, strict=True)) > _DENSE:
            return []
        matrices = []
        for axons, core in zip(used, self.cores, strict=True):
            matrix = np.zeros((len(axons), core.accumulators))
            np.add.at(matrix, (np.searchsorted(axons, core.digits.axon), core.digits.accumulator), core.digits.digit)
            matrices.append(matrix)
        return matrices

    def _slices(self, current: int) -> list[tuple[Ints, Ints]]:
        slices = []
        for slice_ in range(max(core.slices for core in self.cores)):
            sources, places = [], []
            for core, base in zip(self.cores, self.sum_base[:-1], strict=True):
                there = current < core.currents and slice_ < core.slices
                where = core.sources(current, slice_) if there else np.zeros(len(core.neurons.where), np.int64)
                sources.append(where + base * there)
                places.append(np.full(len(where), core.place(slice_) if there else 0))
            slices.append((np.concatenate(sources), np.concatenate(places)))
        return slices

    def _destinations(self) -> None:
        """Every destination entry as many times as it has target cores."""
        params = self.params
        neuron, target, delay, plane = (np.concatenate(parts) for parts in zip(*(
            self._targets(core, base) for core, base in zip(self.cores, self.neuron_base[:-1], strict=True)), strict=True))
        spikes, none = plane < 0, np.zeros_like(neuron)
        fans = {int(d): Fan(neuron[chosen], target[chosen], none[chosen], self.neuron_count)
                for d in np.unique(delay[spikes]) for chosen in [spikes & (delay == d)]}
        empty = np.zeros(0, np.int64)
        self.outputs = fans.pop(0, Fan(empty, empty, empty, self.neuron_count))
        self.sends = fans
        self.planes = {int(d): (neuron[chosen], plane[chosen], target[chosen])
                       for d in np.unique(delay[~spikes]) for chosen in [~spikes & (delay == d)]}
        self.output_count = params.output_blocks * params.block

    def _targets(self, core: CoreModel, base: int) -> tuple[Ints, Ints, Ints, Ints]:
        """Neuron, target, delay (0: an output), plane of everything that a core sends: (entries,) each."""
        params, sends = self.params, core.sends
        host = sends.host != 0
        limit = np.where(host, params.output_blocks * params.block, params.core_axons)
        if np.any(sends.axon >= limit) or np.any(~host & ((sends.x1 >= params.columns) | (sends.y1 >= params.rows))):
            raise MachineError(f"Core {core.core}: a destination lies beyond the array's axons, outputs or cores")
        width, height = sends.x1 - sends.x0 + 1, sends.y1 - sends.y0 + 1
        entry, at = ranges(np.zeros_like(width), np.where(host, 1, np.maximum(width, 0) * np.maximum(height, 0)))
        row, column = np.divmod(at, np.maximum(width, 1)[entry])
        index = (sends.y0[entry] + row) * params.columns + sends.x0[entry] + column
        target = np.where(host[entry], 0, index * params.core_axons) + sends.axon[entry]
        return sends.neuron[entry] + base, target, np.where(host, 0, sends.delay)[entry], sends.plane[entry]

    def _inputs(self, source: InputMap) -> dict[int, Fan]:
        """Fans from input neurons to axons by the tick of their routes."""
        neuron, tick, x0, x1, y0, y1, axon = source.routes.T
        width = x1 - x0 + 1
        route, at = ranges(np.zeros_like(width), width * (y1 - y0 + 1))
        row, column = np.divmod(at, width[route])
        core = (y0[route] + row) * self.params.columns + x0[route] + column
        target = core * self.params.core_axons + axon[route]
        return {int(t): Fan(neuron[route][chosen], target[chosen], np.zeros_like(target[chosen]), source.size)
                for t in np.unique(tick) for chosen in [tick[route] == t]}
