"""The group of all commands, and how errors end."""

from __future__ import annotations

import click

import spikeloom
from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.array import boards, verilog
from spikeloom.host.commands.build import build
from spikeloom.host.commands.demo import demo
from spikeloom.host.commands.doctor import doctor
from spikeloom.host.commands.fit import fit
from spikeloom.host.commands.network import compile_command, report
from spikeloom.host.commands.runs import diff, run_command
from spikeloom.host.commands.serve import serve
from spikeloom.host.commands.verify import verify


@click.group()
@click.version_option(spikeloom.__version__)
def group() -> None:
    """Put trained spiking networks on core arrays for Xilinx boards: compile, run, verify."""


for command in (boards, build, compile_command, demo, diff, doctor, fit, report, run_command, serve, verify, verilog):
    group.add_command(command)


def run(arguments: list[str] | None = None) -> int:
    """Run a command line and return its exit code: 0, 1 for an error or a difference, 2 for wrong usage."""
    try:
        code = group.main(arguments, prog_name="spikeloom", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except SpikeloomError as error:
        click.echo(f"spikeloom: {error}", err=True)
        return 1
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.Abort:
        click.echo("spikeloom: interrupted", err=True)
        return 130
    except OSError as error:
        click.echo(f"spikeloom: {error}", err=True)
        return 1
