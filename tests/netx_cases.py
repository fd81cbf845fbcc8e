"""NetX files for tests, and an evaluation of them that shares nothing with the importer: layer by layer over all steps."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
NEURON = {"type": "CUBA", "iDecay": 1024, "vDecay": 128, "vThMant": 20, "refDelay": 1, "gradedSpike": False}


def write(path: Path, layers: list[dict[str, Any]]) -> Path:
    """A NetX file with these layers: datasets by name, ``type`` as lava-dl stores it."""
    with h5py.File(path, "w") as file:
        for number, layer in enumerate(layers):
            group = file.create_group(f"layer/{number}")
            for key, value in layer.items():
                if key == "type":
                    group.create_dataset("type", (1,), "S10", [value.encode("ascii")])
                elif isinstance(value, Mapping):
                    for part, content in value.items():
                        group.create_dataset(f"{key}/{part}", data=content)
                else:
                    group.create_dataset(key, data=value)
    return path


def dense(values: Any, neuron: Mapping[str, Any] = NEURON, **more: Any) -> dict[str, Any]:
    """A dense layer from a matrix (outputs, inputs)."""
    matrix = np.asarray(values, np.float32)
    return {"type": "dense", "shape": [len(matrix)], "inFeatures": matrix.shape[1], "outFeatures": len(matrix), "weight": matrix,
            "neuron": dict(neuron), **more}


def conv(weight: Any, shape: tuple[int, int, int], neuron: Mapping[str, Any] = NEURON, **more: Any) -> dict[str, Any]:
    """A convolution from a kernel (outputs, inputs / groups, height, width) to maps of a shape."""
    kernel = np.asarray(weight, np.float32)
    settings: dict[str, Any] = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
    settings |= more
    return {"type": "conv", "shape": shape, "inChannels": kernel.shape[1] * settings["groups"], "outChannels": len(kernel),
            "kernelSize": kernel.shape[2:], "weight": kernel[..., None], "neuron": dict(neuron), **settings}


def loihi(path: Path, inputs: Array, layer_delay: int = 0) -> dict[str, Array]:
    """Spikes of every layer with neurons, bool (samples, steps, neurons), by the Loihi rule in int64.

    ``inputs`` are spikes (samples, steps, …), or values (samples, …) and a last axis of steps copies, for an input layer.
    """
    found: dict[str, Array] = {}
    signal = np.asarray(inputs)
    with h5py.File(path, "r") as file:
        for number in range(len(file["layer"])):
            layer = file[f"layer/{number}"]
            kind = layer["type"][0].decode()
            if kind == "flatten":
                signal = signal.reshape(*signal.shape[:2], -1)
                continue
            spikes = neurons(layer, drives(kind, layer, signal), kind)
            found[f"layer{number}"] = spikes.reshape(*spikes.shape[:2], -1)
            signal = late(spikes, per_neuron(layer, "delay", spikes.shape[2:], 0) + layer_delay)
    return found


def drives(kind: str, layer: Any, signal: Array) -> Array:
    """Weighted sums a, int64 (samples, steps, …)."""
    if kind == "input":
        return np.trunc(signal * float(layer["weight"][0]) + float(layer["bias"][0])).astype(np.int64)
    weight = layer["weight"][()].astype(np.float64)
    if kind == "dense":
        return (signal.reshape(*signal.shape[:2], -1).astype(np.float64) @ weight.T).astype(np.int64)
    channels, groups = signal.shape[2], int(layer["groups"][()]) if kind == "conv" else signal.shape[2]
    kernel = weight.reshape(weight.shape[:4])
    if kind == "pool":
        kernel = np.tile(kernel, (channels, 1, 1, 1))
    (sy, sx), (py, px), (dy, dx) = (layer[key][()] for key in ("stride", "padding", "dilation"))
    _, height, width = layer["shape"][()]
    tall, wide = (height - 1) * sy + (kernel.shape[2] - 1) * dy + 1, (width - 1) * sx + (kernel.shape[3] - 1) * dx + 1
    padded = np.zeros((*signal.shape[:3], max(tall, signal.shape[3] + 2 * py), max(wide, signal.shape[4] + 2 * px)), np.int64)
    padded[:, :, :, py:py + signal.shape[3], px:px + signal.shape[4]] = signal
    sums = np.zeros((*signal.shape[:2], len(kernel), height, width), np.int64)
    for feature in range(len(kernel)):
        first = feature // (len(kernel) // groups) * (channels // groups)
        for c, i, j in np.ndindex(*kernel.shape[1:]):
            seen = padded[:, :, first + c, i * dy: i * dy + (height - 1) * sy + 1: sy, j * dx: j * dx + (width - 1) * sx + 1: sx]
            sums[:, :, feature] += int(kernel[feature, c, i, j]) * seen
    return sums


def neurons(layer: Any, sums: Array, kind: str) -> Array:
    """Spikes bool of the shape of ``sums``: the rule of FRONTENDS.md with lava's bounds of v."""
    shape = sums.shape[2:]
    du, dv, vth, ref = (per_neuron(layer, f"neuron/{key}", shape, 1) for key in ("iDecay", "vDecay", "vThMant", "refDelay"))
    bias = 0 * du if kind == "input" else per_neuron(layer, "bias", shape, 0)
    u, v, wait = (np.zeros((len(sums), *shape), np.int64) for _ in range(3))
    spikes = np.zeros(sums.shape, bool)
    for step in range(sums.shape[1]):
        u = np.trunc(u * (4096 - du) / 4096).astype(np.int64) + 64 * sums[:, step]
        assert np.abs(u).max(initial=0) < 1 << 23
        new = np.trunc(v * (4096 - dv) / 4096).astype(np.int64) + u + 64 * bias
        v = np.where(wait > 0, 0, np.clip(new, 1 - (1 << 23), (1 << 23) - 1))
        wait = np.maximum(wait - 1, 0)
        fired = v > 64 * vth
        v = np.where(fired, 0, v)
        wait = np.where(fired, ref - 1, wait)
        spikes[:, step] = fired
    return spikes


def late(spikes: Array, delay: Array) -> Array:
    """Spikes (samples, steps, …), each neuron's that many steps later."""
    moved = np.zeros_like(spikes)
    for place in np.ndindex(*spikes.shape[2:]):
        by = int(delay[place])
        moved[(slice(None), slice(by, None), *place)] = spikes[(slice(None), slice(0, spikes.shape[1] - by if by else None), *place)]
    return moved


def per_neuron(layer: Any, key: str, shape: tuple[int, ...], default: int) -> Array:
    """A dataset given once, per channel or per neuron, int64 of the layer's shape."""
    value = np.asarray(layer[key][()] if key in layer else default).astype(np.int64).reshape(-1)
    if value.size == shape[0]:
        value = value.reshape(-1, *(1 for _ in shape[1:]))
    elif value.size > 1:
        value = value.reshape(shape)
    return np.broadcast_to(value, shape)
