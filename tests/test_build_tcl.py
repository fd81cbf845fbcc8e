"""The Vivado scripts, executed by tclsh against stubs, build the block design of the description and of the ``.hwh``."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from spikeloom.host.boards import Board, board, boards, named_array
from spikeloom.host.build.folder import write_folder
from spikeloom.ip import DMA_LENGTH_BITS, FIELDS, INTERFACES, INTERRUPTS, REGISTER_SPACE, VLNV, array_params, ip_settings
from spikeloom.params import ArrayParams
from spikeloom.registers import REGISTERS

STUB = Path(__file__).parent / "tcl" / "vivado.tcl"
NAMES = list(boards())

pytestmark = pytest.mark.skipif(shutil.which("tclsh") is None, reason="tclsh is not installed: apt-get install tcl")


def fake_verilog(params: ArrayParams) -> str:
    """What the folder needs of an array's Verilog: its synapse memories, by name."""
    banks = "".join(f'  (* ram_style = "block" *)\n  reg [35:0] bank_{bank} [{params.words - 1}:0];\n' for bank in range(params.banks))
    return "".join(f"module \\spikeloom.mesh.core_{i}.synapses (clk);\n{banks}endmodule\n" for i in range(params.cores))


def run(tmp_path: Path, of: Board, *, files: bool = False, fault: str = "", **options: Any) -> tuple[subprocess.CompletedProcess[str], Any]:
    """Write a board's folder, run its scripts, and return what happened and the block design (None if there is none).

    ``files``: whether this Vivado has files of the board. The array's own Verilog plays no part here.
    """
    folder = tmp_path / "build"
    params = named_array(of.arrays[0])
    write_folder(folder, of, params, fake_verilog(params), **options)
    marked = (folder / "rtl" / "spikeloom.v").read_text().count('ram_style = "ultra"')
    assert marked == of.ultra_banks * params.cores
    graph = tmp_path / "graph.json"
    environment = {**os.environ, "STUB_GRAPH": str(graph), "STUB_BOARDS": str(int(files)), "STUB_FAULT": fault}
    done = subprocess.run(["tclsh", str(STUB), "-source", "build.tcl"], cwd=folder, env=environment, capture_output=True, text=True,
                          timeout=60, check=False)
    return done, json.loads(graph.read_text()) if graph.exists() else None


def built(tmp_path: Path, of: Board, **options: Any) -> Any:
    """The block design of a build that ended well."""
    done, graph = run(tmp_path, of, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return graph


@pytest.mark.parametrize("files", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_the_block_design_is_that_of_the_description(tmp_path: Path, name: str, files: bool) -> None:
    of = board(name)
    system, params = of.system, named_array(of.arrays[0])
    graph = built(tmp_path, of, files=files)
    assert graph["projects"] == [["package", of.part], ["system", of.part]]
    assert (["board_part", of.board_part] in graph["log"]) == files
    cells = graph["cells"]
    assert cells["array"]["vlnv"] == VLNV
    assert cells["array"]["config"] == ip_settings(params)
    assert array_params(cells["array"]["config"]["ARRAY"]) == params

    clocked = dict.fromkeys(sink for driver, sink in graph["nets"] if driver == f"ps/{system.clock}")
    assert {f"ps/{system.control_clock}", f"ps/{system.memory_clock}", "array/aclk", "reset/slowest_sync_clk"} <= set(clocked)
    resets = {sink for driver, sink in graph["nets"] if driver == "reset/peripheral_aresetn"}
    assert resets == {"array/aresetn", "dma/axi_resetn", "intc/s_axi_aresetn", "control/aresetn", "memory/aresetn"}
    assert [f"ps/{system.reset}", "reset/ext_reset_in"] in graph["nets"]
    for i, pin in enumerate(INTERRUPTS):
        assert [f"dma/{pin}", f"interrupts/In{i}"] in graph["nets"]
    assert ["interrupts/dout", "intc/intr"] in graph["nets"]
    assert ["intc/irq", f"ps/{system.interrupt}"] in graph["nets"]
    assert ["dma/M_AXIS_MM2S", "array/s_axis"] in graph["buses"]
    assert ["array/m_axis", "dma/S_AXIS_S2MM"] in graph["buses"]

    addresses = {slave: (int(base, 16), int(size, 16)) for space, slave, _, base, size in graph["segments"] if space == "ps/Data"}
    assert addresses == {f"{block.name}/{block.interface}": (block.address, block.range) for block in system.blocks}
    low, high = system.window
    for base, size in addresses.values():
        assert low <= base <= base + size - 1 <= high
    for space in ("dma/Data_MM2S", "dma/Data_S2MM"):
        memory = [int(size, 16) for found, slave, _, _, size in graph["segments"] if (found, slave) == (space, f"ps/{system.memory}")]
        assert sum(memory) == of.memory_mb << 20
    assert {block for *_, block in graph["excluded"]} == (set() if of.family == "zynq7" else {"HP0_LPS_OCM", "HP0_QSPI"})

    dma = cells["dma"]["config"]
    assert (dma["c_sg_length_width"], dma["c_include_sg"]) == (str(DMA_LENGTH_BITS), "0")
    assert {dma["c_m_axis_mm2s_tdata_width"], dma["c_s_axis_s2mm_tdata_width"]} == {"64"}
    width = cells["ps"]["config"]["PCW_S_AXI_HP0_DATA_WIDTH" if of.family == "zynq7" else "PSU__SAXIGP2__DATA_WIDTH"]
    assert dma["c_m_axi_mm2s_data_width"] == dma["c_m_axi_s2mm_data_width"] == width == str(system.memory_bits)


@pytest.mark.parametrize("name", NAMES)
def test_the_hwh_for_simulation_is_that_of_the_block_design(tmp_path: Path, name: str) -> None:
    of = board(name)
    graph = built(tmp_path, of)
    root = ElementTree.parse(tmp_path / "build" / "expected.hwh").getroot()
    modules = {module.get("INSTANCE"): module for module in root.iter("MODULE")}
    assert {name: module.get("VLNV") for name, module in modules.items()} == {name: cell["vlnv"] for name, cell in graph["cells"].items()}
    outputs = [(cell, port) for cell, module in modules.items() for port in module.iter("PORT") if port.get("DIR") == "O"]
    wires = {(f"{cell}/{port.get('NAME')}", f"{to.get('INSTANCE')}/{to.get('PORT')}")
             for cell, port in outputs for to in port.iter("CONNECTION")}
    assert wires == {tuple(net) for net in graph["nets"]}
    buses: dict[str, dict[str, str]] = {}
    for cell, module in modules.items():
        for bus in module.iter("BUSINTERFACE"):
            side = "master" if bus.get("TYPE") in ("MASTER", "INITIATOR") else "slave"
            buses.setdefault(str(bus.get("BUSNAME")), {})[side] = f"{cell}/{bus.get('NAME')}"
    assert {(bus["master"], bus["slave"]) for bus in buses.values()} == {tuple(pair) for pair in graph["buses"]}
    spaces = {"M_AXI_MM2S": "Data_MM2S", "M_AXI_S2MM": "Data_S2MM"}
    ranges = {(f"{cell}/{spaces.get(str(one.get('MASTERBUSINTERFACE')), 'Data')}", f"{one.get('INSTANCE')}/{one.get('SLAVEBUSINTERFACE')}",
               one.get("ADDRESSBLOCK"), int(str(one.get("BASEVALUE")), 16), int(str(one.get("HIGHVALUE")), 16))
              for cell, module in modules.items() for one in module.iter("MEMRANGE")}
    assert ranges == {(space, slave, block, int(base, 16), int(base, 16) + int(size, 16) - 1)
                      for space, slave, block, base, size in graph["segments"]}
    for cell in ("array", "dma", "ps"):
        shown = {one.get("NAME"): one.get("VALUE") for one in modules[cell].iter("PARAMETER")}
        computed = [key for key in shown if key and "DIVISOR" in key]
        same = {key: value for key, value in graph["cells"][cell]["config"].items() if key in shown and key not in computed}
        assert same
        assert same == {key: shown[key] for key in same}
    key = "PCW_FCLK0_PERIPHERAL_DIVISOR{}" if of.family == "zynq7" else "PSU__CRL_APB__PL0_REF_CTRL__DIVISOR{}"
    made = graph["cells"]["ps"]["config"]
    product = int(shown[key.format(0)]) * int(shown[key.format(1)])
    assert product == int(made[key.format(0)]) * int(made[key.format(1)])
    assert of.io_pll_mhz / product == pytest.approx(of.clock_mhz)


def test_the_packaged_ip_has_the_registers_and_interfaces(tmp_path: Path) -> None:
    graph = built(tmp_path, board("pynq_z2"))
    assert graph["interfaces"] == {interface.name: f"{interface.mode} {interface.bus}" for interface in INTERFACES}
    assert ["range", str(REGISTER_SPACE)] in graph["log"]
    access = {"ro": "read-only", "rw": "read-write"}
    assert [(name, int(offset, 16), mode) for name, offset, mode, _ in graph["registers"]] == [
        (register.name, register.address, access[register.access]) for register in REGISTERS]
    fields = {name: bits for name, _, _, bits in graph["registers"]}
    for name, described in FIELDS.items():
        assert fields[name] == " ".join(f"{field.name}:{field.offset}:{field.width}" for field in described)


@pytest.mark.parametrize("name", NAMES)
def test_another_clock_reaches_the_processing_system(tmp_path: Path, name: str) -> None:
    of = board(name)
    config = built(tmp_path, of, clock_mhz=50)["cells"]["ps"]["config"]
    key = "PCW_FCLK0_PERIPHERAL_DIVISOR{}" if of.family == "zynq7" else "PSU__CRL_APB__PL0_REF_CTRL__DIVISOR{}"
    assert of.io_pll_mhz / (int(config[key.format(0)]) * int(config[key.format(1)])) == 50


@pytest.mark.parametrize(("fault", "message"), [
    ("slack", "timing is not met: setup slack is '-0.417' ns"),
    ("noslack", "timing is not met: hold slack is '' ns"),
    ("synth_1", "synth_1 ended as: synth_1 ERROR"),
    ("impl_1", "impl_1 ended as: impl_1 ERROR"),
    ("handoff", "Vivado wrote no system.hwh"),
    ("bit", "system_wrapper.bit"),
    ("xsa", "out/spikeloom.xsa was not written"),
    ("ip", "this Vivado has no IP xilinx.com:ip:axi_dma"),
    ("pll", "the PL clock is the I/O PLL divided by 11, but on this board it must be 10"),
])
def test_what_goes_wrong_ends_the_build_with_its_reason(tmp_path: Path, fault: str, message: str) -> None:
    done, _ = run(tmp_path, board("pynq_z2"), fault=fault)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("ERROR: [Spikeloom]")]
    assert message in line


def test_an_incomplete_folder_and_an_unknown_command_end_the_build(tmp_path: Path) -> None:
    built(tmp_path, board("pynq_z2"))
    folder = tmp_path / "build"
    command = ["tclsh", str(STUB), "-source", "build.tcl"]
    script = (folder / "design.tcl").read_text()
    (folder / "design.tcl").write_text(script + "make_bd_coffee\n")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert 'invalid command name "make_bd_coffee"' in done.stdout
    (folder / "design.tcl").unlink()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "design.tcl is missing beside build.tcl" in done.stdout
