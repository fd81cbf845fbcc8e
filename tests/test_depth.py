"""benchmarks/depth.py on netlists small enough to be counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from tests.scripts import ROOT, load_script


@pytest.fixture(scope="module")
def depth() -> ModuleType:
    """benchmarks/depth.py, as a module."""
    return load_script("benchmarks/depth.py")


def cell(kind: str, outputs: str = "O Q P CO DO DOA", **pins: int | list[int]) -> dict[str, Any]:
    """A cell of Yosys's JSON; pins with a name among ``outputs`` drive their nets."""
    return {"type": kind, "parameters": {}, "connections": {pin: bits if isinstance(bits, list) else [bits] for pin, bits in pins.items()},
            "port_directions": {pin: "output" if pin in outputs.split() else "input" for pin in pins}}


def flip_flop(d: int, q: int) -> dict[str, Any]:
    return cell("FDRE", D=d, Q=q, C=1)


def report(depth: ModuleType, cells: dict[str, Any], names: dict[str, list[int]], cut: str = "") -> dict[str, Any]:
    """What the script finds in a module of these cells; nets that are named are registers."""
    netlist = depth.Netlist({"cells": cells, "ports": {}, "netnames": {
        name: {"bits": bits, "hide_name": 0, "attributes": {"register": "1"}} for name, bits in names.items()}})
    if cut:
        assert netlist.cut(cut)
    found: dict[str, Any] = depth.report(netlist, 10, 150.0)
    return found


def chain(levels: int) -> dict[str, Any]:
    """a → so many LUTs → b: nets 10, 11, … and 20."""
    return {"a": flip_flop(20, 10), **{f"lut_{i}": cell("LUT1", I0=10 + i, O=11 + i) for i in range(levels)},
            "b": flip_flop(10 + levels, 20)}


@pytest.mark.parametrize(("levels", "beyond"), [(0, 0), (2, 0), (3, 1)])
def test_more_than_two_levels_are_beyond_the_rule(depth: ModuleType, levels: int, beyond: int) -> None:
    found = report(depth, chain(levels), {"a": [10], "b": [20]})
    assert found["distribution"] == ({"0+0": 2} if levels == 0 else {"0+0": 1, f"0+{levels}": 1})
    assert found["beyond_rule"] == beyond
    # Clock to output, a net before each LUT or else before the flip-flop, which the last LUT reaches within its slice; setup.
    assert found["by_start"][0]["ns"] == pytest.approx(0.456 + 0.5 * max(levels, 1) + 0.124 * levels + 0.05, abs=0.01)


def test_linked_carries_count_once_and_two_chains_are_beyond_the_rule(depth: ModuleType) -> None:
    def carry(first: int, begin: int, into: list[int] | int = 0) -> dict[str, Any]:
        return cell("CARRY4", S=[begin, 0, 0, 0], DI=[0] * 4, CI=into or [0], CO=[first, first + 1, first + 2, first + 3],
                    O=[first + 4, first + 5, first + 6, first + 7])

    cells = {"a": flip_flop(20, 10), "low": carry(30, 10), "high": carry(40, 0, [33]), "b": flip_flop(47, 20)}
    for each in cells.values():  # unconnected pins are constants in Yosys's JSON
        each["connections"] = {pin: [bit or "0" for bit in bits] for pin, bits in each["connections"].items()}
    found = report(depth, cells, {"a": [10], "b": [20]})
    assert (found["distribution"], found["beyond_rule"]) == ({"0+0": 1, "1+0": 1}, 0)
    assert found["by_start"][0]["path"] == ["a (FDRE)", "CARRY4 ×2", "b (FDRE.D)"]
    cells |= {"next": cells.pop("b"), "third": carry(50, 47)}
    cells["third"]["connections"] = {pin: [bit or "0" for bit in bits] for pin, bits in cells["third"]["connections"].items()}
    cells["next"] = flip_flop(57, 20)
    assert report(depth, cells, {"a": [10], "b": [20]})["beyond_rule"] == 1


@pytest.mark.parametrize(("more", "levels"), [({}, 2), ({"elsewhere": 12}, 3)])
def test_a_lut_that_only_feeds_a_carry_is_part_of_the_chain(depth: ModuleType, more: dict[str, int], levels: int) -> None:
    """It lies in the slice of the carry; one with other loads may not."""
    cells = {**chain(2), "carry": cell("CARRY4", S=[12, "0", "0", "0"], DI=["0"] * 4, CI=["0"], CO=[30, 31, 32, 33], O=[34, 35, 36, 37]),
             "after": cell("LUT1", I0=34, O=40), "b": flip_flop(40, 20), **{name: flip_flop(bit, 50) for name, bit in more.items()}}
    found = report(depth, cells, {"a": [10], "b": [20]})
    assert found["distribution"][f"1+{levels}"] == 1
    assert found["beyond_rule"] == (levels > 2)
    netlist = depth.Netlist({"cells": cells, "ports": {}, "netnames": {}}, slices=False)
    assert depth.report(netlist, 10, 150.0)["distribution"]["1+3"] == 1, "every LUT is a level"


def test_a_cut_divides_a_path(depth: ModuleType) -> None:
    found = report(depth, chain(4), {"a": [10], "b": [20], "middle": [12]}, cut="^middle$")
    assert (found["distribution"], found["beyond_rule"]) == ({"0+0": 1, "0+2": 2}, 0)


def test_output_registers_and_fan_out_are_told(depth: ModuleType) -> None:
    cells = {"a": flip_flop(20, 10), **{f"b_{i}": flip_flop(10, 20 + i) for i in range(16)},
             "ram": cell("RAMB36E1", "DOADO", DOADO=[60], CLKARDCLK=1), "c": flip_flop(60, 61)}
    found = report(depth, cells, {"a": [10], "b": list(range(20, 36)), "c": [61]})
    assert found["starts"]["RAMB36E1 without output register"] == 1
    assert (found["fan_outs"][0]["net"], found["fan_outs"][0]["loads"]) == ("a", 16)
    assert found["by_start"][0]["ns"] == pytest.approx(2.454 + 0.5 + 0.05, abs=0.01)


def test_the_widest_control_net_is_told_apart_from_data(depth: ModuleType) -> None:
    cells = {"a": flip_flop(20, 10), "x": cell("LUT1", I0=10, O=11), "wide": flip_flop(20, 12)}
    cells |= {f"b_{i}": cell("FDRE", D=12, Q=20 + i, C=1, CE=10, R=11 if i < 3 else 9) for i in range(5)}
    found = report(depth, cells, {"a": [10], "wide": [12]})
    assert found["control"]["registers"] == {"net": "a", "loads": 6}
    assert found["control"]["logic"] == {"net": "", "loads": 3}


def test_a_loop_is_refused(depth: ModuleType) -> None:
    cells = {"a": flip_flop(11, 10), "x": cell("LUT2", I0=10, I1=12, O=11), "y": cell("LUT1", I0=11, O=12)}
    with pytest.raises(SystemExit, match="Combinational loop"):
        report(depth, cells, {"a": [10]})


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("cores", "end_points"), [([], 20_000), (["--mesh"], 100_000)], ids=["core", "mesh"])
def test_the_paths_are_no_longer_than_the_docs_say(cores: list[str], end_points: int) -> None:
    """docs/performance.md, section Clock: every path fits, and keeps to one carry chain and two LUT levels."""
    done = subprocess.run([sys.executable, "benchmarks/depth.py", "--json", *cores], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    print(f"{found['slow']} of {found['end_points']} end points too slow, {found['beyond_rule']} beyond the rule, "
          f"worst {found['worst_ns']} ns")
    assert found["end_points"] > end_points
    assert found["slow"] == 0
    assert found["beyond_rule"] == 0
    assert found["worst_ns"] <= 5.4
    assert "=0" not in "".join(found["dsp_registers"]), "a DSP block lacks a register"
    # Strobes and resets come from registers, each of which drives some of the loads.
    assert found["control"]["registers"]["loads"] <= 260
    assert found["control"]["logic"]["loads"] <= 260
