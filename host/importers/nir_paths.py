"""What drives each neuron of a NIR graph: the linear nodes between it and inputs and other neurons, folded; and the loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.nir_conv import input_shape
from spikeloom.host.importers.nir_graph import NEURONS, Graph
from spikeloom.host.importers.nir_linear import NODES, Linear, Map, Shape, size

#: The source of what biases add: a number that is 1 in every step. Nodes always have a name.
CONSTANT = ""
#: Letters after which the name of a path is cut; sums of sums of linear nodes would double it at each.
_LONG_NAME = 100


class _UnknownShape(NetworkError):
    """A node's shape depends, around a loop, on itself."""


@dataclass(frozen=True)
class Path:
    """All that leads from one input or neuron (or from ``CONSTANT``) to a node, through the linear nodes ``links``.

    ``name`` is its projection's; ``plain`` that its nodes only rename or reshape.
    """

    source: str
    map: Map
    name: str = ""
    links: frozenset[str] = frozenset()
    plain: bool = True

    def plus(self, other: Path) -> Path:
        """Two paths from the same source, summed."""
        name = " + ".join(sorted((self.name or "direct", other.name or "direct")))
        return Path(self.source, self.map.plus(other.map), name, self.links | other.links, False)


@dataclass(frozen=True)
class Drive:
    """All that is summed into a node: a path from each source, and what biases on the way add up to (one source, (1,))."""

    shape: Shape
    paths: tuple[Path, ...]
    constant: Map

    def direct(self) -> str | None:
        """The source, if the node shows just that one source unchanged."""
        if len(self.paths) != 1 or len(self.constant.weight) or not self.paths[0].plain:
            return None
        return self.paths[0].source


class Paths:
    """Walks a graph backwards, under the step ``dt``; every NetworkError names the node that is at fault."""

    def __init__(self, graph: Graph, dt: float) -> None:
        self._graph = graph
        self._dt = dt
        self._shapes: dict[str, Shape] = {}
        self._sums: dict[str, dict[str, Path]] = {}
        self._through_linear: dict[str, dict[str, Path]] = {}
        self._shaping: list[str] = []
        self._summing: list[str] = []

    def drives(self) -> dict[str, Drive]:
        """What is summed into each neuron and each Output."""
        nodes = self._graph.nodes
        ends = [name for kinds in (NEURONS, ("Output",)) for name, node in nodes.items() if node.kind in kinds]
        drives = {name: self._drive(name) for name in ends}
        count = Counter(path.name for drive in drives.values() for path in drive.paths)
        return {name: replace(drive, paths=tuple(self._named(path, name, count) for path in drive.paths))
                for name, drive in drives.items()}

    def shape(self, name: str) -> Shape:
        """Shape of what a node puts out."""
        if name not in self._shapes:
            node = self._graph.nodes[name]
            self._enter(self._shaping, name)
            try:
                if node.kind == "Input":
                    found: Shape = tuple(node.parameters["shape"].reshape(-1).tolist())
                elif node.kind in NEURONS:
                    found = self._neuron_shape(name)
                elif node.kind in ("Linear", "Affine") and node.parameters["weight"].ndim == 2:
                    found = (len(node.parameters["weight"]),)  # known without looking back, so that loops can be walked
                else:
                    found = self._linear(name)[0].shape_out
            finally:
                self._shaping.pop()
            self._shapes[name] = found
        return self._shapes[name]

    def shape_before(self, name: str) -> Shape:
        """The one shape of all that leads to a node."""
        shapes: dict[str, Shape] = {}
        if not self._graph.before(name):
            raise self._graph.error(name, "has no input: no edge leads to it")
        for other in self._graph.before(name):
            if other not in self._shaping:
                try:
                    shapes[other] = self.shape(other)
                except _UnknownShape:
                    continue
        if not shapes:
            written = input_shape(self._graph.nodes[name])
            if written is None:
                raise _UnknownShape(str(self._graph.error(name, "lies in a loop in which no node tells its size")))
            return written
        if len({size(shape) for shape in shapes.values()}) > 1:
            text = ", ".join(f"{other!r} {shape}" for other, shape in shapes.items())
            raise self._graph.error(name, f"sums inputs of different shapes: {text}")
        return max(shapes.values(), key=len)

    def _drive(self, name: str) -> Drive:
        if self._graph.nodes[name].kind == "Output":
            shape = self._linear(name)[0].shape_out
        else:
            shape = self.shape(name)
        found = dict(self._summed(name))
        constant = found.pop(CONSTANT, None)
        return Drive(shape, tuple(found.values()),
                     Map.constant(np.zeros(size(shape)), shape) if constant is None else constant.map)

    def _named(self, path: Path, target: str, count: Counter[str]) -> Path:
        """The path with its final name: its linear nodes, with source and target unless they alone tell it."""
        if path.name and count[path.name] == 1:
            return path
        return replace(path, name=" → ".join(filter(None, (path.source, path.name, target))))

    def _neuron_shape(self, name: str) -> Shape:
        node = self._graph.nodes[name]
        shapes = {array.shape for array in node.parameters.values() if array.size > 1}
        if len({size(shape) for shape in shapes}) > 1:
            text = ", ".join(f"{key} {array.shape}" for key, array in node.parameters.items())
            raise self._graph.error(name, f"has parameters of different shapes: {text}")
        if not shapes:
            return self.shape_before(name)  # single numbers: as many neurons as what leads to them
        widest = max(shapes, key=len)
        if len(widest) > 1 or not self._graph.before(name):
            return widest
        try:  # numbers in a flat list: neurons of a map are still a map
            before = self.shape_before(name)
        except _UnknownShape:
            return widest
        return before if size(before) == size(widest) else widest

    def _summed(self, name: str) -> dict[str, Path]:
        """Paths into a node by their sources, summed; what leads to it is checked for size."""
        if name not in self._sums:
            node = self._graph.nodes[name]
            wanted = self.shape(name) if node.kind in NEURONS else self.shape_before(name)
            self._enter(self._summing, name)
            found: dict[str, Path] = {}
            for other in self._graph.before(name):
                if size(self.shape(other)) != size(wanted):
                    raise self._graph.error(name, f"has the shape {wanted}, but {other!r}, which leads to it, has the shape "
                                                  f"{self.shape(other)}")
                for path in self._out_of(other):
                    found[path.source] = found[path.source].plus(path) if path.source in found else path
            if not self._graph.before(name):
                raise self._graph.error(name, "has no input: no edge leads to it")
            self._summing.pop()
            self._sums[name] = found
        return self._sums[name]

    def _out_of(self, name: str) -> list[Path]:
        """Paths that end with what a node puts out."""
        kind = self._graph.nodes[name].kind
        if kind in ("Input", *NEURONS):
            return [Path(name, Map.identity(self.shape(name)))]
        if kind == "Output":
            after = self._graph.after(name)[0]
            raise self._graph.error(name, f"leads on to {after!r}; an Output is where the graph ends")
        if name not in self._through_linear:
            step, constant = self._linear(name)
            plain = kind in ("Wire", "Flatten")
            found = {path.source: Path(path.source, path.map if plain else path.map.then(step), self._longer(path.name, name),
                                       path.links | {name}, path.plain and plain) for path in self._summed(name).values()}
            if np.any(constant):
                own = Path(CONSTANT, Map.constant(constant, step.shape_out))
                found[CONSTANT] = found[CONSTANT].plus(own) if CONSTANT in found else own
            self._through_linear[name] = found
        return list(self._through_linear[name].values())

    def _longer(self, text: str, name: str) -> str:
        """The name of a path that a linear node lengthens."""
        if self._graph.nodes[name].kind == "Wire":
            return text
        if len(text) > _LONG_NAME:
            text = "…"
        return "/".join(filter(None, (f"({text})" if " + " in text else text, name)))

    def _linear(self, name: str) -> Linear:
        node = self._graph.nodes[name]
        return NODES[node.kind](self._graph, node, self.shape_before(name), self._dt)

    def _enter(self, walk: list[str], name: str) -> None:
        if name in walk:
            loop = [*walk[walk.index(name):], name]
            raise self._graph.error(name, f"lies in the loop {' → '.join(reversed(loop))} without a neuron in it")
        walk.append(name)


def cut_loops(graph: Graph, drives: Mapping[str, Drive]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Connections (source, target) that close a loop without delay, and so are one step later, with the loop that they close.

    A depth-first walk from the inputs, in the order of names, closes a loop where it meets a neuron that it is still
    walking from. Neurons that no input reaches are walked last. Connections whose synapses all have a delay close no loop.
    """
    after: dict[str, list[str]] = {}
    for target, drive in drives.items():
        for path in drive.paths:
            if np.any(path.map.delay == 0):
                after.setdefault(path.source, []).append(target)
    starts = sorted(name for name, node in graph.nodes.items() if node.kind == "Input") + sorted(drives)
    late: dict[tuple[str, str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start in starts:
        stack = [(start, iter(sorted(after.get(start, ()))))] if start not in done else []
        walk = [start] if stack else []
        while stack:
            name, rest = stack[-1]
            following = next(rest, None)
            if following is None:
                stack.pop()
                walk.pop()
                done.add(name)
            elif following in walk:
                late[name, following] = (*walk[walk.index(following):], following)
            elif following not in done:
                stack.append((following, iter(sorted(after.get(following, ())))))
                walk.append(following)
    return late
