"""What the BrainPy importer refuses, and what it says then."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from tests.brainpy.marks import imported, needs_brainpy, nets, quiet

__all__ = ["nets"]  # a fixture, which pytest finds by its name


def refusals(nets: Any) -> dict[str, tuple[Any, dict[str, Any], str]]:
    """Networks that are refused: what makes one, what the importer is told, and the error."""
    bp, bm = nets.bp, nets.bm

    def group(cell: Any = None, **parts: Any) -> Any:
        made = bp.dyn.LifRef(4, V_th=20.0, **(cell or {})) if isinstance(cell, dict | None) else cell
        net = bp.DynSysGroup(cells=made)
        for name, part in parts.items():
            setattr(net, name, part(made))
        return net

    def link(kind: str = "FullProjAlignPost", comm: Any = None, tau: Any = 5.0, delay: Any = None) -> Any:
        return lambda cells: nets.projection(kind, bp.dnn.OneToOne(4, 1.0) if comm is None else comm, cells, tau, cells, delay)

    def coba(cells: Any) -> Any:
        return bp.dyn.FullProjAlignPost(pre=cells, delay=None, comm=bp.dnn.OneToOne(4, 1.0), syn=bp.dyn.Expon(4), out=bp.dyn.COBA(0.0),
                                        post=cells)

    def ran() -> Any:
        net = group()
        bm.for_loop(net.step_run, bm.arange(1))
        net.cells.spike.value = bm.ones(4, dtype=bool)
        return net

    return {
        "neuron": (lambda: group(bp.dyn.Izhikevich(4)), {}, "Population 'cells': class Izhikevich is not supported; there are Lif"),
        "projection": (lambda: group(p=lambda cells: bp.dyn.PoissonInput(cells.V, 3, 10.0, 1.0)), {}, "class PoissonInput is not"),
        "output": (lambda: group(p=coba), {}, "Projection 'p': COBA is not supported; the synapse must be Expon and its output CUBA"),
        "three": (lambda: group(a=link(tau=3.0), b=link(tau=4.0), c=link(tau=5.0)), {}, "'c': it gives 'cells' a third synaptic"),
        "loose": (lambda: group(p=lambda cells: bp.dnn.Dense(4, 4)), {}, r"'p' \(Dense\) is part of no projection"),
        "bias": (lambda: group(p=link(comm=bp.dnn.Dense(4, 4, b_initializer=bp.init.OneInit()))), {}, "its Dense has a bias"),
        "event": (lambda: group(p=link("FullProjAlignPreSD", nets.sparse(4, 4, 1.0, 1))), {}, "takes every value above 0 for one spike"),
        "ran": (ran, {}, r"it has spiked before; call bp.reset_state\(network\)"),
        "current": (lambda: nets.SmallNet(), {"arguments": (np.zeros(4, bool),), "inputs": {"kick": 4}, "sources": {"kick": "kick"}},
                    "update hands it a current of 14; if it is constant, give currents={'E': value}"),
        "source": (lambda: nets.SmallNet(), {"arguments": (np.zeros(4, bool),)}, "'kick': the object does not tell which spikes"),
        "arguments": (lambda: nets.SmallNet(), {}, r"One step of SmallNet.update failed .*give arguments=\(…\)"),
        "unknown": (lambda: group(), {"currents": {"other": 1.0}}, "currents names 'other'; there are cells"),
        "size": (lambda: group(), {"currents": {"cells": [1.0, 2.0]}}, "currents has 2 values for 4 neurons"),
        "reset": (lambda: group({"V_reset": 30.0, "tau_ref": 1.0}), {}, "V_reset is not below V_th"),
        "noise": (lambda: group({"noise": 1.0}), {}, "it has noise"),
        "method": (lambda: group({"method": "rk4"}), {}, "method ExplicitRK4 is not supported|method RK4 is not supported"),
        "tau": (lambda: group({"tau": 0.01, "method": "euler"}), {}, "is below the step 0.1 ms, which Euler's method jumps over"),
        "dt": (lambda: group(), {"dt": 0.0}, "dt must be a positive number of milliseconds, not 0.0"),
        "object": (lambda: 3, {}, "int is not a BrainPy network"),
        "new": (lambda: bp.state.CUBA(), {}, "CUBA is of BrainPy's new API"),
        "nothing": (lambda: bp.DynSysGroup(), {}, "DynSysGroup has no neurons that can be read"),
    }


@pytest.mark.slow
@needs_brainpy
@quiet
def test_what_is_not_known_is_refused_by_name(nets: Any) -> None:
    for make, options, message in refusals(nets).values():
        net = make()
        with pytest.raises(sl.NetworkError, match=message):
            sl.from_brainpy(net, **options)


@needs_brainpy
@quiet
def test_a_half_projections_source_is_checked_against_what_update_hands_over(nets: Any) -> None:
    net = nets.SmallNet("HalfProjAlignPostMg")
    right = {"kick": "kick", "E2E": "E", "E2I": "E", "I2E": "I", "I2I": "I"}
    with pytest.raises(sl.NetworkError, match="'I2I': update does not hand it the spikes of neurons 0 to 14 of 'E'"):
        imported(net, sources=right | {"I2I": "E"})
    with pytest.raises(sl.NetworkError, match="'E2E': it takes 60 spikes, but from neuron 3 on 'E' has 57"):
        imported(net, sources=right | {"E2E": ("E", 3)})
    with pytest.raises(sl.NetworkError, match="'E2E': its source 'X' is neither an input nor a population"):
        imported(net, sources=right | {"E2E": "X"})
    delayed = imported(net, sources=right | {"E2E": ("E", 0, 7)})
    assert {p.name: int(p.delay[0]) for p in delayed.projections if p.size} == {"E2E": 7, "E2I": 1, "I2E": 1, "I2I": 1, "kick": 0}
