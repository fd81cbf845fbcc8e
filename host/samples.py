"""A run's samples as packets to the array, and its answers as the run's result."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.events import Spikes
from spikeloom.fields import Ints, Words
from spikeloom.host.decode import Answer, OutputDecoder, cycles_per_sample
from spikeloom.host.encode import InputEncoder, ReadPlan, cut, echo_words, mark_ticks, reset_words, sample_words
from spikeloom.host.progress import Progress
from spikeloom.image import Image, PopulationMap
from spikeloom.machine import Potentials, Result, readings
from spikeloom.memories import Memory
from spikeloom.packets import RESPONSES, Response

#: (tick after which to read, number of DATA words before it, and what)
Readings = list[tuple[int, int, PopulationMap, ReadPlan]]


def plan_readings(wanted: dict[int, list[PopulationMap]]) -> tuple[Readings, int]:
    """Readings in the order of their ticks, and the number of DATA words that answer them."""
    made: dict[str, ReadPlan] = {}
    plan: Readings = []
    count = 0
    for tick, populations in sorted(wanted.items()):
        for population in populations:
            reads = made.setdefault(population.name, ReadPlan.make(population, Memory.MEMBRANE))
            plan.append((tick, count, population, reads))
            count += reads.count
    return plan, count


def read_commands(plan: Readings) -> dict[int, Words]:
    """The READ words after each tick."""
    reads: dict[int, list[Words]] = {}
    for tick, _, _, part in plan:
        reads.setdefault(tick, []).append(part.words)
    return {tick: np.concatenate(parts) for tick, parts in reads.items()}


def check_echo(answer: Answer, payload: int) -> None:
    """MachineError unless an answer's one ECHO word has this payload."""
    if RESPONSES[Response.ECHO].unpack(answer.echoes)["payload"][0] != payload:
        raise MachineError("The array answered an earlier packet: reset it, or load the image again")


@dataclass(frozen=True)
class Batch:
    """Samples from ``first`` on, in one packet, or a single one in several; ``payload`` is that of its ECHO."""

    first: int
    samples: int
    payload: int
    packets: list[Words]


class Samples:
    """One run: batches to send (:meth:`batches`), answers to enter (:meth:`enter`), and the result.

    Parameters
    ----------
    image, encoder, decoder
        What is loaded, and its words.
    dense
        Input spikes, bool (samples, steps, size) each.
    potentials, record
        As for :meth:`spikeloom.machine.Machine.run`.
    limit
        Words of a packet in either direction; a batch takes as many samples as fit.
    values
        ``values(memory, data)``: DATA words as numbers.
    """

    def __init__(self, image: Image, encoder: InputEncoder, decoder: OutputDecoder, dense: dict[str, Spikes], potentials: Potentials,
                 record: Iterable[str] | None, limit: int, values: Callable[[Memory, Words], Ints]) -> None:
        self._image, self._encoder, self._decoder, self._dense, self._limit, self._values = image, encoder, decoder, dense, limit, values
        self.samples, self.steps = next(iter(dense.values())).shape[:2] if dense else (1, 0)
        wanted = readings(image, potentials, record, self.steps)
        self._plan, self._per_sample = plan_readings(wanted)
        self._ticks = image.ticks(self.steps)
        self._spikes = decoder.empty(self.samples, self.steps)
        shape = (self.samples,) if potentials == "end" else (self.samples, self.steps)
        sizes = {population.name: population.size for populations in wanted.values() for population in populations}
        self._states = {name: np.zeros((*shape, size), np.int64) for name, size in sizes.items()}
        self._cycles = np.zeros(self.samples, np.int64)
        self._words = {"WORDS_SENT": 0, "WORDS_RECEIVED": 0}

    def batches(self, payload: Callable[[], int]) -> Iterator[Batch]:
        """The run in batches, each encoded when it is asked for, with an ECHO of the next ``payload()``."""
        if not self.steps:
            return
        size = max(1, self._limit // self._bound())
        for low in range(0, self.samples, size):
            part = {name: array[low:low + size] for name, array in self._dense.items()}
            samples = min(size, self.samples - low)
            here = payload()
            commands = sample_words(self._encoder.masks(part, self._ticks), self._encoder.headers, read_commands(self._plan),
                                    self._image.ticks_per_step, overlap=self._encoder.overlap)
            words = np.concatenate([reset_words(), echo_words(here), commands])
            whole = samples * self._bound() <= self._limit
            yield Batch(low, samples, here, [words] if whole else cut(words, self._limit, self._decoder.rows()))

    def enter(self, batch: Batch, answer: Answer, tell: Progress) -> None:
        """Enter the results of a batch, and ``tell`` how far the run is. MachineError for an answer that is none to the batch."""
        marks = mark_ticks(self._ticks)
        answer.expect(data=batch.samples * self._per_sample, marks=batch.samples * len(marks), echoes=1)
        check_echo(answer, batch.payload)
        here = slice(batch.first, batch.first + batch.samples)
        self._decoder.fill(self._spikes, answer, batch.first, batch.samples, marks)
        self._cycles[here] = cycles_per_sample(answer, batch.samples)
        data = self._values(Memory.MEMBRANE, answer.data).reshape(batch.samples, self._per_sample)
        for tick, start, population, part in self._plan:
            values = data[:, start + part.position]
            target = self._states[population.name][here]
            if target.ndim == 2:
                target[:] = values
            else:
                target[:, (tick - population.depth) // self._image.ticks_per_step] = values
        self._words["WORDS_SENT"] += sum(len(packet) for packet in batch.packets)
        self._words["WORDS_RECEIVED"] += answer.size
        tell(here.stop, self.samples)

    def result(self, stats: dict[str, int], single: bool) -> Result:
        """What was entered, with further counts; ``single`` takes the samples' axis away."""
        stats = stats | self._words
        if not single:
            return Result(self._image, self._spikes, self._states, self._cycles, stats)
        return Result(self._image, {name: array[0] for name, array in self._spikes.items()},
                      {name: array[0] for name, array in self._states.items()}, self._cycles.reshape(()), stats)

    def _bound(self) -> int:
        """Words of a sample, in the direction that has more, at the most."""
        sent = self._ticks * (len(self._encoder.headers) + 1) + sum(len(reads.words) for _, _, _, reads in self._plan)
        received = self._ticks * self._decoder.rows() + self._per_sample + len(mark_ticks(self._ticks))
        return max(sent, received)
