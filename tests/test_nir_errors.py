"""NIR files and graphs that make no sense are refused, naming file and node."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest

from spikeloom.errors import NetworkError
from tests.nir_cases import CHAIN, edited, ends, graph, lif, norse, replace, spiking


@pytest.mark.parametrize(("edit", "message"), [
    (lambda node: node["nodes/lif"].__delitem__("tau"), "bad.nir: LIF 'lif' lacks the parameter 'tau'"),
    (lambda node: replace(node["nodes/lif"], "type", "ALIF"), "bad.nir: ALIF 'lif' is of an unknown type; known are Input"),
    (lambda node: replace(node["nodes/fc"], "weight", np.full((2, 3), np.nan)), "Linear 'fc': weight holds nan; every number"),
    (lambda node: replace(node["nodes/lif"], "v_threshold", [np.inf, 1]), "LIF 'lif': v_threshold holds inf"),
    (lambda node: replace(node["nodes/fc"], "weight", np.ones((0, 3))), "Linear 'fc': weight is empty"),
    (lambda node: replace(node["nodes/input"], "shape", [0]), r"Input 'input': shape \(0,\) has an empty axis"),
    (lambda node: replace(node["nodes/fc"], "weight", "abc"), "Linear 'fc': weight must be numbers"),
    (lambda node: replace(node["nodes/lif"], "v_reset", [1, 1, 1]), "LIF 'lif' has parameters of different shapes: tau"),
    (lambda node: node.__delitem__("edges"), "graph at the root has no edges"),
    (lambda node: node.__delitem__("nodes"), "graph at the root has no nodes"),
    (lambda node: replace(node, "edges", ["a", "b", "c"]), "edges must be pairs of names"),
    (lambda node: replace(node, "type", "LIF"), "holds a single LIF node, not a graph"),
    (lambda node: node.__delitem__("type"), "not a NIR file, or it is damaged"),
])
def test_a_malformed_file_is_named(tmp_path: Path, edit: Callable[[Any], None], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        norse(edited(tmp_path, edit))


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"There is no NIR file .*none\.nir"):
        norse(tmp_path / "none.nir")
    (tmp_path / "text.nir").write_text("not a network")
    with pytest.raises(NetworkError, match=r"text\.nir: not a NIR file, or it is damaged"):
        norse(tmp_path / "text.nir")
    whole = edited(tmp_path, lambda node: None).read_bytes()
    (tmp_path / "half.nir").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(NetworkError, match=r"half\.nir: not a NIR file, or it is damaged"):
        norse(tmp_path / "half.nir")
    with pytest.raises(NetworkError, match=r"takes a file's path or a nir\.NIRGraph, not int"):
        norse(3)


def test_a_file_cut_anywhere_is_named(tmp_path: Path) -> None:
    whole = edited(tmp_path, lambda node: None).read_bytes()
    for length in np.linspace(0, len(whole) - 1, 40).astype(int):
        path = tmp_path / f"cut{length}.nir"
        path.write_bytes(whole[:length])
        with pytest.raises(NetworkError, match=rf"{path.name}: not a NIR file, or it is damaged"):
            norse(path)


def subgraph(**changes: Any) -> nir.NIRGraph:
    """A sound nested recurrent graph of two neurons; changes replace nodes or give other ``edges``."""
    edges = changes.pop("edges", ("input > lif > output", "lif > w_rec > lif"))
    return graph(ends([2], [2]) | {"lif": lif(2), "w_rec": nir.Linear(np.eye(2))} | changes, *edges)


@pytest.mark.parametrize(("nodes", "edges", "message"), [
    ({"lif": subgraph(edges=("input > lif1 > output", "lif1 > w_rec > lif1"))}, [CHAIN],
     "graph 'lif': the edge 'input' → 'lif1' names the node 'lif1', which does not exist; the nodes are input, lif, output"),
    ({"lif": subgraph(input=nir.Input(input_type=np.array([3])))}, [CHAIN],
     r"Wire 'lif.input' has the shape \(3,\), but what leads to it has the shape \(2,\)"),
    ({"lif": graph({"lif": lif(2), "output": nir.Output(np.array([2]))}, "lif > output")}, [CHAIN],
     "nested graph 'lif' has 0 Input nodes; it must have one"),
    ({}, [CHAIN, "lif > nowhere"], "the edge 'lif' → 'nowhere' names the node 'nowhere', which does not exist"),
    ({}, [CHAIN, "input > fc"], "the edge 'input' → 'fc' is there twice"),
    ({"lif": lif(3)}, [CHAIN], r"LIF 'lif' has the shape \(3,\), but 'fc', which leads to it, has the shape \(2,\)"),
    ({"fc": nir.Linear(np.ones((2, 4)))}, [CHAIN], r"Linear 'fc' takes 4 inputs, but what leads to it has the shape \(3,\)"),
    ({"fc": nir.Linear(np.ones((1, 2, 3)))}, [CHAIN], r"Linear 'fc' has weights of shape \(1, 2, 3\)"),
    ({"fc": nir.Affine(np.ones((2, 3)), np.ones(4))}, [CHAIN], "Affine 'fc' has 2 outputs, but a bias of shape"),
    ({"s": nir.Scale(np.ones(5))}, ["input > fc > s > lif > output"], r"Scale 's' has a scale of shape \(5,\)"),
    ({"output": nir.Output(np.array([5]))}, [CHAIN], r"Output 'output' has the shape \(5,\), but what leads to it"),
    ({"other": nir.Linear(np.ones((3, 3)))}, [CHAIN, "input > other > output"], "sums inputs of different shapes"),
    ({"lif": lif(2, tau=np.array([0.0, 1.0]))}, [CHAIN], "LIF 'lif': tau must be positive, not 0"),
    ({}, ["fc > lif > output"], "Linear 'fc' has no input: no edge leads to it"),
    ({}, ["input > fc", "lif > output"], "LIF 'lif' has no input: no edge leads to it"),
    ({}, ["input > fc > lif"], "Output 'output' has no input"),
    ({}, [CHAIN, "output > lif"], "Output 'output' leads on to 'lif'"),
    ({"x": nir.Linear(np.ones((3, 2)))}, [CHAIN, "fc > x > fc"], "in the loop .*without a neuron in it"),
    ({"li": nir.LI(np.ones(2), np.ones(2), np.zeros(2))}, ["input > fc > li > lif > output"],
     "'li' never spikes, so that it cannot drive"),
    ({"f": nir.Flatten({"input": np.array([2])}, 3, 4)}, ["input > fc > f > lif > output"], "Flatten 'f' flattens axes 3 to 4"),
])
def test_a_malformed_graph_is_named(nodes: dict[str, nir.NIRNode], edges: list[str], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        norse(graph(spiking(**nodes), *edges))


def test_a_graph_needs_both_ends() -> None:
    with pytest.raises(NetworkError, match="NIR graph: the graph has no Input node"):
        norse(graph({"lif": lif(2)}))
    nodes = spiking()
    del nodes["output"]
    with pytest.raises(NetworkError, match="NIR graph: the graph has no Output node"):
        norse(graph(nodes, "input > fc > lif"))
