"""Exporter profiles: the step rule that each framework means by the numbers it writes to a NIR file.

NIR files hold differential equations. The step dt, the integrator, the reset and the comparison are not in them, so that
the same file run by other rules gives other spikes. A profile names the rule of one framework, as read in its exporter and
its neuron's forward pass. What neither the file nor the framework decides must be given by the user: nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from spikeloom.errors import NetworkError

#: ``subtract``: v − ρ; ``zero``: v = 0; ``value``: v = the file's v_reset.
Reset = Literal["subtract", "zero", "value"]
RESETS: tuple[Reset, ...] = ("subtract", "zero", "value")


@dataclass(frozen=True, kw_only=True)
class Profile:
    """One framework's rule.

    Parameters
    ----------
    name, description
        The framework; its discretisation in words, for reports and documentation.
    dt, dt_help
        Default step in seconds (sinabs: in steps). None: it must be given (``dt_help`` says where it is found), or, under
        ``rockpool``, is recovered from the file.
    integrator
        How τ dv/dt = (v_leak − v) + r x becomes a step: ``euler``, ``exponential`` (exact for a constant x), or
        ``rockpool`` (exponential decay, input added whole).
    strict
        Spike if v > θ; else if v ≥ θ.
    reset, reset_help
        What a spike does; None: it must be given, and why.
    order
        ``new``: v sees the synaptic current after its update; ``old``: before it, one step later.
    late_subtract
        The subtraction of θ takes place in the next step, after the decay: v − θ/β at once.
    per_step
        IF and I add r x in a step; else dt r x.
    fused
        The framework computes β v + x, not v + (dt/τ)((v_leak − v) + r x): the rounding differs.
    choose_input
        LIF and LI scale their input by 1 − β or not at all, and the file does not tell: ``norm_input`` must be given.
    several
        The framework's neurons may spike several times in a step: only approximated here.
    precision
        Floating point type that the framework computes in.
    """

    name: str
    description: str
    dt: float | None = None
    dt_help: str = ""
    integrator: Literal["euler", "exponential", "rockpool"] = "euler"
    strict: bool = True
    reset: Reset | None = None
    reset_help: str = ""
    order: Literal["new", "old"] = "new"
    late_subtract: bool = False
    per_step: bool = False
    fused: bool = False
    choose_input: bool = False
    several: bool = False
    precision: Literal["float32", "float64"] = "float32"


PROFILES: dict[str, Profile] = {profile.name: profile for profile in (
    Profile(
        name="snntorch",
        description="snnTorch's export_to_nir: Euler with dt = 1e-4 s, so that I' = (1 − dt/τ_syn) I + x and "
                    "v' = (1 − dt/τ_mem) v + I'; spike if v > θ. reset='subtract' (snnTorch's default) subtracts θ in the "
                    "next step, after the decay, which is θ/β at once; reset='zero' sets v = 0. The file does not tell of "
                    "two things that from_snntorch reads: with reset='zero' Synaptic, RLeaky and RSynaptic also stay at 0 for "
                    "the step that follows; reset_delay=False subtracts θ before the decay, and adds it again where v > 2 θ.",
        dt=1e-4, late_subtract=True, per_step=True, fused=True,
        reset_help="snnTorch writes v_reset = 0 for both of its resets: give reset='subtract' (its default "
                   "reset_mechanism) or reset='zero'",
    ),
    Profile(
        name="norse",
        description="Norse's to_nir and from_nir: Euler, v' = v + (dt/τ)((v_leak − v) + r x), in CubaLIF with I' before v' "
                    "(from_nir's LIBox and LIFBox; the LIFCell that it was exported from adds x to I whole, which from_norse "
                    "does); IF adds r x; spike if v > θ; v = v_reset, which the file does not hold but as 0, at once.",
        dt_help="Norse 1.1.0 scales time constants by to_nir's dt (1e-3 by default), later versions by "
                "time_scaling_factor (1); give dt in the unit of the file's tau",
        reset="value", per_step=True,
    ),
    Profile(
        name="sinabs",
        description="sinabs' to_nir: time in steps (dt = 1), exponential leak; IF adds r x; LIF and LI scale the input by "
                    "1 − β if norm_input; spike if v ≥ θ; subtracts θ at once. sinabs itself may spike several times in a step "
                    "(MultiSpike, its default) and may bound v below; the file holds neither, and one spike a step is taken.",
        dt=1.0, integrator="exponential", strict=False, reset="subtract", per_step=True, choose_input=True, several=True,
    ),
    Profile(
        name="spikingjelly",
        description="SpikingJelly's export_to_nir: Euler with dt = 1e-4 s, v' = v + (dt/τ)((v_leak − v) + r x); IF adds "
                    "dt r x; spike if v ≥ θ. reset='value' is its hard reset to v_reset, reset='subtract' its soft reset by "
                    "θ, both at once.",
        dt=1e-4, strict=False,
        reset_help="SpikingJelly writes its soft reset as a hard reset to 0: give reset='subtract' if v_reset was None in "
                   "the framework, else reset='value'",
    ),
    Profile(
        name="rockpool",
        description="Rockpool's to_nir: exponential decay, I' = β_syn (I + w_in x), v' = β v + I' (r is written as "
                    "τ exp(−dt/τ)/dt, from which dt is recovered if not given); LI is β (v + x); spike if v ≥ θ; subtracts "
                    "θ at once. Rockpool itself may spike several times in a step; one spike a step is taken.",
        dt_help="it could not be recovered from r = tau exp(-dt/tau)/dt, on which the file's neurons do not agree",
        integrator="rockpool", strict=False, reset="subtract", several=True,
    ),
    Profile(
        name="brainpy",
        description="BrainPy's LIF (method exp_auto): v' = v_∞ + (v − v_∞) exp(−dt/τ) with v_∞ = v_leak + r x; spike if "
                    "v ≥ θ; v = v_reset at once.",
        dt_help="bm.get_dt() gives it in milliseconds",
        integrator="exponential", strict=False, reset="value",
    ),
)}


def profile(name: str) -> Profile:
    """The named profile; NetworkError lists the names when it is unknown."""
    try:
        return PROFILES[name]
    except KeyError:
        raise NetworkError(f"There is no profile {name!r}; the exporters are {', '.join(PROFILES)}") from None
