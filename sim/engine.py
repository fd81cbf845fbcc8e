"""The compiled engine: the golden model's results, bit for bit, many times faster.

The golden model is the specification; this is the same in C++ (``engine.cpp``) over tables that are made once for an image
(`engine_tables`). It follows the events: a spike costs a pass over the weights that it adds, a neuron a few vector instructions a
tick. Samples are shared out among threads, and Python goes on meanwhile.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image, PopulationMap
from spikeloom.machine import Potentials, Result, readings
from spikeloom.memories import state_memories
from spikeloom.params import ArrayParams
from spikeloom.sim.build import native_library
from spikeloom.sim.engine_layout import Layout, address
from spikeloom.sim.engine_tables import TABLES, tables
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.software import SoftwareMachine

SOURCES = [Path(__file__).with_name(name) for name in ("engine.cpp", "engine_general.h", "engine_steady.h", "engine_vectors.h")]
#: Why a sample stopped: `Reason` in engine_general.h. Any other number is a synaptic current.
_ACCUMULATOR = 1
#: What ``spikeloom_engine_run`` returns where not all is well.
_NO_MEMORY, _STOPPED = 1, 2
_STATES = ("current", "membrane", "refractory", "second_current")

#: What the engine is asked for. Readings are ordered by tick.
REQUEST = Layout("Request", {
    "samples": "int64", "steps": "int64", "ticks": "int64", "threads": "int64", "recorded": "int64", "readings": "int64",
    "input": "uintp[]", "input_size": "int64[]",                       # by input: bool (samples, steps, size)
    "spikes": "uintp[]", "size": "int64[]", "depth": "int64[]",        # by recorded population: bool (samples, steps, size), zeros
    "read_tick": "int64[]", "read_size": "int64[]", "read_place": "uintp[]", "read_into": "uintp[]", "read_stride": "int64[]",
    **dict.fromkeys(_STATES, "int64[]"),                               # of the last sample's neurons
    "stopped": "int64[]",                                              # (samples, 3): why (0: it did not), tick, where
    "counts": "int64[]",                                               # (2,): synapse words read, synaptic operations
})
_NO_READINGS: dict[str, Any] = {"readings": 0, **dict.fromkeys(("read_tick", "read_size", "read_place", "read_into", "read_stride"), 0)}


def engine_library(cache: Path | None = None) -> Path:
    """The engine as a shared library, compiled once for this processor; MachineError without a compiler."""
    header = f"#include <cstdint>\n{TABLES.declaration()}{REQUEST.declaration()}"
    return native_library(SOURCES, header, cache)


@cache
def _function(cache: Path | None) -> Any:
    function = ctypes.CDLL(str(engine_library(cache))).spikeloom_engine_run
    function.restype, function.argtypes = ctypes.c_int, [ctypes.c_void_p, ctypes.c_void_p]
    return function


class EngineMachine(SoftwareMachine):
    """The engine as a machine; it has no clock, so results have no cycles.

    Parameters
    ----------
    params
        The array. None takes the parameters of the first image that is loaded.
    threads
        Samples that run at a time; None for one a processor.
    cache
        Where the engine is compiled (default: `build.cache_directory`).

    ``form`` says what the loaded image allows: ``steady`` (32-bit integers, nothing can overflow), ``general`` (doubles, every current is
    looked at) or ``lanes`` (accumulators may overflow too). The result is the same, the first form the fastest.
    """

    form = "none"

    def __init__(self, params: ArrayParams | None = None, *, threads: int | None = None, cache: Path | None = None) -> None:
        if threads is not None and (isinstance(threads, bool) or not isinstance(threads, int) or threads < 1):
            raise MachineError(f"threads must be a positive number, or None for one a processor, not {threads!r}")
        super().__init__()
        self._threads = threads or len(os.sched_getaffinity(0))
        self._call = _function(cache)
        self._fixed = params
        self.params = params or ArrayParams()
        self._image: Image | None = None
        self._counters = {"TICKS": 0, "READS": 0, "SOPS": 0}

    def load(self, image: Image) -> None:
        """Make an image's tables; ImageError when it was made for other parameters."""
        with self._alone("load"):
            if self._fixed is not None:
                image.require(self._fixed)
            array = ArrayModel(image)
            values, self._place = tables(image, array)
            self.form = "steady" if values["steady"] else "lanes" if values["lanes"] else "general"
            self._tables, self._kept = TABLES.filled(values)
            self._array, self._image, self.params = array, image, image.params
            self._numbers: dict[str, tuple[Ints, Ints]] = {}
            self._recorded = {population.name: population.size for population in image.populations if population.recorded}
            self._sizes = {
                "size": np.array(list(self._recorded.values()), np.int64),
                "depth": np.array([image.population(name).depth for name in self._recorded], np.int64),
                "input_size": np.array([source.size for source in image.inputs], np.int64)}
            self._common = {"threads": self._threads, "recorded": len(self._recorded),
                            **{name: address(array) for name, array in self._sizes.items()}}
            self._last = self._state()

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples; see :class:`spikeloom.machine.Machine`. All samples are one batch: a run that was begun ends."""
        with self._alone("run"):
            return self._run(self._loaded("run"), spikes, potentials, record)

    def reset(self) -> None:
        """Forget all neuron state; the image stays."""
        with self._alone("reset"):
            self._loaded("reset")
            self._last = self._state()

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last tick of the last sample."""
        with self._alone("probe"):
            numbers, _ = self._places(self._loaded("probe").population(population))
            names = (memory.name.lower() for memory in state_memories(self.params))
            return {name: self._last[_STATES.index(name)][numbers] for name in names}

    def _state(self) -> Ints:
        """The zero state of all neurons, by the golden model's numbers: (states, neurons)."""
        return np.zeros((len(_STATES), self._array.neuron_count), np.int64)

    def _run(self, image: Image, spikes: InputSpikes, potentials: Potentials, record: Iterable[str] | None) -> Result:
        dense, single = prepare(image, spikes)
        self._check_stop()
        inputs = [np.ascontiguousarray(dense[source.name]) for source in image.inputs]
        samples, steps = inputs[0].shape[:2] if inputs else (1, 0)
        reads = self._readings(samples, readings(image, potentials, record, steps))
        states = reads.pop("states")
        found = {name: np.zeros((samples, steps, size), bool) for name, size in self._recorded.items()}
        last, stopped, counts = self._state(), np.zeros((samples, 3), np.int64), np.zeros(2, np.int64)
        ticks, begin = image.ticks(steps), address(last)
        request, _kept = REQUEST.filled({
            "samples": samples, "steps": steps, "ticks": ticks, "input": np.array([address(array) for array in inputs], np.uintp),
            "spikes": np.array([address(array) for array in found.values()], np.uintp), "stopped": stopped, "counts": counts,
            **{name: begin + i * last.strides[0] for i, name in enumerate(_STATES)}, **self._common, **reads})
        failed = self._call(address(self._tables), address(request))
        if failed == _NO_MEMORY:
            raise MachineError(f"There is not enough memory to run {samples} samples in {self._threads} threads")
        if failed == _STOPPED:
            raise self._overflow(stopped)
        stats = {"TICKS": ticks * samples, "READS": int(counts[0]), "SOPS": int(counts[1])}
        for name, count in stats.items():
            self._counters[name] += count
        self._last = last
        if potentials == "end":
            states = {name: array[:, 0] for name, array in states.items()}
        if single:
            found, states = ({name: array[0] for name, array in part.items()} for part in (found, states))
        return Result(image, found, states, None, stats)

    def _places(self, population: PopulationMap) -> tuple[Ints, Ints]:
        """The golden model's numbers of a population's neurons, and the engine's."""
        if population.name not in self._numbers:
            numbers = self._array.positions(population)
            self._numbers[population.name] = numbers, np.ascontiguousarray(self._place[numbers])
        return self._numbers[population.name]

    def _readings(self, samples: int, wanted: dict[int, list[PopulationMap]]) -> dict[str, Any]:
        """The request's fields for potentials that are read, and ``states``, (samples, readings, neurons) each, where they go."""
        if not wanted:
            return _NO_READINGS | {"states": {}}
        rows: list[tuple[int, PopulationMap, int]] = []
        count: dict[str, int] = {}
        for tick, populations in sorted(wanted.items()):
            for population in populations:
                rows.append((tick, population, count.get(population.name, 0)))
                count[population.name] = rows[-1][2] + 1
        maps = {population.name: population for _, population, _ in rows}
        states = {name: np.empty((samples, count[name], population.size), np.int64) for name, population in maps.items()}
        into = {name: address(array) for name, array in states.items()}
        places = {name: address(self._places(population)[1]) for name, population in maps.items()}
        fields = {"read_tick": [tick for tick, _, _ in rows], "read_size": [population.size for _, population, _ in rows],
                  "read_place": [places[population.name] for _, population, _ in rows],
                  "read_into": [into[population.name] + 8 * population.size * index for _, population, index in rows],
                  "read_stride": [count[population.name] * population.size for _, population, _ in rows]}
        return {"states": states, "readings": len(rows), **fields}

    def _overflow(self, stopped: Ints) -> MachineError:
        """The error of the earliest overflow of any sample, in the golden model's words."""
        tick, kind, place = min((tick, kind, place) for kind, tick, place in stopped[stopped[:, 0] != 0].tolist())
        accumulator = kind == _ACCUMULATOR
        core = self._array.core_at(self._array.sum_base if accumulator else self._array.neuron_base, place)
        return MachineError(f"Core {core}, tick {tick}: {'an accumulator' if accumulator else 'a synaptic current'} overflows; the "
                            f"image was not made by this compiler")
