"""`spikeloom verify`: random arrays, images and inputs on the golden model and on the RTL."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import click

from spikeloom.host.commands.common import emit, json_option, progress

Part = dict[str, Any]


@click.command()
@click.option("--cases", default=25, show_default=True, type=click.IntRange(1), help="How many random cases.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of all that is random.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="Number of the first case.")
@click.option("--processes", default=2, show_default=True, type=click.IntRange(1), help="Processes that share the work.")
@json_option
@click.pass_context
def verify(context: click.Context, cases: int, seed: int, first: int, processes: int, as_json: bool) -> None:
    """Compare the golden model and the RTL on random cases: every spike, potential and state; exit code 1 when they differ."""
    start = time.monotonic()
    work = spans(cases, first)
    done = []
    for part in progress(_parts([(seed, low, count) for low, count in work], processes), len(work), f"{cases} cases"):
        done.append(part)
    plain = joined(done, seed) | {"first": first, "seconds": round(time.monotonic() - start, 1)}
    text = [f"{plain['cases']} random cases from seed {seed}: {plain['differing']} differ ({plain['redrawn']} redrawn because "
            f"their image would overflow). Compared: "
            + ", ".join(f"{count:,} {name}" for name, count in plain["compared"].items())]
    for failure in plain["failures"]:
        text += [f"Case {failure['case']}: {failure['first']}", f"  again: {failure['again']}"]
    emit(as_json, plain, "\n".join(text))
    context.exit(1 if plain["differing"] else 0)


def spans(cases: int, first: int) -> list[tuple[int, int]]:
    """The cases cut where the random array changes, as (first, number): a part builds one array."""
    from spikeloom.sim.verify import CASES_PER_ARRAY
    found = []
    while cases:
        count = min(cases, CASES_PER_ARRAY - first % CASES_PER_ARRAY)
        found.append((first, count))
        first, cases = first + count, cases - count
    return found


def joined(parts: list[Part], seed: int) -> Part:
    """Reports of parts as one, the same in whichever order they came; each failure with the command that repeats it."""
    whole: Part = {"seed": seed, "cases": 0, "differing": 0, "redrawn": 0, "compared": {}, "failures": []}
    for part in parts:
        for key in ("cases", "differing", "redrawn"):
            whole[key] += part[key]
        for name, count in part["compared"].items():
            whole["compared"][name] = whole["compared"].get(name, 0) + count
        whole["failures"] += [failure | {"again": f"spikeloom verify --cases 1 --first {failure['case']} --seed {seed}"}
                              for failure in part["failures"]]
    whole["failures"].sort(key=lambda failure: failure["case"])
    return whole


def check(span: tuple[int, int, int]) -> Part:
    """One part, (seed, first, cases): top-level, so that another process can be told to run it."""
    from spikeloom.sim.verify import verify as run
    seed, low, count = span
    *_, report = run(count, seed, low)
    return report.plain()


def _parts(work: list[tuple[int, int, int]], processes: int) -> Iterator[Part]:
    if processes == 1 or len(work) == 1:
        yield from map(check, work)
        return
    from multiprocessing import get_context
    with get_context("spawn").Pool(min(processes, len(work))) as pool:
        yield from pool.imap_unordered(check, work)
