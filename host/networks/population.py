"""Populations: neurons of one kind, whatever framework they come from.

A population's neurons follow, in every step and per neuron, the rule of the hardware with real numbers::

    u₀ ← α₀ u₀ + g Σ w s                current_gain α₀ (0: no synaptic current), input_gain g; synapses of receptor 0
    u₁ ← α₁ u₁ + g Σ w s                second_current_gain α₁; synapses of receptor 1, if there are any
    v ← β v + u₀ + u₁ + b               membrane_gain β, bias b
    spike if v > θ (strict) or v ≥ θ, unless refractory
    then v ← v − ρ or v ← ρ             reset "subtract" or "value", reset_value ρ
    and refractory for r steps          during which v still integrates, or stays as it is (hold)

With ``floor``, v is raised to −θ where it is lower, before it is compared.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, Literal, Protocol, TypeVar, cast, overload

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.networks.values import check_name, check_shape

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Reals = npt.NDArray[Any]  # float32 or float64, as the rule's precision says
Scalar = TypeVar("Scalar", bound=np.generic)

#: Fraction bits of the gains of integer populations: what the finest array holds.
INTEGER_GAIN_BITS = 16
_GAINS = ("current_gain", "second_current_gain", "membrane_gain")
_UNSET = float("nan")  # told apart from a NaN of the user by identity


class Rule(Protocol):
    """A framework's own order of floating point operations for one step, used by :func:`spikeloom.host.networks.reference.reference`.

    It states the same equations as the population's gains; only the rounding of the real numbers differs.
    """

    @property
    def precision(self) -> str:
        """``float32`` or ``float64``: what the arrays are."""

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """New (current, membrane) before spike and reset from the old ones and Σ w s; all are (samples, n)."""


class PerNeuron(Generic[Scalar]):
    """A dataclass field that takes a number or an array and is read as an array; the population broadcasts it to (n,)."""

    def __init__(self, default: npt.ArrayLike) -> None:
        self._default = default

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type) -> PerNeuron[Scalar]: ...

    @overload
    def __get__(self, instance: object, owner: type) -> npt.NDArray[Scalar]: ...

    def __get__(self, instance: object | None, owner: type) -> PerNeuron[Scalar] | npt.NDArray[Scalar]:
        if instance is None:
            return cast("PerNeuron[Scalar]", self._default)  # what dataclass() takes for the default
        return cast("npt.NDArray[Scalar]", instance.__dict__[self._name])

    def __set__(self, instance: object, value: npt.ArrayLike) -> None:
        instance.__dict__[self._name] = value


@dataclass(frozen=True, kw_only=True, eq=False)
class Population:
    """Neurons of one kind with parameters of their own.

    Parameters
    ----------
    name, shape
        Its name, and the shape in which its neurons are numbered (C order).
    current_gain, second_current_gain, membrane_gain, input_gain, bias, threshold, reset_value
        α₀, α₁, β, g, b, θ and ρ of the module's equations: a number, or an array of the population's shape; read as float64
        (n,). ``reset_value`` is by default the threshold (``subtract``) or 0 (``value``).
    strict, reset, refractory, hold
        As in the equations; ``refractory`` in steps, int64 (n,).
    floor
        Whether v stays at or above −θ (sinabs's min_v_mem = −θ); for spiking neurons with θ ≥ 0 that are not ``strict``.
    spiking
        False for readouts: they never spike, their v is read, and threshold and reset mean nothing.
    integer
        Every number is already an integer in hardware units and is taken exactly; products with α and β (multiples of
        2**-16) are rounded toward zero. The input gain must be a power of two.
    rule
        The framework's order of operations for the float reference, of neurons with one synaptic current; None: the
        equations as written, in float64.

    Raises NetworkError, naming the population, for anything that contradicts this.
    """

    name: str
    shape: tuple[int, ...]
    current_gain: PerNeuron[np.float64] = PerNeuron(0.0)
    second_current_gain: PerNeuron[np.float64] = PerNeuron(0.0)
    membrane_gain: PerNeuron[np.float64] = PerNeuron(1.0)
    input_gain: PerNeuron[np.float64] = PerNeuron(1.0)
    bias: PerNeuron[np.float64] = PerNeuron(0.0)
    threshold: PerNeuron[np.float64] = PerNeuron(1.0)
    strict: bool = False
    reset: Literal["subtract", "value"] = "subtract"
    reset_value: PerNeuron[np.float64] = PerNeuron(_UNSET)
    refractory: PerNeuron[np.int64] = PerNeuron(0)
    hold: bool = False
    floor: bool = False
    spiking: bool = True
    integer: bool = False
    rule: Rule | None = None

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __post_init__(self) -> None:
        title = self._title
        check_name(self.name, "Population")
        object.__setattr__(self, "shape", check_shape(self.shape, title))
        if self.reset not in ("subtract", "value"):
            raise NetworkError(f"{title}: reset must be 'subtract' or 'value', not {self.reset!r}")
        unset = self.__dict__["reset_value"] is _UNSET
        if unset:
            self.__dict__["reset_value"] = self.__dict__["threshold"] if self.reset == "subtract" and self.spiking else 0.0
        for name in (*_GAINS, "input_gain", "bias", "threshold", "reset_value"):
            self.__dict__[name] = self._values(name)
        refractory = self._values("refractory")
        if np.any(refractory != np.floor(refractory)) or np.any(refractory < 0):
            raise NetworkError(f"{title}: refractory must be steps 0, 1, 2 …, not {refractory.min():g}")
        self.__dict__["refractory"] = refractory.astype(np.int64)
        for name in _GAINS:
            gain: Floats = getattr(self, name)
            if gain.min() < 0 or gain.max() > 2:
                raise NetworkError(f"{title}: {name} must be 0 to 2, not {gain.min():g} to {gain.max():g}")
        if self.floor and (self.strict or not self.spiking or np.any(self.threshold < 0)):
            raise NetworkError(f"{title}: floor is for spiking neurons with v ≥ threshold ≥ 0, not strict ones, nor readouts")
        if self.integer:
            self._check_integers()

    @property
    def _title(self) -> str:
        return f"Population {self.name!r}"

    def _values(self, name: str) -> Floats:
        raw = self.__dict__[name]
        try:
            array = np.asarray(raw, np.float64)
        except (TypeError, ValueError):
            raise NetworkError(f"{self._title}: {name} must be a number or an array of numbers, not {raw!r}") from None
        if array.size == 1:
            array = np.full(self.size, array.reshape(()))
        elif array.shape in (self.shape, (self.size,)):
            array = array.reshape(self.size).copy()
        else:
            raise NetworkError(f"{self._title}: {name} has shape {array.shape}; expected {self.shape} or one number")
        if not np.all(np.isfinite(array)):
            bad = int(np.flatnonzero(~np.isfinite(array))[0])
            raise NetworkError(f"{self._title}: {name} of neuron {bad} is {array[bad]}; every number must be finite")
        array.flags.writeable = False
        return array

    def _check_integers(self) -> None:
        for name in ("input_gain", "bias", "threshold", "reset_value"):
            values: Floats = getattr(self, name)
            if np.any(values != np.round(values)):
                bad = int(np.flatnonzero(values != np.round(values))[0])
                raise NetworkError(f"{self._title}: {name} of neuron {bad} is {values[bad]:g}, not an integer")
        if np.any(np.frexp(self.input_gain)[0] != 0.5):
            raise NetworkError(f"{self._title}: input_gain of an integer population must be a power of two from 1 on")
        for name in _GAINS:
            scaled = getattr(self, name) * 2.0**INTEGER_GAIN_BITS
            if np.any(scaled != np.round(scaled)):
                raise NetworkError(f"{self._title}: {name} of an integer population must be a multiple of "
                                   f"2**-{INTEGER_GAIN_BITS}")
