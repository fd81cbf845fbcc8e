"""Synapses of NetX layers as lists: matrices, and kernels laid over the maps before them.

Kernels lie over maps as :mod:`spikeloom.host.importers.convolve` says.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from spikeloom.host.importers.convolve import Shape, slide, taps
from spikeloom.host.importers.netx_file import Layer
from spikeloom.host.networks.population import Ints


@dataclass(frozen=True)
class Synapses:
    """Synapse i leads from flat input ``pre[i]`` to flat output ``post[i]`` with ``weight[i]``; all int64."""

    shape: Shape
    pre: Ints
    post: Ints
    weight: Ints


def synapses(layer: Layer, shape_in: Shape) -> Synapses:
    """Those of a dense, conv or pool layer for an input of the given shape; NetworkError where the two do not fit."""
    return {"dense": _dense, "conv": _conv, "pool": _pool}[layer.kind](layer, shape_in)


def _dense(layer: Layer, shape_in: Shape) -> Synapses:
    outputs, inputs = (int(np.prod(shape, dtype=np.int64)) for shape in (layer.shape, shape_in))
    matrix = layer.need("weight")
    for key, expected, what in (("outFeatures", outputs, "its shape has"), ("inFeatures", inputs, "what leads to it has")):
        if layer.number_of(key, expected) != expected:
            layer.fail(f"has {key} {layer.number_of(key)}, but {what} {expected}")
    if matrix.size != outputs * inputs or (matrix.ndim > 1 and matrix.shape[:2] != (outputs, inputs)):
        layer.fail(f"has weights of shape {matrix.shape}; expected ({outputs}, {inputs})")
    post, pre = np.nonzero(matrix.reshape(outputs, inputs))
    return Synapses((outputs,), pre, post, matrix.reshape(outputs, inputs)[post, pre])


def _conv(layer: Layer, shape_in: Shape) -> Synapses:
    _three_axes(layer, shape_in)
    groups = layer.number_of("groups", 1)
    channels, features = shape_in[0], layer.shape[0]
    for key, expected in (("inChannels", channels), ("outChannels", features)):
        if layer.number_of(key, expected) != expected:
            layer.fail(f"has {key} {layer.number_of(key)}, but the shapes say {expected}")
    if groups < 1 or channels % groups or features % groups:
        layer.fail(f"has {groups} groups, which must divide its {channels} and {features} channels")
    size = layer.pair("kernelSize")
    expected_shape = (features, channels // groups, *size)
    weight = layer.need("weight")
    if weight.shape not in (expected_shape, (*expected_shape, 1)):
        layer.fail(f"has weights of shape {weight.shape}; expected {expected_shape}")
    return _slide(layer, weight.reshape(expected_shape), groups, shape_in, trailing=False)


def _pool(layer: Layer, shape_in: Shape) -> Synapses:
    _three_axes(layer, shape_in)
    size, channels = layer.pair("kernelSize"), shape_in[0]
    weight = layer.need("weight")
    if weight.size not in (1, size[0] * size[1]):
        layer.fail(f"has weights of shape {weight.shape}; expected one kernel of shape {size}")
    if layer.shape[0] != channels or layer.number_of("groups", 1) not in (1, channels):
        layer.fail(f"has the shape {layer.shape}; it must keep the {channels} channels of what leads to it")
    kernel = np.broadcast_to(weight.reshape(size) if weight.size > 1 else weight.reshape(1, 1), (channels, 1, *size))
    return _slide(layer, kernel, channels, shape_in, trailing=True)


def _three_axes(layer: Layer, shape_in: Shape) -> None:
    if len(shape_in) != 3 or len(layer.shape) != 3:
        layer.fail(f"leads from the shape {shape_in} to {layer.shape}; both must be (channels, height, width)")


def _slide(layer: Layer, kernel: Ints, groups: int, shape_in: Shape, trailing: bool) -> Synapses:
    """A kernel (features, channels / groups, height, width) over the input. ``trailing``: an output may hang over the end."""
    stride, padding, dilation = layer.pair("stride"), layer.pair("padding", 0), layer.pair("dilation", 1)
    if min(*stride, *dilation) < 1 or min(padding) < 0:
        layer.fail(f"has stride {stride}, padding {padding} and dilation {dilation}; they must be at least 1, 0 and 1")
    for axis in (0, 1):
        room = shape_in[axis + 1] + 2 * padding[axis] - dilation[axis] * (kernel.shape[axis + 2] - 1) - 1
        fits = {room // stride[axis] + 1, -(-room // stride[axis]) + 1 if trailing else room // stride[axis] + 1}
        if layer.shape[axis + 1] not in fits or (room < 0 and not trailing):
            layer.fail(f"has the shape {layer.shape}, but its kernel {kernel.shape[2:]}, stride {stride}, padding {padding} and "
                       f"dilation {dilation} make {min(fits)} of the {shape_in[axis + 1]} "
                       f"{'rows' if axis == 0 else 'columns'} before it")
    met = taps(shape_in[1:], layer.shape[1:], kernel.shape[2:], stride, padding, dilation)
    return Synapses(layer.shape, *slide(kernel, groups, met))
