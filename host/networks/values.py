"""Checks that the descriptions of a network share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spikeloom.errors import NetworkError


def check_name(name: object, what: str) -> None:
    """NetworkError unless the name is a non-empty string."""
    if not isinstance(name, str) or not name:
        raise NetworkError(f"{what} must have a name, a non-empty string, not {name!r}")


def check_shape(shape: Iterable[int], title: str) -> tuple[int, ...]:
    """The shape as a tuple of positive integers, else NetworkError; a layer without neurons is one."""
    try:
        final = tuple(int(extent) for extent in shape)
        whole = all(float(given) == extent for given, extent in zip(shape, final, strict=True))
    except (TypeError, ValueError):
        raise NetworkError(f"{title}: shape must be a tuple of integers, not {shape!r}") from None
    if not final or not whole or min(final) < 1:
        raise NetworkError(f"{title}: shape must have at least one axis and no empty one, not {tuple(shape)}")
    return final


def unique(names: Iterable[str], what: str) -> None:
    """NetworkError naming the first name that comes twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NetworkError(f"{what} {name!r} is there twice; names must differ")
        seen.add(name)


def forward(before: Mapping[str, set[str]]) -> list[str]:
    """Names so that each stands behind those that ``before`` asks for; those on and behind a loop are left out."""
    done: list[str] = []
    while ready := [name for name in before if name not in done and before[name].issubset(done)]:
        done += ready
    return done
