"""NIR files and graphs as one flat, checked graph of plain nodes.

Files are read here with h5py, not by ``nir.read``: that refuses files of earlier versions (no ``w_in``, Output shapes with a
batch axis), and its messages do not say which node of which file is at fault. Graph objects of the nir package are read by
their attributes. Both lead to the same nodes, and a test compares the two ways.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError

Array = npt.NDArray[Any]
Edge = tuple[str, str]

#: Parameters of each node type; those in the second tuple may be absent and are then what older versions implied.
PARAMETERS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "Input": (("shape",), ()),
    "Output": (("shape",), ()),
    "Linear": (("weight",), ()),
    "Affine": (("weight", "bias"), ()),
    "Scale": (("scale",), ()),
    "Flatten": ((), ("start_dim", "end_dim")),
    "Delay": (("delay",), ()),
    "Conv1d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "Conv2d": (("weight", "stride", "padding", "dilation", "groups", "bias"), ("input_shape",)),
    "SumPool2d": (("kernel_size", "stride", "padding"), ()),
    "AvgPool2d": (("kernel_size", "stride", "padding"), ()),
    "Threshold": (("threshold",), ()),
    "I": (("r",), ()),
    "IF": (("r", "v_threshold"), ("v_reset",)),
    "LI": (("tau", "r", "v_leak"), ()),
    "LIF": (("tau", "r", "v_leak", "v_threshold"), ("v_reset",)),
    "CubaLI": (("tau_syn", "tau_mem", "r", "v_leak"), ("w_in",)),
    "CubaLIF": (("tau_syn", "tau_mem", "r", "v_leak", "v_threshold"), ("v_reset", "w_in")),
}
_IMPLIED = {"v_reset": 0.0, "w_in": 1.0, "start_dim": 1, "end_dim": -1}
_WHOLE = ("shape", "input_shape", "start_dim", "end_dim", "stride", "padding", "dilation", "groups", "kernel_size")
NEURONS = ("Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF")


@dataclass(frozen=True)
class Node:
    """A NIR node: its type and its parameters, numbers as arrays. ``Wire`` is an inner Input or Output of a nested graph."""

    name: str
    kind: str
    parameters: Mapping[str, Array]


@dataclass
class Graph:
    """A flat graph; ``source`` is the file (or "NIR graph") that messages name."""

    source: str
    nodes: dict[str, Node] = field(default_factory=dict)
    edges: list[Edge] = field(default_factory=list)

    def before(self, name: str) -> list[str]:
        """Nodes with an edge to the named one, sorted."""
        return sorted(a for a, b in self.edges if b == name)

    def after(self, name: str) -> list[str]:
        """Nodes with an edge from the named one, sorted."""
        return sorted(b for a, b in self.edges if a == name)

    def error(self, node: str, text: str) -> NetworkError:
        """A NetworkError that names the source and a node."""
        kind = self.nodes[node].kind if node in self.nodes else "node"
        return NetworkError(f"{self.source}: {kind} {node!r} {text}")


def read_graph(source: Any) -> Graph:
    """Read a file path or a nir.NIRGraph into a flat graph.

    Nested graphs are flattened to dotted names. NetworkError, naming source and node, for a file that cannot be read, unknown
    node types, missing parameters, numbers that are not finite, edges to nothing and edges that are there twice.
    """
    graph = Graph("NIR graph")
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        graph.source = path.name
        _flatten(graph, "", *_read_file(path))
    elif type(source).__name__ == "NIRGraph":
        _flatten(graph, "", *_read_object(graph, source))
    else:
        raise NetworkError(f"from_nir takes a file's path or a nir.NIRGraph, not {type(source).__name__}")
    if not any(node.kind == "Input" for node in graph.nodes.values()):
        raise NetworkError(f"{graph.source}: the graph has no Input node")
    return graph


_Raw = tuple[dict[str, Any], list[Edge]]  # nodes: (kind, parameters) or, for a nested graph, again a _Raw


def _read_file(path: Path) -> _Raw:
    import h5py
    if not path.is_file():
        raise NetworkError(f"There is no NIR file {path}")
    try:
        with h5py.File(path, "r") as file:
            raw: Any = _read_group(path.name, "", file["node"])
    except NetworkError:
        raise
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError and others for damage
        raise NetworkError(f"{path.name}: not a NIR file, or it is damaged: {error}") from error
    if not isinstance(raw[0], dict):
        raise NetworkError(f"{path.name}: the file holds a single {raw[0]} node, not a graph")
    nodes, edges = raw
    return nodes, edges


def _read_group(source: str, name: str, group: Any) -> Any:
    kind = _text(group["type"][()])
    if kind != "NIRGraph":
        values = {key: item[()] for key, item in group.items() if key not in ("type", "metadata") and hasattr(item, "dtype")}
        return kind, values
    for part in ("nodes", "edges"):
        if part not in group:
            raise NetworkError(f"{source}: graph {name or 'at the root'} has no {part}")
    nodes = {inner: _read_group(source, inner, item) for inner, item in group["nodes"].items()}
    pairs = np.asarray(group["edges"][()])
    if pairs.size and (pairs.ndim != 2 or pairs.shape[1] != 2):
        raise NetworkError(f"{source}: edges must be pairs of names, not of shape {pairs.shape}")
    return nodes, [(_text(a), _text(b)) for a, b in pairs.reshape(-1, 2)]


def _read_object(graph: Graph, source: Any) -> _Raw:
    nodes: dict[str, Any] = {}
    for name, node in source.nodes.items():
        kind = type(node).__name__
        if kind == "NIRGraph":
            nodes[name] = _read_object(graph, node)
            continue
        values = {key: value for key, value in vars(node).items() if key not in ("metadata", "input_type", "output_type")}
        if kind in ("Input", "Output"):
            types = node.input_type if kind == "Input" else node.output_type
            values["shape"] = next(iter((types or {}).values()), None)
        nodes[name] = kind, {key: value for key, value in values.items() if value is not None}
    return nodes, [(str(a), str(b)) for a, b in source.edges]


def _text(value: Any) -> str:
    return value.decode("utf8") if isinstance(value, bytes) else str(value)


def _flatten(graph: Graph, prefix: str, nodes: dict[str, Any], edges: list[Edge]) -> None:
    """Add the nodes and edges of a (nested) graph under ``prefix``."""
    where = f"graph {prefix[:-1]!r}: " if prefix else ""
    ends: dict[str, tuple[str, str]] = {}  # where edges to and from each node go
    for name, raw in nodes.items():
        full = prefix + name
        if isinstance(raw[0], dict):
            ends[name] = _nested(graph, full, raw)
            continue
        kind = "Wire" if prefix and raw[0] in ("Input", "Output") else raw[0]
        if full in graph.nodes:
            raise NetworkError(f"{graph.source}: two nodes are called {full!r}")
        graph.nodes[full] = _node(graph.source, full, raw[0], kind, raw[1])
        ends[name] = full, full
    seen: set[Edge] = set()
    for a, b in edges:
        for name in (a, b):
            if name not in nodes:
                raise NetworkError(f"{graph.source}: {where}the edge {a!r} → {b!r} names the node {name!r}, which does not "
                                   f"exist; the nodes are {', '.join(sorted(nodes))}")
        if (a, b) in seen:
            raise NetworkError(f"{graph.source}: {where}the edge {a!r} → {b!r} is there twice")
        seen.add((a, b))
        graph.edges.append((ends[a][1], ends[b][0]))


def _nested(graph: Graph, full: str, raw: _Raw) -> tuple[str, str]:
    """Add a nested graph; returns its one input and its one output."""
    ports: list[str] = []
    for kind in ("Input", "Output"):
        found = [inner for inner, part in raw[0].items() if part[0] == kind]
        if len(found) != 1:
            raise NetworkError(f"{graph.source}: nested graph {full!r} has {len(found)} {kind} nodes; it must have one")
        ports.append(f"{full}.{found[0]}")
    _flatten(graph, f"{full}.", *raw)
    return ports[0], ports[1]


def _node(source: str, name: str, written: str, kind: str, values: Mapping[str, Any]) -> Node:
    """A node with its parameters as arrays, checked; an optional parameter that is absent and implies nothing is left out."""
    title = f"{source}: {written} {name!r}"
    if written not in PARAMETERS:
        raise NetworkError(f"{title} is of an unknown type; known are {', '.join(PARAMETERS)}")
    needed, optional = PARAMETERS[written]
    parameters: dict[str, Array] = {}
    for key in (*needed, *optional):
        if key in values:
            parameters[key] = _parameter(title, key, values[key])
        elif key in needed:
            raise NetworkError(f"{title} lacks the parameter {key!r}")
        elif key in _IMPLIED:
            parameters[key] = np.asarray(_IMPLIED[key])
    return Node(name, kind, parameters)


def _parameter(title: str, key: str, value: Any) -> Array:
    """One parameter as an array: float64, int64 (shapes, sizes and axes), or the word that a padding may be."""
    if key == "padding" and isinstance(value, str | bytes):
        return np.asarray(_text(value))
    try:
        array = np.asarray(value).astype(np.float64)
    except (TypeError, ValueError):
        raise NetworkError(f"{title}: {key} must be numbers, not {value!r}") from None
    if not np.all(np.isfinite(array)):
        raise NetworkError(f"{title}: {key} holds {array[~np.isfinite(array)][0]}; every number must be finite")
    if array.size == 0:
        raise NetworkError(f"{title}: {key} is empty; a layer must have at least one neuron")
    if key in _WHOLE:
        if np.any(array != np.floor(array)) or np.abs(array).max() >= 1 << 31:
            raise NetworkError(f"{title}: {key} must be integers below 2**31, not {tuple(array.reshape(-1).tolist())}")
        array = array.astype(np.int64)
    if key.endswith("shape") and array.min() < 1:
        raise NetworkError(f"{title}: {key} {tuple(array.reshape(-1).tolist())} has an empty axis")
    return array
