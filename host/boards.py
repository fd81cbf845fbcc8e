"""Boards, from boards/<name>/board.json, and what synthesis found for the arrays that are meant for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spikeloom
from spikeloom.errors import SpikeloomError

#: What synthesis reports, by array: {"luts", "ff", "ramb36", "dsp", "tool"}.
SYNTHESIS = "docs/synthesis.json"


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board: its part, the clock that is assumed for the array (MHz), what the part has, and the arrays meant for it."""

    name: str
    title: str
    part: str
    clock_mhz: float
    resources: dict[str, int]
    arrays: tuple[str, ...]


def boards() -> dict[str, Board]:
    """All boards by name."""
    found: dict[str, Board] = {}
    for path in sorted((Path(spikeloom.__file__).parent / "boards").glob("*/board.json")):
        try:
            plain = json.loads(path.read_text())
            name = path.parent.name
            found[name] = Board(name=name, title=plain["title"], part=plain["part"], clock_mhz=float(plain["clock_mhz"]),
                                resources=dict(plain["resources"]), arrays=tuple(plain["arrays"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SpikeloomError(f"{path} is not a board's description: {error!r}") from error
    return found


def board_of(array: str) -> Board:
    """The board that the named array is meant for; SpikeloomError where there is none."""
    for board in boards().values():
        if array in board.arrays:
            return board
    known = [name for board in boards().values() for name in board.arrays]
    raise SpikeloomError(f"Array {array!r} is meant for no board; those that are: {', '.join(known)}")


def project_file(path: str) -> Path | None:
    """A file of the project that is no module: from the checkout, or as the wheel carries it; None where there is neither."""
    package = Path(spikeloom.__file__).resolve().parent
    return next((folder / path for folder in (package.parents[1], package) if (folder / path).is_file()), None)


def synthesis(array: str) -> dict[str, Any]:
    """What synthesis found for the named array: ``luts``, ``ramb36``, ``dsp``, ``ff``, ``tool``; empty where nobody looked."""
    path = project_file(SYNTHESIS)
    return dict(json.loads(path.read_text()).get(array, {})) if path else {}
