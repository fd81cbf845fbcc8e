"""When a core's rows are drained, and when its spike unit sends their packets."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from spikeloom.host.estimates.cycle_axons import NEVER
from spikeloom.host.estimates.cycle_latencies import (
    FEW_ROWS,
    KEPT,
    KEPT_BEHIND,
    PACKETS,
    PROMISED,
    QUIET,
    ROWS,
    SWAP,
    TO_ASK,
    TO_CORES,
    TO_LEAVE,
    TO_LOAD,
    TO_ROOM,
    TO_SEND,
    TO_SUM,
    TO_WRITE,
)
from spikeloom.host.estimates.cycle_mesh import Packet
from spikeloom.host.estimates.cycle_tables import CoreTables

#: What a row sends, destination by destination and plane by plane; None is a packet that would be empty.
Packets = list[Packet | None]


class _Row(NamedTuple):
    """A row with something to send: when it was asked for, in the update of which window, and when it can leave."""

    asked: int
    number: int
    update: int
    leaves: int


class Sender:
    """Drain, neurons' queue and spike unit of one core. ``packets(row, window)`` makes what a row sends."""

    def __init__(self, core: CoreTables, packets: Callable[[int, int], Packets]) -> None:
        self._core, self._packets = core, packets
        self._latency = core.params.banks.bit_length()  # of the synapse memory: 1 + log₂ banks
        self._window = -1
        self._spiking: deque[int] = deque()  # rows with something to send that are still to be asked for
        self._opened: set[int] = set()  # those that send potentials
        self._next, self._part, self._from = core.rows, 0, 0  # what is asked for next, and when at the earliest
        self._retry = NEVER  # when to ask again, where there was no room
        self._silent: deque[int] = deque(maxlen=TO_SUM + TO_WRITE)  # when the last rows without anything to send were asked for
        self._asked: dict[int, int] = {}  # when the last row of a window's update was asked for
        ahead = PROMISED + self._latency
        # The row in whose cycle a tick may end at the earliest, if not behind the last one; and that cycle.
        many = core.params.folds == core.row_cycles == 1 and core.rows > max(FEW_ROWS, ahead + 1)
        self._enough = core.rows - 1 - ahead if many else NEVER
        self._freed = NEVER
        self._queue: deque[_Row] = deque()
        self._waiting: _Row | None = None
        self._row: _Row | None = None
        self._items: Packets = []  # of the row, the next one last,
        self._coming: Packets = []  # and of the row that waits
        self._made: deque[tuple[int, Packet]] = deque()  # from when on it can be sent, or kept
        self._kept: list[Packet | None] = [None, None]  # for the host, and for cores
        self._moved: dict[int, int] = {}  # when the spike unit last did anything for a window's update
        self._ended: dict[int, int] = {}  # until when packets are kept for what may come of its rows
        self.loads: list[int] = []  # cycles of the LOADs since the pulse
        self.dropping = False  # packets for cores are of a sample that has ended
        self.wake = NEVER  # the next cycle in which there may be something to do

    def begin(self, pulse: int, window: int, spiking: list[int], opened: set[int]) -> None:
        """Update all rows, of which some have something to send, and some of these potentials."""
        self.loads, self._window = [], window
        self._moved, self._ended = ({update: cycle for update, cycle in when.items() if update == window - 1}
                                    for when in (self._moved, self._ended))
        if self._core.rows:
            self._spiking, self._opened, self._next, self._freed = deque(spiking), opened, 0, NEVER
            self._begin_fold(pulse + TO_CORES)
            self._ask(pulse)
            self._wake(pulse)

    def rest(self, overlap: bool) -> int:
        """The cycle from which on all has been done that must be before the next pulse, as far as it depends on this core's update;
        NEVER while something is left."""
        if self._next < self._core.rows:
            return NEVER
        last = self._window - 1 if overlap else self._window
        kept = [packet.due - 1 for packet in self._kept if packet is not None]
        inside = [row.update for row in (self._waiting, self._row, *self._queue) if row is not None]
        if any(update <= last for update in (*inside, *(packet.due - 1 for _, packet in self._made), *kept)):
            return NEVER
        written = TO_SUM + TO_WRITE - overlap  # what a row without spikes writes may come a cycle later
        drained = [asked + written if window <= last else self._freed for window, asked in self._asked.items()]
        return QUIET + max([0, *drained, *(moved for window, moved in self._moved.items() if window <= last)])

    # The drain.

    def _begin_fold(self, cycle: int) -> None:
        if self._core.params.folds > 1:
            cycle += TO_LOAD
            self.loads.append(cycle)
        self._from = cycle + self._latency + TO_ASK

    def _ask(self, cycle: int) -> None:
        """Ask for rows, as far as what left by this cycle tells that there is room. Where there was none yet, there is none before
        ``retry``, unless a row leaves."""
        core = self._core
        self._from = max(self._from, cycle + TO_ROOM)
        while self._next < core.rows:
            if len(self._queue) < ROWS - TO_WRITE:  # room for them and for the silent ones that are being written
                self._from += core.row_cycles - self._part
            elif self._room(self._from):
                self._from += 1
                self._part += 1
                if self._part < core.row_cycles:
                    continue
            else:
                written = self._silent[-1] + TO_SUM + TO_WRITE if self._silent else 0  # then the silent ones have left
                self._retry = next((at - 1 for at in range(self._from + 1, written + 2) if self._room(at)), NEVER)
                return
            self._part = 0
            if self._spiking and self._spiking[0] == self._next:
                written = self._from - 1 + TO_SUM + TO_WRITE
                self._queue.append(_Row(self._from - 1, self._spiking.popleft(), self._window,
                                        written + TO_LEAVE * (self._next in self._opened)))
            else:
                self._silent.append(self._from - 1)
            if self._next >= self._enough and self._freed == NEVER and self._inside(self._from - 2) < ROWS - PROMISED - self._latency - 1:
                self._freed = self._from - 2  # the cycle before, as behind the last row
            self._next += 1
            if self._next == core.rows:
                if self._freed == NEVER:
                    self._freed = self._from - 1 + (max(0, SWAP - self._latency) if self._enough == NEVER else 0)
                self._asked = {window: asked for window, asked in self._asked.items() if window == self._window - 1}
                self._asked[self._window] = self._from - 1
            elif self._next % core.groups == 0:
                self._begin_fold(self._from - 1)
        self._retry = NEVER

    def _room(self, cycle: int) -> bool:
        """Whether so few rows are inside that another is asked for in this cycle."""
        return self._inside(cycle) < ROWS

    def _inside(self, cycle: int) -> int:
        """Rows on their way from the drain's sums to the spike unit."""
        inside = len(self._queue)
        for row in reversed(self._queue):
            if row.asked + TO_SUM < cycle:
                break
            inside -= 1
        return inside + sum(asked + TO_SUM < cycle <= asked + TO_SUM + TO_WRITE for asked in self._silent)

    # The spike unit.

    def step(self, cycle: int, room: bool) -> Packet | None:
        """What is sent in this cycle, if the router has room. All of it depends on what was there before."""
        full = len(self._made) == PACKETS
        sent = self._send(cycle, room)
        row, ended = self._row, False
        if row is not None and not full:
            item = self._items.pop()
            self._moved[row.update], self._ended[row.update] = cycle, cycle + KEPT
            if item is not None and not (self.dropping and item.target is not None):
                self._ended[row.update] = cycle + KEPT_BEHIND
                self._made.append((cycle + TO_SEND, item))
            if not self._items:
                self._row, ended = None, True
        waiting = self._waiting
        if waiting is not None and (not self._coming or row is None or ended):
            self._moved[waiting.update] = cycle
            self._ended[waiting.update] = max(self._ended.get(waiting.update, 0), cycle + KEPT)
            if self._coming:
                self._row, self._items = waiting, self._coming
            self._waiting = None
        if self._waiting is None and self._queue and self._queue[0].leaves <= cycle:
            self._waiting = self._queue.popleft()
            self._coming = self._packets(self._waiting.number, self._waiting.update)[::-1]
            self._ask(cycle)
        elif self._retry <= cycle:
            self._ask(cycle)
        self._wake(cycle)
        return sent

    def _wake(self, cycle: int) -> None:
        if self._made or self._row is not None or self._waiting is not None:
            self.wake = cycle + 1
            return
        times = [self._retry]
        times += [self._queue[0].leaves] if self._queue else []
        times += [self._asked.get(packet.due - 1, NEVER) + TO_SUM + TO_WRITE + 1 for packet in self._kept if packet is not None]
        self.wake = max(cycle + 1, min(times))

    def _more(self, update: int, cycle: int) -> bool:
        """Whether rows of an update are still to come."""
        if update == self._window and self._next < self._core.rows:
            return True
        if cycle <= max(self._asked[update] + TO_SUM + TO_WRITE, self._ended.get(update, 0)):
            return True
        rows = (self._waiting, self._row, self._queue[0] if self._queue else None)
        return any(row is not None and row.update <= update for row in rows)

    def _send(self, cycle: int, room: bool) -> Packet | None:
        head = self._made[0][1] if self._made and self._made[0][0] <= cycle else None
        kind = -1 if head is None else 1 if head.target is None else 2 if head.delay else 0
        leaves = next(self._wants(cycle, head, kind), -1) if room else -1
        sent = head if leaves == 0 else self._kept[leaves - 1] if leaves > 0 else None
        if leaves > 0:
            self._kept[leaves - 1] = None
        if leaves == 0:
            self._made.popleft()
        elif head is not None and kind > 0:
            kept = self._kept[kind - 1]
            if kept is None or _together(kept, head):
                self._kept[kind - 1] = head if kept is None else head._replace(mask=head.mask | kept.mask)
                self._made.popleft()
        if sent is not None:
            self._moved[sent.due - 1] = cycle
        return sent

    def _wants(self, cycle: int, head: Packet | None, kind: int) -> Iterator[int]:
        """Which packets want to leave, the first of them first: the one that was made, or those that are kept, that for cores before that
        for the host."""
        if kind == 0:
            yield 0
        for number in (2, 1):
            kept = self._kept[number - 1]
            if kept is not None and (not _together(kept, head) if head is not None and kind == number
                                     else not self._more(kept.due - 1, cycle)):
                yield number


def _together(kept: Packet, head: Packet) -> bool:
    """Whether a packet goes with one that is kept."""
    return (kept.target, kept.delay if kept.target is not None else 0, kept.block, kept.due) == (
        head.target, head.delay if head.target is not None else 0, head.block, head.due) and not kept.mask & head.mask
