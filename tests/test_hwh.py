"""The real pynq package reads from the ``.hwh`` what the description says, with both of its parsers.

Runs where pynq is installed: in the environments of the version matrix.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from spikeloom.host.boards import board, boards, named_array
from spikeloom.host.build.hwh import hwh_text
from spikeloom.ip import DMA_LENGTH_BITS, FIELDS, INTERRUPTS, array_params
from spikeloom.registers import REGISTERS

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix runs this")


def parsers(path: Path, family: str) -> list[Any]:
    """What pynq's old parser and its new one make of a file."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pynq warns that this is no board
        from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
        from pynq.pl_server import hwh_parser
        from pynqmetadata.frontends import Metadata
        old = {"zynq7": hwh_parser._HWHZynq, "zynqmp": hwh_parser._HWHUltrascale}[family]
        return [old(str(path)), RuntimeMetadataParser(Metadata(input=str(path)))]


@pytest.mark.parametrize("name", list(boards()))
def test_pynq_reads_what_the_description_says(tmp_path: Path, name: str) -> None:
    of = board(name)
    path = tmp_path / "spikeloom.hwh"
    path.write_text(hwh_text(of, named_array(name)))
    access = {"ro": "read-only", "rw": "read-write"}
    for parsed in parsers(path, of.family):
        assert parsed.ps_name == "ps"
        for block in of.system.blocks:
            entry = parsed.ip_dict[block.name]
            assert (entry["phys_addr"], entry["addr_range"], entry["type"]) == (block.address, block.range, block.vlnv)
        array = parsed.ip_dict["array"]
        assert array_params(array["parameters"]["ARRAY"]) == named_array(name)
        assert array["parameters"]["DIGEST"] == f"0x{named_array(name).digest()[:8]}"
        assert {key: (entry["address_offset"], entry["access"]) for key, entry in array["registers"].items()} == {
            register.name: (register.address, access[register.access]) for register in REGISTERS}
        for register, fields in FIELDS.items():
            shown = array["registers"][register]["fields"]
            assert {key: (bits["bit_offset"], bits["bit_width"]) for key, bits in shown.items()} == {
                field.name: (field.offset, field.width) for field in fields}
        assert parsed.ip_dict["dma"]["parameters"]["c_sg_length_width"] == str(DMA_LENGTH_BITS)
        assert list(parsed.interrupt_controllers) == ["intc"]
        for index, pin in enumerate(INTERRUPTS):
            wire = parsed.interrupt_pins[f"dma/{pin}"]
            assert (wire["controller"], wire["index"]) == ("intc", index)
        assert [parsed.clock_dict[clock]["enable"] for clock in range(4)] == [1, 0, 0, 0]
        clock = parsed.clock_dict[0]
        assert of.io_pll_mhz / (clock["divisor0"] * clock["divisor1"]) == pytest.approx(of.clock_mhz)
