"""`spikeloom run` and `spikeloom diff`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import numpy as np

from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.common import FILE, TARGET, emit, json_option, load_image, load_spikes, waiting, work_options


@click.command("run")
@click.argument("image", type=FILE)
@click.option("--input", "input_file", required=True, type=FILE,
              help="Spikes: .npy, bool or 0/1, (steps, inputs) or (samples, steps, inputs); .npz with one array per input.")
@click.option("--machine", default="golden", show_default=True, type=click.Choice(["golden", "engine", "rtl", "cocotb"]))
@click.option("--potentials", default="end", show_default=True, type=click.Choice(["none", "end", "steps"]),
              help="When membrane potentials are read.")
@click.option("--record", multiple=True, help="Population whose potentials are read (repeat for several).")
@click.option("-o", "--output", type=TARGET, help="Where to write the recorded run.")
@work_options
@json_option
def run_command(image: Path, input_file: Path, machine: str, potentials: Any, record: tuple[str, ...], output: Path | None,
                jobs: int | None, scheduler: str | None, as_json: bool) -> None:
    """Run an image on a machine, and record the run."""
    from spikeloom.host.networks.recording import save_result
    from spikeloom.sim.many import run_many
    loaded = load_image(image)
    spikes = load_spikes(input_file)
    with waiting(f"Running on {machine}"):
        result = run_many(loaded, spikes, machine=machine, potentials=potentials, record=record or None, jobs=jobs,
                          scheduler=scheduler)
    if output is not None:
        save_result(result, output)
    plain: dict[str, Any] = {"image": loaded.digest(), "machine": machine, "output": None if output is None else str(output),
             "spikes": {name: int(array.sum()) for name, array in result.spikes.items()},
             "cycles": None if result.cycles is None else np.atleast_1d(result.cycles).tolist(),
             "stats": {name: int(value) for name, value in result.stats.items()}}
    lines = [f"{name}: {count} spikes" for name, count in plain["spikes"].items()]
    if result.cycles is not None:
        lines.append(f"{float(np.mean(result.cycles)):.0f} cycles a sample")
    lines += [f"{name}: {value}" for name, value in plain["stats"].items()]
    if output is not None:
        lines.append(f"Recorded in {output}")
    emit(as_json, plain, "\n".join(lines))


@click.command()
@click.argument("first", type=FILE)
@click.argument("second", type=FILE)
@json_option
@click.pass_context
def diff(context: click.Context, first: Path, second: Path, as_json: bool) -> None:
    """Compare two recorded runs of one image; exit code 1 when they differ."""
    import dataclasses

    from spikeloom.host.networks.recording import load_result
    from spikeloom.sim.verify import count_differences, first_difference
    ours, theirs = load_result(first), load_result(second)
    if ours.image.digest() != theirs.image.digest():
        raise SpikeloomError(f"{first} and {second} are runs of different images ({ours.image.digest()[:16]} and "
                             f"{theirs.image.digest()[:16]}): only runs of one image can be compared")
    for what, one, other in (("spikes", ours.spikes, theirs.spikes), ("potentials", ours.states, theirs.states)):
        if set(one) != set(other):
            raise SpikeloomError(f"The runs recorded {what} of different populations: {', '.join(one) or 'none'} against "
                                 f"{', '.join(other) or 'none'}")
    found = first_difference(ours, theirs)
    spikes, states = count_differences(ours, theirs)
    compared = [sum(array.size for array in arrays.values()) for arrays in (ours.spikes, ours.states)]
    plain = {"image": ours.image.digest(), "compared_spikes": compared[0], "compared_potentials": compared[1],
             "differing_spikes": spikes, "differing_potentials": states,
             "first": None if found is None else dataclasses.asdict(found)}
    text = f"{spikes} of {compared[0]} spikes and {states} of {compared[1]} potentials differ"
    emit(as_json, plain, text if found is None else f"{text}\nFirst: {found}")
    context.exit(0 if found is None else 1)
