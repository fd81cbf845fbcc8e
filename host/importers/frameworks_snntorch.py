"""snnTorch modules as networks, by snnTorch's own export_to_nir.

snnTorch: Eshraghian et al., Training spiking neural networks using lessons from deep learning, Proc. IEEE 111, 1016 (2023).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.frameworks import Framework, Trace, network_of, require
from spikeloom.host.importers.frameworks_layer import Changes, Layer, direct, numbers, refuse, spread
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.population import Population

_RECURRENT = ("RLeaky", "RSynaptic")


def from_snntorch(module: Any, sample: Any, *, dt: float | None = None) -> Network:
    """The network of a snnTorch module whose neurons are Leaky, Synaptic, RLeaky and RSynaptic.

    Parameters
    ----------
    module
        A ``torch.nn.Module`` that computes one step of one input; the neurons keep their state (``init_hidden=True``), or
        start from none. It is not changed.
    sample
        Spikes or currents (steps, *shape), by which the network is compared with the framework, or the shape of one step.
    dt
        Length of a step in seconds, for the network's description; default 1e-4, which snnTorch writes.

    Betas and thresholds may be single numbers. The reset is read from the module: ``subtract`` takes θ from the next step after
    the decay (θ/β at once), or at once with ``reset_delay=False``; ``zero`` sets v = 0, and Synaptic, RLeaky and RSynaptic
    also stay at 0 for the step that follows; ``none`` is a subtraction of 0. The report says how many spikes differ.

    NetworkError, naming the layer, for what cannot be represented: inhibition, state_quant, graded spikes, layers that
    snnTorch's export does not know, padded or ceiled AvgPool2d (which it would export without saying so).
    """
    return network_of(_SnnTorch(), module, sample, dt=dt, options={"reset": "zero"})  # the layers say how they really reset


class _SnnTorch(Framework):
    title = "snnTorch"
    package = "snntorch"
    neurons = frozenset(("Leaky", "Synaptic", *_RECURRENT))
    linear = frozenset(("Linear", "Conv2d", "AvgPool2d", "Flatten"))
    home = "snntorch._neurons"

    def prepare(self, module: Any) -> None:
        self._loops = {name for name, part in module.named_modules() if type(part).__name__ in _RECURRENT}
        for name, part in module.named_modules():
            kind = type(part).__name__
            if kind in self.neurons:
                refuse("from_snntorch", name, part, (
                    (bool(part.inhibition), "has inhibition"),
                    (part.state_quant is not False and part.state_quant is not None, "has a state_quant"),
                    (bool(np.any(numbers(part.graded_spikes_factor) != 1)), "has graded spikes"),
                    (kind == "RSynaptic" and not part.reset_delay, "has reset_delay=False, which fails in snnTorch itself"),
                ))
                part.reset_mem()
            if kind == "AvgPool2d":
                refuse("from_snntorch", name, part, (
                    (bool(np.any(numbers(part.padding) != 0)), "has padding, which snnTorch's export drops"),
                    (bool(part.ceil_mode), "has ceil_mode"), (part.divisor_override is not None, "has divisor_override")))
            if kind == "Conv2d":
                refuse("from_snntorch", name, part, ((part.padding_mode != "zeros", f"pads with {part.padding_mode!r}"),))

    def run(self, module: Any, sample: Any) -> None:
        for step in sample:
            module(step[None])

    def expand(self, module: Any, trace: Trace) -> None:
        """Single numbers become one a neuron, and a gain of 1, whose time constant is infinite, another: ``layer`` has it."""
        self._gains = {}
        for name, shape in trace.shapes.items():
            part = module.get_submodule(name)
            for key in ("alpha", "beta", "threshold"):
                if not hasattr(part, key):
                    continue
                value = spread(getattr(part, key), shape[1:], f"from_snntorch: {key} of {type(part).__name__} {name!r}")
                if key != "threshold":
                    value = np.clip(value, 0, 1)  # as snnTorch does in each step
                self._gains[name, key] = value
                safe = np.where(value == 1, 0.5, value) if key != "threshold" else value
                tensor = self.torch.tensor(safe.reshape(shape[1:]).astype(np.float32))
                delattr(part, key)
                part.register_buffer(key, tensor)

    def export(self, module: Any, step: Any) -> Any:
        tool = require("snntorch.export_nir", self)
        graph = tool.export_to_nir(module, step[None], ignore_dims=[0])
        recurrent = {name for name, part in module.named_modules() if type(part).__name__ in _RECURRENT}
        # nirtorch lets the recurrent weights of a first layer lead on to the next layer too.
        graph.edges = [(a, b) for a, b in graph.edges
                       if not (a.endswith(".w_rec") and a[:-6] in recurrent and b != f"{a[:-6]}.lif")]
        return graph

    def layer(self, name: str, module: Any) -> Layer:
        kind = type(module).__name__
        beta, threshold = self._gains[name, "beta"], self._gains[name, "threshold"]
        mechanism, delayed = module._reset_mechanism, bool(module.reset_delay)
        notes = [f"snnTorch {kind}, spike if v > θ, reset {mechanism!r}" + ("" if delayed else " at once (reset_delay=False)")]
        reset: dict[str, Any] = {"reset": "value", "reset_value": 0.0}
        exact = True
        if mechanism == "none":
            reset = {"reset": "subtract", "reset_value": 0.0}
        elif mechanism == "subtract":
            if delayed and np.any(beta == 0):
                raise NetworkError(f"from_snntorch: {kind} {name!r} subtracts the threshold in the step after the spike, which a "
                                   f"membrane without memory (beta = 0) cannot do; reset_delay=False can")
            reset = {"reset": "subtract", "reset_value": threshold / beta if delayed else threshold}
            if not delayed:
                exact = False
                notes.append("approximated where v exceeds 2 θ, after which snnTorch adds θ again")
        elif delayed and kind != "Leaky":  # the whole membrane of the next step is taken away, its input with it
            reset |= {"refractory": 1, "hold": True}
            notes.append("v stays 0 for the step after a spike")
        if mechanism == "zero" and np.any(threshold < 0):
            raise NetworkError(f"from_snntorch: {kind} {name!r} resets to zero above its negative threshold")

        def changes(population: Population) -> Changes:
            alpha = self._gains.get((name, "alpha"), np.zeros_like(beta))
            return direct(population, alpha, beta, 1.0) | reset | {"threshold": threshold, "strict": True}

        return Layer(changes, tuple(notes), exact)

    def node(self, name: str) -> str:
        return f"{name}.lif" if name in self._loops else name
