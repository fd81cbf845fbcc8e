"""The image's bits say what the network says, read back by code that the packer does not share."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from spikeloom.host.compiler.compile import compile
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams
from tests.compile_cases import DIRECT, FOLDED, dense_weights

BOTH = pytest.mark.parametrize("params", [DIRECT, FOLDED], ids=["direct", "folded"])


def matrix(network: Network, source: str, target: str) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Weights (target, source) of a network."""
    total = np.zeros((network.size(target), network.size(source)), np.int64)
    for projection in network.projections:
        if (projection.source, projection.target) == (source, target):
            np.add.at(total, (projection.post, projection.pre), projection.weight.astype(np.int64))
    return total


@BOTH
@pytest.mark.parametrize("most", [5, 100, 3000, 32767])
def test_weights_of_any_width_are_in_the_bits(params: ArrayParams, most: int) -> None:
    rng = np.random.default_rng(most)
    sizes = {"in": 7, "a": 9, "b": 5}
    projections = []
    for source, target, delay in (("in", "a", 0), ("a", "b", 0), ("b", "a", 2), ("b", "b", 1), ("in", "b", 1)):
        weights = rng.integers(-most, most + 1, (sizes[target], sizes[source]))
        weights[rng.random(weights.shape) < 0.3] = 0
        weights[0, 0] = most if delay else -most - (most == 32767)
        projections.append(Projection.dense(f"{source}{target}", source, target, weights, delay))
    populations = tuple(Population(name=name, shape=(sizes[name],), integer=True) for name in ("a", "b"))
    network = Network(inputs={"in": (7,)}, populations=populations, projections=tuple(projections), outputs=("b",))
    image = compile(network, params=dataclasses.replace(params, accumulator_bits=20, phases=8, delays=16, columns=8, rows=4))
    for source, target in (("in", "a"), ("a", "b"), ("b", "a"), ("b", "b"), ("in", "b"), ("a", "a")):
        np.testing.assert_array_equal(dense_weights(image, source, target), matrix(network, source, target))


def test_a_delay_and_a_rectangle_stand_in_the_destinations() -> None:
    populations = (Population(name="a", shape=(2,), integer=True), Population(name="b", shape=(30,), integer=True))
    network = Network(inputs={"in": (1,)}, populations=populations, outputs=("b",), projections=(
        Projection.dense("1", "in", "a", np.ones((2, 1))), Projection.dense("2", "a", "b", np.ones((30, 2)), 2)))
    image = compile(network, params=DIRECT)
    word = int(image.entries((0, 0), Memory.DESTINATIONS)[1])  # entry 0 is the host's
    # mask 2 bits, offset 2, block 5 (6 blocks × 16 lanes of outputs make 12), delay 2, x0 x1 2 each, y0 y1 1 each
    low = 2 + 2 + DIRECT.block_bits
    assert (word & 3, word >> low & 3) == (3, image.population("b").depth + 2 - 1)
    assert [word >> (low + 2 + shift) & 3 for shift in (0, 2)] == [0, 1]
    assert [word >> (low + 6 + shift) & 1 for shift in (0, 1)] == [0, 0]
    assert image.population("a").column("output").tolist() == [0, 1]


@BOTH
def test_outputs_alone_are_recorded_on_demand(params: ArrayParams) -> None:
    populations = (Population(name="a", shape=(2,)), Population(name="b", shape=(3,)),
                   Population(name="r", shape=(1,), spiking=False))
    network = Network(inputs={"in": (1,)}, populations=populations, outputs=("b",), projections=(
        Projection.dense("1", "in", "a", np.ones((2, 1))), Projection.dense("2", "a", "b", np.ones((3, 2))),
        Projection.dense("3", "b", "r", np.ones((1, 3)))))
    image = compile(network, params=params, record="outputs")
    assert [p.recorded for p in image.populations] == [False, True, False]
    assert [p.recorded for p in compile(network, params=params).populations] == [True, True, False]
    assert image.population("b").column("output").tolist() == [0, 1, 2]


def test_a_convolution_stores_its_kernel_once() -> None:
    """Shifted patches share words: a 3 × 3 kernel on 16 × 16 positions takes no more words than on 8 × 8."""
    params = dataclasses.replace(FOLDED, columns=1, rows=1, lanes=32, folds=32, axons=256, entries=1024, words=256,
                                 destinations=512, accumulator_bits=16)
    kernel = np.arange(1, 19).reshape(2, 3, 3)

    def words(size: int) -> int:
        pre, post, weight = [], [], []
        for c, y, x, i, j in np.ndindex(2, size, size, 3, 3):
            if 0 <= y + i - 1 < size and 0 <= x + j - 1 < size:
                pre.append((y + i - 1) * size + x + j - 1)
                post.append((c * size + y) * size + x)
                weight.append(kernel[c, i, j])
        conv = Projection(name="conv", source="in", target="map", pre=np.array(pre), post=np.array(post),
                          weight=np.array(weight), delay=np.array(0))
        maps = Population(name="map", shape=(2, size, size), integer=True)
        network = Network(inputs={"in": (1, size, size)}, populations=(maps,), projections=(conv,), outputs=("map",))
        image = compile(network, params=params, record="outputs")
        np.testing.assert_array_equal(dense_weights(image, "in", "map"), matrix(network, "in", "map"))
        return int(image.report["array"]["words"][0])

    assert words(16) == words(8) < 80
