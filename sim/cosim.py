"""The array's Verilog under Icarus, driven by cocotb, as a transport: slow, but an independent simulator with X.

The simulation runs in a process of its own for as long as the transport is open; the test inside it
(``cosim_server.py``) connects back over a socket in a private directory and serves one request after the other.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import spikeloom
from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.params import ArrayParams
from spikeloom.sim.build import TAIL, icarus_program, verilog_text
from spikeloom.sim.compiled import pause_pair

#: Cycles that one exchange may take in all: a few minutes under Icarus.
LIMIT = 2_000_000
#: Seconds for the simulator to start, and to end when asked.
START, END = 120.0, 20.0
#: Seconds between two looks at whether the simulator still lives.
POLL = 0.2


class CocotbTransport:
    """A simulated array in a process of its own.

    Parameters
    ----------
    params
        The array.
    pauses
        Probability of a pause per cycle on every port, one number or (towards the array, from the array).
    seed
        Seed of the pauses and of the random start.
    simulator
        ``icarus`` is the only one.
    limit
        Cycles that one exchange may take in all.
    random_start
        Start memories with random contents, as after another image, instead of zeros.
    verilog, cache
        Verilog with the array's ports in place of the array's own; where to keep the compiled program
        (default: `build.cache_directory`).
    module
        The cocotb test module that serves.
    """

    def __init__(self, params: ArrayParams, *, pauses: float | tuple[float, float] = 0.0, seed: int = 0,
                 simulator: str = "icarus", limit: int = LIMIT, random_start: bool = False,
                 verilog: str | None = None, cache: Path | None = None,
                 module: str = "spikeloom.sim.cosim_server") -> None:
        if simulator != "icarus":
            raise ValueError(f"simulator must be 'icarus', not {simulator!r}")
        self.params = params
        self._connection: Connection | None = None
        self._process: subprocess.Popen[bytes] | None = None
        pair = pause_pair(pauses)
        program = icarus_program(verilog_text(params, cache) if verilog is None else verilog, cache)
        self._directory = tempfile.TemporaryDirectory(prefix="spikeloom-")  # mode 0700: nobody else can connect
        settings = {"socket": self._path("socket"), "pauses": pair, "seed": seed, "limit": limit}
        try:
            self._start(program, module, settings, [f"+random_start={seed % 0x7FFFFFFF}"] if random_start else [])
        except BaseException:
            self.close()
            raise

    def exchange(self, packet: Words) -> Words:
        """Simulate until the answer is complete; see :class:`spikeloom.host.transport.Transport`."""
        if not len(packet):
            raise ValueError("A packet has at least one word")
        return np.frombuffer(self._ask("exchange", np.ascontiguousarray(packet, "<u8").tobytes()), "<u8").astype(np.uint64)

    def read_register(self, address: int) -> int:
        """One AXI4-Lite read."""
        return int(self._ask("read", address))

    def write_register(self, address: int, value: int) -> None:
        """One AXI4-Lite write."""
        self._ask("write", address, value)

    @property
    def clock(self) -> int:
        """Cycles simulated so far."""
        return int(self._ask("clock"))

    def close(self) -> None:
        """End the simulator; MachineError when its test did not pass."""
        connection, self._connection = self._connection, None
        process, self._process = self._process, None
        failure = None
        if connection is not None and process is not None:
            try:
                connection.send(("close",))
                code = process.wait(END)
                failure = self._verdict(code)
            except (OSError, subprocess.TimeoutExpired) as error:
                failure = f"the simulator did not end: {error}"
            connection.close()
        if process is not None and process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its own group: the runner and the simulator
            process.wait()
        log = self._log() if failure else ""
        self._directory.cleanup()
        if failure:
            raise MachineError(f"The cocotb run failed: {failure}\n{log}")

    def _start(self, program: Path, module: str, settings: dict[str, Any], arguments: list[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        environment["PYTHONPATH"] = os.pathsep.join([str(Path(spikeloom.__file__).parents[1]), *filter(None, sys.path)])
        environment["SPIKELOOM_COSIM"] = json.dumps(settings)
        command = [sys.executable, "-m", "spikeloom.sim.cosim_run", str(program), self._path("run"), module, *arguments]
        with socket.socket(socket.AF_UNIX) as listener, open(self._path("log"), "wb") as log:
            listener.bind(self._path("socket"))
            listener.listen(1)
            listener.settimeout(POLL)
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log,
                                             stderr=subprocess.STDOUT, start_new_session=True)
            for _ in range(round(START / POLL)):
                try:
                    stream, _address = listener.accept()
                except TimeoutError:
                    if self._process.poll() is not None:
                        raise self._dead("before it connected") from None
                    continue
                stream.setblocking(True)
                self._connection = Connection(stream.detach())
                return
        raise MachineError(f"The simulator did not connect within {START:.0f} s\n{self._log()}")

    def _ask(self, *request: Any) -> Any:
        connection, process = self._connection, self._process
        if connection is None or process is None:
            raise MachineError("The simulation is closed")
        try:
            connection.send(request)
            while not connection.poll(POLL):
                if process.poll() is not None and not connection.poll(0):
                    raise self._dead(f"during {request[0]}")
            outcome, value = connection.recv()
        except (EOFError, OSError):
            raise self._dead(f"during {request[0]}") from None
        if outcome != "done":
            raise MachineError(value)
        return value

    def _dead(self, when: str) -> MachineError:
        """The error for a simulator that has gone away."""
        process = self._process
        code = None
        if process is not None:
            try:
                code = process.wait(END)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        log, verdict = self._log(), self._verdict(code)
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        return MachineError(f"The simulator ended {when}: {verdict or 'its test passed'}\n{log}")

    def _verdict(self, code: int | None) -> str | None:
        """What is wrong with a run that ended: cocotb passes when it ran no test, so they are counted."""
        results = Path(self._path("run"), "results.xml")
        if not results.exists():
            return f"it left no results, exit code {code}"
        from cocotb_tools.check_results import get_results
        tests, failed = get_results(results)
        if tests == 0:
            return "it matched no test"
        if failed:
            return f"{failed} of {tests} tests failed"
        return f"exit code {code}" if code else None

    def _path(self, name: str) -> str:
        return str(Path(self._directory.name, name))

    def _log(self) -> str:
        path = Path(self._path("log"))
        return "\n".join(path.read_text(errors="replace").splitlines()[-TAIL:]) if path.exists() else ""


def open_cocotb(params: ArrayParams, *, pauses: float | tuple[float, float] = 0.0, seed: int = 0, simulator: str = "icarus",
                limit: int = LIMIT, random_start: bool = False, verify: bool = False, cache: Path | None = None) -> Driver:
    """A machine: the driver over cocotb. Parameters as `CocotbTransport` and `Driver`."""
    transport = CocotbTransport(params, pauses=pauses, seed=seed, simulator=simulator, limit=limit,
                                random_start=random_start, cache=cache)
    try:
        return Driver(transport, verify=verify)
    except BaseException:
        transport.close()
        raise
