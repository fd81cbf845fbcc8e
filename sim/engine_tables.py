"""An image as the engine walks it: neurons in runs of one class, spikes as bundles of axons, digits already joined to weights.

The image's bits are read by `golden_array.ArrayModel`; what is made of them here is another order and another form of the same.
Neurons are numbered anew, by class and population, with gaps, so that a run of one class is a stretch of vectors; those that can never
be anything but at rest are left out. Where it is proven that no accumulator can overflow, whatever spikes arrive, the digits of a
weight are joined once, here; else the engine adds digits up in lanes, as the gateware does, and looks at every sum.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.sim.engine_layout import Layout, aligned
from spikeloom.sim.engine_synapses import PANEL, VECTOR, Bundles, Sums, first_of, joined, rows_and_lists
from spikeloom.sim.golden_array import ArrayModel, Fan

#: Neurons of a run are a multiple of this: 32-bit integers in the widest vector.
RUN = 16
#: A threshold that no potential of less than 32 bits reaches: that of neurons that never spike.
NEVER = (1 << 31) - 1
#: Widest state of an image in 32-bit integers: four such states can be added.
STEADY_BITS = 29
#: Fields of a class, alike for all neurons of a run.
_CLASS = ("current_gain", "second_gain", "membrane_gain", "shift", "refractory", "spiking", "subtract", "hold", "phases", "start", "floor")

#: What the engine reads of an image. Arrays of lists are in the usual form: those of i stand from ``first[i]`` to ``first[i + 1]``.
TABLES = Layout("Tables", {
    "neurons": "int64", "runs": "int64", "panels": "int64", "slots": "int64", "period": "int64", "routes": "int64", "injected": "int64",
    "low": "float64", "high": "float64",
    # Whether 32-bit integers are enough: then weights are already multiplied by 2^shift, in panels as ``panel_shift`` says.
    "steady": "int64",
    # Runs: their class, with the gains as factors, 2^shift as a factor, and ``keep``: whether v after a spike is v − reset, else reset.
    "run_first": "int64[]", "run_count": "int64[]", "run_phases": "int64[]", "run_start": "int64[]", "run_refractory": "int64[]",
    "run_hold": "uint8[]", "run_floor": "uint8[]", "run_spiking": "uint8[]", "run_second": "uint8[]",
    "run_signs": "uint8[]",  # whether the first current is never negative, and the second, if there is one, decays and is never positive
    "run_alpha": "float64[]", "run_alpha_second": "float64[]",
    "run_beta": "float64[]", "run_scale": "float64[]", "run_keep": "uint8[]",
    # Neurons; ``number`` is the golden model's, −1 for gaps.
    "theta": "int32[]", "bias": "int32[]", "reset": "int32[]", "floor": "int32[]", "number": "int32[]",
    # What a neuron's spike hits, (sends, 2): delay and bundle, and whose it is, (outs, 2): recorded population and its neuron; where each
    # neuron's begin, (neurons + 1, 2). What the bits of a run's potentials hit (delay 0: a receiver, which are as ``out``).
    "spike_first": "int32[]", "send": "int32[]", "out": "int32[]", "receiver": "int32[]",
    "plane_first": "int32[]", "plane_neuron": "int32[]", "plane_bit": "int32[]", "plane_delay": "int32[]", "plane_target": "int32[]",
    # Routes: an input's spikes, some ticks later; the lists of route r begin at ``route_base[r]``. Where neuron i hits bundle d + i and no
    # other, ``route_direct`` is d, else −1; where besides each of these is one row r + i of one panel and no more, ``route_panel`` and
    # ``route_row`` are the panel and r, else −1.
    "route_input": "int32[]", "route_tick": "int64[]", "route_base": "int32[]", "route_direct": "int32[]",
    "route_panel": "int32[]", "route_row": "int32[]",
    "route_first": "int32[]", "route_bundle": "int32[]",
    # Bundles, (bundles, 8): synapse words and operations of a hit; first and end of its rows, synapses and digits. Rows, (rows, 2):
    # panel and row; synapses, (synapses, 2): sum and weight. Sums are numbered current · neurons + neuron.
    "bundle": "int32[]", "row": "int32[]", "synapse": "int32[]",
    "panel_sum": "int32[]", "panel_shift": "int32[]", "panel_vectors": "int32[]", "panel_rows": "int32[]",
    "panel_base": "int64[]", "panel_waiting": "int64[]",
    "weights": "int16[]",
    # Only where accumulators may overflow: digits, and the slices that join them.
    "lanes": "int64", "lane_limit": "int64", "slices": "int64",
    "digit": "int32[]",  # (digits, 2): lane and digit
    "slice_sum": "int32[]", "slice_lane": "int32[]", "slice_place": "int64[]",
})

Lists = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Order:
    """The engine's numbers of neurons, ``total`` with gaps: ``place[number]`` of the golden model's; of each run its ``first``, and
    ``count``; and the ``stretches`` of one class and population: first and columns."""

    place: Ints
    live: npt.NDArray[np.bool_]
    first: Ints
    count: Ints
    stretches: list[tuple[int, int]]
    total: int


def tables(image: Image, array: ArrayModel) -> tuple[dict[str, Any], Ints]:
    """The values of :data:`TABLES` for an image, and the engine's numbers of the golden model's neurons."""
    params = image.params
    fans = [(index, tick, fan) for index, source in enumerate(image.inputs) for tick, fan in array.inputs[source.name].items()]
    # Sources: an input's neurons by route, neurons by delay, and bits of potentials.
    base = np.cumsum([0, *(len(fan.count) for *_, fan in fans), *(array.neuron_count for _ in array.sends),
                      *(len(bits) for delay, (_, bits, _) in array.planes.items() if delay)])
    parts = [(_sources(fan), fan.target) for *_, fan in fans] + [(_sources(fan), fan.target) for fan in array.sends.values()] + \
        [(np.arange(len(target)), target) for delay, (_, _, target) in array.planes.items() if delay]
    bundles = Bundles(array, joined([source + low for (source, _), low in zip(parts, base, strict=False)]),
                      joined([target for _, target in parts]))
    found = [slice(*np.searchsorted(bundles.source, base[i:i + 2])) for i in range(len(parts))]
    hits = [(bundles.source[part] - low, bundles.number[part]) for part, low in zip(found, base, strict=False)]
    sums = Sums(array, bundles)
    order = _order(image, array, sums)
    high = float(1 << (params.state_bits - 1))
    values: dict[str, Any] = {
        "neurons": order.total, "runs": len(order.first), "slots": params.delays + 1, "period": image.ticks_per_step,
        "low": -high, "high": high - 1}
    routes, sends = len(fans), len(array.sends)
    values |= _neurons(array, order) | {"run_signs": _signs(array, order, sums)} | _routes(fans, hits[:routes])
    values |= _sends(array, order, hits[routes:routes + sends])
    values |= _outputs(image, array, order, [number for _, number in hits[routes + sends:]])
    values["spike_first"] = np.stack([values.pop("send_first"), values.pop("out_first")], axis=1)
    values |= _synapses(order, bundles, sums, array, image.ticks_per_step)
    firsts = [values.pop(name) for name in ("row_first", "synapse_first", "digit_first")]
    lines = [bundles.total(array.reads), bundles.total(array.useful), *(edge for first in firsts for edge in (first[:-1], first[1:]))]
    values["bundle"] = np.stack(lines, axis=1)
    plain = [_plain(values["bundle"], values["row"], direct, len(fan.count))
             for direct, (*_, fan) in zip(values["route_direct"].tolist(), fans, strict=True)]
    return values | {"route_panel": [panel for panel, _ in plain], "route_row": [row for _, row in plain]}, order.place


def _sources(fan: Fan) -> Ints:
    return np.repeat(np.arange(len(fan.count)), fan.count)


def _order(image: Image, array: ArrayModel, sums: Sums) -> Order:
    neurons, count = array.neurons, array.neuron_count
    # A neuron to which nothing ever comes, and which neither its bias nor its threshold moves from 0, stays there.
    live = (neurons.bias != 0) | ((neurons.threshold < 0) & (neurons.floor != 0)) | ((neurons.threshold <= 0) & (neurons.spiking != 0))
    if count:
        live[sums.target % count] = True
        live[sums.slices[0][np.isin(sums.slices[1], sums.lane)] % count] = True
    member = np.zeros(count, np.int64)
    for index, population in enumerate(image.populations):
        with suppress(MachineError):  # it has neurons that no core updates: only reading them is an error
            member[array.positions(population)] = index
    two = np.repeat([core.currents > 1 for core in array.cores], np.diff(array.neuron_base))
    keys = np.stack([*(getattr(neurons, name) for name in _CLASS), two, member], axis=1)[live]
    kinds, number = np.unique(keys, axis=0, return_inverse=True)
    own = np.bincount(number.ravel(), minlength=len(kinds))
    room = -(-own // VECTOR) * VECTOR
    first = np.cumsum(room) - room
    total = int(room.sum())
    place = np.full(count, total)  # the others share a gap at the end
    by = np.argsort(number.ravel(), kind="stable")
    place[np.flatnonzero(live)[by]] = np.repeat(first - (np.cumsum(own) - own), own) + np.arange(int(own.sum()))
    starts = np.flatnonzero(np.any(np.diff(kinds[:, :-1], axis=0, prepend=-1), axis=1)) if len(kinds) else np.zeros(0, np.int64)
    ends = np.append(starts[1:], len(kinds))[: len(starts)] - 1
    return Order(place, live, first[starts], -(-(first + own)[ends] // RUN) * RUN - first[starts],
                 list(zip(first.tolist(), room.tolist(), strict=True)), total + VECTOR)


def _neurons(array: ArrayModel, order: Order) -> Lists:
    """Runs and neurons."""
    params, neurons, live = array.params, array.neurons, order.live
    where = order.place[live]
    number = np.full(order.total, -1)
    number[where] = np.flatnonzero(live)
    lead = number[order.first]
    of_run = {name: getattr(neurons, name)[lead] for name in _CLASS}
    one = float(1 << params.gain_bits)
    two = np.repeat([core.currents > 1 for core in array.cores], np.diff(array.neuron_base))

    def spread(values: Any, gap: int) -> Any:
        whole = aligned(order.total, "int32")
        whole[:] = gap
        whole[where] = values[live]
        return whole

    low, high = -(1 << (params.state_bits - 1)), (1 << (params.state_bits - 1)) - 1
    return {
        "run_first": order.first, "run_count": order.count, "run_phases": of_run["phases"], "run_start": of_run["start"],
        "run_refractory": of_run["refractory"], "run_hold": of_run["hold"], "run_floor": of_run["floor"],
        "run_spiking": of_run["spiking"], "run_second": two[lead],
        "run_alpha": of_run["current_gain"] / one, "run_alpha_second": of_run["second_gain"] / one,
        "run_beta": of_run["membrane_gain"] / one, "run_scale": np.exp2(of_run["shift"]),
        "run_keep": of_run["subtract"],
        "theta": spread(np.where(neurons.spiking != 0, neurons.threshold, NEVER), NEVER), "bias": spread(neurons.bias, 0),
        "reset": spread(neurons.reset, 0),
        "floor": spread(np.where(neurons.floor != 0, np.clip(-neurons.threshold, low, high), low), low), "number": number}


def _routes(fans: list[tuple[int, int, Fan]], hits: list[tuple[Ints, Ints]]) -> dict[str, Any]:
    """The inputs' lists of bundles one behind another."""
    firsts = [first_of(source, len(fan.count)) for (source, _), (*_, fan) in zip(hits, fans, strict=True)]
    entries = np.cumsum([0, *(len(source) for source, _ in hits)])
    direct = [int(number[0]) if len(number) and np.array_equal(source, np.arange(len(fan.count)))
              and np.array_equal(number, number[0] + source) else -1 for (source, number), (*_, fan) in zip(hits, fans, strict=True)]
    return {"routes": len(fans), "injected": max((len(source) for source, _ in hits), default=0),
            "route_input": np.array([index for index, _, _ in fans], np.int64),
            "route_tick": np.array([tick for _, tick, _ in fans], np.int64),
            "route_base": np.cumsum([0, *(len(first) for first in firsts)]),
            "route_direct": np.array(direct, np.int64),
            "route_first": joined([first + low for first, low in zip(firsts, entries, strict=False)]),
            "route_bundle": joined([number for _, number in hits])}


def _plain(bundle: Ints, row: Ints, direct: int, count: int) -> tuple[int, int]:
    """Panel and first row of a route whose bundles from ``direct`` on are rows one after another; else −1, −1."""
    _, _, begin, end, *rest = bundle[direct:direct + count].T
    if direct >= 0 and np.all(end - begin == 1) and np.array_equal(rest[0], rest[1]) and np.array_equal(rest[2], rest[3]):
        panel, number = row[begin].T
        if np.all(panel == panel[0]) and np.array_equal(number, number[0] + np.arange(count)):
            return int(panel[0]), int(number[0])
    return -1, -1


def _sends(array: ArrayModel, order: Order, hits: list[tuple[Ints, Ints]]) -> Lists:
    neuron = order.place[joined([source for source, _ in hits])]
    delay = np.repeat(np.array(list(array.sends), np.int64), [len(source) for source, _ in hits])
    by = np.argsort(neuron, kind="stable")
    return {"send_first": first_of(neuron, order.total), "send": np.stack([delay, joined([number for _, number in hits])], axis=1)[by]}


def _outputs(image: Image, array: ArrayModel, order: Order, planes: list[Ints]) -> Lists:
    """What reaches the host, and the bits of potentials; ``planes`` has the bundles of those that go to axons."""
    # An output may be read by several recorded populations, or by none.
    recorded = [population for population in image.populations if population.recorded]
    output = joined([population.column("output") for population in recorded])
    sizes = [population.size for population in recorded]
    readers = Fan(output, np.arange(len(output)), np.zeros_like(output), array.output_count)
    owner, entry = readers.reach(array.outputs.target)
    place = order.place[_sources(array.outputs)[owner]]
    by = np.argsort(place, kind="stable")
    receiver = np.stack([np.repeat(np.arange(len(sizes)), sizes), joined([np.arange(n) for n in sizes])], axis=1)
    lists = {"out_first": first_of(place, order.total), "out": receiver[readers.target[entry][by]], "receiver": receiver}
    none = np.zeros(0, np.int64)
    neuron, bit, target = array.planes.get(0, (none, none, none))
    owner, entry = readers.reach(target)
    parts = [(neuron[owner], bit[owner], np.zeros_like(owner), readers.target[entry])]
    delays = [delay for delay in array.planes if delay]
    parts += [(array.planes[delay][0], array.planes[delay][1], np.full(len(number), delay), number)
              for delay, number in zip(delays, planes, strict=True)]
    neuron, bit, delay, target = (joined([part[i] for part in parts])[order.live[joined([part[0] for part in parts])]] for i in range(4))
    run = np.searchsorted(order.first, order.place[neuron], side="right") - 1
    by = np.argsort(run, kind="stable")
    return lists | {"plane_first": first_of(run, len(order.first)), "plane_neuron": order.place[neuron][by], "plane_bit": bit[by],
                    "plane_delay": delay[by], "plane_target": target[by]}


def _signs(array: ArrayModel, order: Order, sums: Sums) -> npt.NDArray[np.bool_]:
    """Whether a run's currents each keep to a sign: that of all weights that are added to it."""
    number = np.flatnonzero(order.live)
    run = np.searchsorted(order.first, order.place[number], side="right") - 1
    second = number + array.neuron_count
    wrong = (sums.least[number] > 0) | (sums.most[second] > 0) | ((sums.least[second] > 0) & (array.neurons.second_gain[number] == 0))
    signs: npt.NDArray[np.bool_] = np.bincount(run, wrong, len(order.first)) == 0
    return signs


def _steady(order: Order, sums: Sums, array: ArrayModel, period: int) -> bool:
    """Whether 32-bit integers are enough for everything that can ever happen: no current can overflow, no state grows by its gain, and
    no neuron is left out of a tick once it has started."""
    params, neurons, live = array.params, array.neurons, order.live
    one, top, all_phases = 1 << params.gain_bits, 1 << (params.state_bits - 1), (1 << period) - 1
    if not sums.exact or params.state_bits > STEADY_BITS or np.any(neurons.membrane_gain[live] > one) or \
            np.any((neurons.phases[live] & all_phases) != all_phases):
        return False
    for current, gain in enumerate((neurons.current_gain, neurons.second_gain)):
        for reach in (sums.most, sums.least):  # a geometric series over the decay, rounded toward zero
            added = reach[current * array.neuron_count:][:array.neuron_count] * np.exp2(neurons.shift)
            if np.any((added > 0) & (added * one >= (top - 1) * (one - gain).astype(np.float64))):
                return False
    return True


def _synapses(order: Order, bundles: Bundles, sums: Sums, array: ArrayModel, period: int) -> dict[str, Any]:
    """Joined weights where no sum can overflow, else digits; with where each bundle's begin."""
    def place(target: Ints) -> Ints:
        current, neuron = np.divmod(target, max(1, array.neuron_count))
        return current * order.total + order.place[neuron]

    none = np.zeros(0, np.int64)
    panels = [(current * order.total + first + low, min(PANEL, columns - low))
              for current in range(2) for first, columns in order.stretches for low in range(0, columns, PANEL)]
    steady = _steady(order, sums, array, period)
    shift = np.zeros(order.total, np.int64)
    if steady:
        shift[order.place[order.live]] = array.neurons.shift[order.live]
    firsts = np.array([first % order.total for first, _ in panels], np.int64)  # whose class is that of the whole panel
    common = {"steady": int(steady), "panel_shift": shift[firsts], "lane_limit": 1 << (array.params.accumulator_bits - 1)}
    if sums.exact:
        values = rows_and_lists(bundles, sums.source, place(sums.target), sums.weight, panels)
        values["synapse"][:, 1] <<= shift[values["synapse"][:, 0] % order.total]
        return common | values | {
            "lanes": 0, "slices": 0, "digit_first": np.zeros(bundles.count + 1, np.int64),
            **dict.fromkeys(("digit", "slice_sum", "slice_lane", "slice_place"), none)}
    target, lane, worth = sums.slices
    used = order.live[target % max(1, array.neuron_count)]
    return common | rows_and_lists(bundles, none, none, none, panels) | {
        "lanes": array.sum_base[-1], "slices": int(used.sum()), "digit_first": first_of(sums.bundle, bundles.count),
        "digit": np.stack([sums.lane, sums.digit], axis=1), "slice_sum": place(target[used]),
        "slice_lane": lane[used], "slice_place": worth[used]}
