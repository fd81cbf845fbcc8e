"""Neurons whose potential is bounded below by −θ: reference, integers in step time, golden model and RTL."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import CompileError, NetworkError
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.population import Population
from tests.data import shared_data


def network(integer: bool = True) -> Network:
    """Strong inhibition: potentials would fall far below −θ."""
    net = sl.from_arrays(inputs={"in": 4}, populations={"a": {"size": 3, "threshold": [5, 7, 0]}},
                         projections=[{"source": "in", "target": "a", "weights": [[3, -7, 2, 1], [-6, -6, 5, 4], [1, -1, -3, 2]]}])
    populations = tuple(dataclasses.replace(p, floor=True, integer=integer) for p in net.populations)
    return dataclasses.replace(net, populations=populations)


def spikes() -> np.ndarray:
    return np.random.default_rng(3).random((5, 40, 4)) < 0.5


FLOORS = dataclasses.replace(sl.preset("tiny"), floors=1, currents=0)


@pytest.mark.parametrize("kind", ["golden", pytest.param("rtl", marks=pytest.mark.slow)])
def test_machines_equal_the_reference(kind: str) -> None:
    image = sl.compile(network(), params=FLOORS)
    expected = sl.reference(network(), spikes(), record=["a"])
    with sl.open(kind, params=FLOORS) as machine:
        machine.load(image)
        found = machine.run(spikes(), potentials="steps", record=["a"])
    np.testing.assert_array_equal(found.spikes["a"], expected.spikes["a"])
    np.testing.assert_array_equal(found.potentials["a"], expected.potentials["a"])
    assert found.potentials["a"].min() == -7  # some neuron was held


def test_the_floor_changes_what_spikes() -> None:
    free = dataclasses.replace(network(), populations=tuple(dataclasses.replace(p, floor=False) for p in network().populations))
    assert sl.reference(free, spikes()).spikes["a"].sum() < sl.reference(network(), spikes()).spikes["a"].sum()


def test_an_array_without_floors_refuses() -> None:
    with pytest.raises(CompileError, match=r"bounded below by -threshold.*floors=1"):
        sl.compile(network(), board="tiny")


@pytest.mark.parametrize("wrong", [{"strict": True}, {"spiking": False}, {"threshold": -1.0}])
def test_floors_that_mean_nothing_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(NetworkError, match="floor is for spiking neurons"):
        Population(name="a", shape=(1,), floor=True, **wrong)  # type: ignore[arg-type]  # what a user may pass


def test_only_sinabs_files_may_have_floors() -> None:
    path = shared_data("nir_paper", "01_lif", "lif_norse.nir")
    with pytest.raises(NetworkError, match="floor is for networks that sinabs wrote"):
        sl.from_nir(path, profile="norse", dt=1e-4, floor=True)
