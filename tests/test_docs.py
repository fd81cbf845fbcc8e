"""The pages hold together: links lead somewhere, code parses, and tables are those of the code."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from docs.generate import main, tables, updated

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
#: What must be there; README is the root's.
WANTED = {"architecture", "semantics", "formats", "profiles", "compiler", "verification", "decisions"}
_LINK = re.compile(r"\]\((?!\w+:)(?P<path>[^)#\s]*)(?:#(?P<anchor>[^)\s]*))?\)")
_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """The names that GitHub gives the headings of a page."""
    heads = re.findall(r"^#+ (.*)$", _FENCE.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


def test_the_pages_are_there() -> None:
    assert {page.stem for page in PAGES} >= WANTED


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in _LINK.finditer(_FENCE.sub("", page.read_text())):
        target = (page.parent / link["path"]).resolve() if link["path"] else page
        assert target.exists(), f"{page.name} links to {link['path']}, which does not exist"
        assert target == ROOT or ROOT in target.parents, f"{page.name} links to {link['path']}, outside the project"
        if link["anchor"]:
            assert link["anchor"] in anchors(target.read_text()), f"{target.name} has no heading #{link['anchor']}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_in_the_pages_parses(page: Path) -> None:
    for fence in _FENCE.finditer(page.read_text()):
        if fence["kind"] == "python":
            ast.parse(fence["text"], filename=page.name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_fences_are_closed(page: Path) -> None:
    assert page.read_text().count("\n```") % 2 == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_tables_are_those_of_the_code(page: Path) -> None:
    assert updated(page.read_text()) == page.read_text(), f"{page.name} is out of date: run python docs/generate.py"


def test_every_table_stands_on_a_page() -> None:
    shown = re.findall(r"<!-- generated: ([\w ]+) -->", "".join(page.read_text() for page in PAGES))
    assert sorted(shown) == sorted(tables())


def test_a_page_out_of_date_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("docs.generate.DOCS", tmp_path)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- generated: faults -->\nold\n<!-- end -->\nafter\n")
    assert main(["--check"]) == 1
    assert "old" in page.read_text()
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert capsys.readouterr().out == "page.md is out of date\npage.md was updated\n"
    assert page.read_text() == f"before\n<!-- generated: faults -->\n{tables()['faults']}<!-- end -->\nafter\n"
    page.write_text("<!-- generated: weather -->\n<!-- end -->\n")
    with pytest.raises(KeyError, match="weather"):
        main([])
