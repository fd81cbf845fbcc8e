"""What drives each neuron of a NIR graph: the paths of linear nodes back to inputs and other neurons, and the loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.nir_graph import NEURONS, Graph
from spikeloom.host.nir_linear import MAPS, Map, Shape, size
from spikeloom.host.population import Floats


@dataclass(frozen=True)
class Path:
    """One way from an input or neuron, through the linear nodes of ``chain``; ``name`` is its projection's."""

    source: str
    chain: tuple[str, ...]
    map: Map
    name: str = ""


@dataclass(frozen=True)
class Drive:
    """All that is summed into a node: paths, and the constant (n,) that biases on the way add up to."""

    shape: Shape
    paths: tuple[Path, ...]
    constant: Floats
    plain: frozenset[str] = frozenset()  # linear nodes of the paths that only rename or reshape

    def direct(self) -> str | None:
        """The source, if the node shows just that one neuron population unchanged."""
        if len(self.paths) != 1 or np.any(self.constant) or not self.plain.issuperset(self.paths[0].chain):
            return None
        return self.paths[0].source


class Paths:
    """Walks a graph backwards; every NetworkError names the node that is at fault."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._shapes: dict[str, Shape] = {}
        self._sums: dict[str, tuple[Path, ...]] = {}
        self._constants: dict[str, Floats] = {}
        self._shaping: list[str] = []
        self._summing: list[str] = []
        self._names = self._name_paths()

    def shape(self, name: str) -> Shape:
        """Shape of what a node puts out."""
        if name not in self._shapes:
            self._enter(self._shaping, name)
            node = self._graph.nodes[name]
            if node.kind == "Input":
                found: Shape = tuple(node.parameters["shape"].reshape(-1).tolist())
            elif node.kind in NEURONS:
                found = self._neuron_shape(name)
            elif node.kind in ("Linear", "Affine") and node.parameters["weight"].ndim == 2:
                found = (len(node.parameters["weight"]),)  # known without looking back, so that loops can be walked
            else:
                found = MAPS[node.kind](self._graph, node, self._shape_before(name)).shape_out
            self._shaping.pop()
            self._shapes[name] = found
        return self._shapes[name]

    def drive(self, name: str) -> Drive:
        """What is summed into a neuron or an Output."""
        node = self._graph.nodes[name]
        if node.kind == "Output":
            shape = self._shape_before(name)
            MAPS["Output"](self._graph, node, shape)
        else:
            shape = self.shape(name)
        named = [replace(path, name=self._names[name, path.source, path.chain]) for path in self._summed(name)]
        plain = frozenset(link for path in named for link in path.chain
                          if self._graph.nodes[link].kind in ("Wire", "Flatten"))
        return Drive(shape, tuple(named), self._constants[name], plain)

    def _neuron_shape(self, name: str) -> Shape:
        node = self._graph.nodes[name]
        shapes = {array.shape for array in node.parameters.values() if array.size > 1}
        if len({size(shape) for shape in shapes}) > 1:
            text = ", ".join(f"{key} {array.shape}" for key, array in node.parameters.items())
            raise self._graph.error(name, f"has parameters of different shapes: {text}")
        if shapes:
            return max(shapes, key=len)
        return self._shape_before(name)  # single numbers: as many neurons as what leads to them

    def _shape_before(self, name: str) -> Shape:
        """The one shape of all that leads to a node."""
        before = self._graph.before(name)
        if not before:
            raise self._graph.error(name, "has no input: no edge leads to it")
        known = [other for other in before if other not in self._shaping]
        shapes = {other: self.shape(other) for other in known}
        if not shapes:
            raise self._graph.error(name, "lies in a loop in which no node tells its size")
        if len({size(shape) for shape in shapes.values()}) > 1:
            text = ", ".join(f"{other!r} {shape}" for other, shape in shapes.items())
            raise self._graph.error(name, f"sums inputs of different shapes: {text}")
        return max(shapes.values(), key=len)

    def _summed(self, name: str) -> tuple[Path, ...]:
        """Paths into a node, and in ``_constants`` its constant; what leads to it is checked for size."""
        if name not in self._sums:
            node = self._graph.nodes[name]
            wanted = self.shape(name) if node.kind in NEURONS else self._shape_before(name)
            self._enter(self._summing, name)
            found: list[Path] = []
            constant = np.zeros(size(wanted))
            for other in self._graph.before(name):
                if size(self.shape(other)) != size(wanted):
                    raise self._graph.error(name, f"has the shape {wanted}, but {other!r}, which leads to it, has the shape "
                                                  f"{self.shape(other)}")
                kind = self._graph.nodes[other].kind
                if kind in ("Input", *NEURONS):
                    found.append(Path(other, (), Map.identity(self.shape(other))))
                elif kind == "Output":
                    raise self._graph.error(other, f"leads on to {name!r}; an Output is where the graph ends")
                else:
                    found += self._through(other)
                    constant = constant + self._after(other).apply(self._constants[other])
            if not self._graph.before(name):
                raise self._graph.error(name, "has no input: no edge leads to it")
            self._summing.pop()
            self._sums[name], self._constants[name] = tuple(found), constant
        return self._sums[name]

    def _after(self, name: str) -> Map:
        return MAPS[self._graph.nodes[name].kind](self._graph, self._graph.nodes[name], self._shape_before(name))

    def _through(self, name: str) -> list[Path]:
        """Paths out of a linear node, without its constants."""
        step = self._after(name)
        step = replace(step, constant=np.zeros_like(step.constant))
        return [Path(path.source, (*path.chain, name), path.map.then(step)) for path in self._summed(name)]

    def _enter(self, walk: list[str], name: str) -> None:
        if name in walk:
            loop = [*walk[walk.index(name):], name]
            raise self._graph.error(name, f"lies in the loop {' → '.join(reversed(loop))} without a neuron in it")
        walk.append(name)

    def _name_paths(self) -> dict[tuple[str, str, tuple[str, ...]], str]:
        """A name for each path: its linear nodes; with source and target where two paths share them or there are none."""
        found: list[tuple[str, str, tuple[str, ...]]] = []
        ends = [name for name, node in self._graph.nodes.items() if node.kind in (*NEURONS, "Output")]
        for target in ends:
            stack: list[tuple[str, tuple[str, ...]]] = [(target, ())]
            while stack:
                node, chain = stack.pop()
                for other in self._graph.before(node):
                    if self._graph.nodes[other].kind in ("Input", *NEURONS):
                        found.append((target, other, chain))
                    elif other not in chain:
                        stack.append((other, (other, *chain)))
        base = {key: "/".join(link for link in key[2] if self._graph.nodes[link].kind != "Wire") for key in found}
        count = Counter(base.values())
        names = {key: text if text and count[text] == 1 else " → ".join(filter(None, (key[1], text, key[0])))
                 for key, text in base.items()}
        twice = [text for text, number in Counter(names.values()).items() if number > 1]
        if twice:
            raise NetworkError(f"{self._graph.source}: two paths of linear nodes are both called {twice[0]!r}")
        return names


def cut_loops(graph: Graph, drives: Mapping[str, Drive]) -> dict[tuple[str, str], tuple[str, ...]]:
    """Connections (source, target) that close a loop, and so are one step later, with the loop that they close.

    A depth-first walk from the inputs, in the order of names, closes a loop where it meets a neuron that it is still
    walking from. Neurons that no input reaches are walked last.
    """
    after: dict[str, list[str]] = {}
    for target, drive in drives.items():
        for path in drive.paths:
            after.setdefault(path.source, []).append(target)
    starts = sorted(name for name, node in graph.nodes.items() if node.kind == "Input") + sorted(drives)
    late: dict[tuple[str, str], tuple[str, ...]] = {}
    done: set[str] = set()
    for start in starts:
        stack = [(start, iter(sorted(set(after.get(start, ())))))] if start not in done else []
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
                stack.append((following, iter(sorted(set(after.get(following, ()))))))
                walk.append(following)
    return late
