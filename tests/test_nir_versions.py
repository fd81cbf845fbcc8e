"""Files of every version of the nir package, and its graphs in memory, are the same network."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import Path

import nir
import numpy as np
import pytest

from spikeloom.host.importers.nir_graph import read_graph
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.reference import reference
from tests.nir_cases import norse
from tests.nir_files import make

FILES = sorted((Path(__file__).parent / "nir_files").glob("*.nir"))


def spikes_of(net: Network) -> np.ndarray:
    """What the recurrent layer does with random input."""
    found = reference(net, np.random.default_rng(1).random((60, 2, 6, 9)) < 0.3, record=["li"])
    assert 0 < found.counts["rnn.lif"].sum() < 240
    return found.potentials["li"]


def test_there_is_a_file_of_each_version() -> None:
    assert [path.stem for path in FILES] == [f"nir-1.0.{patch}" for patch in range(4, 9)]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_of_any_version_is_the_same_network(path: Path) -> None:
    made, read = norse(make.network(), dt=1e-3 / 8), norse(path, dt=1e-3 / 8)
    assert [(p.name, p.source, p.target) for p in made.projections] == [(p.name, p.source, p.target) for p in read.projections]
    for mine, theirs in zip(made.projections, read.projections, strict=True):
        for key in ("pre", "post", "weight", "delay"):
            np.testing.assert_array_equal(getattr(mine, key), getattr(theirs, key))
    assert {p.name: p.shape for p in read.populations} == {
        "if": (3, 3, 4), "rnn.lif": (4,), "cuba": (4,), "li": (4,), "rnn.lif.bias": (1,)}
    np.testing.assert_array_equal(spikes_of(made), spikes_of(read))
    assert read_graph(path).nodes["same"].parameters["padding"] == "same"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_graph_that_this_nir_reads_is_the_same_network(path: Path) -> None:
    options = {} if tuple(map(int, version("nir").split("."))) < (1, 0, 7) else {"type_check": False}
    np.testing.assert_array_equal(spikes_of(norse(nir.read(path, **options), dt=1e-3 / 8)), spikes_of(norse(path, dt=1e-3 / 8)))
