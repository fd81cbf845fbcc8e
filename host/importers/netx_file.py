"""NetX files (``.net``), read and checked: what a layer holds, as plain arrays of integers.

NetX is the HDF5 form in which lava-dl hands networks to Loihi: a group ``layer`` with a numbered group for each layer,
from input to output, which holds ``type``, ``shape``, the weights, and a group ``neuron``. Numbers are often stored as floats
but are integers. Nothing that a file says is passed over: a dataset of unknown meaning is an error.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.networks.population import Ints

_CONVOLUTION = ("kernelSize", "stride", "padding", "dilation", "groups")
#: Datasets of each layer type; everything but ``weight`` of the synaptic ones has a default or follows from the rest.
KEYS: dict[str, tuple[str, ...]] = {
    "input": ("weight", "bias", "delay"),
    "dense": ("weight", "bias", "delay", "inFeatures", "outFeatures"),
    "conv": ("weight", "bias", "delay", "inChannels", "outChannels", *_CONVOLUTION),
    "pool": ("weight", "delay", *_CONVOLUTION),
    "flatten": (),
    "average": (),
}
#: Neuron types that follow the rule of :mod:`spikeloom.host.importers.netx_neuron`.
NEURONS = ("CUBA", "LOIHI")
_NEURON = ("iDecay", "vDecay", "vThMant", "refDelay", "wgtExp", "weight_exp", "gradedSpike", "messageBits")
_TRAINING = ("scaleRho", "tauRho", "theta")  # of the training; theta repeats vThMant


@dataclass(frozen=True)
class Layer:
    """One layer: ``values`` are its integer datasets by name, ``neuron`` those of its neurons (None: it has none)."""

    source: str
    number: int
    kind: str
    values: Mapping[str, Ints]
    neuron: Mapping[str, Ints] | None

    @property
    def name(self) -> str:
        """``layer0`` and so on."""
        return f"layer{self.number}"

    @property
    def shape(self) -> tuple[int, ...]:
        """Its output's shape as the file says: (channels, height, width), or (neurons,)."""
        return tuple(self.need("shape").reshape(-1).tolist())

    def fail(self, text: str) -> NoReturn:
        """Raise NetworkError that names file, layer and type."""
        raise NetworkError(f"{self.source}: layer {self.number} ({self.kind}) {text}")

    def need(self, key: str) -> Ints:
        """A dataset; NetworkError where it is absent."""
        if key not in self.values:
            self.fail(f"lacks the dataset {key!r}")
        return self.values[key]

    def number_of(self, key: str, default: int | None = None) -> int:
        """A dataset that is one number."""
        if key not in self.values and default is not None:
            return default
        value = self.need(key)
        if value.size != 1:
            self.fail(f"has {key} of shape {value.shape}; expected one number")
        return int(value.reshape(-1)[0])

    def pair(self, key: str, default: int | None = None) -> tuple[int, int]:
        """A dataset of one number or two, for height and width."""
        if key not in self.values and default is not None:
            return default, default
        value = self.need(key).reshape(-1)
        if value.size not in (1, 2):
            self.fail(f"has {key} of shape {value.shape}; expected one number or two")
        return int(value[0]), int(value[-1])

    def spread(self, what: str, values: Ints, shape: tuple[int, ...]) -> Ints:
        """Numbers given once, per channel (first axis) or per neuron, as one per neuron."""
        size = int(np.prod(shape, dtype=np.int64))
        flat = values.reshape(-1)
        if flat.size not in (1, shape[0], size):
            self.fail(f"has {what} of shape {values.shape}; expected one number, {shape[0]} or {size} for its shape {shape}")
        return np.repeat(flat, size // flat.size)


def read_layers(path: str | os.PathLike[str]) -> tuple[Layer, ...]:
    """The layers of a file in order; NetworkError, naming file and layer, for one that cannot be understood."""
    import h5py
    if not isinstance(path, str | os.PathLike):
        raise NetworkError(f"A NetX network is given by its file's path, not by {type(path).__name__}")
    file_path = Path(path)
    if not file_path.is_file():
        raise NetworkError(f"There is no NetX file {file_path}")
    try:
        with h5py.File(file_path, "r") as file:
            raw = {str(key): _plain(group) for key, group in file["layer"].items()}
    except Exception as error:  # h5py raises OSError, KeyError, RuntimeError and others for damage
        raise NetworkError(f"{file_path.name}: not a NetX file, or it is damaged: {error}") from error
    if not raw or set(raw) != {str(number) for number in range(len(raw))}:
        raise NetworkError(f"{file_path.name}: layers must be numbered from 0 without gaps, but are "
                           f"{', '.join(sorted(raw)) or 'absent'}")
    return tuple(_layer(file_path.name, number, raw[str(number)]) for number in range(len(raw)))


def _plain(item: Any) -> Any:
    """A group as a dict, a dataset as its value."""
    if hasattr(item, "items"):
        return {str(key): _plain(part) for key, part in item.items()}
    return item[()]


def _text(value: Any) -> str:
    first = np.asarray(value).reshape(-1)
    entry = first[0] if first.size == 1 else value
    return entry.decode("utf-8", "replace") if isinstance(entry, bytes) else str(entry)


def _layer(source: str, number: int, raw: Any) -> Layer:
    title = f"{source}: layer {number}"
    if not isinstance(raw, dict) or "type" not in raw:
        raise NetworkError(f"{title} lacks the dataset 'type'")
    kind = _text(raw["type"])
    title = f"{title} ({kind})"
    if kind not in KEYS:
        raise NetworkError(f"{title} is of a type that cannot be taken exactly here; those that can are {', '.join(KEYS)}")
    values = {}
    for key, value in raw.items():
        if key in ("type", "neuron"):
            continue
        if key not in ("shape", *KEYS[kind]):
            raise NetworkError(f"{title} holds {key!r}, whose meaning is not known here, so that it cannot be taken exactly")
        if key == "weight" and isinstance(value, dict):
            raise NetworkError(f"{title} has complex weights ({', '.join(value)}): resonators cannot be taken")
        values[key] = _integers(f"{title}: {key}", value)
    layer = Layer(source, number, kind, values, _neuron(title, raw.get("neuron")))
    if any(extent < 1 for extent in layer.shape) or not layer.shape:
        layer.fail(f"has the shape {layer.shape}; every extent must be at least 1")
    return layer


def _neuron(title: str, raw: Any) -> dict[str, Ints] | None:
    if raw is None:
        return None
    if not isinstance(raw, dict) or "type" not in raw:
        raise NetworkError(f"{title}: its neuron lacks the dataset 'type'")
    kind = _text(raw["type"])
    if kind not in NEURONS:
        raise NetworkError(f"{title} has neurons of type {kind}; those that can be taken exactly are {', '.join(NEURONS)}")
    unknown = set(raw) - {"type", *_NEURON, *_TRAINING}
    if unknown:
        raise NetworkError(f"{title}: its neuron holds {', '.join(map(repr, sorted(unknown)))}, whose meaning is not known here, so "
                           f"that it cannot be taken exactly")
    return {key: _integers(f"{title}: {key}", value) for key, value in raw.items() if key in _NEURON}


def _integers(what: str, value: Any) -> Ints:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise NetworkError(f"{what} must be integers, not {type(value).__name__}") from None
    if not array.size:
        raise NetworkError(f"{what} is empty")
    wrong = ~np.isfinite(array) | (array != np.round(array)) | (np.abs(array) >= 2.0 ** 31)
    if np.any(wrong):
        raise NetworkError(f"{what} must be integers of at most 32 bits, not {array[wrong].reshape(-1)[0]:g}; a network that is "
                           f"not quantised yet goes by NIR")
    return array.astype(np.int64)
