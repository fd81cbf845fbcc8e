"""Small networks of each framework, its own spikes on seeded inputs, and its own NIR export.

Run in an environment with one or more of the frameworks (requirements.txt and requirements_sinabs.txt name the versions)::

    python tests/frameworks/export.py [folder]

For each network it writes ``<framework>_<name>.nir`` and ``<framework>_<name>.npz``: the input (steps, *shape), the spikes
(steps, n) of every neuron layer under the name of its NIR node, what from_nir must be told, and the versions. Nothing of
Spikeloom is used. Weights come from NumPy and are multiples of 1/256, so that a sum of weights is exact in every order.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent
STEPS, INPUTS, IMAGE = 200, 12, (2, 9, 8)


@dataclass(frozen=True)
class Case:
    """A network of a framework: how it is built, and ``profile``: what from_nir must be told about it."""

    framework: str
    name: str
    build: Callable[[], Any]
    profile: dict[str, Any]
    image: bool = False

    @property
    def title(self) -> str:
        """Stem of its files."""
        return f"{self.framework}_{self.name}"

    def sample(self) -> npt.NDArray[np.bool_]:
        """Its input."""
        rng = np.random.default_rng(sum(map(ord, self.title)))
        return rng.random((60, *IMAGE) if self.image else (STEPS, INPUTS)) < 0.25

    def module(self) -> Any:
        """The network with its seeded weights."""
        return filled(self.build(), np.random.default_rng(len(self.title)))


def filled(module: Any, rng: np.random.Generator) -> Any:
    """Weights and biases of linear layers drawn from NumPy, in multiples of 1/256."""
    import torch
    for name, part in module.named_modules():
        if type(part).__name__ not in ("Linear", "Conv2d"):
            continue
        fan = int(np.prod(part.weight.shape[1:]))
        mean = -0.1 if name.endswith("recurrent") else 0.5 / np.sqrt(fan)  # loops that excite would never be silent
        for tensor, centre, scale in ((part.weight, mean, 2 / np.sqrt(fan)), (part.bias, 0, 0.125)):
            if tensor is not None:
                values = np.round(rng.normal(centre, scale, tuple(tensor.shape)) * 256) / 256
                tensor.data = torch.tensor(values, dtype=torch.float32)
    return module


def snntorch_cases() -> list[Case]:
    """Resets of both kinds, loops, and a convolution; parameters are vectors, without which export_to_nir fails."""
    def vectors(*values: float, shape: tuple[int, ...]) -> list[Any]:
        import torch
        return [torch.full(shape, value) for value in values]

    def dense(reset: str) -> Any:
        import snntorch
        from torch import nn
        a, b = vectors(0.9, 1.0, shape=(20,)), vectors(0.7, 0.8, 1.0, shape=(8,))
        more = {"init_hidden": True, "reset_mechanism": reset}
        return nn.Sequential(nn.Linear(INPUTS, 20), snntorch.Leaky(beta=a[0], threshold=a[1], **more), nn.Linear(20, 8, bias=False),
                             snntorch.Synaptic(alpha=b[0], beta=b[1], threshold=b[2], **more))

    def leaky(reset: str, delay: bool) -> Any:
        import snntorch
        from torch import nn
        parts: list[Any] = []
        for before, count in ((INPUTS, 20), (20, 8)):
            beta, threshold = vectors(0.85, 1.0, shape=(count,))
            parts += [nn.Linear(before, count), snntorch.Leaky(beta=beta, threshold=threshold, init_hidden=True,
                                                               reset_mechanism=reset, reset_delay=delay)]
        return nn.Sequential(*parts)

    def loop(reset: str, delay: bool = True) -> Any:
        import snntorch
        from torch import nn
        a, b = vectors(0.9, 1.0, shape=(20,)), vectors(0.7, 0.8, 1.0, shape=(8,))
        more = {"init_hidden": True, "reset_mechanism": reset, "reset_delay": delay}
        first = snntorch.RLeaky(beta=a[0], threshold=a[1], linear_features=20, **more)
        if not delay:
            beta, threshold = vectors(0.8, 1.0, shape=(8,))
            return nn.Sequential(nn.Linear(INPUTS, 20), first, nn.Linear(20, 8),
                                 snntorch.Leaky(beta=beta, threshold=threshold, **more))
        return nn.Sequential(nn.Linear(INPUTS, 20), first, nn.Linear(20, 8),
                             snntorch.RSynaptic(alpha=b[0], beta=b[1], threshold=b[2], linear_features=8, **more))

    def conv() -> Any:
        import snntorch
        from torch import nn
        a, b = vectors(0.9, 1.0, shape=(4, 5, 4)), vectors(0.8, 1.0, shape=(6,))
        return nn.Sequential(nn.Conv2d(2, 4, 3, stride=2, padding=1), snntorch.Leaky(beta=a[0], threshold=a[1], init_hidden=True),
                             nn.AvgPool2d(2), nn.Flatten(), nn.Linear(16, 6),
                             snntorch.Leaky(beta=b[0], threshold=b[1], init_hidden=True))

    subtract, zero = {"reset": "subtract"}, {"reset": "zero"}
    return [Case("snntorch", "subtract", lambda: dense("subtract"), subtract), Case("snntorch", "zero", lambda: leaky("zero", True), zero),
            Case("snntorch", "zero_synaptic", lambda: dense("zero"), zero),
            Case("snntorch", "recurrent", lambda: loop("subtract"), subtract),
            Case("snntorch", "recurrent_zero", lambda: loop("zero", False), zero),
            Case("snntorch", "at_once", lambda: leaky("subtract", False), subtract),
            Case("snntorch", "conv", conv, subtract, image=True)]


def norse_cases() -> list[Case]:
    """Cells without and with a synaptic current, and a convolution."""
    def dense() -> Any:
        import norse.torch as norse
        import torch
        from torch import nn
        p = norse.LIFBoxParameters(v_th=torch.tensor(0.25))
        return norse.SequentialState(nn.Linear(INPUTS, 20), norse.LIFBoxCell(p=p), nn.Linear(20, 8, bias=False), norse.IAFCell())

    def cell() -> Any:
        import norse.torch as norse
        import torch
        from torch import nn
        p = norse.LIFParameters(v_th=torch.tensor(0.25))
        return norse.SequentialState(nn.Linear(INPUTS, 20), norse.LIFCell(p=p), nn.Linear(20, 8), norse.LIFCell(p=p))

    def conv() -> Any:
        import norse.torch as norse
        import torch
        from torch import nn
        p = norse.LIFBoxParameters(v_th=torch.tensor(0.1))
        return norse.SequentialState(nn.Conv2d(2, 4, 3, padding=1), norse.LIFBoxCell(p=p), nn.Conv2d(4, 3, 3, stride=2),
                                     norse.LIFBoxCell(p=p))

    seconds = {"dt": 1e-6}  # to_nir's dt of 1e-3 times the cells' own
    return [Case("norse", "dense", dense, seconds), Case("norse", "cell", cell, seconds), Case("norse", "conv", conv, seconds, image=True)]


def sinabs_cases() -> list[Case]:
    """One spike a step, several (sinabs' default), and a convolution."""
    def dense(strong: bool) -> Any:
        import sinabs.activation
        import sinabs.layers
        import torch
        from torch import nn
        fires = sinabs.activation.MultiSpike if strong else sinabs.activation.SingleSpike
        threshold = torch.full((20,), 0.125 if strong else 0.25)
        lif = sinabs.layers.LIF(tau_mem=torch.full((20,), 10.0), spike_threshold=threshold, spike_fn=fires)
        return nn.Sequential(nn.Linear(INPUTS, 20), lif, nn.Linear(20, 8), sinabs.layers.IAF(spike_fn=fires))

    def conv() -> Any:
        import sinabs.activation
        import sinabs.layers
        import torch
        from torch import nn

        def fire(threshold: float) -> Any:
            return sinabs.layers.IAFSqueeze(spike_fn=sinabs.activation.SingleSpike, batch_size=1,
                                            spike_threshold=torch.tensor(threshold))

        return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1, bias=False), fire(1.0), sinabs.layers.SumPool2d(2),
                             nn.Conv2d(4, 3, 3), fire(8.0), nn.Flatten(), nn.Linear(12, 5), fire(2.0))

    scaled = {"norm_input": True}  # sinabs' default
    return [Case("sinabs", "dense", lambda: dense(False), scaled), Case("sinabs", "several", lambda: dense(True), scaled),
            Case("sinabs", "conv", conv, scaled, image=True)]


def spikingjelly_cases() -> list[Case]:
    """Hard and soft resets, a synaptic current, and a convolution."""
    def dense(v_reset: float | None) -> Any:
        from spikingjelly.activation_based import layer, neuron
        from torch import nn
        return nn.Sequential(layer.Linear(INPUTS, 20), neuron.LIFNode(tau=3.0, v_reset=v_reset, v_threshold=0.5), layer.Linear(20, 8),
                             neuron.IFNode(v_reset=v_reset))

    def cuba() -> Any:
        from spikingjelly.activation_based import layer, neuron
        from torch import nn
        return nn.Sequential(layer.Linear(INPUTS, 20), neuron.CUBALIFNode(v_reset=0.0), layer.Linear(20, 8, bias=False),
                             neuron.ParametricLIFNode(init_tau=2.5, v_reset=0.0, decay_input=False))

    def conv() -> Any:
        from spikingjelly.activation_based import layer, neuron
        from torch import nn
        return nn.Sequential(layer.Conv2d(2, 4, 3, padding=1, bias=False), neuron.LIFNode(v_reset=0.0), layer.AvgPool2d(2),
                             layer.Flatten(), layer.Linear(64, 6), neuron.IFNode(v_reset=0.0))

    value, subtract = {"reset": "value"}, {"reset": "subtract"}
    return [Case("spikingjelly", "hard", lambda: dense(0.0), value), Case("spikingjelly", "soft", lambda: dense(None), subtract),
            Case("spikingjelly", "cuba", cuba, value), Case("spikingjelly", "conv", conv, value, image=True)]


CASES = [*snntorch_cases(), *norse_cases(), *sinabs_cases(), *spikingjelly_cases()]


def present(framework: str) -> str:
    """Empty if a framework can be imported, else why not."""
    try:
        import_module(framework)
    except ImportError as error:
        return str(error)
    return ""


def run(case: Case) -> dict[str, npt.NDArray[np.float32]]:
    """The framework's own spikes (steps, n), or how many of them, of each neuron layer."""
    import torch
    module, sample = case.module().eval(), torch.tensor(case.sample().astype(np.float32))
    found: dict[str, list[Any]] = {}
    for name, part in module.named_children():
        if type(part).__name__ not in ("Linear", "Conv2d", "Flatten", "AvgPool2d", "SumPool2d"):
            part.register_forward_hook(lambda _part, _in, out, name=name:
                                       found.setdefault(name, []).append(out[0] if isinstance(out, tuple) else out))
    with torch.no_grad():
        if case.framework == "sinabs":
            module(sample if case.image else sample[None])
        elif case.framework == "norse":
            state = None
            for step in sample:
                _, state = module(step, state)
        else:
            for step in sample:
                module(step[None])
    return {name: torch.stack(steps).reshape(len(sample), -1).numpy() for name, steps in found.items()}


def export(case: Case) -> Any:
    """The framework's own export, and what its traps made necessary."""
    import torch
    module, step = case.module().eval(), torch.zeros(case.sample().shape[1:])
    if case.framework == "snntorch":
        from snntorch.export_nir import export_to_nir
        return export_to_nir(module, step[None], ignore_dims=[0])
    if case.framework == "norse":
        from norse.torch.utils.export_nir import to_nir as norse_to_nir
        return norse_to_nir(module, step)
    if case.framework == "sinabs":
        import nir
        from sinabs.nir import to_nir as sinabs_to_nir
        module(step[None] if case.image else step[None, None])
        graph = sinabs_to_nir(module, step[None] if case.image else step[None, None])
        if not case.image:  # the export takes the batch axis away, but not the time axis
            graph.nodes["input"] = nir.Input(np.asarray(step.shape))
            graph.nodes["output"] = nir.Output(np.asarray(graph.nodes["output"].output_type["output"])[1:])
        return graph
    from spikingjelly.activation_based.nir_exchange import export_to_nir as jelly_to_nir
    for part in module.modules():
        if getattr(part, "v_reset", 0.0) is None:  # the export refuses a soft reset
            part.v_reset = 0.0
    return jelly_to_nir(module, step[None])


def writable(case: Case, graph: Any) -> None:
    """nir.write takes neither tensors nor shapes that are not known, which Norse and sinabs leave in their graphs."""
    import torch
    before = shapes(case)
    for name, node in graph.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, torch.Tensor):
                setattr(node, key, value.detach().numpy())
        if type(node).__name__ == "Conv2d" and node.input_shape is None:
            node.input_shape = before[name][-2:]
        if type(node).__name__ == "Flatten" and node.input_type.get("input") is None:
            node.input_type = {"input": np.asarray(before[name])}


def shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """The shape of what enters each layer, without batch."""
    import torch
    module, found = case.module().eval(), dict[str, tuple[int, ...]]()
    for name, part in module.named_children():
        part.register_forward_pre_hook(lambda _part, args, name=name: found.update({name: tuple(args[0].shape)}))
    step = torch.zeros(case.sample().shape[1:])
    with torch.no_grad():
        module(step if case.framework == "norse" else step[None] if case.image or case.framework != "sinabs" else step[None, None])
    drop = 0 if case.framework == "norse" else 1
    return {name: shape[drop:] for name, shape in found.items()}


def node(case: Case, name: str, nodes: list[str]) -> str:
    """The NIR node of a neuron layer."""
    return next(other for other in (name, f"{name}.lif", f"_{name}") if other in nodes)


def main() -> None:
    """Write the files of every framework that is there."""
    import nir
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=FOLDER)
    folder = parser.parse_args().folder
    warnings.simplefilter("ignore")
    for case in CASES:
        missing = present(case.framework)
        if missing:
            print(f"{case.title}: left out ({missing})")
            continue
        graph = export(case)
        writable(case, graph)
        more = {"compression": None} if "compression" in signature(nir.write).parameters else {}
        nir.write(folder / f"{case.title}.nir", graph, **more)
        spikes = {f"spikes {node(case, name, list(graph.nodes))}": values.astype(np.uint8) for name, values in run(case).items()}
        packages = ", ".join(f"{name} {version(name)}" for name in (case.framework, "torch", "nir", "nirtorch"))
        np.savez_compressed(folder / f"{case.title}.npz", input=case.sample(), versions=np.array(packages),
                            profile=np.array(json.dumps(case.profile)), **spikes)
        print(f"{case.title}: {packages}; " + ", ".join(f"{key} {int(values.sum())} of {values.size}" for key, values in spikes.items()))


if __name__ == "__main__":
    main()
