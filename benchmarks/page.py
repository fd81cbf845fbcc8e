"""What benchmarks write into docs/: tables between ``<!-- measured: NAME -->`` and ``<!-- end -->``, plots, and figures for other tables.

The benchmark that measures something writes it. Figures that another table needs too stand in docs/measured.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parents[1] / "docs"
MEASURED = DOCS / "measured.json"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def replaced(before: str, name: str, text: str) -> str:
    """A page with a text in its place; SystemExit where it has no such place."""
    block = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if len(block.findall(before)) != 1:
        raise SystemExit(f"The page has not exactly one place for the figures of {name!r}")
    return block.sub(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", before)


def write(name: str, text: str, page: str = "performance.md") -> None:
    """Put a text into its place on a page."""
    path = DOCS / page
    path.write_text(replaced(path.read_text(), name, text))


def keep(name: str, figures: dict[str, Any]) -> None:
    """Keep figures for other tables."""
    found = {**(json.loads(MEASURED.read_text()) if MEASURED.exists() else {}), name: figures}
    MEASURED.write_text(json.dumps(dict(sorted(found.items())), indent=2) + "\n")


def kept(name: str) -> dict[str, Any]:
    """Figures that a benchmark has kept; SystemExit where it has not."""
    found: dict[str, dict[str, Any]] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    if name not in found:
        raise SystemExit(f"docs/{MEASURED.name} holds no figures of {name!r}: run its benchmark with --write first")
    return found[name]


def figure(width: float = 6.0, height: float = 3.4) -> Any:
    """An empty matplotlib figure, in inches, in the style of all plots."""
    from matplotlib import rcdefaults, rcParams
    from matplotlib.figure import Figure
    rcdefaults()
    rcParams.update({"axes.spines.top": False, "axes.spines.right": False, "font.size": 9, "legend.frameon": False})
    return Figure(figsize=(width, height), layout="constrained")


def save(drawn: Any, name: str) -> None:
    """Write a figure to docs/; the same figure gives the same bytes."""
    drawn.savefig(DOCS / name, dpi=110, metadata={"Software": None}, pil_kwargs={"optimize": True})
