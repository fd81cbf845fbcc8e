"""BrainPy's classic networks: LIF populations and their projections, read from the living objects.

In a step BrainPy updates the parts of a network in the order of the network's ``update``. With exp_auto a neuron takes
``V ← V∞ + (V − V∞) exp(−dt/τ)``, V∞ = V_rest + R I, with the I of this step; it spikes if V ≥ V_th, is then at V_reset, and keeps
its V in the steps in which ``t − t_last ≤ tau_ref``. An ``Expon`` synapse takes ``g ← g exp(−dt/τ) + Σ w s``; merged with
others of its neuron (``…PostMg``), ``g ← (g + Σ w s) exp(−dt/τ)``. So with v = V − V(0) and β, α the two exponentials::

    u ← α u + R (1 − β) w s             (merged: α w instead of w; delta projections: α = 0, v gets w itself)
    v ← β v + u + (1 − β) (V_rest + R I_constant − V(0))

Each neuron's own V(0) is taken, so that random initial potentials stay what they are. With the standard order, projections
before neurons, a spike is seen in the next step (delay 1); the order is found by watching one step of ``update``, and what
is not standard follows :func:`spikeloom.host.importers.brainpy_parts.delay_steps`. The equations are BrainPy's own; its numbers are float32
unless ``bm.enable_x64()`` was called, those here float64.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.importers import brainpy_parts as parts
from spikeloom.host.importers.brainpy_neurons import input_gain, read_population
from spikeloom.host.importers.brainpy_probe import Probe, probe
from spikeloom.host.networks.network import Network, NodeReport, Projection
from spikeloom.host.networks.population import Floats

_LIF = ("Lif", "LifLTC", "LifRef", "LifRefLTC")
_READOUTS = ("IF", "IFLTC")  # they never spike
_SOURCES = ("InputGroup", "OutputGroup", "SpikeTimeGroup", "PoissonGroup")

#: What a half projection's spikes are: a name, or (name, first neuron), or (name, first neuron, delay in steps).
Source = str | tuple[str, int] | tuple[str, int, int]


def from_brainpy(network: Any, *, inputs: Mapping[str, int | Sequence[int]] | None = None, outputs: Iterable[str] | None = None,
                 dt: float | None = None, currents: Mapping[str, npt.ArrayLike] | None = None,
                 sources: Mapping[str, Source] | None = None, arguments: Sequence[Any] = ()) -> Network:
    """A network from a BrainPy object of the classic API (``brainpy.dyn``, BrainPy 2.8.2 or later), in its initial state.

    Read are ``Lif``, ``LifRef`` (also their LTC forms) and ``IF`` (a readout), with all projections of ``brainpy.dyn`` named
    ``…AlignPost…``, ``…AlignPre…`` and ``…Delta`` whose synapse is ``Expon`` and whose output is ``CUBA``; at most two synaptic
    time constants on a population. Populations are named by their path in the network (``E``, ``net.E``).

    Parameters
    ----------
    network
        A ``DynSysGroup`` or any other ``DynamicalSystem``, not yet run (or reset by ``bp.reset_state``). One step of
        it is run to see the order of updates; its state is put back.
    inputs
        Name and size, or shape, of spikes that the caller hands to ``update``. ``InputGroup``, ``SpikeTimeGroup`` and ``PoissonGroup``
        are inputs by their paths without being named; their spikes must then be given to what runs the network.
    outputs
        Populations to show; default: all.
    dt
        Step in milliseconds; default ``bm.get_dt()``. Delays are BrainPy's, in steps.
    currents
        Constant input currents (I of the equations) that ``update`` hands to populations: the object does not tell whether they
        are constant, so an ``update`` that hands one over without its being named here is refused.
    sources
        For each half projection, by path, what ``update`` hands to it: the name of an input or population, with the
        first of its neurons where it is not 0. Its delay is found out if it is 0 or 1, else must be given too.
    arguments
        What ``network.update`` takes, for that one step.

    Returns
    -------
    Network
        With a report of each node. The rest is exact; ``approximated`` is a refractory period of whole steps, which in
        BrainPy itself ends a step earlier or later as the rounding of its clock has it.

    NetworkError, naming the part, for everything that is not known, and for the API of ``brainpy.state``.
    """
    bp = _brainpy(network)
    step = float(bp.math.get_dt()) if dt is None else dt
    if not np.isfinite(step) or step <= 0:
        raise NetworkError(f"dt must be a positive number of milliseconds, not {dt}")
    return _Reader(bp, network, step, dict(inputs or {}), dict(currents or {}), dict(sources or {}), arguments).read(outputs)


def _brainpy(network: Any) -> Any:
    """The package; NetworkError where it is missing or the object is not of its classic API."""
    try:
        bp = import_module("brainpy")
    except ImportError:
        raise NetworkError("BrainPy is not installed; pip install 'spikeloom[brainpy]' (Python 3.11 or later)") from None
    if isinstance(network, bp.DynamicalSystem):
        return bp
    new = any(kind.__module__.split(".")[0] in ("brainstate", "brainpy_state") for kind in type(network).__mro__)
    name = type(network).__name__
    if new:
        raise NetworkError(f"{name} is of BrainPy's new API (brainpy.state); build the network with the classic one (brainpy.dyn, "
                           f"brainpy.dnn, DynSysGroup)")
    raise NetworkError(f"{name} is not a BrainPy network; give a DynSysGroup")


@dataclass
class _Reader:
    """The walk over one network."""

    bp: Any
    network: Any
    dt: float
    inputs: dict[str, Any]
    currents: dict[str, Any]
    sources: dict[str, Any]
    arguments: Sequence[Any]
    neurons: dict[str, Any] = field(default_factory=dict)
    groups: dict[str, Any] = field(default_factory=dict)
    projections: dict[str, Any] = field(default_factory=dict)
    report: list[NodeReport] = field(default_factory=list)

    def read(self, outputs: Iterable[str] | None) -> Network:
        self._sort()
        self.probe: Probe = probe(self.bp, self.network, {**self.groups, **self.neurons, **self.projections}, self.arguments)
        shapes = {name: (shape,) if isinstance(shape, int) else tuple(shape) for name, shape in self.inputs.items()}
        shapes.update({path: tuple(group.size) for path, group in self.groups.items()})
        self.sizes = {name: int(np.prod(shape)) for name, shape in shapes.items()} | \
            {path: int(neuron.num) for path, neuron in self.neurons.items()}
        self._check_names()
        gains: dict[str, list[Floats]] = {path: [] for path in self.neurons}
        links = tuple(self._projection(path, projection, gains) for path, projection in self.projections.items())
        made = []
        for path, neuron in self.neurons.items():
            current = self._current(f"Population {path!r}", path, neuron)
            population, entry = read_population(self.bp, path, neuron, gains[path], current, self.dt)
            made.append(population)
            self.report.append(entry)
        return Network(inputs=shapes, populations=tuple(made), projections=links, dt=self.dt * 1e-3,
                       outputs=tuple(self.neurons if outputs is None else outputs), report=tuple(self.report))

    def _sort(self) -> None:
        """Every node of the network is a neuron, an input, a projection, a part of one, or refused."""
        dyn = self.bp.dyn
        nodes = _named(self.network)
        for path, node in nodes.items():
            name, own = type(node).__name__, type(node).__module__.startswith("brainpy.")
            if isinstance(node, self.bp.Projection) and (own or "refs" in node.__dict__):
                if not own or name not in parts.KINDS:
                    raise NetworkError(f"Projection {path!r}: class {name} is not supported; there are {', '.join(parts.KINDS)}")
                self.projections[path] = node
            elif isinstance(node, dyn.NeuDyn):
                self._sort_neuron(path or name, node)
        known = {id(part) for p in self.projections.values() for part in (p.refs.get("syn"), p.comm, p.refs["out"])}
        for path, node in nodes.items():
            loose = isinstance(node, (self.bp.dyn.SynDyn, self.bp.layers.Layer, dyn.SynOut, dyn.InputVar)) and id(node) not in known
            if loose:
                raise NetworkError(f"{path!r} ({type(node).__name__}) is part of no projection: what update does with it cannot be "
                                   f"seen; put it into a projection")
        for path, node in self.neurons.items():
            for key, part in {**node.current_inputs, **node.delta_inputs}.items():
                if id(part) not in known:
                    raise NetworkError(f"Population {path!r}: its input {key!r} is not that of a projection; only projections and "
                                       f"constant currents are supported")
        if not self.neurons:
            raise NetworkError(f"{type(self.network).__name__} has no neurons that can be read: give a DynSysGroup whose populations "
                               f"are its attributes")

    def _sort_neuron(self, path: str, node: Any) -> None:
        base = next(kind for kind in type(node).__mro__ if kind.__module__.startswith("brainpy."))
        same = all(getattr(type(node), name, None) is getattr(base, name, None) for name in ("update", "derivative"))
        if same and base.__name__ in _SOURCES:
            self.groups[path] = node
        elif same and base.__name__ in _LIF + _READOUTS:
            self.neurons[path] = node
        else:
            raise NetworkError(f"Population {path!r}: class {type(node).__name__} is not supported; there are "
                               f"{', '.join(_LIF + _READOUTS)} and, as inputs, {', '.join(_SOURCES)}")

    def _check_names(self) -> None:
        for what, given, known in (("currents", self.currents, self.neurons), ("sources", self.sources, self.projections)):
            for name in given:
                if name not in known:
                    raise NetworkError(f"{what} names {name!r}; there are {', '.join(known) or 'none'}")

    def _projection(self, path: str, projection: Any, gains: dict[str, list[Floats]]) -> Projection:
        title = f"Projection {path!r}"
        kind = parts.KINDS[type(projection).__name__]
        target = self._path(title, projection.refs["post"])
        if kind.half:
            source, first, count, delay = self._half(title, path, projection, target)
        else:
            source, first = self._path(title, projection.refs["pre"]), 0
            count = self.sizes[source]
            identifier = self.bp.delay.delay_identifier
            delay = parts.delay_steps(kind, *parts.registered(projection, kind, identifier), self.probe.first(source, path),
                                      self.probe.first(target, path))
        if kind.side == "pre" and type(projection.comm).__name__.startswith("Event"):
            raise NetworkError(f"{title}: {type(projection.comm).__name__} takes every value above 0 for one spike, but "
                               f"{type(projection).__name__} hands it the synapses' real values; use a comm without Event")
        pre, post, weight = parts.synapses(title, projection.comm, count, self.sizes[target])
        receptor, factor = self._receptor(title, kind, projection, target, gains[target])
        constant = "delta" if kind.side == "delta" else "tau"
        self.report.append(NodeReport(path, type(projection).__name__, "exact", f"{source} to {target}, {len(weight)} synapses, "
                                      f"seen {delay} steps after the spike, receptor {receptor} ({constant} "
                                      f"{self._tau(projection) if constant == 'tau' else 'synapse'})"))
        return Projection(name=path, source=source, target=target, pre=first + pre, post=post, weight=weight * factor[post],
                          delay=np.full(len(weight), delay), receptor=receptor)

    @staticmethod
    def _tau(projection: Any) -> str:
        values = np.unique(parts.array(projection.refs["syn"].tau))
        return f"{values[0]:g} ms" if len(values) == 1 else f"{values[0]:g} to {values[-1]:g} ms"

    def _path(self, title: str, node: Any) -> str:
        for path, part in {**self.groups, **self.neurons}.items():
            if part is node:
                return path
        raise NetworkError(f"{title}: {type(node).__name__} {node.name!r} at its end is not part of the network; make it an attribute")

    def _half(self, title: str, path: str, projection: Any, target: str) -> tuple[str, int, int, int]:
        """Source, first neuron, number of neurons and delay of what update hands to a half projection."""
        if path not in self.sources:
            raise NetworkError(f"{title}: the object does not tell which spikes update hands to it; give "
                               f"sources={{{path!r}: name}} or (name, first neuron)")
        given = self.sources[path]
        source, first, *rest = (given, 0) if isinstance(given, str) else given
        spikes = self.probe.given[path]
        if source not in self.sizes:
            raise NetworkError(f"{title}: its source {source!r} is neither an input nor a population; there are "
                               f"{', '.join(self.sizes)}")
        late = int(self.probe.first(target, path))
        if spikes is None:
            raise NetworkError(f"{title}: update is compiled, so that what it hands over cannot be seen; remove the jit")
        count = spikes.size
        if first + count > self.sizes[source]:
            raise NetworkError(f"{title}: it takes {count} spikes, but from neuron {first} on {source!r} has {self.sizes[source] - first}")
        if rest or source in self.inputs:
            return source, first, count, (rest[0] if rest else 0) + late
        part, shown = slice(first, first + count), spikes.reshape(-1).astype(bool)
        fits = [np.array_equal(shown, when[source][part]) for when in (self.probe.after, self.probe.before)]
        if sum(fits) != 1:
            raise NetworkError(f"{title}: update does not hand it the spikes of neurons {first} to {first + count - 1} of {source!r} of "
                               f"this or the last step; give sources={{{path!r}: (name, first neuron, delay in steps)}}")
        return source, first, count, fits.index(True) + late

    def _receptor(self, title: str, kind: parts.ProjectionKind, projection: Any, target: str, gains: list[Floats]) -> \
            tuple[int, Floats]:
        """The target's current that the projection drives (its gains are noted), and a factor (n,) of the weights."""
        out, syn, size = projection.refs["out"], projection.refs.get("syn"), self.sizes[target]
        if kind.side == "delta":
            drive = input_gain(f"Population {target!r}", self.neurons[target], self.dt)
            gain, factor = np.zeros(size), 1 / np.where(drive, drive, np.nan)
            if not np.all(np.isfinite(factor)):
                raise NetworkError(f"{title}: a neuron of {target!r} has R = 0, so that its membrane cannot be driven")
        else:
            for part, name in ((out, "CUBA"), (syn, "Expon")):
                if type(part).__name__ != name or not type(part).__module__.startswith("brainpy."):
                    raise NetworkError(f"{title}: {type(part).__name__} is not supported; the synapse must be Expon and its output "
                                       f"CUBA")
            tau = np.asarray(parts.array(syn.tau), np.float64).reshape(-1)
            if kind.side == "pre" and np.ptp(tau) > 0:
                raise NetworkError(f"{title}: its sources have different time constants; only one is supported")
            gain = parts.decay(title, syn.integral, parts.flat(title, "tau", tau[:1] if kind.side == "pre" else tau, size), self.dt)
            factor = gain if kind.decays else np.ones(size)
            if np.any(parts.array(syn.g)):
                raise NetworkError(f"{title}: its synapses are not at their start; call bp.reset_state(network)")
        for receptor, known in enumerate(gains):
            if np.array_equal(known, gain):
                return receptor, factor
        gains.append(gain)
        if len(gains) > 2:
            raise NetworkError(f"{title}: it gives {target!r} a third synaptic time constant (or delta input); a neuron has at "
                               f"most two")
        return len(gains) - 1, factor

    def _current(self, title: str, path: str, node: Any) -> Floats:
        if path in self.currents:
            return parts.flat(title, "currents", self.currents[path], node.num)
        shown = self.probe.given[path]
        if path in self.probe.hidden or (shown is not None and np.any(shown)):
            what = "a current that cannot be seen" if shown is None else f"a current of {parts.span(shown)}"
            raise NetworkError(f"{title}: update hands it {what}; if it is constant, give currents={{{path!r}: value}}")
        return np.zeros(node.num)


def _named(network: Any) -> dict[str, Any]:
    """The network's nodes by their paths, but for BrainPy's own machinery; members given to DynSysGroup by their names alone."""
    nodes: dict[str, Any] = {}
    for path, node in network.nodes(method="relative").unique().items():
        if "._" not in f".{path}":
            short = path.replace("children.", "")
            nodes[path if short in nodes else short] = node
    return nodes
