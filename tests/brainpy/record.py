"""Writes the recorded networks: ``python -m tests.brainpy.record``, where BrainPy is installed (``brainpy[cpu]`` 2.8.2)."""

from __future__ import annotations

import numpy as np

import spikeloom as sl
from tests.brainpy import nets
from tests.brainpy.recorded import FOLDER, save

STEPS = 400


def main() -> None:
    """One network for each way in which BrainPy weights synapses, with delays, in double precision."""
    nets.bm.enable_x64()
    nets.bm.set_dt(nets.DT)
    for kind, order in (("FullProjAlignPostMg", "pEI"), ("FullProjAlignPost", "pEI"), ("FullProjAlignPostMg", "EpI")):
        network = nets.SmallNet(kind, order=order, delays=(None, 0.2, 0.3, 0.5))
        kicks = nets.kicks(STEPS)
        imported = sl.from_brainpy(network, inputs={"kick": 4}, sources={"kick": "kick"}, arguments=(np.zeros(4, bool),),
                                   currents={"E": network.CURRENT, "I": network.CURRENT})
        save(FOLDER / f"{kind}_{order}.npz", imported, {"kick": kicks}, nets.run(network, STEPS, kicks))


if __name__ == "__main__":
    main()
