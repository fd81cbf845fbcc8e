"""Convolutions and pools of NIR graphs become the synapses that PyTorch's definition says."""

from __future__ import annotations

import itertools
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import NetworkError
from spikeloom.host.importers.nir_graph import Graph, Node
from spikeloom.host.importers.nir_linear import NODES, Map, size
from spikeloom.host.networks.network import Network
from tests.nir_cases import graph, lif, norse

Floats = npt.NDArray[np.float64]
Pair = tuple[int, int]


def matrix(made: Map) -> Floats:
    """A map as a matrix (outputs, inputs); it must not list a pair twice."""
    whole = np.zeros((size(made.shape_out), size(made.shape_in)))
    np.add.at(whole, (made.post, made.pre), made.weight)
    assert len(set(zip(made.post.tolist(), made.pre.tolist(), strict=True))) == len(made.weight)
    assert not made.delay.any()
    return whole


def window_sums(image: Floats, kernel: Floats, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int) -> Floats:
    """Cross-correlation of (channels, height, width) by its definition, one number at a time."""
    padded = np.pad(image, ((0, 0), *padding))
    outputs, inputs, high, wide = kernel.shape
    rows = range(0, padded.shape[1] - dilation[0] * (high - 1), stride[0])
    columns = range(0, padded.shape[2] - dilation[1] * (wide - 1), stride[1])
    result = np.zeros((outputs, len(rows), len(columns)))
    for o, (i, y), (j, x) in itertools.product(range(outputs), enumerate(rows), enumerate(columns)):
        first = o // (outputs // groups) * inputs
        for c, a, b in itertools.product(range(inputs), range(high), range(wide)):
            result[o, i, j] += kernel[o, c, a, b] * padded[first + c, y + a * dilation[0], x + b * dilation[1]]
    return result


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int, int], tuple[Pair, Pair]]:
    """Parameters of a Conv2d, the shape of its input, and its padding in numbers."""
    small = st.integers(1, 3)
    groups = draw(st.integers(1, 2))
    inputs, outputs = draw(small), draw(st.integers(1, 2)) * groups
    kernel, dilation = (draw(small), draw(small)), (draw(small), draw(small))
    reach = tuple(d * (k - 1) for k, d in zip(kernel, dilation, strict=True))
    padding: Any = draw(st.one_of(st.sampled_from(["same", "valid"]), st.integers(0, 2), st.tuples(st.integers(0, 2),
                                                                                                    st.integers(0, 2))))
    stride: Any = (1, 1) if padding == "same" else draw(st.one_of(small, st.tuples(small, small)))
    if padding == "same":
        zeros = tuple((r // 2, r - r // 2) for r in reach)
    else:
        zeros = tuple((p, p) for p in ((0, 0) if padding == "valid" else np.broadcast_to(padding, 2).tolist()))
    extents = [draw(st.integers(max(1, r + 1 - sum(z)), r + 5)) for r, z in zip(reach, zeros, strict=True)]
    seed = draw(st.integers(0, 9999))
    weight = np.random.default_rng(seed).integers(-9, 10, (outputs, inputs, *kernel)).astype(np.float64)
    parameters = {"weight": weight, "stride": stride, "padding": padding, "dilation": dilation, "groups": groups,
                  "bias": np.arange(1.0, outputs + 1)}
    return parameters, (inputs * groups, *extents), (zeros[0], zeros[1])  # type: ignore[return-value]  # two extents


def mapped(kind: str, shape: tuple[int, ...], **parameters: Any) -> tuple[Map, Floats]:
    """A node's map by the importer's own table."""
    node = Node("x", kind, {key: np.asarray(value) for key, value in parameters.items()})
    return NODES[kind](Graph("test", {"x": node}), node, shape, 1.0)


@settings(max_examples=150, deadline=None)
@given(convolutions(), st.integers(0, 9999))
def test_conv2d_is_cross_correlation(case: tuple[dict[str, Any], tuple[int, int, int], tuple[Pair, Pair]], seed: int) -> None:
    parameters, shape, zeros = case
    made, constant = mapped("Conv2d", shape, **parameters)
    image = np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)
    stride = tuple(np.broadcast_to(parameters["stride"], 2).tolist())
    expected = window_sums(image, parameters["weight"], stride, zeros, parameters["dilation"], parameters["groups"])
    assert made.shape_out == expected.shape
    if parameters["padding"] == "same":
        assert made.shape_out[1:] == shape[1:]
    np.testing.assert_array_equal((matrix(made) @ image.reshape(-1)).reshape(expected.shape), expected)
    np.testing.assert_array_equal(constant.reshape(expected.shape),
                                  np.broadcast_to(parameters["bias"][:, None, None], expected.shape))


@settings(max_examples=60, deadline=None)
@given(convolutions(), st.integers(0, 9999))
def test_conv1d_is_conv2d_of_one_row(case: tuple[dict[str, Any], tuple[int, int, int], tuple[Pair, Pair]], seed: int) -> None:
    parameters, (channels, _, length), (_, zeros) = case
    line = {key: value if isinstance(value, int | str) else value[1] for key, value in parameters.items()
            if key in ("stride", "padding", "dilation")}
    kernel = parameters["weight"][:, :, 0]
    made, constant = mapped("Conv1d", (channels, length), weight=kernel, groups=parameters["groups"], bias=parameters["bias"],
                            **line)
    signal = np.random.default_rng(seed).integers(-9, 10, (channels, length)).astype(np.float64)
    stride, dilation = (1, line["stride"]), (1, line["dilation"])
    expected = window_sums(signal[:, None], kernel[:, :, None], stride, ((0, 0), zeros), dilation, parameters["groups"])[:, 0]
    assert made.shape_out == expected.shape
    np.testing.assert_array_equal((matrix(made) @ signal.reshape(-1)).reshape(expected.shape), expected)
    np.testing.assert_array_equal(constant.reshape(expected.shape)[:, 0], parameters["bias"])


@settings(max_examples=80, deadline=None)
@given(st.integers(1, 3), st.tuples(st.integers(1, 4), st.integers(1, 4)), st.tuples(st.integers(1, 3), st.integers(1, 3)),
       st.tuples(st.integers(0, 1), st.integers(0, 1)), st.tuples(st.integers(4, 9), st.integers(4, 9)))
def test_pools_sum_or_average_their_windows(channels: int, kernel: Pair, stride: Pair, padding: Pair, extents: Pair) -> None:
    image = np.random.default_rng(3).integers(-9, 10, (channels, *extents)).astype(np.float64)
    ones = np.ones((channels, 1, *kernel))
    expected = window_sums(image, ones, stride, ((padding[0],) * 2, (padding[1],) * 2), (1, 1), channels)
    for kind, area in (("SumPool2d", 1), ("AvgPool2d", kernel[0] * kernel[1])):
        made, constant = mapped(kind, image.shape, kernel_size=kernel, stride=stride, padding=padding)
        assert made.shape_out == expected.shape
        assert not constant.any()
        assert set(made.weight.tolist()) <= {1 / area}
        np.testing.assert_allclose((matrix(made) @ image.reshape(-1)).reshape(expected.shape), expected / area, atol=1e-12)


@pytest.mark.parametrize("shapes", [(5, 7, 4), (3, 3, 3), (60, 30, 50)])
def test_maps_compose_as_matrices_in_parts_of_any_size(shapes: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    first, second = (rng.integers(-5, 6, (b, a)) * (rng.random((b, a)) < 0.4) for a, b in itertools.pairwise(shapes))
    a, b = (Map.dense((m.shape[1],), (m.shape[0],), m.astype(np.float64)) for m in (first, second))
    for limit, dense in ((1, 0), (7, 0), (100, 0), (1, 1 << 24), (1 << 20, 0)):
        monkeypatch.setattr("spikeloom.host.importers.nir_linear._PRODUCTS", limit)
        monkeypatch.setattr("spikeloom.host.importers.nir_linear._DENSE_LIMIT", dense)
        np.testing.assert_array_equal(matrix(a.then(b)), second @ first)
    np.testing.assert_array_equal(matrix(a.plus(a)), 2 * first)


# Whole graphs.

def conv(weight: Floats, shape: Any, **changes: Any) -> nir.Conv2d:
    """A Conv2d node with plain options."""
    parts: dict[str, Any] = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "bias": np.zeros(len(weight))}
    return nir.Conv2d(input_shape=shape, weight=weight, **(parts | changes))


def neurons(*shape: int) -> nir.LIF:
    """LIF neurons of a shape."""
    full = np.ones(shape)
    return nir.LIF(tau=1e-3 * full, r=full, v_leak=0 * full, v_threshold=full, v_reset=0 * full)


def imported(nodes: dict[str, nir.NIRNode], inputs: Any, outputs: Any, *edges: str) -> Network:
    """The network of a graph with one Input and one Output."""
    ports = {"input": nir.Input(np.array(inputs)), "output": nir.Output(np.array(outputs))}
    return norse(graph(ports | nodes, *edges))


def test_a_convolution_a_pool_and_a_dense_layer_fold_with_their_biases() -> None:
    rng = np.random.default_rng(8)
    w1, bias, w2 = rng.normal(size=(3, 2, 2, 3)), rng.normal(size=3), rng.normal(size=(4, 3 * 2 * 2))
    nodes = {"conv": conv(w1, (5, 6), bias=bias), "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
             "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, -1), "fc": nir.Linear(w2), "lif": lif(4)}
    net = imported(nodes, [2, 5, 6], [4], "input > conv > pool > flat > fc > lif > output")
    (projection,) = net.projections
    assert projection.name == "conv/pool/flat/fc"
    image = rng.normal(size=(2, 5, 6))
    maps = window_sums(image, w1, (1, 1), ((0, 0), (0, 0)), (1, 1), 1) + bias[:, None, None]
    pooled = maps.reshape(3, 2, 2, 2, 2).mean(axis=(2, 4))
    drive = np.bincount(projection.post, projection.weight * image.reshape(-1)[projection.pre], minlength=4)
    population = net.population("lif")
    np.testing.assert_allclose(population.input_gain * drive + population.bias,
                               population.input_gain * (w2 @ pooled.reshape(-1)), rtol=1e-12)


def test_maps_keep_their_shape_for_neurons_in_flat_lists_and_in_loops() -> None:
    w = np.ones((2, 2, 3, 3))
    nodes = {"conv": conv(w, (4, 5), padding=1), "lif": neurons(40), "back": conv(w, (4, 5), padding="same")}
    net = imported(nodes, [2, 4, 5], [40], "input > conv > lif > output", "lif > back > lif")
    assert net.population("lif").shape == (2, 4, 5)
    assert {p.name: (p.size, int(p.delay[0])) for p in net.projections} == {"conv": (4 * 10 * 13, 0), "back": (4 * 10 * 13, 1)}


def test_flat_input_takes_the_shape_that_the_convolution_names() -> None:
    w = np.arange(1.0, 13).reshape(2, 1, 2, 3)
    nodes = {"conv": conv(w, (4, 5)), "lif": neurons(2, 3, 3)}
    flat = imported(nodes, [20], [2, 3, 3], "input > conv > lif > output")
    shaped = imported(nodes, [1, 4, 5], [2, 3, 3], "input > conv > lif > output")
    for name in ("pre", "post", "weight"):
        np.testing.assert_array_equal(getattr(flat.projections[0], name), getattr(shaped.projections[0], name))


def test_a_wrong_input_shape_after_nirs_own_inference_is_reported_and_not_used() -> None:
    # nir infers 4 × 4 behind a kernel of 1 × 3, for it takes the kernel's height for both axes; in truth it is 4 × 2.
    nodes = {"one": conv(np.ones((1, 1, 1, 3)), (4, 4)), "two": conv(np.ones((1, 1, 2, 2)), None), "lif": neurons(1, 3, 1)}
    ports = {"input": nir.Input(np.array([1, 4, 4])), "output": nir.Output(np.array([1, 3, 1]))}
    whole = graph(ports | nodes, "input > one > two > lif > output")
    assert whole.nodes["one"].output_type["output"].tolist() == [1, 4, 4]
    whole.nodes["two"].input_shape = (4, 4)
    net = norse(whole)
    (projection,) = net.projections
    np.testing.assert_array_equal(np.bincount(projection.pre, projection.weight),
                                  [1, 2, 2, 1, 2, 4, 4, 2, 2, 4, 4, 2, 1, 2, 2, 1])
    details = {node.name: node.detail for node in net.report}
    assert "its input has the shape (1, 4, 2), not (1, 4, 4) as input_shape says" in details["two"]


@pytest.mark.parametrize(("kind", "changes", "message"), [
    ("conv", {"stride": 0}, "Conv2d 'conv' has stride 0; it must be 1 or more"),
    ("conv", {"groups": 2}, "has 1 output channels, which 2 groups cannot share"),
    ("conv", {"dilation": (3, 3)}, r"has a window of 7, which does not fit into the extent 4 with padding 0 and 0"),
    ("conv", {"padding": "same", "stride": (2, 1)}, r"padding 'same' with stride \(2, 1\); 'same' is defined for stride 1"),
    ("conv", {"padding": (-1, 0)}, "has padding -1; it must be 0 or more"),
    ("conv", {"padding": np.array([1, 2, 3])}, r"has padding \(1, 2, 3\); expected one or two"),
    ("conv", {"stride": np.array([1.5, 1])}, r"stride must be integers below 2\*\*31, not \(1.5, 1.0\)"),
    ("conv", {"bias": np.ones(2)}, r"has 1 output channels, but a bias of shape \(2,\)"),
    ("conv", {"weight": np.ones((1, 2, 3, 3))}, r"takes 2 channels, but what leads to it has the shape \(1, 4, 5\)"),
    ("conv", {"weight": np.ones((1, 1, 3))}, r"has weights of shape \(1, 1, 3\); expected \(outputs, inputs per group, height"),
    ("conv", {"weight": np.full((1, 1, 3, 3), np.nan)}, "weight holds nan"),
    ("pool", {"kernel_size": np.array([5, 2])}, "SumPool2d 'conv' has a window of 5, which does not fit"),
    ("pool", {"stride": np.array([0, 2])}, "has stride 0"),
])
def test_a_malformed_convolution_is_named(kind: str, changes: dict[str, Any], message: str) -> None:
    node = conv(np.ones((1, 1, 3, 3)), (4, 5)) if kind == "conv" else \
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    for key, value in changes.items():
        setattr(node, key, value)
    with pytest.raises(NetworkError, match=message):
        imported({"conv": node, "lif": neurons(1)}, [1, 4, 5], [1], "input > conv > lif > output")


def test_a_pool_needs_a_map_and_a_flat_convolution_its_shape() -> None:
    pool = nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))
    with pytest.raises(NetworkError, match=r"SumPool2d 'p' pools \(channels, height, width\), but what leads .* shape \(20,\)"):
        imported({"p": pool, "lif": neurons(1)}, [20], [1], "input > p > lif > output")
    with pytest.raises(NetworkError, match=r"Conv2d 'c' takes 1 channels of 2 axes, but what leads to it has the shape \(20,\)$"):
        imported({"c": conv(np.ones((1, 1, 2, 2)), None), "lif": neurons(1)}, [20], [1], "input > c > lif > output")
