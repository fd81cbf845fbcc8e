"""BrainPy's networks as Spikeloom reads them: its own spikes, kept in files, and, where BrainPy is installed, made in the test."""

from __future__ import annotations

import dataclasses
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.host.importers.brainpy_parts import KINDS, delay_steps, refractory, synapses
from tests.brainpy.marks import imported, needs_brainpy, nets, quiet
from tests.brainpy.recorded import FOLDER, load

__all__ = ["nets"]  # a fixture, which pytest finds by its name

STEPS = 300
RECORDED = sorted(FOLDER.glob("*.npz"))
def assert_same(network: sl.Network, given: dict[str, Any], spikes: dict[str, Any]) -> None:
    """The reference gives the very spikes, of which there are enough to mean something."""
    got = sl.reference(network, given).spikes
    for name, theirs in spikes.items():
        assert theirs.sum() > 20
        assert np.count_nonzero(got[name] != theirs) == 0, name


# Without BrainPy

@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_recorded_network_gives_brainpys_spikes(path: Any) -> None:
    network, inputs, spikes = load(path)
    assert {network.currents(name) for name in spikes} == {2}
    assert_same(network, inputs, spikes)


#: Two synaptic currents, and state wide enough that its rounding stays far below the float32 of BrainPy's own default.
SMALL = sl.ArrayParams(columns=2, rows=2, lanes=64, folds=8, banks=2, words=256, accumulator_bits=20, state_bits=32, gain_bits=16,
                       axons=128, entries=512, delays=8, currents=2)


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_the_compiled_network_spikes_within_half_a_millisecond_of_brainpys(path: Any) -> None:
    network, inputs, spikes = load(path)
    with sl.open("golden") as machine:
        machine.load(sl.compile(network, params=SMALL, weight_bits=16))
        got = machine.run(inputs).spikes
    for name, theirs in spikes.items():
        near = np.zeros_like(theirs)
        for shift in range(-5, 6):
            near |= np.roll(got[name], shift, axis=0)
        assert abs(int(got[name].sum()) - int(theirs.sum())) <= 0.02 * theirs.sum()
        assert np.count_nonzero(theirs & ~near) <= 0.02 * theirs.sum()


def test_there_are_recorded_networks() -> None:
    assert len(RECORDED) == 3


@pytest.mark.parametrize(("steps", "length", "source_first", "target_first", "early", "expected"), [
    (None, 0, False, False, False, 1), (None, 0, True, False, False, 0), (None, 5, False, False, False, 1),
    (0, 5, False, False, False, 1), (1, 1, False, False, False, 1), (1, 5, False, False, False, 5), (1, 5, True, False, False, 0),
    (2, 5, False, False, False, 1), (2, 5, True, False, False, 1), (5, 5, False, False, False, 4), (5, 5, True, True, False, 5),
    (None, 0, False, False, True, 1), (None, 0, True, False, True, 0), (1, 1, False, False, True, 2), (1, 5, True, False, True, 5),
    (3, 5, False, False, True, 3), (3, 5, True, False, True, 2),
])
def test_delays_are_those_that_an_impulse_showed_in_brainpy(
        steps: int | None, length: int, source_first: bool, target_first: bool, early: bool, expected: int) -> None:
    kind = KINDS["FullProjAlignPreDSMg" if early else "FullProjAlignPost"]
    assert delay_steps(kind, steps, length, source_first, target_first) == expected


def test_refractory_steps_are_whole_and_the_clocks_rounding_is_counted() -> None:
    clock = np.arange(2000) * 0.1
    steps, wrong = refractory(np.array([0.0, 2.05, 0.3]), 0.1, clock, np.array([0.0, 2.05, 0.3]))
    assert steps.tolist() == [0, 20, 3]
    missed = np.mean(~((clock[3:-1] - clock[:-4]) <= 0.3))
    assert wrong == missed
    assert missed > 0
    assert refractory(np.array([2.05]), 0.1, clock, np.array([2.05]))[1] == 0


def test_without_brainpy_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "brainpy", None)
    with pytest.raises(sl.NetworkError, match="BrainPy is not installed; pip install 'spikeloom\\[brainpy\\]'"):
        sl.from_brainpy(object())


def test_a_layer_that_reaches_beyond_its_ends_is_refused() -> None:
    layer = type("OneToOne", (), {"__module__": "brainpy.dnn.linear", "weight": 1.0})()
    with pytest.raises(sl.NetworkError, match="its OneToOne reaches from neuron 3 to 3, beyond the 4 and 2 neurons"):
        synapses("Projection 'p'", layer, 4, 2)


def test_a_layer_of_somebody_else_is_refused() -> None:
    with pytest.raises(sl.NetworkError, match=r"comm types\.SimpleNamespace is not supported"):
        synapses("Projection 'p'", SimpleNamespace(), 4, 2)


# With BrainPy

@needs_brainpy
@quiet
@pytest.mark.parametrize(("kind", "order"), [
    ("HalfProjAlignPostMg", "pEI"), pytest.param("FullProjAlignPostMg", "EIp", marks=pytest.mark.slow),
    *[pytest.param(kind, "pEI", marks=pytest.mark.slow) for kind in KINDS if kind != "HalfProjAlignPostMg"],
    *[pytest.param(kind, order, marks=pytest.mark.slow) for order in ("EpI", "IEp")
      for kind in ("FullProjAlignPostMg", "HalfProjAlignPostMg")],
])
def test_the_reference_gives_brainpys_spikes(nets: Any, kind: str, order: str) -> None:
    net = nets.SmallNet(kind, order=order, delays=(None, 0.1, 0.3, 0.5))
    network = imported(net)
    assert {entry.status for entry in network.report} == {"exact"}
    kicks = nets.kicks(STEPS)
    assert_same(network, {"kick": kicks}, nets.run(net, STEPS, kicks))


@needs_brainpy
@quiet
def test_a_refractory_period_of_whole_steps_is_told_to_be_approximated(nets: Any) -> None:
    net = nets.SmallNet(tau_ref=5.0)
    network = imported(net)
    by_name = {entry.name: entry for entry in network.report}
    assert by_name["E"].status == by_name["I"].status == "approximated"
    assert "refractory for 50 steps; in BrainPy a step fewer or more for 1.47 %" in by_name["E"].detail
    assert by_name["E2E"].status == "exact"
    kicks = nets.kicks(1000)
    theirs, ours = nets.run(net, 1000, kicks), sl.reference(network, {"kick": kicks}).spikes
    # Spikes are the same until BrainPy's clock first ends a refractory period early.
    clock = np.arange(1000) * 0.1
    early = min(last + 50 for neuron in theirs["E"].T for last in np.flatnonzero(neuron)
                if last + 50 < 1000 and clock[last + 50] - clock[last] > 5.0)
    assert np.array_equal(theirs["E"][:early], ours["E"][:early])


@pytest.mark.slow
@needs_brainpy
@quiet
def test_single_precision_differs_only_after_a_potential_within_its_rounding_of_the_threshold(nets: Any) -> None:
    nets.bm.disable_x64()
    net = nets.SmallNet("FullProjAlignPost", delays=(None, 0.1, 0.3, 0.5))
    network = imported(net)
    kicks = nets.kicks(STEPS)
    theirs = nets.run(net, STEPS, kicks)
    ours = sl.reference(network, {"kick": kicks}).spikes
    differ = [(step, name, neuron) for name, spikes in theirs.items()
              for step, neuron in np.argwhere(spikes != ours[name])]
    if differ:
        step, name, neuron = min(differ)
        population = network.population(name)
        threshold = population.threshold.copy()
        threshold[neuron] += 1e-4 if ours[name][step, neuron] else -1e-4  # float32 has steps of 4e-6 at 50 mV
        moved = dataclasses.replace(population, threshold=threshold)
        others = tuple(moved if other is population else other for other in network.populations)
        seen = sl.reference(dataclasses.replace(network, populations=others), {"kick": kicks[:step + 1]}).spikes
        assert np.array_equal(seen[name], theirs[name][:step + 1])
    assert sum(array.sum() for array in theirs.values()) > 100


@needs_brainpy
@quiet
def test_importing_leaves_the_network_as_it_was(nets: Any) -> None:
    net = nets.SmallNet()
    before = {name: np.array(value.value) for name, value in net.vars().unique().items()}
    random = nets.bm.random.DEFAULT.value
    imported(net)
    for name, value in net.vars().unique().items():
        assert np.array_equal(before[name], np.array(value.value)), name
    assert nets.bm.random.DEFAULT.value is random
    assert "update" not in net.E.__dict__
    kicks = nets.kicks(STEPS)
    assert_same(imported(net), {"kick": kicks}, nets.run(net, STEPS, kicks))


@needs_brainpy
@quiet
def test_inputs_readouts_and_scalar_layers(nets: Any) -> None:
    bp, bm = nets.bp, nets.bm

    class Net(bp.DynSysGroup):  # type: ignore[misc]  # brainpy has no types
        def __init__(self) -> None:
            super().__init__()
            self.source = bp.dyn.InputGroup(6)
            self.cells = bp.dyn.Lif((2, 3), V_rest=1.0, V_th=5.0, V_reset=-1.0, tau=bm.asarray(np.arange(6.0) + 5), R=2.0,
                                    method="euler")
            self.out = bp.dyn.IF(3, V_rest=0.5, tau=15.0)
            self.to_cells = nets.projection("FullProjAlignPost", bp.dnn.OneToOne(6, 4.0), self.cells, 3.0, self.source)
            self.across = nets.projection("FullProjAlignPost", bp.dnn.AllToAll(6, 6, -0.1, include_self=False), self.cells, 3.0, self.cells)
            self.to_out = nets.projection("FullProjDelta", bp.dnn.Dense(6, 3, b_initializer=None), self.out, 0.0, self.cells)

        def update(self, spikes: Any) -> Any:
            self.source(spikes)
            self.to_cells()
            self.across()
            self.cells()
            self.to_out()
            self.out()
            return self.cells.spike.value.reshape(-1), self.out.V.value

    net = Net()
    network = sl.from_brainpy(net, arguments=(np.zeros(6),), outputs=["out"])
    assert network.inputs == {"source": (6,)}
    assert network.outputs == ("out",)
    assert network.dt == pytest.approx(1e-4)
    assert network.population("cells").shape == (2, 3)
    given = np.random.default_rng(4).random((STEPS, 6)) < 0.2
    spikes, potentials = bm.for_loop(net.step_run, (bm.arange(STEPS), bm.asarray(given, dtype=float)))
    result = sl.reference(network, given)
    assert np.array_equal(result.spikes["cells"], np.asarray(spikes))
    assert result.spikes["cells"].sum() > 50
    assert np.allclose(result.potentials["out"], np.asarray(potentials), atol=1e-9)


@needs_brainpy
@quiet
@pytest.mark.parametrize("layer", ["Dense", "AllToAll", "OneToOne", "MaskedLinear", "CSRLinear", "EventCSRLinear", "Identity",
                                   "JitFPHomoLinear", "EventJitFPHomoLinear"])
def test_synapses_are_what_the_layer_does(nets: Any, layer: str) -> None:
    bp, bm = nets.bp, nets.bm
    sources, targets = (8, 8) if layer in ("OneToOne", "Identity") else (8, 11)
    connection = bp.conn.FixedProb(0.4, pre=sources, post=targets, seed=2)
    weights = bm.asarray(np.random.default_rng(1).normal(size=(sources, targets)))
    comm = {"Dense": lambda: bp.dnn.Dense(sources, targets), "AllToAll": lambda: bp.dnn.AllToAll(sources, targets, weights),
            "OneToOne": lambda: bp.dnn.OneToOne(sources, bm.arange(8.0)), "Identity": bp.dnn.Identity,
            "MaskedLinear": lambda: bp.dnn.MaskedLinear(connection, weights), "CSRLinear": lambda: bp.dnn.CSRLinear(connection, 0.7),
            "EventCSRLinear": lambda: bp.dnn.EventCSRLinear(connection, 0.7),
            "JitFPHomoLinear": lambda: bp.dnn.JitFPHomoLinear(sources, targets, 0.5, 0.7, seed=5),
            "EventJitFPHomoLinear": lambda: bp.dnn.EventJitFPHomoLinear(sources, targets, 0.5, 0.7, seed=5)}[layer]()
    pre, post, weight = synapses("Projection 'p'", comm, sources, targets)
    matrix = np.zeros((sources, targets))
    np.add.at(matrix, (pre, post), weight)
    assert np.any(matrix)
    for spikes in np.random.default_rng(2).random((4, sources)) < 0.5:
        theirs = np.asarray(comm(bm.asarray(spikes if layer.startswith("Event") else spikes.astype(float))), np.float64)
        assert np.allclose(theirs, spikes @ matrix, atol=1e-6)
