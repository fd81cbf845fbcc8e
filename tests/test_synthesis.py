"""The synthesis figures in docs/ are those of the gateware as it stands, and keep the part's limits."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_written_figures_keep_the_limits() -> None:
    found = json.loads((ROOT / "docs" / "synthesis.json").read_text())["pynq_z2"]
    assert found["luts"] <= 0.75 * 53_200
    assert found["ramb36"] + found["ramb18"] / 2 <= 132


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_synthesis_gives_the_written_figures() -> None:
    done = subprocess.run([sys.executable, "benchmarks/synthesis.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["within"]
