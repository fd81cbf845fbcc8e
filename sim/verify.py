"""Golden model against RTL and engine on random cases, and two results of one image against each other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from spikeloom.errors import MachineError
from spikeloom.image import Image
from spikeloom.machine import Machine, Result
from spikeloom.params import ArrayParams
from spikeloom.sim.stimulus import Case, random_case, random_params

#: Cases that share one random array, because building its RTL is what takes time.
CASES_PER_ARRAY = 25


@dataclass(frozen=True)
class Difference:
    """The first place where two runs of one image disagree."""

    what: str
    sample: int
    step: int | None
    tick: int | None
    population: str
    neuron: int
    core: tuple[int, int]
    address: int
    values: tuple[int, int]

    def __str__(self) -> str:
        when = "" if self.step is None else f", step {self.step} (tick {self.tick})"
        return (f"{self.what} of neuron {self.neuron} of {self.population!r} (core {self.core}, address {self.address}), "
                f"sample {self.sample}{when}: {self.values[0]} against {self.values[1]}")


def _place(image: Image, what: str, name: str, index: tuple[int, ...], values: tuple[int, int]) -> Difference:
    population = image.population(name)
    sample, neuron = index[0], index[-1]
    step = index[1] if len(index) == 3 else None
    tick = None if step is None else step * image.ticks_per_step + population.depth
    x, y, address, _ = (int(value) for value in population.places[neuron])
    return Difference(what, sample, step, tick, name, neuron, (x, y), address, values)


def first_difference(first: Result, second: Result) -> Difference | None:
    """The earliest spike or potential (by sample, then tick) that differs between two runs of one image, or None."""
    found: list[Difference] = []
    for what, ours, theirs in (("Spike", first.spikes, second.spikes), ("Potential", first.states, second.states)):
        for name in ours:
            if name not in theirs or ours[name].shape != theirs[name].shape:
                raise MachineError(f"The runs cannot be compared: {what.lower()}s of {name!r} differ in shape")
            wrong = np.argwhere(ours[name] != theirs[name])
            if len(wrong):
                index = tuple(int(i) for i in wrong[0])
                found.append(_place(first.image, what, name, index, (int(ours[name][index]), int(theirs[name][index]))))
    return min(found, key=lambda d: (d.sample, d.tick if d.tick is not None else 1 << 62), default=None)


def count_differences(first: Result, second: Result) -> tuple[int, int]:
    """How many spikes, and how many potentials, differ between two runs of one image."""
    return tuple(int(sum(np.count_nonzero(ours[name] != theirs[name]) for name in ours))  # type: ignore[return-value]  # two
                 for ours, theirs in ((first.spikes, second.spikes), (first.states, second.states)))


@dataclass
class Report:
    """What ``verify`` found. ``failures`` pairs a case number with the first difference or the error, in words.

    ``redrawn`` counts images that overflow, or networks that do not fit; ``met`` how many cases met each situation.
    """

    seed: int
    kind: str = "images"
    cases: int = 0
    differing: int = 0
    redrawn: int = 0
    compared: dict[str, int] = field(default_factory=lambda: {"spikes": 0, "potentials": 0, "ticks": 0})
    met: dict[str, int] = field(default_factory=dict)
    failures: list[tuple[int, str]] = field(default_factory=list)

    def add(self, number: int, text: str | None, compared: Mapping[str, int], met: Iterable[str] = ()) -> None:
        """Count case ``number``; ``text`` is its first difference, or None."""
        self.cases += 1
        for counts, more in ((self.compared, compared), (self.met, dict.fromkeys(met, 1))):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        if text is not None:
            self.differing += 1
            self.failures.append((number, text))

    def plain(self) -> dict[str, Any]:
        """The report as plain data."""
        return {"kind": self.kind, "seed": self.seed, "cases": self.cases, "differing": self.differing, "redrawn": self.redrawn,
                "compared": self.compared, "met": self.met,
                "failures": [{"case": case, "first": text} for case, text in self.failures]}


def draw(seed: int, number: int) -> tuple[ArrayParams, np.random.Generator]:
    """Array and generator of case ``number``: the same whichever cases ran before it."""
    params = random_params(np.random.default_rng([seed, number // CASES_PER_ARRAY]))
    return params, np.random.default_rng([seed, number, 1])


def run_golden(case: Case, golden: Machine) -> Result:
    """Run a case on the golden model, reading every population. MachineError means that the image overflows."""
    golden.load(case.image)
    return golden.run(case.inputs, **_everything(case))


def check_case(case: Case, rtl: Machine, golden: Machine) -> tuple[str | None, dict[str, int]]:
    """Run a case on both machines; returns the first difference in words or None, and what was compared.

    MachineError from the golden model means that the image overflows.
    """
    expected = run_golden(case, golden)
    return compare(case, expected, golden, rtl), extent(expected)


def extent(result: Result) -> dict[str, int]:
    """How many spikes, potentials and ticks of a run can be compared."""
    return {"spikes": sum(array.size for array in result.spikes.values()),
            "potentials": sum(array.size for array in result.states.values()), "ticks": int(result.stats["TICKS"])}


def compare_engine(case: Case, golden: Machine, engine: Machine) -> str | None:
    """Run a case on the golden model and the engine; the first difference in words, or None. An overflow must be the same."""
    try:
        expected = run_golden(case, golden)
    except MachineError as error:
        wanted = str(error)
    else:
        text = compare(case, expected, golden, engine, "engine")
        return None if text is None else f"On the engine: {text}"
    try:
        engine.load(case.image)
        engine.run(case.inputs, **_everything(case))
    except MachineError as error:
        return None if str(error) == wanted else f"Engine: {error} Golden model: {wanted}"
    return f"The engine ran what the golden model refuses: {wanted}"


def compare(case: Case, expected: Result, golden: Machine, other: Machine, name: str = "RTL") -> str | None:
    """Run a case on another machine, by default the RTL; the first difference from what the golden model has just returned, in words,
    or None."""
    try:
        other.load(case.image)
        found = other.run(case.inputs, **_everything(case))
    except MachineError as error:
        return f"{name}: {error}"
    difference = first_difference(expected, found)
    if difference is not None:
        return str(difference)
    for population in case.image.populations:
        ours, theirs = golden.probe(population.name), other.probe(population.name)
        for state in ours:
            wrong = np.flatnonzero(ours[state] != theirs[state])
            if len(wrong):
                at = int(wrong[0])
                return f"Final {state} of neuron {at} of {population.name!r}: {ours[state][at]} against {theirs[state][at]}"
    for counter in set(expected.stats) & set(found.stats):  # the RTL counts no operations
        if expected.stats[counter] != found.stats[counter]:
            return f"{counter}: {expected.stats[counter]} against {found.stats[counter]}"
    return None


def _everything(case: Case) -> dict[str, Any]:
    return {"potentials": case.potentials, "record": [population.name for population in case.image.populations]}


def verify(cases: int, seed: int, first: int = 0) -> Iterator[Report]:
    """Check random cases ``first`` to ``first + cases − 1``; yields the growing report after each."""
    from spikeloom.sim.compiled import open_compiled
    from spikeloom.sim.engine import EngineMachine
    from spikeloom.sim.golden import GoldenMachine

    engine = EngineMachine(threads=1)
    report = Report(seed)
    open_array: tuple[ArrayParams, Machine] | None = None
    for number in range(first, first + cases):
        params, rng = draw(seed, number)
        pauses = (float(rng.choice([0.0, 0.3, 0.7])), float(rng.choice([0.0, 0.3, 0.7])))
        if open_array is not None:
            open_array[1].close()
        rtl: Machine = open_compiled(params, pauses=pauses, seed=int(rng.integers(1 << 31)), random_start=True, limit=100_000)
        open_array = params, rtl
        while True:
            case, counts = random_case(params, rng), dict[str, int]()
            text = compare_engine(case, GoldenMachine(), engine)
            if text is not None:
                break
            try:
                text, counts = check_case(case, rtl, GoldenMachine())
                break
            except MachineError:  # the golden model: this image overflows, so nothing is promised
                report.redrawn += 1
        report.add(number, text, counts)
        yield report
    if open_array is not None:
        open_array[1].close()
