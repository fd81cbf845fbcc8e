"""Retiming: which tick of a step each population updates in, and how many ticks each connection takes.

A population of depth D does its step s in tick ``s·k + D``, with k ticks in a step. A synapse of d steps from
population u to population v then takes ``d·k + depth(v) − depth(u)`` ticks, at least 1 and at most the array's
``delays``: a system of difference constraints, whose least solution is a longest path (Bellman and Ford; the slowing by
k is Leiserson and Saxe's k-slow circuit). An input spike of step s is added in tick ``s·k + d·k + depth(v)``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from spikeloom.errors import CompileError
from spikeloom.params import ArrayParams


@dataclass(frozen=True)
class Link:
    """Connections between two populations with delays of ``shortest`` to ``longest`` steps."""

    source: str
    target: str
    shortest: int
    longest: int


@dataclass(frozen=True)
class Schedule:
    """Ticks in a step, the depth of each population in ticks, and why the network is slowed (empty when it is not)."""

    ticks_per_step: int
    depth: dict[str, int]
    reason: str = ""

    def physical(self, delay: int, source: str | None, target: str) -> int:
        """Ticks that a delay in steps takes; ``source`` is None for a network input, which has no depth."""
        before = self.depth[source] if source is not None else 0
        return delay * self.ticks_per_step + self.depth[target] - before


def retime(populations: Sequence[str], links: Iterable[Link], params: ArrayParams, slack: bool = False) -> Schedule:
    """The schedule with the fewest ticks in a step, then the least depths.

    ``links`` join populations only. With ``slack`` every connection takes at least two ticks, if that slows the network no further and
    the array's delays allow it, so that ticks may overlap. CompileError names the loop or the connection that makes it impossible.
    """
    links = list(links)
    reason = ""
    for k in range(1, params.phases + 1):
        depth, blocked = _depths(populations, links, k, params.delays)
        if depth is None:
            loose, cycle = _depths(populations, links, k, None)
            if loose is not None:
                raise _too_long(links, loose, k, params.delays)
            reason = f"the loop {' → '.join(cycle or blocked)} takes more ticks than its delays give it"
            continue
        loose, _ = _depths(populations, links, k, params.delays, least=2) if slack else (None, [])
        return Schedule(k, depth if loose is None else loose, reason if k > 1 else "")
    raise CompileError(f"The network needs more than {params.phases} ticks in a step, for {reason}. Give that loop longer "
                       f"delays, use fewer layers, or take an array with more phases")


def _depths(populations: Sequence[str], links: list[Link], k: int,
            delays: int | None, least: int = 1) -> tuple[dict[str, int] | None, list[str]]:
    """Least depths ≥ 0 for connections of at least ``least`` ticks, or None and the populations of a loop that excludes any."""
    arcs = [(link.source, link.target, least - link.shortest * k) for link in links]
    if delays is not None:
        arcs += [(link.target, link.source, link.longest * k - delays) for link in links]
    depth = dict.fromkeys(populations, 0)
    parent: dict[str, str] = {}
    last = ""
    for _ in range(len(populations) + 1):
        last = ""
        for source, target, apart in arcs:
            if depth[source] + apart > depth[target]:
                depth[target] = depth[source] + apart
                parent[target] = last = source
        if not last:
            return depth, []
    return None, _loop(parent, last)


def _loop(parent: dict[str, str], start: str) -> list[str]:
    """A loop of the parents, in the direction of the connections, its first population repeated at the end."""
    for _ in range(len(parent) + 1):
        start = parent.get(start, start)
    loop = [start]
    while loop[-1] in parent and (len(loop) == 1 or loop[-1] != start):
        loop.append(parent[loop[-1]])
    return loop[::-1]


def _too_long(links: list[Link], depth: dict[str, int], k: int, delays: int) -> CompileError:
    worst = max(links, key=lambda link: link.longest * k + depth[link.target] - depth[link.source])
    ticks = worst.longest * k + depth[worst.target] - depth[worst.source]
    return CompileError(f"The connection {worst.source!r} → {worst.target!r} takes {ticks} ticks (delay {worst.longest} steps of "
                        f"{k} ticks, {depth[worst.target] - depth[worst.source]} layers further on); this array delays spikes by "
                        f"at most {delays}. Shorten its delay, or take an array with more delays")
