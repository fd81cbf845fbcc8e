"""MNIST at an image a tick: accuracy, speed and the use of the chip's memory, every spike and potential checked.

    python benchmarks/mnist.py --data FOLDER [--images N] [--set neurons_per_cycle=8 …] [--json] [--write]

The network of examples/mnist is compiled and all images of the folder run through the golden model and the RTL, a tick each, in
streams of ``--stream`` images that follow each other without a pause; spikes must be equal. In a second pass, not timed, the
potential of every neuron is read after each of the first ``--potentials`` images (whole streams) and compared too. Accuracy is
that of the 2,000 images that were not trained on, alone.

SOP: one non-zero weight added because of one spike, counted from network and input and, independently, by the golden model.
Fraction: SOPs × weight bits ÷ (cycles × 72 bits × RAMB36 of the part). Cycles run from the first word of the stream to the last
tick's mark, the host port's words included. "At 100 MHz" is simulated RTL × assumed clock: there is no board here. Energy is the
estimate of spikeloom.host.estimates.estimate.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from page import figure, keep, save, table, write

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.host.estimates.estimate import energy
from spikeloom.host.mnist import OUTPUT, Mnist, bitmaps, decide, load_mnist, network, split

#: Bits that a RAMB36 gives in a cycle.
RAMB36_BITS = 72


def operations(net: Any, pixels: Any) -> int:
    """Non-zero weights × spikes of their inputs, exactly."""
    link = net.projections[0]
    return int(pixels.sum(0).astype(np.int64) @ np.bincount(link.pre[link.weight != 0], minlength=pixels.shape[1]))


def busiest(pixels: Any, banks: int) -> Any:
    """Active inputs of each image's busiest bank."""
    return np.stack([pixels[:, bank::banks].sum(1) for bank in range(banks)]).max(0)


def check(same: bool, what: str) -> None:
    """SpikeloomError unless it holds."""
    if not same:
        raise SpikeloomError(f"The RTL differs from the golden model in {what}")


def measure(data: Mnist, tested: Any, options: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """All figures by name; and of each stream the axons of the busiest bank and the cycles, an image each.

    SpikeloomError where RTL and golden model differ in one bit.
    """
    net = network(options.network)
    try:
        params = dataclasses.replace(sl.preset(options.array), **dict(options.set))
    except (TypeError, ValueError) as error:
        raise SpikeloomError(f"There is no such array: {error}") from None
    image = sl.compile(net, params=params, record="outputs")
    pixels = bitmaps(data.images)
    if len(pixels) % options.stream:
        raise SpikeloomError(f"{len(pixels)} images cannot be cut into streams of {options.stream}: give another --stream")
    stream = pixels.reshape(-1, options.stream, pixels.shape[1])  # a sample is a stream, a step an image
    started = time.monotonic()
    with sl.open("golden", params) as machine:
        machine.load(image)
        golden = machine.run(stream, potentials="none")
    golden_seconds = time.monotonic() - started
    with sl.open("rtl", params) as machine:
        machine.load(image)
        started = time.monotonic()
        found = machine.run(stream, potentials="none")
        seconds = time.monotonic() - started
        check(np.array_equal(found.spikes[OUTPUT], golden.spikes[OUTPUT]), "spikes")
        first = machine.run(stream[:1, :1], potentials="none")
        few = stream[: max(1, options.potentials // options.stream)]
        states = machine.run(few, potentials="steps", record=[OUTPUT]).states[OUTPUT]
        checking = time.monotonic() - started
    with sl.open("golden", params) as machine:
        machine.load(image)
        check(np.array_equal(states, machine.run(few, potentials="steps", record=[OUTPUT]).states[OUTPUT]), "potentials")
    assert found.cycles is not None
    assert first.cycles is not None
    cycles, count = int(found.cycles.sum()), len(pixels)
    sops = operations(net, pixels)
    check(golden.stats["SOPS"] == sops, "its count of synaptic operations")
    board = sl.boards()[options.board]
    roofline = board.resources["ramb36"] * RAMB36_BITS / params.weight_bits
    most = busiest(pixels, params.banks)
    spent = energy(found, len(stream), options.stream)
    right = decide(found.spikes[OUTPUT]).reshape(-1) == data.labels
    held = right[tested[tested < count]]
    figures = {
        "array": options.array, "parameters": dict(options.set), "images": count, "test images": len(held),
        "accuracy": float(held.mean()), "accuracy error": float(1.96 * np.sqrt(held.mean() * (1 - held.mean()) / len(held))),
        "clock (MHz)": options.clock_mhz, "cycles": cycles, "cycles an image": cycles / count,
        "images a second": options.clock_mhz * 1e6 * count / cycles, "first result (µs)": int(first.cycles.sum()) / options.clock_mhz,
        "SOP": sops, "SOP a cycle": sops / cycles, "roofline (SOP a cycle)": roofline, "fraction of roofline": sops / cycles / roofline,
        "energy an image (nJ)": {name: value / options.stream * 1e3 for name, value in spent.plain().items()},
        "active inputs an image": float(pixels.sum(1).mean()), "of its busiest bank": float(most.mean()), "banks": params.banks,
        "firing rate": float(found.spikes[OUTPUT].mean()),
        "words in an image": found.stats["WORDS_SENT"] / count, "words out an image": found.stats["WORDS_RECEIVED"] / count,
        "cycles with reads": found.stats["ACTIVE"] / cycles, "potentials compared": int(states.size),
        "spikes compared": int(found.spikes[OUTPUT].size), "RTL (s)": seconds, "RTL with potentials (s)": checking,
        "golden (s)": golden_seconds,
    }
    return figures, np.stack([most.reshape(len(stream), -1).mean(1), found.cycles / options.stream], axis=1)


def page_table(figures: dict[str, Any]) -> str:
    """The table of docs/performance.md."""
    clock, nj = figures["clock (MHz)"], figures["energy an image (nJ)"]
    return table(("", ""), (
        ("images", f"{figures['images']:,}"),
        ("compared, none differs", f"{figures['spikes compared']:,} spikes, {figures['potentials compared']:,} potentials"),
        ("cycles an image, whole chip, host words included", f"**{figures['cycles an image']:.1f}**"),
        (f"simulated RTL × assumed clock of {clock:g} MHz", f"{figures['images a second'] / 1e6:.2f} M images/s; first result "
         f"{figures['first result (µs)']:.2f} µs after the first word"),
        ("useful SOP a cycle", f"{figures['SOP a cycle']:,.0f} = **{figures['fraction of roofline']:.1%}** of the roofline"),
        ("cycles in which lanes add", f"{figures['cycles with reads']:.1%}"),
        ("axons of an image's busiest bank", f"{figures['of its busiest bank']:.1f} of {figures['active inputs an image']:.1f} in all"),
        ("energy an image (estimate: low, middle, high)", f"{nj['low']:.0f}, {nj['mid']:.0f}, {nj['high']:.0f} nJ"),
        ("accuracy", f"{figures['accuracy']:.2%} ± {figures['accuracy error']:.2%} of {figures['test images']:,} images that were not "
         "trained on")))


def plot(figures: dict[str, Any], streams: Any) -> Any:
    """What a tick costs, stream by stream, and what the cycles of an image go to."""
    drawn = figure(width=7.5)
    left, right = drawn.subplots(1, 2, width_ratios=(1, 0.8))
    ends = np.array([streams[:, 0].min(), streams[:, 0].max()])
    left.plot(ends, ends, color="0.7", label="axons alone")
    left.plot(ends, ends + 2, color="C1", label="axons + 2")
    left.plot(*streams.T, "o", markersize=4, color="C0", label="simulated RTL, a stream each")
    left.set(xlabel="axons of the busiest bank an image", ylabel="cycles an image")
    left.legend()
    most, total = figures["of its busiest bank"], figures["cycles an image"]
    shared = figures["active inputs an image"] / figures["banks"]
    parts = {"axons, shared perfectly": shared, "one bank has more": most - shared, "boundary of the tick, host": total - most}
    bottom = 0.0
    for name, cycles in parts.items():
        right.bar("an image", cycles, 0.4, bottom, label=f"{name}: {cycles:.1f}")
        bottom += cycles
    right.set(ylabel="cycles", xlim=(-0.5, 0.5), ylim=(0, 1.5 * total))
    handles, labels = right.get_legend_handles_labels()
    right.legend(handles[::-1], labels[::-1], loc="upper left")
    return drawn


def setting(text: str) -> tuple[str, int]:
    """``name=number``."""
    name, _, value = text.partition("=")
    return name, int(value)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, required=True, help="folder with MNIST's test images and labels")
    parser.add_argument("--network", type=Path, help="a file of examples/mnist/train.py (default: the trained one)")
    parser.add_argument("--images", type=int, default=10_000, help="take the first so many")
    parser.add_argument("--stream", type=int, default=500, help="images a stream")
    parser.add_argument("--potentials", type=int, default=1000, help="images after which potentials are compared")
    parser.add_argument("--array", default="pynq_z2", help="the preset")
    parser.add_argument("--board", default="pynq_z2", help="whose part gives the roofline")
    parser.add_argument("--set", type=setting, nargs="*", default=[], help="parameters other than the preset's")
    parser.add_argument("--clock-mhz", type=float, default=100.0, help="assumed")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    if options.write and (options.network or options.set or options.array != options.board):
        parser.error("--write is for the network of examples/mnist on the board's own array")
    try:
        data = load_mnist(options.data)
        figures, streams = measure(data.subset(np.arange(len(data.labels))[: options.images]), split()[1], options)
    except SpikeloomError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps(figures, indent=2))
    else:
        for name, value in figures.items():
            print(f"{name:24} {value:,.4f}" if isinstance(value, float) else f"{name:24} {value:,}" if isinstance(value, int)
                  else f"{name:24} {value}")
        print(f"Simulated RTL × an assumed clock of {options.clock_mhz:g} MHz")
    if options.write:
        write("mnist", page_table(figures))
        save(plot(figures, streams), "mnist.png")
        keep("mnist", {name: value for name, value in figures.items() if not name.endswith("(s)")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
