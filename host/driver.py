"""The driver: a machine over any transport. There is one, for simulations and boards."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes, Spikes, prepare
from spikeloom.fields import Ints, Words
from spikeloom.host.decode import Answer, OutputDecoder, cycles_per_sample
from spikeloom.host.encode import (
    InputEncoder,
    ReadPlan,
    clear_words,
    cut,
    echo_words,
    image_reads,
    image_words,
    mark_ticks,
    reset_words,
    sample_words,
)
from spikeloom.host.transport import Transport
from spikeloom.image import Image, PopulationMap
from spikeloom.machine import Potentials, Result, readings
from spikeloom.memories import Memory, memory_specs, state_memories
from spikeloom.packets import RESPONSES, Response
from spikeloom.registers import ADDRESS, IDENTITY, VERSION, shape_word

#: Bits of the CONTROL register.
RESET_ARRAY = 1
CLEAR_COUNTERS = 2
#: Registers that count since the last reset.
COUNTERS = ("CYCLES", "TICKS", "ACTIVE", "READS", "EVENTS", "SPIKES", "STALLS")
#: Words of a packet, in either direction: 32 MB, within one transfer of the AXI DMA (26 bits of length).
LIMIT = 1 << 22

#: (ticks after which to read, and what; positions count DATA words of one sample)
Readings = list[tuple[int, int, PopulationMap, ReadPlan]]


class Driver:
    """Runs images on an array behind a transport; see :class:`spikeloom.machine.Machine`.

    Parameters
    ----------
    transport
        The array. The driver closes it.
    verify
        Read every image back after writing it.
    limit
        Words of a packet in either direction; a batch takes as many packets as it needs. A sample beyond the limit is split,
        and its cycles then include the time between packets.

    Raises MachineError when the array is none, of another version, or of other parameters.
    """

    def __init__(self, transport: Transport, *, verify: bool = False, limit: int = LIMIT) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 word, not {limit}")
        self.params = transport.params
        self._transport, self._verify, self._limit = transport, verify, limit
        self._specs = memory_specs(self.params)
        self._image: Image | None = None
        self._payload = 0
        self._failed = False  # a transfer was cut short: the array's memories are not trusted until the image is written again
        self._identify()

    def load(self, image: Image, *, verify: bool | None = None) -> None:
        """Write an image; ImageError when it was made for other parameters. ``verify`` reads it back (default: as the driver
        was made), and MachineError names the first entry that differs."""
        image.require(self.params)
        encoder, decoder = InputEncoder(image), OutputDecoder(image)
        words = [reset_words(), clear_words(self.params), image_words(image)]
        self._image = None  # until the array holds it
        self._transport.write_register(ADDRESS["CONTROL"], RESET_ARRAY | CLEAR_COUNTERS)
        reads = image_reads(image) if (self._verify if verify is None else verify) else []
        lengths = [len(spec.addresses()) for _, spec, _ in reads]
        answer = self._exchange(np.concatenate(words + [part for _, _, part in reads]))
        answer.expect(data=sum(lengths))
        found = RESPONSES[Response.DATA].unpack(answer.data)["data"]
        for (core, spec, _), part in zip(reads, np.split(found, np.cumsum(lengths)[:-1]) if reads else [], strict=True):
            wanted = image.entries(core, spec.memory)[spec.addresses().astype(np.int64)]
            wrong = np.flatnonzero((part.astype(np.uint64) ^ wanted) & np.uint64((1 << spec.entry.bits) - 1))
            if len(wrong):
                at = int(wrong[0])
                raise MachineError(f"Core {core}: {spec.memory.name} entry {int(spec.addresses()[at])} reads back as "
                                   f"0x{int(part[at]):x}, not 0x{int(wanted[at]):x} ({len(wrong)} entries differ)")
        self._image, self._encoder, self._decoder = image, encoder, decoder
        self._last_counters = self.counters()
        self._failed = False

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples; see :class:`spikeloom.machine.Machine`. ``stats`` are the registers' counts of this run, and the words
        sent and received. MachineError names the faults that the array reports; it can be used again afterwards."""
        image = self._loaded("run")
        if self._failed:
            self.load(image)
        dense, single = prepare(image, spikes)
        samples, steps = next(iter(dense.values())).shape[:2] if dense else (1, 0)
        wanted = readings(image, potentials, record, steps)
        output = self._decoder.empty(samples, steps)
        states = self._states(wanted, samples, None if potentials == "end" else steps)
        cycles = np.zeros(samples, np.int64)
        words = np.zeros(2, np.int64)
        if samples and steps:
            plan, per_sample = self._plan(wanted)
            batch = max(1, self._limit // self._bound(image.ticks(steps), plan, per_sample))
            for low in range(0, samples, batch):
                part = {name: array[low:low + batch] for name, array in dense.items()}
                self._failed = True  # until the batch's answer has proved right
                words += self._run_batch(image, part, low, plan, per_sample, output, states, cycles)
                self._failed = False
        stats = self._counted() | {"WORDS_SENT": int(words[0]), "WORDS_RECEIVED": int(words[1])}
        if not single:
            return Result(image, output, states, cycles, stats)
        return Result(image, {name: array[0] for name, array in output.items()},
                      {name: array[0] for name, array in states.items()}, cycles.reshape(()), stats)

    def reset(self) -> None:
        """Forget all neuron state and waiting spikes, and start the counters anew; the image stays."""
        if self._failed and self._image is not None:
            self.load(self._image)
        # Not RESET_ARRAY: it would also take the cores' CONTROL entries, which belong to the image.
        self._transport.write_register(ADDRESS["CONTROL"], CLEAR_COUNTERS)
        self._exchange(np.concatenate([reset_words(), clear_words(self.params, state_memories(self.params))])).expect()
        self._last_counters = self.counters()

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last run's last tick: int64 (neurons,) each."""
        places = self._loaded("probe").population(population)
        states = state_memories(self.params)
        plans = [ReadPlan.make(places, memory) for memory in states]
        answer = self._exchange(np.concatenate([plan.words for plan in plans]))
        answer.expect(data=sum(plan.count for plan in plans))
        parts = np.split(answer.data, np.cumsum([plan.count for plan in plans])[:-1])
        return {memory.name.lower(): self._values(memory, part)[plan.position]
                for memory, plan, part in zip(states, plans, parts, strict=True)}

    def counters(self) -> dict[str, int]:
        """Counters since the last reset, by the names of the registers; 32 bits each, then from 0 again."""
        return {name: self._transport.read_register(ADDRESS[name]) for name in COUNTERS}

    def close(self) -> None:
        """Close the transport."""
        self._transport.close()

    def __enter__(self) -> Driver:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _identify(self) -> None:
        """MachineError unless the array is the one that the transport's parameters describe."""
        digest = int(self.params.digest()[:8], 16)
        found = {name: self._transport.read_register(ADDRESS[name]) for name in ("IDENTITY", "VERSION", "DIGEST", "SHAPE")}
        if found["IDENTITY"] != IDENTITY:
            raise MachineError(f"There is no Spikeloom array: IDENTITY reads 0x{found['IDENTITY']:08x}, not 0x{IDENTITY:08x}. "
                               f"Check the address and that the bitstream is loaded")
        if found["VERSION"] != VERSION:
            raise MachineError(f"The array has version {found['VERSION']} of the contract, this driver {VERSION}: use matching "
                               f"releases, or build the array again")
        if found["SHAPE"] != shape_word(self.params):
            shape = found["SHAPE"]
            raise MachineError(f"The array has {shape & 31} × {shape >> 5 & 31} cores of {shape >> 10 & 0xFFF} lanes and "
                               f"{shape >> 22} folds, the parameters say {self.params.columns} × {self.params.rows} of "
                               f"{self.params.lanes} and {self.params.folds}: open it with the parameters that it was built with")
        if found["DIGEST"] != digest:
            raise MachineError(f"The array has the expected shape, but other parameters or memories: digest "
                               f"0x{found['DIGEST']:08x}, not 0x{digest:08x}. Open it with the parameters that it was built with")

    def _loaded(self, verb: str) -> Image:
        if self._image is None:
            raise MachineError(f"No image is loaded: call load(image) before {verb}()")
        return self._image

    def _exchange(self, *packets: Words) -> Answer:
        """Send packets; the answers joined. MachineError when they name faults, which are cleared."""
        try:
            answer = Answer.read(np.concatenate([self._transport.exchange(packet) for packet in packets]))
        except MachineError:
            self._failed = True
            self._last_counters = dict.fromkeys(COUNTERS, 0)  # a transport that recovers resets the array
            raise
        faults = answer.faults()
        if faults:
            self._transport.write_register(ADDRESS["CONTROL"], RESET_ARRAY | CLEAR_COUNTERS)
            self._failed = True
            self._last_counters = dict.fromkeys(COUNTERS, 0)
            raise MachineError(f"The array reports {faults}")
        return answer

    def _counted(self) -> dict[str, int]:
        """What the counters gained since they were read last."""
        now, before = self.counters(), self._last_counters
        self._last_counters = now
        return {name: (now[name] - before[name]) % (1 << 32) for name in COUNTERS}

    def _values(self, memory: Memory, data: Words) -> Ints:
        """DATA words as numbers, by the entry's record."""
        return self._specs[memory].entry.unpack(RESPONSES[Response.DATA].unpack(data)["data"])["value"]

    def _states(self, wanted: dict[int, list[PopulationMap]], samples: int, steps: int | None) -> dict[str, Ints]:
        shape = (samples,) if steps is None else (samples, steps)
        chosen = {population.name: population.size for populations in wanted.values() for population in populations}
        return {name: np.zeros((*shape, size), np.int64) for name, size in chosen.items()}

    def _plan(self, wanted: dict[int, list[PopulationMap]]) -> tuple[Readings, int]:
        """Readings in the order of their ticks, and the number of DATA words of a sample."""
        made: dict[str, ReadPlan] = {}
        plan: Readings = []
        count = 0
        for tick, populations in sorted(wanted.items()):
            for population in populations:
                reads = made.setdefault(population.name, ReadPlan.make(population, Memory.MEMBRANE))
                plan.append((tick, count, population, reads))
                count += reads.count
        return plan, count

    def _bound(self, ticks: int, plan: Readings, per_sample: int) -> int:
        """Words of a sample, in the direction that has more, at the most."""
        sent = ticks * (len(self._encoder.headers) + 1) + sum(len(reads.words) for _, _, _, reads in plan)
        received = ticks * self._decoder.rows() + per_sample + len(mark_ticks(ticks))
        return max(sent, received)

    def _run_batch(self, image: Image, dense: dict[str, Spikes], low: int, plan: Readings, per_sample: int,
                   output: dict[str, Spikes], states: dict[str, Ints], cycles: Ints) -> tuple[int, int]:
        """Run some samples and enter their results from sample ``low`` on; returns the words sent and received."""
        samples, steps = next(iter(dense.values())).shape[:2]
        ticks, k = image.ticks(steps), image.ticks_per_step
        reads: dict[int, list[Words]] = {}
        for tick, _, _, part in plan:
            reads.setdefault(tick, []).append(part.words)
        commands = sample_words(self._encoder.masks(dense, ticks), self._encoder.headers,
                                {tick: np.concatenate(parts) for tick, parts in reads.items()}, k)
        self._payload = (self._payload + 1) % (1 << 28)
        words = np.concatenate([reset_words(), echo_words(self._payload), commands])
        whole = samples * self._bound(ticks, plan, per_sample) <= self._limit
        answer = self._exchange(*([words] if whole else cut(words, self._limit, self._decoder.rows())))
        marks = mark_ticks(ticks)
        answer.expect(data=samples * per_sample, marks=samples * len(marks), echoes=1)
        if RESPONSES[Response.ECHO].unpack(answer.echoes)["payload"][0] != self._payload:
            raise MachineError("The array answered an earlier packet: reset it, or load the image again")
        self._decoder.fill(output, answer, low, samples, marks)
        cycles[low:low + samples] = cycles_per_sample(answer, samples)
        data = self._values(Memory.MEMBRANE, answer.data).reshape(samples, per_sample)
        for tick, start, population, part in plan:
            values = data[:, start + part.position]
            target = states[population.name][low:low + samples]
            if target.ndim == 2:
                target[:] = values
            else:
                target[:, (tick - population.depth) // k] = values
        return len(words), answer.size
