"""Live input: whatever is submitted together, a stream returns what one run of the same steps returns."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import ImageError, InputError, MachineError
from spikeloom.host.driver import Driver
from spikeloom.machine import Machine, Result
from spikeloom.packets import COMMANDS, Command
from spikeloom.sim.compiled import CompiledTransport, open_compiled
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.open import open
from spikeloom.stream import AHEAD
from tests.arrays import SQUARE, everything, sound_case
from tests.fake_array import FakeArray
from tests.test_driver import PARAMS, machine, relay


def joined(parts: list[Result]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Spikes and potentials of results one after the other."""
    return tuple({name: np.concatenate([getattr(part, kind)[name] for part in parts]) for name in getattr(parts[0], kind)}  # type: ignore[return-value]
                 for kind in ("spikes", "states"))


def streamed(on: Machine, inputs: dict[str, Any], cuts: list[int], ahead: int = 1, **options: Any) -> list[Result]:
    """The results of a stream over inputs (steps, size), submitted in parts that end at ``cuts``."""
    parts, waiting = [], 0
    with on.stream(**options) as stream:
        for low, high in zip([0, *cuts[:-1]], cuts, strict=True):
            stream.submit({name: array[low:high] for name, array in inputs.items()})
            waiting += 1
            if waiting == ahead:
                parts.append(stream.receive())
                waiting -= 1
        parts.append(stream.finish())
    return parts


def check(parts: list[Result], whole: Result) -> None:
    """The parts are the whole; their first steps follow one another."""
    for found, expected in zip(joined(parts), (whole.spikes, whole.states), strict=True):
        assert found.keys() == expected.keys()
        for name in expected:
            np.testing.assert_array_equal(found[name], expected[name], name)
    lengths = [len(next(iter((part.spikes or part.states).values()))) for part in parts if part.spikes or part.states]
    assert [part.stats["FIRST_STEP"] for part in parts[:len(lengths)]] == np.cumsum([0, *lengths[:-1]]).tolist()


def cuts_of(rng: np.random.Generator, steps: int) -> list[int]:
    """Where submissions end: at random."""
    return sorted({steps, *rng.integers(1, steps + 1, rng.integers(0, 5)).tolist()})


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1 << 30), ahead=st.integers(1, AHEAD))
def test_a_stream_of_the_golden_model_is_a_run(seed: int, ahead: int) -> None:
    case = sound_case(SQUARE, seed % 1000)
    inputs = {name: array[0] for name, array in case.inputs.items()}
    steps = len(next(iter(inputs.values())))
    with GoldenMachine() as golden:
        golden.load(case.image)
        whole = golden.run(inputs, **everything(case.image))
        last = {p.name: golden.probe(p.name) for p in case.image.populations}
        golden.reset()
        check(streamed(golden, inputs, cuts_of(np.random.default_rng(seed), steps), ahead, **everything(case.image)), whole)
        if case.image.depth >= case.image.ticks_per_step:  # else a stream runs to the end of its last step, a run not
            for name, state in last.items():
                for memory, values in golden.probe(name).items():
                    np.testing.assert_array_equal(values, state[memory], f"{name} {memory}")


def test_a_stream_of_the_gateware_is_a_run_of_the_golden_model() -> None:
    spikes = lagging = slow = 0
    with open_compiled(SQUARE, pauses=0.2, seed=3, random_start=True, limit=200_000) as rtl, GoldenMachine() as golden:
        for seed in range(25):
            case = sound_case(SQUARE, 4000 + seed)
            inputs = {name: array[0] for name, array in case.inputs.items()}
            steps = len(next(iter(inputs.values())))
            for each in (rtl, golden):
                each.load(case.image)
            whole = golden.run(inputs, **everything(case.image))
            parts = streamed(rtl, inputs, cuts_of(np.random.default_rng(seed), steps), 1 + seed % 2, **everything(case.image))
            check(parts, whole)
            assert all(part.cycles is not None and part.cycles > 0 for part in parts[:-1])
            spikes += sum(int(array.sum()) for array in whole.spikes.values())
            lagging += case.image.depth >= case.image.ticks_per_step
            slow += case.image.ticks_per_step > 1
    assert spikes > 0
    assert lagging > 0
    assert slow > 0


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 1 << 30), depth=st.integers(0, 5), step=st.integers(1, 4), steps=st.integers(1, 9))
def test_results_lag_by_the_network_s_depth_and_no_more(seed: int, depth: int, step: int, steps: int) -> None:
    driver, array = machine(relay(40, depth, step, seed=seed))
    spikes = np.random.default_rng(seed).random((steps, 40)) < 0.3
    whole = driver.run(spikes, potentials="steps")
    array.log.clear()
    known = 0
    with driver.stream() as stream:
        assert stream.lag == depth // step
        for at in range(steps):
            stream.submit(spikes[at:at + 1])
            part = stream.receive()
            new = max(0, at + 1 - stream.lag) - known
            np.testing.assert_array_equal(part.spikes["out"], whole.spikes["out"][known:known + new])
            np.testing.assert_array_equal(part.states["read"], whole.states["read"][known:known + new])
            assert part.stats["FIRST_STEP"] == known
            known += new
            assert part.cycles is not None
            assert part.cycles == 7 * step + np.count_nonzero((array.log[-1] >> np.uint64(60)) == Command.SPIKES)
        rest = stream.finish()
    np.testing.assert_array_equal(rest.spikes["out"], whole.spikes["out"][known:])
    np.testing.assert_array_equal(rest.states["read"], whole.states["read"][known:])
    sent = np.concatenate(array.log)
    kinds = sent >> np.uint64(60)
    assert np.count_nonzero(kinds == Command.RESET) == 1
    assert not COMMANDS[Command.TICK].unpack(sent[kinds == Command.TICK])["end"].any()


def test_a_long_stream_goes_on_beyond_sixteen_bits_of_ticks() -> None:
    driver, _ = machine(relay(4, 2))
    rng = np.random.default_rng(4)
    spikes = rng.random((140_000, 4)) < 0.01
    with driver.stream(potentials="none") as stream:
        parts = []
        for low in range(0, len(spikes), 20_000):
            stream.submit(spikes[low:low + 20_000])
            parts.append(stream.receive())
        parts.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate([part.spikes["out"] for part in parts]), spikes)
    assert all(part.states == {} for part in parts)


def test_no_more_than_two_submissions_are_outstanding() -> None:
    driver, array = machine(relay(4))
    some = np.ones((1, 4), bool)
    with driver.stream() as stream:
        with pytest.raises(MachineError, match=r"Nothing waits to be received: submit\(\) comes first"):
            stream.receive()
        for _ in range(AHEAD):
            stream.submit(some)
        with pytest.raises(MachineError, match=r"2 submissions wait already: receive\(\) one before the next submit\(\)"):
            stream.submit(some)
        stream.receive()
        stream.submit(some)
        assert len(stream.finish().spikes["out"]) == 2
        with pytest.raises(MachineError, match="The stream is closed"):
            stream.submit(some)
    assert len(array.log) == 4  # the image, and three submissions


@pytest.mark.parametrize("kind", ["golden", "driver"])
def test_while_a_stream_is_open_nothing_else_runs_and_afterwards_everything(kind: str) -> None:
    image = relay(4)
    on: Machine = machine(image)[0] if kind == "driver" else GoldenMachine()
    on.load(image)
    some = np.ones((2, 4), bool)
    stream = on.stream(potentials="none")
    stream.submit(some)
    for verb, call in {"run": lambda: on.run(some), "load": lambda: on.load(image), "reset": on.reset, "stream": on.stream,
                       "probe": lambda: on.probe("out")}.items():
        with pytest.raises(MachineError, match=rf"A stream is open on this machine: finish\(\) or close\(\) it before {verb}\(\)"):
            call()
    stream.close()
    stream.close()
    on.run(some, potentials="none")
    with on.stream(potentials="none") as another:
        another.submit(some)
        assert len(another.finish().spikes["out"]) == 2


def test_what_cannot_be_streamed_is_refused_and_the_stream_goes_on() -> None:
    driver, _ = machine(relay(4), limit=300)
    some = np.ones((2, 4), bool)
    with pytest.raises(InputError, match="potentials must be 'none' or 'steps', not 'end': its end is not known"):
        driver.stream(potentials="end")  # type: ignore[arg-type]  # that is the test
    with pytest.raises(ImageError, match="no population 'nothing'"):
        driver.stream(record=["nothing"])
    with driver.stream() as stream:
        for wrong, message in ((np.ones((1, 5), bool), "shape"), (np.ones((3, 1, 4), bool), "A stream is one sample, not 3"),
                               (np.ones((0, 4), bool), "at least one step"), (np.ones((200, 4), bool), "submit fewer steps at a time")):
            with pytest.raises(InputError, match=message):
                stream.submit(wrong)
        stream.submit(some)
        assert stream.finish().spikes["out"].all()
    with pytest.raises(MachineError, match=r"No image is loaded: call load\(image\) before stream"):
        GoldenMachine().stream()
    with open("golden") as golden:
        golden.load(relay(4))
        assert golden.stream().lag == 0


def test_a_stream_that_fails_is_closed_and_the_machine_runs_again() -> None:
    class Failing(FakeArray):
        fails = False

        def exchange(self, packet: Any) -> Any:
            if self.fails:
                raise MachineError("it broke")
            return super().exchange(packet)

    array = Failing(PARAMS)
    driver = Driver(array)
    driver.load(relay(4))
    some = np.ones((1, 4), bool)
    with driver.stream() as stream:
        stream.submit(some)
        array.fails = True
        with pytest.raises(MachineError, match="it broke"):
            stream.receive()
        array.fails = False
        with pytest.raises(MachineError, match="The stream is closed"):
            stream.submit(some)
    assert driver.run(some).spikes["out"].all()


def test_a_fault_of_the_array_ends_a_stream_by_its_name() -> None:
    from spikeloom.packets import Fault
    driver, array = machine(relay(4))
    some = np.ones((1, 4), bool)
    with driver.stream() as stream:
        stream.submit(some)
        stream.submit(some)
        array.fault = Fault.DELAY
        with pytest.raises(MachineError, match="The array reports DELAY"):
            stream.receive()
    assert driver.run(some).spikes["out"].all()


def test_cycles_of_a_submission_do_not_count_the_time_between() -> None:
    """A free-running clock goes on while nothing is submitted."""
    case = sound_case(SQUARE, 4000)
    transport = CompiledTransport(SQUARE, limit=200_000)
    inputs = {name: array[0][:1] for name, array in case.inputs.items()}
    with Driver(transport) as driver:
        driver.load(case.image)
        with driver.stream() as stream:
            stream.submit(inputs)
            stream.receive()
            transport.wait(100_000)
            stream.submit(inputs)
            part = stream.receive()
            assert part.cycles is not None
            assert 0 < part.cycles < 50_000
