"""Random graphs of populations with delays and loops, on numbers that an array holds exactly; as a network and as a NIR graph.

All numbers are multiples of 1/16 and all gains are 0, 1/2, 1 or 2, so that every state is a multiple of 2**-(4 + steps). A synapse
of −1 from the input ``anchor`` makes every neuron's scale a power of two, so that quantisation, if it keeps enough
fraction bits, changes no number: what is compared is time, not rounding.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from spikeloom.events import Spikes
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.params import ArrayParams

#: One weight step, and the width of weights: −1 is the least of them, and the others stay within ±14/16.
UNIT, BITS = 1 / 16, 5
STEPS, SAMPLES = 10, 2
#: A NIR file's step; a power of two, so that dt/τ is exact.
DT = 2.0 ** -10

ARRAY = ArrayParams(columns=4, rows=3, lanes=24, banks=2, words=128, block=8, state_bits=32, accumulator_bits=16, delays=64,
                    delay_depth=2048, phases=8, depths=64, destinations=256, currents=2)
FOLDED = ArrayParams(columns=2, rows=2, lanes=16, folds=8, banks=2, words=128, axons=128, entries=512, block=8, state_bits=32,
                     accumulator_bits=16, delays=64, delay_depth=2048, phases=8, depths=64, destinations=512, currents=2)


@dataclass(frozen=True)
class Cells:
    """A population; ``threshold``, ``bias`` and ``reset_value`` in units, one per neuron."""

    name: str
    current: float
    second: float
    membrane: float
    gain: float
    threshold: tuple[int, ...]
    bias: tuple[int, ...]
    reset: str
    reset_value: tuple[int, ...]
    refractory: int
    hold: bool
    strict: bool
    spiking: bool

    @property
    def size(self) -> int:
        """Number of neurons."""
        return len(self.threshold)


@dataclass(frozen=True)
class Wire:
    """Weights in units, (target neurons) of (source neurons); a delay in steps for each source neuron."""

    source: str
    target: str
    weights: tuple[tuple[int, ...], ...]
    delays: tuple[int, ...]
    receptor: int = 0

    @property
    def matrix(self) -> npt.NDArray[np.float64]:
        """Weights in the network's unit, (target neurons, source neurons)."""
        return np.array(self.weights, np.float64) * UNIT


@dataclass(frozen=True)
class Graph:
    """Inputs by size (beside the anchor), populations, what connects them, and the seed of the input spikes."""

    inputs: tuple[tuple[str, int], ...]
    cells: tuple[Cells, ...]
    wires: tuple[Wire, ...]
    seed: int

    def network(self) -> Network:
        """The graph as a network."""
        anchors = [Projection.dense(f"anchor {c.name}", "anchor", c.name, np.full((c.size, 1), -1.0)) for c in self.cells]
        return Network(
            inputs={"anchor": (1,)} | {name: (size,) for name, size in self.inputs},
            populations=tuple(_population(cells) for cells in self.cells), outputs=tuple(c.name for c in self.cells),
            projections=(*anchors, *(_projection(number, wire) for number, wire in enumerate(self.wires))))

    def nir(self) -> nir.NIRGraph:
        """The graph as NIR, a Delay node in every connection that has a delay; for what ``graphs(nir=True)`` draws."""
        nodes: dict[str, nir.NIRNode] = {name: nir.Input(input_type=np.array([size])) for name, size in
                                         (("anchor", 1), *self.inputs)}
        edges: list[tuple[str, str]] = []
        for cells in self.cells:
            nodes[cells.name] = _node(cells)
            nodes[f"bias {cells.name}"] = nir.Affine(np.full((cells.size, 1), -1.0), np.array(cells.bias) * UNIT)
            nodes[f"out {cells.name}"] = nir.Output(output_type=np.array([cells.size]))
            edges += [("anchor", f"bias {cells.name}"), (f"bias {cells.name}", cells.name), (cells.name, f"out {cells.name}")]
        for number, wire in enumerate(self.wires):
            path = [wire.source, f"w{number}", wire.target]
            nodes[f"w{number}"] = nir.Linear(wire.matrix)
            if any(wire.delays):
                nodes[f"d{number}"] = nir.Delay(np.array(wire.delays) * DT)
                path.insert(1, f"d{number}")
            edges += itertools.pairwise(path)
        return nir.NIRGraph(nodes, edges, type_check=False)

    def spikes(self) -> dict[str, Spikes]:
        """Input spikes, the anchor's rare."""
        rng = np.random.default_rng(self.seed)
        rate = float(rng.choice([0.2, 0.5, 0.8]))
        return {name: rng.random((SAMPLES, STEPS, size)) < (0.1 if name == "anchor" else rate)
                for name, size in (("anchor", 1), *self.inputs)}


def _population(cells: Cells) -> Population:
    return Population(
        name=cells.name, shape=(cells.size,), current_gain=cells.current, second_current_gain=cells.second,
        membrane_gain=cells.membrane, input_gain=cells.gain, threshold=np.array(cells.threshold) * UNIT,
        bias=np.array(cells.bias) * UNIT, reset="subtract" if cells.reset == "subtract" else "value",
        reset_value=np.array(cells.reset_value) * UNIT, refractory=cells.refractory, hold=cells.hold, strict=cells.strict,
        spiking=cells.spiking)


def _projection(number: int, wire: Wire) -> Projection:
    delays = np.broadcast_to(np.array(wire.delays), wire.matrix.shape)
    return Projection.dense(f"s{number}", wire.source, wire.target, wire.matrix, delays, receptor=wire.receptor)


def _node(cells: Cells) -> nir.NIRNode:
    """The neuron whose Euler step has the gains of the cells."""
    one = np.ones(cells.size)
    ends = {"v_threshold": np.array(cells.threshold) * UNIT, "v_reset": np.array(cells.reset_value) * UNIT} if cells.spiking else {}
    if cells.current:
        kind = nir.CubaLIF if cells.spiking else nir.CubaLI
        return kind(tau_syn=2 * DT * one, tau_mem=2 * DT * one, r=2 * one, v_leak=0 * one, w_in=2 * one, **ends)
    if cells.membrane == 1:
        return (nir.IF if cells.spiking else nir.I)(r=one, **ends)
    return (nir.LIF if cells.spiking else nir.LI)(tau=2 * DT * one, r=2 * one, v_leak=0 * one, **ends)


@st.composite
def graphs(draw: st.DrawFn, *, nir: bool = False) -> Graph:
    """Up to four populations and a readout, with at least one loop; with ``nir``, only what NIR's nodes can say."""
    inputs = tuple((f"in{number}", draw(st.integers(1, 3))) for number in range(draw(st.integers(1, 2))))
    cells = [draw(_cells(f"p{number}", nir)) for number in range(draw(st.sampled_from([1, 2, 3, 3, 4, 4])))]
    names = [part.name for part in cells]
    pairs = [("in0", names[0])]
    for number, name in enumerate(names[1:]):  # most follow the one before, so that loops are long
        pairs.append((draw(st.sampled_from([names[number]] * 3 + [name for name, _ in inputs] + names[:number])), name))
    forward = [(source, target) for number, target in enumerate(names) for source in (*dict(inputs), *names[:number])]
    back = [(source, target) for number, target in enumerate(names) for source in names[number:]]
    back += [pair for pair in back if len(set(pair)) > 1] * 2  # loops of several populations rather than self loops
    pairs += draw(st.lists(st.sampled_from(forward), max_size=2, unique=True))
    pairs += draw(st.lists(st.sampled_from(back), min_size=1, max_size=3))
    sizes = dict(inputs) | {part.name: part.size for part in cells}
    if draw(st.booleans()):
        readout = draw(_cells("read", nir, spiking=False))
        cells.append(readout)
        sizes["read"] = readout.size
        pairs += [(source, "read") for source in draw(st.lists(st.sampled_from(names), min_size=1, max_size=2, unique=True))]
    wires = [draw(_wire(pair, sizes, int(pair in back), nir)) for pair in dict.fromkeys(pairs)]
    return Graph(inputs, tuple(cells), tuple(wires), draw(st.integers(0, 2**32 - 1)))


@st.composite
def _cells(draw: st.DrawFn, name: str, plain: bool, spiking: bool = True) -> Cells:
    size = draw(st.integers(1, 3))

    def each(values: Any) -> tuple[int, ...]:
        return tuple(draw(st.lists(values, min_size=size, max_size=size)))

    current, membrane = draw(st.sampled_from([(0.0, 0.5), (0.0, 1.0), (0.5, 0.5)]))
    if not plain:
        current, membrane = draw(st.sampled_from([0.0, 0.5])), draw(st.sampled_from([0.0, 0.5, 1.0]))
    biased = not (plain and current) and draw(st.booleans())
    common: dict[str, Any] = {
        "current": current, "membrane": membrane, "bias": each(st.integers(-4, 8)) if biased else (0,) * size,
        "threshold": each(st.integers(1, 30)), "reset_value": each(st.integers(-4, 4)), "spiking": spiking}
    if plain:
        return Cells(name, second=0.0, gain=1.0, reset="value", refractory=0, hold=False, strict=True, **common)
    reset = draw(st.sampled_from(["subtract", "value"]))
    if reset == "subtract":
        common["reset_value"] = draw(st.sampled_from([common["threshold"], each(st.integers(1, 30))]))
    return Cells(name, second=draw(st.sampled_from([0.0, 0.5])), gain=draw(st.sampled_from([0.5, 1.0, 2.0])), reset=reset,
                 refractory=draw(st.integers(0, 2)), hold=draw(st.booleans()), strict=draw(st.booleans()), **common)


@st.composite
def _wire(draw: st.DrawFn, pair: tuple[str, str], sizes: dict[str, int], least: int, plain: bool) -> Wire:
    """Weights that excite more often than not, and delays of ``least`` or more."""
    inputs, outputs = sizes[pair[0]], sizes[pair[1]]
    row = st.lists(st.integers(-6, 14), min_size=inputs, max_size=inputs).map(tuple)
    weights = tuple(draw(st.lists(row, min_size=outputs, max_size=outputs)))
    one = least + draw(st.sampled_from([0, 0, 0, 1, 3]))
    mixed = draw(st.lists(st.integers(least, 3), min_size=inputs, max_size=inputs)) if draw(st.booleans()) else [one] * inputs
    return Wire(*pair, weights, tuple(mixed), 0 if plain else draw(st.sampled_from([0, 0, 1])))
