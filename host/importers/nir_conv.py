"""Convolutions and pools of a NIR graph, unrolled into lists of weights.

They are PyTorch's: cross-correlation over (channels, …) with zeros as padding, output sizes rounded down, the padding counted
in averages.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.host.importers.convolve import Shape, Taps, slide, taps
from spikeloom.host.importers.nir_graph import Graph, Node
from spikeloom.host.networks.population import Floats, Ints


@dataclass(frozen=True)
class Links:
    """Weights from flat inputs ``pre`` to flat outputs ``post``, and a constant per output."""

    shape_out: Shape
    pre: Ints
    post: Ints
    weight: Floats
    constant: Floats


def input_shape(node: Node) -> Shape | None:
    """The shape that a convolution says its input has: channels, and the extents that the file gives; None if it does not."""
    written = node.parameters.get("input_shape")
    weight = node.parameters.get("weight")
    if node.kind not in ("Conv1d", "Conv2d") or written is None or weight is None or weight.ndim < 2:
        return None
    return int(weight.shape[1] * node.parameters["groups"].reshape(-1)[0]), *(int(extent) for extent in written.reshape(-1))


def conv(graph: Graph, node: Node, shape: Shape) -> Links:
    """Conv1d and Conv2d: y[o] = b[o] + Σ w[o, i, k] x[i, stride·y + dilation·k − padding]."""
    axes = 1 if node.kind == "Conv1d" else 2
    weight = node.parameters["weight"]
    if weight.ndim != axes + 2:
        raise graph.error(node.name, f"has weights of shape {weight.shape}; expected (outputs, inputs per group, "
                                     f"{'kernel' if axes == 1 else 'height, width'})")
    groups = _per_axis(graph, node, "groups", 1, 1)[0]
    stride, dilation = (_per_axis(graph, node, key, axes, 1) for key in ("stride", "dilation"))
    outputs, inputs = weight.shape[:2]
    if outputs % groups:
        raise graph.error(node.name, f"has {outputs} output channels, which {groups} groups cannot share")
    shape = _spatial(graph, node, shape, inputs * groups, axes)
    padding = _padding(graph, node, weight.shape[2:], stride, dilation)
    met = _taps(graph, node, shape[1:], weight.shape[2:], stride, padding, dilation)
    pre, post, values = slide(weight, groups, met)
    bias = node.parameters["bias"].reshape(-1)
    if len(bias) not in (1, outputs):
        raise graph.error(node.name, f"has {outputs} output channels, but a bias of shape {node.parameters['bias'].shape}")
    constant = np.repeat(np.broadcast_to(bias, outputs), int(np.prod(met.extents))).astype(np.float64)
    return Links((outputs, *met.extents), pre, post, values.astype(np.float64), constant)


def pool(graph: Graph, node: Node, shape: Shape) -> Links:
    """SumPool2d and AvgPool2d: the sum over each window, or that divided by the window's size."""
    if len(shape) != 3:
        raise graph.error(node.name, f"pools (channels, height, width), but what leads to it has the shape {shape}")
    kernel, stride = (_per_axis(graph, node, key, 2, 1) for key in ("kernel_size", "stride"))
    padding = [(p, p) for p in _per_axis(graph, node, "padding", 2, 0)]
    met = _taps(graph, node, shape[1:], kernel, stride, padding, (1, 1))
    factor = 1.0 if node.kind == "SumPool2d" else 1.0 / (kernel[0] * kernel[1])
    extents = (shape[0], *met.extents)
    return Links(extents, *slide(np.full((shape[0], 1, *kernel), factor), shape[0], met), np.zeros(int(np.prod(extents))))


def _per_axis(graph: Graph, node: Node, key: str, axes: int, least: int) -> tuple[int, ...]:
    """A parameter as one integer for each axis."""
    values = node.parameters[key].reshape(-1)
    if values.dtype.kind == "U":
        raise graph.error(node.name, f"has {key} {str(values[0])!r}; expected integers")
    if values.size not in (1, axes):
        raise graph.error(node.name, f"has {key} {tuple(values.tolist())}; expected {'one integer' if axes == 1 else 'one or two'}")
    if values.min() < least:
        raise graph.error(node.name, f"has {key} {values.min()}; it must be {least} or more")
    return tuple(np.broadcast_to(values, axes).tolist())


def _padding(graph: Graph, node: Node, kernel: Shape, stride: Shape, dilation: Shape) -> list[tuple[int, int]]:
    """Zeros before and after, for each axis."""
    written = node.parameters["padding"]
    if written.dtype.kind != "U":
        return [(p, p) for p in _per_axis(graph, node, "padding", len(kernel), 0)]
    word = str(written.reshape(-1)[0])
    if word not in ("same", "valid"):
        raise graph.error(node.name, f"has padding {word!r}; it must be 'same', 'valid' or integers")
    if word == "valid":
        return [(0, 0)] * len(kernel)
    if any(s != 1 for s in stride):
        raise graph.error(node.name, f"has padding 'same' with stride {stride}; 'same' is defined for stride 1 only")
    whole = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
    return [(total // 2, total - total // 2) for total in whole]  # as PyTorch: the odd zero comes last


def _spatial(graph: Graph, node: Node, shape: Shape, channels: int, axes: int) -> Shape:
    """The input's shape as (channels, …): as it arrives, or, where it arrives flat, as the file says."""
    if len(shape) == axes + 1 and shape[0] == channels:
        return shape
    written = input_shape(node)
    if written is not None and len(shape) != axes + 1 and len(written) == axes + 1 and np.prod(written) == np.prod(shape):
        return written
    if len(shape) == axes + 1:
        raise graph.error(node.name, f"takes {channels} channels, but what leads to it has the shape {shape}")
    raise graph.error(node.name, f"takes {channels} channels of {axes} {'axis' if axes == 1 else 'axes'}, but what leads to it "
                                 f"has the shape {shape}" + ("" if written is None else f", and not that of its input {written}"))


def _taps(graph: Graph, node: Node, inside: Shape, kernel: Shape, stride: Shape, padding: list[tuple[int, int]],
          dilation: Shape) -> Taps:
    """Where the node's windows lie that fit into the input with its padding."""
    extents = []
    for extent, k, s, (before, after), d in zip(inside, kernel, stride, padding, dilation, strict=True):
        extents.append((extent + before + after - d * (k - 1) - 1) // s + 1)
        if extents[-1] < 1:
            raise graph.error(node.name, f"has a window of {d * (k - 1) + 1}, which does not fit into the extent {extent} with "
                                         f"padding {before} and {after}")
    return taps(inside, tuple(extents), kernel, stride, [before for before, _ in padding], dilation)
