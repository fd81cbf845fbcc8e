"""The N-MNIST network of the NIR paper on the array that fills a PYNQ-Z2."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import spikeloom as sl
from tests.nmnist import STEPS, network, recordings

OUTPUT = "12"


@pytest.fixture(scope="module")
def image() -> sl.Image:
    return sl.compile(network(), board="pynq_z2", weight_bits=8, record="outputs")


def test_the_board_holds_it_on_its_folded_array(image: sl.Image) -> None:
    assert image.params == sl.preset("pynq_z2_folded")
    assert sum(population.size for population in image.populations) == 8_970


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_eight_bits_keep_the_accuracy(image: sl.Image) -> None:
    spikes, labels = recordings()
    right = 0
    with sl.open("golden", params=image.params) as machine:
        machine.load(image)
        for first in range(0, len(labels), 30):
            part = slice(first, first + 30)
            counts = machine.run(spikes[part], potentials="none").counts[OUTPUT]
            right += int((counts.argmax(axis=1) == labels[part]).sum())
    print(f"N-MNIST at 8 bits: {right} of {len(labels)}")
    assert right / len(labels) >= 0.975


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("record", ["outputs", "all"])
def test_rtl_equals_golden(image: sl.Image, record: str) -> None:
    """Outputs and final potentials on the board's array; every spike on one that has room to tell the host of all neurons."""
    if record == "all":
        image = sl.compile(network(), params=dataclasses.replace(image.params, destinations=4096), weight_bits=8, record="all")
    spikes, _ = recordings(slice(0, 200, 10))
    everything = [population.name for population in image.populations]
    found = {}
    for kind in ("golden", "rtl"):
        with sl.open(kind, params=image.params) as machine:
            machine.load(image)
            found[kind] = machine.run(spikes, potentials="end", record=everything)
    golden, rtl = found["golden"], found["rtl"]
    assert set(golden.spikes) == set(everything if record == "all" else [OUTPUT])
    for name in golden.spikes:
        np.testing.assert_array_equal(rtl.spikes[name], golden.spikes[name])
    for name in everything:
        np.testing.assert_array_equal(rtl.states[name], golden.states[name])
    assert rtl.stats["READS"] == golden.stats["READS"]
    cycles, total = rtl.cycles, sum(int(part.sum()) for part in golden.spikes.values())
    assert cycles is not None
    assert total
    print(f"N-MNIST, {STEPS} steps, {len(spikes)} recordings: {total:,} spikes and {len(spikes) * 8_970:,} potentials equal; "
          f"{cycles.mean():,.0f} cycles a recording ({cycles.min():,} to {cycles.max():,})")
