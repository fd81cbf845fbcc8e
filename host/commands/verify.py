"""`spikeloom verify`: random images, and random networks through the compiler, on the golden model and on the RTL."""

from __future__ import annotations

import time
from typing import Any

import click

from spikeloom.host import executor
from spikeloom.host.commands.common import emit, json_option, progress, work_options

Part = dict[str, Any]
#: A part of the work: kind, seed, first case, number of cases.
Span = tuple[str, int, int, int]

#: What is drawn, and why some are drawn again.
KINDS = {"images": "would overflow", "networks": "do not fit their array"}
_SUMS = ("cases", "differing", "redrawn")


@click.command()
@click.option("--kind", default="all", show_default=True, type=click.Choice([*KINDS, "all"]),
              help="images: drawn bit by bit, golden model against RTL and engine. networks: through the compiler, and also against the "
                   "network's integers evaluated in steps.")
@click.option("--cases", default=25, show_default=True, type=click.IntRange(1), help="How many random cases of each kind.")
@click.option("--seed", default=1, show_default=True, type=click.IntRange(0), help="Seed of all that is random.")
@click.option("--first", default=0, show_default=True, type=click.IntRange(0), help="Number of the first case.")
@work_options
@json_option
@click.pass_context
def verify(context: click.Context, kind: str, cases: int, seed: int, first: int, jobs: int | None, scheduler: str | None,
           as_json: bool) -> None:
    """Compare golden model, engine and RTL on random cases: every spike, potential and state; exit code 1 when they differ."""
    start = time.monotonic()
    work = [(chosen, seed, low, count) for chosen in (KINDS if kind == "all" else [kind]) for low, count in spans(cases, first)]
    parts = executor.iterate(check, work, jobs=jobs, scheduler=scheduler)
    done = list(progress(parts, len(work), f"{cases} cases of {'each kind' if kind == 'all' else kind}"))
    plain = joined(done, seed) | {"first": first, "seconds": round(time.monotonic() - start, 1)}
    emit(as_json, plain, _text(plain))
    context.exit(1 if plain["differing"] else 0)


def _text(plain: Part) -> str:
    lines = []
    for kind, part in plain["kinds"].items():
        compared = ", ".join(f"{count:,} {name}" for name, count in part["compared"].items())
        lines.append(f"{part['cases']} random {kind} from seed {plain['seed']}: {part['differing']} differ ({part['redrawn']} "
                     f"redrawn because they {KINDS[kind]}). Compared: {compared}")
    for failure in plain["failures"]:
        lines += [f"Case {failure['case']} of the {failure['kind']}: {failure['first']}", f"  again: {failure['again']}"]
    return "\n".join(lines)


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
    whole: Part = {"seed": seed} | _sum(parts)
    whole["kinds"] = {kind: _sum([part for part in parts if part["kind"] == kind]) for kind in KINDS
                      if any(part["kind"] == kind for part in parts)}
    whole["failures"] = [
        failure | {"kind": part["kind"], "again": f"spikeloom verify --kind {part['kind']} --cases 1 --first {failure['case']} "
                                                  f"--seed {seed}"}
        for part in parts for failure in part["failures"]]
    whole["failures"].sort(key=lambda failure: (failure["kind"], failure["case"]))
    return whole


def _sum(parts: list[Part]) -> Part:
    whole: Part = {key: sum(part[key] for part in parts) for key in _SUMS}
    for key in ("compared", "met"):
        names = sorted({name for part in parts for name in part[key]})
        whole[key] = {name: sum(part[key].get(name, 0) for part in parts) for name in names}
    return whole


def check(span: Span) -> Part:
    """One part of the work: top-level, so that another process can be told to run it."""
    from spikeloom.sim import verify as images
    from spikeloom.sim import verify_networks as networks
    kind, seed, low, count = span
    *_, report = (images.verify if kind == "images" else networks.verify_networks)(count, seed, low)
    return report.plain()
