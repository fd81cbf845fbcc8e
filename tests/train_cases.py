"""Layers of all kinds for the tests of training, and what torch computed for them, recorded for where there is no torch.

    python tests/train_cases.py        records (needs torch)
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

import spikeloom as sl

RECORD = Path(__file__).resolve().parent / "train_recorded.npz"
PARAMS = sl.ArrayParams(columns=2, lanes=64, banks=2, words=64, block=8)

LAYERS: dict[str, list[dict[str, Any]]] = {
    "stateless, no zeros": [{"levels": "odd", "reset": "zero"}, {"levels": "odd"}],
    "leaky, 8 bits": [{"decay": 0.9, "weight_bits": 8, "shift": 6}, {"decay": 0.97, "weight_bits": 5, "shift": 3, "reset": "zero"}],
    "with currents": [{"decay": 0.8, "current_decay": 0.7, "shift": 7}, {"decay": 1.0, "current_decay": 0.5, "weight_bits": 3}],
    "refractory": [{"decay": 0.95, "refractory": 2, "shift": 4, "threshold": 150},
                   {"decay": 0.9, "refractory": 1, "hold": True, "reset": "zero", "weight_bits": 2, "threshold": 3}],
    "a readout": [{"decay": 0.0, "refractory": 3, "threshold": 6}, {"spiking": False, "decay": 0.9, "weight_bits": 6, "shift": 5}],
    "integrators that saturate": [{"decay": 1.6, "threshold": 30_000, "weight_bits": 8, "state_bits": 16},
                                  {"decay": 1.0, "bias": False, "state_bits": 16}],
}
SIZES = (23, 17, 9)


def model_of(options: list[dict[str, Any]], seed: int) -> Any:
    """A torch model with random weights and biases."""
    import torch
    torch.manual_seed(seed)
    model = sl.train.Sequential(*(sl.train.Layer(before, after, **kind)
                                  for before, after, kind in zip(SIZES, SIZES[1:], options, strict=False)))
    for layer in model.layers:
        layer.latent.data.uniform_(-1.2, 1.2)  # some beyond the largest level
        if layer.offset is not None:
            layer.offset.data.uniform_(-0.7, 0.7)
    return model


def record() -> None:
    """Write, for each case: its input, integers, options, and torch's spikes and potentials."""
    import torch
    arrays: dict[str, Any] = {}
    for name, options in LAYERS.items():
        model = model_of(options, 0)
        spikes = np.random.default_rng(0).random((2, 20, SIZES[0])) < 0.4
        arrays[f"{name}/input"] = spikes
        for layer, (title, trace) in zip(model.layers, model.trace(torch.from_numpy(spikes)).items(), strict=True):
            about = {"threshold": layer.threshold, "membrane_gain": layer.membrane_gain, "current_gain": layer.current_gain,
                     "shift": layer.shift, "reset": layer.reset, "refractory": layer.refractory, "hold": layer.hold,
                     "spiking": layer.spiking, "state_bits": layer.state_bits}
            for key, value in (("weights", layer.weights()), ("bias", layer.biases()), ("spikes", trace.spikes),
                               ("potentials", trace.potentials)):
                arrays[f"{name}/{title}/{key}"] = value.detach().numpy().astype(np.int32)
            arrays[f"{name}/{title}/about"] = np.array(json.dumps(about))
    np.savez_compressed(RECORD, **arrays)


if __name__ == "__main__":
    record()
