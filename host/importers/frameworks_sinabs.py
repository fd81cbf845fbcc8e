"""sinabs modules as networks, by sinabs' own to_nir.

sinabs: Sheik et al., SINABS: A simple PyTorch based SNN library specialised for Speck, SynSense (2023).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.host.importers.frameworks import Framework, Trace, network_of, require
from spikeloom.host.importers.frameworks_layer import Changes, Layer, direct, numbers, refuse, spread
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.population import Population


def from_sinabs(module: Any, sample: Any, *, dt: float | None = None) -> Network:
    """The network of a sinabs module whose neurons are IAF, LIF and ExpLeak, each also as Squeeze.

    Parameters
    ----------
    module
        A ``torch.nn.Module`` that computes all steps at once. It is not changed.
    sample
        Spikes or currents (steps, *shape), by which the network is compared with the framework, or the shape of one step.
    dt
        Length of a step in seconds, for the network's description; default None: sinabs counts in steps.

    ``norm_input``, ``tau_syn`` (which sinabs' export drops), spike and reset function are read from the layers. This
    network's neurons spike once a step: layers with MultiSpike (sinabs' default) or MaxSpike are reported as approximated, with
    how often it happened on the sample; so are layers with a ``min_v_mem`` other than -spike_threshold, which is kept.

    NetworkError, naming the layer, for what cannot be represented: recurrent layers, other spike functions, resets to another
    value than 0 (which sinabs adds in every step), layers that sinabs' export does not know.
    """
    # norm_input is what each layer says, by `layer`; from_nir wants one for all.
    return network_of(_Sinabs(), module, sample, dt=dt, options={"norm_input": True})


class _Sinabs(Framework):
    title = "sinabs"
    package = "sinabs"
    neurons = frozenset(("IAF", "IAFSqueeze", "LIF", "LIFSqueeze", "ExpLeak", "ExpLeakSqueeze"))
    linear = frozenset(("Linear", "Conv2d", "SumPool2d", "Flatten"))
    home = "sinabs.layers"
    refused = frozenset(("IAFRecurrent", "LIFRecurrent", "ALIFRecurrent"))

    def __init__(self) -> None:
        super().__init__()
        self.export_tool = require("sinabs.nir", self)
        self.nir = require("nir", self)

    def prepare(self, module: Any) -> None:
        self._flat = False
        for name, part in module.named_modules():
            kind = type(part).__name__
            if kind == "Conv2d":
                refuse("from_sinabs", name, part, ((part.padding_mode != "zeros", f"pads with {part.padding_mode!r}"),))
            if kind == "SumPool2d":
                refuse("from_sinabs", name, part, ((bool(part.ceil_mode), "has ceil_mode"),))
            if kind not in self.neurons:
                continue
            if kind.endswith("Squeeze"):
                self._flat, part.batch_size, part.num_timesteps = True, 1, -1
            for state in dict(part.named_buffers()):
                setattr(part, state, None if getattr(part, state) is None else self.torch.zeros_like(getattr(part, state)))
            reset = type(part.reset_fn).__name__
            fires = "" if part.spike_fn is None else part.spike_fn.__name__ if hasattr(part.spike_fn, "__name__") \
                else type(part.spike_fn).__name__
            refuse("from_sinabs", name, part, (
                (fires not in ("", "MultiSpike", "SingleSpike", "MaxSpike"), f"spikes by {fires}"),
                (fires != "" and reset not in ("MembraneSubtract", "MembraneReset"), f"resets by {reset}"),
                (reset == "MembraneReset" and bool(part.reset_fn.reset_value), "adds a reset_value in every step"),
                (fires == "" and part.min_v_mem is not None, "is a readout with a floor"),
            ))

    def run(self, module: Any, sample: Any) -> None:
        module(sample if self._flat else sample[None])

    def single(self, output: Any) -> Any:
        steps = output if self._flat else output[0]
        return steps.reshape(len(steps), -1)

    def expand(self, module: Any, trace: Trace) -> None:
        self._shapes = {name: shape[1 if self._flat else 2:] for name, shape in trace.shapes.items()}

    def export(self, module: Any, step: Any) -> Any:
        graph = self.export_tool.to_nir(module, step[None] if self._flat else step[None, None])
        for name, node in graph.nodes.items():
            kind = type(node).__name__
            if kind in ("Input", "Output") and not self._flat:  # the time axis is left over
                shape = np.asarray(next(iter(node.input_type.values())))[1:]
                graph.nodes[name] = getattr(self.nir, kind)(shape)
            elif name in self._shapes:
                graph.nodes[name] = self._neuron(node, module.get_submodule(name), self._shapes[name])
        return graph

    def _neuron(self, node: Any, module: Any, shape: tuple[int, ...]) -> Any:
        """The node with one number a neuron, and with the synaptic current that the export drops."""
        values = {key: np.broadcast_to(numbers(value), shape).astype(np.float64) for key, value in vars(node).items()
                  if key not in ("input_type", "output_type", "metadata", "v_reset")}
        if module.alpha_syn_calculated is None:
            return type(node)(**values)
        one = np.ones(shape)
        fast = -1 / np.log(np.clip(spread(module.alpha_syn_calculated, shape, "alpha_syn"), 1e-30, 1 - 1e-7)).reshape(shape)
        synaptic = {"tau_syn": fast, "tau_mem": values.get("tau", one), "r": one, "v_leak": np.zeros(shape), "w_in": one}
        if "v_threshold" in values:
            return self.nir.CubaLIF(**synaptic, v_threshold=values["v_threshold"])
        return self.nir.CubaLI(**synaptic)

    def layer(self, name: str, module: Any) -> Layer:
        kind, shape = type(module).__name__, self._shapes[name]
        title = f"from_sinabs: {kind} {name!r}"
        beta = spread(module.alpha_mem_calculated, shape, title)
        factor = (np.float32(1) - beta.astype(np.float32)).astype(np.float64) if module.norm_input else np.ones_like(beta)
        alpha = None if module.alpha_syn_calculated is None else spread(module.alpha_syn_calculated, shape, title)
        notes = [f"sinabs {kind}" + (", input scaled by 1 − β" if module.norm_input else "")
                 + ("" if alpha is None else ", I' = α (I + x)")]
        exact, spiking = True, dict[str, Any]()
        if module.spike_fn is not None:
            threshold = spread(module.spike_threshold, shape, title)
            fires = getattr(module.spike_fn, "__name__", type(module.spike_fn).__name__)
            subtract = type(module.reset_fn).__name__ == "MembraneSubtract"
            amount = threshold if not subtract or module.reset_fn.subtract_value is None else module.reset_fn.subtract_value
            spiking = {"threshold": threshold, "strict": False, "reset": "subtract" if subtract else "value",
                       "reset_value": amount if subtract else 0.0}
            notes.append("spike if v ≥ θ, " + ("v − ρ" if subtract else "v = 0"))
            if fires != "SingleSpike":
                exact = False
                notes.append(f"{fires} may spike several times in a step, this neuron once")
            if module.min_v_mem is not None:
                bottom = spread(module.min_v_mem, shape, title)
                spiking["floor"] = bool(np.array_equal(bottom, -threshold) and threshold.min() >= 0)
                if spiking["floor"]:
                    notes.append("v stays at or above −θ")
                else:
                    exact = False
                    notes.append(f"the floor min_v_mem {bottom.min():g}, which is not −θ, is left out")

        def changes(population: Population) -> Changes:
            return direct(population, 0.0 if alpha is None else alpha, beta, factor, decay_first=alpha is not None) | spiking

        return Layer(changes, tuple(notes), exact)
