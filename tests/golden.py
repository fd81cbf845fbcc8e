"""A lone core on the golden model, and what tests of it share."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spikeloom.fields import Ints
from spikeloom.image import Image
from spikeloom.params import ArrayParams
from spikeloom.sim.golden import GoldenMachine

PARAMS = ArrayParams(lanes=16, banks=2, words=64, block=8, delays=8, delay_depth=16, destinations=32, state_bits=16)
ONE = 1 << PARAMS.gain_bits
TWO = replace(PARAMS, currents=2)
TOP, BOTTOM = (1 << 15) - 1, -(1 << 15)


def run(image: Image, spikes: Any, population: str = "core_0_0") -> tuple[Any, Ints]:
    """Spikes and potentials of every step of one sample, (steps, neurons) each."""
    machine = GoldenMachine()
    machine.load(image)
    result = machine.run(np.asarray(spikes, bool), potentials="steps", record=[population])
    return result.spikes[population], result.states[population]


def pulse(steps: int, at: int = 0, inputs: int = 1) -> Any:
    """Every input spikes once, in step ``at``."""
    spikes = np.zeros((steps, inputs), bool)
    spikes[at] = True
    return spikes
