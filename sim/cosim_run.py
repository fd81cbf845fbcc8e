"""Runs cocotb's runner on a compiled program: ``python -m spikeloom.sim.cosim_run PROGRAM DIRECTORY MODULE [+ARGUMENT…]``.

A process of its own, because the runner waits for the simulator; `cosim.CocotbTransport` starts and judges it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from spikeloom.sim.build import TOP


def main(program: str, directory: str, module: str, *arguments: str) -> None:
    """Run the tests of a module on ``program/sim.vvp`` and leave ``directory/results.xml``."""
    from cocotb_tools.runner import get_runner
    runner = get_runner("icarus")
    runner.test(test_module=module, hdl_toplevel=TOP, hdl_toplevel_lang="verilog", build_dir=program, test_dir=directory,
                plusargs=arguments, results_xml=str(Path(directory, "results.xml")))


if __name__ == "__main__":
    main(*sys.argv[1:])
