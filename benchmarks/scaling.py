"""Cycles an image against cores, 1 to 16, and against the shape of the mesh: the same network on more and more of the same core.

    python benchmarks/scaling.py --data FOLDER [--images N] [--json] [--write]

The network of examples/mnist (2,028 inputs, 576 neurons), images of MNIST one after another, an image a tick, on the simulated RTL.
A core has 36 lanes of up to 16 folds and two banks, so that one alone holds the network and 16 hold a fold each. (Its synapse memory
is as large as the single core needs it, larger than a real chip's.) Efficiency is cycles on one core ÷ (cores × cycles on so many).
Spikes are compared between all meshes: they must be the same. The last column is the efficiency with four banks a core, by the model of
spikeloom.host.estimates.cycles, not simulated: the quicker a tick, the more its boundary and the host's words weigh.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page import figure, save, table, write

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycles import Prediction, predict
from spikeloom.host.mnist import OUTPUT, bitmaps, load_mnist, network
from spikeloom.sim.activity import activity

CORE = {"lanes": 36, "folds": 16, "banks": 2, "words": 1 << 14, "axons": 1024, "entries": 1 << 14, "neurons_per_cycle": 4,
        "destinations": 1024, "delay_depth": 32, "accumulator_bits": 16}
#: Columns and rows; the first of each number of cores is the one that the plot joins.
MESHES = ((1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (8, 1), (4, 4))


def measure(pixels: Any) -> list[dict[str, Any]]:
    """A row a mesh; SpikeloomError where spikes differ between two of them."""
    net, rows, first = network(), [], None
    for columns, height in MESHES:
        params = sl.ArrayParams(columns=columns, rows=height, **CORE)
        image = sl.compile(net, params=params, objective="speed", record="outputs")
        with sl.open("rtl", params) as machine:
            machine.load(image)
            result = machine.run(pixels, potentials="none")
        spikes = result.spikes[OUTPUT]
        first = spikes if first is None else first
        if not np.array_equal(spikes, first):
            raise SpikeloomError(f"The mesh of {columns} × {height} cores gives other spikes than one core")
        assert result.cycles is not None
        rows.append({"columns": columns, "rows": height, "cores": columns * height,
                     "cycles": int(np.sum(result.cycles)) / len(pixels[0]), "limit": foreseen(net, params, pixels).limit,
                     "four banks": int(foreseen(net, dataclasses.replace(params, banks=4), pixels).cycles.sum()) / len(pixels[0])})
    for row in rows:
        row["efficiency"] = rows[0]["cycles"] / row["cycles"] / row["cores"]
        row["efficiency, four banks"] = rows[0]["four banks"] / row["four banks"] / row["cores"]
    return rows


def foreseen(net: Any, params: sl.ArrayParams, pixels: Any) -> Prediction:
    """What the cycle model says of an array."""
    image = sl.compile(net, params=params, objective="speed", record="outputs")
    return predict(image, pixels, Activity(*activity(image, pixels)), potentials="none")


def plot(rows: list[dict[str, Any]]) -> Any:
    """Cycles against cores, with the line of perfect division."""
    drawn = figure(height=4)
    axes = drawn.subplots()
    cores = np.array(sorted({row["cores"] for row in rows}))
    axes.plot(cores, rows[0]["cycles"] / cores, color="0.7", label="perfect division")
    axes.plot([row["cores"] for row in rows], [row["cycles"] for row in rows], "o", color="C0", label="simulated RTL")
    for count in cores.tolist():
        same = [row for row in rows if row["cores"] == count]
        label = ", ".join(f"{row['columns']}×{row['rows']}" for row in same) + f": {same[0]['efficiency']:.1%}"
        axes.annotate(label, (count, same[0]["cycles"]), (6, 4), textcoords="offset points", fontsize=8)
    axes.set(xscale="log", yscale="log", xlabel="cores", ylabel="cycles an image", xlim=(0.8, 32))
    axes.set_xticks(cores, [str(n) for n in cores])
    axes.set_yticks(ticks := [row["cycles"] for row in rows], [f"{cycles:,.0f}" for cycles in ticks])
    axes.minorticks_off()
    axes.legend()
    return drawn


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's test images and labels")
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    try:
        data = load_mnist(options.data)
        rows = measure(bitmaps(data.images[: options.images])[None])
    except SpikeloomError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    text = table(("cores", "mesh", "cycles an image", "efficiency", "waits most for", "efficiency, four banks (predicted)"),
                 ((row["cores"], f"{row['columns']} × {row['rows']}", f"{row['cycles']:,.1f}", f"{row['efficiency']:.1%}", row["limit"],
                   f"{row['efficiency, four banks']:.1%}")
                  for row in rows))
    print(json.dumps(rows, indent=2) if options.json else text)
    if options.write:
        write("scaling", text)
        save(plot(rows), "scaling.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
