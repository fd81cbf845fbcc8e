"""Norse modules as networks, by Norse's own to_nir.

Norse: Pehle and Pedersen, Norse: A deep learning library for spiking neural networks, Zenodo 4422025 (2021).
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.frameworks import Framework, Trace, network_of, require
from spikeloom.host.importers.frameworks_layer import Changes, Layer, numbers, offset_of, refuse, spread
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.population import Floats, Population, Reals


def from_norse(module: Any, sample: Any, *, dt: float | None = None) -> Network:
    """The network of a Norse module whose neurons are LIFBoxCell, LIFCell, IAFCell and LIBoxCell.

    Parameters
    ----------
    module
        A ``torch.nn.Module`` that computes one step, called as ``module(x)`` and then ``module(x, state)`` (Norse's
        SequentialState does), without a batch axis in its layers. It is not changed.
    sample
        Spikes or currents (steps, *shape), by which the network is compared with the framework, or the shape of one step.
    dt
        Length of a step in seconds, for the network's description; default that of the cells, which must agree on it.

    Time constants are asked of Norse in seconds, whichever of its two scales the installed version writes, and then taken from
    the cells. LIFCell adds the input whole to the current, which the membrane sees before it decays. A membrane that starts
    from v_leak (IAFCell: v_reset) is counted from there. The report says how many spikes differ.

    NetworkError, naming the layer, for what cannot be represented: recurrent cells, the adjoint method, other resets than
    reset_value and reset_subtract, layers that Norse's export does not know.
    """
    norse = _Norse()
    step = norse.step(module)
    return network_of(norse, module, sample, dt=dt, options={"dt": step})


@dataclass(frozen=True)
class Box:
    """v + a (((Σ w s + c) + v_leak) − v), as LIFBoxCell and LIBoxCell compute it."""

    precision: str
    rate: Floats
    leak: Floats
    offset: Floats

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        rate, leak, offset = (x.astype(self.precision) for x in (self.rate, self.leak, self.offset))
        return current, membrane + rate * (((drive + offset) + leak) - membrane)


@dataclass(frozen=True)
class Synaptic:
    """I + (−a_syn I) + Σ w s, then v + a_mem ((0 − v) + I), as LIFCell computes it."""

    precision: str
    fast: Floats
    slow: Floats
    offset: Floats

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        fast, slow, offset = (x.astype(self.precision) for x in (self.fast, self.slow, self.offset))
        current = (current + -fast * current) + (drive + offset)
        return current, membrane + slow * (-membrane + current)


class _Norse(Framework):
    title = "Norse"
    package = "norse"
    neurons = frozenset(("LIFBoxCell", "LIFCell", "IAFCell", "LIBoxCell"))
    linear = frozenset(("Linear", "Conv2d"))
    home = "norse.torch.module"
    containers = frozenset(("SequentialState",))

    def __init__(self) -> None:
        super().__init__()
        self.export_tool = require("norse.torch.utils.export_nir", self)

    def step(self, module: Any) -> float:
        """The step that all cells share, in seconds."""
        found = {float(part.dt) for part in module.modules() if type(part).__name__ in self.neurons - {"IAFCell"}} \
            if isinstance(module, self.torch.nn.Module) else set()
        if len(found) > 1:
            raise NetworkError(f"from_norse: the cells have different steps dt: {', '.join(map(str, sorted(found)))}")
        return found.pop() if found else 1e-3  # IAFCell knows no time; 1e-3 is Norse's default

    def prepare(self, module: Any) -> None:
        for name, part in module.named_modules():
            kind = type(part).__name__
            if kind in self.neurons:
                reset = getattr(getattr(part.p, "reset_method", None), "__name__", "reset_value")
                refuse("from_norse", name, part, (
                    (reset not in ("reset_value", "reset_subtract"), f"has the reset_method {reset!r}"),
                    (getattr(part.p, "method", "") == "adjoint", "uses the adjoint method"),
                ))
                keys = {"tau_mem_inv", "tau_syn_inv", "v_leak", "v_th", "v_reset"}.intersection(part.p._fields)
                part.p = part.p._replace(**{key: self.torch.as_tensor(numbers(getattr(part.p, key))) for key in keys})
            if kind == "Conv2d":
                refuse("from_norse", name, part, ((part.padding_mode != "zeros", f"pads with {part.padding_mode!r}"),))

    def run(self, module: Any, sample: Any) -> None:
        state = None
        for step in sample:
            output = module(step) if state is None else module(step, state)
            state = output[1] if isinstance(output, tuple) and len(output) > 1 else None

    def expand(self, module: Any, trace: Trace) -> None:
        """A convolution without a bias, on which Norse's export fails, gets one of zeros."""
        self._shapes = trace.shapes
        for part in module.modules():
            if type(part).__name__ == "Conv2d" and part.bias is None:
                part.bias = self.torch.nn.Parameter(self.torch.zeros(part.weight.shape[0]))

    def export(self, module: Any, step: Any) -> Any:
        # Norse 1.1.0 writes τ = dt/τ⁻¹ with an argument dt = 1e-3, later versions τ = factor/τ⁻¹ with a factor of 1: 1 is seconds.
        scale = {"dt": 1.0} if "dt" in signature(self.export_tool.to_nir).parameters else {}
        graph = self.export_tool.to_nir(module, step, **scale)
        for name, node in graph.nodes.items():
            if name in self._shapes:  # single numbers become one a neuron
                for key, value in vars(node).items():
                    if key not in ("input_type", "output_type", "metadata"):
                        setattr(node, key, np.broadcast_to(numbers(value), self._shapes[name]).astype(np.float64))
        return graph

    def layer(self, name: str, module: Any) -> Layer:
        kind, p, shape = type(module).__name__, module.p, self._shapes[name]
        reset = "reset_value" if kind in ("LIFCell", "IAFCell") or not hasattr(p, "reset_method") else p.reset_method.__name__
        given = {key: spread(getattr(p, key), shape, f"from_norse: {key} of {kind} {name!r}")
                 for key in ("tau_mem_inv", "tau_syn_inv", "v_leak", "v_th", "v_reset") if hasattr(p, key)}
        step = np.float32(module.dt)
        rates: dict[str, Floats] = {key: (step * given[key].astype(np.float32)).astype(np.float64)
                                    for key in ("tau_mem_inv", "tau_syn_inv") if key in given}
        for key, rate in rates.items():
            if np.any(rate <= 0) or np.any(rate > 1):
                raise NetworkError(f"from_norse: {kind} {name!r}: dt times {key} must lie between 0 and 1, not be {rate.max():g}")
        start = given["v_reset"] if kind == "IAFCell" else given["v_leak"]
        notes = [f"Norse {kind}, dt {module.dt:g}"]
        exact = kind != "LIBoxCell" or not np.any(start)
        spiking: dict[str, Any] = {}
        if kind != "LIBoxCell":
            notes.append("spike if v > θ, " + ("v − θ" if reset == "reset_subtract" else "v = v_reset"))
            subtract = {"reset": "subtract", "reset_value": given["v_th"]}
            spiking = {"threshold": given["v_th"] - start, "strict": True,
                       **(subtract if reset == "reset_subtract" else {"reset": "value", "reset_value": given["v_reset"] - start})}
        if np.any(start):
            notes.append("v is counted from where Norse starts it" if exact else
                         f"starts from 0, Norse from v_leak: differs by up to {np.abs(start).max():g}, which decays by dt/τ")
        leak = start if kind == "LIBoxCell" else np.zeros_like(start)  # spiking layers count from v_leak

        def changes(population: Population) -> Changes:
            return _fields(kind, rates, leak, offset_of(population)) | spiking

        return Layer(changes, tuple(notes), exact)


def _fields(kind: str, rates: dict[str, Floats], leak: Floats, offset: Floats) -> dict[str, Any]:
    """Gains and rule of one kind of cell."""
    if kind == "IAFCell":
        return {}
    slow = rates["tau_mem_inv"]
    common = {"membrane_gain": 1 - slow, "input_gain": slow, "bias": slow * (leak + offset)}
    if kind == "LIFCell":
        return common | {"current_gain": 1 - rates["tau_syn_inv"],
                         "rule": Synaptic("float32", rates["tau_syn_inv"], slow, offset)}
    return common | {"rule": Box("float32", slow, leak, offset)}
