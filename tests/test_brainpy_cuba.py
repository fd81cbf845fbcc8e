"""The network of Brette et al. 2007 with 4,000 neurons, from BrainPy to the gateware."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from tests.brainpy.marks import needs_brainpy, nets, quiet

__all__ = ["nets"]  # a fixture, which pytest finds by its name

#: 16 cores of 256 neurons with two currents, each of which hears all 4,000 neurons.
LARGE = sl.ArrayParams(columns=4, rows=4, lanes=64, folds=8, banks=4, words=1024, weight_bits=12, accumulator_bits=20, state_bits=32,
                       gain_bits=16, currents=2, axons=1024, entries=4096, destinations=512, delay_depth=256)


@pytest.fixture
def cuba(nets: Any) -> tuple[Any, sl.Network]:
    """Brette's network in BrainPy, and as it is imported. It has no input; ``time`` has no synapses and gives runs their length."""
    net = nets.Cuba()
    return net, sl.from_brainpy(net, inputs={"time": 1})


def population_rate(spikes: Any) -> float:
    """Spikes per neuron and second, at 0.1 ms a step."""
    return float(sum(array.sum() for array in spikes.values()) / sum(array.size for array in spikes.values()) * 1e4)


@pytest.mark.slow
@needs_brainpy
@quiet
def test_brettes_network_keeps_its_rate_over_a_second(nets: Any, cuba: tuple[Any, sl.Network]) -> None:
    net, network = cuba
    assert sum(projection.size for projection in network.projections) == 320_000
    assert set(network.population("E").refractory) == {50}
    theirs = nets.run(net, 10_000)
    silent = np.zeros((10_000, 1), bool)
    exact = sl.reference(network, silent).spikes
    with sl.open("golden") as machine:
        machine.load(sl.compile(network, params=LARGE, weight_bits=12))
        golden = machine.run(silent).spikes
    rate = population_rate(theirs)
    assert 4 < rate < 8
    print(f"BrainPy {rate:.3f} Hz, reference {population_rate(exact):.3f} Hz, golden {population_rate(golden):.3f} Hz")
    assert population_rate(exact) == pytest.approx(rate, rel=0.02)
    assert population_rate(golden) == pytest.approx(rate, rel=0.02)


@pytest.mark.slow
@pytest.mark.timeout(1800)  # Verilator compiles 16 cores
@needs_brainpy
@quiet
def test_brettes_network_runs_on_rtl_as_on_golden(cuba: tuple[Any, sl.Network]) -> None:
    image = sl.compile(cuba[1], params=LARGE, weight_bits=12)
    results = {}
    for kind in ("golden", "rtl"):
        with sl.open(kind) as machine:
            machine.load(image)
            results[kind] = machine.run(np.zeros((1000, 1), bool))
    for name, spikes in results["golden"].spikes.items():
        assert spikes.sum() > 300
        assert np.array_equal(spikes, results["rtl"].spikes[name]), name
    print(f"100 ms take {results['rtl'].cycles} cycles")
