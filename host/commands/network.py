"""`spikeloom compile` and `spikeloom report`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spikeloom.host.commands.common import FILE, TARGET, array_options, chosen_array, emit, json_option, load_image
from spikeloom.host.profiles import PROFILES, RESETS


@click.command("compile")
@click.argument("network", type=FILE)
@click.option("--profile", required=True, type=click.Choice(list(PROFILES)), help="The framework that wrote the file.")
@click.option("--dt", type=float, help="Step, in the unit of the file's time constants.")
@click.option("--reset", type=click.Choice(list(RESETS)), help="What a spike does, where the file leaves it open.")
@click.option("--norm-input/--no-norm-input", default=None, help="sinabs: whether LIF and LI scale their input.")
@array_options
@click.option("--weight-bits", default=8, show_default=True, help="Width of the weights, 2 to 16.")
@click.option("--record", default="all", show_default=True, type=click.Choice(["all", "outputs"]),
              help="Whose spikes the host sees.")
@click.option("-o", "--output", type=TARGET, help="Where to write the image (default: NETWORK with the ending .slm).")
@json_option
def compile_command(network: Path, profile: str, dt: float | None, reset: Any, norm_input: bool | None, board: str | None,
                    params_file: Path | None, weight_bits: int, record: str, output: Path | None, as_json: bool) -> None:
    """Fit the network in a .nir file onto an array, and write its image."""
    from spikeloom.host.compile import compile
    from spikeloom.host.nir import from_nir
    from spikeloom.host.report import CompileReport
    params = chosen_array(board, params_file)
    net = from_nir(network, profile=profile, dt=dt, reset=reset, norm_input=norm_input)
    options: dict[str, Any] = {"params": params} if board is None else {"board": board}
    image = compile(net, weight_bits=weight_bits, record=record, **options)
    path = output or network.with_suffix(".slm")
    image.save(path)
    plain = {"image": str(path), "digest": image.digest(), "report": image.report}
    emit(as_json, plain, f"{CompileReport(image.report)}\n\nImage {image.digest()[:16]} written to {path}")


@click.command()
@click.argument("image", type=FILE)
@json_option
def report(image: Path, as_json: bool) -> None:
    """What the compiler did to make an image."""
    from spikeloom.host.report import CompileReport
    loaded = load_image(image)
    emit(as_json, {"image": str(image), "digest": loaded.digest(), "report": loaded.report},
         f"{CompileReport(loaded.report)}\n\nImage {loaded.digest()[:16]}")
