"""Loops, delays and skips: what the compiler retimes or slows runs, realigned, as the network itself does in its own steps."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, note, settings

from spikeloom.host.compiler.compile import compile
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.reference import reference
from spikeloom.image import Image
from spikeloom.params import ArrayParams
from spikeloom.sim.golden import GoldenMachine
from tests.loop_cases import ARRAY, BITS, DT, FOLDED, STEPS, UNIT, Graph, graphs

#: What the examples of a run must have met; what NIR's nodes cannot say; and what takes some hundred examples.
SITUATIONS = {
    "slowed", "two loops share a population", "loop of several", "self loop", "skip", "two inputs", "delay over 1", "mixed delays",
    "late start", "readout", "silent population", "every population spikes"}
BEYOND_NIR = {"two currents", "refractory", "hold", "subtract"}
RARE = {"slowed by 3 or more", "delay over two layers"}


def check(graph: Graph, params: ArrayParams, imported: Network | None = None) -> set[str]:
    """The compiled network against the reference of the graph: all spikes and potentials; returns what was met.

    ``imported`` is the same network by another way, which is compiled instead.
    """
    network = graph.network()
    names = [population.name for population in network.populations]
    image = compile(imported or network, params=params, weight_bits=BITS)
    _check_exactness(graph, image)
    spikes = graph.spikes()
    expected = reference(network, spikes, record=names)
    machine = GoldenMachine(params)
    machine.load(image)
    found = machine.run(spikes, potentials="steps", record=names)
    assert set(expected.spikes) <= set(found.spikes)
    for name, array in expected.spikes.items():
        np.testing.assert_array_equal(found.spikes[name], array, err_msg=f"spikes of {name}")
    for name in names:
        np.testing.assert_array_equal(found.potentials[name], expected.potentials[name], err_msg=f"potentials of {name}")
    alive = [bool(array.any()) for array in expected.spikes.values()]
    return met(graph, image) | {name for name, holds in (
        ("silent population", not all(alive)), ("every population spikes", all(alive))) if holds}


def _check_exactness(graph: Graph, image: Image) -> None:
    """No state can need more fraction bits than the array has: the comparison is not one of luck."""
    for cells in graph.cells:
        scale = image.population(cells.name).scale
        halvings = STEPS if cells.current or cells.second or cells.membrane == 0.5 else 0
        np.testing.assert_array_equal(np.frexp(scale)[0], 0.5, err_msg=f"{cells.name}: a scale is no power of two")
        assert scale.min() * UNIT * min(cells.gain, 1) >= 2.0 ** halvings, f"{cells.name}: too few fraction bits"


def met(graph: Graph, image: Image) -> set[str]:
    """Situations of a graph and its image."""
    place = {name: number for number, name in enumerate([name for name, _ in graph.inputs] + [c.name for c in graph.cells])}
    inner = [wire for wire in graph.wires if wire.source.startswith("p")]
    back = [wire for wire in inner if place[wire.source] >= place[wire.target]]
    loops = [set(range(place[wire.target], place[wire.source] + 1)) for wire in back]
    depth = {population.name: population.depth for population in image.populations}
    two = {wire.target for wire in graph.wires if wire.receptor}
    return {name for name, holds in {
        "slowed": image.ticks_per_step > 1, "slowed by 3 or more": image.ticks_per_step > 2,
        "loop of several": any(len(loop) > 1 for loop in loops), "self loop": any(len(loop) == 1 for loop in loops),
        "two loops share a population": any(a & b for i, a in enumerate(loops) for b in loops[:i]),
        "skip": any(place[w.target] - place[w.source] > 1 for w in inner), "two inputs": len(graph.inputs) > 1,
        "delay over 1": any(max(w.delays) > 1 for w in inner), "mixed delays": any(len(set(w.delays)) > 1 for w in inner),
        "delay over two layers": any(max(w.delays) and depth[w.target] - depth[w.source] > 1 for w in inner),
        "late start": any(any(c.bias) and depth[c.name] for c in graph.cells), "readout": not graph.cells[-1].spiking,
        "refractory": any(c.refractory for c in graph.cells), "hold": any(c.hold and c.refractory for c in graph.cells),
        "subtract": any(c.reset == "subtract" for c in graph.cells), "two currents": bool(two)}.items() if holds}


def holds(examples: int, array: ArrayParams, *, nir: bool = False) -> Counter[str]:
    """Check so many random graphs; returns how many met each situation."""
    seen: Counter[str] = Counter()

    @settings(max_examples=examples, deadline=None, derandomize=True, database=None)
    @given(graph=graphs(nir=nir))
    def run(graph: Graph) -> None:
        note(str(graph))
        imported = from_nir(graph.nir(), profile="norse", dt=DT) if nir else None
        seen.update(check(graph, array, imported))

    run()
    print(dict(seen))
    return seen


@pytest.mark.parametrize("array", [ARRAY, FOLDED], ids=["direct", "folded"])
def test_random_loops_run_in_the_networks_own_time(array: ArrayParams) -> None:
    seen = holds(60, array)
    assert not (SITUATIONS | BEYOND_NIR) - set(seen)


def test_random_loops_of_nir_graphs_run_in_the_networks_own_time() -> None:
    seen = holds(60, ARRAY, nir=True)
    assert not SITUATIONS - set(seen)


@pytest.mark.slow
@pytest.mark.parametrize(("array", "nir"), [(ARRAY, False), (FOLDED, False), (FOLDED, True)], ids=["direct", "folded", "NIR"])
def test_five_hundred_random_loops_run_in_the_networks_own_time(array: ArrayParams, nir: bool) -> None:
    seen = holds(500, array, nir=nir)
    assert not (SITUATIONS | RARE | (set() if nir else BEYOND_NIR)) - set(seen)
