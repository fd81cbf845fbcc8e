"""What every machine does with an image, and what it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, Spikes
from spikeloom.fields import Ints
from spikeloom.image import Image, PopulationMap
from spikeloom.params import ArrayParams

if TYPE_CHECKING:
    from spikeloom.stream import Stream

#: When potentials are read: not at all, after each sample's last step, or after every step.
Potentials = Literal["none", "end", "steps"]
Self = TypeVar("Self")  # typing.Self needs Python 3.11, the boards have 3.10


@dataclass(frozen=True)
class Result:
    """What a run returns. A run given one sample without a samples axis returns arrays without it.

    ``spikes[name]`` is bool (samples, steps, neurons) for each recorded population, in the network's steps.
    ``states[name]`` are membrane potentials in state units, int64, (samples, neurons) or (samples, steps, neurons).
    ``cycles`` are clock cycles per sample, None where a machine has no clock. ``stats`` are further exact counts.
    """

    image: Image
    spikes: dict[str, Spikes]
    states: dict[str, Ints]
    cycles: Ints | None = None
    stats: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, Ints]:
        """Spikes per neuron over the steps: (samples, neurons)."""
        return {name: spikes.sum(axis=-2, dtype=np.int64) for name, spikes in self.spikes.items()}

    @property
    def potentials(self) -> dict[str, npt.NDArray[np.float64]]:
        """Membrane potentials in the network's units."""
        return {name: states / self.image.population(name).scale for name, states in self.states.items()}

    def raster(self, sample: int = 0) -> Any:
        """A matplotlib figure of the spikes of one sample."""
        from spikeloom.host.compiler.plot import raster
        return raster(self, sample)


@runtime_checkable
class Machine(Protocol):
    """A bit-exact model, simulated RTL, or a board."""

    params: ArrayParams

    def load(self, image: Image) -> None:
        """Take over an image; ImageError when it was made for other parameters."""

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """Run samples, each from the zero state. ``record`` names the populations whose potentials are read
        (default: those that never spike)."""

    async def run_async(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """`run` as a coroutine, see :class:`spikeloom.calls.Calls`."""

    def stream(self, *, potentials: Literal["none", "steps"] = "steps", record: Iterable[str] | None = None) -> Stream:
        """Live input: a :class:`spikeloom.stream.Stream`. MachineError where the machine takes whole samples only."""

    def reset(self) -> None:
        """Forget all neuron state and waiting spikes; the image stays."""

    def probe(self, population: str) -> dict[str, Ints]:
        """State of a population after the last run's last tick: ``current``, ``membrane``, ``refractory``, and where the array's
        neurons may have two currents ``second_current``, int64 (neurons,) each."""

    def counters(self) -> dict[str, int]:
        """Counters since the last reset, by the names of the registers."""

    def close(self) -> None:
        """Let go of the board or the simulator."""

    def __enter__(self: Self) -> Self: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None: ...


def readings(image: Image, potentials: Potentials, record: Iterable[str] | None, steps: int) -> dict[int, list[PopulationMap]]:
    """Which populations' potentials are read after which tick of a sample."""
    if potentials not in ("none", "end", "steps"):
        raise InputError(f"potentials must be 'none', 'end' or 'steps', not {potentials!r}")
    if record is None:
        chosen = [population for population in image.populations if not population.spiking]
    else:
        chosen = [image.population(name) for name in record]
    wanted: Mapping[str, range] = {"none": range(0), "end": range(max(steps - 1, 0), steps), "steps": range(steps)}
    reads: dict[int, list[PopulationMap]] = {}
    for step in wanted[potentials]:
        for population in chosen:
            reads.setdefault(step * image.ticks_per_step + population.depth, []).append(population)
    return reads


def joined(results: Sequence[Result]) -> Result:
    """Runs of one image on consecutive samples, at least one run, as one run: its ``stats`` add up, ``cycles`` are None where a run
    has none."""
    def together(parts: list[Any]) -> dict[str, Any]:
        return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

    clocks = [np.asarray(result.cycles) for result in results if result.cycles is not None]
    stats: dict[str, Any] = {}
    for result in results:
        for name, value in result.stats.items():
            stats[name] = stats.get(name, 0) + value
    return Result(results[0].image, together([result.spikes for result in results]), together([result.states for result in results]),
                  np.concatenate(clocks) if len(clocks) == len(results) else None, stats)
