"""Estimates of speed and energy. Nothing here was measured on a board.

**Speed**: images a second = clock / cycles per image, where the cycles come from the simulated RTL or from the model of
:mod:`spikeloom.host.estimates.cycles`, and the clock (100 MHz on a PYNQ-Z2) is assumed; it counts neither the host nor the DMA.

**Energy** of a run: the exact counts of the run times an energy for each access, for a 28 nm part at 1.0 V:

=========================================================== =========================================== ========
what                                                          how many                                     pJ each
=========================================================== =========================================== ========
RAMB36 reads for synapse words                                READS · lanes · weight_bits / 72             23
RAMB36 reads for axon lists (folded arrays only)              READS / 2 (an entry: half a RAMB36)          23
RAMB36 accesses for neurons (over 128 rows; else LUT-RAM)     neurons · ticks · (7 reads + 3 writes) / 2   23
DSP multiplications (decays of v and of each current)         neurons · ticks · (1 + currents)             4
=========================================================== =========================================== ========

The two energies are this project's working figures for the order of magnitude, not a vendor's data; so the estimate is a
range, from half (−50 %) to double (+100 %). It leaves out what has no count here: look-up tables, routing, the clock tree,
packets in the mesh, the host port, **static power, the processor and its memory**, which on a Zynq-7000 board
draw far more than the array.
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.errors import InputError
from spikeloom.image import Image
from spikeloom.machine import Result

#: Energy of an access in pJ: see above.
RAMB36_PJ, DSP_PJ = 23.0, 4.0
#: Ends of the range, as multiples of the middle.
LOW, HIGH = 0.5, 2.0
#: Bits that one RAMB36 gives in a cycle.
RAMB36_BITS = 72
#: Deepest neuron memory that is built of look-up tables.
LUT_RAM_ROWS = 128
#: Accesses to neuron memories in an update: u, v, refractory count, θ, bias, reset and class are read, the first three written.
NEURON_ACCESSES = 10


@dataclass(frozen=True)
class Energy:
    """Dynamic energy per sample in µJ, as a range, and the middle's shares (µJ): an estimate."""

    low: float
    mid: float
    high: float
    shares: dict[str, float]

    def plain(self) -> dict[str, float]:
        """The range as plain data."""
        return {"low": self.low, "mid": self.mid, "high": self.high}


def energy(result: Result, samples: int, steps: int) -> Energy:
    """Energy per sample of a run of ``samples`` samples, from its counts; the arithmetic stands at the head of this file.

    InputError for a run without samples.
    """
    return energy_of(result.image, result.stats["READS"], samples, steps)


def energy_of(image: Image, reads: int, samples: int, steps: int) -> Energy:
    """The same for an image and the synapse words that ``samples`` samples read, counted or predicted."""
    if samples < 1 or steps < 1:
        raise InputError("An energy per sample needs at least one sample of one step")
    params, each = image.params, reads / samples
    updates = _neurons(image) * image.ticks(steps)
    shares = {"synapses": each * params.lanes * params.weight_bits / RAMB36_BITS * RAMB36_PJ,
              "axon lists": each / 2 * RAMB36_PJ if params.lists else 0.0,
              "neuron memories": updates * NEURON_ACCESSES / 2 * RAMB36_PJ if params.neuron_rows > LUT_RAM_ROWS else 0.0,
              "multipliers": updates * (1 + params.currents) * DSP_PJ}
    micro = {name: value * 1e-6 for name, value in shares.items()}
    middle = sum(micro.values())
    return Energy(middle * LOW, middle, middle * HIGH, micro)


def _neurons(image: Image) -> int:
    return sum(population.size for population in image.populations)


def images_per_second(cycles_per_image: float, clock_mhz: float) -> float:
    """Simulated cycles at an assumed clock."""
    return clock_mhz * 1e6 / cycles_per_image


def latency_us(cycles_per_image: float, clock_mhz: float) -> float:
    """Time of one image on the array in µs, at an assumed clock, without host and DMA."""
    return cycles_per_image / clock_mhz
