"""What benchmarks write into the pages: every measured table and plot has the script that writes it, and `make bench` runs it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from spikeloom.params import preset
from tests.scripts import ROOT, load_script

SCRIPTS = sorted((ROOT / "benchmarks").glob("*.py"))
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
PLOTS = sorted((ROOT / "docs").glob("*.png"))


def calls(function: str, argument: int) -> Iterator[tuple[Path, str]]:
    """Script and constant argument of every call of a function of page.py."""
    for script in SCRIPTS:
        for node in ast.walk(ast.parse(script.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == function:
                value = node.args[argument]
                if isinstance(value, ast.Constant):
                    yield script, value.value


def test_every_measured_table_has_one_script_that_writes_it() -> None:
    places = [name for page in PAGES for name in re.findall(r"<!-- measured: (.+) -->", page.read_text())]
    written = [name for _, name in calls("write", 0)] + ["frameworks", "braille"]  # those two: tests/test_agreement.py
    assert sorted(places) == sorted(written)


def test_every_plot_has_one_script_that_draws_it_and_a_page_that_shows_it() -> None:
    assert sorted(name for _, name in calls("save", 1)) == [path.name for path in PLOTS]
    shown = [name for page in PAGES for name in re.findall(r"!\[[^\]]+\]\((.+\.png)\)", page.read_text())]
    assert sorted(shown) == [path.name for path in PLOTS]


@pytest.mark.parametrize("path", PLOTS, ids=lambda path: path.name)
def test_plots_are_small(path: Path) -> None:
    assert 2_000 < path.stat().st_size < 60_000


def test_make_bench_runs_every_script_that_writes() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for script in {script for script, _ in calls("write", 0)}:
        assert re.search(rf"benchmarks/{script.name} .*--write", makefile), script.name


def test_published_figures_have_a_source_and_ours_are_the_measured_ones() -> None:
    published = load_script("benchmarks/published.py")
    for design in published.DESIGNS:
        assert set(design.figures()) <= set(published.COLUMNS)
        assert sum(map(len, design.seen.values())) == len(design.figures()), f"{design.name}: a figure from two places"
    for page, text in (("docs/performance.md", published.published()), ("README.md", published.how_fast())):
        assert text in (ROOT / page).read_text(), f"{page} is out of date: run python benchmarks/published.py --write"


def test_the_lane_array_of_the_clock_gate_elaborates() -> None:
    assert "module top(" in load_script("benchmarks/clock.py")._lanes(preset("tiny"))
