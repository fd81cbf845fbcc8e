"""Modules of PyTorch frameworks as networks: what :mod:`spikeloom.host.importers.frameworks_snntorch` and its sisters share.

The framework's own NIR export says which layers there are and how they are connected. What NIR does not carry (kind and time
of the reset, floors, several spikes in a step), and what its time constants only carry rounded, is read from the module.
The export, and every change that it needs, is done on a copy: the user's module stays as it is.

A sample with a time axis is run through the framework and through the float reference; the report then tells, for each
population, how many spikes differ. So an export that lost something is noticed.
"""

from __future__ import annotations

import copy
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.frameworks_layer import Layer, numbers
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.networks.network import Network, NodeReport
from spikeloom.host.networks.population import Reals
from spikeloom.host.networks.reference import reference


@dataclass(frozen=True)
class Trace:
    """What the framework's modules did on a sample: each layer's shape and values (steps, n), and how often it was called."""

    shapes: dict[str, tuple[int, ...]]
    values: dict[str, Reals]


class Framework(ABC):
    """One framework: how its modules are copied, run, exported and read."""

    title: str  #: as its authors write it
    package: str  #: what is imported, which is also the name of the profile and of Spikeloom's extra
    neurons: frozenset[str]  #: class names of the neuron layers that its export knows
    linear: frozenset[str]  #: class names of its other layers
    home: str  #: where its layers are defined: those that the export does not know are refused by name
    containers: frozenset[str] = frozenset()  #: class names of those among them that only hold others
    refused: frozenset[str] = frozenset()  #: class names that cannot even be copied or traced

    def __init__(self) -> None:
        self.torch = require("torch", self)
        self.module = require(self.package, self)

    @abstractmethod
    def prepare(self, module: Any) -> None:
        """Change a fresh copy so that it starts from the zero state; NetworkError for what cannot be represented."""

    @abstractmethod
    def expand(self, module: Any, trace: Trace) -> None:
        """Change a copy whose shapes are known so that its export works."""

    @abstractmethod
    def run(self, module: Any, sample: Any) -> None:
        """Run a tensor (steps, *shape) through a prepared copy, from the zero state, one step after the other."""

    @abstractmethod
    def export(self, module: Any, step: Any) -> Any:
        """The framework's own NIR export of a prepared copy; ``step`` is one step (*shape)."""

    @abstractmethod
    def layer(self, name: str, module: Any) -> Layer:
        """What a neuron layer says of itself."""

    def node(self, name: str) -> str:
        """NIR's name for the node of the named neuron layer."""
        return name

    def single(self, output: Any) -> Any:
        """The values (steps or 1, n) of a layer's output tensor, whose leading axes are those of :meth:`run`."""
        return output.reshape(1, -1)


def require(package: str, framework: Framework) -> Any:
    """Import a package late; NetworkError names the extra that brings it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch and its followers warn of each other's age
            return import_module(package)
    except ImportError as error:
        raise NetworkError(f"from_{framework.package} needs {framework.title} ({error}): "
                           f"pip install 'spikeloom[{framework.package}]'") from error


def network_of(framework: Framework, module: Any, sample: Any, *, dt: float | None, options: Mapping[str, Any] | None = None) -> Network:
    """The network of a framework's module; ``dt`` is the length of a step in seconds in the network's description.

    ``sample`` is an array (steps, *shape) or a tuple, the shape of one step without batch and time. NetworkError, naming the
    layer, for what cannot be represented.
    """
    title = f"from_{framework.package}"
    if not isinstance(module, framework.torch.nn.Module):
        raise NetworkError(f"{title} takes a torch.nn.Module, not {type(module).__name__}")
    steps = _steps(framework, sample, title)
    for name, part in module.named_modules():
        if type(part).__name__ in framework.refused:
            raise NetworkError(f"{title}: {framework.title}'s NIR export has no form for {type(part).__name__} {name!r}")
    twin = _tried(title, "the module cannot be copied", lambda: duplicate(framework.torch, module))
    if type(twin).__name__ in framework.neurons | framework.linear:
        twin = framework.torch.nn.Sequential(twin)
    with framework.torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the frameworks about their own parts, which the user's module chose
        framework.prepare(twin)
        trace = _trace(framework, twin, steps, title)
        framework.expand(twin, trace)
        framework.prepare(twin)
        graph = _exported(framework, twin, steps[0], title)
        layers = {framework.node(name): framework.layer(name, twin.get_submodule(name)) for name in trace.values}
    network = from_nir(graph, profile=framework.package, **(options or {}))
    missing = sorted({p.name for p in network.populations if p.rule is not None} - set(layers))
    if missing:
        raise NetworkError(f"{title}: no neuron layer of the module is the NIR node {missing[0]!r}")
    network = _changed(network, layers, dt)
    if isinstance(sample, tuple):
        return _noted(network, dict.fromkeys(layers, ("not compared with the framework: no sample was given", True)))
    return _compared(framework, network, trace, steps)


def duplicate(torch: Any, module: Any) -> Any:
    """A deep copy on the CPU for evaluation. Tensors inside a computation (hidden states, rates), which torch does not copy, are
    copied by value."""
    memo: dict[int, Any] = {}
    for part in module.modules():
        for value in [*vars(part).values(), *part._buffers.values()]:
            found = value if isinstance(value, tuple | list) else (value,)
            for tensor in found:
                if isinstance(tensor, torch.Tensor) and not tensor.is_leaf:
                    memo[id(tensor)] = tensor.detach().clone()
    return copy.deepcopy(module, memo).cpu().eval()


def _steps(framework: Framework, sample: Any, title: str) -> Any:
    """The sample as a tensor (steps, *shape), or one silent step of the given shape."""
    if isinstance(sample, tuple):
        if not sample or any(not isinstance(axis, int | np.integer) or axis < 1 for axis in sample):
            raise NetworkError(f"{title}: the shape must be positive whole numbers, not {sample}")
        return framework.torch.zeros((1, *sample))
    try:
        array = numbers(sample)
    except (TypeError, ValueError):
        raise NetworkError(f"{title} takes a sample (an array of steps) or a shape (a tuple), not {type(sample).__name__}") from None
    if array.ndim < 2 or array.size == 0 or not np.all(np.isfinite(array)):
        raise NetworkError(f"{title}: the sample must be finite numbers (steps, ...), not of shape {array.shape}")
    return framework.torch.tensor(array)


@contextmanager
def _hooks(modules: Mapping[str, Any], seen: Callable[[str, Any], None]) -> Iterator[None]:
    handles = [module.register_forward_hook(lambda _module, _inputs, output, name=name: seen(name, output))
               for name, module in modules.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _trace(framework: Framework, module: Any, steps: Any, title: str) -> Trace:
    """Run the sample through the copy; NetworkError for layers that the export does not know or that run twice in a step."""
    parts = dict(_parts(framework, module))
    shapes: dict[str, tuple[int, ...]] = {}
    values: dict[str, list[Any]] = {}

    def seen(name: str, output: Any) -> None:
        kind = type(parts[name]).__name__
        if kind not in framework.neurons | framework.linear:
            raise NetworkError(f"{title}: {framework.title}'s NIR export does not know the layer {kind} {name!r}; known are "
                               f"{', '.join(sorted(framework.neurons | framework.linear))}")
        tensor = output[0] if isinstance(output, tuple) else output
        values.setdefault(name, []).append(framework.single(tensor).numpy().copy())
        shapes[name] = tuple(tensor.shape)

    with _hooks(parts, seen):
        _tried(title, "the module did not run on the sample", lambda: framework.run(module, steps))
    joined = {name: np.concatenate(found) for name, found in values.items()}
    for name, array in joined.items():
        if len(array) != len(steps):
            raise NetworkError(f"{title}: the layer {name!r} ran {len(array)} times in {len(steps)} steps; each layer must run once a "
                               f"step (a loop over time belongs outside of the module)")
    neurons = {name: array for name, array in joined.items() if type(parts[name]).__name__ in framework.neurons}
    return Trace({name: shapes[name] for name in neurons}, neurons)


def _parts(framework: Framework, module: Any) -> Iterator[tuple[str, Any]]:
    """Layers by name: neurons whole, of the rest what has no parts of its own."""
    inside: list[str] = []
    for name, part in module.named_modules():
        if any(name.startswith(outer) for outer in inside):
            continue
        kind = type(part)
        whole = kind.__name__ in framework.neurons | framework.linear or (
            kind.__module__.startswith(framework.home) and kind.__name__ not in framework.containers)
        if whole:
            inside.append(f"{name}.")
        if whole or not any(True for _ in part.children()):
            yield name, part


def _tried(title: str, what: str, action: Callable[[], Any]) -> Any:
    """The action's result; whatever a foreign package raises becomes a NetworkError."""
    try:
        return action()
    except NetworkError:
        raise
    except Exception as error:
        raise NetworkError(f"{title}: {what}: {type(error).__name__}: {error}") from error


def _exported(framework: Framework, module: Any, step: Any, title: str) -> Any:
    return _tried(title, f"{framework.title}'s NIR export failed", lambda: framework.export(module, step))


def _changed(network: Network, layers: Mapping[str, Layer], dt: float | None) -> Network:
    """The network with what the layers say put in place of NIR's numbers."""
    populations = [replace(p, **layers[p.name].changes(p)) if p.name in layers else p for p in network.populations]
    network = replace(network, populations=tuple(populations), dt=dt or network.dt)
    return _noted(network, {name: ("; ".join(layer.notes), layer.exact) for name, layer in layers.items()}, fresh=True)


def _noted(network: Network, notes: Mapping[str, tuple[str, bool]], fresh: bool = False) -> Network:
    """The network with more in its report; ``fresh`` puts the notes in place of what NIR's numbers alone told."""
    report = []
    for node in network.report:
        text, exact = notes.get(node.name, ("", True))
        kept = "; ".join(part for part in node.detail.split("; ") if not fresh or part.startswith("the loop"))
        if node.name in notes:
            status = node.status if exact and not fresh else "exact" if exact else "approximated"
            node = NodeReport(node.name, node.kind, status, "; ".join(filter(None, (text, kept) if fresh else (kept, text))))
        report.append(node)
    return replace(network, report=tuple(report))


def _compared(framework: Framework, network: Network, trace: Trace, steps: Any) -> Network:
    """The report says how many spikes differ from the framework's own on the sample."""
    ours = reference(network, steps.numpy().reshape(len(steps), -1)).spikes
    notes: dict[str, tuple[str, bool]] = {}
    known = all(node.status == "exact" for node in network.report)
    for name, values in trace.values.items():
        node = framework.node(name)
        if node not in ours:
            continue
        differ = int(np.count_nonzero(ours[node] != (values != 0)))
        several = int(np.count_nonzero(values > 1))
        text = f"on the sample {differ} of {values.size} spikes differ from {framework.title}'s own"
        text += f", which spiked several times in a step {several} times" if several else ""
        if known and differ:
            text += ": more than rounding may be the cause; does the module compute outside of its layers, which the export loses?"
        notes[node] = text, differ == 0 and several == 0
    return _noted(network, notes)
