"""One step of a BrainPy network, watched: in which order its parts are updated, and what its update hands to them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.importers.brainpy_parts import array


@dataclass(frozen=True)
class Probe:
    """What a step showed, by the parts' paths.

    ``position``: the place of each part in the order of updates. ``given``: the first argument of its update, as an array;
    None where there was none, or where its value cannot be seen (a compiled update). ``before`` and ``after``: spikes of
    each population before and after its update.
    """

    position: Mapping[str, int]
    given: Mapping[str, npt.NDArray[Any] | None]
    hidden: frozenset[str]
    before: Mapping[str, npt.NDArray[Any]]
    after: Mapping[str, npt.NDArray[Any]]

    def first(self, one: str, other: str) -> bool:
        """Whether ``one`` is updated before ``other``."""
        return self.position[one] < self.position[other]


def probe(bp: Any, network: Any, parts: Mapping[str, Any], arguments: Sequence[Any]) -> Probe:
    """Run one step, from random spikes of all populations, and put every state back.

    NetworkError where the step fails, or updates a part never or more than once.
    """
    order: list[str] = []
    given: dict[str, npt.NDArray[Any] | None] = {}
    hidden: set[str] = set()
    random = np.random.default_rng(1)

    def note(path: str, args: tuple[Any, ...]) -> None:
        order.append(path)
        given[path] = None
        if args and args[0] is not None:
            try:
                given[path] = array(args[0])
            except Exception:  # a traced value: jax raises errors of many kinds
                hidden.add(path)

    with _untouched(bp, network, parts.values()):
        spiking = {path: part for path, part in parts.items() if hasattr(part, "spike")}
        for part in spiking.values():
            pattern = random.random(part.spike.shape) < 0.5
            part.spike.value = bp.math.asarray(pattern, dtype=part.spike.dtype)
        before = {path: array(part.spike).astype(bool).reshape(-1) for path, part in spiking.items()}
        with _watched(parts, note):
            try:
                bp.share.save(i=0, t=0.0, dt=bp.math.get_dt())
                network(*arguments)
            except Exception as error:
                raise NetworkError(f"One step of {type(network).__name__}.update failed ({error}); if it takes arguments, give "
                                   f"arguments=(…)") from error
        after = {path: array(part.spike).astype(bool).reshape(-1) for path, part in spiking.items()}
    for path in parts:
        if order.count(path) != 1:
            times = "never" if path not in order else f"{order.count(path)} times"
            raise NetworkError(f"{path!r} is updated {times} in one step of {type(network).__name__}.update; it must be once "
                               f"(an update that is already compiled cannot be watched)")
    return Probe({path: order.index(path) for path in parts}, given, frozenset(hidden), before, after)


@contextmanager
def _watched(parts: Mapping[str, Any], note: Callable[[str, tuple[Any, ...]], None]) -> Iterator[None]:
    """Each part's update reports its call first."""
    def wrap(path: str, part: Any) -> Callable[..., Any]:
        method = object.__getattribute__(part, "update")

        @wraps(method)
        def update(*args: Any, **kwargs: Any) -> Any:
            note(path, args)
            return method(*args, **kwargs)

        return update

    for path, part in parts.items():
        object.__setattr__(part, "update", wrap(path, part))
    try:
        yield
    finally:
        for part in parts.values():
            object.__delattr__(part, "update")


@contextmanager
def _untouched(bp: Any, network: Any, parts: Any) -> Iterator[None]:
    """Every variable, the random state, the shared arguments and the outputs' conductances are as before afterwards."""
    variables = list(network.vars().unique().values())
    values = [variable.value for variable in variables]
    random = bp.math.random.DEFAULT.value
    shared = dict(bp.share._arguments)
    outs = [part.refs["out"] for part in parts if "out" in getattr(part, "refs", {})]
    bound = [{name: out.__dict__.get(name) for name in ("_conductance", "_cond") if name in out.__dict__} for out in outs]
    try:
        yield
    finally:
        for variable, value in zip(variables, values, strict=True):
            variable.value = value
        bp.math.random.DEFAULT.value = random
        bp.share._arguments.clear()
        bp.share._arguments.update(shared)
        for out, old in zip(outs, bound, strict=True):
            for name, value in old.items():
                object.__setattr__(out, name, value)
