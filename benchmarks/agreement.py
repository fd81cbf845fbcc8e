"""How far networks agree with the frameworks that they come from: the measured tables of docs/profiles.md.

    python benchmarks/agreement.py            measure and write
    python benchmarks/agreement.py --check    measure and compare with what is written

``frameworks``: the float reference against the spikes that each framework recorded itself (tests/frameworks). ``braille``: the golden model
against the float reference on the recurrent Braille network of NIR's paper (Pedersen et al., Nature Communications 15,
8122, 2024), whose files lie in SPIKELOOM_DATA, by default ../shared/data beside the repository.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from page import DOCS, replaced, table

import spikeloom as sl

ROOT = Path(__file__).resolve().parent.parent
PAGE = DOCS / "profiles.md"
BITS = (16, 8, 6, 4)
HIDDEN, OUTPUT = "lif1.lif", "lif2"


def framework_rows(folder: Path = ROOT / "tests" / "frameworks") -> list[tuple[str, ...]]:
    """File, framework and version, what from_nir is told, and for each layer the spikes that differ of how many."""
    rows = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as file:
            spikes = {key[7:]: file[key] > 0 for key in file if key.startswith("spikes ")}
            sample, versions, options = file["input"], str(file["versions"]), json.loads(str(file["profile"]))
        net = sl.from_nir(path.with_suffix(".nir"), profile=path.stem.partition("_")[0], **options)
        ours = sl.reference(net, sample).spikes
        layers = ", ".join(f"{np.count_nonzero(ours[name] != values)} of {values.size:,}" for name, values in spikes.items())
        told = ", ".join(f"{key}={value!r}" for key, value in options.items())
        rows.append((f"`{path.stem}`", versions.partition(",")[0], f"`{told}`", layers))
    return rows


def braille_rows(folder: Path) -> list[tuple[str, ...]]:
    """Bits, spikes that differ in the hidden and the output layer, spikes there, output counts, and the class."""
    net = sl.from_nir(folder / "braille_noDelay_bias_zero.nir", profile="snntorch", reset="zero")
    sample = np.load(folder / "braille_test_sample0_256x12.npy", allow_pickle=False).astype(bool)
    exact = sl.reference(net, sample)
    rows = [("float reference", "", "", *_counts(exact))]
    for bits in BITS:
        machine = sl.open("golden")
        machine.load(sl.compile(net, board="pynq_z2", weight_bits=bits))
        found = machine.run(sample)
        differ = [f"{np.count_nonzero(found.spikes[name] != exact.spikes[name]):,} of {exact.spikes[name].size:,}"
                  for name in (HIDDEN, OUTPUT)]
        rows.append((str(bits), *differ, *_counts(found)))
    return rows


def _counts(result: Any) -> tuple[str, str, str]:
    counts = result.spikes[OUTPUT].sum(axis=0)
    return str(int(result.spikes[HIDDEN].sum())), " ".join(map(str, counts)), str(int(counts.argmax()))


def tables(data: Path) -> dict[str, str]:
    """Every measured part by its name."""
    return {"frameworks": table(("network", "framework", "`from_nir` is told", "spikes that differ, a layer each"), framework_rows()),
            "braille": table(("weight bits", "hidden spikes that differ", "output spikes that differ", "hidden spikes",
                              "output counts", "class"), braille_rows(data))}


def written(text: str, made: dict[str, str]) -> str:
    """The page with its measured parts as they are now."""
    for name, part in made.items():
        text = replaced(text, name, part)
    return text


def main(arguments: list[str]) -> int:
    """Print the tables and write them, or compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args(arguments).check
    data = Path(os.environ.get("SPIKELOOM_DATA", ROOT.parent / "shared" / "data")) / "nir_paper" / "03_rnn"
    made = tables(data)
    print("\n\n".join(made.values()))
    text = PAGE.read_text()
    stale = written(text, made) != text
    if stale and not check:
        PAGE.write_text(written(text, made))
    if stale:
        print(f"{PAGE.name} {'is out of date' if check else 'was updated'}")
    return int(check and stale)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
