"""Stand-ins for bitstreams: a ``.bit`` that names an array in place of configuring a part.

The virtual board (``spikeloom serve``) and the board model of the tests take them; no real board does. The file has a ``.bit``'s
header, so that pynq reads, converts and sends it as it does any other. Its payload is text that says what it is.
"""

from __future__ import annotations

import hashlib
import json
import struct
from pathlib import Path

import numpy as np

from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import Board
from spikeloom.host.build.hwh import hwh_text
from spikeloom.ip import array_params, array_text
from spikeloom.params import ArrayParams

#: What the payload begins with.
MARK = b"Spikeloom's stand-in for a bitstream: no board takes it, only the virtual one.\n"


def write_standin(folder: Path, board: Board, params: ArrayParams, *, bitstream: ArrayParams | None = None, foreign: bool = False,
                  name: str = "spikeloom", clock_mhz: float | None = None) -> Path:
    """Write ``.hwh`` and stand-in ``.bit`` of an array on a board; returns the latter's path.

    ``bitstream`` puts another array into the ``.bit`` than the ``.hwh`` has, ``foreign`` none. The ``.bit`` carries a digest of
    the ``.hwh``, for pynq keeps what it read by the ``.bit``'s contents. ``clock_mhz`` takes the place of the board's clock;
    SpikeloomError when the board cannot give it.
    """
    try:
        text = hwh_text(board, params, clock_mhz)
    except ValueError as error:
        raise SpikeloomError(f"{board.title}: {error}") from None
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.hwh").write_text(text)
    array = None if foreign else array_text(bitstream or params)
    payload = MARK + json.dumps({"array": array, "hwh": hashlib.sha256(text.encode()).hexdigest()}).encode()
    payload += b" " * (-len(payload) % 4)  # pynq takes 32-bit words
    path = folder / f"{name}.bit"
    path.write_bytes(_header(name, board.part, len(payload)) + payload)
    return path


def read_standin(data: bytes) -> ArrayParams | None:
    """The array in a stand-in, as a ``.bit`` or as the ``.bin`` (bytes of each 32-bit word swapped) that pynq sends; None if it
    has none. SpikeloomError for anything else."""
    for text in (data, _swapped(data)):
        _, mark, payload = text.partition(MARK)
        if mark:
            try:
                array = json.loads(payload)["array"]
                return None if array is None else array_params(array)
            except (ValueError, KeyError, TypeError) as error:
                raise SpikeloomError(f"The stand-in for a bitstream is damaged, or of another release of Spikeloom: {error}") from None
    raise SpikeloomError("This is no stand-in for a bitstream: a virtual board cannot tell what a real one holds. Make one with "
                         "spikeloom build --virtual")


def _swapped(data: bytes) -> bytes:
    return np.frombuffer(data[:len(data) // 4 * 4], np.uint32).byteswap().tobytes()


def _header(name: str, part: str, length: int) -> bytes:
    """A ``.bit``'s header: design, part, date and time, each with a key and a length, then the payload's length."""
    fields = (("a", f"{name};stand-in"), ("b", part), ("c", "none"), ("d", "none"))
    head = struct.pack(">H9sH", 9, b"\x0f\xf0" * 4 + b"\x00", 1)
    texts = b"".join(key.encode() + struct.pack(">H", len(text) + 1) + text.encode() + b"\0" for key, text in fields)
    return head + texts + b"e" + struct.pack(">I", length)
