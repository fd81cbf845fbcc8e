"""Calibration: scales with the least error in membrane potential on sample input.

The float reference runs on the sample; the spikes that it records of each population are the presynaptic activity. A change Δw
of the weights into a neuron then changes its potential by e, which obeys the neuron's own linear equations driven by
Σ Δw s: e_u ← α e_u + Σ Δw s, e_v ← β e_v + e_u, kept while the neuron is held, and 0 after a reset to a value. This is exactly the
error of v as long as no spike differs (a reset by subtraction is the same for both).

For each group of neurons that share a scale, candidates from half the largest scale to eight times it (where large weights are
clipped) are tried, and the one with the least mean of e_v² is taken. The search over clipping points is OMSE's and ACIQ's
(Choukroun et al. 2019, "Low-bit quantization of neural networks for efficient inference"; Banner et al. 2019, "Post training
4-bit quantization of convolutional networks"), the objective is on the layer's output as in AdaRound (Nagel et al. 2020, "Up or
down? Adaptive rounding for post-training quantization") and goes on through the neuron's filter. Nothing is random.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, Spikes, dense_inputs
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.reference import reference
from spikeloom.host.quantisation.fan import Fan
from spikeloom.host.quantisation.quant_network import Ints, Reals
from spikeloom.host.quantisation.scales import WeightRange

#: Multiples of the largest scale that clips nothing, that one first: it is kept unless another is better.
FACTORS = (1.0, *(2.0 ** (i / 8) for i in range(-8, 25) if i))
#: Neurons of a population that are measured: about so many, evenly spaced, but at least LEAST of each group.
MOST, LEAST = 1024, 16
#: Entries of the array of potential errors that are worked on at once: 64 MiB.
_CHUNK = 1 << 23


class Calibration:
    """Sample input and what every population does with it, according to the float reference.

    ``inputs`` and ``activity`` are bool (samples, steps, neurons) by name, ``potentials`` float64 of the same shape for the
    populations in ``record``. InputError for input that does not fit or is empty.
    """

    def __init__(self, network: Network, spikes: InputSpikes, record: Iterable[str] = ()) -> None:
        self.inputs, _ = dense_inputs(network.inputs, spikes)
        self.samples, self.steps = next(iter(self.inputs.values())).shape[:2] if self.inputs else (1, 0)
        if not self.samples or not self.steps:
            raise InputError("Calibration needs at least one sample of one step of input")
        found = reference(network, self.inputs, record=record)
        self.activity: dict[str, Spikes] = found.spikes
        self.potentials: dict[str, Reals] = found.potentials

    def probe(self, fan: Fan, group: Ints) -> Probe:
        """What measures the errors of one population's potentials; ``group`` int64 (neurons,) numbers those that share a scale."""
        return Probe(self, fan, group)


@dataclass(frozen=True)
class _Bundle:
    """Measured neurons of equal presynaptic columns: their synapses, (neurons, fan-in), in the order of ``columns``."""

    neurons: Ints
    synapses: Ints
    columns: Ints
    receptor: Ints


class Probe:
    """Mean squared error of potentials over a sample, per group, for any integers and steps of a population's weights."""

    def __init__(self, sample: Calibration, fan: Fan, group: Ints) -> None:
        self._sample, self._fan, self._group = sample, fan, group
        self._groups = int(group.max(initial=-1)) + 1
        self._neurons = _measured(group, self._groups)
        self._bundles, self._traces = self._gather()
        own = sample.activity.get(fan.population.name)
        self._spikes = own if own is not None else np.zeros((sample.samples, sample.steps, 0), bool)

    def best(self, weights: WeightRange, steps: Reals, room: Reals) -> Reals:
        """Steps (neurons,) with the least error among multiples of ``steps`` that stay within ``room``."""
        candidates = [np.minimum(steps * factor, np.maximum(room, steps)) for factor in FACTORS]
        errors = self.errors([(weights.integers(self._fan, these), these) for these in candidates])
        choice = np.argmin(np.where(np.isnan(errors), np.inf, errors), axis=0)[self._group]
        return np.asarray(np.stack(candidates)[choice, np.arange(len(choice))], np.float64)

    def errors(self, candidates: Sequence[tuple[Ints, Reals]]) -> Reals:
        """Mean of e_v² over measured neurons, samples and steps: float64 (candidates, groups), for (integers, steps) each."""
        delta = np.stack([integers / steps[self._fan.post] - self._fan.weight for integers, steps in candidates])
        total = np.zeros((self._groups, len(candidates)))
        size = max(1, _CHUNK // (len(candidates) * self._sample.samples * self._sample.steps * self._fan.currents))
        for pieces in self._pieces(size):
            neurons = np.concatenate([bundle.neurons[part] for bundle, part in pieces])
            np.add.at(total, self._group[neurons], self._squares(neurons, self._drive(pieces, len(neurons), delta)))
        return total.T / np.maximum(np.bincount(self._group[self._neurons], minlength=self._groups), 1)

    def report(self, chosen: Reals, plain: Reals) -> dict[str, Any]:
        """Root mean square of e_v over all groups, with the chosen and with the largest scales, and how many neurons count."""
        share = np.bincount(self._group[self._neurons], minlength=self._groups) / max(len(self._neurons), 1)
        return {"potential_error": float(np.sqrt(np.sum(share * chosen))),
                "potential_error_uncalibrated": float(np.sqrt(np.sum(share * plain))), "neurons_measured": len(self._neurons)}

    def _gather(self) -> tuple[list[_Bundle], npt.NDArray[np.bool_]]:
        """Bundles of measured neurons, and the activity that reaches them: bool (columns, steps, samples)."""
        fan, sample = self._fan, self._sample
        codes, base, sources = [np.zeros(0, np.int64)], 0, []
        for edge in fan.edges:
            width = sample.inputs[edge.source].shape[2] if edge.source in sample.inputs else sample.activity[edge.source].shape[2]
            codes.append(base + edge.delay * width + edge.pre)
            span = int(edge.delay.max(initial=0)) + 1
            sources.append((base, width, edge.source))
            base += span * width
        code, wanted = np.concatenate(codes), np.isin(fan.post, self._neurons)
        used, column = np.unique(code[wanted], return_inverse=True)
        traces = np.zeros((len(used), sample.steps, sample.samples), bool)
        for start, width, source in sources:
            spikes = sample.inputs[source] if source in sample.inputs else sample.activity[source]
            end = min((other for other, _, _ in sources if other > start), default=base)
            here = np.flatnonzero((used >= start) & (used < end))
            delay, pre = np.divmod(used[here] - start, width)
            for late in np.unique(delay[delay < sample.steps]):
                mine = delay == late
                traces[here[mine], late:] = spikes[:, : sample.steps - late, pre[mine]].transpose(2, 1, 0)
        return _bundles(fan, np.flatnonzero(wanted), column.ravel()), traces

    def _pieces(self, size: int) -> Iterator[list[tuple[_Bundle, slice]]]:
        """Parts of bundles, about ``size`` neurons at a time."""
        pieces: list[tuple[_Bundle, slice]] = []
        room = size
        for bundle in self._bundles:
            for low in range(0, len(bundle.neurons), size):
                part = slice(low, min(low + size, len(bundle.neurons)))
                if part.stop - low > room:
                    yield pieces
                    pieces, room = [], size
                pieces.append((bundle, part))
                room -= part.stop - low
        if pieces:
            yield pieces

    def _drive(self, pieces: list[tuple[_Bundle, slice]], neurons: int, delta: Reals) -> Reals:
        """Σ Δw s for each current: (currents, steps, candidates, neurons, samples)."""
        sample, count = self._sample, len(delta)
        drive = np.zeros((self._fan.currents, sample.steps, count, neurons, sample.samples))
        low = 0
        for bundle, part in pieces:
            weights = delta[:, bundle.synapses[part]]  # (candidates, neurons, fan-in)
            high = low + weights.shape[1]
            for receptor in range(self._fan.currents):
                here = bundle.receptor == receptor
                rows = self._traces[bundle.columns[here]].reshape(np.count_nonzero(here), -1).astype(np.float64)
                sums = weights[:, :, here].reshape(-1, rows.shape[0]) @ rows
                drive[receptor, :, :, low:high] = sums.reshape(count, high - low, sample.steps, -1).transpose(2, 0, 1, 3)
            low = high
        return drive

    def _squares(self, neurons: Ints, drive: Reals) -> Reals:
        """Mean of e_v² of some neurons, (neurons, candidates)."""
        sample, population, count = self._sample, self._fan.population, drive.shape[2]
        gains = (population.current_gain, population.second_current_gain)
        alpha = [gain[neurons][:, None] for gain in gains[:len(drive)]]
        beta, period = population.membrane_gain[neurons][:, None], population.refractory[neurons][:, None]
        current = np.zeros((len(drive), count, len(neurons), sample.samples))
        error, total = np.zeros(current.shape[1:]), np.zeros((count, len(neurons)))
        waiting = np.zeros((len(neurons), sample.samples), np.int64)
        with np.errstate(over="ignore", invalid="ignore"):
            for step in range(sample.steps):
                for receptor, sums in enumerate(drive):
                    current[receptor] = alpha[receptor] * current[receptor] + sums[step]
                moved = beta * error + current.sum(axis=0)
                error = np.where(waiting > 0, error, moved) if population.hold else moved
                total += np.mean(error ** 2, axis=2)
                if population.spiking:
                    fired = self._spikes[:, step, neurons].T
                    if population.reset == "value":
                        error = np.where(fired, 0.0, error)
                    waiting = np.where(fired, period, np.maximum(waiting - 1, 0))
        return np.asarray(total.T / sample.steps, np.float64)


def _measured(group: Ints, groups: int) -> Ints:
    """Neurons to measure, ascending: evenly spaced in each group."""
    share = max(LEAST, MOST // max(groups, 1))
    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(groups + 1))
    picked = []
    for low, high in pairwise(starts.tolist()):
        picked.append(order[low + np.unique(np.linspace(0, high - low - 1, min(share, high - low)).astype(np.int64))])
    return np.sort(np.concatenate(picked)) if picked else np.zeros(0, np.int64)


def _bundles(fan: Fan, synapses: Ints, column: Ints) -> list[_Bundle]:
    """Synapses sorted by neuron, and neurons with the same columns and receptors put together, so that one product serves all."""
    receptor = fan.receptor[synapses]
    order = np.lexsort((receptor, column, fan.post[synapses]))
    synapses, column, receptor = synapses[order], column[order], receptor[order]
    neurons, starts = np.unique(fan.post[synapses], return_index=True)
    alike: dict[bytes, tuple[list[int], list[Ints], Ints, Ints]] = {}
    for neuron, low, high in zip(neurons.tolist(), starts, np.append(starts, len(synapses))[1:], strict=True):
        key = column[low:high].tobytes() + receptor[low:high].tobytes()
        entry = alike.setdefault(key, ([], [], column[low:high], receptor[low:high]))
        entry[0].append(neuron)
        entry[1].append(synapses[low:high])
    return [_Bundle(np.array(members), np.stack(rows), columns, receptors)
            for members, rows, columns, receptors in alike.values()]
