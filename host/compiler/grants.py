"""Axon numbers: which axons of which cores each unit's packets set.

A unit takes the same axons in every core of the rectangle that it is sent to. Units that are sent to the same cores are served
together; where no such axons are free, the rectangle is cut in two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.compiler.netlist import Netlist, Units
from spikeloom.host.quantisation.quant_network import Ints
from spikeloom.params import ArrayParams

Bools = npt.NDArray[np.bool_]


class Overflow(CompileError):
    """A core is too full; spreading its neurons over more cores may help."""


@dataclass(frozen=True)
class Grants:
    """Axons of units, each array (grants,): ``axon`` is the first, in all cores of the rectangle; ``word`` counts extra words."""

    unit: Ints
    word: Ints
    x0: Ints
    x1: Ints
    y0: Ints
    y1: Ints
    axon: Ints

    def reach(self, x: int, y: int) -> Ints:
        """The grants whose rectangle has core (x, y) in it."""
        return np.flatnonzero((self.x0 <= x) & (x <= self.x1) & (self.y0 <= y) & (y <= self.y1))


def grant(netlist: Netlist, params: ArrayParams, words: Ints, family: Ints, tight: bool) -> Grants:
    """Axons for every unit in every core that listens to it.

    Parameters
    ----------
    words
        Axons times width that each core needs of each unit, (cores, units).
    family
        Number of each unit's family, of which all should lie in one bank, (units,); −1 for none.
    tight
        Send units to the cores that listen and to no other: more destination entries, no axon held for nothing. Else a
        rectangle may have others in it; without lists, where an axon is a word of zeros there, at most as many as listen.

    Overflow when some core has no axons left.
    """
    work = _Work(netlist, params, _banks(family, netlist.units, params), tight)
    listening = (words > 0).sum(axis=0)
    for word in range(int(words.max(initial=0))):
        wanted = words > word
        units = np.flatnonzero(wanted.any(axis=0))
        groups: dict[tuple[int, bytes], list[int]] = {}
        packed = np.packbits(wanted[:, units], axis=0).T
        for unit, cores in zip(units.tolist(), packed, strict=True):
            groups.setdefault((int(netlist.units.width[unit]), cores.tobytes()), []).append(unit)
        for (width, _), members in sorted(groups.items(), key=lambda item: (item[0][0] == 1, -item[0][0], -listening[item[1][0]],
                                                                            item[1][0])):
            work.serve(np.array(members), width, word, np.flatnonzero(wanted[:, members[0]]))
    return Grants(*np.concatenate([np.zeros((7, 0), np.int64), *work.granted], axis=1))


def _banks(family: Ints, units: Units, params: ArrayParams) -> Ints:
    """A bank for each unit of one axon that shares words with others, or has a wish, −1 for the rest: families spread evenly."""
    bank = units.bank.copy()
    single = np.flatnonzero((units.width == 1) & (family >= 0))
    names, member, size = np.unique(family[single], return_inverse=True, return_counts=True)
    if params.banks > 1 and len(names) < len(single):
        of_family, load = np.zeros(len(names), np.int64), np.zeros(params.banks, np.int64)
        for name in np.argsort(-size, kind="stable"):
            of_family[name] = chosen = int(np.argmin(load))
            load[chosen] += size[name]
        bank[single] = of_family[member.ravel()]
    return bank


class _Work:
    def __init__(self, netlist: Netlist, params: ArrayParams, bank: Ints, tight: bool) -> None:
        self.netlist, self.params, self.bank, self.tight = netlist, params, bank, tight
        self.occupied = np.zeros((params.rows, params.columns, params.core_axons), bool)
        self.granted: list[Ints] = []

    def serve(self, units: Ints, width: int, word: int, cores: Ints) -> None:
        """Axons for units of one width in the same cores."""
        x, y = cores % self.params.columns, cores // self.params.columns
        x0, x1, y0, y1 = int(x.min()), int(x.max()), int(y.min()), int(y.max())
        area = (x1 - x0 + 1) * (y1 - y0 + 1)
        if area - len(cores) <= self._spare(len(cores)):
            busy = np.asarray(self.occupied[y0: y1 + 1, x0: x1 + 1].reshape(area, -1).any(axis=0), bool)
            axon, taken = self._choose(units, width, word, busy)
            if len(axon):
                self.occupied[y0: y1 + 1, x0: x1 + 1, (axon[:, None] + np.arange(width)).ravel()] = True
                done = units[taken]
                self.granted.append(np.stack([done, *(np.full_like(done, v) for v in (word, x0, x1, y0, y1)), axon]))
                units = units[~taken]
        if not len(units):
            return
        if len(cores) == 1:
            source = self.netlist.sources[self.netlist.units.source[units[0]]]
            used = int(self.occupied[y0, x0].sum())
            raise Overflow(f"Core ({x0}, {y0}): no {width} axons side by side are left for {source!r}, which still needs "
                           f"{len(units)} times so many; {used} of {self.params.core_axons} are in use. Take an array with more "
                           f"{'axons' if self.params.lists else 'words'} or banks")
        axis = x if x1 - x0 >= y1 - y0 else y
        middle = (int(axis.min()) + int(axis.max())) // 2
        self.serve(units, width, word, cores[axis <= middle])
        self.serve(units, width, word, cores[axis > middle])

    def _spare(self, listening: int) -> int:
        """How many cores that do not listen may get a unit's packets beside those that do."""
        if self.tight:
            return 0
        return self.params.cores if self.params.lists else listening

    def _choose(self, units: Ints, width: int, word: int, busy: Bools) -> tuple[Ints, Bools]:
        """First axons for as many of the units as free ones suffice for, and which units those are."""
        taken = np.zeros(len(units), bool)
        if width > 1:
            axon = _runs(busy, width, self.params.neurons_per_cycle, len(units))
            taken[: len(axon)] = True
            return axon, taken
        free = np.flatnonzero(~busy)
        chosen = np.full(len(units), -1, np.int64)
        wish = self.bank[units]
        if not self.params.lists:  # a unit's words in different banks
            wish = np.where(wish < 0, wish, (wish + word) % self.params.banks)
        for bank in np.unique(wish[wish >= 0]):
            here = np.flatnonzero(wish == bank)
            places = free[free % self.params.banks == bank][: len(here)]
            chosen[here[: len(places)]] = places
        rest = np.flatnonzero(chosen < 0)
        places = np.setdiff1d(free, chosen, assume_unique=False)[: len(rest)]
        chosen[rest[: len(places)]] = places
        return chosen[chosen >= 0], chosen >= 0


def _runs(busy: Bools, width: int, align: int, count: int) -> Ints:
    """First places of up to ``count`` aligned runs of free axons that do not overlap."""
    blocks = len(busy) // align
    free = np.concatenate([[False], ~busy[: blocks * align].reshape(blocks, align).any(axis=1), [False]])
    need = width // align
    edge = np.flatnonzero(np.diff(free.astype(np.int8)))
    begin, end = edge[::2], edge[1::2]
    fits = (end - begin) // need
    first = np.repeat(begin, fits) + need * (np.arange(fits.sum()) - np.repeat(np.cumsum(fits) - fits, fits))
    return np.asarray(first[:count] * align, np.int64)
