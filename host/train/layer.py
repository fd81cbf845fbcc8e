"""A population and its synapses as a torch module."""

from __future__ import annotations

import math
from typing import Any, Literal

import torch
from torch import Tensor, nn

from spikeloom.errors import NetworkError
from spikeloom.host.train.arithmetic import SURROGATES, rtz, saturate, spike, straight_through
from spikeloom.host.train.weights import LEVELS, Levels, largest, quantise_weights

#: Fraction bits of gains that every array has.
GAIN_BITS = 12
#: Whole numbers up to here are exact in float32, in which sums of weights are formed: each term has at most 8 bits, so that
#: reduced precision (bfloat16, TF32) with float32 accumulation is exact too.
_EXACT = 1 << 24


class Layer(nn.Module):
    """Neurons with weights from an input or from the layer before, computed in the integers of the array.

    In every step, for spikes s (0 or 1), integer weights w and biases b, and gains in multiples of 1/4096::

        u ← rtz(u · α) + 2^k Σ w s
        v ← saturate(rtz(v · β) + u + b)
        spike if v ≥ θ and the refractory count is 0;  then v ← saturate(v − θ) or v ← 0, and the count ← refractory

    Parameters
    ----------
    inputs, neurons
        Their numbers.
    weight_bits, levels
        2 to 8 bits; ``symmetric`` (with 0) or ``odd`` (±1, ±3, …: no stored weight is 0).
    decay, current_decay
        β and α, 0 to 2, rounded to the nearest multiple of 1/4096 (``membrane_gain`` and ``current_gain`` tell which). β = 0:
        a step forgets the one before; α = 0: no synaptic current.
    threshold
        Integer θ; None: ``2^shift · √inputs`` times half the largest weight, about what random spikes add up to.
    reset, refractory, hold
        ``subtract`` or ``zero``; steps without a spike after one; whether v then stays as it is.
    shift
        k: states are 2^k finer than weights. 0 is right without decays; 6 keeps their rounding far below a weight.
    bias
        Whether neurons have a trained bias.
    spiking
        False: readouts, whose potentials are the result.
    surrogate, width
        Derivative of the spike, one of ``SURROGATES``, and the distance from the threshold that it reaches; None: θ's default.
    state_bits
        Width of the states in the array (16 to 32): where the potential saturates.
    name
        The population's name; None: ``layer1``, ``layer2`` and so on.

    Members
    -------
    latent
        What is trained for the weights: float32 (neurons, inputs), −1 … 1 for all levels. ``weights()`` are the integers.
    offset
        What is trained for the biases, float32 (neurons,), in units of ``width``. ``biases()`` are the integers.

    NetworkError for a parameter that the array cannot have.
    """

    def __init__(self, inputs: int, neurons: int, *, weight_bits: int = 4, levels: Levels = "symmetric", decay: float = 0.0,
                 current_decay: float = 0.0, threshold: int | None = None, reset: Literal["subtract", "zero"] = "subtract",
                 refractory: int = 0, hold: bool = False, shift: int = 0, bias: bool = True, spiking: bool = True,
                 surrogate: str = "fast_sigmoid", width: float | None = None, state_bits: int = 24, name: str | None = None) -> None:
        super().__init__()
        self.title = f"Layer {name!r}" if name else f"Layer of {neurons} neurons"
        self._ranges(inputs=(inputs, 1, _EXACT), neurons=(neurons, 1, _EXACT), weight_bits=(weight_bits, 2, 8),
                     refractory=(refractory, 0, 63), shift=(shift, 0, 31), state_bits=(state_bits, 16, 32))
        self._choices(levels=(levels, LEVELS), reset=(reset, ("subtract", "zero")), surrogate=(surrogate, tuple(SURROGATES)))
        if inputs * largest(weight_bits) >= _EXACT:
            raise NetworkError(f"{self.title}: sums of {inputs} weights of {weight_bits} bits are not exact in float32; use "
                               f"fewer inputs or bits")
        usual = max(1.0, 2.0**shift * math.sqrt(inputs) * largest(weight_bits) / 2)
        self.threshold = round(usual) if threshold is None else threshold
        limit = 1 << (state_bits - 1)
        self._ranges(threshold=(self.threshold, -limit, limit - 1))
        self.width = usual if width is None else float(width)
        if not self.width > 0:
            raise NetworkError(f"{self.title}: width must be above 0, not {width}")
        self.inputs, self.neurons, self.weight_bits, self.levels = inputs, neurons, weight_bits, levels
        self.membrane_gain, self.current_gain = self._gain("decay", decay), self._gain("current_decay", current_decay)
        self.reset, self.refractory, self.hold, self.shift, self.spiking = reset, refractory, hold, shift, spiking
        self.surrogate, self.state_bits, self.name = surrogate, state_bits, name
        self.latent = nn.Parameter(torch.empty(neurons, inputs).uniform_(-0.5, 0.5))
        self.offset = nn.Parameter(torch.zeros(neurons)) if bias else None

    def weights(self) -> Tensor:
        """The integer weights, float32 (neurons, inputs), with the latent weights' gradient."""
        return quantise_weights(self.latent, self.weight_bits, self.levels)

    def biases(self) -> Tensor:
        """The integer biases, float64 (neurons,), with the gradient of what is trained; 0 without a bias."""
        if self.offset is None:
            return torch.zeros(self.neurons, dtype=torch.float64, device=self.latent.device)
        exact = self.offset.double() * self.width
        return saturate(straight_through(exact, exact.round()), self.state_bits)

    def forward(self, spikes: Tensor) -> tuple[Tensor, Tensor]:
        """Spikes float32 and potentials after each step float64, (samples, steps, neurons), from (samples, steps, inputs)."""
        if spikes.ndim != 3 or spikes.shape[2] != self.inputs:
            raise NetworkError(f"{self.title}: spikes must be (samples, steps, {self.inputs}), not {tuple(spikes.shape)}")
        sums = nn.functional.linear(spikes.to(self.latent.dtype), self.weights()).double() * 2.0**self.shift
        state: State | None = None
        fired, potentials = [], []
        for drive in self._steps(sums):
            output, state = self._step(drive, state)
            fired.append(output)
            potentials.append(state[1])
        return torch.cat(fired, 1).reshape(sums.shape).float(), torch.cat(potentials, 1).reshape(sums.shape)

    def clip_(self) -> None:
        """Bring latent weights back into −1 … 1, where they have a gradient: call it after each step of the optimiser."""
        with torch.no_grad():
            self.latent.clamp_(-1, 1)

    def extra_repr(self) -> str:
        """What torch prints."""
        return (f"{self.inputs}, {self.neurons}, weight_bits={self.weight_bits}, levels={self.levels!r}, decay={self.membrane_gain}, "
                f"current_decay={self.current_gain}, threshold={self.threshold}, reset={self.reset!r}")

    def _steps(self, sums: Tensor) -> tuple[Tensor, ...]:
        """Sums a step, (samples, 1, neurons) each; where no step knows of another, all of them as one."""
        apart = self.membrane_gain or self.current_gain or (self.spiking and self.refractory)
        return sums.split(1, 1) if apart else (sums,)

    def _step(self, drive: Tensor, state: State | None) -> tuple[Tensor, State]:
        zero = torch.zeros_like(drive)
        current, membrane, count = state or (zero, zero, zero)
        current = rtz(current, self.current_gain) + drive
        risen = saturate(rtz(membrane, self.membrane_gain) + current + self.biases(), self.state_bits)
        membrane = torch.where(count > 0, membrane, risen) if self.hold else risen
        if not self.spiking:
            return zero, (current, membrane, count)
        output = spike((membrane - self.threshold) / self.width, self.surrogate) * (count == 0)
        happened = output.detach()  # the reset is taken as constant
        lowered = saturate(membrane - self.threshold, self.state_bits) if self.reset == "subtract" else torch.zeros_like(membrane)
        membrane = torch.where(happened > 0, lowered, membrane)
        count = torch.where(happened > 0, float(self.refractory), (count - 1).clamp(min=0))
        return output, (current, membrane, count)

    def _gain(self, name: str, value: float) -> float:
        gain = round(float(value) * (1 << GAIN_BITS)) / (1 << GAIN_BITS)
        if not 0 <= gain <= 2:
            raise NetworkError(f"{self.title}: {name} must be 0 to 2, not {value}")
        return gain

    def _ranges(self, **given: tuple[Any, int, int]) -> None:
        for name, (value, low, high) in given.items():
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise NetworkError(f"{self.title}: {name} must be an integer from {low} to {high}, not {value!r}")

    def _choices(self, **given: tuple[str, tuple[str, ...]]) -> None:
        for name, (value, known) in given.items():
            if value not in known:
                raise NetworkError(f"{self.title}: {name} must be {' or '.join(map(repr, known))}, not {value!r}")


#: Current, membrane and refractory count, float64 (samples, steps, neurons) each.
State = tuple[Tensor, Tensor, Tensor]
