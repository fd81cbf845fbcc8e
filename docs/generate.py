"""Writes the tables of docs/*.md that come from the code, between ``<!-- generated: NAME -->`` and ``<!-- end -->``.

    python docs/generate.py            write them
    python docs/generate.py --check    only say which pages are out of date (exit code 1 if any)
"""

from __future__ import annotations

import argparse
import dataclasses
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from spikeloom.fields import Field, Record
from spikeloom.host.boards import RESOURCES, boards
from spikeloom.host.decode import FAULT_TEXT
from spikeloom.host.importers.profiles import PROFILES, Profile
from spikeloom.ip import FAMILIES
from spikeloom.memories import Control, Memory, class_records, destination_record, memory_specs, synapse_chunk
from spikeloom.packets import COMMANDS, RESPONSES, Command, Fault, Response
from spikeloom.params import PRESETS, ArrayParams, preset
from spikeloom.registers import IDENTITY, REGISTERS, VERSION

DOCS = Path(__file__).parent
#: The arrays whose memories are shown: without and with lists.
SHOWN = ("pynq_z2", "pynq_z2_folded")
_BLOCK = re.compile(r"(?P<head><!-- generated: (?P<name>[\w ]+) -->\n).*?(?P<tail><!-- end -->)", re.DOTALL)


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), *([str(cell).replace("|", "\\|") for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def bits(record: Iterable[Field]) -> str:
    """Fields and their places: ``name [high:low]``, signed ones with an s."""
    parts, low = [], 0
    for field in record:
        place = f"{low + field.bits - 1}:{low}" if field.bits > 1 else str(low)
        parts.append(f"`{field.name}`\u00a0[{place}]{'s' if field.signed else ''}")
        low += field.bits
    return " ".join(parts)


def memories(name: str) -> str:
    """Memories of a preset: code, address, entry, meaning."""
    rows = []
    for memory, spec in memory_specs(preset(name)).items():
        sizes = ", ".join(f"{field.name} {size}" for field, size in zip(spec.address, spec.sizes, strict=True))
        entry = f"{len(spec.entry.fields)} cells of {spec.entry.fields[0].bits} bits" if memory == Memory.SYNAPSES \
            else bits(spec.entry)
        rows.append((int(memory), f"`{memory.name}`", bits(spec.address), sizes, entry, spec.meaning))
    return table(("code", "memory", "address bits", "values", "entry bits", "meaning"), rows)


def records(params: ArrayParams) -> str:
    """The records inside CLASSES, SYNAPSES and CONTROL."""
    params = dataclasses.replace(params, currents=2)  # with what an array of one current lacks
    first, second, third = class_records(params)
    rows: list[tuple[str, str]] = [
        ("`CLASSES`, part 0", bits(first)), ("`CLASSES`, part 1", bits(second)),
        ("`CLASSES`, part 2, with two currents", bits(third)),
        ("`DESTINATIONS`", bits(destination_record(params))),
        ("`SYNAPSES`, a chunk", bits(synapse_chunk(params))),
        ("`CONTROL`, by index", " ".join(f"`{control.name}`\u00a0{int(control)}" for control in Control))]
    return table(("word", "fields"), rows)


def words(kinds: Mapping[Command, Record] | Mapping[Response, Record]) -> str:
    """Words of a stream: code and fields."""
    return table(("code", "word", "fields"), [(int(kind), f"`{kind.name}`", bits(record)) for kind, record in kinds.items()])


def faults() -> str:
    """Faults: bit and meaning."""
    return table(("bit", "fault", "meaning"), [(int(fault), f"`{fault.name}`", FAULT_TEXT[fault]) for fault in Fault])


def registers() -> str:
    """The registers."""
    head = f"IDENTITY reads 0x{IDENTITY:08X}, VERSION {VERSION}.\n\n"
    rows = [(f"0x{register.address:02X}", f"`{register.name}`", register.access, register.meaning) for register in REGISTERS]
    return head + table(("address", "register", "access", "meaning"), rows)


def presets() -> str:
    """Parameters and what follows from them, a column a preset."""
    derived = ("cores", "core_neurons", "core_axons", "axon_blocks", "neuron_rows", "max_slices", "sum_bits", "output_blocks")
    rows: list[tuple[object, ...]] = [
        (f"`{field.name}`", *(getattr(params, field.name) for params in PRESETS.values()))
        for field in dataclasses.fields(ArrayParams)]
    rows += [(f"*{name}*", *(getattr(params, name) for params in PRESETS.values())) for name in derived]
    return table(("parameter", *(f"`{name}`" for name in PRESETS)), rows)


def profiles() -> str:
    """The exporter profiles."""
    rows = [(f"`{profile.name}`", _step(profile), profile.integrator, ">" if profile.strict else "≥", _reset(profile),
             "r·x" if profile.per_step else "dt·r·x", "yes" if profile.several else "no", profile.precision)
            for profile in PROFILES.values()]
    return table(("profile", "dt", "integrator", "spike if v … θ", "reset", "IF adds", "may repeat", "reference in"), rows)


def _step(profile: Profile) -> str:
    if profile.dt is not None:
        return f"{profile.dt:g}"
    return "from the file, or given" if profile.integrator == "rockpool" else "must be given"


def _reset(profile: Profile) -> str:
    if profile.reset is None:
        return "must be given" + (" (subtract: θ/β)" if profile.late_subtract else "")
    return {"subtract": "v − θ", "zero": "v = 0", "value": "v = v_reset"}[profile.reset]


def rules() -> str:
    """Each profile's rule in words, and what must be given."""
    parts = []
    for profile in PROFILES.values():
        needed = [text for text in (profile.dt_help and f"`dt`: {profile.dt_help}", profile.reset_help and
                                    f"`reset`: {profile.reset_help}") if text]
        if profile.choose_input:
            needed.append("`norm_input`: for LIF and LI, whether the framework scaled their input by 1 − β")
        verb = "May ask for" if profile.integrator == "rockpool" or profile.choose_input else "Asks for"
        asks = f" *{verb}* {'; '.join(needed)}." if needed else ""
        parts.append(f"- **{profile.name}**: {profile.description}{asks}\n")
    return "".join(parts)


def board_table() -> str:
    """The boards, from their descriptions."""
    rows = [(f"`{name}`", board.title, f"`{board.part}`", f"`{board.board_part}`", f"{board.memory_mb:,}", f"{board.crystal_mhz:g}",
             f"{board.io_pll_mhz:g}", f"{board.clock_mhz:g}", board.pynq, ", ".join(f"`{array}`" for array in board.arrays))
            for name, board in boards().items()]
    return table(("name", "board", "part", "Vivado's board part", "DDR (MiB)", "crystal (MHz)", "I/O PLL (MHz)", "clock (MHz)", "PYNQ",
                  "arrays, default first"), rows)


def part_table() -> str:
    """What the boards' parts have."""
    parts = {board.part.partition("-")[0]: board.resources for board in boards().values()}
    return table(("part", "LUTs", "flip-flops", "RAMB36", "UltraRAM", "DSPs"),
                 ((f"`{part}`", *(f"{have[key]:,}" for key in RESOURCES)) for part, have in parts.items()))


def sensor_table() -> str:
    """Where temperature and power are read."""
    rows = [(f"`{name}`", board.sensors.temperature, board.sensors.power, board.sensors.note) for name, board in boards().items()]
    return table(("board", "temperature", "power", "what that is"), rows)


def address_table() -> str:
    """Addresses of the registers, by family."""
    rows = [(f"`{family.name}`", f"`{block.name}`", f"0x{block.address:08X}", f"{block.range:,}", f"`{family.control}`", block.vlnv)
            for family in FAMILIES.values() for block in family.blocks]
    return table(("family", "cell", "address", "bytes", "through", "what it is"), rows)


def tables() -> dict[str, str]:
    """Every generated part by its name."""
    made = {f"memories {name}": memories(name) for name in SHOWN}
    return made | {"records": records(preset(SHOWN[0])), "commands": words(COMMANDS), "responses": words(RESPONSES),
                   "faults": faults(), "registers": registers(), "presets": presets(), "profiles": profiles(), "rules": rules(),
                   "boards": board_table(), "parts": part_table(), "sensors": sensor_table(), "addresses": address_table()}


def updated(text: str) -> str:
    """A page with its generated parts as they are now; KeyError for a part that does not exist."""
    made = tables()
    return _BLOCK.sub(lambda found: found["head"] + made[found["name"]] + found["tail"], text)


def main(arguments: list[str]) -> int:
    """Write or check all pages; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    stale = [page for page in sorted(DOCS.glob("*.md")) if updated(page.read_text()) != page.read_text()]
    for page in stale:
        if not check:
            page.write_text(updated(page.read_text()))
        print(f"{page.name} {'is out of date' if check else 'was updated'}")
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
