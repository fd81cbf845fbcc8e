"""The compiler: a network becomes an image, or an error that says what does not fit, where, and by how much."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from spikeloom.errors import CompileError, SpikeloomError
from spikeloom.events import InputSpikes, Spikes
from spikeloom.host.boards import boards, named_array
from spikeloom.host.compiler.balance import UNSEATED, seating
from spikeloom.host.compiler.fanin import split_fan_in
from spikeloom.host.compiler.netlist import build_netlist
from spikeloom.host.compiler.pack import pack
from spikeloom.host.compiler.place import Objective, Placer
from spikeloom.host.compiler.report import describe
from spikeloom.host.compiler.retime import Link, Schedule, retime
from spikeloom.host.networks.network import Network
from spikeloom.host.quantisation.calibrate import Calibration
from spikeloom.host.quantisation.quant_network import QuantNetwork
from spikeloom.host.quantisation.quantise import quantise
from spikeloom.host.quantisation.scales import ScaleKind
from spikeloom.image import Image
from spikeloom.params import PRESETS, ArrayParams


def compile(network: Network, *, board: str | None = None, params: ArrayParams | None = None,
            weight_bits: int | Mapping[str, int] = 8, scale: ScaleKind = "neuron",
            calibrate: InputSpikes | Calibration | None = None, record: str = "all", objective: Objective = "cores") -> Image:
    """Fit a network onto an array.

    Parameters
    ----------
    network
        What a front end made (:class:`spikeloom.host.networks.network.Network`).
    board, params
        The array: the name of a board, of which the first array that holds the network is taken; or of one array (a preset);
        or exactly these parameters. One of the two.
    weight_bits
        Width of real weights, 2 to 16: for all populations, or by name (8 where none is given).
    scale
        "neuron": weights of each neuron (each channel of a map) have a scale of their own; "tensor": one for a population.
    calibrate
        Sample input, as for ``run``: scales are chosen for the least error in membrane potential on it, and the report tells
        how many spikes differ. With ``objective="speed"`` also: what spikes together in it is spread over the banks.
    record
        "all": the host sees the spikes of every population; "outputs": those of the network's outputs.
    objective
        "cores": the fewest cores, among those equal work and short ways; "speed": equal work for all cores of the array, and,
        where delays allow it, two ticks for every connection, so that ticks overlap: outputs come later by a tick a layer, and
        ticks are shorter.

    CompileError says what does not fit, where, and by how much.
    """
    _check_record(record)
    failed: dict[str | None, CompileError] = {}
    sample = calibrate if calibrate is None or isinstance(calibrate, Calibration) else Calibration(network, calibrate)
    for name, array in _arrays(board, params):
        try:
            quantised = quantise(network, array, weight_bits, scale=scale, calibrate=sample)
        except CompileError as error:
            failed[name] = error
            continue
        try:
            image = fit(network, quantised, array, board=board, record=record, objective=objective, sample=sample)
        except CompileError as error:
            failed[name] = _NoRoom(str(error))
            continue
        passed_over = {str(other): str(error) for other, error in failed.items()}
        return dataclasses.replace(image, report=image.report | {"array_name": name, "passed_over": passed_over})
    raise _refusal(failed, lambda array: fit(network, quantise(network, array, weight_bits, scale=scale), array, record=record))


class _NoRoom(CompileError):
    """The array is too small, so that another may do."""


def _arrays(board: str | None, params: ArrayParams | None) -> list[tuple[str | None, ArrayParams]]:
    """The arrays to try, in turn, by name: those meant for the board, or the one that is named or given."""
    known = boards()
    if params is None and board in known:
        return [(name, named_array(name)) for name in known[board].arrays]
    return [(board, array_of(board, params))]


def _refusal(failed: dict[str | None, CompileError], attempt: Callable[[ArrayParams], Image]) -> CompileError:
    """What to say when no array will do: why, and which of the known arrays were tried and would."""
    texts = {str(error) for error in failed.values()}
    text = texts.pop() if len(texts) == 1 else "\n".join(f"Array {name}: {error}" for name, error in failed.items())
    if not any(isinstance(error, _NoRoom) for error in failed.values()):
        return CompileError(text)
    others = [name for name in PRESETS if name not in failed]
    fits = []
    for name in others:
        try:
            attempt(PRESETS[name])
            fits.append(name)
        except CompileError:
            continue
    if fits:
        return CompileError(f"{text}.\nTried: it would fit {', '.join(map(_with_board, fits))}")
    return CompileError(f"{text}.\nTried: it would not fit {' or '.join(others)} either" if others else text)


def _with_board(array: str) -> str:
    meant = [board.name for board in boards().values() if array in board.arrays]
    return f"{array!r} (board {' or '.join(meant)})" if meant else f"{array!r}"


def fit(network: Network, quantised: QuantNetwork, params: ArrayParams, *, board: str | None = None,
        record: str = "all", objective: Objective = "cores", sample: Calibration | None = None) -> Image:
    """The image of a network that is quantised already; ``board`` is the array's name for the report, ``sample`` what compile is to
    calibrate on. Else as :func:`compile`."""
    _check_record(record)
    split = split_fan_in(quantised, params)
    known = {} if sample is None else sample.inputs | sample.activity
    least = _schedule(split, params)
    if objective == "speed":
        try:
            loose = _schedule(split, params, slack=True)
            if loose != least:
                return _placed(network, split, loose, params, board, record, objective, known)
        except CompileError:  # with longer delays more packets wait, and neurons start later: there may be no room for that
            pass
    return _placed(network, split, least, params, board, record, objective, known)


def _placed(network: Network, split: QuantNetwork, schedule: Schedule, params: ArrayParams, board: str | None, record: str,
            objective: Objective, known: Mapping[str, Spikes]) -> Image:
    """The image for a schedule; ``known`` is what a sample does, by input and population."""
    recorded = [name for name, population in split.populations.items()
                if population.spiking and (record == "all" or name in split.outputs)]
    seats = seating(split, schedule, params, known) if objective == "speed" else UNSEATED
    placer = Placer(build_netlist(split, schedule, params, seats), params)
    placement, image = placer.best(objective, lambda placement: pack(placement, params, recorded))
    return dataclasses.replace(image, report=describe(network, placement, image, board))


def _check_record(record: str) -> None:
    if record not in ("all", "outputs"):
        raise CompileError(f"record must be 'all' or 'outputs', not {record!r}")


def array_of(board: str | None, params: ArrayParams | None) -> ArrayParams:
    """The array that is named or given; CompileError unless it is exactly one, and known."""
    if (board is None) == (params is None):
        raise CompileError(f"Give either board, one of {', '.join(PRESETS)}, or params")
    if params is not None:
        return params
    try:
        return named_array(str(board))
    except SpikeloomError as error:
        raise CompileError(str(error)) from None


def _schedule(network: QuantNetwork, params: ArrayParams, slack: bool = False) -> Schedule:
    links = [Link(edge.source, edge.target, int(edge.delay.min()), int(edge.delay.max())) for edge in network.edges
             if edge.source in network.populations and len(edge.delay)]
    schedule = retime(list(network.populations), links, params, slack)
    for name, population in network.populations.items():
        if population.eager and schedule.depth[name] >= params.depths:
            raise CompileError(f"Population {name!r} has a bias and lies {schedule.depth[name]} ticks behind the input; this "
                               f"array can hold it back by at most {params.depths - 1}. Use fewer layers, or more depths")
    return schedule
