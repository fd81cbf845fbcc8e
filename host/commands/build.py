"""`spikeloom build`: from a board and an array, or a network, to a bitstream."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import Board, board, named_array
from spikeloom.host.commands.common import FILE, chosen_array, emit, json_option, load_image, waiting
from spikeloom.host.importers.profiles import PROFILES, RESETS
from spikeloom.image import Image
from spikeloom.params import ArrayParams

#: Exit code when the folder was written but there is no Vivado to build it.
NO_VIVADO = 3


@click.command()
@click.option("--board", "name", required=True, help="The board; `spikeloom boards` lists them.")
@click.option("--array", help="A named array in place of the board's default.")
@click.option("--params", "params_file", type=FILE, help="JSON file with an array's parameters, in place of a named one.")
@click.option("--network", type=FILE, help="Compile this .nir or .net file (or take this .slm image) and build the array that holds it.")
@click.option("--profile", type=click.Choice(list(PROFILES)), help="The framework that wrote a .nir file.")
@click.option("--dt", type=float, help="Step, in the unit of the .nir file's time constants.")
@click.option("--reset", type=click.Choice(list(RESETS)), help="What a spike does, where the .nir file leaves it open.")
@click.option("--clock-mhz", type=float, help="The array's clock in place of the board's.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="The folder (default: build-BOARD).")
@click.option("--jobs", type=click.IntRange(1), default=2, show_default=True, help="Processes that Vivado may use.")
@click.option("--deadline", type=click.FloatRange(0, min_open=True), default=240.0, show_default=True,
              help="Minutes after which Vivado is stopped.")
@click.option("--no-vivado", is_flag=True, help="Only write the folder.")
@click.option("--virtual", is_flag=True, help="Write spikeloom.bit and spikeloom.hwh for the virtual board (spikeloom serve) instead: this "
                                              ".bit names the array, it is no bitstream, and no real board takes it.")
@json_option
@click.pass_context
def build(context: click.Context, /, name: str, array: str | None, params_file: Path | None, network: Path | None,
          clock_mhz: float | None, out: Path | None, jobs: int, deadline: float, no_vivado: bool, virtual: bool, as_json: bool,
          **options: Any) -> None:
    """Write the folder that Vivado builds a bitstream from, and build it where Vivado is on the PATH.

    Exit code 0: the bitstream is in OUT/out (or --no-vivado was given). 3: the folder is written, but there is no Vivado here. 1: an error.
    """
    from spikeloom.host.build.folder import write_folder
    from spikeloom.host.build.vivado import find_vivado, run_vivado
    chosen = board(name)
    array_name, params, image = _what(chosen, array, params_file, network, options)
    folder = out or Path(f"{'virtual' if virtual else 'build'}-{chosen.name}")
    if virtual:
        emit(as_json, *_virtual(folder, chosen, params, image, clock_mhz))
        return
    with waiting("Generating Verilog"):
        text = _verilog(params)
    manifest = write_folder(folder, chosen, params, text, array=array_name, clock_mhz=clock_mhz, jobs=jobs, image=image)
    written = f"{folder} has what Vivado needs for array {array_name or params.digest()[:8]} on {chosen.title}"
    if no_vivado or find_vivado() is None:
        emit(as_json, {"folder": str(folder), "built": False, "manifest": manifest}, f"{written}.\n{_by_hand(folder)}")
        context.exit(0 if no_vivado else NO_VIVADO)
    manifest = run_vivado(folder, manifest, deadline_s=60 * deadline, tell=lambda line: click.echo(f"vivado: {line}", err=True))
    slack = manifest["slack_ns"]
    emit(as_json, {"folder": str(folder), "built": True, "manifest": manifest},
         f"{folder / 'out'} has the bitstream: setup slack {slack['setup']:g} ns, hold slack {slack['hold']:g} ns at "
         f"{manifest['clock_mhz']:g} MHz.\nCopy spikeloom.bit and spikeloom.hwh to the board, into one folder.")


def _virtual(folder: Path, chosen: Board, params: ArrayParams, image: Image | None, clock_mhz: float | None) -> tuple[dict[str, Any], str]:
    """Write an overlay for the virtual board, and the image if there is one; the command's output."""
    from spikeloom.host.build.folder import IMAGE, MANIFEST
    from spikeloom.host.build.standin import write_standin
    if (folder / MANIFEST).exists():
        raise SpikeloomError(f"{folder} is a folder for Vivado: give another --out")
    bitfile = write_standin(folder, chosen, params, clock_mhz=clock_mhz)
    if image is not None:
        image.save(folder / IMAGE)
    return ({"folder": str(folder), "built": False, "bitfile": str(bitfile), "digest": params.digest()},
            f"{bitfile} stands in for a bitstream of array digest {params.digest()[:8]}: it is none, only a virtual {chosen.title} takes "
            f"it.\n"
            f"Start that with: spikeloom serve --board {chosen.name}")


def _by_hand(folder: Path) -> str:
    """How to build the folder on a computer with Vivado."""
    from spikeloom.host.build.vivado import COMMAND
    return (f"Copy the folder to a computer with Vivado (2022.1 or newer) and run there:\n"
            f"    cd {folder} && {' '.join(COMMAND)}\n"
            f"It ends with exit code 0 when out/ has spikeloom.bit, spikeloom.hwh and spikeloom.xsa and timing is met.")


def _what(chosen: Board, array: str | None, params_file: Path | None, network: Path | None,
          options: dict[str, Any]) -> tuple[str | None, ArrayParams, Image | None]:
    """The array's name (None for parameters from a file), its parameters, and the image of the network if there is one."""
    if array is not None and params_file is not None:
        raise SpikeloomError("Give --array or --params, not both")
    params = named_array(array) if array is not None else chosen_array(None, params_file) if params_file is not None else None
    if network is None:
        unused = [name for name, value in options.items() if value is not None]
        if unused:
            raise SpikeloomError(f"--{unused[0]} describes a network: give --network too")
        default = chosen.arrays[0]
        return (array, params, None) if params is not None else (default, named_array(default), None)
    if network.suffix == ".slm":
        image = load_image(network)
        if params is not None and image.params.digest() != params.digest():
            raise SpikeloomError(f"{network} was compiled for another array than --array or --params names")
        return array or _name_of(chosen, image.params), image.params, image
    from spikeloom.host.commands.network import read_network
    from spikeloom.host.compiler.compile import compile
    read = read_network(network, {"norm_input": None, "layer_delay": None, **options})
    image = compile(read, params=params) if params is not None else compile(read, board=chosen.name)
    return array or _name_of(chosen, image.params), image.params, image


def _name_of(chosen: Board, params: ArrayParams) -> str | None:
    """The name of an array among those that are meant for a board, None if it is none of them."""
    return next((name for name in chosen.arrays if named_array(name).digest() == params.digest()), None)


def _verilog(params: ArrayParams) -> str:
    try:
        from spikeloom.sim.build import verilog_text
        return verilog_text(params)
    except ImportError as error:
        raise SpikeloomError(f"{error.name} is not installed: pip install 'spikeloom[rtl]'") from None
