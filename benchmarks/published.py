"""Published accelerators beside ours: the last table of docs/performance.md, and the README's, from what other benchmarks have kept.

    python benchmarks/published.py [--write]

Ours come from docs/measured.json (benchmarks/mnist.py, benchmarks/netx.py) and docs/synthesis.json, so run this after those. Theirs
are data below, each figure with where it was seen; nothing is from memory, and what was not found is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import dataclass

from page import DOCS, kept, table, write

import spikeloom as sl

#: Where figures were seen. The papers' texts could not be opened where this was written.
ABSTRACT, SUMMARY, ISSUE, REPOSITORY = "abstract", "a summary of the paper", "the request for this table, not checked", "repository"
MARKS = {SUMMARY: "ᵃ", ISSUE: "ᵇ"}
MISSING = "–"
COLUMNS = ("part", "clock", "lut", "bram", "accuracy", "time", "sops", "energy")


@dataclass(frozen=True, kw_only=True)
class Design:
    """A row. ``seen`` says for each place which figures were seen there; whatever it does not name is missing."""

    name: str
    source: str
    seen: dict[str, dict[str, str]]
    note: str = ""

    def figures(self) -> dict[str, str]:
        """Of every column that has one, the figure with the mark of the place where it was seen."""
        return {column: value + MARKS.get(place, "") for place, found in self.seen.items() for column, value in found.items()}


DESIGNS = (
    Design(name="Spiker+", source="[arXiv 2401.01141](https://arxiv.org/abs/2401.01141)", seen={
        ABSTRACT: {"lut": "7,612 cells", "bram": "18", "time": "780 µs", "energy": "180 mW × 780 µs = 140 µJ"},
        SUMMARY: {"accuracy": "93.85%"}}, note="the product of power and time is ours"),
    Design(name="Event-driven, time to first spike", source="[arXiv 2604.22179](https://arxiv.org/abs/2604.22179)", seen={
        ABSTRACT: {"clock": "80", "accuracy": "87.40%", "time": "0.1375 µs", "energy": "31.6 nJ (estimated, dynamic)"},
        SUMMARY: {"part": "xc7z020 (PYNQ-Z2)"}}, note="the programmable logic alone; the same board as ours"),
    Design(name="FINN, BNN-PYNQ LFC: binary, does not spike",
           source="[repository](https://github.com/Xilinx/BNN-PYNQ), [arXiv 1612.07119](https://arxiv.org/abs/1612.07119)", seen={
               REPOSITORY: {"part": "xc7z020 (PYNQ-Z1, -Z2)", "clock": "100", "lut": "28,360", "bram": "110"},
               ISSUE: {"accuracy": "98.4%", "time": "≥ 5.1 µs (≤ 195 k images/s)"}},
           note="1-bit weights and activations (lfcW1A1), Vivado's counts of the whole design; its notebook shows 8 µs for one image"),
    Design(name="Skydiver", source="[arXiv 2203.07516](https://arxiv.org/abs/2203.07516)", seen={
        ABSTRACT: {"part": "XC7Z045", "accuracy": "98.5%", "time": "44 µs (22.6 k images/s)", "energy": "42.4 µJ"}}),
    Design(name="snn-fpga", source="[arXiv 2507.07284](https://arxiv.org/abs/2507.07284)", seen={
        ABSTRACT: {"part": "Artix-7", "clock": "100", "lut": "6,358", "bram": "40.5", "time": "520 µs"},
        SUMMARY: {"energy": "198 µJ"}}),
    Design(name="ESSA", source="IEEE TVLSI 30 (11), pages 1631 to 1641, 2022", seen={
        ABSTRACT: {"part": "Kintex UltraScale", "clock": "140", "time": "2.6 µs a time step", "sops": "253.1 G", "energy": "14.6 µJ"}},
        note="SOP/s are an equivalent for 75 % of the weights absent; time and energy are expectations for four layers"),
    Design(name="Synaptic delays", source="[arXiv 2511.01158](https://arxiv.org/abs/2511.01158)", seen={
        ABSTRACT: {"part": "xc7z020 (PYNQ-Z2)", "clock": "125", "accuracy": "93.4% on SHD", "time": "9.6 ms (104 samples/s)",
                   "energy": "282 mW × 9.6 ms = 2.7 mJ"}}, note="spoken digits, not MNIST; the product of power and time is ours"),
)


def ours() -> list[dict[str, str]]:
    """Our rows: a cell for each of :data:`COLUMNS`, and the name."""
    mnist, netx, counted = kept("mnist"), kept("netx"), json.loads((DOCS / "synthesis.json").read_text())["pynq_z2"]
    part = sl.boards()["pynq_z2"].part.partition("clg")[0]
    array = {"part": part, "lut": f"{counted['luts']:,} (Yosys)", "bram": f"{counted['ramb36'] + counted['ramb18'] / 2:g} (Yosys)"}
    mnist_clock, netx_clock = mnist["clock (MHz)"], netx["clock (MHz), assumed"]
    return [
        {**array, "name": "one layer, an image a tick", "clock": f"{mnist_clock:g} (assumed)",
         "accuracy": f"{mnist['accuracy']:.2%} of {mnist['test images']:,}", "time": _time(mnist["cycles an image"], mnist_clock),
         "sops": f"{mnist['SOP a cycle'] * mnist_clock / 1e3:.0f} G", "energy": _energy(mnist["energy an image (nJ)"], "nJ")},
        {**array, "name": "NetX 784-128-64-10, 20 steps", "clock": f"{netx_clock:g} (assumed)",
         "accuracy": f"{netx['right (%)']:.2f}% of {netx['images']:,}", "time": _time(netx["cycles an image"], netx_clock),
         "sops": f"{netx['SOP a cycle'] * netx_clock / 1e3:.0f} G",
         "energy": _energy(netx["energy an image (µJ), estimate"], "µJ")}]


def _time(cycles: float, clock_mhz: float) -> str:
    return f"{cycles / clock_mhz:.2f} µs (simulated RTL × assumed clock)"


def _energy(found: dict[str, float], unit: str) -> str:
    return f"{found['mid']:.3g} {unit} (estimate, {found['low']:.3g} to {found['high']:.3g})"


def published() -> str:
    """The table of docs/performance.md, and its notes."""
    rows = [[f"**Spikeloom**, {row['name']}", *(row[column] for column in COLUMNS), "this page"] for row in ours()]
    for design in DESIGNS:
        found = design.figures()
        rows.append([design.name, *(found.get(column, MISSING) for column in COLUMNS), design.source])
    head = ("design", "part", "clock (MHz)", "LUT", "BRAM36", "accuracy (MNIST)", "time an image", "SOP/s", "energy an image", "source")
    notes = [f"- {design.name}: {design.note}." for design in DESIGNS if design.note]
    others = "".join(f"; {mark} of {place}" for place, mark in MARKS.items())
    legend = (f"Figures are those of the {ABSTRACT} or the {REPOSITORY}{others}. {MISSING}: not found in any of these; the papers' full "
              "texts could not be opened.")
    return "\n".join([table(head, rows), "", legend, "", *notes])


def how_fast() -> str:
    """The README's table."""
    mnist, netx = kept("mnist"), kept("netx")
    mnist_clock, netx_clock = mnist["clock (MHz)"], netx["clock (MHz), assumed"]
    head = ("on simulated RTL of the array `pynq_z2`", "cycles an image", "images/s at the assumed clock", "block RAM's bits at work")
    return table(head, (
        ("MNIST, one layer, an image a tick", f"**{mnist['cycles an image']:.1f}**",
         f"{mnist_clock / mnist['cycles an image']:.2f} M at {mnist_clock:g} MHz", f"**{mnist['fraction of roofline']:.1%}**"),
        ("Lava's 784-128-64-10, 20 steps", f"{netx['cycles an image']:.0f}",
         f"{1e3 * netx_clock / netx['cycles an image']:.0f} k at {netx_clock:g} MHz", MISSING)))


def main() -> int:
    """Print, and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="write the tables into docs/performance.md and README.md")
    options = parser.parse_args()
    print(f"{published()}\n\n{how_fast()}")
    if options.write:
        write("published", published())
        write("how fast", how_fast(), "../README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
