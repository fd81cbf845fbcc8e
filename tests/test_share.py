"""Alike modules are compiled once, and nothing else about a design changes."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.params import ArrayParams
from spikeloom.sim.build import TOP, verilator_library, verilog_text
from spikeloom.sim.share import LARGE, share_modules
from tests.loopback import VERILOG

LEAF = """module \\t.{name} (\\a${n} , q);
  reg \\$auto$9{n}  = 0;
  input \\a${n} ;
  wire \\a${n} ;
  output q;
  wire q;
  assign q = {sign}\\a${n} ;
endmodule
"""
PARENT = """module t(x, \\y );
  input x;
  output [1:0] \\y ;
  \\t.one  one (
    .\\a$1 (x),
    .q(\\y [0])
  );
  \\t.two  two (
    .\\a$27 (x),
    .q(\\y [1])
  );
endmodule
"""


def names(verilog: str) -> list[str]:
    return re.findall(r"^module ([^\s(]+)", verilog, re.MULTILINE)


def test_modules_that_differ_in_numbers_become_one() -> None:
    text = share_modules(LEAF.format(name="one", n=1, sign="") + LEAF.format(name="two", n=27, sign="") + PARENT, "t")
    assert names(text) == ["\\t.one", "t"]
    assert re.findall(r"^  (\\t\.\w+)  (\w+) \(\n    \.(\S+) \(x\)", text, re.MULTILINE) \
        == [("\\t.one", "one", "\\#0"), ("\\t.one", "two", "\\#0")]
    assert "assign q = \\#0 ;" in text
    assert "$27" not in text


def test_modules_that_differ_otherwise_stay() -> None:
    text = share_modules(LEAF.format(name="one", n=1, sign="") + LEAF.format(name="two", n=27, sign="~") + PARENT, "t")
    assert names(text) == ["\\t.one", "\\t.two", "t"]


def test_a_text_without_the_top_is_left_alone() -> None:
    assert share_modules("module other; endmodule\n", "t") == "module other; endmodule\n"


def test_the_cores_of_an_array_become_one() -> None:
    params = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=64, block=8, delay_depth=16, destinations=32)
    whole = verilog_text(params)
    shared = share_modules(whole, TOP)
    cores = re.compile(r"^module (\\spikeloom\.mesh\.core_\d_\d) ", re.MULTILINE)
    assert len(cores.findall(whole)) == 4
    assert cores.findall(shared) == ["\\spikeloom.mesh.core_0_0"]
    assert len(re.findall(r"^  \\spikeloom\.mesh\.core_0_0  core_\d_\d \(", shared, re.MULTILINE)) == 4
    assert shared.count("no_inline_module") == 1
    assert len(whole) > LARGE
    ports = re.compile(r"^module spikeloom *\(([^;]*)\);", re.MULTILINE)
    assert ports.findall(shared) == ports.findall(whole)


def test_the_shared_array_computes_what_the_golden_model_does() -> None:
    """Four cores in use, so that a port wired to the wrong one would show."""
    rng = np.random.default_rng(8)
    params = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=64, block=8, delay_depth=16, destinations=32)
    network = sl.from_arrays(
        inputs={"in": 16}, populations={"a": {"size": 30, "threshold": 9}, "b": {"size": 20, "threshold": 5}},
        projections=[{"source": "in", "target": "a", "weights": rng.integers(-7, 8, (30, 16))},
                     {"source": "a", "target": "b", "weights": rng.integers(-7, 8, (20, 30))}])
    image = sl.compile(network, params=params)
    assert image.report["array"]["cores"][0] == 4
    spikes = rng.random((4, 15, 16)) < 0.4
    with sl.open("golden") as golden, sl.open("rtl", params) as rtl:
        runs = []
        for machine in (golden, rtl):
            machine.load(image)
            runs.append(machine.run(spikes, potentials="steps", record=["a", "b"]))
    for name in ("a", "b"):
        assert runs[0].spikes[name].any()
        np.testing.assert_array_equal(runs[0].spikes[name], runs[1].spikes[name])
        np.testing.assert_array_equal(runs[0].states[name], runs[1].states[name])


def test_a_cache_may_be_named_from_where_one_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    library = verilator_library(VERILOG, Path("cache"))
    assert library.is_absolute()
    assert library.parent == tmp_path / "cache"
