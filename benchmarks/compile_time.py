"""How long the compiler takes, by the number of synapses: ``python benchmarks/compile_time.py [--json] [--write]``.

Networks of three kinds at growing sizes are compiled for arrays that are large enough: dense layers, a sparse recurrent
population (2 %), and two convolutions (counted unrolled, as neurons see them). Processor time of one core, quantisation and
packing included. The last column is the time per synapse relative to the smallest network of the kind: about 1 where time
grows linearly.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from page import figure, save, table, write

from spikeloom.host.compiler.compile import compile
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.params import ArrayParams

#: Arrays that hold the largest network of each kind: throughput (one fold) and capacity (many).
DIRECT = ArrayParams(columns=8, rows=8, weight_bits=8, lanes=64, words=2048, destinations=2048, accumulator_bits=20,
                     delay_depth=4096)
FOLDED = ArrayParams(columns=4, rows=4, weight_bits=8, lanes=64, folds=64, banks=2, words=8192, axons=4096, entries=32768,
                     destinations=4096, accumulator_bits=20, delay_depth=4096)


def dense(size: int) -> Network:
    """Two dense layers of ``size`` neurons."""
    rng = np.random.default_rng(1)
    return Network(inputs={"in": (size,)}, populations=(_population("a", size), _population("b", size)), outputs=("b",),
                   projections=(Projection.dense("1", "in", "a", rng.normal(size=(size, size))),
                                Projection.dense("2", "a", "b", rng.normal(size=(size, size)))))


def sparse(size: int) -> Network:
    """A recurrent population of which 2 % of the pairs are joined."""
    rng = np.random.default_rng(2)
    count = size * size // 50
    pair = rng.choice(size * size, count, replace=False)
    return Network(inputs={"in": (size,)}, populations=(_population("a", size),), outputs=("a",), projections=(
        Projection(name="r", source="a", target="a", pre=pair % size, post=pair // size, weight=rng.normal(size=count),
                   delay=np.array(1)),
        Projection(name="i", source="in", target="a", pre=np.arange(size), post=np.arange(size), weight=np.ones(size),
                   delay=np.array(0))))


def convolution(size: int) -> Network:
    """Two 3 × 3 convolutions, 2 > 16 > 16 channels, on ``size`` × ``size`` positions."""
    rng = np.random.default_rng(3)
    shapes = {"in": (2, size, size), "a": (16, size, size), "b": (16, size, size)}
    maps = tuple(Population(name=name, shape=shapes[name], threshold=1.0) for name in "ab")
    return Network(inputs={"in": shapes["in"]}, populations=maps, outputs=("b",), projections=tuple(
        _convolve(source, target, shapes[source], rng.normal(size=(16, shapes[source][0], 3, 3)))
        for source, target in (("in", "a"), ("a", "b"))))


def _population(name: str, size: int) -> Population:
    return Population(name=name, shape=(size,), threshold=1.0)


def _convolve(source: str, target: str, shape: tuple[int, int, int], kernel: np.ndarray[tuple[int, ...], np.dtype[np.float64]]
              ) -> Projection:
    tall, wide = shape[1:]
    o, c, i, j, y, x = (axis.ravel() for axis in np.indices((*kernel.shape, tall, wide)))
    row, column = y + i - 1, x + j - 1
    inside = (row >= 0) & (row < tall) & (column >= 0) & (column < wide)
    return Projection(name=f"to {target}", source=source, target=target, pre=((c * tall + row) * wide + column)[inside],
                      post=((o * tall + y) * wide + x)[inside], weight=kernel[o, c, i, j][inside], delay=np.array(0))


#: (kind, maker, sizes, array).
CASES: tuple[tuple[str, Callable[[int], Network], tuple[int, ...], ArrayParams], ...] = (
    ("dense", dense, (180, 360, 720), DIRECT), ("dense", dense, (180, 360, 720), FOLDED),
    ("sparse 2 %", sparse, (1000, 2000, 4000), DIRECT), ("sparse 2 %", sparse, (1000, 2000, 4000), FOLDED),
    ("convolution", convolution, (11, 16, 22), FOLDED),
)


def measure() -> Iterator[dict[str, Any]]:
    """A row for each case: kind, folds, synapses, seconds, µs a synapse, and that relative to the first of the kind."""
    compile(dense(8), params=DIRECT)  # imports and first calls are not counted
    for kind, make, sizes, params in CASES:
        first = 0.0
        for size in sizes:
            network = make(size)
            before = time.process_time()
            image = compile(network, params=params, record="outputs")
            seconds = time.process_time() - before
            synapses = sum(projection.size for projection in network.projections)
            each = seconds / synapses * 1e6
            first = first or each
            yield {"kind": kind, "folds": params.folds, "synapses": synapses, "cores": image.report["array"]["cores"][0],
                   "seconds": round(seconds, 3), "us_per_synapse": round(each, 3), "relative": round(each / first, 2)}


def plot(rows: list[dict[str, Any]]) -> Any:
    """Seconds against synapses."""
    drawn = figure()
    axes = drawn.subplots()
    for kind, folds in dict.fromkeys((row["kind"], row["folds"]) for row in rows):
        same = [row for row in rows if (row["kind"], row["folds"]) == (kind, folds)]
        axes.plot([row["synapses"] for row in same], [row["seconds"] for row in same], "o-", markersize=4,
                  label=f"{kind}, {folds} fold{'s' * (folds > 1)}")
    axes.set(xscale="log", yscale="log", xlabel="synapses", ylabel="processor seconds")
    axes.legend()
    return drawn


def main() -> None:
    """Print the table, or one JSON list."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    rows = list(measure())
    text = table(("network", "folds", "synapses", "cores", "seconds", "µs a synapse", "relative"),
                 ((row["kind"], row["folds"], f"{row['synapses']:,}", row["cores"], f"{row['seconds']:.2f}", f"{row['us_per_synapse']:.2f}",
                   f"{row['relative']:.2f}") for row in rows))
    print(json.dumps(rows) if options.json else text)
    if options.write:
        write("compile time", text, page="compiler.md")
        save(plot(rows), "compile_time.png")


if __name__ == "__main__":
    main()
