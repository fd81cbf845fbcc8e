"""The golden model: the specification of the array in NumPy, read from the image's bits.

**A tick**, for every neuron of every core, all in integers:

1. Σ is the sum of the digits that the arriving axons select, joined over the neuron's slices:
   ``Σ = Σ_i 2^(W·(S−1−i)) · digit_i`` where lane sums are exact (a sum beyond the accumulator's width is an error, never a wrap).
2. ``u ← rtz(u · α) + 2^k · Σ``. u beyond its width is an error too: the compiler excludes it.
3. ``v ← saturate(rtz(v · β) + u + b)``, the one place where anything saturates.
4. The neuron spikes if its class does, v ≥ θ and its refractory count is 0. Then v ← saturate(v − reset) or v ← reset, and the
   count becomes the class's refractory period; else a count above 0 falls by one.
   With ``hold``, v keeps its old value in a tick that the neuron begins with a count above 0.
5. A neuron whose class leaves out this tick's phase (tick modulo ticks per step), or starts later in the sample, does none of
   this and sends nothing.

**Rounding** (rtz): the product with a gain g / 2^f is rounded toward zero, ``sign(x) · ((|x| · g) >> f)``. It is symmetric, so
that over states of either sign the mean error is zero; a decaying state always reaches 0.
**Saturation**: to the range of ``state_bits``, two's complement.

A spike of tick t with delay d is integrated in tick t + d; axons are hit additively. All state is zero when a sample begins.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.machine import Potentials, Result, readings
from spikeloom.params import ArrayParams
from spikeloom.sim.golden_core import CoreModel
from spikeloom.sim.golden_run import STATES, Batch, locate


class GoldenMachine:
    """The specification as a machine: NumPy, vectorised over samples; it has no clock, so results have no cycles.

    Parameters
    ----------
    params
        The array. None takes the parameters of the first image that is loaded.
    """

    def __init__(self, params: ArrayParams | None = None) -> None:
        self._fixed = params
        self.params = params or ArrayParams()
        self._image: Image | None = None
        self._cores: list[CoreModel] = []
        self._counters = {"TICKS": 0, "READS": 0, "SOPS": 0}
        self._last: list[dict[str, Ints]] = []

    def load(self, image: Image) -> None:
        """Unpack an image; ImageError when it was made for other parameters."""
        if self._fixed is not None:
            image.require(self._fixed)
        self.params = image.params
        self._cores = [CoreModel(image, (x, y)) for y in range(self.params.rows) for x in range(self.params.columns)]
        self._image = image
        self.reset()

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples; see :class:`spikeloom.machine.Machine`."""
        if self._image is None:
            raise MachineError("No image is loaded: call load(image) before run()")
        dense, single = prepare(self._image, spikes)
        steps = next(iter(dense.values())).shape[1] if dense else 0
        batch = Batch(self._image, self._cores, dense)
        result = batch.run(readings(self._image, potentials, record, steps), squeeze=potentials == "end")
        self._last = batch.final()
        for name in self._counters:
            self._counters[name] += int(result.stats[name])
        if not single:
            return result
        return Result(result.image, {name: array[0] for name, array in result.spikes.items()},
                      {name: array[0] for name, array in result.states.items()}, None, result.stats)

    def reset(self) -> None:
        """Forget all neuron state; the image stays."""
        self._last = [{name: np.zeros(len(core.neurons.where), np.int64) for name in STATES} for core in self._cores]

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last tick of the last sample."""
        if self._image is None:
            raise MachineError("No image is loaded: call load(image) before probe()")
        places = self._image.population(population)
        out = {name: np.zeros(places.size, np.int64) for name in STATES}
        for core, own, positions in locate(places, self._cores, self.params):
            for name in STATES:
                out[name][own] = self._last[core][name][positions]
        return out

    def counters(self) -> dict[str, int]:
        """Ticks, synapse words read, and synaptic operations (non-zero cells added), over all runs since loading."""
        return dict(self._counters)

    def close(self) -> None:
        """Nothing to let go of."""

    def __enter__(self) -> GoldenMachine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
