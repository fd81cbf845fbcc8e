"""Cycles of the simulated RTL against those that host/estimates/cycles.py predicts from the same image and events.

    python benchmarks/cycles.py [CASE ...] [--json]     all cases, or those named (--list lists them)
    python benchmarks/cycles.py --write                 all cases, and their table and plot into docs/

Both sides are run here; ``error`` is predicted / measured − 1 over all samples, ``worst`` the largest of a single sample.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from page import figure, save, write

from spikeloom.errors import MachineError, SpikeloomError
from spikeloom.events import InputSpikes
from spikeloom.host.compiler.compile import compile
from spikeloom.host.compiler.place import Objective
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycles import predict
from spikeloom.image import Image
from spikeloom.machine import Machine, Potentials
from spikeloom.params import ArrayParams, preset
from spikeloom.sim.activity import activity

DATA = Path(os.environ.get("SPIKELOOM_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
HEAD = "| case | samples | measured cycles | predicted | error | worst sample | waited most for |\n|---|---|---|---|---|---|---|"
#: The error that the model may have in any sample.
LIMIT = 0.05
SQUARE = ArrayParams(columns=2, rows=2, lanes=8, banks=2, words=32, block=8, delay_depth=16, destinations=32)
#: The arrays of the random cases.
ARRAYS = {"tiny": preset("tiny"), "square": SQUARE}
Work = tuple[Image, InputSpikes, Potentials]


def random_cases(params: ArrayParams, seed: int = 2026, count: int = 12) -> Iterator[Work]:
    """Random images at the level of bits, those that overflow left out, each with its random input."""
    from spikeloom.sim.stimulus import random_case
    for number in range(count):
        yield from _sound(random_case(params, np.random.default_rng([seed, number])))


def _sound(case: Any) -> Iterator[Work]:
    try:
        activity(case.image, case.inputs)
    except MachineError:
        return
    yield case.image, case.inputs, case.potentials


def verified(array: int, seed: int = 2026) -> Iterator[Work]:
    """Cases of the random arrays that ``spikeloom verify --seed 2026`` runs (25 share an array)."""
    from spikeloom.sim.stimulus import random_case
    from spikeloom.sim.verify import draw
    for number in range(25 * array, 25 * array + 12):
        yield from _sound(random_case(*draw(seed, number)))


def digits() -> Iterator[Work]:
    """The example's network on pynq_z2, 20 test images."""
    from spikeloom.host.digits import encode, example_file, load_digits, settings
    from spikeloom.host.importers.nir import from_nir
    about = settings()
    network = from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])
    yield compile(network, board="pynq_z2"), encode(load_digits()[1].images[:20], about["steps"]), "end"


def netx(count: int = 20, objective: Objective = "cores") -> Iterator[Work]:
    """The NetX network 784-128-64-10 on pynq_z2, T = 20, MNIST test images; for speed, its ticks overlap."""
    from spikeloom.host.importers.netx import from_netx
    from spikeloom.host.importers.netx_input import integrate_and_fire
    pixels = np.frombuffer(gzip.decompress((DATA / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    image = compile(from_netx(DATA / "netx" / "mnist_784-128-64-10.net"), board="pynq_z2", objective=objective)
    yield image, integrate_and_fire(pixels.reshape(-1, 784)[:count], 20, 255), "end"


def nmnist(count: int = 2) -> Iterator[Work]:
    """The NIR paper's convolutional network on pynq_z2_folded, N-MNIST recordings of 300 steps."""
    from spikeloom.host.importers.nir import from_nir
    path, steps = DATA / "nir_paper" / "02_cnn" / "cnn_sinabs.nir", 300
    data = np.load(DATA / "nmnist" / "nmnist_train_300.npz", allow_pickle=False)
    spikes = np.zeros((count, steps, 2, 34, 34), bool)
    for i in range(count):
        part = slice(int(data["offset"][i]), int(data["offset"][i + 1]))
        x, y, p, time = (data[key][part].astype(int) for key in ("x", "y", "p", "t_us"))
        seen = time // 1000 < steps
        spikes[i, time[seen] // 1000, p[seen], y[seen], x[seen]] = True
    image = compile(from_nir(path, profile="sinabs", floor=True), board="pynq_z2", weight_bits=8, record="outputs")
    yield image, spikes.reshape(count, steps, -1), "end"


CASES: dict[str, Callable[[], Iterator[Work]]] = {
    **{name: partial(random_cases, params) for name, params in ARRAYS.items()},
    **{f"array_{number}": partial(verified, number) for number in range(6)},
    "digits": digits, "netx_mnist": netx, "netx_speed": partial(netx, objective="speed"), "nmnist": nmnist,
}


def compare(name: str) -> dict[str, Any]:
    """Run a case on the RTL and through the model: ``samples``, ``measured`` and ``predicted`` cycles over all of them, ``error``,
    ``worst``, ``pairs`` of measured and predicted for each sample, and what limits (``limits``, cycles)."""
    from spikeloom.sim.compiled import open_compiled
    measured: list[int] = []
    predicted: list[int] = []
    limits: dict[str, int] = {}
    machine: Machine | None = None
    try:
        for image, spikes, potentials in CASES[name]():
            machine = machine or open_compiled(image.params)
            machine.load(image)
            cycles = machine.run(spikes, potentials=potentials).cycles
            found = predict(image, spikes, Activity(*activity(image, spikes)), potentials=potentials)
            measured += np.atleast_1d(cycles).tolist() if cycles is not None else []
            predicted += found.cycles.tolist()
            limits = {key: limits.get(key, 0) + value for key, value in found.limits.items()}
    finally:
        if machine is not None:
            machine.close()
    ratio = np.array(predicted) / np.array(measured) - 1
    return {"case": name, "samples": len(measured), "measured": sum(measured), "predicted": sum(predicted),
            "error": sum(predicted) / sum(measured) - 1, "worst": float(ratio[np.abs(ratio).argmax()]),
            "pairs": list(zip(measured, predicted, strict=True)), "limits": limits}


def plot(rows: list[dict[str, Any]]) -> Any:
    """Error of every sample against its measured cycles."""
    drawn = figure()
    axes = drawn.subplots()
    axes.axhspan(-100 * LIMIT, 100 * LIMIT, color="0.93", label=f"±{LIMIT:.0%}, the limit over a case")
    axes.axhline(0, color="0.5", linewidth=0.8)
    for number, row in enumerate(rows):
        measured, predicted = np.array(row["pairs"], float).T
        axes.plot(measured, 100 * (predicted / measured - 1), "osD^v<>pP"[number % 9], markersize=4, alpha=0.7, label=row["case"])
    axes.set(xscale="log", xlabel="measured cycles of a sample (simulated RTL)", ylabel="predicted against measured (%)")
    drawn.legend(loc="outside right upper", fontsize=8)
    return drawn


def main() -> int:
    """Command line; returns 1 where a sample is off by more than :data:`LIMIT`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--list", action="store_true", help="list the cases")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    if options.list:
        print("\n".join(CASES))
        return 0
    unknown = set(options.cases) - set(CASES)
    if unknown:
        raise SystemExit(f"There is no case {', '.join(sorted(unknown))}; there are {', '.join(CASES)}")
    if options.write and options.cases:
        raise SystemExit("--write is for all cases")
    rows, lines = [], [HEAD]
    if not options.json:
        print(HEAD)
    for name in options.cases or CASES:
        try:
            row = compare(name)
        except (SpikeloomError, OSError) as error:
            raise SystemExit(f"{name}: {error}") from error
        rows.append(row)
        most = max(row["limits"], key=lambda key: row["limits"][key])
        lines.append(f"| {name} | {row['samples']} | {row['measured']:,} | {row['predicted']:,} | {row['error']:+.2%} "
                     f"| {row['worst']:+.2%} | {most} |")
        if not options.json:
            print(lines[-1], flush=True)
    if options.write:
        write("cycles", "\n".join(lines))
        save(plot(rows), "cycles.png")
    if options.json:
        print(json.dumps({"limit": LIMIT, "cases": rows}, indent=2))
    return int(any(abs(row["worst"]) > LIMIT for row in rows))


if __name__ == "__main__":
    sys.exit(main())
