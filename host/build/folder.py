"""The folder that Vivado builds: Verilog, scripts, the expected ``.hwh`` and a manifest that says what it all is."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import shutil
from pathlib import Path
from typing import Any

import spikeloom
from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import Board
from spikeloom.host.build.hwh import hwh_text
from spikeloom.host.build.tcl import settings_text
from spikeloom.host.build.verilog import in_ultra_ram, ultra_banks, wrapper_text
from spikeloom.image import Image
from spikeloom.ip import VLNV, digest
from spikeloom.params import ArrayParams

#: Version of the manifest's form.
FORM = 1
MANIFEST = "manifest.json"
#: What the scripts are, beside the boards.
SCRIPTS = ("build.tcl", "design.tcl", "package.tcl")
#: What a finished build leaves in out/.
OUTPUTS = ("spikeloom.bit", "spikeloom.hwh", "spikeloom.xsa", "timing.rpt", "utilization.rpt", "power.rpt")
#: The name of an image in the folder.
IMAGE = "network.slm"
#: What a folder may hold that an earlier build left, besides the files of the manifest.
_OURS = {MANIFEST, "rtl", "out", "work", "vivado.log", "vivado.jou", ".Xil", IMAGE, "settings.tcl", "expected.hwh", *SCRIPTS}


def write_folder(folder: Path, board: Board, params: ArrayParams, verilog: str, *, array: str | None = None,
                 clock_mhz: float | None = None, jobs: int = 2, image: Image | None = None) -> dict[str, Any]:
    """Write everything that Vivado needs into ``folder`` and return the manifest.

    Parameters
    ----------
    folder
        Made if it does not exist. What an earlier build left there is replaced; anything else in it is an error.
    verilog
        The array's Verilog, for these parameters, as :func:`spikeloom.hdl.verilog.verilog` writes it.
    array
        The array's name, for the manifest.
    clock_mhz
        The array's clock in place of the board's.
    jobs
        Processes that Vivado may use.
    image
        A compiled network, which is put beside the rest.

    SpikeloomError if the folder holds other things, the image is for another array, or the board cannot give the clock.
    """
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    try:
        settings, expected = settings_text(board, params, clock, jobs), hwh_text(board, params, clock)
    except ValueError as error:
        raise SpikeloomError(f"{board.title}: {error}") from None
    if image is not None and image.params.digest() != params.digest():
        raise SpikeloomError("The image was compiled for another array than the one to build")
    texts = {"rtl/spikeloom.v": in_ultra_ram(verilog, params, ultra_banks(board, params)), "rtl/spikeloom_ip.v": wrapper_text(params),
             "settings.tcl": settings, "expected.hwh": expected}
    scripts = Path(spikeloom.__file__).parent / "boards" / "vivado"
    texts |= {name: (scripts / name).read_text() for name in SCRIPTS}
    _clear(folder)
    for name, text in texts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    if image is not None:
        image.save(folder / IMAGE)
    names = [*texts, *([IMAGE] if image is not None else [])]
    system = board.system
    manifest: dict[str, Any] = {
        "form": FORM, "board": board.name, "part": board.part, "board_part": board.board_part, "array": array,
        "params": params.describe(), "digest": params.digest(), "system_digest": digest(params, system), "vlnv": VLNV,
        "clock_mhz": clock, "addresses": {block.name: f"0x{block.address:08X}" for block in system.blocks},
        "image": None if image is None else {"file": IMAGE, "digest": image.digest()},
        "tools": {"spikeloom": spikeloom.__version__, "python": platform.python_version(), "amaranth": _version("amaranth"),
                  "vivado": None},
        "files": {name: sha256(folder / name) for name in names}, "outputs": {}}
    write_manifest(folder, manifest)
    return manifest


def write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest of a build."""
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


def sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _clear(folder: Path) -> None:
    """Remove what an earlier build left; SpikeloomError if there is anything else."""
    if folder.exists():
        strange = sorted(path.name for path in folder.iterdir() if path.name not in _OURS) if folder.is_dir() else ["a file"]
        if strange or (any(folder.iterdir()) and not (folder / MANIFEST).is_file()):
            raise SpikeloomError(f"{folder} holds what no earlier build left there ({', '.join(strange[:3]) or 'no ' + MANIFEST}): "
                                 f"give another --out")
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    folder.mkdir(parents=True, exist_ok=True)
