"""A virtual board in a process of its own, and a folder with the notebooks for it: as a user makes them, by the commands."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from spikeloom.params import ArrayParams
from spikeloom.sim.virtual_machine import server

ROOT = Path(__file__).resolve().parents[1]


def run(*command: str, cwd: Path = ROOT, environment: dict[str, str] | None = None, code: int = 0) -> str:
    """Run a Python command line (``-m`` module or script, and arguments); what it printed. AssertionError for another exit code."""
    done = subprocess.run([sys.executable, *command], cwd=cwd, env=os.environ | (environment or {}), capture_output=True, text=True,
                          timeout=300, check=False)
    assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


def notebook_folder(folder: Path, board: str, array: ArrayParams) -> Path:
    """A folder with the notebooks and what they need beside them, for a virtual board."""
    params, built, out = folder / "array.json", folder / "built", folder / "notebooks"
    params.write_text(json.dumps(array.describe()))
    run("-m", "spikeloom.host.cli", "build", "--board", board, "--virtual", "--params", str(params), "--out", str(built))
    run("overlay/collect.py", str(built), "--out", str(out))
    return out


@contextmanager
def virtual_board(board: str) -> Iterator[dict[str, str]]:
    """A virtual board, `spikeloom serve`, at a loopback address that nobody else has; gives the environment that leads pynq there."""
    with server(board) as served:
        yield {"PYNQ_REMOTE_DEVICES": served.address}
