"""Runs Vivado in a build's folder, and believes nothing but what it left there."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from spikeloom.errors import SpikeloomError
from spikeloom.host.build.folder import OUTPUTS, sha256, write_manifest
from spikeloom.ip import PS, VLNV

#: How the build is run, here or on another computer.
COMMAND = ("vivado", "-mode", "batch", "-log", "vivado.log", "-journal", "vivado.jou", "-source", "build.tcl")
#: Vivado's own error lines that are quoted, and lines of its output when there are none.
QUOTED, TAIL = 8, 10
#: Seconds that Vivado may take to end after it was told to.
_GRACE = 10.0
_SLACK = re.compile(r"SPIKELOOM slack: setup (\S+) ns, hold (\S+) ns")
_STEPS = re.compile(r"^(SPIKELOOM (step|note|slack|done): |Phase \d+ |Starting \w|\[.*\] Waiting for)")


class BuildError(SpikeloomError):
    """A bitstream that was not built; the message quotes Vivado."""


def find_vivado() -> str | None:
    """Vivado's executable on the PATH, None where there is none."""
    return shutil.which(COMMAND[0])


def run_vivado(folder: Path, manifest: dict[str, Any], *, deadline_s: float, tell: Callable[[str], None]) -> dict[str, Any]:
    """Build the folder, pass Vivado's progress to ``tell`` line by line, check what it left and add it to the manifest.

    BuildError if Vivado is absent, ends with another code than 0, misses timing, leaves a file out, describes another system
    in its ``.hwh``, or has not ended after ``deadline_s`` seconds (it and what it started are then ended).
    """
    executable = find_vivado()
    if executable is None:
        raise BuildError("Vivado is not on the PATH")
    lines = _run([executable, *COMMAND[1:]], folder, deadline_s, tell)
    found = [match for line in lines if (match := _SLACK.search(line))]
    if not found:
        raise BuildError(f"Vivado ended without an error but reported no slack.{_quote(lines)}")
    setup, hold = (_number(text) for text in found[-1].groups())
    if not (setup >= 0 and hold >= 0):  # a slack that is no number is none
        raise BuildError(f"Timing is not met: setup slack {setup:g} ns, hold slack {hold:g} ns. Choose a slower clock (--clock-mhz) "
                         f"or a smaller array; out/timing.rpt names the paths")
    missing = [name for name in OUTPUTS if not (folder / "out" / name).is_file() or not (folder / "out" / name).stat().st_size]
    if missing:
        raise BuildError(f"Vivado ended without an error but left no out/{', out/'.join(missing)}.{_quote(lines)}")
    _check_hwh((folder / "out" / "spikeloom.hwh").read_text(), (folder / "expected.hwh").read_text())
    manifest = manifest | {
        "outputs": {f"out/{name}": sha256(folder / "out" / name) for name in OUTPUTS},
        "slack_ns": {"setup": setup, "hold": hold}, "tools": manifest["tools"] | {"vivado": _version(lines)}}
    write_manifest(folder, manifest)
    return manifest


def _run(command: list[str], folder: Path, deadline_s: float, tell: Callable[[str], None]) -> list[str]:
    """Run a program to its end and return the lines that it wrote; BuildError unless it ends well and in time."""
    process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True)
    arrived: queue.Queue[str | None] = queue.Queue()
    reader = threading.Thread(target=_read, args=(process, arrived), daemon=True)
    reader.start()
    lines: list[str] = []
    end = time.monotonic() + deadline_s
    try:
        while (line := arrived.get(timeout=max(0.0, end - time.monotonic()))) is not None:
            lines.append(line)
            if _STEPS.match(line) or line.startswith("ERROR"):
                tell(line.removeprefix("SPIKELOOM "))
        code = process.wait(timeout=max(0.1, end - time.monotonic()))
    except (queue.Empty, subprocess.TimeoutExpired):
        raise BuildError(f"Vivado had not ended after {deadline_s:g} s and was stopped (--deadline). It last said:"
                         f"{_quote(lines)}") from None
    finally:
        if sys.exc_info()[0] is not None:
            _end(process)
        reader.join(timeout=_GRACE)
        if process.stdout is not None:
            process.stdout.close()
    if code:
        raise BuildError(f"Vivado ended with code {code}.{_quote(lines)}")
    return lines


def _read(process: subprocess.Popen[str], arrived: queue.Queue[str | None]) -> None:
    if process.stdout is not None:
        for line in process.stdout:
            arrived.put(line.rstrip())
    arrived.put(None)


def _end(process: subprocess.Popen[str]) -> None:
    """End the process and whatever it started, which are a group of their own: asked first, then forced."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(timeout=_GRACE)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _quote(lines: list[str]) -> str:
    """Vivado's error lines, else its last lines."""
    errors = [line for line in lines if line.startswith("ERROR")]
    shown = errors[-QUOTED:] or lines[-TAIL:] or ["(nothing)"]
    return "\n" + "\n".join(f"    {line}" for line in shown)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("nan")


def _version(lines: list[str]) -> str | None:
    """Vivado's version, from its banner."""
    return next((match[1] for line in lines if (match := re.search(r"Vivado v(\d{4}\.\d\S*)", line))), None)


def _facts(text: str) -> dict[str, str]:
    """What the driver relies on in a ``.hwh``: the IP's VLNV and settings, and the addresses of the processing system's slaves."""
    root = ElementTree.fromstring(text)
    facts: dict[str, str] = {}
    for module in root.iter("MODULE"):
        if module.get("VLNV") == VLNV:
            facts |= {f"{VLNV} {one.get('NAME')}": str(one.get("VALUE")) for one in module.iter("PARAMETER")
                      if one.get("NAME") in ("DIGEST", "ARRAY")}
        if module.get("INSTANCE") == PS:
            facts |= {f"address of {one.get('INSTANCE')}": hex(int(str(one.get("BASEVALUE")), 16)) for one in module.iter("MEMRANGE")}
    return facts


def _check_hwh(written: str, expected: str) -> None:
    """BuildError if Vivado's ``.hwh`` has other facts than the expected one."""
    try:
        found = _facts(written)
    except (ElementTree.ParseError, ValueError) as error:
        raise BuildError(f"out/spikeloom.hwh cannot be read: {error}") from None
    wrong = [f"{name} is {found.get(name, 'absent')}, not {value}" for name, value in _facts(expected).items() if found.get(name) != value]
    if wrong:
        raise BuildError(f"out/spikeloom.hwh describes another system than was to be built: {'; '.join(wrong)}")
