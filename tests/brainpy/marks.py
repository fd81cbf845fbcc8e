"""What tests with BrainPy share: when they run, the networks' module, and how it is imported."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

import spikeloom as sl

needs_brainpy = pytest.mark.skipif(find_spec("brainpy") is None, reason="BrainPy is not installed (pip install 'brainpy[cpu]', "
                                                                        "Python 3.11 or later)")
#: BrainPy, jax and numba warn about each other.
quiet = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def nets() -> Iterator[Any]:
    """The module that makes networks, BrainPy computing in double precision at 0.1 ms."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from tests.brainpy import nets as module
    module.bm.enable_x64()
    module.bm.set_dt(module.DT)
    yield module
    module.bm.disable_x64()


def imported(net: Any, **options: Any) -> sl.Network:
    """A SmallNet, with what its update does told."""
    sources = {"kick": "kick"} | ({name: name[0] for name in net.links} if net.half else {})
    known = {"inputs": {"kick": 4}, "sources": sources, "arguments": (np.zeros(4, bool),),
             "currents": {"E": net.CURRENT, "I": net.CURRENT}}
    return sl.from_brainpy(net, **(known | options))
