"""NIR graphs and files become networks that compute the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import numpy.typing as npt
import pytest

from spikeloom.host.importers.nir_graph import read_graph
from spikeloom.host.networks.reference import reference
from tests.data import shared_data
from tests.nir_cases import CHAIN, cuba, edited, ends, graph, lif, norse, replace, spiking

FILES = (("01_lif", "lif_norse.nir"), ("01_lif", "lif_rockpool.nir"), ("01_lif", "two_lif_neurons.nir"),
         ("03_rnn", "braille_noDelay_bias_zero.nir"), ("02_cnn", "cnn_sinabs.nir"))
Weights = dict[str, npt.NDArray[np.float64]]


def test_a_chain_of_linear_nodes_is_folded_into_one_projection() -> None:
    rng = np.random.default_rng(1)
    w1, b1, s, w2 = rng.normal(size=(6, 4)), rng.normal(size=6), rng.normal(size=6), rng.normal(size=(3, 6))
    nodes = ends([2, 2], [3]) | {
        "flat": nir.Flatten(input_type={"input": np.array([2, 2])}, start_dim=0, end_dim=-1), "fc1": nir.Affine(w1, b1),
        "scale": nir.Scale(s), "fc2": nir.Linear(w2), "lif": lif(3)}
    net = norse(graph(nodes, "input > flat > fc1 > scale > fc2 > lif > output"))
    (projection,) = net.projections
    assert (projection.name, projection.source, projection.target) == ("flat/fc1/scale/fc2", "input", "lif")
    matrix = np.zeros((3, 4))
    matrix[projection.post, projection.pre] = projection.weight
    np.testing.assert_allclose(matrix, w2 @ np.diag(s) @ w1)
    rate = 1e-4 / nodes["lif"].tau
    np.testing.assert_allclose(net.populations[0].bias, rate * nodes["lif"].r * (w2 @ (s * b1)))
    assert {node.status for node in net.report} == {"exact"}
    assert [node.name for node in net.report] == list(nodes)


def by_hand(spikes: npt.NDArray[np.bool_], w: Weights, a: nir.LIF, b: nir.CubaLIF,
            dt: float = 1e-4) -> list[npt.NDArray[np.bool_]]:
    """input → a → b with a loop a → a and one b → a, under Euler's rule: spikes of b."""
    va, ib, vb = np.zeros(4), np.zeros(3), np.zeros(3)
    za, zb = np.zeros(4, bool), np.zeros(3, bool)
    out = []
    for x in spikes:
        va = va + dt / a.tau * (a.v_leak - va + a.r * (w["in"] @ x + w["skip"] @ x + w["aa"] @ za + w["bias"] + w["ba"] @ zb))
        za = va > a.v_threshold
        va = np.where(za, a.v_reset, va)
        ib = ib + dt / b.tau_syn * (b.w_in * (w["ab"] @ za) - ib)
        vb = vb + dt / b.tau_mem * (b.v_leak - vb + b.r * ib)
        zb = vb > b.v_threshold
        vb = np.where(zb, b.v_reset, vb)
        out.append(zb)
    return out


def recurrent(rng: np.random.Generator) -> tuple[nir.NIRGraph, nir.NIRGraph, Weights, nir.LIF, nir.CubaLIF]:
    """The same recurrent network flat and with a nested graph, and its numbers."""
    w = {"in": rng.normal(size=(4, 5)), "skip": rng.normal(size=(4, 5)), "aa": rng.normal(size=(4, 4)),
         "bias": rng.normal(size=4) / 4, "ab": rng.normal(size=(3, 4)) + 1, "ba": rng.normal(size=(4, 3))}
    a, b = lif(4), cuba(3)
    outer = {"fc": nir.Linear(w["in"]), "skip": nir.Linear(w["skip"]), "ab": nir.Linear(w["ab"]),
             "ba": nir.Linear(w["ba"]), "b": b}
    edges = ["input > fc > {a}", "input > skip > {a}", "{a} > ab > b > output", "b > ba > {a}"]
    inner = {"lif": a, "w_rec": nir.Affine(w["aa"], w["bias"])}
    flat = graph(ends([5], [3]) | outer | {f"a.{name}": node for name, node in inner.items()},
                 *(edge.format(a="a.lif") for edge in edges), "a.lif > a.w_rec > a.lif")
    inside = graph(ends([4], [4]) | inner, "input > lif > output", "lif > w_rec > lif")
    nested = graph(ends([5], [3]) | outer | {"a": inside},
                   *(edge.format(a="a") for edge in edges))
    return flat, nested, w, a, b


@pytest.mark.parametrize("seed", range(4))
def test_loops_are_one_step_later_nested_or_flat(seed: int) -> None:
    rng = np.random.default_rng(seed)
    flat, nested, w, a, b = recurrent(rng)
    spikes = rng.random((120, 5)) < 0.3
    expected = np.array(by_hand(spikes, w, a, b))
    assert 0 < expected.sum() < expected.size
    for source in (flat, nested):
        net = norse(source)
        np.testing.assert_array_equal(reference(net, spikes).spikes["b"], expected)
        assert {p.name: int(p.delay[0]) for p in net.projections} == {"fc + skip": 0, "ab": 0, "a.w_rec": 1, "ba": 1}
        details = {node.name: node.detail for node in net.report}
        assert "the loop a.lif → b → a.lif closes one step later" in details["a.lif"]


def test_constant_into_a_synaptic_current_comes_from_a_population() -> None:
    weights, bias = np.array([[1.0, 0, 2], [0, 1, 1]]), np.array([0.7, 0.0])
    node = cuba(2)
    net = norse(graph(ends([3], [2]) | {"fc": nir.Affine(weights, bias), "b": node}, "input > fc > b > output"))
    assert [p.name for p in net.populations] == ["b.bias", "b"]
    result = reference(net, np.zeros((30, 3), bool), record=["b"])
    current = v = np.zeros(2)
    for step in range(30):
        current = current + 1e-4 / node.tau_syn * (node.w_in * bias - current)
        v = v + 1e-4 / node.tau_mem * (node.r * current - v)
        assert result.spikes["b.bias"][step].all()
        np.testing.assert_array_equal(result.spikes["b"][step], v > node.v_threshold)
        v = np.where(v > node.v_threshold, 0, v)
        np.testing.assert_allclose(result.potentials["b"][step], v, rtol=1e-4, atol=1e-6)
    assert result.counts["b"][0] > 0


def test_threshold_has_no_memory_and_is_strict() -> None:
    net = norse(graph(ends([2], [2]) | {"t": nir.Threshold(np.array([1.0, 2.0]))}, "input > t > output"))
    spikes = reference(net, np.array([[1.0, 2.0], [1.5, 2.5], [0.6, 2.0], [0.6, 1.9], [3, 3]])).spikes["t"]
    np.testing.assert_array_equal(spikes, [[0, 0], [1, 1], [0, 0], [0, 0], [1, 1]])


def test_linear_nodes_before_an_output_become_a_readout() -> None:
    nodes = spiking(out=nir.Affine(np.array([[1.0, -2.0]]), np.array([0.5])))
    nodes["output"] = nir.Output(output_type=np.array([1]))
    net = norse(graph(nodes, "input > fc > lif > out > output"))
    assert net.outputs == ("output",)
    result = reference(net, np.random.default_rng(0).random((50, 3)) < 0.5)
    assert result.counts["lif"].min() > 0
    np.testing.assert_allclose(result.potentials["output"][:, 0], result.spikes["lif"] @ [1.0, -2.0] + 0.5)


def test_leaky_integrators_and_integrators_are_read_out() -> None:
    nodes = ends([3], [2]) | {"fc": nir.Linear(np.ones((2, 3))), "i": nir.I(r=np.array([2.0, 3.0])),
                              "out2": nir.Output(output_type=np.array([2])),
                              "li": nir.LI(tau=np.full(2, 1e-3), r=np.ones(2), v_leak=np.zeros(2))}
    net = norse(graph(nodes, "input > fc > li > output", "fc > i > out2"))
    assert sorted(net.outputs) == ["i", "li"]
    assert sorted(p.name for p in net.projections) == ["input → fc → i", "input → fc → li"]
    result = reference(net, np.ones((10, 3), bool))
    np.testing.assert_allclose(result.potentials["i"][:, 1], 9 * np.arange(1, 11))
    np.testing.assert_allclose(result.potentials["li"][:, 0], 3 * (1 - 0.9 ** np.arange(1, 11)), rtol=1e-5)


def test_single_numbers_stand_for_the_whole_layer(tmp_path: Path) -> None:
    def edit(node: Any) -> None:
        replace(node["nodes/lif"], "tau", 1e-3)
        replace(node["nodes/lif"], "v_threshold", [0.5])
        replace(node["nodes/lif"], "r", 2.0)
        replace(node["nodes/lif"], "v_leak", 0)
        replace(node["nodes/lif"], "v_reset", [[0.25]])

    population = norse(edited(tmp_path, edit)).population("lif")
    np.testing.assert_array_equal(population.threshold, [0.5, 0.5])
    np.testing.assert_array_equal(population.reset_value, [0.25, 0.25])
    np.testing.assert_allclose(population.membrane_gain, [0.9, 0.9])


def test_several_edges_into_a_node_sum() -> None:
    nodes = spiking(other=nir.Linear(np.full((2, 3), -0.25)))
    net = norse(graph(nodes, CHAIN, "input > other > lif"))
    assert [p.name for p in net.projections] == ["fc + other"]
    assert {node.name: node.detail for node in net.report}["other"] == "folded into 'fc + other'"
    both = norse(graph(spiking(fc=nir.Linear(nodes["fc"].weight - 0.25)), CHAIN))
    spikes = np.random.default_rng(0).random((50, 3)) < 0.5
    np.testing.assert_array_equal(reference(net, spikes).spikes["lif"], reference(both, spikes).spikes["lif"])


# Files.

@pytest.mark.parametrize("parts", FILES)
def test_files_are_read_as_nir_reads_them(parts: tuple[str, str]) -> None:
    path = shared_data("nir_paper", *parts)
    ours, theirs = read_graph(path), read_graph(nir.read(path, type_check=False))
    assert sorted(ours.edges) == sorted(theirs.edges)
    assert ours.nodes.keys() == theirs.nodes.keys()
    for name, node in ours.nodes.items():
        assert node.kind == theirs.nodes[name].kind
        assert node.parameters.keys() == theirs.nodes[name].parameters.keys()
        for key, value in node.parameters.items():
            np.testing.assert_array_equal(value, theirs.nodes[name].parameters[key])


def test_two_lif_neurons_integrate_their_leak() -> None:
    net = norse(shared_data("nir_paper", "01_lif", "two_lif_neurons.nir"))
    result = reference(net, np.zeros((400, 1)), record=["lif1"])
    first = int(np.argmax(result.spikes["lif1"][:, 0]))
    assert 1.2 * (1 - 0.99**first) <= 1 < 1.2 * (1 - 0.99 ** (first + 1))
    assert "starts from v = 0, not from v_leak" in {node.name: node.detail for node in net.report}["lif1"]


def test_a_file_and_its_graph_are_the_same_network(tmp_path: Path) -> None:
    _, nested, *_ = recurrent(np.random.default_rng(2))
    nir.write(tmp_path / "net.nir", nested)
    spikes = np.random.default_rng(3).random((80, 5)) < 0.3
    sources = (nested, tmp_path / "net.nir", str(tmp_path / "net.nir"))
    fired = [reference(norse(source), spikes).spikes["b"] for source in sources]
    assert fired[0].any()
    np.testing.assert_array_equal(fired[0], fired[1])
    np.testing.assert_array_equal(fired[0], fired[2])


def test_files_without_v_reset_and_w_in_are_read(tmp_path: Path) -> None:
    node = cuba(2)
    nir.write(tmp_path / "old.nir", graph(ends([2], [2]) | {"b": node}, "input > b > output"))
    with h5py.File(tmp_path / "old.nir", "r+") as file:
        del file["node/nodes/b/v_reset"], file["node/nodes/b/w_in"]
        del file["version"]
        file["version"] = "0.1.1"
    population = norse(tmp_path / "old.nir").population("b")
    np.testing.assert_array_equal(population.reset_value, 0)
    np.testing.assert_allclose(population.input_gain, 1e-4 / node.tau_syn * (node.r * (1e-4 / node.tau_mem)))
