"""The host works while a packet is under way, and a machine may be called from asyncio."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from typing import Any

import numpy as np
import pytest

from spikeloom.errors import MachineError
from spikeloom.fields import Words
from spikeloom.host.decode import OutputDecoder
from spikeloom.host.driver import Driver
from spikeloom.host.encode import InputEncoder
from spikeloom.host.progress import Bar
from spikeloom.host.transport import OUTSTANDING, InTurn, SplitTransport, Transport, split
from spikeloom.machine import Machine
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.open import OnDemand
from tests.fake_array import FakeArray
from tests.test_driver import PARAMS, machine, relay


class Splitting(FakeArray):
    """A fake that works as a DMA does: a packet begins when the one before has been answered. ``events`` tells when."""

    def __init__(self) -> None:
        super().__init__(PARAMS)
        self.events: list[str] = []
        self.packets: list[Words] = []
        self.count = self.done = 0
        self.abandoned = 0

    def submit(self, packet: Words) -> None:
        assert len(self.packets) < OUTSTANDING
        self.packets.append(packet.copy())
        if len(self.packets) == 1:
            self.events.append(f"start {self.count}")
        self.count += 1

    def collect(self) -> Words:
        answer = self.exchange(self.packets.pop(0))
        self.events.append(f"end {self.done}")
        self.done += 1
        if self.packets:
            self.events.append(f"start {self.done}")
        return answer

    def abandon(self) -> None:
        self.packets.clear()
        self.abandoned += 1


def test_the_next_packet_is_encoded_and_the_last_decoded_while_one_is_under_way(monkeypatch: pytest.MonkeyPatch) -> None:
    array = Splitting()
    assert isinstance(array, SplitTransport)
    assert split(array) is array
    driver = Driver(array, limit=300)
    driver.load(relay(40))
    encode, decode, seen = InputEncoder.masks, OutputDecoder.fill, {"encode": 0, "decode": 0}

    def told(what: str, function: Any) -> Any:
        def call(*arguments: Any) -> Any:
            array.events.append(f"{what} {seen[what]}")
            seen[what] += 1
            return function(*arguments)
        return call

    monkeypatch.setattr(InputEncoder, "masks", told("encode", encode))
    monkeypatch.setattr(OutputDecoder, "fill", told("decode", decode))
    array.events, array.count, array.done = [], 0, 0
    spikes = np.random.default_rng(1).random((40, 5, 40)) < 0.3
    result = driver.run(spikes)
    np.testing.assert_array_equal(result.spikes["out"], spikes)
    packets = array.done
    assert packets >= 4
    at = {event: place for place, event in enumerate(array.events)}
    for number in range(1, packets):
        assert at[f"start {number - 1}"] < at[f"encode {number}"] < at[f"end {number - 1}"], array.events
        assert at[f"start {number}"] < at[f"decode {number - 1}"] < at[f"end {number}"], array.events
    assert array.abandoned == 0


def test_a_transport_without_a_split_takes_packets_in_turn() -> None:
    array = FakeArray(PARAMS)
    assert isinstance(array, Transport)
    link = split(array)
    assert isinstance(link, InTurn)
    for _ in range(OUTSTANDING):
        link.submit(np.zeros(1, np.uint64))
    with pytest.raises(ValueError, match="2 packets are outstanding already"):
        link.submit(np.zeros(1, np.uint64))
    link.collect()
    link.abandon()
    assert len(array.log) == 1


def test_a_failure_with_a_packet_ready_abandons_it_and_the_image_is_written_again() -> None:
    from spikeloom.packets import Fault
    array = Splitting()
    driver = Driver(array, limit=300)
    driver.load(relay(40))
    spikes = np.random.default_rng(1).random((40, 5, 40)) < 0.3
    array.fault = Fault.DELAY
    with pytest.raises(MachineError, match="The array reports DELAY"):
        driver.run(spikes)
    assert array.abandoned == 1
    assert not array.packets
    before = len(array.log)
    np.testing.assert_array_equal(driver.run(spikes).spikes["out"], spikes)
    assert len(array.log[before]) > 300, "the image"


def test_a_run_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    driver = Driver(FakeArray(PARAMS), limit=300, progress=lambda done, total: told.append((done, total)))
    driver.load(relay(40))
    driver.run(SPIKES)
    assert told[0] == (0, 40)
    assert told[-1] == (40, 40)
    assert len(told) > 4
    assert told == sorted(told)


def test_a_bar_shows_long_runs_alone() -> None:
    now, out = [0.0], io.StringIO()
    bar = Bar(out, lambda: now[0])
    for seconds in (0.001, 0.2):
        for done in range(5):
            bar(done, 4)
            now[0] += seconds
        if seconds == 0.001:
            assert out.getvalue() == ""
    lines = out.getvalue().split("\r")
    assert lines[1].startswith("[#######                       ] 1/4 samples, 1 s left")
    assert lines[-1].startswith(f"[{'#' * 30}] 4/4 samples, 0 s left")
    assert out.getvalue().endswith("\n")


class Slow(FakeArray):
    """Takes its time, and tells that it works."""

    def __init__(self) -> None:
        super().__init__(PARAMS)
        self.working = threading.Event()
        self.pause = 0.0

    def exchange(self, packet: Words) -> Words:
        self.working.set()
        time.sleep(self.pause)
        return super().exchange(packet)


@pytest.fixture
def slow() -> tuple[Driver, Slow]:
    array = Slow()
    driver = Driver(array, limit=300)
    driver.load(relay(40))
    return driver, array


SPIKES = np.random.default_rng(1).random((40, 5, 40)) < 0.3


def test_a_coroutine_lets_others_run_and_gives_the_same(slow: tuple[Driver, Slow]) -> None:
    driver, array = slow
    array.pause = 0.02

    async def both() -> int:
        call = asyncio.ensure_future(driver.run_async(SPIKES, potentials="none"))
        turns = 0
        while not call.done():
            await asyncio.sleep(0.005)
            turns += 1
        np.testing.assert_array_equal((await call).spikes["out"], SPIKES)
        assert (await call).states == {}
        return turns

    assert asyncio.run(both()) > 3


@pytest.mark.parametrize("kind", ["driver", "golden", "on demand"])
def test_concurrent_calls_take_turns_in_order(kind: str) -> None:
    image = relay(40)
    on: Machine = {"driver": lambda: machine(image)[0], "golden": GoldenMachine, "on demand": lambda: OnDemand("golden", {})}[kind]()
    on.load(image)
    order: list[int] = []

    async def one(number: int) -> None:
        result = await on.run_async(SPIKES[number:number + 1], potentials="none")
        assert result.spikes["out"].shape == (1, 5, 40)
        if kind == "driver":
            np.testing.assert_array_equal(result.spikes["out"], SPIKES[number:number + 1])
        order.append(number)

    async def every() -> None:
        await asyncio.gather(*(one(number) for number in range(8)))

    asyncio.run(every())
    assert order == list(range(8))
    on.close()


def test_cancellation_ends_after_the_packet_under_way_and_leaves_a_usable_machine(slow: tuple[Driver, Slow]) -> None:
    driver, array = slow
    array.pause = 0.05
    array.working.clear()
    log = len(array.log)

    async def cancelled() -> None:
        first = asyncio.ensure_future(driver.run_async(SPIKES))
        second = asyncio.ensure_future(driver.run_async(SPIKES))
        third = asyncio.ensure_future(driver.run_async(SPIKES[:1]))
        while not array.working.is_set():
            await asyncio.sleep(0.001)
        for call in (second, first):
            call.cancel()
            with pytest.raises(asyncio.CancelledError):
                await call
        np.testing.assert_array_equal((await third).spikes["out"], SPIKES[:1])

    asyncio.run(cancelled())
    assert len(array.log) - log <= 5, "two packets of the first run, the image, and the third run's"
    array.pause = 0.0
    np.testing.assert_array_equal(driver.run(SPIKES).spikes["out"], SPIKES)
    driver.close()


def test_a_timeout_leaves_a_usable_machine(slow: tuple[Driver, Slow]) -> None:
    driver, array = slow
    array.pause = 0.05

    async def late() -> None:
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(driver.run_async(SPIKES), 0.08)

    asyncio.run(late())
    np.testing.assert_array_equal(driver.run(SPIKES).spikes["out"], SPIKES)


def test_a_call_from_another_thread_is_refused_while_one_runs(slow: tuple[Driver, Slow]) -> None:
    driver, array = slow
    array.pause = 0.05
    array.working.clear()
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(driver.run(SPIKES)))
    thread.start()
    assert array.working.wait(10)
    for verb, call in {"run": lambda: driver.run(SPIKES), "reset": driver.reset, "probe": lambda: driver.probe("out"),
                       "stream": driver.stream}.items():
        with pytest.raises(MachineError, match=rf"The machine is busy in another thread: {verb}\(\) must wait"):
            call()
    thread.join()
    np.testing.assert_array_equal(found[0].spikes["out"], SPIKES)


def test_an_error_comes_out_of_the_coroutine(slow: tuple[Driver, Slow]) -> None:
    driver, _ = slow
    with pytest.raises(MachineError, match="A stream is open"), driver.stream():
        asyncio.run(driver.run_async(SPIKES))
    assert asyncio.run(driver.run_async(SPIKES)).spikes["out"].any()
