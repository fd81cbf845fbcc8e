"""How far a run is, on one line of text that a terminal or a notebook shows in place."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TextIO

#: Told after each batch: samples that are done, and samples of the run.
Progress = Callable[[int, int], None]
#: Characters of the bar, and seconds between two drawings.
_WIDTH, _PAUSE_S = 30, 0.1


class Bar:
    """A progress bar; it appears only where a run takes longer than a tenth of a second.

    Parameters
    ----------
    to
        Where it is written (default: stderr).
    clock
        Seconds.
    """

    def __init__(self, to: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._to, self._clock = to, clock
        self._begun = self._drawn = clock()
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """So many samples of so many are done; 0 begins a run."""
        now = self._clock()
        if done == 0:
            self._begun = self._drawn = now
            self._shown = False
        if now - self._drawn >= _PAUSE_S or (self._shown and done == total):
            to = self._to or sys.stderr
            full = _WIDTH * done // max(total, 1)
            left = (now - self._begun) * (total - done) / max(done, 1)
            to.write(f"\r[{'#' * full}{' ' * (_WIDTH - full)}] {done}/{total} samples, {left:.0f} s left ")
            to.write("\n" if done == total else "")
            to.flush()
            self._drawn, self._shown = now, True
