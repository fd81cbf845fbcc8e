"""`spikeloom demo`: the trained digits network on the golden model and on the RTL of a PYNQ-Z2's array."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import numpy.typing as npt
from rich.console import Group
from rich.table import Table

from spikeloom.errors import SpikeloomError
from spikeloom.events import Spikes
from spikeloom.host.boards import Board, board_of, synthesis
from spikeloom.host.commands.common import emit, json_option, waiting
from spikeloom.host.compiler.compile import compile
from spikeloom.host.digits import encode, example_file, load_digits, settings
from spikeloom.host.estimates.estimate import Energy, energy, images_per_second, latency_us
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.networks.reference import reference
from spikeloom.image import Image
from spikeloom.machine import Result, joined

#: The array, its weights, and the population whose potentials are the scores.
ARRAY, WEIGHT_BITS, SCORES = "pynq_z2", 8, "scores"
#: Simulations that share the run with readings.
PARTS = 4


@dataclass(frozen=True)
class Measured:
    """Everything that the demo found. ``read`` runs had their potentials read after every step, ``plain`` ones at the end."""

    labels: npt.NDArray[np.int64]
    steps: int
    float_scores: npt.NDArray[np.float64]
    image: Image
    golden: Result
    read: Result
    plain: Result
    board: Board

    @property
    def images(self) -> int:
        """Test images that were run."""
        return len(self.labels)

    def accuracy(self, scores: npt.NDArray[Any]) -> float:
        """Share of the images whose highest score, (images, 10), is their own."""
        return float(np.mean(scores.argmax(axis=1) == self.labels))

    def compared(self) -> dict[str, int]:
        """How many spikes, potentials and counts of the golden model were compared with the RTL, and how many differ: in the
        run with readings all of them, in the plain run what it returns."""
        found = dict.fromkeys((f"{kind}_{what}" for kind in ("compared", "differing") for what in
                               ("spikes", "potentials", "counts")), 0)
        end = {SCORES: self.golden.states[SCORES][:, -1]}
        for result, states in ((self.read, self.golden.states), (self.plain, end)):
            for what, ours, theirs in (("spikes", self.golden.spikes, result.spikes), ("potentials", states, result.states),
                                       ("counts", self.golden.counts, result.counts)):
                for name in ours:
                    found[f"compared_{what}"] += ours[name].size
                    found[f"differing_{what}"] += int(np.count_nonzero(ours[name] != theirs[name]))
        return found

    def energy(self) -> Energy:
        """Estimate for an image, from the plain run's counts."""
        return energy(self.plain, self.images, self.steps)

    def summary(self) -> dict[str, Any]:
        """The numbers, fit for JSON; ``luts`` and ``ramb36`` are None where synthesis was not run."""
        cycles = float(np.mean(np.asarray(self.plain.cycles)))
        size = synthesis(ARRAY)
        return {
            "accuracy_float": self.accuracy(self.float_scores),
            "accuracy_quantised": self.accuracy(self.golden.potentials[SCORES][:, -1]),
            "accuracy_rtl": self.accuracy(self.plain.potentials[SCORES]),
            "images": self.images, **self.compared(), "cycles_per_image": cycles,
            "images_per_second": images_per_second(cycles, self.board.clock_mhz),
            "latency_us": latency_us(cycles, self.board.clock_mhz), "clock_mhz": self.board.clock_mhz,
            "luts": size.get("luts"), "ramb36": size.get("ramb36"), "energy_uj": self.energy().plain(),
        }


@click.command()
@click.option("--machine", default="rtl", show_default=True, type=click.Choice(["rtl", "cocotb", "virtual"]), help="What runs the RTL; "
              "virtual: behind a virtual board and the pynq package.")
@click.option("--images", default=None, type=click.IntRange(1), help="Only so many of the test images.")
@click.option("--out", default=".", show_default=True, type=click.Path(file_okay=False, path_type=Path),
              help="Folder for the raster.")
@json_option
@click.pass_context
def demo(context: click.Context, machine: str, images: int | None, out: Path, as_json: bool) -> None:
    """Handwritten digits, from a NIR file to the simulated RTL of a PYNQ-Z2's array, every spike and potential compared.

    Exit code 1 when anything differs between the golden model and the RTL.
    """
    measured, spikes = measure(machine, images)
    plain = measured.summary() | {"raster": str(draw(measured.read, spikes, out))}
    emit(as_json, plain, _text(measured, plain, machine))
    context.exit(1 if any(plain[f"differing_{what}"] for what in ("spikes", "potentials", "counts")) else 0)


def measure(machine: str, images: int | None) -> tuple[Measured, Spikes]:
    """Run all that the demo shows; also returns the input spikes, bool (images, steps, 64)."""
    from spikeloom.sim.open import open
    about = settings()
    test = load_digits(about["split_seed"])[1]
    pixels, labels = test.images[:images], test.labels[:images]
    network = from_nir(example_file("digits.nir"), profile=about["profile"], dt=about["dt"])
    spikes = encode(pixels, about["steps"])
    image = compile(network, board=ARRAY, weight_bits=WEIGHT_BITS)
    everything = [population.name for population in image.populations]
    with waiting(f"Float network and golden model, {len(labels)} images"):
        scores = reference(network, spikes).potentials[SCORES][:, -1]
        with open("golden") as golden:
            golden.load(image)
            expected = golden.run(spikes, potentials="steps", record=everything)
    with waiting(f"Building the simulated {ARRAY} (a few minutes the first time, then kept)"):
        open(machine, image.params).close()

    def run(part: Spikes, **options: Any) -> Result:
        with open(machine, image.params) as rtl:
            rtl.load(image)
            return rtl.run(part, **options)

    # Readings after every step take cycles of their own, so that cycles are counted in a run without them. Samples do not
    # depend on each other: simulations in two threads share the long run.
    with waiting("Running the simulated RTL"), ThreadPoolExecutor(2) as pool:
        plain = pool.submit(run, spikes)
        read = [pool.submit(run, part, potentials="steps", record=everything)
                for part in np.array_split(spikes, min(PARTS, len(spikes)))]
        rtl = joined([part.result() for part in read]), plain.result()
    return Measured(labels, about["steps"], scores, image, expected, *rtl, board_of(ARRAY)), spikes


def draw(result: Result, spikes: Spikes, folder: Path) -> Path:
    """Write the raster of the first image; returns its path."""
    from spikeloom.host.compiler.plot import raster
    path = folder / "digits-raster.png"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        raster(result, 0, inputs=spikes[0]).savefig(path, dpi=120)
    except OSError as error:
        raise SpikeloomError(f"{path} could not be written: {error}") from error
    return path


def _text(measured: Measured, plain: dict[str, Any], machine: str) -> Group:
    board, array, steps = measured.board, measured.image.report["array"], measured.steps
    results = Table("network", "accuracy", title=f"{measured.images} test images of 8 × 8 digits, {steps} steps each")
    results.add_row("float (as trained)", f"{plain['accuracy_float']:.2%}")
    results.add_row(f"{WEIGHT_BITS}-bit weights, golden model", f"{plain['accuracy_quantised']:.2%}")
    results.add_row(f"{WEIGHT_BITS}-bit weights, RTL ({machine})", f"{plain['accuracy_rtl']:.2%}")

    same = Table("", "compared", "differ", title="Golden model against RTL")
    for what in ("spikes", "potentials", "counts"):
        same.add_row(what, f"{plain[f'compared_{what}']:,}", f"{plain[f'differing_{what}']:,}")

    speed = Table("", "", title="Simulated RTL × assumed clock (array alone: no host, no DMA, no board)", show_header=False)
    speed.add_row("cycles per image", f"{plain['cycles_per_image']:,.1f} (mean; potentials read at the end only)")
    speed.add_row("images per second", f"{plain['images_per_second']:,.0f} at {board.clock_mhz:g} MHz")
    speed.add_row("latency", f"{plain['latency_us']:.2f} µs")
    low, mid, high = (plain["energy_uj"][name] for name in ("low", "mid", "high"))
    speed.add_row("energy per image", f"about {mid:.3g} µJ ({low:.3g} to {high:.3g}): an estimate, memory and multipliers only")

    room = Table("", "used", "available", title=f"Of {ARRAY} on {board.title} ({board.part})")
    for name in ("cores", "lanes", "axons", "words", "synapse_bits"):
        room.add_row(name.replace("_", " "), *(f"{value:,}" for value in array[name]))
    room.add_row("neurons", f"{array['neurons']:,}", "")
    for name, key in (("LUTs", "luts"), ("RAMB36", "ramb36")):
        count = plain[key]
        room.add_row(name, "not measured" if count is None else f"{count:,}", f"{board.resources[key]:,}")
    return Group(results, same, speed, room, f"Spikes of the first image: {plain['raster']}")
