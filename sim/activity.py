"""What a network does, neuron by neuron and tick by tick, by the golden model: the events from which cycles are predicted."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.sim.golden_array import ArrayModel
from spikeloom.sim.golden_run import Batch

Bools = npt.NDArray[np.bool_]

#: Neurons times samples that are updated together: their states stay in the cache.
_STATES = 1 << 18


class _Watched(Batch):
    """A batch that keeps what every tick sends."""

    def __init__(self, image: Image, array: ArrayModel, inputs: dict[str, Bools]) -> None:
        super().__init__(image, array, inputs)
        self.fired: list[Bools] = []
        self.open: list[Bools] = []
        self.membrane: list[Ints] = []

    def _send(self, fired: Bools, open_: Bools) -> Bools:
        self.fired.append(fired)
        self.open.append(open_)
        if self.array.planes:
            self.membrane.append(self.state["membrane"].copy())
        return super()._send(fired, open_)


def activity(image: Image, spikes: InputSpikes) -> tuple[list[Bools], list[Bools], list[Ints] | None, int]:
    """Run samples and keep every event: spikes of all neurons in use, core by core (row by row of the mesh), bool (samples, ticks,
    neurons) each; whose potentials could be sent, bool (ticks, neurons) each; the potentials, int64 (samples, ticks, neurons) each, or
    None where no destination sends any; and the synapse words read.

    Errors are those of :meth:`spikeloom.sim.golden.GoldenMachine.run`.
    """
    dense, _ = prepare(image, spikes)
    array = ArrayModel(image)
    samples, size = len(next(iter(dense.values()), ())), max(1, _STATES // max(1, array.neuron_count))
    batches = []
    for low in range(0, max(samples, 1), size):
        batches.append(_Watched(image, array, {name: values[low:low + size] for name, values in dense.items()}))
        batches[-1].run({})
    if not batches[0].fired:
        raise InputError("Events need at least one step of input")
    cuts = array.neuron_base[1:-1]
    fired = np.split(np.concatenate([np.stack(batch.fired, axis=1) for batch in batches]), cuts, axis=2)
    open_ = np.split(np.stack(batches[0].open), cuts, axis=1)  # the same for every sample
    membrane = None
    if array.planes:
        membrane = np.split(np.concatenate([np.stack(batch.membrane, axis=1) for batch in batches]), cuts, axis=2)
    return fired, open_, membrane, sum(batch.stats["READS"] for batch in batches)
