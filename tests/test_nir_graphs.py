"""Any graph of NIR's nodes: several ends, shared and parallel nodes, skips, delays, loops, and constants on their way."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import NetworkError
from spikeloom.host.networks.network import Network, NodeReport
from spikeloom.host.networks.reference import reference
from tests.nir_cases import CHAIN, cuba, ends, graph, lif, norse, spiking


def steps(*delays: float) -> nir.Delay:
    """A Delay node of so many steps of 0.1 ms, in float32 as files hold it."""
    return nir.Delay(np.asarray(delays, np.float32) * np.float32(1e-4))


def reports(net: Network) -> dict[str, NodeReport]:
    """The report by names."""
    return {node.name: node for node in net.report}


def repeaters(n: int) -> nir.Threshold:
    """Neurons that spike in the step in which they get 1 or more."""
    return nir.Threshold(np.full(n, 0.5))


def test_several_inputs_and_outputs() -> None:
    rng = np.random.default_rng(1)
    wx, wy = rng.normal(size=(2, 3)), rng.normal(size=(2, 4))
    nodes = {"x": nir.Input(np.array([3])), "y": nir.Input(np.array([2, 2])), "fx": nir.Linear(wx), "fy": nir.Linear(wy),
             "lif": lif(2), "t": repeaters(2), "seen": nir.Output(np.array([2])), "fired": nir.Output(np.array([2])),
             "again": nir.Output(np.array([2])), "sum": nir.Output(np.array([2])), "echo": nir.Output(np.array([3]))}
    net = norse(graph(nodes, "x > fx > lif > seen", "y > fy > lif > t > fired", "t > again", "t > sum", "lif > sum", "x > echo"))
    assert net.inputs == {"x": (3,), "y": (2, 2)}
    assert net.outputs == ("t", "echo", "lif", "sum")  # as the Output nodes are called
    x, y = rng.random((60, 3)) < 0.5, rng.random((60, 2, 2)) < 0.5
    result = reference(net, {"x": x, "y": y})
    assert 0 < result.counts["lif"].sum() < 120
    np.testing.assert_array_equal(result.spikes["t"], result.spikes["lif"])
    np.testing.assert_array_equal(result.potentials["sum"], 2.0 * result.spikes["lif"])
    np.testing.assert_array_equal(result.potentials["echo"], x)
    joined = norse(graph(ends([7], [2]) | {"fc": nir.Linear(np.hstack([wx, wy])), "lif": lif(2)}, CHAIN))
    both = np.hstack([x, y.reshape(60, 4)])
    np.testing.assert_array_equal(reference(joined, both).spikes["lif"], result.spikes["lif"])


def test_shared_and_parallel_linear_nodes_fold_into_one_projection_a_pair() -> None:
    rng = np.random.default_rng(2)
    w = {name: rng.normal(size=(3, 3)) for name in ("shared", "p", "q", "last")}
    nodes = ends([3], [3]) | {name: nir.Linear(matrix) for name, matrix in w.items()} | {"a": lif(3), "b": lif(3)}
    net = norse(graph(nodes, "input > shared > p > last > a > output", "shared > q > last", "shared > last", "shared > b",
                      "a > shared"))
    found = {(p.source, p.target): p for p in net.projections}
    assert set(found) == {("input", "a"), ("input", "b"), ("a", "a"), ("a", "b")}
    whole = w["last"] @ (w["p"] + w["q"] + np.eye(3)) @ w["shared"]
    for (_, target), projection in found.items():
        matrix = np.zeros((3, 3))
        matrix[projection.post, projection.pre] = projection.weight
        np.testing.assert_allclose(matrix, whole if target == "a" else w["shared"], rtol=1e-12, atol=1e-12)
    assert found["a", "a"].name == "a → (shared + shared/p + shared/q)/last → a"
    assert {pair: int(p.delay[0]) for pair, p in found.items()} == {("input", "a"): 0, ("input", "b"): 0, ("a", "a"): 1,
                                                                   ("a", "b"): 0}


def test_many_parallel_nodes_in_a_row_fold_without_listing_their_paths() -> None:
    nodes, edges, last = ends([2], [2]) | {"t": repeaters(2)}, [], "input"
    for i in range(40):  # 2**40 paths
        nodes |= {f"p{i}": nir.Scale(np.full(2, 0.5)), f"q{i}": nir.Scale(np.full(2, 0.5)), f"j{i}": nir.Scale(np.ones(2))}
        edges += [f"{last} > p{i} > j{i}", f"{last} > q{i} > j{i}"]
        last = f"j{i}"
    (projection,) = norse(graph(nodes, *edges, f"{last} > t > output")).projections
    np.testing.assert_array_equal(projection.weight, [1, 1])
    assert len(projection.name) < 300


def test_a_chain_too_long_to_fold_is_refused() -> None:
    nodes = ends([2], [2]) | {"t": repeaters(2)} | {f"s{i}": nir.Scale(np.ones(2)) for i in range(3000)}
    edge = " > ".join(["input", *(f"s{i}" for i in range(3000)), "t", "output"])
    with pytest.raises(NetworkError, match="NIR graph: more linear nodes follow each other than can be folded"):
        norse(graph(nodes, edge))


# Delays.

def test_delays_are_steps_for_each_element() -> None:
    nodes = ends([3], [3]) | {"d": steps(0, 3, 10), "t": repeaters(3)}
    net = norse(graph(nodes, "input > d > t > output"))
    (projection,) = net.projections
    assert projection.delay.tolist() == [0, 3, 10]
    spikes = np.random.default_rng(3).random((40, 3)) < 0.3
    fired = reference(net, spikes).spikes["t"]
    for neuron, delay in enumerate((0, 3, 10)):
        np.testing.assert_array_equal(fired[delay:, neuron], spikes[:40 - delay, neuron])
        assert not fired[:delay, neuron].any()
    assert (reports(net)["d"].status, reports(net)["d"].detail) == ("exact", "folded into 'd'; 0 to 10 steps")


def test_delays_add_along_a_path_and_stay_apart_beside_each_other() -> None:
    nodes = ends([2], [1]) | {"d": steps(1, 2), "fc": nir.Linear(np.array([[3.0, 5.0]])), "e": steps(4), "f": steps(2),
                              "s": nir.Scale(np.array([7.0])), "t": repeaters(1)}
    net = norse(graph(nodes, "input > d > fc > e > t > output", "fc > f > s > t", "fc > s"))
    (p,) = net.projections
    found = sorted(zip(p.pre.tolist(), p.delay.tolist(), p.weight.tolist(), strict=True))
    assert found == [(0, 1, 21), (0, 3, 21), (0, 5, 3), (1, 2, 35), (1, 4, 35), (1, 6, 5)]


def test_delays_between_steps_are_rounded_and_reported() -> None:
    nodes = ends([2], [2]) | {"d": steps(1.25, 3), "t": repeaters(2)}
    net = norse(graph(nodes, "input > d > t > output"))
    assert net.projections[0].delay.tolist() == [1, 3]
    assert reports(net)["d"].status == "approximated"
    assert "rounded from up to 0.25 steps (2.5e-05 in the file's unit) away" in reports(net)["d"].detail


@pytest.mark.parametrize(("delay", "message"), [
    (np.array([-1e-4, 0]), "Delay 'd' has the delay -0.0001; delays cannot be negative"),
    (np.array([1e9, 0]), r"Delay 'd' has a delay of 1e\+13 steps of dt 0.0001; is dt, or the profile, that of the file"),
    (np.ones(3) * 1e-4, r"Delay 'd' has delays of shape \(3,\), but its input has the shape \(2,\)"),
    (np.array([np.nan, 0]), "Delay 'd': delay holds nan"),
])
def test_a_malformed_delay_is_named(delay: Any, message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        norse(graph(ends([2], [2]) | {"d": nir.Delay(delay), "t": repeaters(2)}, "input > d > t > output"))


def test_constants_through_a_delay_begin_later() -> None:
    nodes = {"input": nir.Input(np.array([1])), "fc": nir.Affine(np.array([[0.0], [0.0]]), np.array([2.0, 3.0])),
             "d": steps(0, 4), "out": nir.Output(np.array([2]))}
    net = norse(graph(nodes | {"t": repeaters(2)}, "input > fc > d > out", "d > t"))
    result = reference(net, np.zeros((8, 1), bool))
    np.testing.assert_array_equal(result.potentials["out"], [[2, 0]] * 4 + [[2, 3]] * 4)
    np.testing.assert_array_equal(result.spikes["t"], [[1, 0]] * 4 + [[1, 1]] * 4)
    assert [p.name for p in net.populations if p.name.endswith(".bias")] == ["out.bias", "t.bias"]


def test_constants_add_up_along_chains_and_from_both_sides() -> None:
    w, b = np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([0.5, -1.0])
    nodes = ends([2], [2]) | {"one": nir.Affine(w, b), "two": nir.Affine(w, b), "s": nir.Scale(np.array([2.0, 3.0])),
                              "i": nir.I(r=np.ones(2))}
    net = norse(graph(nodes, "input > one > two > s > i > output", "input > two"))
    expected = np.array([2.0, 3.0]) * (w @ b + b)
    np.testing.assert_allclose(net.population("i").bias, expected)


# Loops.

def test_a_loop_with_a_delay_node_keeps_its_delay() -> None:
    nodes = ends([1], [1]) | {"t": repeaters(1), "d": steps(3)}
    net = norse(graph(nodes, "input > t > output", "t > d > t"))
    assert {p.name: p.delay.tolist() for p in net.projections} == {"d": [3], "input → t": [0]}
    fired = reference(net, np.eye(1, 10, dtype=bool).T).spikes["t"]
    assert np.flatnonzero(fired[:, 0]).tolist() == [0, 3, 6, 9]
    assert "closes one step later" not in reports(net)["t"].detail


def test_only_the_synapses_without_delay_close_a_loop_one_step_later() -> None:
    nodes = ends([2], [2]) | {"t": repeaters(2), "d": steps(0, 3)}
    net = norse(graph(nodes, "input > t > output", "t > d > t"))
    assert {p.name: p.delay.tolist() for p in net.projections}["d"] == [1, 3]
    assert "the loop t → t closes one step later" in reports(net)["t"].detail


def test_a_loop_over_several_layers_closes_where_it_meets_its_beginning() -> None:
    names = ["a", "b", "c", "d"]
    nodes = ends([1], [1]) | {name: repeaters(1) for name in names} | {"back": nir.Linear(np.ones((1, 1)))}
    net = norse(graph(nodes, "input > a > b > c > d > output", "d > back > a", "c > b"))
    late = {(p.source, p.target) for p in net.projections if p.delay[0]}
    assert late == {("d", "a"), ("c", "b")}
    fired = reference(net, np.eye(1, 6, dtype=bool).T).spikes
    assert all(fired[name].all() for name in names)
    assert "the loop a → b → c → d → a closes one step later" in reports(net)["a"].detail


@st.composite
def layered(draw: st.DrawFn) -> tuple[list[tuple[int, int]], int]:
    """Random edges between 4 layers of neurons, the first of which the input drives, and a seed."""
    pairs = [(a, b) for a in range(4) for b in range(4)]
    return sorted(draw(st.sets(st.sampled_from(pairs), max_size=8)) | {(0, 1), (1, 2), (2, 3)}), draw(st.integers(0, 999))


@settings(max_examples=40, deadline=None)
@given(layered())
def test_any_loops_run_as_the_definition_says(case: tuple[list[tuple[int, int]], int]) -> None:
    """Edges to the same or an earlier layer are one step later, for the walk starts at the first."""
    edges, seed = case
    rng = np.random.default_rng(seed)
    weights = {edge: rng.integers(-4, 5, (3, 3)) / 4 for edge in edges}
    ahead = all(b <= a + 1 for a, b in edges)  # a skip may be met first, from the other side
    nodes = ends([3], [3]) | {f"n{i}": repeaters(3) for i in range(4)} | {f"w{a}{b}": nir.Linear(w)
                                                                       for (a, b), w in weights.items()}
    net = norse(graph(nodes, "input > n0", "n3 > output", *(f"n{a} > w{a}{b} > n{b}" for a, b in edges)))
    spikes = rng.random((20, 3)) < 0.4
    result = reference(net, spikes)
    late = {(p.source, p.target): int(np.all(p.delay == 1)) for p in net.projections if p.size}
    if ahead:
        assert all(late.get((f"n{a}", f"n{b}"), b <= a) == (b <= a) for a, b in edges)
    past = np.zeros((4, 3))
    for step, x in enumerate(spikes):
        now = np.zeros((4, 3))
        for name in [name for name in net.order() if name.startswith("n")]:
            i = int(name[1])
            total = x.astype(float) if i == 0 else np.zeros(3)
            for (a, b), w in weights.items():
                if b == i:
                    total = total + w @ (past[a] if late.get((f"n{a}", f"n{b}"), 0) else now[a])
            now[i] = total > 0.5
            np.testing.assert_array_equal(result.spikes[name][step], now[i])
        past = now


def test_nested_graphs_may_hold_delays_and_constants() -> None:
    inside = graph(ends([3], [2]) | {"fc": nir.Affine(np.ones((2, 3)), np.array([0.25, 0.75])), "d": steps(2)},
                   "input > fc > d > output")
    net = norse(graph(ends([3], [2]) | {"g": inside, "b": cuba(2)}, "input > g > b > output"))
    assert {p.name: p.delay.tolist() for p in net.projections} == {"g.fc/g.d": [2] * 6, "b.bias": [2, 2]}
    assert [p.name for p in net.populations] == ["b", "b.bias"]
    np.testing.assert_array_equal(net.projections[0].weight, [0.25, 0.75])


def test_a_node_that_is_called_as_the_constants_source_does_not_clash() -> None:
    nodes = spiking(lif=cuba(2), fc=nir.Affine(np.ones((2, 3)), np.ones(2))) | {"lif.bias": repeaters(2)}
    net = norse(graph(nodes, CHAIN, "lif > lif.bias"))
    assert [p.name for p in net.populations] == ["lif.bias'", "lif", "lif.bias"]
