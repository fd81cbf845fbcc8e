"""Integer populations (Loihi's and others): taken exactly as they are, or refused."""

from __future__ import annotations

import numpy as np

from spikeloom.errors import CompileError
from spikeloom.host.quantisation.fan import Fan
from spikeloom.host.quantisation.quant_network import Ints, digit_range
from spikeloom.params import ArrayParams

#: Weights of integer networks: signed, so many bits.
INTEGER_BITS = 16


def exact(fan: Fan, params: ArrayParams) -> tuple[Ints, int]:
    """Integer weights (synapses,) and k: the zeros that all of them end in become the shift, so a weight step is 2^k.

    CompileError where a number is no integer or a weight has more than 16 bits.
    """
    integers = np.rint(fan.weight).astype(np.int64)
    if np.any(integers != fan.weight):
        raise CompileError(f"{fan.title}: is marked integer but has the weight {float(fan.weight[integers != fan.weight][0])!r}")
    for name in ("bias", "reset_value"):
        values = np.asarray(getattr(fan.population, name), np.float64)
        if np.any(values != np.rint(values)):
            raise CompileError(f"{fan.title}: is marked integer but its {name} is not")
    low, high = -(1 << (INTEGER_BITS - 1)), (1 << (INTEGER_BITS - 1)) - 1
    common = int(np.bitwise_or.reduce(np.abs(integers))) if integers.size else 0
    shift = min((common & -common).bit_length() - 1, params.state_bits - 1) if common else 0
    weights = integers >> shift
    if weights.size and (weights.min() < low or weights.max() > high):
        raise CompileError(f"{fan.title}: its weights run from {integers.min()} to {integers.max()}; integer networks have "
                           f"at most {INTEGER_BITS} bits, beyond zeros that all of them end in")
    return weights, shift


def slices_for(integers: Ints, params: ArrayParams) -> int:
    """Fewest digits that hold all weights but a few, which take a second word."""
    for slices in range(1, params.max_slices + 1):
        low, high = digit_range(params.weight_bits, slices)
        beyond = (integers < low) | (integers > high)
        twice = (integers < 2 * low) | (integers > 2 * high)
        if 4 * np.count_nonzero(beyond) <= len(beyond) and not np.any(twice):
            return slices
    return params.max_slices
