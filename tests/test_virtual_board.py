"""The processor's side of a virtual board: files, buffers and register windows, before any of it goes over a network."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.host.boards import board
from spikeloom.host.build.standin import MARK, read_standin, write_standin
from spikeloom.host.commands.group import run as command
from spikeloom.params import PRESETS
from spikeloom.sim.virtual_board import FIRMWARE, MANAGER, MOST_BYTES, Refused, VirtualBoard

TINY = PRESETS["tiny"]


@pytest.fixture
def virtual() -> Iterator[VirtualBoard]:
    made = VirtualBoard(board("pynq_z2"), memory_bytes=1 << 16)
    yield made
    made.close()


def binary(path: Path) -> bytes:
    """A ``.bit`` as pynq converts it: without the header, the bytes of each word swapped."""
    data = path.read_bytes()
    return np.frombuffer(data[data.index(MARK):], np.uint32).byteswap().tobytes()


def test_a_stand_in_tells_its_array_as_bit_and_as_bin(tmp_path: Path) -> None:
    path = write_standin(tmp_path, board("pynq_z2"), TINY)
    assert read_standin(path.read_bytes()) == TINY
    assert read_standin(binary(path)) == TINY
    assert b"no board takes it" in path.read_bytes()
    assert read_standin(write_standin(tmp_path, board("kv260"), TINY, foreign=True).read_bytes()) is None
    small = PRESETS["small"]
    assert read_standin(write_standin(tmp_path, board("kv260"), TINY, bitstream=small).read_bytes()) == small


@pytest.mark.parametrize(("data", "message"), [
    (b"\x00\x09\x0f\xf0" + bytes(4000), "no stand-in for a bitstream: a virtual board cannot tell what a real one holds"),
    (MARK + b"{", "damaged, or of another release"), (MARK + b'{"array": "lanes=none"}', "damaged, or of another release"),
    (b"", "no stand-in")])
def test_other_bitstreams_are_refused(data: bytes, message: str) -> None:
    with pytest.raises(sl.SpikeloomError, match=message):
        read_standin(data)


def test_a_clock_that_the_board_cannot_give_is_refused(tmp_path: Path) -> None:
    with pytest.raises(sl.SpikeloomError, match=r"PYNQ-Z2: The clock must be the I/O PLL's 1000 MHz divided by an integer, not 350 MHz"):
        write_standin(tmp_path, board("pynq_z2"), TINY, clock_mhz=350)


def test_files_are_kept_and_say_what_the_board_is(virtual: VirtualBoard) -> None:
    assert b"armv7l" in virtual.read_file("/proc/version")
    assert virtual.read_file("/proc/device-tree/chosen/pynq_board") == b"TUL PYNQ-Z2\0"
    virtual.write_file("/tmp/note", b"abc")
    assert virtual.exists("/tmp/note")
    assert virtual.read_file("/tmp/note") == b"abc"
    for ask, message in ((lambda: virtual.read_file("/etc/passwd"), "has no file /etc/passwd"),
                         (lambda: virtual.write_file("note", b""), "must begin with /, not 'note'"),
                         (lambda: virtual.room("/tmp/large", MOST_BYTES + 1), "keeps 134217728 bytes of files at the most")):
        with pytest.raises(Refused, match=message):
            ask()


def test_flush_and_invalidate_move_bytes_between_processor_and_memory(virtual: VirtualBoard) -> None:
    name = virtual.allocate(100, True)
    buffer = virtual.buffer(name)
    memory = virtual.model.bytes(buffer.address, 100)
    buffer.cached[:] = 7
    assert not memory.any(), "not flushed yet"
    virtual.flush(name)
    assert (memory == 7).all()
    memory[:] = 9
    assert (buffer.cached == 7).all(), "not invalidated yet"
    virtual.invalidate(name)
    assert (buffer.cached == 9).all()
    virtual.free(name)
    with pytest.raises(Refused, match=f"has no buffer '{name}'"):
        virtual.buffer(name)


def test_memory_ends_and_comes_back_with_the_next_bitstream(virtual: VirtualBoard, tmp_path: Path) -> None:
    left = [virtual.allocate(4096, True) for _ in range(16)]
    with pytest.raises(Refused, match=r"No 1 bytes of contiguous memory are left: 16 buffers are in use, of 65536 bytes altogether"):
        virtual.allocate(1, True)
    with pytest.raises(Refused, match="at least one byte, not -5"):
        virtual.allocate(-5, True)
    virtual.write_file(FIRMWARE + "empty.bin", binary(write_standin(tmp_path, board("pynq_z2"), TINY, foreign=True)))
    virtual.write_file(MANAGER + "firmware", b"empty.bin")
    with pytest.raises(Refused, match="has no buffer"):
        virtual.buffer(left[0])
    virtual.allocate(1 << 16, True)
    assert virtual.read_file(MANAGER + "state") == b"operating\n"


def test_only_stand_ins_are_loaded_and_a_name_is_forgotten_when_it_is_announced(virtual: VirtualBoard) -> None:
    virtual.write_file(FIRMWARE + "real.bin", bytes(400))
    with pytest.raises(Refused, match=r"real.bin: This is no stand-in"):
        virtual.write_file(MANAGER + "firmware", b"real.bin")
    virtual.expect_bitstream("real.bin", partial=False)
    assert not virtual.exists(FIRMWARE + "real.bin")
    with pytest.raises(Refused, match=f"has no file {FIRMWARE}real.bin"):
        virtual.write_file(MANAGER + "firmware", b"real.bin")
    with pytest.raises(Refused, match="no partial reconfiguration"):
        virtual.expect_bitstream("real.bin", partial=True)


def test_registers_are_reached_through_windows_that_need_no_memory_of_them(virtual: VirtualBoard) -> None:
    clock = virtual.window(0xF800_0170, 16)
    assert virtual.read(clock, 0, 4) == 1 << 20 | 20 << 8
    virtual.write(clock, 0, (0x0010_1234).to_bytes(4, "little") + bytes(4))
    assert virtual.read(clock, 0, 0) == 0x0010_1234
    assert virtual.read(clock, 0, 1) == 0x34
    again = VirtualBoard(virtual.board)  # as after a restart
    assert again.read(clock, 0, 4) == 1 << 20 | 20 << 8
    again.close()


@pytest.mark.parametrize(("window", "offset", "length", "message"), [
    ("nonsense", 0, 4, "gave no range of registers the name 'nonsense'"), ("", 0, 4, "gave no range of registers the name ''"),
    ("f8000170+10", 2, 4, "at offset 0x2 are not words within the 16 bytes"), ("f8000170+10", 16, 4, "are not words within the 16 bytes"),
    ("f8000170+10", 0, 8, "takes 1, 2 or 4 bytes, not 8"), ("40001000+10", 0, 4, "Bus error: nothing answers at 0x")])
def test_wrong_accesses_are_refused(virtual: VirtualBoard, window: str, offset: int, length: int, message: str) -> None:
    with pytest.raises(Refused, match=message):
        virtual.read(window, offset, length)
    assert not virtual.lock.locked()


@pytest.mark.parametrize(("base", "length"), [(2, 16), (0, 0), (0, 1 << 33), (1 << 63, 16)])
def test_windows_that_are_no_range_are_refused(virtual: VirtualBoard, base: int, length: int) -> None:
    with pytest.raises(Refused, match="No range of registers"):
        virtual.window(base, length)


@pytest.mark.parametrize("size", [64, 4])
def test_a_transfer_to_no_array_stays_outstanding(virtual: VirtualBoard, tmp_path: Path, size: int) -> None:
    virtual.write_file(FIRMWARE + "empty.bin", binary(write_standin(tmp_path, board("pynq_z2"), TINY, foreign=True)))
    virtual.write_file(MANAGER + "firmware", b"empty.bin")
    buffer = virtual.buffer(virtual.allocate(64, True))
    (block,) = (block for block in virtual.board.system.blocks if block.name == "dma")
    dma = virtual.window(block.address, 4096)
    for channel in (0x30, 0x00):
        for register, value in ((0x00, 1), (0x18, buffer.address), (0x28, size)):
            virtual.write(dma, channel + register, value.to_bytes(4, "little"))
    assert [virtual.read(dma, channel + 0x04, 4) & 0x73 for channel in (0x00, 0x30)] == [0, 0], "running, not idle, no error"


def test_a_write_takes_whole_words(virtual: VirtualBoard) -> None:
    for data in (b"", b"abc"):
        with pytest.raises(Refused, match=f"takes whole 32-bit words, not {len(data)} bytes"):
            virtual.write(virtual.window(0xF800_0170, 16), 0, data)


def test_build_writes_an_overlay_for_the_virtual_board(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["build", "--board", "kv260", "--array", "tiny", "--virtual", "--out", str(tmp_path / "v")]
    assert command(arguments) == 0
    said = capsys.readouterr().out
    assert f"{tmp_path / 'v' / 'spikeloom.bit'} stands in for a bitstream" in said
    assert "it is none, only a virtual AMD Kria KV260 takes it" in said
    assert "spikeloom serve --board kv260" in said
    assert sorted(path.name for path in (tmp_path / "v").iterdir()) == ["spikeloom.bit", "spikeloom.hwh"]
    assert read_standin((tmp_path / "v" / "spikeloom.bit").read_bytes()) == TINY
    assert command([*arguments, "--json"]) == 0  # again, over the old one
    assert json.loads(capsys.readouterr().out) == {"folder": str(tmp_path / "v"), "built": False, "digest": TINY.digest(),
                                                   "bitfile": str(tmp_path / "v" / "spikeloom.bit")}
    (tmp_path / "v" / "manifest.json").write_text("{}")
    assert command(arguments) == 1
    assert "is a folder for Vivado: give another --out" in capsys.readouterr().err


def test_serve_says_what_it_lacks(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "grpc", None)
    monkeypatch.delitem(sys.modules, "spikeloom.sim.virtual", raising=False)
    assert command(["serve"]) == 1
    assert "The virtual board needs grpc, which is not installed here: pip install 'spikeloom[pynq,rtl]'" in capsys.readouterr().err
    assert command(["serve", "--board", "zedboard"]) == 1
    assert "There is no board 'zedboard'" in capsys.readouterr().err
