"""The self-test of a board: step by step, each passed, failed or skipped with a reason, as plain data that can be sent to us."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import numpy as np

import spikeloom
from spikeloom.errors import MachineError, SpikeloomError
from spikeloom.host.board import check_clock_of, devices, open_pynq
from spikeloom.host.board_remote import chosen_device, is_virtual
from spikeloom.host.boards import Board
from spikeloom.host.compiler.compile import compile
from spikeloom.host.driver import Driver
from spikeloom.host.estimates.arrays import from_arrays
from spikeloom.host.telemetry import telemetry
from spikeloom.image import Image
from spikeloom.ip import VLNV
from spikeloom.machine import Machine, Result
from spikeloom.params import ArrayParams

#: ECHO words of the bandwidth test: 512 kB each way.
ECHOES = 1 << 16
#: Packages whose versions are told.
PACKAGES = ("spikeloom", "numpy", "pynq", "pynqmetadata", "pynqutils")


class Skipped(Exception):
    """A step that cannot be made; the text says why."""


@dataclass
class Step:
    """One step of the test: ``outcome`` is passed, failed or skipped, ``reason`` why it did not pass, ``found`` what it saw."""

    name: str
    outcome: str = "passed"
    reason: str = ""
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)


class BoardTest:
    """Tests a board with a bitstream.

    Parameters
    ----------
    bitfile
        The ``.bit`` with its ``.hwh`` beside it; None tests what can be tested without.
    board
        The board that this is said to be.
    golden
        A golden machine, to compare with.
    options
        For :func:`spikeloom.host.board.open_pynq`: ``address``, ``wall``, ``sleep``, ``clock_s`` and so on.
    """

    def __init__(self, bitfile: Path | None, golden: Machine, board: Board | None = None, **options: Any) -> None:
        self._bitfile, self._board, self._golden, self._options = bitfile, board, golden, options
        self._machine: Driver | None = None

    def run(self, begun: Callable[[str], None] = lambda name: None) -> dict[str, Any]:
        """All steps; one that fails stops none of those after it that can still be made. ``begun`` is told each step's name.

        Plain data: ``spikeloom``, ``time``, ``bitfile``, ``board``, ``steps`` as :class:`Step`, and ``passed``: a network has run on
        the board as on the golden model, and nothing failed.
        """
        steps = []
        try:
            for name, step in (("system", self._system), ("board", self._is_board), ("devices", self._devices),
                               ("overlay", self._overlay), ("clock", self._clock), ("memories", self._memories), ("echo", self._echo),
                               ("network", self._network), ("stream", self._stream), ("telemetry", self._telemetry)):
                begun(name)
                steps.append(_made(name, step))
        finally:
            if self._machine is not None:
                self._machine.close()
        outcomes = {step.name: step.outcome for step in steps}
        return {"spikeloom": spikeloom.__version__, "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "bitfile": None if self._bitfile is None else self._bitfile.name,
                "board": None if self._board is None else self._board.name,
                "passed": "failed" not in outcomes.values() and outcomes["network"] == "passed",
                "steps": [asdict(step) for step in steps]}

    def _system(self) -> dict[str, Any]:
        return {"python": sys.version, "system": platform.platform(), "machine": platform.machine(),
                "os": _lines(Path("/etc/os-release"), "PRETTY_NAME"), "model": _text(Path("/proc/device-tree/model")),
                "cma": _lines(Path("/proc/meminfo"), "Cma"),
                "environment": {name: os.environ[name] for name in ("BOARD", "XILINX_XRT", "PYNQ_REMOTE_DEVICES") if name in os.environ},
                "packages": {name: _version(name) for name in PACKAGES}}

    def _is_board(self) -> dict[str, Any]:
        if self._board is None:
            raise Skipped("no board was named: give --board")
        found: dict[str, Any] = {"title": self._board.title, "part": self._board.part, "pynq": self._board.pynq,
                                 "sensors": asdict(self._board.sensors)}
        if self._bitfile is not None and self._bitfile.with_suffix(".hwh").is_file():
            about = Xml.parse(self._bitfile.with_suffix(".hwh")).getroot().find("SYSTEMINFO")
            found["device"] = None if about is None else about.get("DEVICE")
            if found["device"] and f"xc{found['device']}" not in self._board.part:
                raise MachineError(f"The bitstream is for a {found['device']}, but {self._board.title} has a {self._board.part}")
        return found

    def _devices(self) -> dict[str, Any]:
        return {"devices": devices()}

    def _overlay(self) -> dict[str, Any]:
        if self._bitfile is None:
            raise Skipped("no bitstream was given: give --bitfile")
        opened = {name: value for name, value in self._options.items() if name not in ("wall", "sleep", "clock_s")}
        self._machine = open_pynq(self._bitfile, check_clock=False, verify=True, **opened)
        params = self._machine.params
        return {"vlnv": VLNV, "digest": params.digest(), "array": params.describe()}

    def _clock(self) -> dict[str, Any]:
        machine, bitfile = self._opened()
        if is_virtual(chosen_device(self._options.get("address"))):
            raise Skipped("the clock of a virtual board has nothing to do with the time on a wall")
        timing = {"seconds" if name == "clock_s" else name: value for name, value in self._options.items()
                  if name in ("wall", "sleep", "clock_s")}
        found, wanted = check_clock_of(machine, bitfile.with_suffix(".hwh"), **timing)
        return {"measured_mhz": found / 1e6, "built_for_mhz": wanted / 1e6}

    def _memories(self) -> dict[str, Any]:
        machine, _ = self._opened()
        return {"entries": machine.check_memories()}

    def _echo(self) -> dict[str, Any]:
        machine, _ = self._opened()
        start = time.perf_counter()
        machine.echo(ECHOES)
        seconds = time.perf_counter() - start
        return {"bytes_each_way": ECHOES * 8, "megabytes_per_second_each_way": ECHOES * 8 / seconds / 1e6}

    def _network(self) -> dict[str, Any]:
        machine, _ = self._opened()
        image, spikes = small_network(machine.params)
        start = time.perf_counter()
        machine.load(image)
        found = machine.run(spikes, potentials="steps", record=["out"])
        seconds = time.perf_counter() - start
        self._golden.load(image)
        fired = _compare(found, self._golden.run(spikes, potentials="steps", record=["out"]))
        return {"spikes": fired, "potentials": int(found.states["out"].size), "seconds": seconds,
                "cycles_per_sample": float(np.mean(found.cycles)) if found.cycles is not None else None}

    def _stream(self) -> dict[str, Any]:
        machine, _ = self._opened()
        image, spikes = small_network(machine.params)
        machine.load(image)
        self._golden.load(image)
        parts, waits = [], []
        with machine.stream(potentials="none") as stream:
            for step in range(spikes.shape[1]):
                start = time.perf_counter()
                stream.submit(spikes[0, step:step + 1])
                parts.append(stream.receive())
                waits.append(time.perf_counter() - start)
            parts.append(stream.finish())
        whole = self._golden.run(spikes[0], potentials="none")
        joined = {name: np.concatenate([part.spikes[name] for part in parts]) for name in whole.spikes}
        fired = _compare(Result(image, joined, {}), whole)
        return {"spikes": fired, "milliseconds_per_step_median": float(np.median(waits)) * 1e3,
                "milliseconds_per_step_most": max(waits) * 1e3,
                "cycles_per_step_most": max(int(part.cycles) for part in parts if part.cycles is not None)}

    def _telemetry(self) -> dict[str, Any]:
        return telemetry().plain() if self._machine is None else self._machine.telemetry()

    def _opened(self) -> tuple[Driver, Path]:
        if self._machine is None or self._bitfile is None:
            raise Skipped("the overlay was not opened")
        return self._machine, self._bitfile


def _made(name: str, step: Callable[[], dict[str, Any]]) -> Step:
    start = time.perf_counter()
    made = Step(name)
    try:
        made.found = step()
    except Skipped as reason:
        made.outcome, made.reason = "skipped", str(reason)
    except SpikeloomError as error:
        made.outcome, made.reason = "failed", str(error)
    except Exception as error:  # what nobody foresaw is what we want to hear of, and the other steps too
        made.outcome, made.reason = "failed", f"{type(error).__name__}: {error}"
    made.seconds = time.perf_counter() - start
    return made


def _compare(found: Result, golden: Result) -> int:
    """The number of spikes; MachineError when two results differ."""
    for kind, ours, theirs in (("spikes", found.spikes, golden.spikes), ("potentials", found.states, golden.states)):
        for name in theirs:
            differ = int(np.count_nonzero(ours[name] != theirs[name]))
            if differ:
                raise MachineError(f"{differ} of {theirs[name].size} {kind} of {name!r} differ from the golden model")
    return sum(int(spikes.sum()) for spikes in golden.spikes.values())


def small_network(params: ArrayParams) -> tuple[Image, Any]:
    """A random network that any array holds, compiled for this one, and its input: bool (samples, steps, inputs)."""
    rng = np.random.default_rng(1)
    network = from_arrays(inputs={"in": 8}, populations={"out": {"size": 4, "threshold": 9, "membrane_gain": 0.5}},
                          projections=[{"source": "in", "target": "out", "weights": rng.integers(-7, 8, (4, 8))}])
    return compile(network, params=params), rng.random((2, 20, 8)) < 0.5


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _text(path: Path) -> str | None:
    return path.read_text(errors="replace").strip("\0\n ") if path.is_file() else None


def _lines(path: Path, start: str) -> list[str]:
    return [line.strip() for line in (_text(path) or "").splitlines() if line.startswith(start)]
