"""The golden model's stream: live input, tick by tick."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.golden_run import Batch
from spikeloom.stream import Found, Stream, Window


class GoldenStream(Stream):
    """Live input to the golden model; see :class:`spikeloom.stream.Stream`. It has no clock.

    Parameters
    ----------
    image, potentials, record, release
        As for `Stream`.
    array
        The image, unpacked.
    ran
        ``ran(stats, state)`` is told the counts of each submission, and all neurons' state after it.
    """

    def __init__(self, image: Image, potentials: Literal["none", "steps"], record: Iterable[str] | None, release: Callable[[], None], *,
                 array: ArrayModel, ran: Callable[[dict[str, int], dict[str, Ints]], None]) -> None:
        super().__init__(image, potentials, record, release)
        self._batch = Batch(image, array, {name: history[None] for name, history in self._history.items()})
        self._ran = ran
        self._found: deque[Found] = deque()

    def _begin(self, window: Window) -> None:
        counted = dict(self._batch.stats)
        self._batch.take({name: array[None] for name, array in window.inputs.items()}, window.step)
        spikes, states = self._batch.advance(window.first, window.ticks, window.reads)
        stats = {name: count - counted[name] for name, count in self._batch.stats.items()}
        self._ran(stats, self._batch.final())
        self._found.append(Found({name: array[0] for name, array in spikes.items()},
                                 {p.name: states[p.name][0] if p.name in states else np.zeros((0, p.size), np.int64) for p in self._read},
                                 None, stats))

    def _end(self, window: Window) -> Found:
        return self._found.popleft()

    def _drop(self) -> None:
        self._found.clear()
