"""Random networks through the compiler, then compared: golden model, RTL, and the network's integers evaluated in steps.

The first two start from the image's bits, the third from what quantisation made; where a network is all of integers, the
float reference is a fourth, which starts from the network itself. So compiler, model and gateware are held against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError, MachineError
from spikeloom.events import Spikes
from spikeloom.host.compiler.compile import compile
from spikeloom.host.driver import Driver
from spikeloom.host.networks.draw import random_array, random_sketch
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.reference import reference
from spikeloom.host.networks.sketch import Sketch, build, spikes
from spikeloom.host.quantisation.quant_reference import quant_reference
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.image import Image
from spikeloom.machine import Machine, Result
from spikeloom.params import ArrayParams
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.situations import situations
from spikeloom.sim.stimulus import Case
from spikeloom.sim.verify import CASES_PER_ARRAY, Report, compare, extent, run_golden

#: Attempts to draw a network that fits, per case; of the drawn ones more than half do.
ATTEMPTS = 40


@dataclass(frozen=True)
class NetworkCase:
    """A drawn network that fits its array, compiled. ``refused`` says why earlier ones of this case did not fit."""

    sketch: Sketch
    network: Network
    image: Image
    refused: tuple[str, ...] = ()


class WrongRefusal(Exception):
    """The compiler refused a network for an array that has room for it."""


def roomy(params: ArrayParams) -> ArrayParams:
    """An array like this one with room for every network that is drawn: whatever the compiler refuses here, it refuses wrongly."""
    lists = {"folds": 8, "axons": 4096, "entries": 1 << 14, "lanes": 256, "words": 4096} if params.lists else {"lanes": 1024, "words": 1024}
    return replace(params, columns=4, rows=2, accumulator_bits=32, state_bits=32, gain_bits=16, classes=64, delays=64,
                   delay_depth=4096, destinations=4096, refractory_bits=8, phases=8, depths=64, currents=2, floors=1, block=32, **lists)


def draw_network(seed: int, number: int) -> tuple[ArrayParams, np.random.Generator]:
    """Array and generator of case ``number``: the same whichever cases ran before it."""
    return random_array(np.random.default_rng([seed, number // CASES_PER_ARRAY, 2])), np.random.default_rng([seed, number, 3])


def fitting_case(params: ArrayParams, rng: np.random.Generator) -> NetworkCase:
    """The first drawn network that fits. WrongRefusal when one does not that should, MachineError when none of many does."""
    refused: list[str] = []
    for _ in range(ATTEMPTS):
        sketch = random_sketch(rng, params)
        network = build(sketch)
        try:
            return NetworkCase(sketch, network, _compile(sketch, network, params), tuple(refused))
        except CompileError as error:
            refused.append(str(error))
        try:
            _compile(sketch, network, roomy(params))
        except CompileError as error:
            raise WrongRefusal(f"The compiler refuses a network even for a roomy array: {error} (the array of the case: "
                               f"{refused[-1]}) Sketch: {sketch}") from None
    raise MachineError(f"None of {ATTEMPTS} random networks fits; the last error: {refused[-1]}")


def _compile(sketch: Sketch, network: Network, params: ArrayParams) -> Image:
    return compile(network, params=params, weight_bits=sketch["weight_bits"], record=sketch["record"], objective=sketch["objective"])


def check_network(case: NetworkCase, golden: Machine, rtl: Machine | None) -> tuple[str | None, dict[str, int], set[str]]:
    """Run a case everywhere: the first difference in words or None, what was compared, and the situations that were met."""
    inputs = spikes(case.sketch)
    stimulus = Case(case.image, inputs, "steps")
    try:
        found = run_golden(stimulus, golden)
    except MachineError as error:
        return f"Golden model: {error}", {}, set()
    quantised = quantise(case.network, case.image.params, case.sketch["weight_bits"])
    try:
        steps = quant_reference(quantised, inputs, case.image.params, record=list(quantised.populations))
    except CompileError as error:
        return f"Integers in steps: {error}", {}, set()
    text = differs("Integers in steps", found, steps.spikes, steps.states)
    if text is None and all(population.integer for population in case.network.populations):
        real = reference(case.network, inputs, record=list(steps.states), state_bits=case.image.params.state_bits)
        text = differs("Reference", found, real.spikes, {name: values * case.image.population(name).scale
                                                         for name, values in real.potentials.items()})
    if text is None and rtl is not None:
        text = compare(stimulus, found, golden, rtl)
    return text, extent(found), situations(case.sketch, case.network, case.image, quantised, steps)


def differs(what: str, found: Result, fired: Mapping[str, Spikes], potentials: Mapping[str, npt.NDArray[Any]]) -> str | None:
    """The earliest place where the golden model's spikes or potentials are not these, by sample and step."""
    places = []
    for kind, ours, theirs in (("spike", found.spikes, fired), ("potential", found.states, potentials)):
        for name, array in ours.items():
            wrong = np.argwhere(array != theirs[name])
            if len(wrong):
                sample, step, neuron = (int(i) for i in wrong[0])
                places.append((sample, step, f"{what}: {kind} of neuron {neuron} of {name!r}, sample {sample}, step {step}: "
                                             f"{array[sample, step, neuron]} on the golden model against "
                                             f"{theirs[name][sample, step, neuron]}"))
    return min(places)[2] if places else None


def verify_networks(cases: int, seed: int, first: int = 0, *, build_rtl: bool = True) -> Iterator[Report]:
    """Check random networks ``first`` to ``first + cases − 1``; yields the growing report after each.

    Without ``build_rtl`` the RTL is left out: the compiler and the golden model alone, in a fraction of the time.
    """
    from spikeloom.sim.build import compiled_library
    from spikeloom.sim.compiled import CompiledTransport

    report = Report(seed, kind="networks")
    library: tuple[ArrayParams, Path] | None = None
    for number in range(first, first + cases):
        params, rng = draw_network(seed, number)
        pauses = (float(rng.choice([0.0, 0.3, 0.7])), float(rng.choice([0.0, 0.3, 0.7])))
        start = int(rng.integers(1 << 31))
        try:
            case = fitting_case(params, rng)
        except WrongRefusal as error:
            report.add(number, str(error), {})
            yield report
            continue
        report.redrawn += len(case.refused)
        if build_rtl:
            if library is None or library[0] != params:
                library = params, compiled_library(params)
            transport = CompiledTransport(params, library=library[1], pauses=pauses, seed=start, random_start=True, limit=100_000)
            with Driver(transport) as rtl:
                text, counts, met = check_network(case, GoldenMachine(), rtl)
        else:
            text, counts, met = check_network(case, GoldenMachine(), None)
        report.add(number, text if text is None else f"{text}. Sketch: {case.sketch}", counts, met)
        yield report
