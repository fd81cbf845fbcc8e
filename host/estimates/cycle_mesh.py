"""Packets on their way through the mesh: which of them waits for which, from cycle to cycle in which any is there.

Routers forward X before Y, a copy to every output on the way, a packet an output a cycle; inputs that ask for the same output take turns.
A packet leaves its queue with the last copy.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from spikeloom.host.estimates.cycle_latencies import ROUTER_QUEUE
from spikeloom.params import ArrayParams

#: A router's ports, in the order of their turns.
PORTS = ("north", "east", "south", "west", "local")
#: First and last column, first and last row; None is the host.
Rectangle = tuple[int, int, int, int]


class Packet(NamedTuple):
    """``delay`` in ticks less one; ``due``: the window that may not end before it has arrived; ``ahead``: of the host, for the next
    tick."""

    target: Rectangle | None
    delay: int
    block: int
    mask: int
    due: int
    ahead: bool = False


class Core(Protocol):
    """What takes a core's packets."""

    def accepts(self, packet: Packet, cycle: int) -> bool:
        """Whether it takes one in this cycle."""

    def deliver(self, packet: Packet, cycle: int) -> None:
        """Give it one."""


@dataclass(eq=False, slots=True)
class _Output:
    """A way out of a router, into a ``queue`` (−1: none) or a ``core``, else to the host. ``turn`` of each input queue; ``last`` served,
    and ``kept``, the one that was offered and waits."""

    queue: int
    core: Core | None
    turn: dict[int, int]
    last: int = 0
    kept: int = -1

    def first(self, one: int, other: int) -> int:
        """Which of two input queues is served first."""
        if self.kept in (one, other):
            return self.kept
        return min(one, other, key=lambda queue: (self.turn[queue] - self.last - 1) % len(self.turn))


class Mesh:
    """The routers' queues, between ``cores`` (row by row). ``inside`` counts packets by when they are due, and ``left`` has the cycle in
    which the last of them left, those apart that the host sent ahead."""

    def __init__(self, params: ArrayParams, cores: Sequence[Core]) -> None:
        self._cores = cores
        self._size = params.columns, params.rows
        self._queues: list[deque[Packet]] = []
        self._at: list[tuple[int, int, str]] = []
        self._number: dict[tuple[int, int, str], int] = {}
        for y in range(params.rows):
            for x in range(params.columns):
                for name in PORTS:
                    if name == "local" or (x, y, name) == (0, 0, "west") or self._beside(x, y, name) is not None:
                        self._number[x, y, name] = len(self._queues)
                        self._queues.append(deque())
                        self._at.append((x, y, name))
        self._outputs: dict[tuple[int, int, str], _Output] = {}
        self._ways: list[dict[Rectangle | None, tuple[_Output, ...]]] = [{} for _ in self._queues]
        self._needed: list[list[_Output]] = [[] for _ in self._queues]
        self.busy: set[int] = set()
        self.inside: Counter[int] = Counter()
        self.left: dict[tuple[int, bool], int] = {}

    def forget(self, window: int) -> None:
        """Forget about packets that were due in the windows before."""
        self.inside = Counter({due: count for due, count in self.inside.items() if due >= window})
        self.left = {(due, ahead): cycle for (due, ahead), cycle in self.left.items() if due >= window}

    def source(self, core: int) -> int:
        """The queue of a core's packets; −1: of the host's."""
        return self._number[(core % self._size[0], core // self._size[0], "local") if core >= 0 else (0, 0, "west")]

    def room(self, queue: int) -> bool:
        """Whether a queue takes a packet in this cycle."""
        return len(self._queues[queue]) < ROUTER_QUEUE

    def push(self, queue: int, packet: Packet) -> None:
        """Put a packet in, at the end of a cycle."""
        waiting = self._queues[queue]
        waiting.append(packet)
        self.inside[packet.due] += 1
        if len(waiting) == 1:
            self.busy.add(queue)
            self._needed[queue] = list(self._way(queue, packet.target))

    def step(self, cycle: int) -> None:
        """Every move of one cycle."""
        asking: dict[_Output, int] = {}
        queues, needed = self._queues, self._needed
        for queue in self.busy:
            for output in needed[queue]:
                other = asking.get(output)
                asking[output] = queue if other is None else output.first(queue, other)
        moves = []
        for output, queue in asking.items():
            packet = queues[queue][0]
            if len(queues[output.queue]) < ROUTER_QUEUE if output.queue >= 0 else output.core is None or output.core.accepts(packet, cycle):
                output.kept, output.last = -1, output.turn[queue]
                moves.append((queue, output, packet))
            else:
                output.kept = queue
        for queue, output, packet in moves:
            needed[queue].remove(output)
            if not needed[queue]:
                waiting = queues[queue]
                waiting.popleft()
                self.inside[packet.due] -= 1
                self.left[packet.due, packet.ahead] = cycle
                if waiting:
                    needed[queue] = list(self._way(queue, waiting[0].target))
                else:
                    self.busy.discard(queue)
            if output.queue >= 0:
                self.push(output.queue, packet)
            elif output.core is not None:
                output.core.deliver(packet, cycle)

    def _beside(self, x: int, y: int, name: str) -> tuple[int, int] | None:
        dx, dy = {"north": (0, -1), "east": (1, 0), "south": (0, 1), "west": (-1, 0)}[name]
        inside = 0 <= x + dx < self._size[0] and 0 <= y + dy < self._size[1]
        return (x + dx, y + dy) if inside else None

    def _way(self, queue: int, target: Rectangle | None) -> tuple[_Output, ...]:
        """The outputs that a packet in this queue needs."""
        found = self._ways[queue].get(target)
        if found is None:
            x, y, source = self._at[queue]
            found = self._ways[queue][target] = tuple(self._output(x, y, name) for name in self._names(x, y, source, target))
        return found

    def _names(self, x: int, y: int, source: str, target: Rectangle | None) -> list[str]:
        if target is None:
            return ["north" if x == 0 and y else "west"]
        x0, x1, y0, y1 = target
        within = x0 <= x <= x1
        needs = {"east": source in ("local", "west") and x1 > x, "west": source in ("local", "east") and x0 < x,
                 "north": source != "north" and within and y0 < y, "south": source != "south" and within and y1 > y,
                 "local": within and y0 <= y <= y1}
        return [name for name, needed in needs.items() if needed]

    def _output(self, x: int, y: int, name: str) -> _Output:
        """An output, made when it is first needed, with the turns of the inputs that may ask for it."""
        output = self._outputs.get((x, y, name))
        if output is None:
            beside = None if name == "local" else self._beside(x, y, name)
            opposite = {"north": "south", "south": "north", "east": "west", "west": "east"}
            sources = {"east": ("west", "local"), "west": ("east", "local"), "local": PORTS,
                       "north": ("east", "south", "west", "local"), "south": ("north", "east", "west", "local")}[name]
            if (x, y, name) == (0, 0, "west"):
                sources = ("east", "south", "local")
            queues = [self._number[x, y, source] for source in PORTS
                      if source in sources and (x, y, source) in self._number]
            output = self._outputs[x, y, name] = _Output(
                self._number[(*beside, opposite[name])] if beside else -1, self._cores[y * self._size[0] + x] if name == "local" else None,
                {queue: turn for turn, queue in enumerate(queues)})
        return output
