"""`spikeloom serve`: a virtual board on the network."""

from __future__ import annotations

import click

from spikeloom.errors import MachineError
from spikeloom.host.board_remote import PORT
from spikeloom.host.boards import board as named_board
from spikeloom.host.commands.common import emit, json_option


@click.command()
@click.option("--board", "name", default="pynq_z2", show_default=True, help="The board; `spikeloom boards` lists them.")
@click.option("--address", default="127.0.0.1", show_default=True, help="Where it listens. On Linux every 127.x.y.z is this computer.")
@click.option("--port", default=PORT, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one; pynq's client knows "
                                                                                            "no other than the default.")
@click.option("--with-parent", is_flag=True, hidden=True, help="End with the process that started this one.")
@json_option
def serve(name: str, address: str, port: int, with_parent: bool, as_json: bool) -> None:
    """A virtual board: PYNQ.remote's protocol, with the simulated gateware behind it, until Ctrl-C.

    An unmodified pynq program uses it with PYNQ_REMOTE_DEVICES set to its address. Bitstreams for it are made by `spikeloom build
    --virtual`. Needs pynq 3.1 or newer (its messages) and the extra `rtl`. No password: keep it to addresses that only you reach.
    """
    chosen = named_board(name)
    try:
        from spikeloom.sim import virtual
    except ImportError as error:
        raise MachineError(f"The virtual board needs {error.name}, which is not installed here: pip install 'spikeloom[pynq,rtl]' in "
                           f"Python 3.10 or newer, with pynq 3.1 or newer") from None
    from spikeloom.sim.virtual_board import VirtualBoard

    def started(found: int) -> None:
        emit(as_json, {"board": chosen.name, "address": address, "port": found},
             f"Virtual {chosen.title} at {address}:{found}, until Ctrl-C.\n"
             f"Use it from Python with the environment variable PYNQ_REMOTE_DEVICES={address}, or by\n"
             f"    sl.open(\"pynq\", bitfile=\"spikeloom.bit\", address=\"{address}\")\n"
             f"where spikeloom build --board {chosen.name} --virtual has made spikeloom.bit.")

    virtual.serve(VirtualBoard(chosen, tell=lambda line: click.echo(line, err=True)), address, port, started,
                  orphan=not with_parent)
    if not as_json:
        click.echo("Stopped.")
