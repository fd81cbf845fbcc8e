"""Fits the LUT and flip-flop figures of host/estimates/resources.py to what Yosys counts, and checks its block RAM and DSPs.

    python benchmarks/resources.py              the fit and its errors, from docs/resources.json
    python benchmarks/resources.py --measure    synthesise the points again first (about half an hour) and write docs/resources.json
    python benchmarks/resources.py --write      table and plot into docs/ as well

The coefficients that it prints are pasted into host/estimates/resources.py; a test compares.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
from typing import Any

import numpy as np
import numpy.typing as npt
from page import DOCS, figure, save, table, write
from synthesis import primitives

from spikeloom.host.boards import named_array
from spikeloom.host.estimates.resources import features, resources
from spikeloom.params import ArrayParams, preset

POINTS = DOCS / "resources.json"
TINY = preset("tiny")
#: Share by which block RAM may differ. It does so in one point, where Yosys takes a RAMB36 a core more than the fewest that hold the bits.
BLOCK_ERROR = 0.04
#: Arrays that are synthesised.
ARRAYS = {
    "tiny": TINY, "lanes48": dataclasses.replace(TINY, lanes=48),
    "folded": dataclasses.replace(TINY, folds=16, lanes=32, weight_bits=8, accumulator_bits=18, axons=256, entries=256, destinations=512),
    "banks4": dataclasses.replace(TINY, banks=4, lanes=32), "square": dataclasses.replace(TINY, columns=2, rows=2),
    "folded64": dataclasses.replace(preset("pynq_z2_folded"), columns=1, rows=1, lanes=32),
    "one": dataclasses.replace(preset("pynq_z2"), columns=1, rows=1, lanes=72),
    "npc4": dataclasses.replace(TINY, neurons_per_cycle=4, lanes=32, weight_bits=8, accumulator_bits=18),
    **{name: named_array(name) for name in ("pynq_z1", "pynq_z2", "pynq_z2_folded")},
}


def points() -> list[tuple[str, ArrayParams, dict[str, Any]]]:
    """Name, array and counts of every point that was synthesised."""
    return [(name, ArrayParams(**entry["params"]), entry["found"]) for name, entry in json.loads(POINTS.read_text()).items()]


def fit(known: list[tuple[str, ArrayParams, dict[str, Any]]], resource: str) -> npt.NDArray[np.float64]:
    """Coefficients of least relative error."""
    counts = np.array([found[resource] for *_, found in known], float)
    sizes = np.array([features(params) for _, params, _ in known])
    found = np.linalg.lstsq(sizes / counts[:, None], np.ones(len(known)), rcond=None)
    return np.asarray(found[0], np.float64)


def left_out(known: list[tuple[str, ArrayParams, dict[str, Any]]], resource: str) -> dict[str, float]:
    """Relative error of each point, by a fit to the others."""
    errors = {}
    for i, (name, params, found) in enumerate(known):
        errors[name] = float(np.dot(fit(known[:i] + known[i + 1:], resource), features(params)) / found[resource] - 1)
    return errors


def measure() -> None:
    """Synthesise every array and write the counts."""
    from spikeloom.hdl.verilog import verilog
    found = {name: {"params": params.describe(), "found": primitives(verilog(params), "xc7")} for name, params in ARRAYS.items()}
    POINTS.write_text(json.dumps(found, indent=2) + "\n")


def plot(errors: dict[str, dict[str, float]]) -> Any:
    """How far the others' fit is off in each point."""
    drawn = figure()
    axes = drawn.subplots()
    for (resource, title), marker in zip((("luts", "LUT"), ("ff", "flip-flops")), "os", strict=True):
        axes.plot([100 * error for error in errors[resource].values()], list(errors[resource]), marker, label=title)
    axes.axvline(0, color="0.6", linewidth=0.8)
    axes.invert_yaxis()
    axes.set(xlabel="the others' fit against Yosys's count (%)")
    axes.legend()
    return drawn


def main() -> int:
    """Command line; returns 1 where block RAM or DSPs differ from what was counted (by more than BLOCK_ERROR)."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--write", action="store_true", help="write table and plot into docs/")
    options = parser.parse_args()
    if options.measure:
        measure()
    every, rows, wrong = points(), [], 0
    errors = {resource: left_out(every, resource) for resource in ("luts", "ff")}
    worst = {resource: max(map(abs, found.values())) for resource, found in errors.items()}
    for name, params, found in every:
        model, blocks = resources(params), found["ramb36"] + found["ramb18"] / 2
        wrong += abs(model.ramb36 / blocks - 1) > BLOCK_ERROR or found["dsp"] != model.dsps
        rows.append((name, f"{found['luts']:,}", f"{errors['luts'][name]:+.1%}", f"{found['ff']:,}", f"{errors['ff'][name]:+.1%}",
                     f"{blocks:g}", f"{model.ramb36:g}", found["dsp"], model.dsps))
    rows.append(("worst error", "", f"{worst['luts']:.1%}", "", f"{worst['ff']:.1%}", "", "", "", ""))
    text = table(("array", "LUT", "by the others' fit", "FF", "by the others' fit", "RAMB36", "model", "DSP", "model"), rows)
    print(text)
    for resource in ("luts", "ff"):
        print(f"{resource}: {tuple(round(float(value), 4) for value in fit(every, resource))}, error {worst[resource]:.4f}")
    if options.write:
        write("resources", text)
        save(plot(errors), "resources.png")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
