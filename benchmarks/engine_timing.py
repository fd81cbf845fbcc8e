"""How benchmarks/engine_rivals.py times a framework."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

Counts = dict[str, int]
#: Runs a workload: seconds and spikes.
Run = Callable[[], tuple[float, Counts]]
Work = Mapping[str, Any]


def clock(threads: int) -> Callable[[], float]:
    """Of one thread the processor's time, of more the wall's: what else the computer does then counts little, where that can be."""
    return time.process_time if threads == 1 else time.perf_counter


def timed_by_call(run: Callable[[], Counts], threads: int) -> Run:
    """A function with the clock around it."""
    now = clock(threads)

    def timed() -> tuple[float, Counts]:
        start = now()
        counts = run()
        return now() - start, counts
    return timed
