"""Small NIR graphs and files for tests."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np

from spikeloom.host.importers.nir import from_nir
from spikeloom.host.networks.network import Network


def lif(n: int, **changes: Any) -> nir.LIF:
    """LIF neurons with different numbers, or with single ones."""
    ramp = np.linspace(0.5, 1.0, n)
    parts = {"tau": 4e-4 + 4e-4 * ramp, "r": 1 + ramp, "v_leak": 0 * ramp, "v_threshold": ramp, "v_reset": -0.1 * ramp}
    return nir.LIF(**(parts | changes))


def cuba(n: int) -> nir.CubaLIF:
    """CubaLIF neurons with different numbers."""
    ramp = np.linspace(0.5, 1.0, n)
    return nir.CubaLIF(tau_syn=4e-4 * ramp, tau_mem=8e-4 * ramp, r=4 * ramp, v_leak=0 * ramp, v_threshold=ramp, v_reset=0 * ramp,
                       w_in=1 + ramp)


def ends(inputs: Any, outputs: Any) -> dict[str, nir.NIRNode]:
    """Input and Output nodes of these shapes."""
    return {"input": nir.Input(input_type=np.array(inputs)), "output": nir.Output(output_type=np.array(outputs))}


def graph(nodes: dict[str, nir.NIRNode], *edges: str) -> nir.NIRGraph:
    """A graph whose edges are written "a > b > c", without nir's own checks."""
    pairs = [(names[i], names[i + 1]) for names in (edge.split(" > ") for edge in edges) for i in range(len(names) - 1)]
    return nir.NIRGraph(nodes, pairs, type_check=False)


def spiking(**more: Any) -> dict[str, nir.NIRNode]:
    """Input of 3, Linear to 2, LIF, Output."""
    return ends([3], [2]) | {"fc": nir.Linear(np.arange(1.0, 7).reshape(2, 3) / 4), "lif": lif(2)} | more


CHAIN = "input > fc > lif > output"


def norse(source: Any, **options: Any) -> Network:
    """Import under the profile that leaves fewest questions open."""
    chosen: dict[str, Any] = {"profile": "norse", "dt": 1e-4}
    return from_nir(source, **(chosen | options))


def edited(tmp_path: Path, edit: Callable[[Any], None]) -> Path:
    """The plain spiking graph as a file, with its nodes edited."""
    path = tmp_path / "bad.nir"
    nir.write(path, graph(spiking(), CHAIN))
    with h5py.File(path, "r+") as file:
        edit(file["node"])
    return path


def replace(group: Any, key: str, value: Any) -> None:
    """Overwrite a dataset with one of another shape."""
    del group[key]
    group[key] = value
