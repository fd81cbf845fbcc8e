"""When a core takes the packets that reach it, and when their axons read words: its axon unit and issue stage."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from spikeloom.host.estimates.cycle_latencies import BANK_QUEUE, ENTRANCE, FIRED, FORESEEN, LIST, SEEN, SLOT, TO_CORES, TO_FIRE, WALKED
from spikeloom.host.estimates.cycle_mesh import Packet
from spikeloom.host.estimates.cycle_tables import CoreTables

#: A cycle that does not come.
NEVER = 1 << 62


class Receiver(ABC):
    """The axons of one core. A packet of the running tick is taken when it comes; else one that the host sent ahead, else one that was
    delayed; one a cycle. ``reads`` counts synapse words."""

    def __init__(self, core: CoreTables) -> None:
        self.params = core.params
        self._window = -1
        self._ahead: list[Packet] = []
        self._slots: deque[list[tuple[int, Packet]]] = deque([] for _ in range(core.params.delays))
        self._backlog: deque[tuple[int, Packet]] = deque()  # of the running tick: what was sent ahead, and what was delayed; from when on
        self._taken = 0  # when the last packet was taken
        self.dropping = False  # packets of the tick before are of a sample that has ended
        self.reads = 0

    def begin(self, pulse: int, window: int) -> None:
        """The next tick."""
        assert not self._backlog
        self._window = window
        if self.dropping:
            self._slots = deque([] for _ in self._slots)
        first = pulse + TO_CORES
        self._backlog.extend((first, packet) for packet in self._ahead)
        self._backlog.extend((max(first, arrival + SLOT), packet) for arrival, packet in self._slots.popleft())
        self._slots.append([])
        self._ahead = []
        self._taken = max(self._taken, pulse)

    def _delay(self, packet: Packet) -> int:
        """Ticks that a packet still has to wait; −1 if it is dropped."""
        if packet.ahead or not packet.delay:
            return int(packet.ahead and packet.due != self._window)
        overdue = packet.due == self._window
        return -1 if overdue and self.dropping else packet.delay - overdue

    def accepts(self, packet: Packet, cycle: int) -> bool:
        """Whether a packet is taken in this cycle."""
        if self._delay(packet):
            return True
        if self._backlog:
            self._catch_up(cycle + ENTRANCE)
        return self._room(cycle + ENTRANCE)

    def deliver(self, packet: Packet, cycle: int) -> None:
        """Take a packet that leaves its router in this cycle."""
        delay = self._delay(packet)
        cycle += ENTRANCE
        if packet.ahead and delay:
            self._ahead.append(packet)
        elif delay > 0:
            self._slots[delay - 1].append((cycle, packet))
        elif not delay:
            self._catch_up(cycle)
            self._taken = cycle
            self._take(cycle, packet.block, packet.mask)

    def _catch_up(self, cycle: int) -> None:
        """Take what waits, as long as nothing came, before this cycle."""
        while self._backlog:
            first, packet = self._backlog[0]
            at = max(first, self._taken + 1)
            while at < cycle and not self._room(at):
                at += 1
            if at >= cycle:
                return
            self._backlog.popleft()
            self._taken = at
            self._take(at, packet.block, packet.mask)

    def rest(self, loads: list[int]) -> int:
        """The cycle from which on nothing is left to do, if nothing else comes. ``loads``: cycles of the LOADs."""
        self._catch_up(NEVER)
        return self._rest(loads)

    def rests(self, cycle: int, loads: list[int]) -> bool:
        """Whether nothing is left to do in this cycle, nor anything came in the last."""
        self._catch_up(cycle)
        return not self._backlog and self._rest(loads) <= cycle

    @abstractmethod
    def _room(self, cycle: int) -> bool:
        """Whether the banks take a packet in this cycle, in or after that of the last one."""

    @abstractmethod
    def _take(self, cycle: int, block: int, mask: int) -> None:
        """Hand a packet to the banks."""

    @abstractmethod
    def _rest(self, loads: list[int]) -> int:
        """The cycle from which on the banks have nothing left to do."""


class Numbered(Receiver):
    """One fold: each bank takes an axon a cycle. A packet waits while too many do so for any bank."""

    def __init__(self, core: CoreTables) -> None:
        super().__init__(core)
        params = core.params
        self._banks = [sum(1 << bit for bit in range(bank, params.block, params.banks)) for bank in range(params.banks)]
        self._free = [0] * params.banks
        self._came = [0] * params.banks  # when the last packet came
        # When the last packets came and when their first axons were read; none of those before waits when one comes.
        self._recent = [deque([(0, 0)] * (BANK_QUEUE + SEEN + 1), BANK_QUEUE + SEEN + 1) for _ in self._banks]
        self._open = 0  # from when on too few of them wait

    def _room(self, cycle: int) -> bool:
        seen = cycle - SEEN
        return self._open <= cycle or all(sum(came < seen < begun for came, begun in last) < BANK_QUEUE for last in self._recent)

    def _take(self, cycle: int, block: int, mask: int) -> None:
        for bank, chosen in enumerate(self._banks):
            count = (mask & chosen).bit_count()
            if count:
                start = max(cycle + TO_FIRE, self._free[bank])
                last = self._recent[bank]
                last.append((cycle, start))
                self._open = max(self._open, last[-BANK_QUEUE][1] + SEEN)
                self._free[bank], self._came[bank] = start + count, cycle
                self.reads += count

    def _rest(self, loads: list[int]) -> int:
        return max(free - 1 + FIRED - (came + FORESEEN < free) for free, came in zip(self._free, self._came, strict=True))


class Walked(Receiver):
    """Several folds: each bank walks lists, and banks fire together where their folds are equal; not while a fold is loaded. Queues in
    front of the lists are taken for endless: who waits there waits for the lists anyway."""

    def __init__(self, core: CoreTables) -> None:
        super().__init__(core)
        assert core.lists is not None
        self._lists = core.lists
        self._begin()

    def _begin(self) -> None:
        banks = self.params.banks
        self._waiting: list[list[tuple[int, int]]] = [[] for _ in range(banks)]  # entries: from when on they can fire, and their folds
        self._look = [0] * banks  # when each bank looked up its last axon
        self._least = [0] * banks  # when each bank has fired its last entry, at the earliest
        self._known = -1, 0, 0  # entries and LOADs when it was last found out, and the result

    def begin(self, pulse: int, window: int) -> None:
        """The next tick."""
        super().begin(pulse, window)
        self._begin()

    def _room(self, cycle: int) -> bool:
        return True

    def _take(self, cycle: int, block: int, mask: int) -> None:
        size, banks = self.params.block, self.params.banks
        while mask:
            bit = (mask & -mask).bit_length() - 1
            mask &= mask - 1
            bank, folds = bit % banks, self._lists[block * size + bit]
            look = self._look[bank] = max(cycle + TO_FIRE, self._look[bank] + 1)
            self._waiting[bank].extend((look + LIST, fold) for fold in folds)
            self._least[bank] = max(self._least[bank], look + LIST - 1) + len(folds) if folds else max(self._least[bank], look + 1)
            self.reads += len(folds)

    def rests(self, cycle: int, loads: list[int]) -> bool:
        """As without lists, but asks for the least first."""
        return max(self._least) + WALKED <= cycle and super().rests(cycle, loads)

    def _rest(self, loads: list[int]) -> int:
        entries = sum(map(len, self._waiting))
        if self._known[:2] != (entries, len(loads)):
            self._known = entries, len(loads), max(self._last(set(loads)), *(look + 1 for look in self._look if look), 0)
        return self._known[2] + WALKED if self._known[2] else 0

    def _last(self, loads: set[int]) -> int:
        """When the last entry fires: of all banks only those with the first waiting bank's fold fire together."""
        waiting = [deque(entries) for entries in self._waiting]
        cycle = 0
        while any(waiting):
            cycle = max(cycle + 1, min(queue[0][0] for queue in waiting if queue))
            if cycle in loads:
                continue
            fold = next(queue[0][1] for queue in waiting if queue and queue[0][0] <= cycle)
            for queue in waiting:
                if queue and queue[0][0] <= cycle and queue[0][1] == fold:
                    queue.popleft()
        return cycle
