"""Packing: a placement becomes the exact bits of an image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.fields import Words
from spikeloom.host.place import Grant, Overflow, Placement
from spikeloom.host.quant_network import Ints, digit_range
from spikeloom.host.synapse_words import CoreSynapses, direct_words, list_words
from spikeloom.image import Image, InputMap, PopulationMap
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs
from spikeloom.params import ArrayParams

#: The neuron rows of a core that send, each with its destination entries.
RowLists = list[tuple[int, list[dict[str, int]]]]


def pack(placement: Placement, params: ArrayParams, recorded: Collection[str]) -> Image:
    """The image of a placement; spikes of the ``recorded`` populations are sent to the host.

    Overflow names the core and the memory that is too small, CompileError an accumulator that could overflow.
    """
    memories: dict[tuple[int, int], dict[Memory, Words]] = {}
    outputs = _outputs(placement, params, recorded)
    lists = _destinations(placement, params, outputs)
    for index in range(len(placement.plans)):
        at = (index % params.columns, index // params.columns)
        synapses = _core_synapses(placement, params, index)
        _check_accumulators(placement, params, index, synapses)
        memories[at] = (list_words if params.lists else direct_words)(synapses, params, at)
        memories[at] |= _neurons(placement, params, index) | _fanout(params, at, lists[index])
    return Image(params, memories, _inputs(placement, params), _populations(placement, params, outputs),
                 placement.netlist.schedule.ticks_per_step)


def _rows(placement: Placement, core: int) -> Ints:
    return np.flatnonzero(placement.core == core)


def _core_synapses(placement: Placement, params: ArrayParams, core: int) -> CoreSynapses:
    """The digits of a core's synapses: axon, fold, lane and value of each, wide weights in several words."""
    netlist, table, per_row = placement.netlist, placement.netlist.synapses, params.neurons_per_cycle
    here = np.flatnonzero(placement.core[table.row] == core)
    slices = placement.plans[core].slices
    low, high = digit_range(params.weight_bits, slices)
    words = int(netlist.row_words[here].max(initial=0))
    axon_of = np.full((len(netlist.units.source), max(words, 1)), -1, np.int64)
    for grant in placement.grants:
        if core in grant.cores:
            axon_of[grant.unit, grant.word] = grant.axon
    row, weight = table.row[here], table.weight[here]
    first_lane = placement.group[row] * slices * per_row + table.column[here]
    parts: list[npt.NDArray[np.int64]] = [np.zeros((5, 0), np.int64)]
    for word in range(words):
        piece = np.where(weight > 0, np.clip(weight - word * high, 0, high), np.clip(weight - word * low, low, 0))
        some = np.flatnonzero(piece)
        axon = axon_of[table.unit[here[some]], 0 if params.lists else word] + table.offset[here[some]]
        rest, half = piece[some], 1 << (params.weight_bits - 1)
        for digit in range(slices - 1, -1, -1):
            value = ((rest + half) & (2 * half - 1)) - half
            rest = (rest - value) >> params.weight_bits
            lane = first_lane[some] + digit * per_row
            parts.append(np.stack([axon, np.full_like(axon, word), placement.fold[row[some]], lane, value]))
    return CoreSynapses(*np.concatenate(parts, axis=1))


def _check_accumulators(placement: Placement, params: ArrayParams, core: int, synapses: CoreSynapses) -> None:
    """No order of arrival may carry an accumulator beyond its width: neither all positive digits nor all negative ones."""
    limit = 1 << (params.accumulator_bits - 1)
    place = synapses.fold * params.lanes + synapses.lane
    for sign, most in ((1, limit - 1), (-1, limit)):
        sums = np.bincount(place, np.maximum(sign * synapses.value, 0), minlength=1)
        worst = int(np.argmax(sums))
        if sums[worst] <= most:
            continue
        fold, lane = divmod(worst, params.lanes)
        group = lane // (placement.plans[core].slices * params.neurons_per_cycle)
        rows = _rows(placement, core)
        row = rows[(placement.fold[rows] == fold) & (placement.group[rows] == group)][0]
        name = placement.netlist.populations[placement.netlist.row_population[row]].name
        raise CompileError(f"Population {name!r}: the digits in lane {lane}, fold {fold} of core ({core % params.columns}, "
                           f"{core // params.columns}) may add up to {sign * int(sums[worst])}; accumulators of "
                           f"{params.accumulator_bits} bits hold "
                           f"{-limit} to {limit - 1}. Take {int(sums[worst]).bit_length() + 1} accumulator_bits, or fewer "
                           f"weight_bits")


def _neurons(placement: Placement, params: ArrayParams, core: int) -> dict[Memory, Words]:
    """CONTROL, CLASSES and the neuron memories of a core."""
    specs, plan, netlist = memory_specs(params), placement.plans[core], placement.netlist
    rows = _rows(placement, core)
    control = np.zeros(len(Control), np.uint64)
    control[[Control.SLICES, Control.GROUPS, Control.FOLDS]] = [plan.slices, plan.groups, plan.folds]
    numbers = sorted(plan.classes)
    local = np.zeros(len(placement.class_table), np.int64)
    local[numbers] = np.arange(len(numbers))
    values = {memory: np.zeros((plan.folds * plan.groups, params.neurons_per_cycle), np.int64)
              for memory in (Memory.NEURON_CLASS, Memory.THRESHOLD, Memory.BIAS, Memory.RESET)}
    values[Memory.THRESHOLD][:] = (1 << (params.state_bits - 1)) - 1  # an empty seat stays below it: it has no input
    for number in np.unique(netlist.row_population[rows]):
        population = netlist.populations[number]
        seats = netlist.seats[population.name]
        mine = rows[netlist.row_population[rows] == number]
        neuron = seats.rows[mine - seats.base]
        at, column = np.nonzero(neuron >= 0)
        place = (placement.address_row(mine)[at], column)
        for memory, source in ((Memory.NEURON_CLASS, local[placement.class_of[number]]), (Memory.THRESHOLD, population.threshold),
                               (Memory.BIAS, population.bias), (Memory.RESET, population.reset)):
            values[memory][place] = source[neuron[at, column]]
    packed: dict[Memory, Words] = {Memory.CONTROL: control, Memory.CLASSES: _class_words(placement, params, numbers)}
    for memory, table in values.items():
        spec = specs[memory]
        row, column = np.indices(table.shape)
        words = np.zeros(spec.span, np.uint64)
        words[spec.address.pack(row=row, column=column).astype(np.int64)] = spec.entry.pack(**{spec.entry.fields[0].name: table})
        packed[memory] = words
    return packed


def _class_words(placement: Placement, params: ArrayParams, numbers: list[int]) -> Words:
    spec = memory_specs(params)[Memory.CLASSES]
    first, second = class_records(params)
    alpha, beta, refractory, shift, spiking, subtract, hold, phases, start = placement.class_table[numbers].T
    words = np.zeros(spec.span, np.uint64)
    index = np.arange(len(numbers))
    words[spec.address.pack(part=0, index=index).astype(np.int64)] = first.pack(current_gain=alpha, membrane_gain=beta)
    words[spec.address.pack(part=1, index=index).astype(np.int64)] = second.pack(
        shift=shift, refractory=refractory, spiking=spiking, subtract=subtract, hold=hold, phases=phases, start=start)
    return words


def _outputs(placement: Placement, params: ArrayParams, recorded: Collection[str]) -> dict[str, Ints]:
    """First output number of each row of the recorded populations, by population."""
    numbers: dict[str, Ints] = {}
    used = 0
    for name, seats in placement.netlist.seats.items():
        if name in recorded:
            numbers[name] = (used + np.arange(len(seats.rows))) * params.neurons_per_cycle
            used += len(seats.rows)
    room = params.output_blocks * params.block // params.neurons_per_cycle
    if used > room:
        raise CompileError(f"Recording takes {used} rows of outputs; the host port tells {room} apart. Use record='outputs'")
    return numbers


def _destinations(placement: Placement, params: ArrayParams, outputs: dict[str, Ints]) -> list[RowLists]:
    """For each core, its neuron rows that send and their destination entries."""
    netlist, units = placement.netlist, placement.netlist.units
    inputs = len(netlist.network.inputs)
    by_row: dict[int, list[dict[str, int]]] = {}
    for population, seats in netlist.seats.items():
        for local, number in enumerate(outputs.get(population, ())):
            by_row[seats.base + local] = [_entry(params, int(number), _mask(seats.rows[local]), host=1)]
    used = np.zeros((len(units.source), params.neurons_per_cycle), bool)
    used[netlist.synapses.unit, netlist.synapses.offset % params.neurons_per_cycle] = True
    waiting: dict[tuple[int, int], int] = {}
    for grant in placement.grants:
        if units.source[grant.unit] < inputs:
            continue
        seats = netlist.seats[netlist.sources[units.source[grant.unit]]]
        row, ticks = seats.base + int(units.row[grant.unit]), int(units.ticks[grant.unit])
        x0, x1, y0, y1 = grant.rectangle
        mask = int(used[grant.unit] @ (1 << np.arange(params.neurons_per_cycle)))
        by_row.setdefault(row, []).append(_entry(params, grant.axon, mask, delay=ticks - 1, x0=x0, x1=x1, y0=y0, y1=y1,
                                                 planes=int(units.planes[grant.unit])))
        if ticks > 1:
            _wait(placement, params, grant, row, ticks, waiting)
    _check_waiting(params, waiting)
    cores: list[RowLists] = [[] for _ in placement.plans]
    for row in sorted(by_row):
        cores[placement.core[row]].append((int(placement.address_row(np.array([row]))[0]), by_row[row]))
    return cores


def _mask(row: Ints) -> int:
    return int((row >= 0) @ (1 << np.arange(len(row))))


def _entry(params: ArrayParams, first: int, mask: int, **fields: int) -> dict[str, int]:
    block, place = divmod(first, params.block)
    return {"mask": mask, "block": block, "offset": place // params.neurons_per_cycle} | fields


def _wait(placement: Placement, params: ArrayParams, grant: Grant, row: int, ticks: int,
          waiting: dict[tuple[int, int], int]) -> None:
    """Count the packets that a delayed unit may leave waiting in each core, by the phase of the tick they are due in."""
    netlist = placement.netlist
    depth = netlist.schedule.depth[netlist.populations[netlist.row_population[row]].name]
    due = (depth + ticks) % netlist.schedule.ticks_per_step
    x0, x1, y0, y1 = grant.rectangle
    for y in range(y0, y1 + 1):
        for x in range(x0, x1 + 1):
            core = y * params.columns + x
            waiting[core, due] = waiting.get((core, due), 0) + max(1, int(netlist.units.planes[grant.unit]))


def _check_waiting(params: ArrayParams, waiting: dict[tuple[int, int], int]) -> None:
    for (core, _), packets in sorted(waiting.items(), key=lambda item: -item[1]):
        if packets > params.delay_depth:
            raise CompileError(f"Core ({core % params.columns}, {core // params.columns}): {packets} delayed packets may wait "
                               f"for one tick; "
                               f"its delay_depth is {params.delay_depth}. Use fewer delayed or layer-skipping connections, or "
                               f"an array "
                               f"with a greater delay_depth")


def _fanout(params: ArrayParams, at: tuple[int, int], lists: RowLists) -> dict[Memory, Words]:
    specs, record = memory_specs(params), destination_record(params)
    total = sum(len(entries) for _, entries in lists)
    if total > params.destinations:
        hosts = sum("host" in entry for _, entries in lists for entry in entries)
        raise Overflow(f"Core {at}: its neurons have {total} destinations, {hosts} of them the host; there is room for "
                       f"{params.destinations}. Use record='outputs', or an array with more destinations")
    fanout = np.zeros(specs[Memory.FANOUT].span, np.uint64)
    entries: list[dict[str, int]] = []
    for row, mine in lists:
        fanout[row] = specs[Memory.FANOUT].entry.pack(start=len(entries), valid=1)
        entries += [*mine[:-1], mine[-1] | {"last": 1}]
    names = [entry_field.name for entry_field in record]
    table = {name: np.array([entry.get(name, 0) for entry in entries], np.int64) for name in names}
    return {Memory.FANOUT: fanout, Memory.DESTINATIONS: record.pack(**table)}


def _inputs(placement: Placement, params: ArrayParams) -> tuple[InputMap, ...]:
    units, network = placement.netlist.units, placement.netlist.network
    names = list(network.inputs)
    routes: dict[str, list[tuple[int, ...]]] = {name: [] for name in names}
    for grant in placement.grants:
        source = int(units.source[grant.unit])
        if source < len(names):
            routes[names[source]].append((int(units.row[grant.unit]), int(units.ticks[grant.unit]), *grant.rectangle, grant.axon))
    return tuple(InputMap(name, tuple(network.inputs[name]), np.array(sorted(rows), np.int64).reshape(-1, 7))
                 for name, rows in routes.items())


def _populations(placement: Placement, params: ArrayParams, outputs: dict[str, Ints]) -> tuple[PopulationMap, ...]:
    spec, netlist = memory_specs(params)[Memory.MEMBRANE], placement.netlist
    maps = []
    for population in netlist.populations:
        if population.helper:
            continue
        seats = netlist.seats[population.name]
        rows = seats.base + seats.row
        core = placement.core[rows]
        where = spec.address.pack(row=placement.address_row(rows), column=seats.column).astype(np.int64)
        output = np.full(population.size, -1, np.int64)
        if population.name in outputs:
            output = outputs[population.name][seats.row] + seats.column
        places = np.column_stack([core % params.columns, core // params.columns, where, output])
        maps.append(PopulationMap(population.name, population.shape, netlist.schedule.depth[population.name], population.spiking,
                                  places, population.scale))
    return tuple(maps)
