"""Every image of MNIST's test set through the RTL: each spike, each potential and each cycle count checked, in parallel.

    python benchmarks/all_images.py --data FOLDER [--images N] [--jobs J] [--json] [--write]

The network of examples/mnist on ``pynq_z2``, an image a sample, in the simulated RTL; the potential of every neuron is read after its
image. Spikes and potentials must equal the golden model's, and the cycles of each image those that
spikeloom.host.estimates.cycles predicts from the events alone. The clock on the wall starts before the first image and stops after
the last comparison; the array was compiled before (``sl.open`` keeps it in the cache). *Processor seconds* are those of all jobs
together: on a computer that does other work too, they say more than the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from page import table, write

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.host import executor
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycles import predict
from spikeloom.host.mnist import OUTPUT, bitmaps, load_mnist, network
from spikeloom.image import Image
from spikeloom.sim.activity import activity


@dataclass(frozen=True)
class Part:
    """Images ``first`` and following, as bitmaps, bool (images, 1, inputs)."""

    image: Image
    first: int
    pixels: Any


def check(part: Part) -> dict[str, int]:
    """Run a part on both, and count what was compared and what differs."""
    runs = []
    for kind in ("golden", "rtl"):
        with sl.open(kind, part.image.params) as machine:
            machine.load(part.image)
            runs.append(machine.run(part.pixels, potentials="end", record=[OUTPUT]))
    golden, rtl = runs
    foreseen = predict(part.image, part.pixels, Activity(*activity(part.image, part.pixels)), potentials="end", record=[OUTPUT])
    assert rtl.cycles is not None
    return {"images": len(part.pixels), "spikes": int(golden.spikes[OUTPUT].size), "potentials": int(golden.states[OUTPUT].size),
            "spikes that differ": int((golden.spikes[OUTPUT] != rtl.spikes[OUTPUT]).sum()),
            "potentials that differ": int((golden.states[OUTPUT] != rtl.states[OUTPUT]).sum()),
            "cycles": int(rtl.cycles.sum()), "cycle counts that differ": int((rtl.cycles != foreseen.cycles).sum()),
            "largest difference (cycles)": int(np.abs(rtl.cycles - foreseen.cycles).max())}


def measure(folder: Path, images: int, jobs: int) -> dict[str, float]:
    """All figures by name, summed over the parts."""
    image = sl.compile(network(), board="pynq_z2", record="outputs")
    with sl.open("rtl", image.params):
        pass  # compiled, if it was not yet
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # each process has a core of its own; NumPy's threads would take the others'
    started = time.monotonic()
    pixels = bitmaps(load_mnist(folder).images[:images])[:, None]
    starts = np.linspace(0, len(pixels), jobs + 1).astype(int)
    parts = [Part(image, int(a), pixels[a:b]) for a, b in pairwise(starts)]
    before = processor_seconds()
    found = executor.map(check, parts, jobs=jobs)
    sums: dict[str, float] = {name: (max if name.startswith("largest") else sum)(part[name] for part in found) for name in found[0]}
    return sums | {"jobs": jobs, "processor seconds": processor_seconds() - before, "seconds": time.monotonic() - started}


def processor_seconds() -> float:
    """Of this process and of those that it has waited for."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


def main() -> int:
    """Measure and print; 1 where anything differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's test images and labels")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args()
    try:
        figures = measure(options.data, options.images, options.jobs)
    except SpikeloomError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    text = table(("", ""), ((name, f"{value:,.1f}" if isinstance(value, float) else f"{value:,}") for name, value in figures.items()))
    print(json.dumps(figures, indent=2) if options.json else text)
    if options.write:
        write("all images", text)
    return int(any(value for name, value in figures.items() if "differ" in name))


if __name__ == "__main__":
    sys.exit(main())
