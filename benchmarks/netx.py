"""NetX MNIST 784-128-64-10, T = 20: cycles an image on the simulated RTL, against what its events make unavoidable.

    python benchmarks/netx.py --data FOLDER [--images N] [--set neurons_per_cycle=8 …] [--json] [--write]

FOLDER holds netx/ and mnist/. Compiled for speed (all cores, ticks that overlap, banks shared by what the last 100 images do, which are not
among those measured), outputs recorded; spikes of the output are compared with the golden model's. **Unavoidable** are, for every
tick, the reads of synapse words that its events cause in the core that has most of them, spread perfectly over that core's banks,
and one cycle for a tick that has none. What a cycle more is spent on is what the cycle model (spikeloom.host.estimates.cycles)
says the tick waited for.
"""

from __future__ import annotations

import argparse
import dataclasses
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page import table, write

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.events import prepare
from spikeloom.host.encode import InputEncoder
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.host.estimates.cycles import predict
from spikeloom.host.importers.netx import from_netx
from spikeloom.host.importers.netx_input import integrate_and_fire
from spikeloom.image import Image
from spikeloom.packets import COMMANDS, Command
from spikeloom.sim.activity import activity
from spikeloom.sim.verify import first_difference

STEPS, THRESHOLD = 20, 255
#: Images from which the compiler learns what spikes together.
SAMPLE = 100


def unavoidable(image: Image, spikes: Any, events: Activity) -> Any:
    """Cycles of each sample that its events need on this placement, int64 (samples,); see above."""
    params, encoder, ticks = image.params, InputEncoder(image), image.ticks(spikes.shape[1])
    cores = [CoreTables(image, (x, y)) for y in range(params.rows) for x in range(params.columns)]
    reads = np.zeros((len(spikes), ticks, len(cores)), np.int64)
    masks = np.bitwise_count(encoder.masks(prepare(image, spikes)[0], ticks))  # NumPy 2
    headers = COMMANDS[Command.SPIKES].unpack(encoder.headers)
    for group, (x0, x1, y0, y1) in enumerate(zip(*(headers[name].astype(int) for name in ("x0", "x1", "y0", "y1")), strict=True)):
        for y in range(y0, y1 + 1):
            for x in range(x0, x1 + 1):
                reads[:, :, y * params.columns + x] += masks[:, :, group]
    for core, fired in zip(cores, events.fired, strict=True):
        rows = fired.reshape(*fired.shape[:2], -1, params.neurons_per_cycle)
        for row, fan in enumerate(core.fan):
            for destination in fan:
                chosen = [(destination.mask >> bit) & 1 for bit in range(params.neurons_per_cycle)]
                sent = rows[:, :, row] @ np.array(chosen)
                if destination.cores is None:
                    continue
                x0, x1, y0, y1 = destination.cores
                for target in (y * params.columns + x for y in range(y0, y1 + 1) for x in range(x0, x1 + 1)):
                    reads[:, 1 + destination.delay:, target] += sent[:, :ticks - 1 - destination.delay]
    return np.maximum(1, -(-reads.max(axis=2) // params.banks)).sum(axis=1)


def measure(folder: Path, images: int, changes: dict[str, int]) -> dict[str, Any]:
    """All figures by name; SpikeloomError where RTL and golden model differ."""
    pixels = np.frombuffer(gzip.decompress((folder / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    images = min(images, len(pixels) // 784 - SAMPLE)
    spikes, sample = (integrate_and_fire(part, STEPS, THRESHOLD) for part in np.split(pixels.reshape(-1, 784), [images, -SAMPLE])[::2])
    params = dataclasses.replace(sl.preset("pynq_z2"), **changes)
    image = sl.compile(from_netx(folder / "netx" / "mnist_784-128-64-10.net"), params=params, objective="speed", record="outputs",
                       calibrate=sample)
    runs = []
    for kind in ("golden", "rtl"):
        with sl.open(kind, params) as machine:
            machine.load(image)
            runs.append(machine.run(spikes))
    if first_difference(*runs) is not None:
        raise SpikeloomError(f"RTL and golden model differ: {first_difference(*runs)}")
    events = Activity(*activity(image, spikes))
    cycles, least = np.asarray(runs[1].cycles), unavoidable(image, spikes, events)
    limits = predict(image, spikes, events).limits
    return {"parameters": changes, "images": images, "cycles an image": float(cycles.mean()), "fewest": int(cycles.min()),
            "most": int(cycles.max()), "ticks an image": image.ticks(STEPS), "unavoidable an image": float(least.mean()),
            "ratio": float(cycles.sum() / least.sum()),
            **{f"windows that wait for {name} (cycles an image)": value / images for name, value in limits.items() if value}}


def setting(text: str) -> tuple[str, int]:
    """``name=number``."""
    name, _, value = text.partition("=")
    return name, int(value)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with netx/ and mnist/")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--set", type=setting, nargs="*", default=[], help="parameters other than the preset's")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write the table into docs/performance.md")
    options = parser.parse_args()
    try:
        figures = measure(options.data, options.images, dict(options.set))
    except (SpikeloomError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    text = table(("", ""), ((name, f"{value:,.2f}" if isinstance(value, float) else value) for name, value in figures.items()))
    print(json.dumps(figures, indent=2) if options.json else text)
    if options.write:
        write("netx", text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
