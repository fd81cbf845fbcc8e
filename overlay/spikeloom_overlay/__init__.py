"""Spikeloom's overlay package: a bitstream for one board, and the notebooks, where the pynq package finds them.

Beside what stands here it holds what ``overlay/collect.py`` put into ``board/`` before the package was built.
"""

from __future__ import annotations

from pathlib import Path

#: What a board needs beside the notebooks: the bitstream, its description, the digits' network and their images.
FILES = ("spikeloom.bit", "spikeloom.hwh", "digits.slm", "digits.npz")
#: What to do where the package was built without them.
MISSING = ("This package was built without a bitstream, which only Vivado makes: spikeloom build --board BOARD on a PC, then "
           "python overlay/collect.py build-BOARD/out, and build the package again")


def bitfile() -> Path:
    """The bitstream in this package; FileNotFoundError where it has none."""
    path = Path(__file__).with_name("board") / FILES[0]
    if not path.is_file():
        raise FileNotFoundError(MISSING)
    return path
