"""The windows between the pulses of two ticks: what they wait for, as :mod:`spikeloom.host.estimates.cycles` says."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import numpy as np

from spikeloom.errors import InputError
from spikeloom.host.estimates.cycle_axons import NEVER, Numbered, Receiver, Walked
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_latencies import AHEAD, EMPTY, FIRST_WORD, MARK, QUIET, READ, READ_ENTRY, RESTING, TO_TICK
from spikeloom.host.estimates.cycle_mesh import Mesh, Packet, Rectangle
from spikeloom.host.estimates.cycle_spikes import Packets, Sender
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.image import Image

#: A SPIKES word: mask, block, its cores.
Word = tuple[int, int, Rectangle]


class Array:
    """The array from pulse to pulse. Every part knows when it does what; only packets that wait for each other are followed from cycle to
    cycle, as long as there are any."""

    def __init__(self, image: Image, activity: Activity) -> None:
        params = self.params = image.params
        tables = [CoreTables(image, (x, y)) for y in range(params.rows) for x in range(params.columns)]
        self._activity, self._overlaps = activity, image.overlaps
        self._receivers: list[Receiver] = [(Walked if params.lists else Numbered)(core) for core in tables]
        self._senders = [Sender(core, self._maker(index, core)) for index, core in enumerate(tables)]
        self._mesh = Mesh(params, self._receivers)
        self._ticks: dict[int, tuple[int, int]] = {}  # the (sample, tick) that a window updates
        self._window, self.pulse = 0, 0  # the running window, and the cycle of the pulse that began it
        self._ends, self._marked = True, False  # whether that pulse ended a sample, and whether a MARK is due
        self.marks = [0]  # cycles of the MARKs that end samples
        self._overlap = False  # whether the next pulse leaves out what is not due in the running tick
        self._cycle = 0  # the next one to be followed
        # Words of the host: those of the running tick, when the next is sent, when the port is ready for a pulse, and those that follow,
        # of which some were sent ahead.
        self._words: list[Word] = []
        self._next_word, self._ready, self._reading = NEVER, 0, 0
        self._following: list[Word] = []
        self._ahead = 0
        self.limits: Counter[str] = Counter({"update": 0, "integration": 0, "host": 0, "empty": 0, "readings": 0})
        per_row = params.neurons_per_cycle
        weights = 1 << np.arange(per_row)
        self._spikes = [fired.reshape(*fired.shape[:2], -1, per_row) @ weights for fired in activity.fired]
        self._open = [open_.reshape(len(open_), -1, per_row) @ weights for open_ in activity.open]

    @property
    def reads(self) -> int:
        """Synapse words read."""
        return sum(receiver.reads for receiver in self._receivers)

    def begin(self, sample: int, tick: int, *, ends: bool, marked: bool) -> None:
        """The window behind the pulse that ended a tick; ``ends``: it was the sample's last, ``marked``: a MARK says when it was over."""
        self._window += 1
        self._ends, self._marked = ends, marked
        self._ticks = {self._window - 1: self._ticks.get(self._window - 1, (0, 0)), self._window: (sample, tick)}
        self._ready = self._reading = 0
        self._mesh.forget(self._window)
        for index, (receiver, sender) in enumerate(zip(self._receivers, self._senders, strict=True)):
            receiver.dropping = sender.dropping = ends
            receiver.begin(self.pulse, self._window)
            opened = self._open[index][tick] != 0
            rows = (self._spikes[index][sample, tick] != 0) | opened
            sender.begin(self.pulse, self._window, np.flatnonzero(rows).tolist(), set(np.flatnonzero(opened).tolist()))

    def read(self, commands: list[tuple[int, int]]) -> None:
        """Readings, (hops, entries) each, before the next tick's words."""
        if not commands:
            return
        quiet = self._mark(max(self._follow(overlap=False).values()))
        self._reading = sum(READ + 2 * hops + READ_ENTRY * count for hops, count in commands)
        self._ready = quiet + self._reading

    def close(self, words: list[Word] | None, following: list[Word]) -> None:
        """The running tick's words, with its TICK unless they are None, then the next pulse: notes what it waited for. Of the words that
        follow, some are sent ahead."""
        if words is not None:
            first = max(self._ready, self.pulse + FIRST_WORD)
            self._words = words[self._ahead:]
            self._next_word, self._ready = (first, NEVER) if self._words else (NEVER, first - 1 + TO_TICK)
        self._following, self._ahead = following, 0
        if self._ready != NEVER and following:
            self._next_word = max(self._ready, self.pulse + EMPTY)
        times = self._follow(self._overlaps and not (self._ends or self._marked))
        name, quiet = max(times, key=lambda name: times[name]), max(times.values())
        reading = min(self._reading, quiet - self.pulse)
        self.limits["readings"] += reading
        self.limits[name] += quiet - self.pulse - reading
        self._mark(quiet)  # in the cycle of the pulse
        self.pulse, self._next_word = quiet, NEVER
        while self._next() <= self.pulse:
            self._step(self._next())

    def _mark(self, quiet: int) -> int:
        """Say MARK if it is due; returns the cycle in which the array is quiet then."""
        if not self._marked:
            return quiet
        self._marked = False
        if self._ends:
            self.marks.append(quiet)
        return quiet + MARK

    # What is followed from cycle to cycle.

    def _follow(self, overlap: bool) -> dict[str, int]:
        """Until everything has been done that must be before the next pulse; returns the cycles until which the array waits, by what
        for."""
        self._overlap = overlap
        while self._ready == NEVER or self._due(overlap):
            self._step(self._next())
        times = self._times(overlap)
        while self._next() < max(times.values()) or (self._mesh.busy and not overlap):
            self._step(self._next())
            if not overlap:  # words that are sent ahead have to arrive
                times["host"] = max(self._ready, self._mesh.left.get((self._window + 1, True), 0) + QUIET)
        return times

    def _due(self, overlap: bool) -> bool:
        """Whether something is left that must be done before the next pulse and whose cycle is not known yet."""
        if not overlap:
            return bool(self._mesh.busy) or any(sender.wake != NEVER for sender in self._senders)
        return any(count and due <= self._window for due, count in self._mesh.inside.items()) \
            or any(sender.rest(overlap) == NEVER for sender in self._senders)

    def _times(self, overlap: bool) -> dict[str, int]:
        """The cycles until which the array waits, by what for."""
        integration = [receiver.rest(sender.loads) for receiver, sender in zip(self._receivers, self._senders, strict=True)]
        update = [sender.rest(overlap) for sender in self._senders]
        host = [self._ready]
        for (due, ahead), cycle in self._mesh.left.items():
            if not overlap or due <= self._window:
                (host if ahead else update).append(cycle + QUIET)
        return {"integration": max(integration), "update": max(update), "host": max(host), "empty": self.pulse + EMPTY}

    def _next(self) -> int:
        """The next cycle in which anything may happen."""
        if self._mesh.busy:
            return self._cycle
        return max(self._cycle, min(self._next_word, min(sender.wake for sender in self._senders)))

    def _step(self, cycle: int) -> None:
        assert cycle < NEVER, "something is left that nothing moves"
        sent = []
        for index, sender in enumerate(self._senders):
            if sender.wake <= cycle:
                queue = self._mesh.source(index)
                packet = sender.step(cycle, self._mesh.room(queue))
                if packet is not None:
                    sent.append((queue, packet))
        if self._next_word <= cycle:
            queue = self._mesh.source(-1)
            word = self._host(cycle) if self._mesh.room(queue) else None
            if word is not None:
                sent.append((queue, word))
        if self._mesh.busy:
            self._mesh.step(cycle)
        for queue, packet in sent:
            self._mesh.push(queue, packet)
        self._cycle = cycle + 1

    def _host(self, cycle: int) -> Packet | None:
        """The word that the host port sends in this cycle."""
        if self._words:
            mask, block, cores = self._words.pop(0)
            self._next_word = cycle + 1
            if not self._words:
                self._ready = cycle + TO_TICK
                self._next_word = self._ready if self._following else NEVER
            return Packet(cores, 0, block, mask, self._window)
        seen = cycle - RESTING
        if all(sender.rest(self._overlap) <= seen and receiver.rests(seen, sender.loads)
               for receiver, sender in zip(self._receivers, self._senders, strict=True)):
            return None
        mask, block, cores = self._following[self._ahead]
        self._ahead += 1
        self._next_word = cycle + 1 if self._ahead < min(AHEAD, len(self._following)) else NEVER
        return Packet(cores, 0, block, mask, self._window + 1, ahead=True)

    # What rows send.

    def _maker(self, index: int, core: CoreTables) -> Callable[[int, int], Packets]:
        """What makes the packets of a core's rows."""
        params = self.params

        def make(row: int, window: int) -> Packets:
            sample, tick = self._ticks[window]
            spikes = int(self._spikes[index][sample, tick, row])
            packets: Packets = []
            for target in core.fan[row]:
                for plane in range(max(1, target.planes)):
                    mask = target.mask & (spikes if not target.planes else self._plane(index, sample, tick, row, plane))
                    block, bit = divmod(target.first + plane * params.neurons_per_cycle, params.block)
                    packets.append(Packet(target.cores, target.delay, block, mask << bit, window + 1) if mask else None)
            return packets

        return make

    def _plane(self, index: int, sample: int, tick: int, row: int, plane: int) -> int:
        """The mask of a row's potentials in one bit plane."""
        membrane, per_row = self._activity.membrane, self.params.neurons_per_cycle
        if membrane is None:
            raise InputError("This image sends potentials: the events must hold them")
        bits = (membrane[index][sample, tick, row * per_row:(row + 1) * per_row] >> plane) & 1
        return int(bits @ (1 << np.arange(per_row))) & int(self._open[index][tick][row])
