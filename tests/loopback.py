"""The transports' test design, ``benches/loopback.v``, and packets for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from spikeloom.fields import Words

VERILOG = (Path(__file__).parent / "benches" / "loopback.v").read_text()
STATUS = 0xF << 60
#: Opcodes with which the design misbehaves, see its comment.
HANG, WITHDRAW, EARLY, ENDLESS = (np.uint64(code << 60) for code in (0xE, 0xD, 0xC, 0xB))


def packet(words: int, seed: int = 0) -> Words:
    """Random words that the design just returns."""
    return np.random.default_rng(seed).integers(0, 0xB << 60, words, dtype=np.uint64)


def expected(sent: Words) -> Words:
    """The answer to a packet."""
    return np.append(sent, np.uint64(STATUS))
