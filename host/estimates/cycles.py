"""How many cycles a network takes, from its image and its events: a model of the array's time, not a simulation of the array.

Read from the gateware in hdl/. Time runs in *windows*, from the pulse that ends one tick (cycle 0) to the pulse that ends the
next. In a window a core updates the tick that has ended, sends its spikes, and integrates what arrives, so that

    window = max(update, integration, host stream, EMPTY)

========================== =======================================================================================================
row r of fold f joined      J_f + (r + 1)·S; S = slices · currents; J_f = L + 2 with one fold, else L + 3 + f·(groups·S + L + 1)
its spikes are queued       q = that + 6; L = 1 + log₂ banks, the latency of the synapse memory
the spike unit is done      e = max(q, e of the row before) + 2 + Σ over destinations (1 + max(1, planes)), for rows that spike or send v
**update**                  max(q, e) of the last row + 2
a packet sent in cycle s    reaches a core h hops away in s + 1 + h, one packet a core a cycle; the host likewise, one word a cycle
host word i of a tick       is sent in cycle i (1, 2, …), or when the axon queues (QUEUE packets a bank) let it
packet i that was delayed   is at its core's queues in cycle 4 + i
an axon of bank b           fires in max(arrival + 2, last of bank b + 1): an axon a bank a cycle
an entry of a list          is there 5 cycles after its axon; of all banks only those with the first waiting bank's fold fire together,
                            and none while a fold is loaded
**integration**             last fire + 2
**host stream**             words of the tick + 2 (their TICK comes behind them); last word to the host + 2
EMPTY                       4
reading potentials          begins with the window quiet; 7 + 2·h + 3·words for each READ, then the tick's host words follow
MARK                        1
========================== =======================================================================================================

A sample counts from the MARK before to its own, so readings at its end count for the next sample, as in the driver. What the
model leaves out: packets that wait for each other between cores, spike units that wait for full queues, and a host that pauses.
``benchmarks/cycles.py`` measures the error against the RTL.

Events are exact (``spikeloom.sim.activity``), or drawn at given rates
(:func:`spikeloom.host.estimates.cycle_events.at_rates`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.host.encode import MARK_TICKS, InputEncoder, ReadPlan
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.image import Image
from spikeloom.machine import Potentials, readings
from spikeloom.memories import Memory
from spikeloom.packets import COMMANDS, Command

#: Cycles that the gateware takes: see above. ``tests/test_rtl.py`` pins the first.
EMPTY, WRITE_BACK, TO_FIRE, DELAYED, LIST, QUIET = 4, 6, 2, 4, 5, 2
READ, READ_ENTRY = 7, 3
#: Packets in a bank's axon queue.
QUEUE = 16


@dataclass(frozen=True)
class Prediction:
    """``cycles`` of each sample, int64 (samples,); ``limits``, cycles of all windows by what they waited for ("update", "integration",
    "host", "empty"), and "readings"; ``reads``, synapse words read by all samples."""

    cycles: Ints
    limits: dict[str, int]
    reads: int

    @property
    def limit(self) -> str:
        """What took most cycles."""
        return max(self.limits, key=lambda name: self.limits[name])


def predict(image: Image, spikes: InputSpikes, activity: Activity, *, potentials: Potentials = "end",
            record: Iterable[str] | None = None) -> Prediction:
    """Cycles of a run; arguments as for :meth:`spikeloom.machine.Machine.run`, and what the network does in it.

    InputError for spikes that do not fit.
    """
    dense, _ = prepare(image, spikes)
    samples, steps = next(iter(dense.values())).shape[:2] if dense else (0, 0)
    if not samples or not steps:
        raise InputError("Cycles need at least one step of one sample")
    ticks, encoder = image.ticks(steps), InputEncoder(image)
    if activity.fired[0].shape[:2] != (samples, ticks):
        raise InputError(f"The events are of {activity.fired[0].shape[:2]} samples and ticks, the input is of {(samples, ticks)}")
    masks = encoder.masks(dense, ticks)
    fields = {name: values.astype(int).tolist() for name, values in COMMANDS[Command.SPIKES].unpack(encoder.headers).items()}
    reads = {tick: [command for population in chosen for command in _reads(image, population.name)]
             for tick, chosen in readings(image, potentials, record, steps).items()}
    array = _Array(image, activity)
    marks, clock, window = [0], 0, _Window(array, None)
    for sample in range(samples):
        for tick in range(ticks):
            groups = np.flatnonzero(masks[sample, tick])
            words = [(int(masks[sample, tick, g]), fields["block"][g], range(fields["x0"][g], fields["x1"][g] + 1),
                      range(fields["y0"][g], fields["y1"][g] + 1)) for g in groups]
            starts = bool(words) or tick % MARK_TICKS == 0 or bool(reads.get(tick - 1))
            begin = window.read(reads.get(tick - 1, []) if tick else reads.get(ticks - 1, []) if sample else [])
            window.host(words, begin, starts)
            quiet = window.close()
            if window.marked and window.mark is None:
                window.mark, quiet = quiet, quiet + 1
            if window.ends and window.mark is not None:
                marks.append(clock + window.mark)
            clock += quiet
            last = tick == ticks - 1
            window = _Window(array, (sample, tick), end=last, marked=last or (tick + 1) % MARK_TICKS == 0)
    window.read(reads.get(ticks - 1, []))
    marks.append(clock + (window.close() if window.mark is None else window.mark))
    return Prediction(np.diff(marks).astype(np.int64), dict(array.limits), array.reads if activity.reads is None else activity.reads)


def _reads(image: Image, name: str) -> list[tuple[int, int]]:
    """(hops, entries) of the READ commands for a population's potentials."""
    plan = COMMANDS[Command.READ].unpack(ReadPlan.make(image.population(name), Memory.MEMBRANE).words)
    return [(int(x) + int(y), int(n)) for x, y, n in zip(plan["x0"], plan["y0"], plan["count"], strict=True)]


class _Array:
    """What lasts from window to window: tables, events, delayed packets by (core, ticks to go), and the sums of what limits."""

    def __init__(self, image: Image, activity: Activity) -> None:
        self.params = params = image.params
        self.cores = [CoreTables(image, (x, y)) for y in range(params.rows) for x in range(params.columns)]
        self.activity = activity
        self.latency = params.banks.bit_length()  # 1 + log₂ banks
        self.banks = [sum(1 << i for i in range(bank, params.block, params.banks)) for bank in range(params.banks)]
        self.waiting: list[list[tuple[int, int, int]]] = [[] for _ in range(params.delays)]
        self.limits: Counter[str] = Counter({"update": 0, "integration": 0, "host": 0, "empty": 0, "readings": 0})
        self.reads = 0
        per_row = params.neurons_per_cycle
        weights = 1 << np.arange(per_row)
        self.spikes = [fired.reshape(*fired.shape[:2], -1, per_row) @ weights for fired in activity.fired]
        self.open = [open_.reshape(len(open_), -1, per_row) @ weights for open_ in activity.open]


class _Window:
    """One window. ``mark`` is the cycle of a MARK that came before readings, ``marked`` whether one is due."""

    def __init__(self, array: _Array, tick: tuple[int, int] | None, end: bool = False, marked: bool = False) -> None:
        self.array, self.params, self.marked, self.ends = array, array.params, marked, end
        self.mark: int | None = None
        self.update = self.out = self.integration = self.words = self.reading = 0
        self.least = EMPTY if tick is not None else 0
        self.packets: list[tuple[int, int, int, int]] = []  # arrival, core, block, mask
        if end:
            array.waiting = [[] for _ in array.waiting]
        delayed = array.waiting.pop(0)
        array.waiting.append([])
        turn: Counter[int] = Counter()
        for core, block, mask in delayed:
            self.packets.append((DELAYED + turn[core], core, block, mask))
            turn[core] += 1
        if tick is not None:
            outs: list[int] = []
            for index in range(len(array.cores)):
                self._update(index, *tick, end, outs)
            for arrival in sorted(outs):
                self.out = max(self.out + 1, arrival)
            if outs and self.out == max(outs):  # no word waited for another: it left when its row did
                self.update, self.out = max(self.update, self.out + QUIET), 0

    def _update(self, index: int, sample: int, tick: int, end: bool, outs: list[int]) -> None:
        """The update of one core, and the packets that it sends."""
        core, array = self.array.cores[index], self.array
        if not core.rows:
            return
        step, latency = core.row_cycles, array.latency
        fold = core.groups * step + latency + 1
        first = latency + 2 if self.params.folds == 1 else latency + 3
        spikes, open_ = array.spikes[index][sample, tick], array.open[index][tick]
        done = 0
        for row in np.flatnonzero((spikes != 0) | (open_ != 0)).tolist():
            f, group = divmod(row, core.groups)
            done = max(done, first + f * fold + (group + 1) * step + WRITE_BACK) + 2
            for target in core.fan[row]:
                done += 1
                for plane in range(max(1, target.planes)):
                    done += 1
                    mask = target.mask & (int(spikes[row]) if not target.planes else self._plane(index, sample, tick, row, plane))
                    if mask and target.out >= 0:
                        outs.append(done + 1 + target.out)
                    elif mask and not end:
                        at = target.first + plane * self.params.neurons_per_cycle
                        self._send(done, mask << at % self.params.block, at // self.params.block, target.delay, target.targets)
        last = first + (core.folds - 1) * fold + core.groups * step + WRITE_BACK
        self.update = max(self.update, last + QUIET, done + QUIET)

    def _plane(self, index: int, sample: int, tick: int, row: int, plane: int) -> int:
        """The mask of a row's potentials in one bit plane."""
        membrane, per_row = self.array.activity.membrane, self.params.neurons_per_cycle
        if membrane is None:
            raise InputError("This image sends potentials: the events must hold them")
        bits = (membrane[index][sample, tick, row * per_row:(row + 1) * per_row] >> plane) & 1
        return int(bits @ (1 << np.arange(per_row))) & int(self.array.open[index][tick][row])

    def _send(self, cycle: int, mask: int, block: int, delay: int, targets: Iterable[tuple[int, int]]) -> None:
        for core, hops in targets:
            if delay:
                self.array.waiting[delay - 1].append((core, block, mask))
                self.integration = max(self.integration, cycle + 1 + hops + QUIET)
            else:
                self.packets.append((cycle + 1 + hops, core, block, mask))

    def read(self, commands: list[tuple[int, int]]) -> int:
        """Readings before the next tick's words; returns the cycle in which the next word is taken."""
        if not commands:
            return 1
        arrived = self._integrate(count=False) + QUIET if self.packets else 0
        quiet = max(self.update, self.out + QUIET, self.least, arrived, self.integration)
        if self.marked:
            self.mark, quiet = quiet, quiet + 1
        cost = sum(READ + 2 * hops + READ_ENTRY * count for hops, count in commands) - 1
        self.reading = cost
        return quiet + cost

    def host(self, words: list[tuple[int, int, range, range]], begin: int, starts: bool) -> None:
        """The host's words of the tick, and its TICK where it has one."""
        self.words = begin + len(words) + 1 if starts else 0
        for cycle, (mask, block, columns, rows) in enumerate(words, begin):
            self.packets += [(cycle + 1 + x + y, y * self.params.columns + x, block, mask) for y in rows for x in columns]

    def _integrate(self, count: bool = True) -> int:
        """The last cycle in which an axon fires; adds the words read to the array's, where they count."""
        before = self.array.reads
        by_core: dict[int, list[tuple[int, int, int]]] = {}
        for arrival, core, block, mask in self.packets:
            by_core.setdefault(core, []).append((arrival, block, mask))
        run = self._direct if not self.params.lists else self._lists
        last = max(run(core, sorted(packets)) for core, packets in by_core.items())
        if not count:
            self.array.reads = before
        return last

    def _direct(self, core: int, packets: list[tuple[int, int, int]]) -> int:
        """One fold: each bank takes an axon a cycle."""
        free, taken = [0] * self.params.banks, 0
        loads = [deque([0] * QUEUE, QUEUE) for _ in free]
        for arrival, _, mask in packets:
            parts = [(bank, (mask & chosen).bit_count()) for bank, chosen in enumerate(self.array.banks) if mask & chosen]
            taken = max(arrival, taken + 1, *(loads[bank][0] for bank, _ in parts))
            for bank, count in parts:
                start = max(taken + TO_FIRE, free[bank])
                loads[bank].append(start)
                free[bank] = start + count
                self.array.reads += count
        return max(free) - 1

    def _lists(self, core: int, packets: list[tuple[int, int, int]]) -> int:
        """Several folds: each bank walks lists, and banks fire together where their folds are equal."""
        table = self.array.cores[core]
        assert table.lists is not None
        banks, block_size = self.params.banks, self.params.block
        waiting: list[deque[tuple[int, int]]] = [deque() for _ in range(banks)]
        look, taken = [0] * banks, 0
        for arrival, block, mask in packets:
            taken = max(arrival, taken + 1)
            while mask:
                bit = (mask & -mask).bit_length() - 1
                mask &= mask - 1
                bank = bit % banks
                look[bank] = max(taken + TO_FIRE, look[bank] + 1)
                waiting[bank].extend((look[bank] + LIST, fold) for fold in table.lists[block * block_size + bit])
        period = table.groups * table.row_cycles + self.array.latency + 1
        cycle, last = 0, max(look) + 1
        while any(waiting):
            cycle = max(cycle + 1, min(queue[0][0] for queue in waiting if queue))
            turn, rest = divmod(cycle - 2, period)
            if rest == 0 and turn < table.folds:
                continue
            fold = next(queue[0][1] for queue in waiting if queue and queue[0][0] <= cycle)
            for queue in waiting:
                if queue and queue[0][0] <= cycle and queue[0][1] == fold:
                    queue.popleft()
                    self.array.reads += 1
            last = cycle
        return last

    def close(self) -> int:
        """The cycle of the next pulse, without a MARK; notes what it waited for."""
        terms = {"integration": max(self._integrate() + QUIET if self.packets else 0, self.integration), "update": self.update,
                 "host": max(self.words, self.out + QUIET if self.out else 0), "empty": self.least}
        quiet = max(terms.values())
        name = max(terms, key=lambda name: terms[name])
        limits = self.array.limits
        limits["readings"] += min(self.reading, quiet)
        limits[name] += quiet - min(self.reading, quiet)
        return quiet
