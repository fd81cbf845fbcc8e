"""The notebooks (entry point ``pynq.notebooks``), and how `pynq get-notebooks` delivers them: with the bitstream beside them."""

from __future__ import annotations

import shutil
from pathlib import Path

from spikeloom_overlay import FILES, MISSING


def deliver_notebooks(device_name: str | None, src_path: str, dst_path: str, name: str, folder: bool = False,
                      overlays_res_lookup: bool = True) -> None:
    """Copy notebooks and bitstream into ``dst_path``, or into its folder ``name``. pynq calls this in place of its own function.

    Without ``overlays_res_lookup`` (`pynq get-notebooks --ignore-overlays`) the notebooks alone. A package without a bitstream
    has nothing that could run, and ends the program with that message.
    """
    package = Path(__file__).parent
    needed = [package.parent / "board" / file for file in FILES] if overlays_res_lookup else []
    if any(not path.is_file() for path in needed):
        raise SystemExit(f"{MISSING}; or take the notebooks alone: pynq get-notebooks --ignore-overlays {name}")
    target = Path(dst_path, name) if folder else Path(dst_path)
    target.mkdir(parents=True, exist_ok=True)
    for path in (*sorted(package.glob("*.ipynb")), *needed):
        shutil.copy(path, target)
