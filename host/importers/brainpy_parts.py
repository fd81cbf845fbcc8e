"""What BrainPy's objects mean: synapse lists of ``comm`` layers, delays of projections, refractory steps, gains."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.networks.population import Floats, Ints

#: Steps over which the rounding of BrainPy's clock is looked at: one second at 0.1 ms.
CLOCK_STEPS = 10_000
_INTEGRATORS = {"ExponentialEuler": "exponential", "Euler": "euler"}


@dataclass(frozen=True)
class ProjectionKind:
    """One of BrainPy's projection classes.

    ``half``: the user's update hands it the spikes. ``side``: where the synapse stands: after the weights (``post``), before
    them (``pre``), or nowhere (``delta``: weights go straight to the membrane). ``decays``: a spike's weight decays once
    before the neuron sees it first. ``early``: the delay is read while the source is updated, before this step's value is
    written to it.
    """

    half: bool
    side: Literal["pre", "post", "delta"]
    decays: bool = False
    early: bool = False


KINDS = {
    "HalfProjAlignPostMg": ProjectionKind(True, "post", decays=True),
    "FullProjAlignPostMg": ProjectionKind(False, "post", decays=True),
    "HalfProjAlignPost": ProjectionKind(True, "post"),
    "FullProjAlignPost": ProjectionKind(False, "post"),
    "FullProjAlignPreSDMg": ProjectionKind(False, "pre"),
    "FullProjAlignPreDSMg": ProjectionKind(False, "pre", early=True),
    "FullProjAlignPreSD": ProjectionKind(False, "pre"),
    "FullProjAlignPreDS": ProjectionKind(False, "pre"),
    "HalfProjDelta": ProjectionKind(True, "delta"),
    "FullProjDelta": ProjectionKind(False, "delta"),
}


def array(value: Any) -> Any:
    """A BrainPy number or array as NumPy's."""
    return np.asarray(getattr(value, "value", value))


def flat(title: str, name: str, value: Any, size: int) -> Floats:
    """A parameter as float64 (size,); NetworkError where it has another size."""
    values = np.asarray(array(value), np.float64)
    if values.size not in (1, size):
        raise NetworkError(f"{title}: {name} has {values.size} values for {size} neurons")
    return np.broadcast_to(values.reshape(-1), (size,)).copy()


def span(values: npt.ArrayLike) -> str:
    """A number, or the range of several, for a message."""
    low, high = np.min(values), np.max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def decay(title: str, integral: Any, tau: Floats, dt: float) -> Floats:
    """What a state keeps in a step of dt (ms): exp(−dt/τ), under Euler's method 1 − dt/τ. NetworkError for other methods."""
    method = _INTEGRATORS.get(type(integral).__name__)
    if method is None:
        raise NetworkError(f"{title}: method {type(integral).__name__} is not supported; use method='exp_auto' or 'euler'")
    if not np.all(tau > 0):
        raise NetworkError(f"{title}: its time constant must be positive, not {tau.min():g} ms")
    gain = np.exp(-dt / tau) if method == "exponential" else 1 - dt / tau
    if gain.min() < 0:
        raise NetworkError(f"{title}: its time constant {tau.min():g} ms is below the step {dt:g} ms, which Euler's method jumps "
                           f"over; use method='exp_auto'")
    return gain


def refractory(tau_ref: Floats, dt: float, clock: Any, tau_values: Any) -> tuple[Ints, float]:
    """Steps for which each neuron is refractory, and the share of spikes after which BrainPy itself takes another number.

    BrainPy holds a neuron in the steps in which ``t - t_last <= tau_ref``, so for the floor of tau_ref/dt steps. Where
    tau_ref is a multiple of dt, the rounding of ``t`` (``clock``, as BrainPy computes it) decides whether the last is one.
    """
    steps = np.floor(tau_ref / dt + 1e-6).astype(np.int64)
    wrong = 0.0
    values = np.broadcast_to(np.asarray(tau_values).reshape(-1), tau_ref.shape)
    for value, count in {(v, int(s)) for v, s in zip(values, steps, strict=True)}:
        if 0 < count < len(clock) - 1:
            last = clock[count:-1] - clock[:-count - 1] <= value
            further = clock[count + 1:] - clock[:-count - 1] <= value
            wrong = max(wrong, float(np.mean(~last | further)))
    return steps, wrong


def delay_steps(kind: ProjectionKind, steps: int | None, length: int, source_first: bool, target_first: bool) -> int:
    """Steps from a spike to the step in which the neuron sees it.

    BrainPy (2.8) reads its ring of ``length`` values at the place that was written ``steps - 1`` steps ago: a delay of
    k ≥ 2 steps is k − 1. For k = 1 it is the place of this very step, which holds the value of ``length`` steps ago until
    the source is updated, and then this step's. Without delay it is the source's value now: of the last step, until
    the source is updated. A projection updated after its target is seen a step later.
    """
    late = int(target_first)
    if kind.early:
        base = 0 if not steps else length if steps == 1 else steps - 1
        return base + (0 if source_first else 1) + late
    if not steps:
        return (0 if source_first else 1) + late
    if steps == 1:
        return (0 if source_first else length) + late
    return steps - 1 + late


def registered(projection: Any, kind: ProjectionKind, delay_identifier: str) -> tuple[int | None, int]:
    """The delay of a full projection as BrainPy holds it, in steps, and the length of the ring it is read from."""
    entry, refs = projection.name, projection.refs
    if kind.early:
        delay = refs["pre"].get_aft_update(delay_identifier)
        access = next(model.access for model in delay.before_updates.values() if getattr(model, "syn", None) is refs["syn"])
        entry = access._delay_entry
    else:
        delay = refs.get("delay") or refs["pre"].get_aft_update(delay_identifier)
    return delay._registered_entries[entry], int(delay.max_length)


def synapses(title: str, comm: Any, sources: int, targets: int) -> tuple[Ints, Ints, Floats]:
    """The synapses (pre, post, weight) of a ``comm`` layer; NetworkError for layers that are not linear or not known."""
    name = type(comm).__name__
    if not type(comm).__module__.startswith("brainpy."):
        name = f"{type(comm).__module__}.{name}"
    if name in ("CSRLinear", "EventCSRLinear"):
        pre, post, weight = _csr(title, comm)
    elif name in ("OneToOne", "Identity"):
        weight = np.broadcast_to(np.asarray(array(getattr(comm, "weight", 1.0)), np.float64).reshape(-1), (sources,)).copy()
        pre = post = np.arange(sources)
    else:
        pre, post, weight = _dense(_matrix(title, name, comm, sources))
    if pre.size and (pre.max() >= sources or post.max() >= targets):
        raise NetworkError(f"{title}: its {name} reaches from neuron {pre.max()} to {post.max()}, beyond the {sources} and "
                           f"{targets} neurons at its ends")
    return pre, post, weight


def _csr(title: str, comm: Any) -> tuple[Ints, Ints, Floats]:
    if not comm.transpose:
        raise NetworkError(f"{title}: {type(comm).__name__} with transpose=False reads its matrix the other way; build it with "
                           f"transpose=True")
    indptr = array(comm.indptr).astype(np.int64)
    post = array(comm.indices).astype(np.int64)
    weight = np.broadcast_to(np.asarray(array(comm.weight), np.float64).reshape(-1), post.shape).copy()
    return np.repeat(np.arange(len(indptr) - 1), np.diff(indptr)), post, weight


def _matrix(title: str, name: str, comm: Any, sources: int) -> Floats:
    """Weights (sources, targets) of a layer that holds, or can be asked for, the whole matrix."""
    if name in ("Dense", "Linear"):
        if comm.b is not None and np.any(array(comm.b)):
            raise NetworkError(f"{title}: its Dense has a bias, a constant input to a synapse; use b_initializer=None and, for a "
                               f"constant current of the neurons, currents")
        return np.asarray(array(comm.W), np.float64)
    if name == "AllToAll":
        matrix = np.broadcast_to(np.asarray(array(comm.weight), np.float64), (comm.num_pre, comm.num_post)).copy()
        if not comm.include_self:
            np.fill_diagonal(matrix, 0)
        return matrix
    if name == "MaskedLinear":
        weight, mask = array(comm.weight), array(comm.mask)
        return np.asarray(array(comm.mask_fun(weight * mask)), np.float64)
    if "JitFP" in name and name.endswith("Linear"):
        return _probed(comm, sources)
    raise NetworkError(f"{title}: comm {name} is not supported; use Dense, AllToAll, OneToOne, MaskedLinear, CSRLinear, "
                       f"EventCSRLinear or one of the JitFP…Linear layers")


def _probed(comm: Any, sources: int) -> Floats:
    """The matrix of a layer that stores only a seed: its answer to each source's spike alone."""
    math = import_module("brainpy.math")
    event = type(comm).__name__.startswith("Event")
    rows = []
    for source in range(sources):
        spike = np.zeros(sources, bool if event else float)
        spike[source] = 1
        rows.append(np.asarray(array(comm(math.asarray(spike))), np.float64))
    return np.stack(rows)


def _dense(matrix: Floats) -> tuple[Ints, Ints, Floats]:
    pre, post = np.nonzero(matrix)
    return pre.astype(np.int64), post.astype(np.int64), matrix[pre, post]
