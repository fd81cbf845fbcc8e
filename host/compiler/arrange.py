"""Where in the mesh each core's contents lie: near those that they send to and hear from."""

from __future__ import annotations

import numpy as np

from spikeloom.host.compiler.netlist import Netlist
from spikeloom.host.quantisation.quant_network import Ints, Reals
from spikeloom.params import ArrayParams


def packets(netlist: Netlist, params: ArrayParams, core_of_row: Ints, words: Ints) -> Ints:
    """How many units lead from each core to each, (cores + 1, cores + 1): the last is the host, with inputs and outputs.

    ``core_of_row`` is (rows,), ``words`` (cores, units). Every row of neurons and every input counts alike, since nobody knows
    here how often they spike.
    """
    units, cores = netlist.units, len(words)
    inputs = len(netlist.network.inputs)
    base = np.array([0] * inputs + [seats.base for seats in netlist.seats.values()], np.int64)
    source = np.full(len(units.source), cores, np.int64)
    inner = np.flatnonzero(units.source >= inputs)
    source[inner] = core_of_row[base[units.source[inner]] + units.row[inner]]
    flow = np.zeros((cores + 1, cores + 1), np.int64)
    if len(source):
        target, unit = np.nonzero(words)
        np.add.at(flow, (source[unit], target), 1)
    for name in netlist.network.outputs:
        seats = netlist.seats[name]
        flow[:cores, cores] += np.bincount(core_of_row[seats.base: seats.base + len(seats.rows)], minlength=cores)
    return flow


def distances(params: ArrayParams) -> Ints:
    """Hops between any two cores, (cores + 1, cores + 1); the last is the host port, west of core (0, 0)."""
    at = np.arange(params.cores)
    x = np.append(at % params.columns, -1)
    y = np.append(at // params.columns, 0)
    return np.asarray(np.abs(x[:, None] - x) + np.abs(y[:, None] - y), np.int64)


def arrange(flow: Ints, params: ArrayParams) -> Ints:
    """A core of the mesh for each plan, (plans,): pairs are swapped as long as packets × hops shrink.

    Deterministic; starts row by row, or in a square at the host's corner where that is better. At most four swaps a core.
    """
    plans, cores = len(flow) - 1, params.cores
    both = np.zeros((cores + 1, cores + 1))  # float products are exact here and many times faster
    keep = np.append(np.arange(plans), cores)
    both[np.ix_(keep, keep)] = flow + flow.T
    np.fill_diagonal(both, 0)
    hops = distances(params).astype(np.float64)
    starts = [np.arange(cores), _square(plans, params)]
    place = np.append(min(starts, key=lambda order: _cost(both, hops, np.append(order, cores))), cores)
    for _ in range(4 * plans):
        near = both @ hops[place]  # packets × hops of each plan at each core
        here = near[np.arange(cores), place[:cores]]
        swapped = near[:cores, place[:cores]]
        gain = here[:, None] + here - swapped - swapped.T - 2 * both[:cores, :cores] * hops[np.ix_(place[:cores], place[:cores])]
        i, j = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[i, j] <= 0:
            break
        place[i], place[j] = place[j], place[i]
    return np.asarray(place[:plans], np.int64)


def _square(plans: int, params: ArrayParams) -> Ints:
    """Cores in a block near the host's corner first, row by row, then the rest."""
    wide = min(params.columns, max(1, int(np.ceil(np.sqrt(plans)))))
    at = np.arange(params.cores)
    return np.lexsort((at, at % params.columns >= wide))


def _cost(both: Reals, hops: Reals, place: Ints) -> float:
    return float((both * hops[np.ix_(place, place)]).sum())
