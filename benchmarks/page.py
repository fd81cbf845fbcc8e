"""Measured tables in docs/, each between ``<!-- measured: NAME -->`` and ``<!-- end -->``; the benchmark that made one writes it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"


def table(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """A Markdown table."""
    lines = [list(head), *([str(cell) for cell in row] for row in rows)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def write(name: str, text: str, page: str = "performance.md") -> None:
    """Put a text into its place on a page; SystemExit where the page has no such place."""
    path = DOCS / page
    before = path.read_text()
    block = re.compile(rf"(<!-- measured: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
    if len(block.findall(before)) != 1:
        raise SystemExit(f"docs/{page} has not exactly one place for the figures of {name!r}")
    path.write_text(block.sub(lambda found: f"{found[1]}{text.rstrip()}\n{found[2]}", before))
