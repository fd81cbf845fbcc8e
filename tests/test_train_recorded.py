"""What the torch modules of training computed, recorded, is what the golden model computes: for where there is no torch."""

from __future__ import annotations

import dataclasses
import json
import sys

import numpy as np
import pytest

import spikeloom as sl
from tests.train_cases import LAYERS, PARAMS, RECORD


@pytest.mark.parametrize("name", LAYERS)
def test_the_golden_model_repeats_what_torch_computed(name: str) -> None:
    with np.load(RECORD, allow_pickle=False) as file:
        parts = {key.removeprefix(f"{name}/"): file[key] for key in file if key.startswith(f"{name}/")}
    titles = sorted({key.partition("/")[0] for key in parts if "/" in key})
    about = {title: json.loads(str(parts[f"{title}/about"])) for title in titles}
    bits = {options.pop("state_bits") for options in about.values()}
    populations = {title: options | {"size": len(parts[f"{title}/bias"]), "bias": parts[f"{title}/bias"]}
                   for title, options in about.items()}
    for options in populations.values():
        if not options["spiking"]:
            for key in ("threshold", "reset", "refractory", "hold"):
                del options[key]
    net = sl.from_arrays(inputs={"input": parts["input"].shape[2]}, populations=populations, projections=[
        {"source": source, "target": title, "weights": parts[f"{title}/weights"]}
        for source, title in zip(["input", *titles], titles, strict=False)])
    with sl.open("golden") as machine:
        machine.load(sl.compile(net, params=dataclasses.replace(PARAMS, state_bits=bits.pop())))
        result = machine.run(parts["input"], potentials="steps", record=titles)
    for title in titles:
        assert np.array_equal(result.states[title], parts[f"{title}/potentials"]), title
        if populations[title]["spiking"]:
            assert np.array_equal(result.spikes[title], parts[f"{title}/spikes"] > 0), title


def test_without_torch_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("spikeloom.host.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(sl.SpikeloomError, match=r"pip install 'spikeloom\[train\]'"):
        _ = sl.train
