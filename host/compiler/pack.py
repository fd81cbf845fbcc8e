"""Packing: a placement becomes the exact bits of an image."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.fields import Words
from spikeloom.host.compiler.fanout import fanouts
from spikeloom.host.compiler.place import Placement
from spikeloom.host.compiler.synapse_words import CoreSynapses, direct_words, list_words
from spikeloom.host.quantisation.quant_network import Ints, digit_range
from spikeloom.image import Image, InputMap, PopulationMap
from spikeloom.memories import Control, Memory, class_records, memory_specs
from spikeloom.params import ArrayParams


def pack(placement: Placement, params: ArrayParams, recorded: Collection[str]) -> Image:
    """The image of a placement; spikes of the ``recorded`` populations are sent to the host.

    Overflow names the core and the memory that is too small, CompileError an accumulator that could overflow.
    """
    memories: dict[tuple[int, int], dict[Memory, Words]] = {}
    outputs = _outputs(placement, params, recorded)
    fanout = fanouts(placement, params, outputs)
    core_of = placement.core[placement.netlist.synapses.row]
    order = np.argsort(core_of, kind="stable")
    bounds = np.searchsorted(core_of[order], np.arange(params.cores + 1))
    for index in placement.plans:
        at = (index % params.columns, index // params.columns)
        synapses = _core_synapses(placement, params, index, order[bounds[index]: bounds[index + 1]])
        _check_accumulators(placement, params, index, synapses)
        memories[at] = (list_words if params.lists else direct_words)(synapses, params, at)
        memories[at] |= _neurons(placement, params, index) | fanout[index]
    return Image(params, memories, _inputs(placement, params), _populations(placement, params, outputs),
                 placement.netlist.schedule.ticks_per_step)


def _rows(placement: Placement, core: int) -> Ints:
    return np.flatnonzero(placement.core == core)


def _core_synapses(placement: Placement, params: ArrayParams, core: int, here: Ints) -> CoreSynapses:
    """The digits of a core's synapses ``here``: axon, fold, lane and value of each, wide weights in several words."""
    netlist, table, per_row = placement.netlist, placement.netlist.synapses, params.neurons_per_cycle
    plan, grants = placement.plans[core], placement.grants
    slices, currents = plan.slices, plan.currents
    low, high = digit_range(params.weight_bits, slices)
    words = int(netlist.row_words[here].max(initial=0))
    axon_of = np.full((len(netlist.units.source), max(words, 1)), -1, np.int64)
    reach = grants.reach(core % params.columns, core // params.columns)
    reach = reach[grants.word[reach] < max(words, 1)]
    axon_of[grants.unit[reach], grants.word[reach]] = grants.axon[reach]
    row, weight = table.row[here], table.weight[here]
    first_lane = (placement.group[row] * currents + table.receptor[here]) * slices * per_row + table.column[here]
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
    limit, plan = 1 << (params.accumulator_bits - 1), placement.plans[core]
    place = synapses.fold * params.lanes + synapses.lane
    for sign, most in ((1, limit - 1), (-1, limit)):
        sums = np.bincount(place, np.maximum(sign * synapses.value, 0), minlength=1)
        worst = int(np.argmax(sums))
        if sums[worst] <= most:
            continue
        fold, lane = divmod(worst, params.lanes)
        group = lane // (plan.slices * plan.currents * params.neurons_per_cycle)
        rows = _rows(placement, core)
        row = rows[(placement.fold[rows] == fold) & (placement.group[rows] == group)][0]
        name = placement.netlist.populations[placement.netlist.row_population[row]].name
        raise CompileError(f"Population {name!r}: the digits in lane {lane}, fold {fold} of core ({core % params.columns}, "
                           f"{core // params.columns}) may add up to {sign * int(sums[worst])}; accumulators of "
                           f"{params.accumulator_bits} bits hold {-limit} to {limit - 1}. Take "
                           f"{int(sums[worst]).bit_length() + 1} accumulator_bits, or fewer weight_bits")


def _neurons(placement: Placement, params: ArrayParams, core: int) -> dict[Memory, Words]:
    """CONTROL, CLASSES and the neuron memories of a core."""
    specs, plan, netlist = memory_specs(params), placement.plans[core], placement.netlist
    rows = _rows(placement, core)
    control = np.zeros(specs[Memory.CONTROL].span, np.uint64)
    control[[Control.SLICES, Control.GROUPS, Control.FOLDS]] = [plan.slices, plan.groups, plan.folds]
    if params.currents > 1:
        control[Control.CURRENTS] = plan.currents
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
    first, second, *third = class_records(params)
    alpha, beta, refractory, shift, spiking, subtract, hold, phases, start, floor, alpha_two = placement.class_table[numbers].T
    gains = {"current_gain": alpha} if params.currents else {}  # where there is no current, quantisation has made sure of α = 0
    words = np.zeros(spec.span, np.uint64)
    index = np.arange(len(numbers))
    words[spec.address.pack(part=0, index=index).astype(np.int64)] = first.pack(**gains, membrane_gain=beta)
    words[spec.address.pack(part=1, index=index).astype(np.int64)] = second.pack(
        shift=shift, refractory=refractory, spiking=spiking, subtract=subtract, hold=hold, phases=phases, start=start,
        **({"floor": floor} if params.floors else {}))
    for record in third:
        words[spec.address.pack(part=2, index=index).astype(np.int64)] = record.pack(second_gain=alpha_two)
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


def _inputs(placement: Placement, params: ArrayParams) -> tuple[InputMap, ...]:
    units, network, grants = placement.netlist.units, placement.netlist.network, placement.grants
    maps = []
    for number, name in enumerate(network.inputs):
        mine = np.flatnonzero(units.source[grants.unit] == number)
        unit = grants.unit[mine]
        routes = np.column_stack([units.row[unit], units.ticks[unit], grants.x0[mine], grants.x1[mine], grants.y0[mine],
                                  grants.y1[mine], grants.axon[mine]])
        maps.append(InputMap(name, tuple(network.inputs[name]), routes[np.lexsort(routes.T[::-1])].reshape(-1, 7)))
    return tuple(maps)


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
