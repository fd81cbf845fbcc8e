"""Runs over many samples, shared out among processes or the workers of a scheduler; what comes back is that of one run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from spikeloom.events import InputSpikes, Spikes, prepare
from spikeloom.host import executor
from spikeloom.image import Image
from spikeloom.machine import Potentials, Result, joined, readings
from spikeloom.sim.open import CLOCKLESS, open

#: Samples for which a process of its own is started, where the caller does not say how many: starting takes about a second.
SAMPLES = 16


@dataclass(frozen=True)
class _Part:
    """Some samples, and what to run them on. With ``lead`` the first one belongs to the part before: a sample's cycles depend a
    little on the sample that the array was busy with before it, so it runs here too, and is taken off again."""

    image: Image
    machine: str
    options: dict[str, Any]
    inputs: dict[str, Spikes]
    potentials: Potentials
    record: tuple[str, ...] | None
    first: int
    lead: bool

    def __str__(self) -> str:
        return f"samples from {self.first} on {self.machine}"


def run_many(image: Image, spikes: InputSpikes, *, machine: str = "golden", potentials: Potentials = "end",
             record: Iterable[str] | None = None, jobs: int | None = None, scheduler: str | None = None,
             **options: Any) -> Result:
    """Run samples as ``Machine.run`` does, in several processes.

    Parameters
    ----------
    image, spikes, potentials, record
        As for :meth:`spikeloom.machine.Machine.load` and :meth:`~spikeloom.machine.Machine.run`.
    machine, options
        As for :func:`spikeloom.sim.open.open`; every process opens a machine of its own.
    jobs, scheduler
        As for :func:`spikeloom.host.executor.iterate`; without them a process for at least 16 samples.

    Returns what a single run does, in the order of the samples. (Cycles too, as long as the machine makes no random pauses and
    the single run fits one packet of the driver.)
    InputError for spikes that do not fit; WorkError, naming the samples, for what fails in a process.
    """
    dense, single = prepare(image, spikes)
    chosen = None if record is None else tuple(record)
    samples, steps = next(iter(dense.values())).shape[:2] if dense else (1, 0)
    readings(image, potentials, chosen, steps)  # raises here, not in a worker, for what does not fit
    workers = executor.workers(jobs, scheduler)
    count = max(1, min(workers, samples if jobs is not None or scheduler is not None else samples // SAMPLES))
    cuts = [samples * part // count for part in range(count + 1)]
    lead = machine not in CLOCKLESS
    parts = [_Part(image, machine, options, {name: array[low - (lead and low > 0):high] for name, array in dense.items()},
                   potentials, chosen, low, lead and low > 0) for low, high in pairwise(cuts)]
    if count == 1 and scheduler is None:
        results = [_run(parts[0])]
    else:
        if machine != "golden":  # build its simulator once, here: the workers of this computer find it in the cache
            with open(machine, image.params, **options):
                pass
        results = executor.map(_run, parts, jobs=jobs, scheduler=scheduler)
    whole = joined(results)
    if not single:
        return whole
    return Result(image, {name: array[0] for name, array in whole.spikes.items()},
                  {name: array[0] for name, array in whole.states.items()},
                  None if whole.cycles is None else whole.cycles.reshape(()), whole.stats)


def _run(part: _Part) -> Result:
    with open(part.machine, part.image.params, **part.options) as machine:
        machine.load(part.image)
        whole = machine.run(part.inputs, potentials=part.potentials, record=part.record)
        if not part.lead:
            return whole
        first = machine.run({name: array[:1] for name, array in part.inputs.items()}, potentials=part.potentials,
                            record=part.record)
    return Result(whole.image, {name: array[1:] for name, array in whole.spikes.items()},
                  {name: array[1:] for name, array in whole.states.items()}, None if whole.cycles is None else whole.cycles[1:],
                  {name: value - first.stats[name] for name, value in whole.stats.items()})
