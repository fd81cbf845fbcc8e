"""More fan-in than a core has axons: the sum is formed in parts, exactly.

A population whose neurons have more inputs than a core's axons gets helper populations, each of which adds up a part of
the synapses (no decay, no threshold: v = Σ w s) and sends the bits of its v, ``planes`` of them in two's complement, to
axons of the population itself. There bit p weighs 2^p, the highest −2^p: the sum of the parts is the whole sum, one tick later.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.host.quantisation.quant_network import Edge, Ints, QuantNetwork, QuantPopulation, digit_range
from spikeloom.params import ArrayParams

#: Room for a delay in steps beside a row's number.
_DELAY_BITS = 24


def row_axons(params: ArrayParams) -> int:
    """Axons that a row of neurons can listen to in one core, whatever their weights."""
    if not params.lists:
        return params.core_axons
    return min(params.axons, params.entries, params.words) * params.banks


def words_for(weight: Ints, weight_bits: int, slices: int) -> Ints:
    """Synapse words that each integer weight takes when one holds ``slices`` digits."""
    low, high = digit_range(weight_bits, slices)
    return np.where(weight > 0, -(-weight // high), -(weight // -low))


def split_fan_in(network: QuantNetwork, params: ArrayParams) -> QuantNetwork:
    """The network with every fan-in within reach of one core; the same object when all are."""
    populations, edges = dict(network.populations), list(network.edges)
    errors = dict(network.errors)
    limit = row_axons(params)
    for name, population in network.populations.items():
        mine = [edge for edge in edges if edge.target == name]
        if _widest(network, population, mine, params) <= limit:
            continue
        helpers, inner, outer = _split(network, population, mine, params, limit)
        edges = [edge for edge in edges if edge.target != name] + inner + outer
        wide = dataclasses.replace(population, slices=_slices(outer, population.currents, params))
        populations.update({helper.name: helper for helper in helpers} | {name: wide})
        network_now = dataclasses.replace(network, populations=populations, edges=tuple(edges))
        axons = _widest(network_now, wide, outer, params)
        if axons > limit:
            raise CompileError(f"Population {name!r}: its fan-in takes {len(helpers)} partial sums, whose bits need {axons} "
                               f"axons in a core; "
                               f"it has {limit}. Take an array with more words or banks")
        errors[name] = errors[name] | {"partial_sums": len(helpers), "planes": [edge.planes for edge in outer]}
    if len(populations) == len(network.populations):
        return network
    return dataclasses.replace(network, populations=populations, edges=tuple(edges), errors=errors)


def _units(network: QuantNetwork, edge: Edge, population: QuantPopulation, params: ArrayParams) -> tuple[Ints, int, Ints]:
    """For each synapse the axons' common number, how many axons they are, and the synapse words it takes."""
    per_row = params.neurons_per_cycle
    width = 1 if edge.source in network.inputs else per_row * max(edge.planes, 1)
    row = edge.pre // (1 if edge.source in network.inputs else per_row)
    weight = edge.weight
    if edge.planes:
        weight = weight << (edge.planes - 1)
    extra = words_for(weight, params.weight_bits, population.slices) if not params.lists else np.ones_like(weight)
    return row << _DELAY_BITS | edge.delay, width, extra


def _widest(network: QuantNetwork, population: QuantPopulation, edges: list[Edge], params: ArrayParams) -> int:
    """Most axons that a row of the population listens to."""
    rows = -(-population.size // params.neurons_per_cycle)
    total = np.zeros(rows, np.int64)
    together: dict[tuple[str, int], list[Edge]] = {}  # both currents of a neuron are driven by the same axons
    for edge in edges:
        if len(edge.pre):
            together.setdefault((edge.source, edge.planes), []).append(edge)
    for group in together.values():
        parts = [_units(network, edge, population, params) for edge in group]
        span = max(int(unit.max()) for unit, _, _ in parts) + 1
        post = np.concatenate([edge.post for edge in group]) // params.neurons_per_cycle
        key, extra = post * span + np.concatenate([unit for unit, _, _ in parts]), np.concatenate([most for _, _, most in parts])
        order = np.argsort(key, kind="stable")
        first = np.flatnonzero(np.diff(key[order], prepend=-1))
        np.add.at(total, post[order][first], np.maximum.reduceat(extra[order], first) * parts[0][1])
    return int(total.max(initial=0))


def _split(network: QuantNetwork, population: QuantPopulation, edges: list[Edge], params: ArrayParams,
           limit: int) -> tuple[list[QuantPopulation], list[Edge], list[Edge]]:
    """Helper populations, the synapses into them, and their planes into the population: each helper sums for one current."""
    inner: list[Edge] = []
    part, used = -1, 0
    receptors: list[int] = []  # of each part
    for edge in sorted(edges, key=lambda edge: edge.receptor):
        if edge.receptor not in receptors:
            part, used = part + 1, 0
            receptors.append(edge.receptor)
        unit, width, extra = _units(network, edge, population, params)
        number, inverse = np.unique(unit, return_inverse=True)
        cost = np.zeros(len(number), np.int64)
        np.maximum.at(cost, inverse.ravel(), extra * width)
        parts = np.zeros(len(number), np.int64)
        for i, axons in enumerate(cost):
            if used + axons > limit:
                part, used = part + 1, 0
                receptors.append(edge.receptor)
            used += int(axons)
            parts[i] = part
        where = parts[inverse.ravel()]
        for index in np.unique(where):
            keep = where == index
            inner.append(Edge(edge.source, _name(population, int(index)), edge.pre[keep], edge.post[keep], edge.delay[keep],
                              edge.weight[keep]))
    helpers = [_helper(population, _name(population, index)) for index in range(part + 1)]
    outer = [_planes(helper, population, [edge for edge in inner if edge.target == helper.name], receptor, params)
             for helper, receptor in zip(helpers, receptors, strict=True)]
    return helpers, inner, outer


def _name(population: QuantPopulation, index: int) -> str:
    return f"{population.name}/part {index}"


def _helper(population: QuantPopulation, name: str) -> QuantPopulation:
    zero = np.zeros(population.size, np.int64)
    return dataclasses.replace(population, name=name, current_gain=zero, second_current_gain=zero, currents=1, membrane_gain=zero,
                               shift=0, threshold=zero, bias=zero, reset=zero, refractory=zero, subtract=False, hold=False,
                               floor=False, spiking=False, scale=np.ones(population.size), helper=True, owner=population.name)


def _planes(helper: QuantPopulation, population: QuantPopulation, edges: list[Edge], receptor: int, params: ArrayParams) -> Edge:
    """The connection that carries a helper's sums, with as many bits as they can need."""
    sums = np.zeros((2, helper.size), np.int64)
    for edge in edges:
        for side, sign in enumerate((1, -1)):
            np.add.at(sums[side], edge.post, np.maximum(sign * edge.weight, 0))
    most = max(int(sums[0].max()), int(sums[1].max()) - 1)
    planes = most.bit_length() + 1
    if planes > params.state_bits:
        raise CompileError(f"Population {population.name!r}: its partial sums need {planes} bits; the membrane has "
                           f"{params.state_bits}")
    busy = np.flatnonzero(sums.any(axis=0))
    return Edge(helper.name, population.name, busy, busy, np.zeros(len(busy), np.int64), np.ones(len(busy), np.int64), planes,
                receptor)


def _slices(planes: list[Edge], currents: int, params: ArrayParams) -> int:
    """Digits that hold the highest plane's weight, as far as the array joins so many."""
    need = max(edge.planes for edge in planes)
    return min(params.max_slices, params.lane_rows // currents, -(-need // params.weight_bits))
