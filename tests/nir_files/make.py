"""Makes ``nir-<version>.nir`` with the nir package that is installed; the files beside it were made with 1.0.4 to 1.0.8.

``pip install nir==1.0.4 && python tests/nir_files/make.py``. It imports nothing of the project, so that nir alone will do.
"""

from __future__ import annotations

import inspect
import itertools
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nir
import numpy as np


def make(kind: str, **parameters: Any) -> Any:
    """A node; parameters that this version of nir does not know yet (all are 0) are left out."""
    known = inspect.signature(getattr(nir, kind)).parameters
    assert all(key in known or not np.any(value) for key, value in parameters.items())
    return getattr(nir, kind)(**{key: value for key, value in parameters.items() if key in known})


def graph(nodes: dict[str, Any], *edges: str) -> Any:
    """A graph whose edges are written "a > b > c"; without nir's own checks where there are any."""
    names = [edge.split(" > ") for edge in edges]
    pairs = [pair for path in names for pair in itertools.pairwise(path)]
    options = {"type_check": False} if "type_check" in inspect.signature(nir.NIRGraph).parameters else {}
    return nir.NIRGraph(nodes, pairs, **options)


def network() -> Any:
    """A graph with every type of node but those that stand for each other, and a nested recurrent graph."""
    rng = np.random.default_rng(7)
    ramp = np.linspace(0.5, 1, 4)
    inner = graph({"input": make("Input", input_type={"input": np.array([4])}),
                   "lif": make("LIF", tau=1e-3 * ramp, r=1 + ramp, v_leak=0 * ramp, v_threshold=ramp, v_reset=0 * ramp),
                   "w_rec": make("Linear", weight=rng.normal(size=(4, 4))),
                   "output": make("Output", output_type={"output": np.array([4])})},
                  "input > lif > w_rec > lif > output")
    maps = np.ones((3, 3, 4))
    return graph({
        "input": make("Input", input_type={"input": np.array([2, 6, 9])}),
        "conv": make("Conv2d", input_shape=np.array([6, 9]), weight=rng.normal(size=(3, 2, 2, 3)), stride=(2, 2), padding=(0, 0),
                     dilation=(1, 1), groups=1, bias=np.arange(3.0)),
        "if": make("IF", r=maps, v_threshold=maps, v_reset=0 * maps),
        "same": make("Conv2d", input_shape=np.array([3, 4]), weight=rng.normal(size=(2, 3, 3, 1)), stride=1, padding="same",
                     dilation=1, groups=1, bias=np.zeros(2)),
        "pool": make("AvgPool2d", kernel_size=np.array([3, 2]), stride=np.array([1, 2]), padding=np.array([0, 0])),
        "flat": make("Flatten", input_type={"input": np.array([2, 1, 2])}, start_dim=0, end_dim=-1),
        "fc": make("Affine", weight=rng.normal(size=(4, 4)), bias=ramp),
        "scale": make("Scale", scale=1 + ramp),
        "delay": make("Delay", delay=1e-3 * np.arange(4.0)),
        "rnn": inner,
        "cuba": make("CubaLIF", tau_syn=1e-3 * ramp, tau_mem=2e-3 * ramp, r=4 * ramp, v_leak=0 * ramp, v_threshold=ramp,
                     v_reset=0 * ramp, w_in=np.ones(4)),
        "li": make("LI", tau=3e-3 * ramp, r=ramp, v_leak=0 * ramp),
        "output": make("Output", output_type={"output": np.array([4])}),
    }, "input > conv > if > same > pool > flat > fc > scale > delay > rnn > cuba > li > output")


if __name__ == "__main__":
    nir.write(Path(__file__).with_name(f"nir-{version('nir')}.nir"), network())
