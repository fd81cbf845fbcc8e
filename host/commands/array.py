"""`spikeloom verilog` and `spikeloom boards`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click
from rich.console import Group
from rich.table import Table

from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import boards as all_boards
from spikeloom.host.boards import named_array, synthesis
from spikeloom.host.commands.common import TARGET, array_options, chosen_array, emit, json_option, waiting
from spikeloom.params import PRESETS


@click.command()
@array_options
@click.option("-o", "--output", required=True, type=TARGET, help="Where to write the Verilog.")
@json_option
def verilog(board: str | None, params_file: Path | None, output: Path, as_json: bool) -> None:
    """Generate the Verilog of an array: one file, top module `spikeloom`."""
    params = chosen_array(board, params_file)
    try:
        from spikeloom.sim.build import TOP, verilog_text
        with waiting("Generating Verilog"):
            text = verilog_text(params)
    except ImportError as error:
        raise SpikeloomError(f"{error.name} is not installed: pip install 'spikeloom[rtl]'") from None
    output.write_text(text)
    plain = {"output": str(output), "top": TOP, "digest": params.digest(), "bytes": len(text.encode()),
             "params": params.describe()}
    emit(as_json, plain, f"Top module {TOP} of an array with digest {params.digest()[:8]} written to {output}")


@click.command()
@json_option
def boards(as_json: bool) -> None:
    """The boards, and the arrays that are meant for them."""
    found = all_boards()
    names = [*PRESETS, *(name for name, board in found.items() if board.array is not None)]
    arrays = {name: named_array(name).describe() | {"synthesis": synthesis(name) or None} for name in names}
    have = Table("board", "part", "PYNQ", "clock", "arrays, the default first", title="Boards")
    for name, board in found.items():
        have.add_row(name, board.part, board.pynq, f"{board.clock_mhz:g} MHz", ", ".join(board.arrays))
    table = Table("array", "cores", "neurons", "synapse bits", "LUTs", "RAMB36", "UltraRAM", title="Arrays",
                  caption="Resources were counted by synthesis (– : not counted). Arrays of no board are for simulation.")
    for name in names:
        params, size = named_array(name), synthesis(name)
        table.add_row(name, f"{params.columns} × {params.rows}", f"{params.cores * params.core_neurons:,}",
                      f"{params.cores * params.banks * params.words * params.lanes * params.weight_bits:,}",
                      *(str(size.get(key, "–")) for key in ("luts", "ramb36", "uram")))
    plain = {name: dataclasses.asdict(board) for name, board in found.items()}
    emit(as_json, {"boards": plain, "arrays": arrays}, Group(have, table))
