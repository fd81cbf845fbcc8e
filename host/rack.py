"""Several machines as one: a batch is spread over them, and what a machine leaves undone when it is lost is run on another.

A batch is cut into parts; each machine takes the next part when it has done its last, so that a fast one does more of them. A
MachineError means that the machine is lost until the next :meth:`Rack.load`. Any other error (an input that does not fit, an
image for another array) is the caller's: it ends the run, and no machine is blamed for it.
"""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from spikeloom.calls import Calls
from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes, Spikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.machine import Machine, Potentials, Result, joined, readings

#: Parts of a batch for each machine: enough that none is idle for long at the end, few enough that each is worth its way.
PARTS = 4
#: Seconds after which a waiting caller looks whether the run is still wanted.
_LOOK_S = 0.1


class RackWarning(UserWarning):
    """A machine of a rack was lost."""


@dataclass(frozen=True)
class Lost:
    """A machine that was lost: its name, why, and how many samples were run again elsewhere."""

    name: str
    reason: str
    samples: int

    def __str__(self) -> str:
        again = f"; its {self.samples} samples were run elsewhere" if self.samples else ""
        return f"{self.name} was lost{again}: {self.reason}"


@dataclass(frozen=True)
class RackReport:
    """What became of a batch: the samples that each machine ran, and the machines that were lost meanwhile."""

    samples: dict[str, int] = field(default_factory=dict)
    lost: tuple[Lost, ...] = ()


class Rack(Calls):
    """Machines with the same array as one machine; see :class:`spikeloom.machine.Machine`.

    Spikes, potentials and counts are those of one machine, in the order of the samples. ``cycles`` are each machine's own: those
    of a part's first sample can differ by a few from a single run's. ``stats`` add up. `report` tells about the last batch.

    Parameters
    ----------
    machines
        By name, or a sequence (named 1, 2, …). The rack closes them.
    parts
        Parts of a batch for each machine.

    MachineError for no machines, or different arrays.
    """

    def __init__(self, machines: Mapping[str, Machine] | Sequence[Machine], *, parts: int = PARTS) -> None:
        super().__init__()
        named = dict(machines) if isinstance(machines, Mapping) else {f"machine {at}": machine for at, machine in enumerate(machines, 1)}
        if not named:
            raise MachineError("A rack needs at least one machine")
        if parts < 1:
            raise ValueError(f"parts must be at least 1, not {parts}")
        first, *others = named
        for name in others:
            if named[name].params != named[first].params:
                raise MachineError(f"The machines of a rack must have the same array: {first} and {name} differ")
        self.params = named[first].params
        self._machines, self._parts = named, parts
        self._lost: dict[str, str] = {}
        self._image: Image | None = None
        self._last: str | None = None  # the machine whose last sample was the last batch's last
        self.report = RackReport()

    @property
    def machines(self) -> dict[str, Machine]:
        """The machines, also those that are lost, by name: for what each board alone can tell, such as its telemetry."""
        return dict(self._machines)

    @property
    def lost(self) -> dict[str, str]:
        """The machines that are lost, and why; `load` tries them again."""
        return dict(self._lost)

    def load(self, image: Image) -> None:
        """Take over an image, on all machines, also on those that were lost. A machine that fails is lost, with a RackWarning;
        MachineError when all do."""
        with self._alone("load"):
            self._lost, self._image = {}, None
            self._everywhere("load", lambda machine: machine.load(image))
            self._image, self.params = image, image.params

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples. A machine that is lost gives a RackWarning; MachineError, naming all, when none is left."""
        with self._alone("run"):
            image = self._loaded("run")
            dense, single = prepare(image, spikes)
            samples, steps = next(iter(dense.values())).shape[:2] if dense else (1, 0)
            chosen = None if record is None else tuple(record)
            readings(image, potentials, chosen, steps)  # raises here for what does not fit
            live = self._live_names()
            count = max(1, min(samples, self._parts * len(live)))
            cuts = [samples * part // count for part in range(count + 1)]
            inputs = [spikes] if single or not dense else [{name: array[low:high] for name, array in dense.items()}
                                                           for low, high in pairwise(cuts)]
            batch = _Batch(inputs, [high - low for low, high in pairwise(cuts)], potentials, chosen)
            try:
                batch.run({name: self._machines[name] for name in live}, self._check_stop)
            finally:
                self.report, self._last = RackReport(batch.samples, tuple(batch.lost)), batch.last
                self._lost |= {lost.name: lost.reason for lost in batch.lost}
            _warn(batch.lost)
            results = batch.finished()
            return results[0] if len(results) == 1 else joined(results)

    def reset(self) -> None:
        """Forget all neuron state and waiting spikes, and start the counters anew, on all machines that are left."""
        with self._alone("reset"):
            self._everywhere("reset", lambda machine: machine.reset())

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last sample of the last batch, on the machine that ran it. MachineError when that machine
        was lost, or has run other samples since in place of a lost one."""
        with self._alone("probe"):
            self._loaded("probe")
            if self._last is None or self._last in self._lost:
                raise MachineError("No machine of the rack holds the state after the last sample: run that sample again, alone")
            return self._machines[self._last].probe(population)

    def counters(self) -> dict[str, int]:
        """Counters since the last reset, summed over the machines that are left."""
        with self._alone("counters"):
            found = self._everywhere("counters", lambda machine: machine.counters())
            return {name: sum(counts[name] for counts in found) for name in found[0]}

    def close(self) -> None:
        """Close all machines."""
        super().close()
        failed = []
        for machine in self._machines.values():
            try:
                machine.close()
            except Exception as error:  # the others must be closed too
                failed.append(error)
        if failed:
            raise failed[0]

    def _live_names(self) -> list[str]:
        live = [name for name in self._machines if name not in self._lost]
        if not live:
            raise MachineError(f"No machine of the rack is left ({_reasons(self._lost)}): load the image again to try them again")
        return live

    def _everywhere(self, verb: str, call: Callable[[Machine], Any]) -> list[Any]:
        """What a call returns, from all machines at the same time; those that fail are lost."""
        outcomes: dict[str, Any] = {}

        def one(name: str) -> None:
            try:
                outcomes[name] = call(self._machines[name])
            except Exception as error:
                outcomes[name] = error

        live = self._live_names()
        _together([threading.Thread(target=one, args=(name,), daemon=True) for name in live])
        for outcome in outcomes.values():
            if isinstance(outcome, Exception) and not isinstance(outcome, MachineError):
                raise outcome
        lost = [Lost(name, f"{verb}(): {outcomes[name]}", 0) for name in live if isinstance(outcomes[name], MachineError)]
        self._lost |= {each.name: each.reason for each in lost}
        if len(lost) == len(live):
            raise MachineError(f"Every machine of the rack failed: {_reasons(self._lost)}")
        _warn(lost)
        return [outcomes[name] for name in live if name not in self._lost]

    def _loaded(self, verb: str) -> Image:
        if self._image is None:
            raise MachineError(f"No image is loaded: call load(image) before {verb}()")
        return self._image


class _Batch:
    """Parts of a batch, being run: which wait, what came of them, and who was lost."""

    def __init__(self, inputs: Sequence[InputSpikes | dict[str, Spikes]], sizes: list[int], potentials: Potentials,
                 record: tuple[str, ...] | None) -> None:
        self.samples: dict[str, int] = {}
        self.lost: list[Lost] = []
        self.last: str | None = None
        self._inputs, self._sizes, self._potentials, self._record = inputs, sizes, potentials, record
        self._results: list[Result | None] = [None] * len(inputs)
        self._waiting = deque(range(len(inputs)))
        self._left = len(inputs)
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def run(self, machines: dict[str, Machine], check: Callable[[], None]) -> None:
        """Run all parts; ``check`` raises when they are not wanted any more. Raises what a machine raises, but for MachineErrors,
        as long as a machine is left."""
        self.samples = dict.fromkeys(machines, 0)
        threads = [threading.Thread(target=self._work, args=pair, daemon=True) for pair in machines.items()]
        try:
            _together(threads, check)
        except BaseException as error:  # a keyboard interrupt, or the run is not wanted: each machine ends the part that it has
            with self._changed:
                self._error = error
                self._changed.notify_all()
            for thread in threads:
                thread.join()
            raise
        if self._error is not None:
            raise self._error
        if self._left:
            raise MachineError(f"Every machine of the rack was lost, {self._left} of {len(self._results)} parts of the batch are undone: "
                               f"{_reasons({lost.name: lost.reason for lost in self.lost})}")

    def finished(self) -> list[Result]:
        """The parts' results, in order."""
        return [result for result in self._results if result is not None]

    def _work(self, name: str, machine: Machine) -> None:
        """One machine's thread."""
        while (part := self._take()) is not None:
            try:
                result = machine.run(self._inputs[part], potentials=self._potentials, record=self._record)
            except BaseException as error:
                self._failed(name, part, error)
                return
            with self._changed:
                self._results[part] = result
                self._left -= 1
                self.samples[name] += self._sizes[part]
                if part == len(self._inputs) - 1:
                    self.last = name
                elif self.last == name:
                    self.last = None  # another sample since
                self._changed.notify_all()

    def _take(self) -> int | None:
        """The next part; None when there is nothing more to do. While other machines work, one of their parts may come back."""
        with self._changed:
            while self._left and self._error is None:
                if self._waiting:
                    return self._waiting.popleft()
                self._changed.wait()
            return None

    def _failed(self, name: str, part: int, error: BaseException) -> None:
        with self._changed:
            if isinstance(error, MachineError):
                self.lost.append(Lost(name, str(error), self._sizes[part]))
                self._waiting.appendleft(part)
            else:
                self._error = self._error or error
            self._changed.notify_all()


def _together(threads: list[threading.Thread], check: Callable[[], None] = lambda: None) -> None:
    """Start threads and wait until all have ended, calling ``check`` now and then."""
    for thread in threads:
        thread.start()
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_S)
            check()


def _warn(lost: Iterable[Lost]) -> None:
    for each in lost:
        warnings.warn(RackWarning(str(each)), stacklevel=3)


def _reasons(lost: Mapping[str, str]) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in lost.items())
