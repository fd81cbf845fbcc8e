"""The measured tables of docs/profiles.md: what benchmarks/agreement.py finds is what is written."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

from tests.data import shared_data
from tests.scripts import load_script

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def agreement() -> ModuleType:
    return load_script("benchmarks/agreement.py")


def test_braille_differs_by_so_many_spikes_at_16_8_6_and_4_bits(agreement: ModuleType) -> None:
    """Golden model against float reference, 256 steps: 38 hidden neurons (9,728) and 7 outputs (1,792). The sample's class is 1."""
    rows = agreement.braille_rows(shared_data("nir_paper", "03_rnn"))
    assert rows == [
        ("float reference", "", "", "119", "10 160 112 113 103 68 121", "1"),
        ("16", "0 of 9,728", "0 of 1,792", "119", "10 160 112 113 103 68 121", "1"),
        ("8", "124 of 9,728", "506 of 1,792", "121", "7 161 110 113 103 64 123", "1"),
        ("6", "124 of 9,728", "580 of 1,792", "105", "18 147 112 99 85 64 114", "1"),
        ("4", "164 of 9,728", "682 of 1,792", "95", "0 109 137 111 57 109 106", "2"),
    ]


def test_the_page_holds_what_is_measured(agreement: ModuleType, monkeypatch: pytest.MonkeyPatch,
                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("SPIKELOOM_DATA", str(shared_data("nir_paper").parent))
    assert agreement.main(["--check"]) == 0, capsys.readouterr().out
    text = agreement.PAGE.read_text()
    assert agreement.written(text, {"frameworks": "", "braille": ""}) != text


def test_every_recorded_network_is_in_the_table(agreement: ModuleType) -> None:
    names = {row[0] for row in agreement.framework_rows()}
    assert names == {f"`{path.stem}`" for path in (ROOT / "tests" / "frameworks").glob("*.nir")}
