"""How many cycles a network takes, from its image and its events: a model of the array's time, not a simulation of the array.

Read from the gateware in hdl/. Time runs in *windows*, from the pulse that ends one tick (cycle 0) to the pulse that ends the
next. In a window a core updates the tick that has ended, sends its spikes, and integrates what arrives, so that

    window = max(update, integration, host stream, EMPTY)

========================== =======================================================================================================
row r of fold f joined      J_f + (r + 1)·S; S = slices · currents; J_f = L + 4 with one fold, else L + 5 + f·(groups·S + L + 1)
its spikes are queued       q = that + 6; L = 1 + log₂ banks, the latency of the synapse memory
the spike unit is done      e = max(q + 2, e of the row before) + Σ over destinations max(1, planes), for rows that spike or send v;
                            a packet made in cycle e is sent in e + 1, or kept for others for the same block of the host to join
**update**                  q of the last row, or e + 1, or the cycle in which the last packet is sent that was kept, + 2
a packet sent in cycle s    reaches a core h hops away in s + 1 + h, one packet a core a cycle; the host likewise, one word a cycle
host words sent ahead       up to AHEAD of the next tick's, a word a cycle from behind the TICK on until the cores rest; they reach the
                            queues in cycles 1, 2, … of their window; the last one delays the pulse to its cycle + 3 + h
other host word i           is sent in cycle i (1, 2, …), or when the axon queues (QUEUE packets a bank) let it
packet i that was delayed   is at its core's queues in cycle 4 + i
an axon of bank b           fires in max(arrival + 1, last of bank b + 1): an axon a bank a cycle
an entry of a list          is there 5 cycles after its axon; of all banks only those with the first waiting bank's fold fire together,
                            and none while a fold is loaded
**integration**             last fire + 1, with lists + 2
**host stream**             words of the tick that were not sent ahead + 2 (their TICK comes behind them); last word to the host + 2
EMPTY                       2
reading potentials          begins with the window quiet; 8 + 2·h + words for each READ, then the tick's host words follow
MARK                        1
========================== =======================================================================================================

A sample counts from the MARK before to its own, so readings at its end count for the next sample, as in the driver. What the
model leaves out: packets that wait for each other between cores, spike units that wait for full queues, and a host that pauses.
``benchmarks/cycles.py`` measures the error against the RTL.

Events are exact (``spikeloom.sim.activity``), or drawn at given rates
(:func:`spikeloom.host.estimates.cycle_events.at_rates`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.host.encode import MARK_TICKS, InputEncoder, ReadPlan
from spikeloom.host.estimates.cycle_axons import numbered, walked
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.image import Image
from spikeloom.machine import Potentials, readings
from spikeloom.memories import Memory
from spikeloom.packets import COMMANDS, Command

#: Cycles that the gateware takes: see above. ``tests/test_rtl.py`` pins the first and those of READ.
EMPTY, WRITE_BACK, TO_SEND, DELAYED, QUIET = 2, 6, 2, 4, 2
READ, READ_ENTRY = 8, 1
#: Words of the host that go ahead of their tick.
AHEAD = 16


#: A SPIKES word: mask, block, columns and rows of its cores.
Word = tuple[int, int, range, range]


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

    def words_of(sample: int, tick: int) -> list[Word]:
        return [(int(masks[sample, tick, g]), fields["block"][g], range(fields["x0"][g], fields["x1"][g] + 1),
                 range(fields["y0"][g], fields["y1"][g] + 1)) for g in np.flatnonzero(masks[sample, tick])]

    marks, clock, window = [0], 0, _Window(array, None)
    following = words_of(0, 0)
    for sample, tick in np.ndindex(samples, ticks):
        words, last = following, tick == ticks - 1
        following = words_of(sample + last, (tick + 1) % ticks) if sample + last < samples else []
        starts = bool(words) or tick % MARK_TICKS == 0 or bool(reads.get(tick - 1))
        begin = window.read(reads.get(tick - 1, []) if tick else reads.get(ticks - 1, []) if sample else [])
        window.host(words, begin, starts)
        quiet = window.close(following if not reads.get(tick) else [])
        if window.marked and window.mark is None:
            window.mark, quiet = quiet, quiet + 1
        if window.ends and window.mark is not None:
            marks.append(clock + window.mark)
        clock += quiet
        window = _Window(array, (sample, tick), end=last, marked=last or (tick + 1) % MARK_TICKS == 0)
    window.read(reads.get(ticks - 1, []))
    marks.append(clock + (window.close([]) if window.mark is None else window.mark))
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
        self.waiting: list[list[tuple[int, int, int]]] = [[] for _ in range(params.delays)]
        self.early = 0  # words of the next tick that were sent ahead
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
        first = latency + 4 if self.params.folds == 1 else latency + 5
        spikes, open_ = array.spikes[index][sample, tick], array.open[index][tick]
        done, made = 0, 0         # cycle of the last destination, and of the last that got a packet
        kept, out = (-1, 0), -1  # block and mask of the word for the host that is kept, and the hops before it
        for row in np.flatnonzero((spikes != 0) | (open_ != 0)).tolist():
            f, group = divmod(row, core.groups)
            done = max(done, first + f * fold + (group + 1) * step + WRITE_BACK + TO_SEND)
            for target in core.fan[row]:
                for plane in range(max(1, target.planes)):
                    done += 1
                    mask = target.mask & (int(spikes[row]) if not target.planes else self._plane(index, sample, tick, row, plane))
                    at = target.first + plane * self.params.neurons_per_cycle
                    block, mask = at // self.params.block, mask << at % self.params.block
                    made = done if mask and (target.out >= 0 or not end) else made
                    if mask and target.out >= 0:
                        joins = kept[0] == block and not kept[1] & mask
                        if kept[1] and not joins:
                            outs.append(done + 2 + target.out)
                        kept, out = (block, mask | kept[1] * joins), target.out
                    elif mask and not end:
                        self._send(done + 1, mask, block, target.delay, target.targets)
        last = first + (core.folds - 1) * fold + core.groups * step + WRITE_BACK
        done = max(done, made + bool(made))
        if kept[1]:
            done = max(done, last) + 1
            outs.append(done + 1 + out)
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
        arrived = self._integrated(count=False)
        quiet = max(self.update, self.out + QUIET, self.least, arrived, self.integration)
        if self.marked:
            self.mark, quiet = quiet, quiet + 1
        cost = sum(READ + 2 * hops + READ_ENTRY * count for hops, count in commands) - 1
        self.reading = cost
        return quiet + cost

    def host(self, words: list[Word], begin: int, starts: bool) -> None:
        """The host's words of the tick, and its TICK where it has one."""
        early, self.array.early = self.array.early, 0
        self.words = begin + len(words) - early + 1 if starts else 0
        for turn, (mask, block, columns, rows) in enumerate(words):
            self.packets += [(turn + 1 if turn < early else begin + turn - early + 1 + x + y, y * self.params.columns + x, block, mask)
                             for y in rows for x in columns]

    def _integrated(self, count: bool = True) -> int:
        """The cycle after the last axon has fired; adds the words read to the array's, where they count."""
        if not self.packets:
            return 0
        by_core: dict[int, list[tuple[int, int, int]]] = {}
        for arrival, core, block, mask in self.packets:
            by_core.setdefault(core, []).append((arrival, block, mask))
        runs = [(walked if self.params.lists else numbered)(self.array.cores[core], sorted(packets)) for core, packets in by_core.items()]
        last = max(cycle for cycle, _ in runs)
        self.array.reads += sum(words for _, words in runs) if count else 0
        return last + (QUIET if self.params.lists else QUIET - 1)

    def close(self, following: list[Word]) -> int:
        """The cycle of the next pulse, without a MARK; notes what it waited for. Of the words that follow, some are sent ahead."""
        terms = {"integration": max(self._integrated(), self.integration), "update": self.update,
                 "host": max(self.words, self.out + QUIET if self.out else 0), "empty": self.least}
        first, rest = max(self.words, 1), max(terms[name] for name in ("integration", "update", "empty"))
        early = self.array.early = max(0, min(AHEAD, len(following), rest - first))
        for turn, (_, _, columns, rows) in enumerate(following[:early]):
            terms["host"] = max(terms["host"], first + turn + 1 + QUIET + columns[-1] + rows[-1])
        quiet = max(terms.values())
        name = max(terms, key=lambda name: terms[name])
        limits = self.array.limits
        limits["readings"] += min(self.reading, quiet)
        limits[name] += quiet - min(self.reading, quiet)
        return quiet
