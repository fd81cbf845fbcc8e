"""What the state of a population can reach, and so how fine it may be: gains in fixed point, bounds on currents, the shift."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError
from spikeloom.host.quantisation.fan import Fan
from spikeloom.host.quantisation.quant_network import Ints, Reals
from spikeloom.params import ArrayParams

#: Fraction bits below a weight step that are worth more than room for improbable potentials.
WISHED_SHIFT = 8
#: Steps' worth of strongest input that the membrane must hold before saturating, where the proven bound asks for more.
HEADROOM = 4


class Bounds:
    """Gains of a population as the array holds them, and bounds on its state.

    ``alpha`` int64 (currents, neurons), ``beta`` int64 (neurons,): ``gain_bits`` fraction bits. ``limit``: the largest state.
    CompileError for gains and refractory periods that the array cannot hold.
    """

    def __init__(self, fan: Fan, params: ArrayParams) -> None:
        self.fan, self.params = fan, params
        self.limit = (1 << (params.state_bits - 1)) - 1
        if fan.currents > max(params.currents, 1):
            raise CompileError(f"{fan.title}: its neurons have {fan.currents} synaptic currents (projections of receptor 1); this "
                               f"array's have {params.currents}. Take an array with currents={fan.currents}")
        population = fan.population
        gains = (population.current_gain, population.second_current_gain)[:fan.currents]
        names = ("current", "second current")
        self.alpha = np.stack([self._gains(gain, name, below_one=True) for gain, name in zip(gains, names, strict=False)])
        if not params.currents and np.any(self.alpha):
            raise CompileError(f"{fan.title}: its synaptic current decays with a gain of {np.max(population.current_gain):g}; this "
                               f"array's neurons keep none. Take an array with currents=1")
        if population.floor and not params.floors:
            raise CompileError(f"{fan.title}: its potentials are bounded below by -threshold (floor); this array's are not. Take an "
                               f"array with floors=1")
        self.beta = self._gains(population.membrane_gain, "membrane", below_one=False)
        longest, most = int(np.max(population.refractory, initial=0)), (1 << params.refractory_bits) - 1
        if longest > most:
            raise CompileError(f"{fan.title}: its refractory period of {longest} steps exceeds the {most} that "
                               f"{params.refractory_bits} refractory bits count")

    def current(self, integers: Ints) -> Reals:
        """Bound on |u₀| + |u₁| in weight steps, (neurons,): geometric series; infinite where a current does not decay."""
        total = np.zeros(self.fan.population.size)
        for receptor, alpha in enumerate(self.alpha):
            left = 1 - alpha / (1 << self.params.gain_bits)
            strength = self._strength(integers, receptor)
            with np.errstate(divide="ignore", invalid="ignore"):
                total += np.where(strength > 0, np.where(left > 0, strength / left, np.inf), 0)
        return total

    def shift(self, integers: Ints, steps: Reals) -> int:
        """Largest k such that a weight step may be 2^k state units, below 0 when even 0 is too many."""
        population, beta = self.fan.population, self.beta / (1 << self.params.gain_bits)
        current = self.current(integers)
        if np.any(np.isinf(current)):
            raise CompileError(f"{self.fan.title}: a synaptic current with gain 1 or more has no bound; use a gain below 1")
        drive = current + np.abs(population.bias) * steps
        constants = self.fan.constants * steps
        proven = drive / np.maximum(1 - beta, 2.0 ** -10) + constants
        room = [self._bits_left(current), self._bits_left(2 * constants), self.params.state_bits - 2]
        wanted = self._bits_left(proven)
        if wanted < WISHED_SHIFT:
            wanted = min(WISHED_SHIFT, self._bits_left(HEADROOM * drive + constants))
        return min(*room, wanted)

    def check(self, integers: Ints, shift: int) -> None:
        """CompileError unless the state holds every synaptic current."""
        bound = self.current(integers) * 2.0 ** shift
        if np.any(bound > self.limit):
            worst = int(np.argmax(bound))
            why = "does not decay (its gain is 1 or more), so it has no bound" if np.isinf(bound[worst]) else \
                f"may reach {bound[worst]:.0f}"
            raise CompileError(f"{self.fan.title}: the synaptic current of neuron {worst} {why}; {self.params.state_bits} state "
                               f"bits hold {self.limit}. Take more state_bits, or a shorter synaptic time constant")

    def fit(self, values: Reals, name: str) -> Ints:
        """Whole numbers as int64; CompileError where the state does not hold them."""
        fixed = values.astype(np.int64)
        if fixed.size and (fixed.min() < -self.limit - 1 or fixed.max() > self.limit):
            raise CompileError(f"{self.fan.title}: its {name} runs from {fixed.min()} to {fixed.max()}; {self.params.state_bits} "
                               f"state bits hold {-self.limit - 1} to {self.limit}")
        return fixed

    def _gains(self, gain: npt.ArrayLike, what: str, below_one: bool) -> Ints:
        real, one = np.asarray(gain, np.float64), 1 << self.params.gain_bits
        if not np.all((real >= 0) & (real <= 2)):
            raise CompileError(f"{self.fan.title}: its {what} gain must lie in 0 to 2, not {real.min():g} to {real.max():g}")
        fixed = np.rint(real * one)
        if self.fan.population.integer and np.any(fixed != real * one):
            bad = real[fixed != real * one][0]
            raise CompileError(f"{self.fan.title}: its {what} gain {float(bad)!r} has more than {self.params.gain_bits} fraction "
                               f"bits, so an exact integer network cannot run on this array; take gain_bits up to 16, or round it")
        if below_one:  # a decay that became 1 could not be bounded
            fixed = np.where((real < 1) & (fixed >= one), one - 1, fixed)
        return np.asarray(fixed, np.int64)

    def _strength(self, integers: Ints, receptor: int) -> Reals:
        """The greatest sum in either direction that one step can bring a current, in weight steps, (neurons,)."""
        here = self.fan.receptor == receptor
        post, weight = self.fan.post[here], integers[here]
        sides = [np.bincount(post, np.maximum(sign * weight, 0), minlength=self.fan.population.size) for sign in (1, -1)]
        return np.asarray(np.maximum(*sides), np.float64)

    def _bits_left(self, values: Reals) -> int:
        most = float(np.max(values, initial=0))
        return self.params.state_bits if most == 0 else int(np.floor(np.log2((self.limit - 1) / most)))
