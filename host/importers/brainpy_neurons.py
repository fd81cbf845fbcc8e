"""BrainPy's LIF neurons as populations; the equations stand in :mod:`spikeloom.host.importers.brainpy_import`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers import brainpy_parts as parts
from spikeloom.host.networks.network import NodeReport, Population
from spikeloom.host.networks.population import Floats, Ints


def input_gain(title: str, node: Any, dt: float) -> Floats:
    """What a current of 1 adds to each membrane in a step: R (1 − β), (n,)."""
    tau = parts.flat(title, "tau", node.tau, node.num)
    return parts.flat(title, "R", node.R, node.num) * (1 - parts.decay(title, node.integral, tau, dt))


def read_population(bp: Any, path: str, node: Any, gains: Sequence[Floats], current: Floats, dt: float) -> \
        tuple[Population, NodeReport]:
    """The population, and what became of it.

    ``gains`` holds α of its one or two synaptic currents (none: no synapses), ``current`` its constant input (n,).
    NetworkError for noise, training, scaled membranes, and for neurons that have spiked already.
    """
    title = f"Population {path!r}"
    _check_state(bp, title, node)
    names = ("V_rest", "R", "tau") + (("V_reset", "V_th") if hasattr(node, "V_th") else ())
    p = {name: parts.flat(title, name, getattr(node, name), node.num) for name in names}
    start = parts.flat(title, "V", node.V, node.num)
    beta = parts.decay(title, node.integral, p["tau"], dt)
    detail = f"{int(node.num)} neurons" + (f", constant current {parts.span(current)}" if np.any(current) else "")
    options: dict[str, Any] = {"spiking": False}
    if hasattr(node, "V_th"):
        options = {"threshold": p["V_th"] - start, "reset": "value", "reset_value": p["V_reset"] - start}
    wrong = 0.0
    if hasattr(node, "tau_ref"):
        steps, wrong = _refractory(bp, title, node, dt)
        if np.any(steps[p["V_reset"] >= p["V_th"]] > 0):
            raise NetworkError(f"{title}: V_reset is not below V_th, so that BrainPy makes refractory neurons spike; give a lower one")
        options |= {"refractory": steps, "hold": bool(steps.any())}
        detail += f", refractory for {parts.span(steps)} steps"
    if wrong:
        detail += (f"; in BrainPy a step fewer or more for {100 * wrong:.3g} % of the spikes of the first "
                   f"{parts.CLOCK_STEPS} steps, as the rounding of its clock has it")
    population = Population(
        name=path, shape=tuple(node.size), current_gain=gains[0] if gains else 0.0, second_current_gain=gains[1] if len(gains) > 1 else 0.0,
        membrane_gain=beta, input_gain=input_gain(title, node, dt), bias=(1 - beta) * (p["V_rest"] + p["R"] * current - start), **options)
    return population, NodeReport(path, type(node).__name__, "approximated" if wrong else "exact", detail)


def _check_state(bp: Any, title: str, node: Any) -> None:
    if isinstance(node.mode, (bp.math.TrainingMode, bp.math.BatchingMode)):
        raise NetworkError(f"{title}: {node.mode} is not supported; build the network in BrainPy's non-batching mode")
    if getattr(node, "noise", None) is not None:
        raise NetworkError(f"{title}: it has noise, which a deterministic network cannot have; build it without")
    if (float(node.scaling.scale), float(node.scaling.bias)) != (1.0, 0.0):
        raise NetworkError(f"{title}: scaled membranes are not supported; build it without scaling")
    if np.any(parts.array(node.spike)) or np.any(parts.array(getattr(node, "t_last_spike", -1e7)) > -1e6):
        raise NetworkError(f"{title}: it has spiked before; call bp.reset_state(network)")


def _refractory(bp: Any, title: str, node: Any, dt: float) -> tuple[Ints, float]:
    clock = parts.array(bp.math.arange(parts.CLOCK_STEPS) * dt)
    tau = parts.flat(title, "tau_ref", node.tau_ref, node.num)
    return parts.refractory(tau, dt, clock, tau.astype(clock.dtype))
