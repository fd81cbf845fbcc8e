"""The driver: a machine over any transport. There is one, for simulations and boards."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any, Literal

import numpy as np

from spikeloom.calls import Calls
from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints, Words
from spikeloom.host.decode import OutputDecoder
from spikeloom.host.encode import InputEncoder, ReadPlan, clear_words, echo_words, image_reads, image_words, reset_words
from spikeloom.host.live import ArrayStream
from spikeloom.host.port import CLEAR_COUNTERS, RESET_ARRAY, Port
from spikeloom.host.progress import Bar, Progress
from spikeloom.host.readback import check_memories, read_back
from spikeloom.host.samples import Batch, Samples
from spikeloom.host.telemetry import Telemetry, no_sensors
from spikeloom.host.transport import Transport
from spikeloom.image import Image
from spikeloom.machine import Potentials, Result
from spikeloom.memories import Memory, memory_specs, state_memories
from spikeloom.packets import COMMANDS, RESPONSES, Command, Response
from spikeloom.registers import ADDRESS, IDENTITY, VERSION, shape_word

#: Words of a packet, in either direction: 32 MB, within one transfer of the AXI DMA (26 bits of length).
LIMIT = 1 << 22


class Driver(Calls):
    """Runs images on an array behind a transport; see :class:`spikeloom.machine.Machine`.

    While a packet is under way, the next one is encoded, and the answer to the last one decoded.

    Parameters
    ----------
    transport
        The array. The driver closes it.
    verify
        Read every image back after writing it.
    limit
        Words of a packet in either direction; a batch takes as many packets as it needs. A sample beyond the limit is split,
        and its cycles then include the time between packets.
    sensors
        Reads the board's sensors; a simulation has none.
    progress
        True shows a bar while a run takes long; or a function to tell.

    Raises MachineError when the array is none, of another version, or of other parameters.
    """

    def __init__(self, transport: Transport, *, verify: bool = False, limit: int = LIMIT,
                 sensors: Callable[[], Telemetry] | None = None, progress: bool | Progress = False) -> None:
        if limit < 1:
            raise ValueError(f"limit must be at least 1 word, not {limit}")
        super().__init__()
        self.params = transport.params
        self._transport, self._verify, self._limit = transport, verify, limit
        self._port = Port(transport)
        self._sensors = sensors or partial(no_sensors, "A simulation has no sensors.")
        self._progress = (Bar() if progress else lambda done, total: None) if isinstance(progress, bool) else progress
        self._specs = memory_specs(self.params)
        self._image: Image | None = None
        self._identify()

    def load(self, image: Image, *, verify: bool | None = None) -> None:
        """Write an image; ImageError when it was made for other parameters. ``verify`` reads it back (default: as the driver
        was made), and MachineError names the first entry that differs."""
        with self._alone("load"):
            self._load(image, self._verify if verify is None else verify)

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples; see :class:`spikeloom.machine.Machine`. ``stats`` are the registers' counts of this run, and the words
        sent and received. MachineError names the faults that the array reports; it can be used again afterwards."""
        with self._alone("run"):
            image = self._ready("run")
            dense, single = prepare(image, spikes)
            samples = Samples(image, self._encoder, self._decoder, dense, potentials, record, self._limit, self._values)
            self._progress(0, samples.samples)
            self._port.work(self._until_stopped(samples.batches(self._port.payload)), partial(samples.enter, tell=self._progress))
            return samples.result(self._port.counted(), single)

    def stream(self, *, potentials: Literal["none", "steps"] = "steps", record: Iterable[str] | None = None) -> ArrayStream:
        """See :class:`spikeloom.stream.Stream`. A submission is one packet, and one answer."""
        with self._alone("stream"):
            image = self._ready("stream")
            live = ArrayStream(image, potentials, record, self._released, port=self._port, encoder=self._encoder, decoder=self._decoder,
                               values=self._values, limit=self._limit)
            self._live = live
            return live

    def reset(self) -> None:
        """Forget all neuron state and waiting spikes, and start the counters anew; the image stays."""
        with self._alone("reset"):
            if self._image is not None:
                self._ready("reset")
            # Not RESET_ARRAY: it would also take the cores' CONTROL entries, which belong to the image.
            self._port.control(CLEAR_COUNTERS)
            self._port.exchange(np.concatenate([reset_words(), clear_words(self.params, state_memories(self.params))])).expect()
            self._port.start_counting()

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last run's last tick: int64 (neurons,) each."""
        with self._alone("probe"):
            places = self._loaded("probe").population(population)
            states = state_memories(self.params)
            plans = [ReadPlan.make(places, memory) for memory in states]
            answer = self._port.exchange(np.concatenate([plan.words for plan in plans]))
            answer.expect(data=sum(plan.count for plan in plans))
            parts = np.split(answer.data, np.cumsum([plan.count for plan in plans])[:-1])
            return {memory.name.lower(): self._values(memory, part)[plan.position]
                    for memory, plan, part in zip(states, plans, parts, strict=True)}

    def counters(self) -> dict[str, int]:
        """Counters since the last reset, by the names of the registers; 32 bits each, then from 0 again."""
        return self._port.counters()

    def measure_clock(self, seconds: float = 0.1, wall: Callable[[], float] = time.perf_counter,
                      sleep: Callable[[float], None] = time.sleep) -> float:
        """The array's clock in Hz, measured over so many seconds of a ``wall`` clock: ECHO tells the array's free-running counter."""
        with self._alone("measure_clock"):
            times, cycles = [], []
            for wait in (0.0, 0.0, seconds):  # the first warms up
                sleep(wait)
                answer = self._port.exchange(echo_words(self._port.payload()))
                times.append(wall())
                cycles.append(int(RESPONSES[Response.ECHO].unpack(answer.echoes)["cycles"][0]))
            return float(((cycles[2] - cycles[1]) % (1 << 32)) / (times[2] - times[1]))

    def echo(self, words: int) -> None:
        """Send so many ECHOs in one packet; MachineError unless each comes back, in order."""
        with self._alone("echo"):
            sent = np.arange(words) % (1 << 28)
            answer = self._port.exchange(COMMANDS[Command.ECHO].pack(opcode=int(Command.ECHO), payload=sent))
            answer.expect(echoes=words)
            if np.any(RESPONSES[Response.ECHO].unpack(answer.echoes)["payload"] != sent):
                raise MachineError(f"Of {words} words that the array should return, some came back changed or out of order")

    def check_memories(self) -> dict[str, int]:
        """Test the array's memories, see :func:`spikeloom.host.readback.check_memories`. No image is loaded afterwards."""
        with self._alone("check_memories"):
            self._image = None
            return check_memories(self._port, self.params, self._limit)

    def telemetry(self) -> dict[str, Any]:
        """Plain data: the ``counters``, and ``temperatures``, ``rails`` and ``notes`` as :class:`spikeloom.host.telemetry.Telemetry`."""
        return {"counters": self.counters(), **self._sensors().plain()}

    def close(self) -> None:
        """Close the transport."""
        super().close()
        self._transport.close()

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

    def _ready(self, verb: str) -> Image:
        """The image, written again if a failure has left the array in doubt."""
        image = self._loaded(verb)
        if self._port.failed:
            try:
                self._load(image, self._verify)
            finally:
                self._image = image  # to be tried again
        return image

    def _load(self, image: Image, verify: bool) -> None:
        image.require(self.params)
        encoder, decoder = InputEncoder(image), OutputDecoder(image)
        words = np.concatenate([reset_words(), clear_words(self.params), image_words(image)])
        self._image = None  # until the array holds it
        self._port.control(RESET_ARRAY | CLEAR_COUNTERS)
        reads = [(core, spec, part, image.entries(core, spec.memory)[spec.addresses().astype(np.int64)])
                 for core, spec, part in image_reads(image)] if verify else []
        read_back(self._port, self.params, words, reads, self._limit)
        self._image, self._encoder, self._decoder = image, encoder, decoder
        self._port.start_counting()
        self._port.failed = False

    def _until_stopped(self, batches: Iterator[Batch]) -> Iterator[Batch]:
        for batch in batches:
            self._check_stop()
            yield batch

    def _values(self, memory: Memory, data: Words) -> Ints:
        """DATA words as numbers, by the entry's record."""
        return self._specs[memory].entry.unpack(RESPONSES[Response.DATA].unpack(data)["data"])["value"]
