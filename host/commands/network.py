"""`spikeloom compile` and `spikeloom report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.common import (
    FILE,
    TARGET,
    array_options,
    chosen_array,
    emit,
    json_option,
    load_image,
    load_spikes,
    work_options,
)
from spikeloom.host.importers.profiles import PROFILES, RESETS


@click.command("compile")
@click.argument("network", type=FILE)
@click.option("--profile", type=click.Choice(list(PROFILES)), help="The framework that wrote a .nir file.")
@click.option("--dt", type=float, help="Step, in the unit of the file's time constants.")
@click.option("--reset", type=click.Choice(list(RESETS)), help="What a spike does, where the file leaves it open.")
@click.option("--norm-input/--no-norm-input", default=None, help="sinabs: whether LIF and LI scale their input.")
@click.option("--layer-delay", type=click.IntRange(0, 1), help=".net files: steps that a spike takes between layers.")
@array_options
@click.option("--weight-bits", default=8, show_default=True, help="Width of the weights, 2 to 16.")
@click.option("--scale", default="neuron", show_default=True, type=click.Choice(["neuron", "tensor"]),
              help="Whether each neuron (channel of a map) or each population has a scale of its weights.")
@click.option("--calibrate", type=FILE, help="Sample input, as for run: choose scales for the least error in potential on it.")
@click.option("--record", default="all", show_default=True, type=click.Choice(["all", "outputs"]),
              help="Whose spikes the host sees.")
@click.option("-o", "--output", type=TARGET, help="Where to write the image (default: NETWORK with the ending .slm).")
@click.option("--sweep", "sweeps", multiple=True, metavar="NAME=VALUES",
              help="Write no image, but compare: weight_bits=2..8, weight_bits=4,8, scale=neuron,tensor, calibrate=no,yes, "
                   "board=NAME,NAME. Repeat it for a grid.")
@click.option("--input", "input_file", type=FILE, help="With --sweep: sample input, as for run.")
@click.option("--labels", type=FILE, help="With --sweep: the right answer for each sample, .npy of integers.")
@click.option("--answer", help="With --sweep: the population whose answer counts, where there are several outputs.")
@click.option("--readout", type=click.Choice(["counts", "end", "max", "mean"]),
              help="With --sweep: how the answer is read (default: counts of spikes, or potentials at the end).")
@click.option("--out", "picture", type=TARGET, help="With --sweep: where to draw it, .png, .svg or .pdf.")
@work_options
@json_option
def compile_command(network: Path, weight_bits: int, scale: Any, calibrate: Path | None, board: str | None,
                    params_file: Path | None, record: str, output: Path | None, sweeps: tuple[str, ...], as_json: bool,
                    **options: Any) -> None:
    """Fit the network in a .nir or .net file onto an array, and write its image; or sweep options and print what they cost."""
    from spikeloom.host.compiler.compile import compile
    from spikeloom.host.compiler.report import CompileReport
    if sweeps:
        from spikeloom.host.commands.sweep import run_sweep
        if output is not None or calibrate is not None:
            raise SpikeloomError("--sweep writes no image and calibrates on its --input: use --sweep calibrate=yes in place of "
                                 "--calibrate, and --out in place of --output")
        given = {"weight_bits": weight_bits, "scale": scale, "board": board}
        run_sweep(read_network(network, options), given, params_file, sweeps, as_json, options)
        return
    unused = [name for name in ("input_file", "labels", "answer", "readout", "picture", "jobs", "scheduler")
              if options[name] is not None]
    if unused:
        raise SpikeloomError(f"{', '.join(_OPTION[name] for name in unused)} belong to --sweep, which is not given")
    array: dict[str, Any] = {"board": board} if board is not None else {}
    params = chosen_array(board, params_file)
    image = compile(read_network(network, options), weight_bits=weight_bits, scale=scale, record=record,
                    calibrate=None if calibrate is None else load_spikes(calibrate), **(array or {"params": params}))
    path = output or network.with_suffix(".slm")
    image.save(path)
    plain = {"image": str(path), "digest": image.digest(), "report": image.report}
    emit(as_json, plain, f"{CompileReport(image.report)}\n\nImage {image.digest()[:16]} written to {path}")


_OPTION = {"input_file": "--input", "labels": "--labels", "answer": "--answer", "readout": "--readout", "picture": "--out",
           "jobs": "--jobs", "scheduler": "--scheduler"}


def read_network(path: Path, options: dict[str, Any]) -> Any:
    """The network in a file: NetX by its ending, else NIR, for which the profile must be given."""
    mine = {name: options[name] for name in ("dt", "reset", "norm_input")}
    if path.suffix == ".net":
        from spikeloom.host.importers.netx import from_netx
        wrong = [name for name, value in {"profile": options["profile"], **mine}.items() if value is not None]
        if wrong:
            raise SpikeloomError(f"{path} is a NetX file, whose numbers say everything: leave out "
                                 f"{', '.join('--' + name.replace('_', '-') for name in wrong)}")
        return from_netx(path, layer_delay=options["layer_delay"] or 0)
    if options["profile"] is None:
        raise click.UsageError(f"Missing option '--profile': which framework wrote {path.name}? One of {', '.join(PROFILES)}")
    if options["layer_delay"] is not None:
        raise SpikeloomError("--layer-delay is for .net files")
    from spikeloom.host.importers.nir import from_nir
    return from_nir(path, profile=options["profile"], **mine)


@click.command()
@click.argument("image", type=FILE)
@click.option("--map", "picture", type=TARGET, help="Draw what lies in which core, .png, .svg or .pdf.")
@click.option("--input", "input_file", type=FILE, help="Sample input, as for run: estimate cycles and energy from its exact events.")
@json_option
def report(image: Path, picture: Path | None, input_file: Path | None, as_json: bool) -> None:
    """What the compiler did to make an image, and estimates of its cycles and energy."""
    from spikeloom.host.commands.fit import estimate_lines, estimated
    from spikeloom.host.compiler.report import CompileReport
    loaded = load_image(image)
    if picture is not None:
        CompileReport(loaded.report).save_map(picture)
    found = estimated(loaded, None if input_file is None else load_spikes(input_file))
    emit(as_json, {"image": str(image), "digest": loaded.digest(), "report": loaded.report, "estimate": found},
         f"{CompileReport(loaded.report)}\n\n{estimate_lines(found)}\n\nImage {loaded.digest()[:16]}")
