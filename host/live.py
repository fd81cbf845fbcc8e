"""The driver's stream: live input to an array, a packet for each submission."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import Literal

import numpy as np

from spikeloom.errors import InputError
from spikeloom.fields import Ints, Words
from spikeloom.host.decode import Answer, OutputDecoder, cycles_per_sample
from spikeloom.host.encode import InputEncoder, echo_words, mark_ticks, reset_words, sample_words
from spikeloom.host.port import Port
from spikeloom.host.samples import Readings, check_echo, plan_readings, read_commands
from spikeloom.image import Image
from spikeloom.memories import Memory
from spikeloom.stream import Found, Stream, Window


class ArrayStream(Stream):
    """Live input to an array; see :class:`spikeloom.stream.Stream`.

    Parameters
    ----------
    image, potentials, record, release
        As for `Stream`.
    port, encoder, decoder, values
        The array with the image, and its words; ``values(memory, data)`` turns DATA words into numbers.
    limit
        Words of a packet in either direction; a submission must fit.
    """

    def __init__(self, image: Image, potentials: Literal["none", "steps"], record: Iterable[str] | None, release: Callable[[], None], *,
                 port: Port, encoder: InputEncoder, decoder: OutputDecoder, values: Callable[[Memory, Words], Ints], limit: int) -> None:
        super().__init__(image, potentials, record, release)
        self._port, self._encoder, self._decoder, self._values, self._limit = port, encoder, decoder, values, limit
        self._sent: deque[tuple[Readings, int, int, int]] = deque()  # what to read, DATA words, payload, words

    def _begin(self, window: Window) -> None:
        plan, data = plan_readings(window.reads)
        k = self._image.ticks_per_step
        skipped = window.first - window.step * k  # ticks of steps that were submitted before
        inputs = {name: array[None] for name, array in window.inputs.items()}
        masks = self._encoder.masks(inputs, skipped + window.ticks)[:, skipped:]
        reads = {tick - window.first: words for tick, words in read_commands(plan).items()}
        payload = self._port.payload()
        start = [reset_words()] if window.first == 0 else []
        commands = sample_words(masks, self._encoder.headers, reads, k, end=False, overlap=self._encoder.overlap)
        words = np.concatenate([*start, echo_words(payload), commands])
        most = max(len(words), window.ticks * self._decoder.rows() + data + len(mark_ticks(window.ticks)))
        if most > self._limit:
            raise InputError(f"{window.ticks // k} steps may take a packet of {most} words, beyond the limit of {self._limit}: submit "
                             f"fewer steps at a time")
        self._port.submit(words)
        self._sent.append((plan, data, payload, len(words)))

    def _end(self, window: Window) -> Found:
        plan, data, payload, sent = self._sent.popleft()

        def read(answer: Answer) -> Found:
            marks = mark_ticks(window.ticks)
            answer.expect(data=data, marks=len(marks), echoes=1)
            check_echo(answer, payload)
            numbers = self._values(Memory.MEMBRANE, answer.data)
            states: dict[str, list[Ints]] = {population.name: [] for population in self._read}
            for _, start, population, reads in plan:
                states[population.name].append(numbers[start + reads.position])
            return Found(self._decoder.part(answer, window.first, marks),
                         {population.name: np.array(states[population.name], np.int64).reshape(-1, population.size)
                          for population in self._read},
                         int(cycles_per_sample(answer, 1)[0]), {"WORDS_SENT": sent, "WORDS_RECEIVED": answer.size})
        return self._port.collect(read)

    def _drop(self) -> None:
        self._port.drain()
