"""What an array takes of a part, before anybody synthesises it.

**Block RAM**: memories that the gateware asks to be block RAM (``ram_style``), each in the fewest halves of a RAMB36 over the aspect
ratios of a simple dual-port RAMB36 (72 × 512 … 1 × 32k) and RAMB18 (36 × 512 … 1 × 16k). **DSP**: a multiplication for the potential and
for each current of the neurons that are updated in a cycle. **LUT, flip-flops**: linear in sizes of the structure, fitted by least
squares of the relative error to what Yosys counts; :data:`LUT_ERROR` and :data:`FF_ERROR` are the largest errors of a point that was
left out of the fit; ``docs/performance.md`` says why it may be worse elsewhere.
``benchmarks/resources.py`` makes all this from ``docs/resources.json``, where DSPs agree exactly and block RAM but for one point (3 %).
"""

from __future__ import annotations

from dataclasses import dataclass

from spikeloom.host.boards import Board
from spikeloom.memories import Memory, memory_specs, state_memories
from spikeloom.params import ArrayParams

#: What is fitted, by feature: see :func:`features`.
LUTS: tuple[float, ...] = (0.9451, 2.0174, 546.7318, 324.8767, 1260.5268, 478.9964)
FFS: tuple[float, ...] = (1.181, 0.205, -4.4317, 514.885, 1254.6297, 827.9577)
#: Largest relative error of an array that was left out of the fit.
LUT_ERROR, FF_ERROR = 0.1193, 0.0992
#: What the system around the array takes (an estimate, as in ``benchmarks/synthesis.py``).
AROUND = {"luts": 6_000, "ffs": 8_000, "ramb36": 6.0, "dsps": 0}
#: Share of a part that an array with the system around it may take.
SHARES = {"luts": 0.9, "ffs": 0.9, "ramb36": 1.0, "dsps": 1.0}


@dataclass(frozen=True)
class Resources:
    """Of a whole array; a RAMB18 is half a ``ramb36``."""

    luts: int
    ffs: int
    ramb36: float
    dsps: int

    def over(self, board: Board) -> list[str]:
        """Names of the resources that, with the system around the array, exceed the board's share."""
        return [name for name, share in SHARES.items() if getattr(self, name) + AROUND[name] > share * board.resources[name]]


def halves(width: int, depth: int) -> int:
    """RAMB18 (two to a RAMB36) of a simple dual-port memory, bits × entries."""
    ratios = [(36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384)]
    small = min(-(-width // w) * -(-depth // d) for w, d in ratios)
    large = min(2 * -(-width // w) * -(-depth // d) for w, d in [(72, 512), *((w, 2 * d) for w, d in ratios)])
    return min(small, large)


def memories(params: ArrayParams) -> list[tuple[int, int, bool]]:
    """(bits, entries, in block RAM) of the memories of one core, as the gateware makes them."""
    specs = memory_specs(params)
    found = [(params.chunks * params.chunk_lanes * params.weight_bits, params.words, True)] * params.banks
    depth = params.delays * (1 << (params.delay_depth - 1).bit_length())
    if params.delays > 1:
        found.append((params.block + params.block_bits + 2 * params.banks, depth, depth > 128))  # of each bank, whether one axon, or more
    for memory in (*state_memories(params), Memory.NEURON_CLASS, Memory.THRESHOLD, Memory.BIAS, Memory.RESET):
        found += [(specs[memory].entry.bits, params.neuron_rows, params.neuron_rows > 128)] * params.neurons_per_cycle
    for memory, more, copies in ((Memory.FANOUT, 0, 1), (Memory.DESTINATIONS, 2, 2)):  # what is kept beside an entry; copies in LUT-RAM
        block = specs[memory].span > 256
        found += [(specs[memory].entry.bits + more, specs[memory].span, block)] * (1 if block else copies)
    if params.lists:
        found.append((params.lanes * params.accumulator_bits, 2 * params.folds, False))
        for memory in (Memory.AXONS, Memory.ENTRIES):
            found += [(specs[memory].entry.bits, specs[memory].sizes[0], specs[memory].sizes[0] > 64)] * params.banks
    return found


def features(params: ArrayParams) -> tuple[float, ...]:
    """Sizes that LUTs and flip-flops are linear in, over all cores: bits of the lanes' registers, LUTs that LUT-RAM would fill at a bit and
    64 entries each, banks with lists, neurons a cycle, and cores; and 1, for the host port."""
    tree = sum((params.banks >> level) * (params.weight_bits + level) for level in range(1, params.banks.bit_length()))
    lanes = params.lanes * (params.accumulator_bits * (1 if params.lists else 2) + tree)
    shallow = sum(width * -(-depth // 64) for width, depth, block in memories(params) if not block)
    return (*(float(params.cores * value) for value in
              (lanes, shallow, params.banks * params.lists, params.neurons_per_cycle, 1)), 1.0)


def resources(params: ArrayParams) -> Resources:
    """An estimate for any array."""
    sizes = features(params)
    blocks = sum(halves(width, depth) for width, depth, block in memories(params) if block)
    luts, ffs = (sum(a * b for a, b in zip(fitted, sizes, strict=True)) for fitted in (LUTS, FFS))
    return Resources(round(luts), round(ffs), params.cores * blocks / 2, params.cores * params.neurons_per_cycle * (1 + params.currents))
