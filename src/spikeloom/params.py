"""The parameters of an array: one validated description from which gateware, compiler and models are made."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

from spikeloom.fields import bits_for

#: Bits of one configuration word: half a RAMB36 row, and the widest memory entry.
DATA_BITS = 36


def _power_of_two(name: str, value: int) -> None:
    if value < 1 or value & (value - 1):
        raise ValueError(f"{name} must be a power of two, not {value}")


def _between(name: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{name} must be {low} to {high}, not {value}")


@dataclass(frozen=True, kw_only=True)
class ArrayParams:
    """Shape and widths of a spiking core array.

    Parameters
    ----------
    columns, rows
        Cores in the mesh, each 1 to 16. Core (x, y) counts from the corner where the host port sits.
    lanes
        Synapse columns in a core: cells of ``weight_bits`` read together, each with an accumulator.
    folds
        Accumulators behind a lane (power of two). 1 keeps them in registers, more in LUT-RAM.
    banks
        Synapse memories in a core that are read in the same cycle and added before the accumulator (power of two).
    words
        Synapse words in a bank: with one fold, also its axons.
    weight_bits
        Width of a stored cell, signed.
    accumulator_bits
        Width of an accumulator, signed. The compiler proves that no image overflows it.
    state_bits
        Width of the synaptic current u, the membrane potential v, thresholds, biases and resets, signed.
    gain_bits
        Fraction bits of the decay gains, which lie in [0, 2].
    classes
        Neuron classes in a core (gains, shift, refractory period, reset).
    neurons_per_cycle
        Neurons that a core updates in a cycle (power of two); a neuron of s slices needs s cycles.
    delays
        Longest delay of a spike in ticks (power of two).
    delay_depth
        Packets that may wait in a core for one future tick.
    block
        Axons that one packet addresses, as a bit mask (power of two, at most 32).
    axons, entries
        With more than one fold: axons in a bank, and entries of their (word, fold) lists.
    destinations
        Destination entries in a core.
    refractory_bits
        Width of the refractory counter.
    phases
        Largest number of ticks in a step of a slowed network.
    depths
        Largest number of ticks by which a population may start after its sample, plus one.
    currents
        Synaptic currents that a neuron may have, 0 to 2. With 0 there is no state for them: what synapses add acts in its own
        tick only (α = 0). With 2 each core chooses; a neuron with two takes lanes for both.
    floors
        1: classes may hold v at or above −θ; 0: they may not.
    """

    columns: int = 1
    rows: int = 1
    lanes: int = 72
    folds: int = 1
    banks: int = 4
    words: int = 512
    weight_bits: int = 4
    accumulator_bits: int = 14
    state_bits: int = 24
    gain_bits: int = 12
    classes: int = 8
    neurons_per_cycle: int = 2
    delays: int = 4
    delay_depth: int = 64
    block: int = 32
    axons: int = 512
    entries: int = 512
    destinations: int = 128
    refractory_bits: int = 6
    phases: int = 4
    depths: int = 16
    currents: int = 1
    floors: int = 0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int):
                raise TypeError(f"{field.name} must be an integer, not {value!r}")
        for name in ("folds", "banks", "neurons_per_cycle", "delays", "block"):
            _power_of_two(name, getattr(self, name))
        _between("columns", self.columns, 1, 16)
        _between("rows", self.rows, 1, 16)
        _between("folds", self.folds, 1, 256)
        _between("banks", self.banks, 1, 8)
        _between("words", self.words, 2, 1 << 14)
        _between("weight_bits", self.weight_bits, 2, 16)
        _between("state_bits", self.state_bits, 16, 32)
        _between("gain_bits", self.gain_bits, 12, 16)
        _between("accumulator_bits", self.accumulator_bits, self.weight_bits + bits_for(self.banks), 32)
        _between("classes", self.classes, 1, 64)
        _between("neurons_per_cycle", self.neurons_per_cycle, 1, 16)
        _between("delays", self.delays, 1, 64)
        _between("delay_depth", self.delay_depth, 2, 1 << 12)
        _between("block", self.block, max(self.neurons_per_cycle, self.banks), 32)
        _between("axons", self.axons, 2, 1 << 14)
        _between("entries", self.entries, 2, 1 << 16)
        _between("destinations", self.destinations, 2, 1 << 14)
        _between("refractory_bits", self.refractory_bits, 1, 16)
        _between("phases", self.phases, 1, 8)
        _between("depths", self.depths, 2, 256)
        _between("currents", self.currents, 0, 2)
        _between("floors", self.floors, 0, 1)
        _between("lanes", self.lanes, self.neurons_per_cycle, 1 << 10)
        if self.lanes % self.neurons_per_cycle:
            raise ValueError(f"lanes must be a multiple of neurons_per_cycle ({self.neurons_per_cycle}), not {self.lanes}")
        if self.bank_axons % (self.block // self.banks):
            raise ValueError(f"Axons in a bank ({self.bank_axons}) must be a multiple of block / banks "
                             f"({self.block // self.banks})")
        if self.block_bits > 12:
            raise ValueError(f"Packets number at most 4,096 blocks of axons or outputs, not {1 << self.block_bits}")

    # Derived values.

    @property
    def cores(self) -> int:
        """Cores in the array."""
        return self.columns * self.rows

    @property
    def lists(self) -> bool:
        """Whether axons walk a list of (word, fold) entries; else axon i of a bank reads word i."""
        return self.folds > 1

    @property
    def bank_axons(self) -> int:
        """Axons in a bank."""
        return self.axons if self.lists else self.words

    @property
    def core_axons(self) -> int:
        """Axons of a core. Axon a belongs to bank a mod ``banks``."""
        return self.bank_axons * self.banks

    @property
    def axon_blocks(self) -> int:
        """Blocks of axons in a core. Axon a is bit a mod ``block`` of block a div ``block``."""
        return self.core_axons // self.block

    @property
    def lane_rows(self) -> int:
        """Rows of ``neurons_per_cycle`` lanes that a fold drains."""
        return self.lanes // self.neurons_per_cycle

    @property
    def neuron_rows(self) -> int:
        """Rows of the neuron memories: neurons of a core over ``neurons_per_cycle``."""
        return self.folds * self.lane_rows

    @property
    def core_neurons(self) -> int:
        """Neurons of a core when each takes one lane."""
        return self.folds * self.lanes

    @property
    def chunk_lanes(self) -> int:
        """Cells in one configuration word of a synapse row."""
        return DATA_BITS // self.weight_bits

    @property
    def chunks(self) -> int:
        """Configuration words in a synapse row."""
        return -(-self.lanes // self.chunk_lanes)

    @property
    def max_slices(self) -> int:
        """Lanes that one neuron may take: digits of a weight of at most 16 bits."""
        return max(1, min(self.lane_rows, -(-16 // self.weight_bits)))

    @property
    def sum_bits(self) -> int:
        """Width of the joined sum of a neuron's slices, signed."""
        return self.accumulator_bits + self.weight_bits * (self.max_slices - 1) + 1

    @property
    def shift_bits(self) -> int:
        """Width of the exponent k that scales sums to the state."""
        return bits_for(self.state_bits)

    @property
    def x_bits(self) -> int:
        """Width of a core's column number."""
        return bits_for(self.columns)

    @property
    def y_bits(self) -> int:
        """Width of a core's row number."""
        return bits_for(self.rows)

    @property
    def output_blocks(self) -> int:
        """Blocks of outputs that the host port can tell apart: room for every neuron of the array."""
        return -(-self.cores * self.core_neurons // self.block)

    @property
    def block_bits(self) -> int:
        """Width of a block number in a packet."""
        return max(bits_for(self.axon_blocks), bits_for(self.output_blocks))

    @property
    def offset_bits(self) -> int:
        """Width of a row's place in a block, in units of ``neurons_per_cycle``."""
        return bits_for(self.block // self.neurons_per_cycle)

    @property
    def delay_bits(self) -> int:
        """Width of a delay, stored less one."""
        return bits_for(self.delays)

    def describe(self) -> dict[str, int]:
        """The parameters as plain data."""
        return dataclasses.asdict(self)

    def digest(self) -> str:
        """SHA-256 over the parameters and the contract's map, hexadecimal: equal for arrays that take the same images."""
        from spikeloom.memories import memory_map
        params = self.describe()
        for name, default in (("currents", 1), ("floors", 0)):  # the same array as before there was the choice
            if params[name] == default:
                del params[name]
        plain: dict[str, Any] = {"params": params, "memories": memory_map(self)}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()


#: Named arrays. ``pynq_z2``: throughput on an xc7z020; ``pynq_z2_folded``: capacity on the same part.
PRESETS: dict[str, ArrayParams] = {
    "tiny": ArrayParams(lanes=16, banks=2, words=64, block=8, delay_depth=16, destinations=32),
    "small": ArrayParams(columns=2, rows=2, lanes=32, banks=2, words=128, block=16, delay_depth=32),
    "pynq_z2": ArrayParams(columns=2, rows=2, lanes=144, neurons_per_cycle=4),
    "pynq_z2_folded": ArrayParams(columns=2, rows=2, lanes=64, folds=64, banks=2, words=512, weight_bits=8, accumulator_bits=18,
                                  state_bits=18, axons=2048, entries=1024, destinations=2048, delay_depth=32, refractory_bits=4, currents=0,
                                  floors=1),
}


def preset(name: str) -> ArrayParams:
    """The named array; ValueError lists the names when it is unknown."""
    try:
        return PRESETS[name]
    except KeyError:
        raise ValueError(f"Preset must be one of {', '.join(PRESETS)}, not {name!r}") from None
