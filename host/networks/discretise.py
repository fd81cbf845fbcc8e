"""Discretisation: neurons given by differential equations, as the step rule of a framework.

For each kind of NIR neuron this yields the gains α, β, g and the bias b of :class:`spikeloom.host.networks.population.Population`, and a
:class:`spikeloom.host.networks.population.Rule` with the framework's own order of floating point operations. With a = dt/τ:

============= ============================================== ==============================================
integrator    membrane, τ dv/dt = (v_leak − v) + r x          synapse, τ dI/dt = −I + w_in x
============= ============================================== ==============================================
euler         v' = v + a ((v_leak − v) + r x)                I' = I + a (−I + w_in x)
exponential   v' = v_∞ + (v − v_∞) e^−a, v_∞ = v_leak + r x  I' = I e^−a + (1 − e^−a) w_in x
rockpool      v' = v e^−a + r a e^a x  (LI: r a x)           I' = (I + w_in x) e^−a
============= ============================================== ==============================================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.profiles import Profile, Reset
from spikeloom.host.networks.population import Floats, Reals, Rule


@dataclass(frozen=True)
class Gains:
    """β v + u + b with u = α u + g (Σ w s + c): the population's own equations, in the framework's precision."""

    precision: str
    alpha: Floats
    beta: Floats
    gain: Floats
    bias: Floats
    offset: Floats

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        alpha, beta, gain, bias, offset = (x.astype(self.precision) for x in
                                           (self.alpha, self.beta, self.gain, self.bias, self.offset))
        current = alpha * current + gain * (drive + offset)
        return current, beta * membrane + current + bias


@dataclass(frozen=True)
class Euler:
    """v + a ((v_leak − v) + r i), where i is the drive Σ w s + c or, with ``synapse`` (a, w_in), I + a (w_in drive − I)."""

    precision: str
    rate: Floats
    leak: Floats
    resistance: Floats
    offset: Floats
    synapse: tuple[Floats, Floats] | None = None

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        rate, leak, resistance, offset = (x.astype(self.precision) for x in (self.rate, self.leak, self.resistance, self.offset))
        drive = drive + offset
        if self.synapse is not None:
            synapse_rate, w_in = (x.astype(self.precision) for x in self.synapse)
            current = drive = current + synapse_rate * (w_in * drive - current)
        return current, membrane + rate * ((leak - membrane) + resistance * drive)


@dataclass(frozen=True)
class Exponential:
    """v_∞ + (v − v_∞) β with v_∞ = v_leak + r i; ``synapse`` (α, w_in) makes i the current α I + (1 − α) w_in drive."""

    precision: str
    beta: Floats
    leak: Floats
    resistance: Floats
    offset: Floats
    synapse: tuple[Floats, Floats] | None = None

    def advance(self, current: Reals, membrane: Reals, drive: Reals) -> tuple[Reals, Reals]:
        """See :class:`spikeloom.host.networks.population.Rule`."""
        beta, leak, resistance, offset = (x.astype(self.precision) for x in (self.beta, self.leak, self.resistance, self.offset))
        drive = drive + offset
        if self.synapse is not None:
            alpha, w_in = (x.astype(self.precision) for x in self.synapse)
            current = drive = alpha * current + (1 - alpha) * (w_in * drive)
        limit = leak + resistance * drive
        return current, limit + (membrane - limit) * beta


@dataclass(frozen=True)
class Step:
    """A discretised neuron: the population's gains and its rule."""

    alpha: Floats
    beta: Floats
    gain: Floats
    bias: Floats
    rule: Rule


def rates(title: str, name: str, tau: Floats, dt: float, euler: bool) -> Floats:
    """dt/τ; NetworkError for time constants that are not positive, or that Euler's step jumps over."""
    if np.any(tau <= 0):
        raise NetworkError(f"{title}: {name} must be positive, not {tau.min():g}")
    rate = dt / tau
    if euler and np.any(rate > 1):
        raise NetworkError(f"{title}: {name} {tau.min():g} is below the step dt = {dt:g}; is dt, or the profile, "
                           f"that of the file?")
    return rate


def discretise(title: str, kind: str, parameters: Mapping[str, Floats], offset: Floats, profile: Profile, dt: float,
               norm_input: bool | None) -> Step:
    """The step rule of a NIR neuron.

    ``parameters`` are arrays (n,) by NIR's names; ``offset`` (n,) is a constant added to Σ w s. NetworkError, beginning with
    ``title``, for time constants that make no sense and for options that must be given.
    """
    p = parameters
    zero, one = np.zeros_like(offset), np.ones_like(offset)
    precision = profile.precision
    if kind == "Threshold":
        return _gains(precision, zero, zero, one, zero, offset)
    if kind in ("I", "IF"):
        return _gains(precision, zero, one, p["r"] * (1.0 if profile.per_step else dt), zero, offset)
    euler = profile.integrator == "euler"
    if kind in ("LI", "LIF"):
        rate = rates(title, "tau", p["tau"], dt, euler)
        beta, gain = _membrane(title, kind, p, rate, profile, norm_input)
        if not euler and not profile.choose_input and profile.integrator == "exponential":
            rule: Rule = Exponential(precision, beta, p["v_leak"], p["r"], offset)
        elif euler and not profile.fused:
            rule = Euler(precision, rate, p["v_leak"], p["r"], offset)
        else:
            return _gains(precision, zero, beta, gain, (1 - beta) * p["v_leak"], offset)
        return Step(zero, beta, gain, (1 - beta) * p["v_leak"] + gain * offset, rule)
    return _cuba(title, kind, p, offset, profile, dt)


def _gains(precision: str, alpha: Floats, beta: Floats, gain: Floats, bias: Floats, offset: Floats) -> Step:
    return Step(alpha, beta, gain, bias + gain * offset, Gains(precision, alpha, beta, gain, bias, offset))


def _membrane(title: str, kind: str, p: Mapping[str, Floats], rate: Floats, profile: Profile,
              norm_input: bool | None) -> tuple[Floats, Floats]:
    """β and the factor of the input, of a membrane without synaptic current."""
    if profile.integrator == "euler":
        return 1 - rate, rate * p["r"]
    beta = np.exp(-rate)
    if profile.integrator == "rockpool":
        return beta, p["r"] * rate / (beta if kind == "LIF" else 1)
    if profile.choose_input:
        if norm_input is None:
            raise NetworkError(f"{title}: the file does not tell whether {profile.name} scaled the input by 1 - beta; give "
                               f"norm_input=True (its default) or norm_input=False")
        return beta, p["r"] * ((1 - beta) if norm_input else 1)
    return beta, (1 - beta) * p["r"]


def _cuba(title: str, kind: str, p: Mapping[str, Floats], offset: Floats, profile: Profile, dt: float) -> Step:
    """CubaLI and CubaLIF: here u is the current as it reaches the membrane, r times its factor times NIR's I."""
    if np.any(offset):
        raise ValueError(f"{title}: a constant input to a synaptic current must come from a population")
    euler = profile.integrator == "euler"
    fast = rates(title, "tau_syn", p["tau_syn"], dt, euler)
    slow = rates(title, "tau_mem", p["tau_mem"], dt, euler)
    precision, leak, r, w_in = profile.precision, p["v_leak"], p["r"], p["w_in"]
    if euler:
        alpha, beta, gain = 1 - fast, 1 - slow, (w_in * fast) * (r * slow)
        rule: Rule = Euler(precision, slow, leak, r, offset, (fast, w_in))
    else:
        alpha, beta = np.exp(-fast), np.exp(-slow)
        gain = w_in * (1 - alpha) * r * (1 - beta)
        rule = Exponential(precision, beta, leak, r, offset, (alpha, w_in))
    if profile.integrator == "rockpool":
        gain = w_in * alpha * (r * slow / beta)
    bias = (1 - beta) * leak
    if profile.fused or profile.integrator == "rockpool":
        return _gains(precision, alpha, beta, gain, bias, offset)
    return Step(alpha, beta, gain, bias, rule)


def resets(title: str, reset: Reset, parameters: Mapping[str, Floats], beta: Floats, profile: Profile) -> dict[str, Any]:
    """The population's ``reset`` and ``reset_value`` under a profile; NetworkError where θ/β does not exist."""
    threshold = parameters["v_threshold"]
    if reset == "subtract":
        if profile.late_subtract and np.any(beta == 0):
            raise NetworkError(f"{title}: {profile.name} subtracts the threshold after the decay, which a membrane without "
                               f"memory (beta = 0) cannot do")
        return {"reset": "subtract", "reset_value": threshold / beta if profile.late_subtract else threshold}
    return {"reset": "value", "reset_value": np.zeros_like(threshold) if reset == "zero" else parameters["v_reset"]}


def recovered_dt(tau: Floats, r: Floats) -> float | None:
    """dt from Rockpool's r = τ exp(−dt/τ)/dt, so y eʸ = 1/r with y = dt/τ (Newton); None if the neurons do not agree."""
    if np.any(r <= 0) or np.any(tau <= 0):
        return None
    y = np.log1p(1 / r)
    for _ in range(50):  # quadratic from above: five or six do, for any r
        e = np.exp(y)
        y = y - (y * e - 1 / r) / (e * (1 + y))
    dt = y * tau
    return float(np.median(dt)) if np.ptp(dt) <= 1e-4 * float(np.median(dt)) else None
