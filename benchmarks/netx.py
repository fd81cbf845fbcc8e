"""NetX MNIST 784-128-64-10, T = 20: cycles an image on the simulated RTL, against what its events make unavoidable.

    python benchmarks/netx.py --data FOLDER [--images N] [--set neurons_per_cycle=8 …] [--json] [--write]

FOLDER holds netx/ and mnist/. Compiled for speed (all cores, ticks that overlap, banks shared by what the last 100 images do, which are not
among those measured), outputs recorded; spikes of the output are compared with the golden model's. **Unavoidable** are, for every
tick, the reads of synapse words that its events cause in the core that has most of them, spread perfectly over that core's banks,
and one cycle for a tick that has none. What a cycle more is spent on is what the cycle model (spikeloom.host.estimates.cycles)
says the tick waited for. Accuracy is that of the class whose neuron spikes most often. Times are simulated RTL × an assumed clock, energy
is the estimate of spikeloom.host.estimates.estimate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page import figure, keep, save, table, write

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.events import prepare
from spikeloom.host.encode import InputEncoder
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_tables import CoreTables
from spikeloom.host.estimates.cycles import predict
from spikeloom.host.estimates.estimate import energy
from spikeloom.host.importers.netx import from_netx
from spikeloom.host.importers.netx_input import integrate_and_fire
from spikeloom.host.mnist import load_mnist
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


def measure(folder: Path, images: int, changes: dict[str, int], clock_mhz: float) -> tuple[dict[str, Any], Any, Any]:
    """All figures by name; measured and unavoidable cycles of each image; SpikeloomError where RTL and golden model differ."""
    data = load_mnist(folder / "mnist")
    images = min(images, len(data.labels) - SAMPLE)
    pixels = data.images.reshape(-1, 784)
    spikes, sample = (integrate_and_fire(part, STEPS, THRESHOLD) for part in (pixels[:images], pixels[-SAMPLE:]))
    params = dataclasses.replace(sl.preset("pynq_z2"), **changes)
    image = sl.compile(from_netx(folder / "netx" / "mnist_784-128-64-10.net"), params=params, objective="speed", record="outputs",
                       calibrate=sample)
    runs = []
    for kind in ("golden", "rtl"):
        with sl.open(kind, params) as machine:
            machine.load(image)
            runs.append(machine.run(spikes))
    golden, rtl = runs
    if first_difference(golden, rtl) is not None:
        raise SpikeloomError(f"RTL and golden model differ: {first_difference(golden, rtl)}")
    events = Activity(*activity(image, spikes))
    cycles, least = np.asarray(rtl.cycles), unavoidable(image, spikes, events)
    limits = predict(image, spikes, events).limits
    (counts,) = golden.counts.values()
    return {"parameters": changes, "images": images, "cycles an image": float(cycles.mean()), "fewest": int(cycles.min()),
            "most": int(cycles.max()), "ticks an image": image.ticks(STEPS), "unavoidable an image": float(least.mean()),
            "ratio": float(cycles.sum() / least.sum()),
            **{f"windows that wait for {name} (cycles an image)": value / images for name, value in limits.items() if value},
            "SOP an image": golden.stats["SOPS"] / images, "SOP a cycle": golden.stats["SOPS"] / int(cycles.sum()),
            "clock (MHz), assumed": clock_mhz, "time an image (µs), simulated RTL × assumed clock": float(cycles.mean()) / clock_mhz,
            "energy an image (µJ), estimate": energy(rtl, images, STEPS).plain(),
            "right (%)": 100 * float((counts.argmax(1) == data.labels[:images]).mean())}, cycles, least


def shown(value: object) -> object:
    """A figure in the table."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {number:.3g}" for key, number in value.items()) or "the preset's"
    return f"{value:,.2f}" if isinstance(value, float) else value


def plot(cycles: Any, least: Any) -> Any:
    """How many images take how many cycles, and how many are unavoidable."""
    drawn = figure()
    axes = drawn.subplots()
    bins = np.arange(least.min() // 25 * 25, cycles.max() + 50, 25)
    for values, name in ((least, "unavoidable"), (cycles, "simulated RTL")):
        axes.hist(values, bins, alpha=0.6, label=f"{name}: {values.mean():,.0f} on average")
        axes.axvline(values.mean(), color="0.3", linewidth=0.8)
    axes.set(xlabel="cycles an image", ylabel="images")
    axes.legend()
    return drawn


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
    parser.add_argument("--clock-mhz", type=float, default=100.0, help="assumed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    if options.write and options.set:
        parser.error("--write is for the preset's own parameters")
    try:
        figures, cycles, least = measure(options.data, options.images, dict(options.set), options.clock_mhz)
    except (SpikeloomError, OSError) as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    text = table(("", ""), ((name, shown(value)) for name, value in figures.items()))
    print(json.dumps(figures, indent=2) if options.json else text)
    if options.write:
        write("netx", text)
        save(plot(cycles, least), "netx.png")
        keep("netx", figures)
    return 0


if __name__ == "__main__":
    sys.exit(main())
