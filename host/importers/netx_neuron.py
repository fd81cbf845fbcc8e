"""Loihi's neuron, in its own integers.

In every step, with iDecay ``du``, vDecay ``dv``, vThMant ``vth`` and the weighted sum ``a`` of the spikes::

    u ← trunc(u (4096 − du) / 4096) + 64 a          trunc is toward zero
    v ← trunc(v (4096 − dv) / 4096) + u + 64 bias
    spike if v > 64 vth, then v ← 0

after which v stays 0 for ``refDelay − 1`` steps, while u goes on. (lava-dl writes refDelay 1, and lava's own fixed-point model
has no refractory period; more than 1 follows the meaning of Loihi's register.)

u and v have 24 bits. u beyond them wraps on Loihi and is a compile error here. v saturates at ±(2^23 − 1); an array saturates
it at −2^23 with ``state_bits`` 24, as all presets have. No threshold lies above, so the upper end is the same. Thresholds
from 2^17 on cannot be reached: exporters write them for readouts, whose v is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.errors import InputError
from spikeloom.host.importers.convolve import Shape
from spikeloom.host.importers.netx_file import Layer
from spikeloom.host.importers.netx_synapses import Synapses
from spikeloom.host.networks.population import Floats, Ints, Population

#: What a decay of 1 is, and by what weights, biases and thresholds are scaled to the state.
UNITY, SCALE = 4096, 64
#: Largest state, and the first threshold mantissa that it cannot exceed.
LIMIT, NEVER = (1 << 23) - 1, 1 << 17


@dataclass(frozen=True)
class LoihiNeurons:
    """A layer's neurons, every array int64 (n,): gains are 4096 less the decays, ``bias`` and ``threshold`` scaled by 64."""

    current_gain: Ints
    membrane_gain: Ints
    bias: Ints
    threshold: Ints
    refractory: Ints
    spiking: bool

    @classmethod
    def of(cls, layer: Layer, shape: Shape, bias: Ints) -> LoihiNeurons:
        """The neurons of a layer; NetworkError, naming the layer, for what this rule does not know."""
        if layer.neuron is None:
            layer.fail("has no neuron")
        neuron = layer.neuron
        for key, meaning in (("gradedSpike", "graded spikes"), ("messageBits", "graded spikes"),
                             ("wgtExp", "a weight exponent"), ("weight_exp", "a weight exponent")):
            if key in neuron and np.any(neuron[key] != 0):
                layer.fail(f"has {meaning} ({key} {neuron[key].reshape(-1)[0]}), which cannot be taken")
        values = {}
        for key, low, high in (("iDecay", 0, UNITY), ("vDecay", 0, UNITY), ("vThMant", 0, 1 << 24), ("refDelay", 1, 64)):
            value = neuron.get(key, np.ones(1, np.int64) if key == "refDelay" else None)
            if value is None:
                layer.fail(f"lacks the dataset 'neuron/{key}'")
            if value.min() < low or value.max() > high:
                layer.fail(f"has {key} {value.min() if value.min() < low else value.max()}; it must be {low} to {high}")
            values[key] = layer.spread(key, value, shape)
        silent = values["vThMant"] >= NEVER
        if np.any(silent) and not np.all(silent):
            layer.fail(f"has thresholds from {values['vThMant'].min()} to {values['vThMant'].max()}: some of its neurons could never "
                       f"spike (2^17 and more), the others could")
        return cls(UNITY - values["iDecay"], UNITY - values["vDecay"], SCALE * bias, SCALE * values["vThMant"],
                   values["refDelay"] - 1, not np.any(silent))

    def population(self, name: str, shape: Shape) -> Population:
        """As an integer population."""
        return Population(name=name, shape=shape, current_gain=self.current_gain / UNITY, membrane_gain=self.membrane_gain / UNITY,
                          input_gain=float(SCALE), bias=self.bias, threshold=self.threshold if self.spiking else 0, strict=True,
                          reset="value", reset_value=0, refractory=self.refractory, hold=True, spiking=self.spiking, integer=True)

    def lowest(self, synapses: Synapses) -> float:
        """How far below 0 (above, too, for neurons that never spike) v can come, whatever the input: a geometric series."""
        size = len(self.bias)
        drive: Floats = np.zeros(size)
        for sign in (-1,) if self.spiking else (-1, 1):
            drive = np.maximum(drive, SCALE * np.bincount(synapses.post, np.maximum(sign * synapses.weight, 0), minlength=size))
        with np.errstate(divide="ignore", invalid="ignore"):
            current = np.where(drive > 0, drive / (1 - self.current_gain / UNITY), 0)
            push = current + np.abs(self.bias)
            return float(np.max(np.where(push > 0, push / (1 - self.membrane_gain / UNITY), 0)))

    def run(self, drive: Ints, steps: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        """Spikes, bool (samples, steps, n), under a constant weighted input ``a``, int64 (samples, n).

        InputError where u would leave its 24 bits.
        """
        u, v, quiet = (np.zeros(drive.shape, np.int64) for _ in range(3))
        spikes = np.zeros((len(drive), steps, drive.shape[1]), bool)
        for step in range(steps):
            u = _decayed(u, self.current_gain) + SCALE * drive
            if u.size and np.abs(u).max() > LIMIT:
                raise InputError(f"The input layer's current reaches {np.abs(u).max()}, beyond its 24 bits: are the values those of "
                                 f"the training?")
            awake = quiet == 0
            v = np.where(awake, np.clip(_decayed(v, self.membrane_gain) + u + self.bias, -LIMIT, LIMIT), v)
            fired = awake & (v > self.threshold) & self.spiking
            v[fired] = 0
            quiet = np.where(fired, self.refractory, np.maximum(quiet - 1, 0))
            spikes[:, step] = fired
        return spikes


def _decayed(state: Ints, gain: Ints) -> Ints:
    return np.asarray(np.sign(state) * (np.abs(state) * gain >> 12), np.int64)
