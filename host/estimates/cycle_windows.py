"""The windows between the pulses of two ticks: what they wait for, by the equations of :mod:`spikeloom.host.estimates.cycles`."""

from __future__ import annotations

from collections import Counter

import numpy as np

from spikeloom.errors import InputError
from spikeloom.host.estimates.cycle_axons import numbered, walked
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_tables import CoreTables, Destination
from spikeloom.image import Image

#: Cycles that the gateware takes, as the equations name them. ``tests/test_rtl.py`` pins the first and those of READ.
EMPTY, WRITE_BACK, TO_SEND, QUIET = 2, 6, 2, 2
READ, READ_ENTRY = 11, 1
#: Cycles from the one in which a packet is made to that in which it is sent, and from there to a core's queues without a hop.
MADE, SENT = 2, 2
#: Cycles from the request for the last row to its sum.
TO_JOIN = 3
#: Words of the host that go ahead of their tick.
AHEAD = 16


#: A SPIKES word: mask, block, columns and rows of its cores.
Word = tuple[int, int, range, range]


class Array:
    """What lasts from window to window: tables, events, delayed packets by (core, ticks to go), what an update that overlaps the next
    window leaves to it, and the sums of what limits."""

    def __init__(self, image: Image, activity: Activity) -> None:
        self.params = params = image.params
        self.cores = [CoreTables(image, (x, y)) for y in range(params.rows) for x in range(params.columns)]
        self.activity = activity
        self.overlaps = image.overlaps
        self.latency = params.banks.bit_length()  # 1 + log₂ banks
        self.waiting: list[list[tuple[int, int, int]]] = [[] for _ in range(params.delays)]
        self.early: list[int] = []  # of the next tick's words that were sent ahead, the cycle in which each leaves the host port
        # Of the last window's update: packets that come too late for it, when it is done, and when each core's spike unit is.
        self.late: list[tuple[int, int, int, int]] = []
        self.left = 0
        self.busy = [0] * params.cores
        self.limits: Counter[str] = Counter({"update": 0, "integration": 0, "host": 0, "empty": 0, "readings": 0})
        self.reads = 0
        per_row = params.neurons_per_cycle
        weights = 1 << np.arange(per_row)
        self.spikes = [fired.reshape(*fired.shape[:2], -1, per_row) @ weights for fired in activity.fired]
        self.open = [open_.reshape(len(open_), -1, per_row) @ weights for open_ in activity.open]


class Window:
    """One window. ``mark`` is the cycle of a MARK that came before readings, ``marked`` whether one is due; ``tick`` is the (sample,
    tick) that has ended, and ``end`` whether it is the sample's last."""

    def __init__(self, array: Array, tick: tuple[int, int] | None, end: bool = False, marked: bool = False) -> None:
        self.array, self.params, self.marked, self.ends = array, array.params, marked, end
        self.mark: int | None = None
        # The update is done, also but for a row without packets on its last cycle; the lanes can swap; the last word is out; and so on.
        self.update = self.over = self.drained = self.out = self.words = self.reading = 0
        self.least = EMPTY if tick is not None else 0
        self.packets: list[tuple[int, int, int, int]] = [*array.late]  # arrival, core, block, mask
        self.delayed: list[tuple[int, int, int, int, int]] = []  # the same, and the ticks to go
        array.late = []
        if end:  # what is under way is dropped
            self.packets = []
            array.waiting = [[] for _ in array.waiting]
        due = array.waiting.pop(0)
        array.waiting.append([])
        turn: Counter[int] = Counter()
        for core, block, mask in due:
            self.packets.append((turn[core], core, block, mask))
            turn[core] += 1
        if tick is not None:
            outs: list[int] = []
            for index in range(len(array.cores)):
                self._update(index, *tick, end, outs)
            for arrival in sorted(outs):
                self.out = max(self.out + 1, arrival)
            if outs and self.out == max(outs):  # no word waited for another: it left when its row did
                self.update, self.over, self.out = max(self.update, self.out + QUIET), max(self.over, self.out + QUIET), 0

    def _update(self, index: int, sample: int, tick: int, end: bool, outs: list[int]) -> None:
        """The update of one core, and the packets that it sends."""
        core, array = self.array.cores[index], self.array
        if not core.rows:
            return
        step, latency = core.row_cycles, array.latency
        fold = core.groups * step + latency + 1
        first = latency + 4 if self.params.folds == 1 else latency + 5
        spikes, open_ = array.spikes[index][sample, tick], array.open[index][tick]
        done, made = array.busy[index], 0  # cycle of the last destination, and of the last that got a packet
        host, cores = _Kept(), _Kept()
        for row in np.flatnonzero((spikes != 0) | (open_ != 0)).tolist():
            f, group = divmod(row, core.groups)
            done = max(done, first + f * fold + (group + 1) * step + WRITE_BACK + TO_SEND)
            for target in core.fan[row]:
                for plane in range(max(1, target.planes)):
                    done += 1
                    mask = target.mask & (int(spikes[row]) if not target.planes else self._plane(index, sample, tick, row, plane))
                    if not mask or (end and target.out < 0):
                        continue
                    at = target.first + plane * self.params.neurons_per_cycle
                    block, mask = at // self.params.block, mask << at % self.params.block
                    made = done
                    if target.out >= 0:
                        if host.drives_out(target, block, mask):
                            outs.append(done + MADE + 1 + target.out)
                        host.join(target, block, mask)
                    elif target.delay:
                        if cores.drives_out(target, block, mask):
                            self._send(done + MADE + SENT, cores)
                        cores.join(target, block, mask)
                    else:
                        self.packets += [(done + MADE + SENT + hops, at, block, mask) for at, hops in target.targets]
        joined = first + (core.folds - 1) * fold + core.groups * step
        last = joined + WRITE_BACK
        ended, done = done, max(done, made + MADE * bool(made))
        for kept in (host, cores):
            if kept.target is not None:
                done = max(done, ended + 1, last) + 1
                if kept is host:
                    outs.append(done + 1 + kept.target.out)
                else:
                    self._send(done + SENT, cores)
        array.busy[index] = done
        self.drained = max(self.drained, joined - TO_JOIN + max(0, 3 - latency) + QUIET)
        self.update = max(self.update, last + QUIET, done + QUIET)
        self.over = max(self.over, last + QUIET - 1, done + QUIET)

    def _plane(self, index: int, sample: int, tick: int, row: int, plane: int) -> int:
        """The mask of a row's potentials in one bit plane."""
        membrane, per_row = self.array.activity.membrane, self.params.neurons_per_cycle
        if membrane is None:
            raise InputError("This image sends potentials: the events must hold them")
        bits = (membrane[index][sample, tick, row * per_row:(row + 1) * per_row] >> plane) & 1
        return int(bits @ (1 << np.arange(per_row))) & int(self.array.open[index][tick][row])

    def _send(self, arrival: int, kept: _Kept) -> None:
        """A packet that is not due in this window."""
        assert kept.target is not None
        self.delayed += [(arrival + hops, core, kept.block, kept.mask, kept.target.delay) for core, hops in kept.target.targets]

    def read(self, commands: list[tuple[int, int]]) -> int:
        """Readings before the next tick's words; returns the cycle in which the next word is taken."""
        if not commands:
            return 1
        quiet = max(self._terms(False, count=False).values())
        if self.marked:
            self.mark, quiet = quiet, quiet + 1
        cost = sum(READ + 2 * hops + READ_ENTRY * count for hops, count in commands) - 1
        self.reading = cost
        return quiet + cost

    def host(self, words: list[Word], begin: int, starts: bool) -> None:
        """The host's words of the tick, and its TICK where it has one."""
        ahead, self.array.early = self.array.early, []
        early = len(ahead)
        self.words = begin + len(words) - early + 1 if starts else 0
        for turn, (mask, block, columns, rows) in enumerate(words):
            sent, first = (ahead[turn], turn + 1) if turn < early else (begin + turn - early, 0)
            self.packets += [(max(sent + SENT + x + y, first), y * self.params.columns + x, block, mask) for y in rows for x in columns]

    def _integrated(self, count: bool) -> int:
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

    def _terms(self, overlap: bool, count: bool = True) -> dict[str, int]:
        """The cycles until which the array waits, by what for."""
        update = max([self.drained if overlap else self.update, self.array.left]
                     + [arrival + QUIET - 1 for arrival, *_ in self.delayed if not overlap])
        return {"integration": self._integrated(count), "update": update,
                "host": self.out + QUIET if self.out and not overlap else 0, "empty": self.least}

    def close(self, following: list[Word]) -> int:
        """The cycle of the next pulse, without a MARK; notes what it waited for. Of the words that follow, some are sent ahead."""
        array = self.array
        overlap = array.overlaps and not (self.ends or self.marked or self.reading or self.least == 0)
        terms = self._terms(overlap)
        first, rest = max(self.words, 1), max(terms[name] for name in ("integration", "update", "empty"))
        terms["host"] = max(terms["host"], self.words)
        early = max(0, min(AHEAD, len(following), rest - first))
        if not overlap:
            for turn, (_, _, columns, rows) in enumerate(following[:early]):
                terms["host"] = max(terms["host"], first + turn + 1 + QUIET + columns[-1] + rows[-1])
        quiet = max(terms.values())
        array.early = [first + turn - quiet for turn in range(early)]
        name = max(terms, key=lambda name: terms[name])
        array.limits["readings"] += min(self.reading, quiet)
        array.limits[name] += quiet - min(self.reading, quiet)
        self._leave(quiet)
        return quiet

    def _leave(self, quiet: int) -> None:
        """Hand on to the next window, in its cycles, what this one has not done."""
        array = self.array
        for arrival, core, block, mask, delay in self.delayed:
            if arrival > quiet and delay == 1:
                array.late.append((arrival - quiet, core, block, mask))
            else:
                array.waiting[delay - 1].append((core, block, mask))
        latest = max([self.over, self.out + QUIET, *(arrival + QUIET - 1 for arrival, *_ in self.delayed)])
        array.left = max(0, latest - quiet)
        array.busy = [max(0, done - quiet) for done in array.busy]


class _Kept:
    """A packet that waits for others to join it."""

    def __init__(self) -> None:
        self.target: Destination | None = None
        self.block = self.mask = 0

    def _goes_with(self, target: Destination, block: int, mask: int) -> bool:
        kept = self.target
        return kept is not None and (kept.out, kept.delay, kept.targets, self.block) == (target.out, target.delay, target.targets, block) \
            and not self.mask & mask

    def drives_out(self, target: Destination, block: int, mask: int) -> bool:
        """Whether what is kept must leave before this can be kept."""
        return self.target is not None and not self._goes_with(target, block, mask)

    def join(self, target: Destination, block: int, mask: int) -> None:
        """Keep it, with what it goes with."""
        self.mask = mask | (self.mask if self._goes_with(target, block, mask) else 0)
        self.target, self.block = target, block
