"""Networks made with BrainPy, and what BrainPy itself answers. Importing this needs BrainPy."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of its dependencies, about each other
    import brainpy as bp
    import brainpy.math as bm

DT = 0.1  # ms


def sparse(pre: int, post: int, weight: float, seed: int, *, probability: float = 0.2, spread: float = 0.0,
           layer: str = "EventCSRLinear") -> Any:
    """A sparse layer; its weights differ by ``spread``."""
    connection = bp.conn.FixedProb(probability, pre=pre, post=post, seed=seed)
    count = connection.require("csr")[0].size
    values = weight * (1 + spread * np.random.default_rng(seed).uniform(-1, 1, count)) if spread else weight
    return getattr(bp.dnn, layer)(connection, values if np.isscalar(values) else bm.asarray(values))


def projection(kind: str, comm: Any, post: Any, tau: float, pre: Any = None, delay: float | None = None) -> Any:
    """Any of BrainPy's projection classes with an ``Expon`` synapse (none for delta) and a ``CUBA`` output."""
    options = {} if kind.startswith("Half") else {"pre": pre, "delay": delay}
    dyn = bp.dyn
    if "Delta" in kind:
        return getattr(dyn, kind)(comm=comm, post=post, **options)
    size = pre.num if "AlignPre" in kind else post.num
    merged = kind.endswith("Mg")
    synapse = dyn.Expon.desc(size, tau=tau) if merged else dyn.Expon(size, tau=tau)
    output = dyn.CUBA.desc() if merged and "AlignPost" in kind else dyn.CUBA()
    return getattr(dyn, kind)(comm=comm, syn=synapse, out=output, post=post, **options)


class SmallNet(bp.DynSysGroup):  # type: ignore[misc]  # brainpy has no types
    """E and I neurons, random initial potentials, driven by a constant current and by ``kick``, spikes handed to update.

    ``order`` is the order of updates: a string of ``p`` (projections), ``E`` and ``I``.
    """

    CURRENT = 14.0

    def __init__(self, kind: str = "FullProjAlignPostMg", *, order: str = "pEI", tau_ref: float = 2.05,
                 delays: tuple[float | None, ...] = (None, None, None, None), excitatory: int = 60, inhibitory: int = 15) -> None:
        super().__init__()
        bm.random.seed(7)
        cell = {"V_rest": -60.0, "V_th": -50.0, "V_reset": -58.0, "tau": 20.0, "tau_ref": tau_ref,
                "V_initializer": bp.init.Normal(-55.0, 2.0)}
        self.E = bp.dyn.LifRef(excitatory, **cell)
        self.I = bp.dyn.LifRef(inhibitory, **{**cell, "tau": 10.0})
        scale = 0.05 if "Delta" in kind else 1.0
        self.half, self.order = kind.startswith("Half"), order
        ends = (("E2E", self.E, self.E, 2.0, 5.0), ("E2I", self.E, self.I, 2.0, 5.0), ("I2E", self.I, self.E, -4.0, 10.0),
                ("I2I", self.I, self.I, -4.0, 10.0))
        self.links = {}
        for seed, ((name, pre, post, weight, tau), delay) in enumerate(zip(ends, delays, strict=True)):
            layer = "CSRLinear" if "AlignPre" in kind else "EventCSRLinear"  # events would be all values above 0
            comm = sparse(pre.num, post.num, scale * weight, seed, spread=0.5, layer=layer)
            link = projection(kind, comm, post, tau, pre, delay)
            setattr(self, name, link)
            self.links[name] = pre
        merged = "HalfProjAlignPost" if order[0] == "p" else "HalfProjAlignPostMg"  # BrainPy's own condition
        self.kick = projection(merged, bp.dnn.Dense(4, excitatory, b_initializer=None), self.E, 5.0)
        self.kick.comm.W = bm.asarray(np.random.default_rng(9).uniform(0, 8, (4, excitatory)))

    def update(self, kick: Any) -> Any:
        for part in self.order:
            if part == "p":
                self.kick(kick)
                for name, pre in self.links.items():
                    getattr(self, name)(*((pre.spike.value,) if self.half else ()))
            else:
                getattr(self, part)(self.CURRENT)
        return self.E.spike.value, self.I.spike.value


class Cuba(bp.DynSysGroup):  # type: ignore[misc]  # brainpy has no types
    """The current-based benchmark network of Brette et al. 2007 (J. Comput. Neurosci. 23, 349): 4,000 neurons, 2 % of all pairs.

    Voltages in mV: rest −49 (above the threshold −50, so that it is active by itself), reset −60, membrane 20 ms,
    refractory 5 ms; excitation 1.62 mV, 5 ms; inhibition −9 mV, 10 ms.
    """

    def __init__(self, excitatory: int = 3200, inhibitory: int = 800, seed: int = 1) -> None:
        super().__init__()
        bm.random.seed(seed)
        cell = {"V_rest": -49.0, "V_th": -50.0, "V_reset": -60.0, "tau": 20.0, "tau_ref": 5.0,
                "V_initializer": bp.init.Uniform(-60.0, -50.0)}
        self.E = bp.dyn.LifRef(excitatory, **cell)
        self.I = bp.dyn.LifRef(inhibitory, **cell)
        ends = (("E2E", self.E, self.E, 1.62, 5.0), ("E2I", self.E, self.I, 1.62, 5.0), ("I2E", self.I, self.E, -9.0, 10.0),
                ("I2I", self.I, self.I, -9.0, 10.0))
        for number, (name, pre, post, weight, tau) in enumerate(ends):
            comm = sparse(pre.num, post.num, weight, 10 * seed + number, probability=0.02)
            setattr(self, name, projection("FullProjAlignPostMg", comm, post, tau, pre))

    def update(self) -> Any:
        for part in (self.E2E, self.E2I, self.I2E, self.I2I, self.E, self.I):
            part()
        return self.E.spike.value, self.I.spike.value


def kicks(steps: int) -> npt.NDArray[np.bool_]:
    """Spikes for the input of :class:`SmallNet`: (steps, 4)."""
    return np.random.default_rng(3).random((steps, 4)) < 0.02


def run(network: Any, steps: int, *given: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.bool_]]:
    """BrainPy's spikes of E and I: (steps, neurons); ``given`` are arguments of update for each step."""
    excitatory, inhibitory = bm.for_loop(network.step_run, (bm.arange(steps), *(bm.asarray(array) for array in given)))
    return {"E": np.asarray(excitatory).astype(bool), "I": np.asarray(inhibitory).astype(bool)}
