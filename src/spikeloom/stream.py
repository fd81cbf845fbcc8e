"""Live input: ticks are submitted and their spikes received, while the neurons go on from one submission to the next.

A stream is one sample whose end is not known yet. What it returns altogether is, bit for bit, what one run of the same steps
returns. A machine supplies the ticks (:meth:`Stream._begin`, :meth:`Stream._end`); the steps are accounted for here.
"""

from __future__ import annotations

import abc
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Literal

import numpy as np

from spikeloom.errors import InputError, MachineError
from spikeloom.events import InputSpikes, Spikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image, PopulationMap
from spikeloom.machine import Result

#: Submissions that may wait to be received: one under way, and the next one ready.
AHEAD = 2


@dataclass(frozen=True)
class Window:
    """Ticks of a stream that run together: ``ticks`` of them from ``first`` on, counted from the stream's start.

    ``inputs`` are the spikes of the steps from ``step`` on that reach these ticks, bool (steps, size) each. ``reads`` are the
    populations whose potentials are read after a tick.
    """

    first: int
    ticks: int
    step: int
    inputs: dict[str, Spikes]
    reads: dict[int, list[PopulationMap]]


@dataclass(frozen=True)
class Found:
    """What came of a window: for each population its spikes, bool (steps, neurons), and potentials, int64 (steps, neurons), of
    :func:`steps_within` it; clock cycles, and other counts."""

    spikes: dict[str, Spikes]
    states: dict[str, Ints]
    cycles: int | None
    stats: dict[str, int]


def steps_within(image: Image, population: PopulationMap, first: int, ticks: int) -> range:
    """The steps of a population that fall into ``ticks`` ticks from ``first`` on."""
    k = image.ticks_per_step
    low, high = (-((population.depth - tick) // k) for tick in (first, first + ticks))
    return range(max(low, 0), max(high, 0))


class Stream(abc.ABC):
    """Submit steps of live input, receive what is known of them.

    Each :meth:`submit` is answered by one :meth:`receive`; at most :data:`AHEAD` may wait. A step's results come with the
    submission ``lag`` steps later, when the last population has computed it; :meth:`finish` returns the remaining ones. While a
    stream is open its machine runs nothing else.

    Results have no samples' axis: ``spikes[name]`` is bool (steps, neurons), ``states[name]`` int64 (steps, neurons). The first
    of their steps is ``stats["FIRST_STEP"]``. ``cycles`` are the clock cycles from a submission's first word to its last tick.

    Parameters
    ----------
    image
        What is loaded.
    potentials, record
        ``"steps"`` reads potentials after every step, of the populations in ``record`` (default: those that never spike);
        ``"none"`` reads none.
    release
        Called when the stream ends.
    """

    def __init__(self, image: Image, potentials: Literal["none", "steps"], record: Iterable[str] | None,
                 release: Callable[[], None]) -> None:
        if potentials not in ("none", "steps"):
            raise InputError(f"A stream's potentials must be 'none' or 'steps', not {potentials!r}: its end is not known before it comes")
        names = [p.name for p in image.populations if not p.spiking] if record is None else list(record)
        self._read = [image.population(name) for name in dict.fromkeys(names)] if potentials == "steps" else []
        self._image, self._release, self._open = image, release, True
        self._waiting: deque[Window] = deque()
        self._steps = self._ticks = self._told = 0  # submitted, run, and received
        #: Steps before a submission whose spikes are still on their way into the array.
        self._reach = max((int(source.column("tick").max(initial=0)) for source in image.inputs), default=0) // image.ticks_per_step
        self._history = {source.name: np.zeros((0, source.size), bool) for source in image.inputs}
        self._spikes = {p.name: np.zeros((0, p.size), bool) for p in image.populations if p.recorded}
        self._states = {p.name: np.zeros((0, p.size), np.int64) for p in self._read}

    @property
    def lag(self) -> int:
        """Steps by which results lag behind the input."""
        return self._image.depth // self._image.ticks_per_step

    def submit(self, spikes: InputSpikes) -> None:
        """Run the next steps: as the spikes of one sample in :meth:`spikeloom.machine.Machine.run`, (steps, size).

        InputError for spikes that do not fit, MachineError when :data:`AHEAD` submissions wait to be received.
        """
        self._usable()
        if len(self._waiting) >= AHEAD:
            raise MachineError(f"{AHEAD} submissions wait already: receive() one before the next submit()")
        dense, _ = prepare(self._image, spikes)
        samples, steps = next(iter(dense.values())).shape[:2] if dense else (1, 0)
        if samples != 1:
            raise InputError(f"A stream is one sample, not {samples}: submit spikes (steps, size)")
        if not steps:
            raise InputError("A submission has at least one step")
        self._enqueue({name: array[0] for name, array in dense.items()}, steps, steps * self._image.ticks_per_step)

    def receive(self) -> Result:
        """Wait for the first submission that was not received yet; the steps that are known since."""
        self._usable()
        if not self._waiting:
            raise MachineError("Nothing waits to be received: submit() comes first")
        return self._result([self._take()])

    def finish(self) -> Result:
        """Everything that was not received yet, up to the last submitted step; the stream is then closed."""
        self._usable()
        found = [self._take() for _ in range(len(self._waiting))]
        left = self._image.ticks(self._steps) - self._ticks
        if left > 0:
            self._enqueue({name: np.zeros((0, array.shape[1]), bool) for name, array in self._history.items()}, 0, left)
            found.append(self._take())
        result = self._result(found)
        self.close()
        return result

    def close(self) -> None:
        """End the stream, forgetting what was not received. The machine can run again; may be called twice."""
        if self._open:
            self._open = False
            try:
                self._drop()
            finally:
                self._release()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @abc.abstractmethod
    def _begin(self, window: Window) -> None:
        """Start a window's ticks. InputError, with nothing done, for more than the machine can take."""

    @abc.abstractmethod
    def _end(self, window: Window) -> Found:
        """Wait for the window that was begun first and is not ended."""

    @abc.abstractmethod
    def _drop(self) -> None:
        """Forget what was begun and is not ended, so that nothing is under way."""

    def _usable(self) -> None:
        if not self._open:
            raise MachineError("The stream is closed: open another with machine.stream()")

    def _enqueue(self, new: dict[str, Spikes], steps: int, ticks: int) -> None:
        inputs = {name: np.concatenate([self._history[name], array]) for name, array in new.items()}
        past = min(self._reach, self._steps)
        reads: dict[int, list[PopulationMap]] = {}
        for population in self._read:
            for step in steps_within(self._image, population, self._ticks, ticks):
                reads.setdefault(step * self._image.ticks_per_step + population.depth, []).append(population)
        window = Window(self._ticks, ticks, self._steps - past, inputs, reads)
        self._begin(window)
        self._waiting.append(window)
        self._steps, self._ticks = self._steps + steps, self._ticks + ticks
        self._history = {name: array[max(0, len(array) - self._reach):] for name, array in inputs.items()}

    def _take(self) -> Found:
        """The first window's outcome; the stream is of no more use when it has none."""
        window = self._waiting[0]
        try:
            found = self._end(window)
        except BaseException:
            self.close()
            raise
        self._waiting.popleft()
        return found

    def _result(self, found: list[Found]) -> Result:
        """The steps that all populations have computed, and that were not received yet."""
        for part in found:
            self._spikes = {name: np.concatenate([array, part.spikes[name]]) for name, array in self._spikes.items()}
            self._states = {name: np.concatenate([array, part.states[name]]) for name, array in self._states.items()}
        run = self._ticks - sum(window.ticks for window in self._waiting)
        known = min(max(0, (run - 1 - self._image.depth) // self._image.ticks_per_step + 1), self._steps)
        new, stats = known - self._told, {"FIRST_STEP": self._told}
        spikes = {name: array[:new] for name, array in self._spikes.items()}
        states = {name: array[:new] for name, array in self._states.items()}
        self._spikes = {name: array[new:] for name, array in self._spikes.items()}
        self._states = {name: array[new:] for name, array in self._states.items()}
        self._told = known
        for part in found:
            for name, count in part.stats.items():
                stats[name] = stats.get(name, 0) + count
        clocks = [part.cycles for part in found if part.cycles is not None]
        return Result(self._image, spikes, states, np.asarray(sum(clocks), np.int64) if clocks else None, stats)
