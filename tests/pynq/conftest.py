"""One board for all tests of a file. The tests themselves say why they are skipped where pynq is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.pynq.bench import Bench


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    from tests.pynq.bench import digits_on_board
    with digits_on_board(tmp_path_factory.mktemp("overlay")) as made:
        yield made
