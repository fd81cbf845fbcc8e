"""The float reference classifies N-MNIST as the network was trained to."""

from __future__ import annotations

import time

import numpy as np
import pytest

from spikeloom.host.networks.reference import reference
from tests.nmnist import STEPS, network, recordings


def test_the_network_is_imported_whole() -> None:
    before = time.process_time()
    net = network()
    assert time.process_time() - before < 5  # 0.3 s of one core; room for a loaded machine
    shapes = {"1": (16, 16, 16), "3": (16, 16, 16), "6": (8, 8, 8), "10": (256,), "12": (10,)}
    assert {population.name: population.shape for population in net.populations} == shapes
    # Channels times, for both axes, the pairs of output and tap that lie inside: 5 taps for 16 outputs less one at the first
    # end; 3 for 16 less one at each end; 3 for 8 less those, each over a window of 2.
    assert {p.name: p.size for p in net.projections} == {
        "0": 16 * 2 * 79**2, "2": 16 * 16 * 46**2, "4/5": 8 * 16 * (22 * 2)**2, "7/8/9": 256 * 128 * 4, "11": 10 * 256}


@pytest.mark.slow
def test_the_reference_reaches_98_percent_of_300_recordings() -> None:
    net = network()
    spikes, labels = recordings()
    assert spikes.shape == (300, STEPS, 2 * 34 * 34)
    counts = reference(net, spikes, keep=net.outputs).counts["12"]
    right = int((counts.argmax(axis=1) == labels).sum())
    print(f"{right} of {len(labels)} recordings right, {spikes.sum() / len(labels):.0f} events each")
    assert right >= 0.98 * len(labels)


def test_first_recordings_are_classified() -> None:
    net = network()
    spikes, labels = recordings(range(6))
    np.testing.assert_array_equal(reference(net, spikes, keep=net.outputs).counts["12"].argmax(axis=1), labels)
