"""From the words of an answer to spikes, states and cycles; what is wrong with an answer becomes a MachineError."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.errors import ImageError, MachineError
from spikeloom.events import Spikes
from spikeloom.fields import Ints, Words
from spikeloom.image import Image
from spikeloom.packets import RESPONSES, Command, Fault, Response
from spikeloom.stream import steps_within

#: What each fault means to somebody at the host.
FAULT_TEXT: dict[Fault, str] = {
    Fault.OPCODE: "it does not know a command",
    Fault.TARGET: "a command named cores outside the mesh, or none",
    Fault.BLOCK: "spikes were sent to axons that a core does not have",
    Fault.ADDRESS: "a command named a memory or an address that does not exist",
    Fault.TRUNCATED: "a packet ended within the data of a WRITE",
    Fault.DELAY: "more delayed packets waited for a tick than `delay_depth` holds: results are wrong; raise delay_depth",
    Fault.CURRENT: "a synaptic current left its width: results are wrong; the image was not made by this compiler",
    Fault.COUNT: "a TICK had no ticks, or a period that the array does not have",
}

#: Ticks are numbered modulo this in answers.
_TICKS = 1 << RESPONSES[Response.MARK].fields[2].bits
_CLOCK = 1 << RESPONSES[Response.MARK].fields[0].bits


@dataclass(frozen=True)
class Answer:
    """An answering packet, its words sorted by kind, each in order.

    ``segment`` is the number of MARK words before each SPIKES word, int64; ``size`` the number of all words.
    """

    spikes: Words
    segment: Ints
    data: Words
    marks: Words
    echoes: Words
    errors: Words
    status: int
    size: int

    @classmethod
    def read(cls, packet: Words) -> Answer:
        """Sort a packet, or several joined; MachineError for words that no array sends, or a missing STATUS."""
        opcode = (packet >> np.uint64(60)).astype(np.int64)
        if not len(packet) or opcode[-1] != Response.STATUS:
            raise MachineError("The array's answer does not end with STATUS: the connection or the design is broken")
        unknown = ~np.isin(opcode, [int(response) for response in Response])
        if np.any(unknown):
            at = int(np.flatnonzero(unknown)[0])
            raise MachineError(f"Word {at} of the array's answer, 0x{int(packet[at]):016x}, is of no known kind")
        kinds = {response: packet[opcode == response] for response in Response}
        before = np.cumsum(opcode == Response.MARK)
        faults = RESPONSES[Response.STATUS].unpack(kinds[Response.STATUS])["faults"]
        return cls(kinds[Response.SPIKES], before[opcode == Response.SPIKES], kinds[Response.DATA], kinds[Response.MARK],
                   kinds[Response.ECHO], kinds[Response.ERROR], int(np.bitwise_or.reduce(faults)), len(packet))

    def faults(self) -> str:
        """Every fault that the answer names, as text; empty when there is none."""
        found: dict[int, set[str]] = {}
        errors = RESPONSES[Response.ERROR].unpack(self.errors)
        for fault, command in zip(errors["fault"].tolist(), errors["command"].tolist(), strict=True):
            found.setdefault(fault, set()).add(Command(command).name if command in list(Command) else f"command {command}")
        for bit in range(self.status.bit_length()):
            if self.status >> bit & 1:
                found.setdefault(bit, set())
        return "; ".join(_fault_text(fault, sorted(commands)) for fault, commands in sorted(found.items()))

    def expect(self, data: int = 0, marks: int = 0, echoes: int = 0) -> None:
        """MachineError unless the answer has just so many DATA, MARK and ECHO words."""
        for name, words, count in (("DATA", self.data, data), ("MARK", self.marks, marks), ("ECHO", self.echoes, echoes)):
            if len(words) != count:
                raise MachineError(f"The array answered {len(words)} {name} words, not {count}")


def _fault_text(fault: int, commands: list[str]) -> str:
    name, text = (Fault(fault).name, FAULT_TEXT[Fault(fault)]) if fault in list(Fault) else (f"fault {fault}", "unknown")
    return f"{name}{' (' + ', '.join(commands) + ')' if commands else ''}: {text}"


class OutputDecoder:
    """Turns SPIKES words of an answer into spikes of an image's populations, in the network's steps."""

    def __init__(self, image: Image) -> None:
        self._image = image
        self._block = image.params.block
        self._recorded = [population for population in image.populations if population.recorded]
        size = image.params.output_blocks * self._block
        self._owner = np.full(size, -1)
        self._neuron = np.zeros(size, np.int64)
        numbers = {population.name: number for number, population in enumerate(self._recorded)}
        for population in image.populations:
            output = population.column("output")
            mine = np.flatnonzero(output >= 0)
            if np.any(output >= size):
                raise ImageError(f"Population {population.name!r}: output {output.max()} is beyond the {size} of the host port")
            self._owner[output[mine]] = numbers.get(population.name, len(self._recorded))
            self._neuron[output[mine]] = mine

    def rows(self) -> int:
        """SPIKES words that a tick may answer at most."""
        return len(np.unique(np.flatnonzero(self._owner >= 0) // self._image.params.neurons_per_cycle))

    def empty(self, samples: int, steps: int) -> dict[str, Spikes]:
        """Arrays for the spikes of all recorded populations."""
        return {population.name: np.zeros((samples, steps, population.size), bool) for population in self._recorded}

    def fill(self, spikes: dict[str, Spikes], answer: Answer, first: int, samples: int, marks: Ints) -> None:
        """Enter the spikes of an answer about ``samples`` samples from sample ``first`` on.

        ``marks`` are the marked ticks of a sample, the last one its last tick.
        """
        steps = next(iter(spikes.values())).shape[1] if spikes else 0
        ticks = int(marks[-1]) + 1
        tick, output = self._events(answer, (np.arange(samples)[:, None] * ticks + marks).reshape(-1), 0)
        sample, within = np.divmod(tick, ticks)
        for number, population in enumerate(self._recorded):
            step, rest = np.divmod(within - population.depth, self._image.ticks_per_step)
            mine = (self._owner[output] == number) & (rest == 0) & (step >= 0) & (step < steps)
            spikes[population.name][first + sample[mine], step[mine], self._neuron[output[mine]]] = True

    def part(self, answer: Answer, first: int, marks: Ints) -> dict[str, Spikes]:
        """Spikes of an answer about some ticks of a sample, from tick ``first`` on, of which ``marks`` are marked, the last one
        too: bool (steps, neurons) for each population's steps within these ticks."""
        tick, output = self._events(answer, first + marks, first)
        found = {}
        for number, population in enumerate(self._recorded):
            steps = steps_within(self._image, population, first, int(marks[-1]) + 1)
            step, rest = np.divmod(tick - population.depth, self._image.ticks_per_step)
            mine = (self._owner[output] == number) & (rest == 0) & (step >= 0)
            found[population.name] = np.zeros((len(steps), population.size), bool)
            found[population.name][step[mine] - steps.start, self._neuron[output[mine]]] = True
        return found

    def _events(self, answer: Answer, every: Ints, first: int) -> tuple[Ints, Ints]:
        """Tick since RESET and output number of each spike of an answer to ticks from ``first`` on, marked at ``every``."""
        _check_marks(answer, every)
        words = RESPONSES[Response.SPIKES].unpack(answer.spikes)
        tick = _unwrap(words["tick"], answer.segment, every, first)
        masks = np.ascontiguousarray(words["mask"], "<u4").view(np.uint8).reshape(-1, 4)
        event, bit = np.nonzero(np.unpackbits(masks, axis=1, bitorder="little"))
        output = words["block"][event] * self._block + bit
        owner = np.where(output < len(self._owner), self._owner[np.minimum(output, len(self._owner) - 1)], -1)
        if np.any(owner < 0):
            raise MachineError(f"The array sent a spike of output {int(output[owner < 0][0])}, which the image does not use")
        return tick[event], output


def cycles_per_sample(answer: Answer, samples: int) -> Ints:
    """Clock cycles of each sample, int64 (samples,): from the MARK before (the ECHO before the first) to its own."""
    marks = RESPONSES[Response.MARK].unpack(answer.marks)["cycles"]
    start = RESPONSES[Response.ECHO].unpack(answer.echoes)["cycles"][-1:]
    passed: Ints = np.diff(np.concatenate([start, marks])) % _CLOCK
    return np.asarray(passed.reshape(samples, -1).sum(axis=1), np.int64)


def _check_marks(answer: Answer, every: Ints) -> None:
    ticks = RESPONSES[Response.MARK].unpack(answer.marks)["tick"]
    if len(ticks) != len(every) or np.any(ticks != every % _TICKS):
        wrong = np.flatnonzero(ticks[:len(every)] != every[:len(ticks)] % _TICKS)
        at = int(wrong[0]) if len(wrong) else min(len(ticks), len(every))
        raise MachineError(f"The array lost count of its ticks: {len(ticks)} marks came, not {len(every)}; mark {at} is the "
                           f"first wrong one")


def _unwrap(tick: Ints, segment: Ints, every: Ints, first: int) -> Ints:
    """Tick numbers from RESET on, from those modulo 2**16: a spike's tick lies after the mark before it (or not before the
    ``first``), and not after the mark that follows it."""
    if np.any(segment >= len(every)):
        raise MachineError("The array sent spikes after the last tick's mark")
    following = every[segment]
    late = (following - tick) % _TICKS
    before = np.concatenate([[first - 1], every])[segment]
    if np.any(late >= following - before):
        at = int(np.flatnonzero(late >= following - before)[0])
        raise MachineError(f"The array sent a spike of tick {int(tick[at])} between the marks of ticks {int(before[at])} and "
                           f"{int(following[at])}")
    return np.asarray(following - late, np.int64)
