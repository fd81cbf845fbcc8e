"""The golden model's ticks: one batch of samples, all cores; the equations stand in ``golden.py``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.events import Spikes
from spikeloom.fields import Ints
from spikeloom.image import Image, PopulationMap
from spikeloom.machine import Result
from spikeloom.params import ArrayParams
from spikeloom.sim.golden_core import Branch, CoreModel

Reals = npt.NDArray[np.float64]
STATES = ("current", "membrane", "refractory")


def rtz(state: Ints, gain: Ints, fraction: int) -> Ints:
    """``state · gain / 2**fraction`` rounded toward zero."""
    rounded: Ints = np.sign(state) * ((np.abs(state) * gain) >> fraction)
    return rounded


def saturate(state: Ints, bits: int) -> Ints:
    """Clip to two's complement of ``bits``."""
    return np.clip(state, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def locate(population: PopulationMap, cores: list[CoreModel], params: ArrayParams) -> list[tuple[int, Ints, Ints]]:
    """Where a population lies: for each core that has some of it, its number, the neurons, and their positions in the core."""
    home = population.column("y") * params.columns + population.column("x")
    found = []
    for core in np.unique(home):
        own = np.flatnonzero(home == core)
        where = cores[core].neurons.where
        positions = np.searchsorted(where, population.column("neuron")[own])
        if np.any(positions >= len(where)) or np.any(where[positions] != population.column("neuron")[own]):
            raise MachineError(f"Population {population.name!r} has neurons that core {core} does not update")
        found.append((int(core), own, positions))
    return found


class _Integrator:
    """Sums of a core for the axons hit in a tick. Matrix products of floats are exact here: all are below 2**53."""

    def __init__(self, core: CoreModel, params: ArrayParams) -> None:
        self.used = np.flatnonzero(core.reads > 0)
        self.digits = core.digits[self.used].astype(np.float64)
        self.weights = core.sums[self.used].astype(np.float64)
        self.reads = core.reads[self.used].astype(np.float64)
        self.useful = np.count_nonzero(core.sums[self.used], axis=1).astype(np.float64)
        self.limit = 1 << (params.accumulator_bits - 1)
        positive = np.where(self.digits > 0, self.digits, 0).sum(axis=0).max(initial=0)
        negative = np.where(self.digits < 0, self.digits, 0).sum(axis=0).min(initial=0)
        self.safe = positive < self.limit and negative >= -self.limit

    def sums(self, hits: Reals, where: str) -> Ints:
        """Σ of every neuron: (samples, neurons)."""
        hits = hits[:, self.used]
        if not self.safe or hits.max(initial=0) > 1:
            lanes = hits @ self.digits
            if lanes.max(initial=0) >= self.limit or lanes.min(initial=0) < -self.limit:
                raise MachineError(f"{where}: an accumulator overflows; the image was not made by this compiler")
        return (hits @ self.weights).astype(np.int64)

    def work(self, hits: Reals) -> tuple[int, int]:
        """Synapse words read, and synaptic operations (weights other than zero added)."""
        per_axon = hits[:, self.used].sum(axis=0)
        return int(per_axon @ self.reads), int(per_axon @ self.useful)


class Batch:
    """The state of every core, (samples, neurons) each, and a ring of the axon hits to come."""

    def __init__(self, image: Image, cores: list[CoreModel], inputs: dict[str, Spikes]) -> None:
        self.image, self.params, self.cores, self.inputs = image, image.params, cores, inputs
        self.samples, self.steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)
        self.ring = self.params.delays + 1
        self.hits = [np.zeros((self.ring, self.samples, self.params.core_axons)) for _ in cores]
        self.state = [{name: np.zeros((self.samples, len(core.neurons.where)), np.int64) for name in STATES}
                      for core in cores]
        self.integrators = [_Integrator(core, self.params) for core in cores]
        self.routes = {source.name: self._routes(source.routes) for source in image.inputs}
        self.stats = {"TICKS": 0, "READS": 0, "SOPS": 0}

    def run(self, reads: dict[int, list[PopulationMap]], squeeze: bool) -> Result:
        """All ticks of all samples; ``squeeze`` drops the steps axis of states that are read once."""
        image, k = self.image, self.image.ticks_per_step
        spikes = {p.name: np.zeros((self.samples, self.steps, p.size), bool) for p in image.populations if p.recorded}
        states: dict[str, list[Ints]] = {}
        total = image.ticks(self.steps)
        for tick in range(total):
            self._inject(tick)
            outputs = np.zeros((self.samples, self.params.output_blocks * self.params.block), bool)
            fired = [self._update(i, tick) for i in range(len(self.cores))]
            for core, active in zip(self.cores, fired, strict=True):
                for branch in core.branches:
                    self._send(branch, core, active, tick, outputs)
            for population in image.populations:
                step, rest = divmod(tick - population.depth, k)
                if population.recorded and rest == 0 and 0 <= step < self.steps:
                    spikes[population.name][:, step] = outputs[:, population.column("output")]
            for population in reads.get(tick, ()):
                states.setdefault(population.name, []).append(self._membranes(population))
        self.stats["TICKS"] += total * self.samples
        stacked = {name: np.stack(parts, axis=1) for name, parts in states.items()}
        if squeeze:
            stacked = {name: array[:, 0] for name, array in stacked.items()}
        return Result(image, spikes, stacked, None, dict(self.stats))

    def final(self) -> list[dict[str, Ints]]:
        """The last sample's state of each core, (neurons,) each."""
        return [{name: state[name][-1].copy() if self.samples else np.zeros(state[name].shape[1], np.int64)
                 for name in STATES} for state in self.state]

    def _membranes(self, population: PopulationMap) -> Ints:
        """v of a population: (samples, neurons)."""
        gathered = np.zeros((self.samples, population.size), np.int64)
        for core, own, positions in locate(population, self.cores, self.params):
            gathered[:, own] = self.state[core]["membrane"][:, positions]
        return gathered

    def _routes(self, routes: Ints) -> list[tuple[int, int, Ints, Ints]]:
        """Routes by core and tick offset: (core, tick, neurons, axons), no axon twice in one of them."""
        found: dict[tuple[int, int, int], tuple[list[int], list[int]]] = {}
        seen: dict[tuple[int, int, int], int] = {}
        for neuron, tick, x0, x1, y0, y1, axon in routes.tolist():
            for y in range(y0, y1 + 1):
                for x in range(x0, x1 + 1):
                    core = y * self.params.columns + x
                    turn = seen[core, tick, axon] = seen.get((core, tick, axon), -1) + 1
                    neurons, axons = found.setdefault((core, tick, turn), ([], []))
                    neurons.append(neuron)
                    axons.append(axon)
        return [(core, tick, np.array(neurons), np.array(axons)) for (core, tick, _), (neurons, axons) in found.items()]

    def _inject(self, tick: int) -> None:
        for source in self.image.inputs:
            for core, offset, neurons, axons in self.routes[source.name]:
                step, rest = divmod(tick - offset, self.image.ticks_per_step)
                if rest == 0 and 0 <= step < self.steps:
                    self.hits[core][tick % self.ring][:, axons] += self.inputs[source.name][:, step, neurons]

    def _update(self, index: int, tick: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """One tick of one core; returns spikes (samples, neurons) and which neurons were in phase (neurons,)."""
        core, params, state = self.cores[index], self.params, self.state[index]
        neurons, hits = core.neurons, self.hits[index][tick % self.ring]
        where = f"Core ({index % params.columns}, {index // params.columns}), tick {tick}"
        total = self.integrators[index].sums(hits, where)
        reads, operations = self.integrators[index].work(hits)
        self.stats["READS"] += reads
        self.stats["SOPS"] += operations
        hits[:] = 0

        current = rtz(state["current"], neurons.current_gain, params.gain_bits) + (total << neurons.shift)
        if current.size and np.any(saturate(current, params.state_bits) != current):
            raise MachineError(f"{where}: a synaptic current overflows; the image was not made by this compiler")
        membrane = saturate(rtz(state["membrane"], neurons.membrane_gain, params.gain_bits) + current + neurons.bias,
                            params.state_bits)
        resting = state["refractory"] > 0
        spikes = (membrane >= neurons.threshold) & ~resting & (neurons.spiking != 0)
        after = np.where(neurons.subtract != 0, saturate(membrane - neurons.reset, params.state_bits), neurons.reset)
        membrane = np.where(spikes, after, membrane)
        membrane = np.where((neurons.hold != 0) & resting, state["membrane"], membrane)
        refractory = np.where(spikes, neurons.refractory, np.maximum(state["refractory"] - 1, 0))

        phase = ((neurons.phases >> (tick % self.image.ticks_per_step) & 1) != 0) & (tick >= neurons.start)
        state["current"] = np.where(phase, current, state["current"])
        state["membrane"] = np.where(phase, membrane, state["membrane"])
        state["refractory"] = np.where(phase, refractory, state["refractory"])
        return spikes & phase, phase

    def _send(self, branch: Branch, core: CoreModel, fired: tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]], tick: int,
              outputs: npt.NDArray[np.bool_]) -> None:
        spikes, phase = fired
        if branch.plane < 0:
            sent = spikes[:, branch.neurons]
        else:
            membrane = self.state[self.cores.index(core)]["membrane"][:, branch.neurons]
            sent = ((membrane >> branch.plane & 1) != 0) & (phase & (core.neurons.spiking == 0))[branch.neurons]
        if not branch.cores:
            outputs[:, branch.axons] |= sent
        for target in branch.cores:
            self.hits[target][(tick + branch.delay) % self.ring][:, branch.axons] += sent
