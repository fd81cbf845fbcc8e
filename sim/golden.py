"""The golden model: the specification of the array in NumPy, read from the image's bits.

**A tick**, for every neuron of every core, all in integers:

1. Σ_j, for each synaptic current j of the neuron (0, or 0 and 1 where the core's CURRENTS is 2), is the sum of the digits that
   the arriving axons select in the lanes of that current, joined over its slices: ``Σ_j = Σ_i 2^(W·(S−1−i)) · digit_i``, where
   lane sums are exact (a sum beyond the accumulator's width is an error, never a wrap). Slice i of current j of the neurons of
   group g lies in lane row ``(g · currents + j) · S + i``.
2. ``u_j ← rtz(u_j · α_j) + 2^k · Σ_j``, with one shift k for both. u_j beyond its width is an error too: the compiler excludes it.
   Where ``currents`` is 0, u is not kept from tick to tick: α = 0.
3. ``v ← saturate(rtz(v · β) + Σ_j u_j + b)``, the one place where anything saturates; the sum before it is exact.
   With ``floor``, then ``v ← max(v, saturate(−θ))``.
4. The neuron spikes if its class does, v ≥ θ and its refractory count is 0. Then v ← saturate(v − reset) or v ← reset, and the
   count becomes the class's refractory period; else a count above 0 falls by one.
   With ``hold``, v keeps its old value in a tick that the neuron begins with a count above 0; the currents go on.
5. A neuron whose class leaves out this tick's phase (tick modulo ticks per step), or starts later in the sample, does none of
   this and sends nothing.

**Rounding** (rtz): the product with a gain g / 2^f is rounded toward zero, ``sign(x) · ((|x| · g) >> f)``. It is symmetric, so
that over states of either sign the mean error is zero; a decaying state always reaches 0.
**Saturation**: to the range of ``state_bits``, two's complement.

A spike of tick t with delay d is integrated in tick t + d; axons are hit additively. All state is zero when a sample begins.

Every tick follows the events: hits to axons, axons to digits, neurons to destinations, over all samples at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.machine import Potentials, Result, readings
from spikeloom.memories import state_memories
from spikeloom.params import ArrayParams
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.golden_run import Batch
from spikeloom.sim.golden_stream import GoldenStream
from spikeloom.sim.software import SoftwareMachine

#: States of neurons that are updated together, samples times neurons: what a processor's cache holds.
_STATES = 1 << 18


class GoldenMachine(SoftwareMachine):
    """The specification as a machine: NumPy, vectorised over samples; it has no clock, so results have no cycles.

    Parameters
    ----------
    params
        The array. None takes the parameters of the first image that is loaded.
    """

    def __init__(self, params: ArrayParams | None = None) -> None:
        super().__init__()
        self._fixed = params
        self.params = params or ArrayParams()
        self._image: Image | None = None
        self._counters = {"TICKS": 0, "READS": 0, "SOPS": 0}
        self._last: dict[str, Ints] = {}

    def load(self, image: Image) -> None:
        """Unpack an image; ImageError when it was made for other parameters."""
        with self._alone("load"):
            if self._fixed is not None:
                image.require(self._fixed)
            self.params = image.params
            self._array = ArrayModel(image)
            self._image = image
            self._forget()

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples; see :class:`spikeloom.machine.Machine`."""
        with self._alone("run"):
            return self._run(self._loaded("run"), spikes, potentials, record)

    def stream(self, *, potentials: Literal["none", "steps"] = "steps", record: Iterable[str] | None = None) -> GoldenStream:
        """See :class:`spikeloom.stream.Stream`; a submission runs at once."""
        with self._alone("stream"):
            live = GoldenStream(self._loaded("stream"), potentials, record, self._released, array=self._array, ran=self._ran)
            self._live = live
            return live

    def reset(self) -> None:
        """Forget all neuron state; the image stays."""
        with self._alone("reset"):
            self._loaded("reset")
            self._forget()

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last tick of the last sample."""
        with self._alone("probe"):
            image = self._loaded("probe")
            places = self._array.positions(image.population(population))
            return {name: state[places] for name, state in self._last.items()}

    def _forget(self) -> None:
        self._last = {memory.name.lower(): np.zeros(self._array.neuron_count, np.int64)
                      for memory in state_memories(self.params)}

    def _run(self, image: Image, spikes: InputSpikes, potentials: Potentials, record: Iterable[str] | None) -> Result:
        dense, single = prepare(image, spikes)
        steps = next(iter(dense.values())).shape[1] if dense else 0
        samples = len(next(iter(dense.values()))) if dense else 1
        size = max(1, _STATES // max(1, self._array.neuron_count))
        wanted = readings(image, potentials, record, steps)
        parts = []
        stats = dict.fromkeys(self._counters, 0)
        for low in range(0, max(samples, 1), size):
            self._check_stop()
            batch = Batch(image, self._array, {name: array[low:low + size] for name, array in dense.items()})
            parts.append(batch.run(wanted))
            for name, count in batch.stats.items():
                stats[name] += count
            self._ran(batch.stats, batch.final())
        found, states = ({name: np.concatenate([part[name] for part in kind]) for name in kind[0]}
                         for kind in zip(*parts, strict=True))
        if potentials == "end":
            states = {name: array[:, 0] for name, array in states.items()}
        result = Result(image, found, states, None, stats)
        if not single:
            return result
        return Result(result.image, {name: array[0] for name, array in result.spikes.items()},
                      {name: array[0] for name, array in result.states.items()}, None, result.stats)

    def _ran(self, stats: dict[str, int], last: dict[str, Ints]) -> None:
        """Ticks have run: these counts, and the state after them."""
        for name, count in stats.items():
            self._counters[name] += count
        self._last = last
