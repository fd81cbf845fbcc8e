"""`open("virtual")`: a machine on a virtual board of its own, whose server lives as long as the machine does.

All that a user with a board on the network goes through is gone through here: an overlay's files, a server in another process, pynq's
client, the driver. A server that several programs or notebooks share is started by hand, with `spikeloom serve`.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from spikeloom.errors import MachineError
from spikeloom.host.board import open_pynq
from spikeloom.host.boards import board as named_board
from spikeloom.host.build.standin import write_standin
from spikeloom.host.driver import Driver
from spikeloom.params import ArrayParams

#: Seconds that a server may take to start (it imports pynq), and to stop.
START_S, STOP_S = 120.0, 10.0
#: Loopback addresses that are tried before it is given up: each is one of 16 million, and taken by chance only.
TRIES = 3


def open_virtual(params: ArrayParams, *, on: str | None = None, **options: Any) -> Driver:
    """A machine on a virtual board.

    Parameters
    ----------
    params
        The array.
    on
        The board; by default a PYNQ-Z2, or a KV260 where pynq is 4, which has left Zynq-7000 behind.
    options
        As for :func:`spikeloom.host.board.open_pynq`.

    MachineError when the server cannot be started, with what it said.
    """
    board = named_board(on or _default())
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="spikeloom-")))
        served = stack.enter_context(server(board.name))
        driver = open_pynq(write_standin(folder, board, params), address=served.address, params=params, closed=lambda: kept.close(),
                           **options)
        kept = stack.pop_all()
    return driver


def _default() -> str:
    import pynq
    return "kv260" if int(pynq.__version__.partition(".")[0]) >= 4 else "pynq_z2"


@dataclass(frozen=True)
class Served:
    """A server: where it is, and its process."""

    address: str
    process: subprocess.Popen[bytes]


@contextlib.contextmanager
def server(board: str, address: str | None = None) -> Iterator[Served]:
    """A virtual board's server in a process of its own; without an address at some free loopback address. MachineError if it does
    not start."""
    with tempfile.TemporaryFile("w+") as said:
        for _ in range(1 if address else TRIES):
            chosen = address or f"127.{random.randint(1, 254)}.{random.randint(0, 255)}.{random.randint(1, 254)}"
            process = _start(board, chosen, said)
            if process is not None:
                break
        else:
            said.seek(0)
            raise MachineError(f"The virtual board's server did not start: {said.read().strip() or 'it said nothing'}")
        try:
            yield Served(chosen, process)
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            assert process.stdout is not None
            process.stdout.close()


def _start(board: str, address: str, said: IO[str]) -> subprocess.Popen[bytes] | None:
    """Start a server and wait until it can be reached; None if it cannot. What it says goes into ``said``."""
    command = [sys.executable, "-m", "spikeloom.host.cli", "serve", "--board", board, "--address", address, "--json", "--with-parent"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said)
    assert process.stdout is not None
    text, until = b"", time.monotonic() + START_S
    while time.monotonic() < until:
        if select.select([process.stdout], [], [], 1.0)[0]:
            new = os.read(process.stdout.fileno(), 4096)
            text += new
            with contextlib.suppress(ValueError):
                json.loads(text)
                return process
            if not new:  # it has ended
                break
    process.kill()
    process.communicate()
    return None
