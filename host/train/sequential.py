"""Layers one after the other, and the network that they are."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from spikeloom.errors import NetworkError
from spikeloom.host.estimates.arrays import from_arrays
from spikeloom.host.networks.network import Network
from spikeloom.host.train.layer import Layer


class Trace(NamedTuple):
    """What a layer did: ``spikes`` float32 and ``potentials`` (after each step) float64, (samples, steps, neurons)."""

    spikes: Tensor
    potentials: Tensor


class Sequential(nn.Module):
    """Layers one after the other; a spike is seen by the next layer in the same step.

    Parameters
    ----------
    layers
        :class:`Layer` modules, each with as many inputs as the one before has neurons. All but the last must spike.

    NetworkError where they do not fit.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__()
        if not layers:
            raise NetworkError("Sequential: give at least one layer")
        for before, after in pairwise(layers):
            if after.inputs != before.neurons:
                raise NetworkError(f"Sequential: {after.title} has {after.inputs} inputs, {before.title} before it {before.neurons} "
                                   f"neurons")
            if not before.spiking:
                raise NetworkError(f"Sequential: {before.title} never spikes, so nothing can follow it")
        self.layers = nn.ModuleList(layers)
        self.names = tuple(layer.name or f"layer{number}" for number, layer in enumerate(layers, 1))
        if len(set(self.names)) < len(self.names):
            raise NetworkError(f"Sequential: layers have the names {', '.join(self.names)}; each must have its own")

    def forward(self, spikes: Tensor) -> Tensor:
        """The last layer's spikes, float32, or a readout's potentials, float64: (samples, steps, neurons)."""
        last = list(self.trace(spikes).values())[-1]
        return last.spikes if self.layers[-1].spiking else last.potentials

    def trace(self, spikes: Tensor) -> dict[str, Trace]:
        """Every layer's spikes and potentials, by name, for spikes (samples, steps, inputs) of 0 and 1."""
        traces = {}
        for name, layer in zip(self.names, self.layers, strict=True):
            traces[name] = Trace(*layer(spikes))
            spikes = traces[name].spikes
        return traces

    def clip_(self) -> None:
        """:meth:`Layer.clip_` of all layers."""
        for layer in self.layers:
            layer.clip_()

    def to_network(self, *, input: str = "input") -> Network:
        """The integer network that the forward pass computes, for :func:`spikeloom.compile`.

        Its input has the name ``input``, its populations those of the layers; all of them are outputs.
        """
        sources = (input, *self.names)
        populations, projections = {}, []
        for name, source, layer in zip(self.names, sources, self.layers, strict=False):
            options = {"size": layer.neurons, "bias": _integers(layer.biases()), "membrane_gain": layer.membrane_gain,
                       "current_gain": layer.current_gain, "shift": layer.shift, "spiking": layer.spiking}
            if layer.spiking:
                options |= {"threshold": layer.threshold, "reset": layer.reset, "refractory": layer.refractory, "hold": layer.hold}
            populations[name] = options
            projections.append({"source": source, "target": name, "weights": _integers(layer.weights())})
        return from_arrays(inputs={input: self.layers[0].inputs}, populations=populations, projections=projections)


def votes(spikes: Tensor, classes: int) -> Tensor:
    """Spikes of (samples, steps, neurons) counted by class, (samples, classes): neuron n votes for class n modulo ``classes``."""
    if not 1 <= classes <= spikes.shape[-1]:
        raise NetworkError(f"votes: {spikes.shape[-1]} neurons cannot vote for {classes} classes")
    owner = torch.arange(spikes.shape[-1], device=spikes.device) % classes
    return spikes.sum(1) @ nn.functional.one_hot(owner, classes).to(spikes.dtype)


def _integers(values: Tensor) -> npt.NDArray[np.int64]:
    return np.asarray(values.detach().cpu().numpy(), np.int64)
