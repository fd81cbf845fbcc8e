"""SpikingJelly modules as networks, by SpikingJelly's own export_to_nir.

SpikingJelly: Fang et al., SpikingJelly: An open-source machine learning infrastructure platform for spike-based
intelligence, Science Advances 9, eadi1480 (2023).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.frameworks import Framework, Trace, network_of, require
from spikeloom.host.importers.frameworks_layer import Changes, Layer, direct, offset_of, refuse
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.population import Floats, Population, Reals

_BASE = "spikingjelly.activation_based"


def from_spikingjelly(module: Any, sample: Any, *, dt: float | None = None) -> Network:
    """The network of a SpikingJelly module whose neurons are IFNode, LIFNode, ParametricLIFNode and CUBALIFNode.

    Parameters
    ----------
    module
        A ``torch.nn.Module`` of any step mode, which torch.fx can trace. It is not changed.
    sample
        Spikes or currents (steps, *shape), by which the network is compared with the framework, or the shape of one step.
    dt
        Length of a step in seconds, for the network's description; default 1e-4, which SpikingJelly writes.

    The soft reset (v_reset=None), which its export writes as a hard one (to 0) or refuses, is a subtraction of θ at once. A
    membrane is counted from the 0 that it starts from. The report says how many spikes differ.

    NetworkError, naming the layer, for what cannot be represented or what the export refuses: grouped convolutions,
    recurrent containers, layers that the export does not know.
    """
    return network_of(_SpikingJelly(), module, sample, dt=dt, options={"reset": "value"})  # the layers say how they really reset


@dataclass(frozen=True)
class Divided:
    """v + (−v + x)/τ, or v + −v/τ + x, as LIFNode computes it where v_reset is 0."""

    precision: str
    tau: Floats
    offset: Floats
    decay_input: bool

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        tau, offset = (x.astype(self.precision) for x in (self.tau, self.offset))
        drive = drive + offset
        if self.decay_input:
            return current, membrane + (-membrane + drive) / tau
        return current, membrane + -membrane / tau + drive


class _SpikingJelly(Framework):
    title = "SpikingJelly"
    package = "spikingjelly"
    neurons = frozenset(("IFNode", "LIFNode", "ParametricLIFNode", "CUBALIFNode"))
    linear = frozenset(("Linear", "Conv1d", "Conv2d", "AvgPool2d", "Flatten"))
    home = "spikingjelly.activation_based.neuron"
    refused = frozenset(("LinearRecurrentContainer", "ElementWiseRecurrentContainer"))

    def __init__(self) -> None:
        super().__init__()
        self._functional = require(f"{_BASE}.functional", self)
        self._export = require(f"{_BASE}.nir_exchange", self)
        self._resets: dict[str, float | None] = {}

    def prepare(self, module: Any) -> None:
        self._functional.set_step_mode(module, "s")
        self._functional.reset_net(module)
        for name, part in module.named_modules():
            if type(part).__name__ in self.neurons:
                if hasattr(part, "store_v_seq"):
                    part.store_v_seq = False
                self._resets.setdefault(name, part.v_reset)
                refuse("from_spikingjelly", name, part, (
                    (np.ndim(part.v_threshold) != 0, f"has a v_threshold of shape {np.shape(part.v_threshold)}"),))

    def run(self, module: Any, sample: Any) -> None:
        for step in sample:
            module(step[None])

    def expand(self, module: Any, trace: Trace) -> None:
        """The export knows hard resets alone; ``layer`` has the soft one."""
        for name in trace.shapes:
            part = module.get_submodule(name)
            if part.v_reset is None:
                part.v_reset = 0.0

    def export(self, module: Any, step: Any) -> Any:
        return self._export.export_to_nir(module, step[None], dt=1e-4)

    def node(self, name: str) -> str:
        clean = name.replace(".", "_")
        return f"_{clean}" if clean[:1].isdigit() else clean

    def layer(self, name: str, module: Any) -> Layer:
        kind, reset, threshold = type(module).__name__, self._resets[name], float(module.v_threshold)
        start = reset or 0.0  # where SpikingJelly starts the membrane, and from where it is counted here
        spiking = {"threshold": threshold - start, "strict": False, "reset": "subtract" if reset is None else "value",
                   "reset_value": threshold if reset is None else 0.0}
        notes = (f"SpikingJelly {kind}, spike if v ≥ θ, " + ("v − θ (soft reset)" if reset is None else f"v = {reset:g}"),)
        if kind == "ParametricLIFNode":
            tau = 1.0 / float(module.w.sigmoid())
        else:
            tau = float(getattr(module, "tau", 1.0))
        if tau < 1:
            raise NetworkError(f"from_spikingjelly: {kind} {name!r} has tau {tau:g}; below 1 the membrane overshoots")

        if kind == "CUBALIFNode" and start:
            raise NetworkError(f"from_spikingjelly: {kind} {name!r} starts from its v_reset {start:g}, which its decay to 0 leaves")

        def changes(population: Population) -> Changes:
            if kind == "IFNode":
                fields = direct(population, 0.0, 1.0, 1.0)
            elif kind == "CUBALIFNode":
                fields = direct(population, float(module.c_decay), float(module.v_decay), 1.0)
            else:
                fields = _leaky(population, tau, bool(module.decay_input))
            return fields | spiking

        return Layer(changes, notes)


def _leaky(population: Population, tau: float, decay_input: bool) -> dict[str, Any]:
    """Fields of a LIFNode's population, whose membrane is counted from v_reset."""
    offset, taus = offset_of(population), np.full(population.size, tau)
    gain = 1 / tau if decay_input else 1.0
    return {"current_gain": 0.0, "membrane_gain": 1 - 1 / taus, "input_gain": gain, "bias": gain * offset,
            "rule": Divided("float32", taus, offset, decay_input)}
