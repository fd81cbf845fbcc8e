"""MNIST at an image a tick: accuracy, speed and the use of the chip's memory, every spike and potential checked.

    python benchmarks/mnist.py --data FOLDER [--images N] [--set neurons_per_cycle=8 …] [--json]

The network of examples/mnist is compiled and all images of the folder run through the golden model and the RTL, a tick each, in
streams of ``--stream`` images that follow each other without a pause; spikes must be equal. In a second pass, not timed, the
potential of every neuron is read after each of the first ``--potentials`` images (whole streams) and compared too. Accuracy is
that of the 2,000 images that were not trained on, alone.

SOP: one non-zero weight added because of one spike, counted from network and input and, independently, by the golden model.
Fraction: SOPs × weight bits ÷ (cycles × 72 bits × RAMB36 of the part). Cycles run from the first word of the stream to the last
tick's mark, the host port's words included. "At 100 MHz" is simulated RTL × assumed clock: there is no board here.
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

import spikeloom as sl
from spikeloom.errors import SpikeloomError
from spikeloom.host.mnist import OUTPUT, Mnist, bitmaps, decide, load_mnist, network, split

#: Bits that a RAMB36 gives in a cycle.
RAMB36_BITS = 72


def operations(net: Any, pixels: Any) -> int:
    """Non-zero weights × spikes of their inputs, exactly."""
    link = net.projections[0]
    return int(pixels.sum(0).astype(np.int64) @ np.bincount(link.pre[link.weight != 0], minlength=pixels.shape[1]))


def busiest(pixels: Any, banks: int) -> tuple[float, float]:
    """Active inputs of an image on average, and those of its busiest bank."""
    shares = np.stack([pixels[:, bank::banks].sum(1) for bank in range(banks)])
    return float(pixels.sum(1).mean()), float(shares.max(0).mean())


def check(same: bool, what: str) -> None:
    """SpikeloomError unless it holds."""
    if not same:
        raise SpikeloomError(f"The RTL differs from the golden model in {what}")


def measure(data: Mnist, tested: Any, options: argparse.Namespace) -> dict[str, Any]:
    """All figures, by name; SpikeloomError where RTL and golden model differ in one bit."""
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
    active, most = busiest(pixels, params.banks)
    right = decide(found.spikes[OUTPUT]).reshape(-1) == data.labels
    held = right[tested[tested < count]]
    return {
        "array": options.array, "parameters": dict(options.set), "images": count, "test images": len(held),
        "accuracy": float(held.mean()), "accuracy error": float(1.96 * np.sqrt(held.mean() * (1 - held.mean()) / len(held))),
        "cycles": cycles, "cycles an image": cycles / count, "images a second": options.clock_mhz * 1e6 * count / cycles,
        "first result (µs)": int(first.cycles.sum()) / options.clock_mhz,
        "SOP": sops, "SOP a cycle": sops / cycles, "roofline (SOP a cycle)": roofline, "fraction of roofline": sops / cycles / roofline,
        "active inputs an image": active, "of its busiest bank": most, "firing rate": float(found.spikes[OUTPUT].mean()),
        "words in an image": found.stats["WORDS_SENT"] / count, "words out an image": found.stats["WORDS_RECEIVED"] / count,
        "cycles with reads": found.stats["ACTIVE"] / cycles, "potentials compared": int(states.size),
        "spikes compared": int(found.spikes[OUTPUT].size), "RTL (s)": seconds, "RTL with potentials (s)": checking,
        "golden (s)": golden_seconds,
    }


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
    options = parser.parse_args()
    try:
        data = load_mnist(options.data)
        figures = measure(data.subset(np.arange(len(data.labels))[: options.images]), split()[1], options)
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
    return 0


if __name__ == "__main__":
    sys.exit(main())
