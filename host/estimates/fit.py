"""Arrays for a board that hold a network: a search over their parameters. All figures are estimates.

Candidates are two families, each over meshes of 1 × 1 to 4 × 4 cores: **throughput** (one fold, wide) and **capacity** (folds, lists of
axons). Those that :mod:`spikeloom.host.estimates.resources` says the board has no room for are left out; of the rest, ``tries`` that are
spread evenly over the bandwidth of their synapse memories, and the arrays that the board is meant for, are compiled for and estimated.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.errors import CompileError, SpikeloomError
from spikeloom.host.boards import Board, named_array
from spikeloom.host.compiler.compile import compile
from spikeloom.host.estimates.resources import LUT_ERROR, Resources, resources
from spikeloom.host.networks.network import Network
from spikeloom.image import Image
from spikeloom.params import ArrayParams

MESHES = ((1, 1), (2, 1), (2, 2), (3, 2), (4, 2), (4, 4))
#: Cells, lanes, banks and words of a core of one fold; the same, folds and entries of a bank's lists of one with several.
WIDE = ((2, 4, 8), (36, 72, 144, 288), (2, 4, 8), (512, 1024))
FOLDED = ((4, 8), (32, 64, 128), (1, 2, 4), (512, 1024), (16, 64), (1024, 4096))
#: What each objective puts first.
OBJECTIVES = ("throughput", "latency", "energy")


@dataclass(frozen=True)
class Point:
    """An array that holds the network: its resources, cycles of a sample on average and at the worst, and energy in µJ (middle)."""

    name: str
    params: ArrayParams
    resources: Resources
    cycles: float
    worst: int
    energy: float
    limit: str
    clock_mhz: float

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"name": self.name, "params": self.params.describe(), "resources": dataclasses.asdict(self.resources), "cycles": self.cycles,
                "cycles_worst": self.worst, "energy_uj": self.energy, "limit": self.limit,
                "samples_per_second": self.clock_mhz * 1e6 / self.cycles}

    def cost(self, objective: str) -> float:
        """What the objective makes small."""
        return {"throughput": self.cycles, "latency": float(self.worst), "energy": self.energy}[objective]


def candidates(network: Network, board: Board) -> Iterator[ArrayParams]:
    """Arrays that the board has room for, with the currents and floors that the network needs."""
    single = any(np.any(np.asarray(population.current_gain) != 0) for population in network.populations)
    currents = max([network.currents(population.name) for population in network.populations] + [1])
    needs: dict[str, Any] = {"currents": currents if currents > 1 or single else 0,
                             "floors": int(any(population.floor for population in network.populations))}
    for columns, rows in MESHES:
        mesh = {"columns": columns, "rows": rows, **needs}
        for bits, lanes, banks, words in itertools.product(*WIDE):
            yield from _roomy(board, **mesh, weight_bits=bits, lanes=lanes, banks=banks, words=words, accumulator_bits=bits + 10)
        for bits, lanes, banks, words, folds, entries in itertools.product(*FOLDED):
            yield from _roomy(board, **mesh, weight_bits=bits, lanes=lanes, banks=banks, words=words, folds=folds, entries=entries,
                              axons=2048, destinations=2048, delay_depth=32, accumulator_bits=bits + 10)


def _roomy(board: Board, **options: Any) -> Iterator[ArrayParams]:
    try:
        params = ArrayParams(**options)
        needed = resources(params)
    except ValueError:
        return  # no such array: its addresses or blocks go beyond what words can name
    if not needed.over(board):
        yield params


def search(network: Network, board: Board, estimate: Callable[[Image], dict[str, Any]], *, weight_bits: int = 8,
           tries: int = 24) -> tuple[list[Point], list[str]]:
    """Compile for candidates and estimate them; returns those that hold the network, and why each of the others does not.

    ``estimate(image)`` gives ``cycles_per_sample``, ``cycles_worst``, ``energy_uj`` and ``limit``.
    """
    found = sorted(candidates(network, board), key=_bandwidth)
    chosen = [found[i] for i in np.unique(np.linspace(0, len(found) - 1, tries).astype(int))] if found else []
    arrays = {name: named_array(name) for name in board.arrays}
    arrays |= {_name(params): params for params in chosen if params not in arrays.values()}
    points, refused = [], []
    for name, params in arrays.items():
        try:
            image = compile(network, params=params, weight_bits=weight_bits)
        except CompileError as error:
            refused.append(f"{name}: {str(error).splitlines()[0]}")
            continue
        data = estimate(image)
        if "cycles_per_sample" not in data:
            raise SpikeloomError("A network without inputs has no samples to fit an array to")
        points.append(Point(name, params, resources(params), data["cycles_per_sample"], data["cycles_worst"], data["energy_uj"]["mid"],
                            data["limit"], board.clock_mhz))
    return points, refused


def _bandwidth(params: ArrayParams) -> int:
    return params.cores * params.banks * params.lanes * params.weight_bits


def _name(params: ArrayParams) -> str:
    folds = f"×{params.folds}" if params.lists else ""
    return f"{params.columns}x{params.rows} {params.lanes}{folds} {params.banks}b {params.words}w {params.weight_bits}bit" + (
        f" {params.entries}e" if params.lists else "")


def pareto(points: list[Point], objective: str) -> list[Point]:
    """The points that no other equals or beats in the objective, cycles, energy, LUTs and block RAM, the best first.

    SpikeloomError for another objective than :data:`OBJECTIVES`.
    """
    if objective not in OBJECTIVES:
        raise SpikeloomError(f"The objective must be {', '.join(OBJECTIVES)}, not {objective!r}")
    costs = [(p.cost(objective), p.cycles, p.energy, p.resources.luts, p.resources.ramb36) for p in points]
    best = [point for i, (point, mine) in enumerate(zip(points, costs, strict=True))
            if not any(all(a <= b for a, b in zip(other, mine, strict=True)) and (other != mine or j < i) for j, other in enumerate(costs))]
    return sorted(best, key=lambda point: point.cost(objective))


def table(points: list[Point], objective: str, fitting: int, refused: int) -> str:
    """The Pareto set in words."""
    lines = [f"{fitting} arrays hold the network, {refused} of those tried do not; nothing beats these ({objective} first):", "",
             f"{'array':<32}{'samples/s':>11}{'cycles':>10}{'worst':>9}{'µJ':>9}{'LUT':>8}{'RAMB36':>8}{'DSP':>5}  waits for"]
    lines += [f"{p.name:<32}{p.clock_mhz * 1e6 / p.cycles:>11,.0f}{p.cycles:>10,.0f}{p.worst:>9,}{p.energy:>9.3g}{p.resources.luts:>8,}"
              f"{p.resources.ramb36:>8g}{p.resources.dsps:>5}  {p.limit}" for p in points]
    clock = points[0].clock_mhz if points else 0
    return "\n".join([*lines, "", f"Estimates: predicted cycles × {clock:g} MHz (assumed), LUTs within {LUT_ERROR:.0%} of synthesis "
                      "where that was tried (other arrays: unknown), energy −50 %/+100 %. Nothing was built."])


def draw(points: list[Point], best: list[Point], path: Path) -> None:
    """Time against energy, each array's block RAM by size, the Pareto set named; SpikeloomError where it cannot be drawn."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SpikeloomError("Pictures need matplotlib, which is not installed: pip install 'spikeloom[cli]'") from None
    figure = Figure(figsize=(8, 5), layout="constrained")
    axis = figure.subplots()
    for group, colour in ((points, "lightgrey"), (best, "tab:blue")):
        axis.scatter([p.cycles / p.clock_mhz for p in group], [p.energy for p in group], [10 + p.resources.ramb36 for p in group], colour)
    for point in best:
        axis.annotate(point.name, (point.cycles / point.clock_mhz, point.energy), fontsize="xx-small")
    axis.set(xscale="log", yscale="log", xlabel="µs a sample (predicted cycles, assumed clock)", ylabel="µJ a sample (estimate)",
             title="Arrays that hold the network; size: RAMB36")
    try:
        figure.savefig(path, dpi=150)
    except (ValueError, OSError) as error:
        raise SpikeloomError(f"{path} cannot be drawn: {error}") from error
