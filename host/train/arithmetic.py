"""The array's integer arithmetic on torch tensors, with a gradient for each step that has none.

Numbers of the state are whole numbers in float64: a state has at most 32 bits and a gain 13, so every product is exact. What
the forward pass computes is docs/semantics.md; the gradients are

- of rounding and of quantisation: 1 (the straight-through estimator: Bengio, Léonard and Courville, arXiv 1308.3432);
- of saturation: 1 inside the range, 0 beyond it;
- of the spike: a surrogate, one of :data:`SURROGATES`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

#: Derivatives that stand for that of the step function, of the distance x = (v − θ) / width from the threshold; each is 1 at 0.
SURROGATES: dict[str, Callable[[Tensor], Tensor]] = {
    # SuperSpike: Zenke and Ganguli, Neural Computation 30 (2018)
    "fast_sigmoid": lambda x: (1 + x.abs()) ** -2,
    # Esser et al., PNAS 113 (2016); Bellec et al., NeurIPS 2018
    "triangle": lambda x: (1 - x.abs()).clamp(min=0),
    # Fang et al., ICCV 2021
    "atan": lambda x: 1 / (1 + (torch.pi / 2 * x) ** 2),
    # Hubara et al., NeurIPS 2016, for binary neurons
    "box": lambda x: (x.abs() <= 1).to(x.dtype),
}


class _StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, value: Tensor, exact: Tensor) -> Tensor:
        return exact.clone()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient, None


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, distance: Tensor, surrogate: str) -> Tensor:
        context.surrogate = surrogate
        context.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * SURROGATES[context.surrogate](*context.saved_tensors), None


def straight_through(value: Tensor, exact: Tensor) -> Tensor:
    """``exact`` to the bit, with the gradient of ``value``; both of one shape and dtype."""
    made: Tensor = _StraightThrough.apply(value, exact.detach())
    return made


def rtz(value: Tensor, gain: float) -> Tensor:
    """``value · gain`` rounded toward zero; gain a multiple of 2^−12, value whole numbers of at most 32 bits in float64."""
    product = value * gain
    return straight_through(product, product.trunc())


def saturate(value: Tensor, bits: int) -> Tensor:
    """``value`` within the range of ``bits`` bits of two's complement."""
    return value.clamp(-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1)


def spike(distance: Tensor, surrogate: str = "fast_sigmoid") -> Tensor:
    """1 where ``distance`` ≥ 0, else 0, in its dtype. ``distance`` is (v − θ) / width: its sign is exact, as width > 0."""
    fired: Tensor = _Spike.apply(distance, surrogate)
    return fired
