"""NIR graphs as networks: neurons become populations, what lies between them becomes synapses.

NIR: Pedersen et al., Neuromorphic intermediate representation, Nature Communications 15, 8122 (2024).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.nir_conv import input_shape
from spikeloom.host.importers.nir_graph import NEURONS, Graph, Node, read_graph
from spikeloom.host.importers.nir_linear import Map, delay_steps, size
from spikeloom.host.importers.nir_paths import Drive, Paths, cut_loops
from spikeloom.host.importers.profiles import RESETS, Profile, Reset
from spikeloom.host.importers.profiles import profile as named_profile
from spikeloom.host.networks.discretise import discretise, recovered_dt, resets
from spikeloom.host.networks.network import Network, NodeReport, Population, Projection
from spikeloom.host.networks.population import Floats

#: Share of a delay, or of a step, by which it may be no whole number of steps and still be taken for one: float32's rounding.
_WHOLE_STEP = 1e-5


def from_nir(source: Any, *, profile: str | Profile, dt: float | None = None, reset: Reset | None = None,
             norm_input: bool | None = None, order: Literal["new", "old"] | None = None, floor: bool = False) -> Network:
    """Import a NIR graph under the step rule of the framework that wrote it.

    Parameters
    ----------
    source
        Path of a ``.nir`` file (versions 0.1.1 to 1.0.8 were tried), or a ``nir.NIRGraph``.
    profile
        The framework: ``snntorch``, ``norse``, ``sinabs``, ``spikingjelly``, ``rockpool`` or ``brainpy``
        (:data:`spikeloom.host.importers.profiles.PROFILES` describes each), or a Profile of your own.
    dt
        Step in the unit of the file's time constants (seconds; sinabs: steps); default is the profile's.
    reset
        ``subtract`` the threshold, set to ``zero``, or set to the file's v_reset (``value``); default is the profile's.
    norm_input
        sinabs alone: whether its LIF and LI layers scale their input.
    order
        Whether v sees the synaptic current after (``new``) or before (``old``) its update; default is the profile's.
    floor
        sinabs alone: its neurons were bounded below by ``min_v_mem = -spike_threshold``, as ``sinabs.from_torch`` makes them;
        the file does not tell.

    Returns the network; populations bear the names of the NIR nodes, projections those of the linear nodes that they
    are folded from (all that leads from one population to another is one projection), and ``report`` tells what became of
    each node. Neurons start from v = 0. A constant input to a synaptic current (a bias before CubaLI or CubaLIF), or one
    through a Delay node, comes from a population ``<name>.bias`` of one neuron that spikes in every step. A loop whose
    delays are all zero closes one step later. Delays are rounded to whole steps, which the report says, and by how much.

    Raises NetworkError, naming file and node, for files that cannot be understood or placed, and naming the argument
    to give where file and profile leave the rule open.
    """
    chosen = named_profile(profile) if isinstance(profile, str) else profile
    if reset is not None and reset not in RESETS:
        raise NetworkError(f"reset must be one of {', '.join(RESETS)}, not {reset!r}")
    if order not in (None, "new", "old"):
        raise NetworkError(f"order must be 'new' or 'old', not {order!r}")
    if floor and chosen.name != "sinabs":
        raise NetworkError(f"floor is for networks that sinabs wrote, not {chosen.name}")
    graph = read_graph(source)
    try:
        return _Importer(graph, chosen, dt, reset, norm_input, order or chosen.order, floor).network()
    except RecursionError:
        raise NetworkError(f"{graph.source}: more linear nodes follow each other than can be folded (some 200)") from None
    except NetworkError as error:
        if str(error).startswith(graph.source):
            raise
        raise NetworkError(f"{graph.source}: {error}") from error


class _Importer:
    """One import: the graph, and the rule that it is read by."""

    def __init__(self, graph: Graph, profile: Profile, dt: float | None, reset: Reset | None, norm_input: bool | None,
                 order: Literal["new", "old"], floor: bool) -> None:
        self._graph = graph
        self._profile = profile
        self._reset = reset
        self._norm_input = norm_input
        self._late = order == "old"
        self._floor = floor
        self._report: dict[str, NodeReport] = {}
        self._dt = self._step(dt)

    def network(self) -> Network:
        """The whole import."""
        graph = self._graph
        paths = Paths(graph, self._dt)
        drives = paths.drives()
        outputs = self._outputs(drives)
        populations: list[Population] = []
        projections: list[Projection] = []
        late = cut_loops(graph, drives)
        for name, drive in sorted(drives.items()):
            made, extra = self._population(name, drive)
            populations += made
            projections += extra
            projections += self._projections(name, drive, late)
        inputs = {name: paths.shape(name) for name, node in sorted(graph.nodes.items()) if node.kind == "Input"}
        self._report_rest(paths, drives, late)
        seconds = None if self._profile.name == "sinabs" else self._dt
        net = Network(inputs=inputs, populations=tuple(populations), projections=tuple(projections), outputs=outputs,
                      dt=seconds, report=tuple(self._report[name] for name in graph.nodes))
        order = net.order()  # of the signals, whatever order file or graph list the nodes in
        return replace(net, populations=tuple(net.population(name) for name in order),
                       projections=tuple(sorted(projections, key=lambda p: (order.index(p.target), p.source, p.name))))

    def _step(self, dt: float | None) -> float:
        """The step: as given, the profile's, or recovered from the file."""
        if dt is not None:
            if not (np.isfinite(dt) and dt > 0):
                raise NetworkError(f"dt must be a positive number, not {dt}")
            return float(dt)
        if self._profile.dt is not None:
            return self._profile.dt
        if self._profile.integrator == "rockpool":
            timed = [node.parameters for node in self._graph.nodes.values() if node.kind in NEURONS and "r" in node.parameters]
            pairs = [np.broadcast_arrays(p["tau_mem"] if "tau_mem" in p else p["tau"], p["r"]) for p in timed
                     if "tau_mem" in p or "tau" in p]
            if pairs:
                tau, r = (np.concatenate([pair[i].reshape(-1) for pair in pairs]) for i in (0, 1))
                found = recovered_dt(tau, r)
                if found is not None:
                    return found
        raise NetworkError(f"{self._graph.source}: profile {self._profile.name!r} needs dt=…: {self._profile.dt_help}")

    def _outputs(self, drives: dict[str, Drive]) -> tuple[str, ...]:
        """Names of the output populations; Output nodes that show just a population leave the drives."""
        names: list[str] = []
        for name in [name for name in sorted(drives) if self._graph.nodes[name].kind == "Output"]:
            shown = drives[name].direct()
            if shown is None or self._graph.nodes[shown].kind == "Input":
                shown = name
                self._note(name, "exact", "readout of the linear nodes before it: v = Σ w s + b in each step")
            else:
                del drives[name]
                self._note(name, "exact", f"shows {shown!r}")
            if shown not in names:
                names.append(shown)
        if not names:
            raise NetworkError(f"{self._graph.source}: the graph has no Output node")
        return tuple(names)

    def _population(self, name: str, drive: Drive) -> tuple[list[Population], list[Projection]]:
        """The population of a neuron or readout, and what gives it the constants that its bias cannot."""
        node = self._graph.nodes[name]
        title = f"{self._graph.source}: {node.kind} {name!r}"
        synaptic = node.kind.startswith("Cuba")
        offset = np.zeros(len(drive.constant.vector())) if synaptic else drive.constant.vector()
        rest = drive.constant if synaptic else drive.constant.delayed()
        extra = self._clock(name, rest) if len(rest.weight) else ([], [])
        if node.kind == "Output":
            return [Population(name=name, shape=drive.shape, membrane_gain=0.0, bias=offset, spiking=False), *extra[0]], extra[1]
        values = self._values(node, drive)
        step = discretise(title, node.kind, values, offset, self._profile, self._dt, self._norm_input)
        spiking = node.kind in ("Threshold", "IF", "LIF", "CubaLIF")
        options: dict[str, Any] = {}
        if node.kind == "Threshold":
            options = {"threshold": values["threshold"], "reset": "value", "reset_value": 0.0, "strict": True}
        elif spiking:
            options = {"threshold": values["v_threshold"], "strict": self._profile.strict,
                       "floor": self._floor, **resets(title, self._needed_reset(node), values, step.beta, self._profile)}
        population = Population(name=name, shape=drive.shape, current_gain=step.alpha, membrane_gain=step.beta,
                                input_gain=step.gain, bias=step.bias, spiking=spiking, rule=step.rule, **options)
        self._note_neuron(node, population, values)
        return [population, *extra[0]], extra[1]

    def _clock(self, name: str, constant: Map) -> tuple[list[Population], list[Projection]]:
        """A neuron that spikes in every step and its synapses to a population."""
        called = f"{name}.bias"
        while called in self._graph.nodes:
            called += "'"
        clock = Population(name=called, shape=(1,), membrane_gain=0.0, bias=1.0, threshold=1.0, reset="value")
        return [clock], [self._projection(called, called, name, constant, False)]

    def _needed_reset(self, node: Node) -> Reset:
        chosen = self._reset or self._profile.reset
        if chosen is None:
            raise NetworkError(f"{self._graph.source}: {node.kind} {node.name!r} needs reset=…: {self._profile.reset_help}")
        return chosen

    def _values(self, node: Node, drive: Drive) -> dict[str, Floats]:
        """The neuron's parameters, each (n,)."""
        count = size(drive.shape)
        values: dict[str, Floats] = {}
        for key, array in node.parameters.items():
            if array.size not in (1, count):
                raise self._graph.error(node.name, f"has {key} of shape {array.shape}, but the shape {drive.shape}")
            values[key] = np.broadcast_to(array.reshape(-1), count).astype(np.float64)
        return values

    def _projections(self, name: str, drive: Drive, late: dict[tuple[str, str], tuple[str, ...]]) -> list[Projection]:
        return [self._projection(path.name, path.source, name, path.map, (path.source, name) in late) for path in drive.paths]

    def _projection(self, name: str, source: str, target: str, made: Map, late: bool) -> Projection:
        delay = np.maximum(made.delay, 1) if late else made.delay
        later = self._late and self._graph.nodes[target].kind.startswith("Cuba")
        return Projection(name=name, source=source, target=target, pre=made.pre, post=made.post, weight=made.weight,
                          delay=delay + int(later))

    def _note(self, name: str, status: Literal["exact", "approximated"], detail: str) -> None:
        self._report[name] = NodeReport(name, self._graph.nodes[name].kind, status, detail)

    def _note_neuron(self, node: Node, population: Population, values: dict[str, Floats]) -> None:
        profile = self._profile
        parts = [f"{profile.name}, {profile.integrator}, dt {self._dt:g}"]
        if population.spiking:
            sign = ">" if population.strict else "≥"
            parts.append(f"spike if v {sign} θ, " + ("v − ρ" if population.reset == "subtract" else "v = v_reset"))
        if population.floor:
            parts.append("v stays at or above −θ")
        if self._late and node.kind.startswith("Cuba"):
            parts.append("v sees the current before its update")
        if np.any(values.get("v_leak", np.zeros(1))):
            parts.append("starts from v = 0, not from v_leak")
        several = profile.several and population.spiking and node.kind != "Threshold"
        if several:
            parts.append(f"{profile.name} may spike several times in a step, this neuron once")
        self._note(node.name, "approximated" if several else "exact", "; ".join(parts))

    def _report_rest(self, paths: Paths, drives: dict[str, Drive], late: dict[tuple[str, str], tuple[str, ...]]) -> None:
        """Notes on linear nodes, inputs and loops."""
        used: dict[str, list[str]] = {}
        for drive in drives.values():
            for path in drive.paths:
                for link in path.links:
                    used.setdefault(link, []).append(path.name)
        for name, node in self._graph.nodes.items():
            if node.kind == "Input":
                self._note(name, "exact", "input")
            elif name not in self._report:
                into = ", ".join(repr(other) for other in used.get(name, []))
                if into:
                    self._note_linear(node, f"folded into {into}", paths)
                else:
                    self._note(name, "exact", "leads to no neuron and no output: left out")
        for (_, target), loop in late.items():
            old = self._report[target]
            text = f"{old.detail}; the loop {' → '.join(loop)} closes one step later"
            self._report[target] = NodeReport(old.name, old.kind, old.status, text)

    def _note_linear(self, node: Node, text: str, paths: Paths) -> None:
        exact = True
        if node.kind == "Delay":
            steps, off = delay_steps(self._graph, node, self._dt)
            text += f"; {steps.min()} to {steps.max()} steps" if len(set(steps.tolist())) > 1 else f"; {steps[0]} steps"
            exact = bool(np.all(off <= _WHOLE_STEP * np.maximum(steps, 1)))
            if not exact:
                text += f", rounded from up to {off.max():.3g} steps ({off.max() * self._dt:.3g} in the file's unit) away"
        written = input_shape(node)
        if written is not None and size(written) != size(paths.shape_before(node.name)):
            text += f"; its input has the shape {paths.shape_before(node.name)}, not {written} as input_shape says"
        self._note(node.name, "exact" if exact else "approximated", text)
