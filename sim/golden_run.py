"""The golden model's ticks: one batch of samples, all cores; the equations stand in ``golden.py``."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.errors import MachineError
from spikeloom.events import Spikes
from spikeloom.fields import Ints
from spikeloom.image import Image, PopulationMap
from spikeloom.memories import state_memories
from spikeloom.sim.golden_array import ArrayModel, Fan
from spikeloom.stream import steps_within

Bools = npt.NDArray[np.bool_]


def rtz(state: Ints, gain: Ints, fraction: int) -> Ints:
    """``state · gain / 2**fraction`` rounded toward zero."""
    rounded: Ints = np.sign(state) * ((np.abs(state) * gain) >> fraction)
    return rounded


def saturate(state: Ints, bits: int) -> Ints:
    """Clip to two's complement of ``bits``."""
    return np.clip(state, -(1 << (bits - 1)), (1 << (bits - 1)) - 1)


class Batch:
    """The state of every neuron, (samples, neurons) each, and the axon hits to come.

    ``waiting[d]`` are hits d ticks after this one: pairs of arrays (sample, axon), int64 (hits,) each.
    """

    def __init__(self, image: Image, array: ArrayModel, inputs: dict[str, Spikes]) -> None:
        self.image, self.params, self.array = image, image.params, array
        self.take(inputs, 0)
        self.state = {memory.name.lower(): np.zeros((self.samples, array.neuron_count), np.int64)
                      for memory in state_memories(self.params)}
        self.waiting: list[list[tuple[Ints, Ints]]] = [[] for _ in range(self.params.delays + 1)]
        self.stats = {"TICKS": 0, "READS": 0, "SOPS": 0}

    def take(self, inputs: dict[str, Spikes], step: int) -> None:
        """The input from now on: spikes (samples, steps, size) of the steps from ``step`` on."""
        self.inputs, self.first = inputs, step
        self.samples, self.steps = next(iter(inputs.values())).shape[:2] if inputs else (1, 0)

    def run(self, reads: dict[int, list[PopulationMap]]) -> tuple[dict[str, Spikes], dict[str, Ints]]:
        """All ticks of all samples: spikes (samples, steps, neurons) of the recorded populations, and potentials (samples,
        readings, neurons) of those that are read."""
        spikes, states = self.advance(0, self.image.ticks(self.steps), reads)
        return {name: array[:, :self.steps] for name, array in spikes.items()}, states

    def advance(self, first: int, ticks: int, reads: dict[int, list[PopulationMap]]) -> tuple[dict[str, Spikes], dict[str, Ints]]:
        """``ticks`` ticks from ``first`` on, the next one: spikes and potentials as `run` returns them, of the steps within."""
        k = self.image.ticks_per_step
        recorded = [(p, steps_within(self.image, p, first, ticks)) for p in self.image.populations if p.recorded]
        spikes = {p.name: np.zeros((self.samples, len(within), p.size), bool) for p, within in recorded}
        states: dict[str, list[Ints]] = {}
        places = {p.name: self.array.positions(p) for populations in reads.values() for p in populations}
        for tick in range(first, first + ticks):
            self._inject(tick)
            fired, open_ = self._update(tick)
            outputs = self._send(fired, open_)
            for population, within in recorded:
                step, rest = divmod(tick - population.depth, k)
                if rest == 0 and step in within:
                    spikes[population.name][:, step - within.start] = outputs[:, population.column("output")]
            for population in reads.get(tick, ()):
                states.setdefault(population.name, []).append(self.state["membrane"][:, places[population.name]])
        self.stats["TICKS"] += ticks * self.samples
        return spikes, {name: np.stack(parts, axis=1) for name, parts in states.items()}

    def final(self) -> dict[str, Ints]:
        """The last sample's state, (neurons,) each; zero without samples."""
        return {name: state[-1].copy() if self.samples else np.zeros(state.shape[1], np.int64)
                for name, state in self.state.items()}

    def _inject(self, tick: int) -> None:
        for source in self.image.inputs:
            for offset, fan in self.array.inputs[source.name].items():
                step, rest = divmod(tick - offset, self.image.ticks_per_step)
                if rest == 0 and 0 <= step - self.first < self.steps:
                    self._hit(0, fan, *np.nonzero(self.inputs[source.name][:, step - self.first]))

    def _hit(self, delay: int, fan: Fan, sample: Ints, source: Ints) -> None:
        owner, entry = fan.reach(source)
        self.waiting[delay].append((sample[owner], fan.target[entry]))

    def _sums(self, tick: int) -> list[Ints]:
        """Σ of every neuron for each of its currents: (samples, neurons) each."""
        hits = self.waiting.pop(0)
        self.waiting.append([])
        sample, axon = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (zip(*hits, strict=True) if hits else ((), ())))
        self.stats["READS"] += int(self.array.reads[axon].sum())
        self.stats["SOPS"] += int(self.array.useful[axon].sum())
        lanes = self.array.lane_sums(sample, axon, self.samples)
        limit = 1 << (self.params.accumulator_bits - 1)
        if lanes.max(initial=0) >= limit or lanes.min(initial=0) < -limit:
            at = np.flatnonzero(((lanes >= limit) | (lanes < -limit)).any(axis=0))[0]
            raise MachineError(f"Core {self.array.core_at(self.array.sum_base, at)}, tick {tick}: an accumulator overflows; the "
                               f"image was not made by this compiler")
        exact = lanes.astype(np.int64)
        return [sum((exact[:, source] * place for source, place in slices), np.zeros((), np.int64))
                for slices in self.array.sums]

    def _update(self, tick: int) -> tuple[Bools, Bools]:
        """One tick of all neurons; returns spikes and whose potentials may be sent, (samples, neurons) and (neurons,)."""
        params, state, neurons = self.params, self.state, self.array.neurons
        new: dict[str, Ints] = {}
        membrane = rtz(state["membrane"], neurons.membrane_gain, params.gain_bits) + neurons.bias
        currents = (("current", neurons.current_gain), ("second_current", neurons.second_gain))
        for (name, gain), total in zip(currents, self._sums(tick), strict=False):  # no core may have the second
            current = total << neurons.shift
            if name in state:  # an array without currents keeps none from tick to tick
                new[name] = current = current + rtz(state[name], gain, params.gain_bits)
            wrong = (saturate(current, params.state_bits) != current).any(axis=0)
            if wrong.any():
                core = self.array.core_at(self.array.neuron_base, np.flatnonzero(wrong)[0])
                raise MachineError(f"Core {core}, tick {tick}: a synaptic current overflows; the image was not made by this compiler")
            membrane = membrane + current
        membrane = saturate(membrane, params.state_bits)
        membrane = np.where(neurons.floor != 0, np.maximum(membrane, saturate(-neurons.threshold, params.state_bits)), membrane)
        resting = state["refractory"] > 0
        spikes = (membrane >= neurons.threshold) & ~resting & (neurons.spiking != 0)
        after = np.where(neurons.subtract != 0, saturate(membrane - neurons.reset, params.state_bits), neurons.reset)
        membrane = np.where(spikes, after, membrane)
        new["membrane"] = np.where((neurons.hold != 0) & resting, state["membrane"], membrane)
        new["refractory"] = np.where(spikes, neurons.refractory, np.maximum(state["refractory"] - 1, 0))

        phase = ((neurons.phases >> (tick % self.image.ticks_per_step) & 1) != 0) & (tick >= neurons.start)
        for name, value in new.items():
            state[name] = np.where(phase, value, state[name])
        return spikes & phase, phase & (neurons.spiking == 0)

    def _send(self, fired: Bools, open_: Bools) -> Bools:
        """Spikes and planes on their way; returns the outputs, (samples, outputs)."""
        outputs = np.zeros((self.samples, self.array.output_count), bool)
        sample, neuron = np.nonzero(fired)
        owner, entry = self.array.outputs.reach(neuron)
        outputs[sample[owner], self.array.outputs.target[entry]] = True
        for delay, fan in self.array.sends.items():
            self._hit(delay - 1, fan, sample, neuron)  # this tick's own hits are gone: what is next is first
        for delay, (source, plane, target) in self.array.planes.items():
            sample, entry = np.nonzero((self.state["membrane"][:, source] >> plane & 1 != 0) & open_[source])
            if delay:
                self.waiting[delay - 1].append((sample, target[entry]))
            else:
                outputs[sample, target[entry]] = True
        return outputs
