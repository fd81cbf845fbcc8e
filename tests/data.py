"""Public data that tests compare with; it lies outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def shared_data(*parts: str) -> Path:
    """Path of a file below the data folder: ``SPIKELOOM_DATA``, else ``../shared/data`` beside the repository.

    Skips the test, with the reason, where it is absent.
    """
    named = os.environ.get("SPIKELOOM_DATA")
    folder = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    path = folder.joinpath(*parts)
    if not path.exists():
        pytest.skip(f"{path} is absent; set SPIKELOOM_DATA to the folder with the reference data")
    return path
