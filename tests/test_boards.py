"""The boards' descriptions are sound, their arrays keep the closing rule, and a wrong description is refused with its reason."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import Board, board, board_of, boards, named_array, read_board, synthesis
from spikeloom.host.compiler.compile import array_of
from spikeloom.packets import Fault
from spikeloom.params import PRESETS, preset
from spikeloom.registers import REGISTERS, shape_word
from tests.scripts import load_script

ROOT = Path(__file__).parent.parent
EIGHT = {"pynq_z2", "pynq_z1", "kv260", "kr260", "zcu104", "ultra96_v2", "rfsoc4x2", "zybo_z7_20"}


@pytest.fixture(scope="module")
def script() -> ModuleType:
    """benchmarks/synthesis.py, as a module."""
    return load_script("benchmarks/synthesis.py")


def description(name: str = "kv260", **changes: Any) -> dict[str, Any]:
    plain = json.loads((ROOT / "boards" / name / "board.json").read_text())
    assert isinstance(plain, dict)
    return {key: value for key, value in (plain | changes).items() if value is not None}


def test_the_eight_boards_are_there() -> None:
    assert set(boards()) == EIGHT
    assert {name for name, found in boards().items() if found.family == "zynq7"} == {"pynq_z2", "pynq_z1", "zybo_z7_20"}
    assert {name for name, found in boards().items() if found.ultra_banks} == {name for name, found in boards().items()
                                                                                if found.resources["urams"]}


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_every_array_of_a_board_has_a_name_and_a_board(name: str) -> None:
    found = board(name)
    for array in found.arrays:
        assert named_array(array).cores >= 1
        assert array in board_of(array).arrays
    assert named_array(name) == named_array(found.arrays[0]) == array_of(name, None)
    first, second = found.divisors(found.clock_mhz)
    assert found.io_pll_mhz / (first * second) == pytest.approx(found.clock_mhz)


def test_presets_keep_their_names() -> None:
    assert named_array("pynq_z2") is preset("pynq_z2")
    assert board_of("pynq_z2_folded").name == "pynq_z2"
    with pytest.raises(SpikeloomError, match="There is no board 'pink', nor an array of that name; there are tiny, small"):
        named_array("pink")
    with pytest.raises(SpikeloomError, match=r"There is no board 'pink'; there are .*pynq_z2.*docs/boards\.md"):
        board("pink")


@pytest.mark.parametrize("name", sorted(EIGHT))
def test_default_arrays_keep_the_closing_rule(name: str, script: ModuleType) -> None:
    found = board(name)
    counted = synthesis(found.arrays[0])
    assert counted, f"python benchmarks/synthesis.py {found.arrays[0]}"
    over = script.over_rule(found, counted)
    if found.arrays[0] == "pynq_z2":  # the throughput preset, which says so
        assert [one.partition(" ")[0] for one in over] == ["luts", "ramb36"]
        assert "exceeds" in (ROOT / "docs" / "synthesis.md").read_text()
    else:
        assert over == []


@pytest.mark.parametrize(("changes", "message"), [
    ({"part": None}, "missing 1 required keyword-only argument: 'part'"),
    ({"sensors": None}, "sensors is missing"),
    ({"colour": "red"}, "unexpected keyword argument 'colour'"),
    ({"family": "versal"}, "family must be one of zynq7, zynqmp, not 'versal'"),
    ({"resources": {"luts": 1}}, "resources must be counts of luts, ffs, ramb36, urams, dsps"),
    ({"memory_mb": 4}, "memory_mb must be 16 to 65536 MiB, not 4"),
    ({"crystal_mhz": 100}, "crystal_mhz must be 10 to 60, not 100"),
    ({"clock_mhz": 130}, "The clock must be the I/O PLL's 1000 MHz divided by an integer, not 130 MHz"),
    ({"clock_mhz": 0.2}, "needs a division by 5000, which is no product of two numbers up to 63"),
    ({"arrays": []}, "arrays must name at least one array"),
    ({"array": None}, "array must be given if and only if arrays names 'kv260'"),
    ({"array": {"lanes": 7}}, "lanes must be a multiple of neurons_per_cycle"),
    ({"sensors": {"temperature": "tea", "power": "none", "note": ""}}, "sensors.temperature must begin with iio, hwmon, pynq, none"),
    ({"resources": {"luts": 1, "ffs": 1, "ramb36": 1, "urams": 0, "dsps": 1}}, "ultra_banks is 2, but xck26-sfvc784-2LV-c has no UltraRAM"),
])
def test_a_wrong_description_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "kv260" / "board.json"
    path.parent.mkdir()
    path.write_text(json.dumps(description(**changes)))
    with pytest.raises(SpikeloomError) as caught:
        read_board(path)
    assert str(caught.value).startswith(f"{path} is not a board's description: ")
    assert message in str(caught.value)


def test_what_is_no_json_object_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "board.json"
    for text in ("[1]", "{", '"x"'):
        path.write_text(text)
        with pytest.raises(SpikeloomError, match="is not a board's description"):
            read_board(path)


def test_a_board_is_one_folder(tmp_path: Path) -> None:
    path = tmp_path / "mine" / "board.json"
    path.parent.mkdir()
    path.write_text(json.dumps(description("ultra96_v2", arrays=["mine"], title="Mine")))
    found = read_board(path)
    assert isinstance(found, Board)
    assert (found.name, found.title, found.array) == ("mine", "Mine", boards()["ultra96_v2"].array)


def test_bit_fields_are_those_of_the_gateware() -> None:
    from spikeloom.ip import FIELDS
    assert set(FIELDS) <= {register.name for register in REGISTERS}
    for fields in FIELDS.values():
        used = [bit for field in fields for bit in range(field.offset, field.offset + field.width)]
        assert len(used) == len(set(used))
        assert max(used) < 32
    for params in PRESETS.values():
        word = shape_word(params)
        shown = {field.name: word >> field.offset & (1 << field.width) - 1 for field in FIELDS["SHAPE"]}
        assert shown == {"COLUMNS": params.columns, "ROWS": params.rows, "LANES": params.lanes, "FOLDS": params.folds}
    assert {field.name: field.offset for field in FIELDS["FAULTS"]} == {fault.name: int(fault) for fault in Fault}
