"""Verilog of an array, written by Amaranth with the Yosys that its extra brings."""

import os

from spikeloom.hdl.top import Top
from spikeloom.params import ArrayParams

#: Name of the Verilog module.
MODULE = "spikeloom"


def verilog(params: ArrayParams) -> str:
    """The top module and all below it as one Verilog text; equal parameters give equal text."""
    from amaranth.back import verilog as back
    os.environ.setdefault("AMARANTH_USE_YOSYS", "builtin")  # the packaged Yosys; a system's own may be too old
    return str(back.convert(Top(params), name=MODULE, emit_src=False, strip_internal_attrs=True))
