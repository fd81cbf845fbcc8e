"""Where spikes go: the destination lists of every neuron row."""

from __future__ import annotations

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.fields import Words
from spikeloom.host.compiler.grants import Overflow
from spikeloom.host.compiler.place import Placement
from spikeloom.host.quantisation.quant_network import Ints
from spikeloom.memories import Memory, destination_record, memory_specs
from spikeloom.params import ArrayParams


def fanouts(placement: Placement, params: ArrayParams, outputs: dict[str, Ints]) -> dict[int, dict[Memory, Words]]:
    """FANOUT and DESTINATIONS of each core in use; ``outputs`` has the first output number of each row that the host records.

    A row's list has the host first, then its units in the order of their axons' grants. Overflow where a core has too many,
    CompileError where more delayed packets may wait than a core has room for.
    """
    table = _spikes(placement, params)
    _check_waiting(placement, params, table)
    host = _to_host(placement, params, outputs)
    table = {name: np.concatenate([host[name], table[name]]) for name in table}
    core = placement.core[table["row"]]
    address = placement.address_row(table["row"])
    order = np.lexsort((np.arange(len(core)), address, core))
    bounds = np.searchsorted(core[order], np.arange(params.cores + 1))
    found = {}
    for index in placement.plans:
        mine = order[bounds[index]: bounds[index + 1]]
        found[index] = _memories(params, (index % params.columns, index // params.columns), address[mine],
                                 {name: values[mine] for name, values in table.items() if name != "row"})
    return found


def _memories(params: ArrayParams, at: tuple[int, int], address: Ints, table: dict[str, Ints]) -> dict[Memory, Words]:
    specs = memory_specs(params)
    if len(address) > params.destinations:
        raise Overflow(f"Core {at}: its neurons have {len(address)} destinations, {int(table['host'].sum())} of them the host; "
                       f"there is room for {params.destinations}. Use record='outputs', or an array with more destinations")
    first = np.flatnonzero(np.diff(address, prepend=-1))
    last = np.zeros(len(address), np.int64)
    last[first[1:] - 1], last[len(address) - 1:] = 1, 1
    fanout = np.zeros(specs[Memory.FANOUT].span, np.uint64)
    fanout[address[first]] = specs[Memory.FANOUT].entry.pack(start=first, valid=np.ones_like(first))
    return {Memory.FANOUT: fanout, Memory.DESTINATIONS: destination_record(params).pack(**table, last=last)}


def _entries(params: ArrayParams, row: Ints, first: Ints, mask: Ints, **fields: Ints) -> dict[str, Ints]:
    """Columns of the destination record (but ``last``) for masks that begin at an axon or an output, and the rows they leave."""
    names = [field.name for field in destination_record(params) if field.name != "last"]
    block, place = np.divmod(first, params.block)
    given = {"mask": mask, "block": block, "offset": place // params.neurons_per_cycle} | fields
    return {"row": row} | {name: np.asarray(given.get(name, np.zeros_like(row)), np.int64) for name in names}


def _to_host(placement: Placement, params: ArrayParams, outputs: dict[str, Ints]) -> dict[str, Ints]:
    rows, first, mask = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for name, numbers in outputs.items():
        seats = placement.netlist.seats[name]
        rows.append(seats.base + np.arange(len(seats.rows)))
        first.append(numbers)
        mask.append((seats.rows >= 0) @ (1 << np.arange(params.neurons_per_cycle)))
    row = np.concatenate(rows)
    return _entries(params, row, np.concatenate(first), np.concatenate(mask), host=np.ones_like(row))


def _spikes(placement: Placement, params: ArrayParams) -> dict[str, Ints]:
    netlist, units, grants = placement.netlist, placement.netlist.units, placement.grants
    inputs = len(netlist.network.inputs)
    base = np.array([0] * inputs + [seats.base for seats in netlist.seats.values()], np.int64)
    used = np.zeros((len(units.source), params.neurons_per_cycle), bool)
    used[netlist.synapses.unit, netlist.synapses.offset % params.neurons_per_cycle] = True
    inner = np.flatnonzero(units.source[grants.unit] >= inputs)
    unit = grants.unit[inner]
    return _entries(params, base[units.source[unit]] + units.row[unit], grants.axon[inner],
                    used[unit] @ (1 << np.arange(params.neurons_per_cycle)), delay=units.ticks[unit] - 1,
                    x0=grants.x0[inner], x1=grants.x1[inner], y0=grants.y0[inner], y1=grants.y1[inner],
                    planes=units.planes[unit])


def _check_waiting(placement: Placement, params: ArrayParams, table: dict[str, Ints]) -> None:
    """Count the packets that delayed units may leave waiting in each core, by the phase of the tick they are due in."""
    netlist = placement.netlist
    late = np.flatnonzero(table["delay"] > 0)
    if not len(late):
        return
    k = netlist.schedule.ticks_per_step
    depth = np.array([netlist.schedule.depth[population.name] for population in netlist.populations], np.int64)
    part = {name: values[late] for name, values in table.items()}
    due = (depth[netlist.row_population[part["row"]]] + part["delay"] + 1) % k
    packets = np.maximum(part["planes"], 1)
    worst, where = 0, 0
    for core in range(params.cores):
        x, y = core % params.columns, core // params.columns
        here = (part["x0"] <= x) & (x <= part["x1"]) & (part["y0"] <= y) & (y <= part["y1"])
        waiting = int(np.bincount(due[here], packets[here], minlength=1).max())
        if waiting > worst:
            worst, where = waiting, core
    if worst > params.delay_depth:
        raise CompileError(f"Core ({where % params.columns}, {where // params.columns}): {worst} delayed packets may wait for one "
                           f"tick; its delay_depth is {params.delay_depth}. Use fewer delayed or layer-skipping connections, or "
                           f"an array with a greater delay_depth")
