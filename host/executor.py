"""The one seam through which work is spread: runs over many samples, sweeps over many parameters, cases of a verification.

``executor.map(function, items)`` is ``[function(item) for item in items]`` wherever it is worked out: in this process
(``jobs=1``), in local processes, or by the workers of a dask.distributed scheduler. Results come in the order of the items and do
not depend on where they were made; so ``function`` must depend on its item alone. An item that fails ends the whole with a
WorkError that carries it.

Processes are spawned, not forked: a fork would copy locks that threads of this process hold. So ``function`` is one that can
be imported by name, and a script calls this under ``if __name__ == "__main__":``.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from spikeloom.errors import SpikeloomError

Item = TypeVar("Item")
Value = TypeVar("Value")

#: Items that are handed out beyond those being worked on, for each worker: none idles while an earlier item takes long.
AHEAD = 4
#: Seconds to wait for a scheduler to answer.
TIMEOUT = 10


class WorkError(SpikeloomError):
    """Work on one item failed; ``index`` and ``item`` tell which, ``__cause__`` is what the function raised."""

    def __init__(self, message: str, index: int, item: Any) -> None:
        super().__init__(message)
        self.index, self.item = index, item

    def __reduce__(self) -> tuple[Any, ...]:
        return WorkError, (str(self), self.index, self.item)


class _Future(Protocol):
    """What local processes and dask both give for an item that is worked on."""

    def result(self) -> Any: ...


_Submit = Callable[..., _Future]


def map(function: Callable[[Item], Value], items: Iterable[Item], *, jobs: int | None = None,
        scheduler: str | None = None) -> list[Value]:
    """``[function(item) for item in items]``; see :func:`iterate`."""
    return list(iterate(function, items, jobs=jobs, scheduler=scheduler))


def iterate(function: Callable[[Item], Value], items: Iterable[Item], *, jobs: int | None = None,
            scheduler: str | None = None) -> Iterator[Value]:
    """Results in the order of the items, each as soon as it and those before it are there.

    Parameters
    ----------
    function
        A function of a module, of one item; items and results must be picklable (with ``jobs=1`` anything goes).
    items
        Any iterable, also without end: it is read only a few items ahead. Whoever stops reading stops the work.
    jobs
        Processes; default: as many as this process may use cores, 1 inside a worker. 1 works in this process.
    scheduler
        Address of a dask.distributed scheduler, such as ``tcp://10.0.0.1:8786``, whose workers do the work instead. They need
        the same Spikeloom. Needs the extra ``dask``.

    WorkError for an item that fails, for workers that end, and for a scheduler that does not answer within 10 s.
    SpikeloomError for ``jobs`` below 1 and a missing extra. An interrupt ends the workers at once.
    """
    _check(jobs, scheduler)
    return _iterate(function, items, jobs or _cores(), scheduler)


def _iterate(function: Callable[[Item], Value], items: Iterable[Item], jobs: int, scheduler: str | None) -> Iterator[Value]:
    items = iter(items)
    first = list(_take(items, 2))
    if scheduler is None and (jobs == 1 or len(first) < 2):
        for index, item in enumerate(_chain(first, items)):
            yield _open(_call(function, item, check=False), index, item)
        return
    with _processes(jobs) if scheduler is None else _dask(scheduler) as (submit, workers):
        waiting: deque[tuple[int, Item, _Future]] = deque()
        for index, item in enumerate(_chain(first, items)):
            waiting.append((index, item, _submitted(submit, function, index, item)))
            if len(waiting) > AHEAD * workers:
                yield _wait(*waiting.popleft())
        while waiting:
            yield _wait(*waiting.popleft())


def workers(jobs: int | None = None, scheduler: str | None = None) -> int:
    """How many items are worked on at the same time; for work that is cut into as many parts. Raises what :func:`iterate` does."""
    _check(jobs, scheduler)
    if scheduler is None:
        return jobs or _cores()
    with _dask(scheduler) as (_, count):
        return count


def _check(jobs: int | None, scheduler: str | None) -> None:
    if jobs is not None and (isinstance(jobs, bool) or not isinstance(jobs, int) or jobs < 1):
        raise SpikeloomError(f"jobs must be 1, 2, 3 …, not {jobs!r}")
    if scheduler is not None and jobs is not None:
        raise SpikeloomError("Give jobs or a scheduler, not both: the scheduler knows its workers")


def _take(items: Iterator[Item], count: int) -> Iterator[Item]:
    for _, item in zip(range(count), items, strict=False):
        yield item


def _chain(first: list[Item], rest: Iterator[Item]) -> Iterator[Item]:
    yield from first
    yield from rest


def _cores() -> int:
    if multiprocessing.parent_process() is not None:
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _call(function: Callable[[Any], Any], item: Any, check: bool = True) -> tuple[Any, BaseException | None, str]:
    """The result, or the error and its traceback; ``check``: the error has to cross to another process."""
    try:
        return function(item), None, ""
    except Exception as error:
        text = traceback.format_exc()
        if not check:
            return None, error, text
        try:
            return None, pickle.loads(pickle.dumps(error)), text
        except Exception:  # errors of any library: many cannot be pickled
            return None, RuntimeError(f"{type(error).__name__}: {error}"), text


def _open(outcome: tuple[Any, BaseException | None, str], index: int, item: Any) -> Any:
    value, error, _ = outcome
    if error is not None:
        raise WorkError(f"Item {index} ({_short(item)}): {_said(error)}", index, item) from error
    return value


def _said(error: BaseException) -> str:
    return str(error) if isinstance(error, SpikeloomError) else f"{type(error).__name__}: {error}"


def _short(item: Any) -> str:
    text = str(item)
    return text if len(text) <= 80 else f"{text[:77]}…"


def _submitted(submit: _Submit, function: Callable[[Any], Any], index: int, item: Any) -> _Future:
    try:
        pickle.dumps(function)
    except Exception as error:
        raise WorkError(f"Item {index}: {function!r} cannot be sent to another process: {error}. Give a function of a module, or "
                        f"jobs=1", index, item) from error
    return submit(_call, function, item)


def _wait(index: int, item: Any, future: _Future) -> Any:
    try:
        outcome = future.result()
    except BrokenProcessPool as error:
        raise WorkError(f"A worker process ended before item {index} ({_short(item)}) was done: out of memory, killed, or it could "
                        f"not start. A script must call this under `if __name__ == '__main__':`; jobs=1 needs no processes",
                        index, item) from error
    except Exception as error:  # what pickle or the scheduler says of an item or a result that does not travel
        raise WorkError(f"Item {index} ({_short(item)}) or its result did not reach the other process: {_said(error)}", index,
                        item) from error
    return _open(outcome, index, item)


@contextmanager
def _processes(jobs: int) -> Iterator[tuple[_Submit, int]]:
    pool = ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"), initializer=_worker)
    try:
        yield pool.submit, jobs
    except BaseException:  # also an interrupt, and a reader that stops
        children = list((getattr(pool, "_processes", None) or {}).values())  # Python 3.14 has a public way
        pool.shutdown(wait=False, cancel_futures=True)
        for child in children:
            child.terminate()
        raise
    pool.shutdown()


def _worker() -> None:
    """A worker leaves interrupts to its parent, and ends when that does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: Any) -> None:
    parent.join()
    os._exit(1)


@contextmanager
def _dask(address: str) -> Iterator[tuple[_Submit, int]]:
    try:
        from distributed import Client
    except ImportError:
        raise SpikeloomError("A scheduler needs dask.distributed, which is not installed: pip install 'spikeloom[dask]'") from None
    try:
        client = Client(address, timeout=TIMEOUT, set_as_default=False)
    except Exception as error:  # OSError, TimeoutError, ValueError and more, as the address goes
        raise SpikeloomError(f"The scheduler {address!r} does not answer: {error}. Start one with `dask scheduler`, and workers "
                             f"with `dask worker ADDRESS`") from error

    def submit(*call: Any) -> _Future:
        return client.submit(*call, pure=False)  # type: ignore[no-any-return]  # dask has no types

    try:
        threads = sum(client.nthreads().values())
        if not threads:
            raise SpikeloomError(f"The scheduler {address!r} has no workers: start some with `dask worker {address}`")
        yield submit, threads
    finally:
        client.close()  # the scheduler then drops what is not begun
