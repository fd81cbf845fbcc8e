"""`spikeloom fit`, and the estimates that `spikeloom report` prints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.common import FILE, TARGET, emit, json_option, load_spikes, waiting
from spikeloom.host.importers.profiles import PROFILES, RESETS
from spikeloom.image import Image

#: Where there is no input: spikes of each input and neuron in a step, and the steps of a sample.
RATE, STEPS = 0.05, 20


def estimated(image: Image, spikes: Any | None, most: int = 20) -> dict[str, Any]:
    """Cycles and energy of a sample as plain data, from the events of the first ``most`` samples, or where there is no input from
    drawn ones at :data:`RATE`."""
    from spikeloom.events import prepare
    from spikeloom.host.estimates.cycle_events import Activity, at_rates
    from spikeloom.host.estimates.cycles import predict
    from spikeloom.host.estimates.estimate import energy_of
    from spikeloom.sim.activity import activity
    if not image.inputs:
        return {"events": "none: the image has no input"}
    if spikes is None:
        inputs, events = at_rates(image, RATE, 1, STEPS)
    else:
        inputs = {name: array[:most] for name, array in prepare(image, spikes)[0].items()}
        if not all(array.shape[0] and array.shape[1] for array in inputs.values()):
            raise SpikeloomError("An estimate needs at least one sample of one step")
        events = Activity(*activity(image, inputs))
    samples, steps = next(iter(inputs.values())).shape[:2]
    found = predict(image, inputs, events)
    energy = energy_of(image, found.reads, samples, steps)
    return {"events": "of the input" if spikes is not None else f"drawn: every input and neuron spikes in {RATE:.0%} of the steps",
            "samples": samples, "steps": steps, "cycles_per_sample": float(np.mean(found.cycles)),
            "cycles_worst": int(np.max(found.cycles)), "cycles_per_tick": float(np.mean(found.cycles)) / image.ticks(steps),
            "limits": found.limits, "limit": found.limit,
            "reads_per_sample": found.reads / samples, "energy_uj": energy.plain(), "shares_uj": energy.shares}


def estimate_lines(found: dict[str, Any]) -> str:
    """The estimates in words."""
    if "samples" not in found:
        return f"Estimate: none; events {found['events']}"
    energy, whole = found["energy_uj"], sum(found["limits"].values())
    waits = ", ".join(f"{name} {value / whole:.0%}" for name, value in found["limits"].items() if value)
    return (f"Estimate (nothing was measured; events {found['events']}): {found['cycles_per_sample']:,.0f} cycles a sample of "
            f"{found['steps']} steps, {found['cycles_per_tick']:.1f} a tick\n  waits for: {waits}\n"
            f"  dynamic energy of memories and multipliers: {energy['mid']:.3g} µJ a sample ({energy['low']:.3g} to {energy['high']:.3g})")


@click.command()
@click.argument("network", type=FILE)
@click.option("--board", required=True, metavar="NAME", help="The board whose resources bound the array.")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="The framework that wrote a .nir file.")
@click.option("--dt", type=float, help="Step, in the unit of the file's time constants.")
@click.option("--reset", type=click.Choice(list(RESETS)), help="What a spike does, where the file leaves it open.")
@click.option("--norm-input/--no-norm-input", default=None, help="sinabs: whether LIF and LI scale their input.")
@click.option("--layer-delay", type=click.IntRange(0, 1), help=".net files: steps that a spike takes between layers.")
@click.option("--weight-bits", default=8, show_default=True, type=click.IntRange(2, 16), help="Width of the weights.")
@click.option("--input", "input_file", type=FILE, help="Sample input, as for run (default: drawn at 5 % of the steps).")
@click.option("--objective", default="throughput", show_default=True, type=click.Choice(["throughput", "latency", "energy"]),
              help="What comes first in the table.")
@click.option("--tries", default=24, show_default=True, type=click.IntRange(1), help="Arrays to compile for.")
@click.option("--out", "picture", type=TARGET, help="Where to draw the arrays, .png, .svg or .pdf.")
@json_option
def fit(network: Path, board: str, weight_bits: int, input_file: Path | None, objective: str, tries: int, picture: Path | None,
        as_json: bool, **options: Any) -> None:
    """Search arrays for a board that hold a network, and print those that nothing beats: all figures are estimates."""
    from spikeloom.host.boards import board as board_named
    from spikeloom.host.commands.network import read_network
    from spikeloom.host.estimates.fit import draw, pareto, search, table
    spikes = None if input_file is None else load_spikes(input_file)
    with waiting(f"Fitting {network.name} to {board}"):
        points, refused = search(read_network(network, options), board_named(board), lambda image: estimated(image, spikes, 2),
                                 weight_bits=weight_bits, tries=tries)
    if not points:
        raise SpikeloomError(f"None of {tries} arrays that {board} has room for holds {network.name}; the last one: {refused[-1]}"
                             if refused else f"{board} has room for none of the arrays that are searched")
    best = pareto(points, objective)
    if picture is not None:
        draw(points, best, picture)
    emit(as_json, {"board": board, "objective": objective, "pareto": [point.plain() for point in best], "fitting": len(points),
                   "refused": refused}, table(best, objective, len(points), len(refused)))
