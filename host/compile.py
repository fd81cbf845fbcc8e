"""The compiler: a network becomes an image, or an error that says what does not fit, where, and by how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from spikeloom.errors import CompileError
from spikeloom.host.fanin import split_fan_in
from spikeloom.host.netlist import Netlist, build_netlist
from spikeloom.host.network import Network
from spikeloom.host.pack import pack
from spikeloom.host.place import Overflow, Placement, place
from spikeloom.host.quant_network import QuantNetwork
from spikeloom.host.quantise import quantise
from spikeloom.host.report import describe
from spikeloom.host.retime import Link, Schedule, retime
from spikeloom.image import Image
from spikeloom.params import PRESETS, ArrayParams, preset

#: Shares of a core that placement may fill, and whether units keep to the cores that listen: tried in turn when a core's axons,
#: words, lists or destinations do not suffice.
ATTEMPTS = tuple((fill, tight) for fill in (1.0, 0.75, 0.5, 0.35, 0.25, 0.125, 0.06) for tight in (False, True))


def compile(network: Network, *, board: str | None = None, params: ArrayParams | None = None,
            weight_bits: int | Mapping[str, int] = 8, record: str = "all") -> Image:
    """Fit a network onto an array.

    Parameters
    ----------
    network
        What a front end made (:class:`spikeloom.host.network.Network`).
    board, params
        The array, by the name of a preset or by its parameters; one of them.
    weight_bits
        Width of real weights, 2 to 16: for all populations, or by name (8 where none is given).
    record
        "all": the host sees the spikes of every population; "outputs": those of the network's outputs.

    CompileError says what does not fit, where, and by how much.
    """
    array = _array(board, params)
    if record not in ("all", "outputs"):
        raise CompileError(f"record must be 'all' or 'outputs', not {record!r}")
    quantised = split_fan_in(quantise(network, array, weight_bits), array)
    schedule = _schedule(quantised, array)
    recorded = [name for name, population in quantised.populations.items()
                if population.spiking and (record == "all" or name in quantised.outputs)]
    placement, image = _fit(build_netlist(quantised, schedule, array), array, recorded)
    return dataclasses.replace(image, report=describe(network, placement, image, board))


def _array(board: str | None, params: ArrayParams | None) -> ArrayParams:
    if (board is None) == (params is None):
        raise CompileError(f"Give either board, one of {', '.join(PRESETS)}, or params")
    if params is not None:
        return params
    try:
        return preset(str(board))
    except ValueError as error:
        raise CompileError(f"There is no board {board!r}: {error}") from None


def _schedule(network: QuantNetwork, params: ArrayParams) -> Schedule:
    links = [Link(edge.source, edge.target, int(edge.delay.min()), int(edge.delay.max())) for edge in network.edges
             if edge.source in network.populations and len(edge.delay)]
    schedule = retime(list(network.populations), links, params)
    for name, population in network.populations.items():
        if population.eager and schedule.depth[name] >= params.depths:
            raise CompileError(f"Population {name!r} has a bias and lies {schedule.depth[name]} ticks behind the input; this "
                               f"array can hold it back by at most {params.depths - 1}. Use fewer layers, or more depths")
    return schedule


def _fit(netlist: Netlist, params: ArrayParams, recorded: list[str]) -> tuple[Placement, Image]:
    """Place and pack, spreading neurons over more cores as long as one is too full for what it listens or sends to."""
    first: Overflow | None = None
    for fill, tight in ATTEMPTS:
        try:
            placement = place(netlist, params, fill, tight)
            return placement, pack(placement, params, recorded)
        except Overflow as error:
            first = first or error
        except CompileError as error:
            if first is None:
                raise
            raise CompileError(f"{first} (Spread thinner, the network would not fit either: {error})") from None
    raise CompileError(str(first))



