"""Sweeps: what weight bits, scales and arrays do to a network's answers, against the memory that they take.

Every combination is quantised, evaluated on sample input by the integer reference (which equals the array's spikes bit by bit),
compared with the float reference, and placed on the array for its memory.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from spikeloom.errors import CompileError, InputError
from spikeloom.events import InputSpikes, Spikes
from spikeloom.host import executor
from spikeloom.host.compiler.compile import array_of, fit
from spikeloom.host.networks.network import Network
from spikeloom.host.quantisation.calibrate import Calibration
from spikeloom.host.quantisation.quant_network import Reals
from spikeloom.host.quantisation.quant_reference import quant_reference
from spikeloom.host.quantisation.quantise import DEFAULT_BITS, quantise
from spikeloom.image import Image
from spikeloom.params import ArrayParams

#: How an output population's answer is read: spike counts, or potentials at the end, at their highest, or on average.
Readout = Literal["counts", "end", "max", "mean"]
#: Bits of a RAMB36.
RAMB36_BITS = 36 * 1024
#: What can be swept, and how a word of the command line becomes a value.
SWEPT: dict[str, Callable[[str], Any]] = {
    "weight_bits": int, "scale": str, "board": str, "calibrate": lambda word: {"yes": True, "no": False}[word],
}
_WORDS = {"weight_bits": "2 to 16", "scale": "neuron or tensor", "board": "an array's name", "calibrate": "yes or no"}


@dataclasses.dataclass(frozen=True)
class _Truth:
    """What the float network does on the input, and what is right: worked out once, sent to every worker."""

    network: Network
    sample: Calibration
    labels: npt.NDArray[np.int64] | None
    output: str
    readout: Readout


@dataclasses.dataclass(frozen=True)
class _Point:
    """One combination."""

    truth: _Truth
    options: dict[str, Any]
    params: ArrayParams

    def __str__(self) -> str:
        return ", ".join(f"{name} {value}" for name, value in self.options.items())


def sweep(network: Network, *, input: InputSpikes, labels: npt.ArrayLike | None = None,
          weight_bits: int | Mapping[str, int] | Iterable[int | Mapping[str, int]] = DEFAULT_BITS,
          scale: str | Iterable[str] = "neuron", calibrate: bool | Iterable[bool] = False,
          board: str | Iterable[str] | None = None, params: ArrayParams | None = None, output: str | None = None,
          readout: Readout | None = None, jobs: int | None = None, scheduler: str | None = None) -> list[dict[str, Any]]:
    """A row of plain data for every combination of the options that are given as lists.

    Parameters
    ----------
    network
        A network of real weights (integer populations have nothing to sweep, and stay as they are).
    input, labels
        Sample input as for ``run``, and the right answer (a neuron of the output population) for each sample, if it is known.
    weight_bits, scale, board, params
        As for :func:`spikeloom.host.compiler.compile.compile`; ``weight_bits``, ``scale`` and ``board`` may be several.
    calibrate
        Whether scales are chosen on ``input``; may be both.
    output, readout
        The population whose answer counts (needed where the network has several outputs), and how it is read: the neuron with
        the most spikes ("counts", the default where it spikes), or the highest potential at the "end" (the default where it
        does not), "max" or "mean" over the steps. The first of equal neurons wins.
    jobs, scheduler
        Where combinations are worked out; see :func:`spikeloom.host.executor.iterate`.

    Returns
    -------
    Rows with the swept options, ``accuracy`` and ``float_accuracy`` (None without labels), ``same_answer`` (share of samples
    answered as the float network does), ``spike_agreement`` (spikes that both have, as a share of those that either has; over all
    populations; 1 where neither spikes), ``differing_spikes``, ``spikes`` (of the float network), and of the array ``cores``,
    ``synapse_bits`` (in use), ``ramb36`` (an estimate: block RAMs that so many bits fill, the array's other memories not
    counted). Where a combination does not fit, ``why`` says why and those are None; else ``why`` is empty.

    InputError for input or labels that do not fit; CompileError for options that make no sense.
    """
    truth = _truth(network, input, labels, output, readout)
    points = list(_points(truth, weight_bits, scale, calibrate, board, params))
    return executor.map(_row, points, jobs=jobs, scheduler=scheduler)


def parse_sweep(text: str) -> tuple[str, list[Any]]:
    """Name and values of ``weight_bits=2..8``, ``weight_bits=2,4,8``, ``scale=neuron,tensor`` and the like; CompileError that says
    what is wrong."""
    name, equals, right = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or name not in SWEPT or not right.strip():
        raise CompileError(f"Sweep {text!r} is not of the form NAME=VALUES; NAME is one of {', '.join(SWEPT)}, such as "
                           f"weight_bits=2..8 or scale=neuron,tensor")
    values: list[Any] = []
    for word in right.split(","):
        first, dots, last = (part.strip() for part in word.partition(".."))
        try:
            if dots and name != "weight_bits":
                raise ValueError
            values += range(int(first), int(last) + 1) if dots else [SWEPT[name](first)]
            if dots and int(first) > int(last):
                raise ValueError
        except (ValueError, KeyError):
            raise CompileError(f"Sweep {text!r}: {word.strip()!r} is no value of {name}, which is {_WORDS[name]}") from None
    if len(set(values)) != len(values):
        raise CompileError(f"Sweep {text!r} has a value twice")
    return name, values


def _truth(network: Network, input: InputSpikes, labels: npt.ArrayLike | None, output: str | None,
           readout: Readout | None) -> _Truth:
    if output is None:
        if len(network.outputs) != 1:
            raise InputError(f"The network has the outputs {', '.join(network.outputs) or 'none'}: say which population's answer "
                             f"counts with output")
        output = network.outputs[0]
    spiking = network.population(output).spiking
    readout = readout or ("counts" if spiking else "end")
    if readout not in ("counts", "end", "max", "mean"):
        raise InputError(f"readout must be 'counts', 'end', 'max' or 'mean', not {readout!r}")
    if readout == "counts" and not spiking:
        raise InputError(f"Population {output!r} never spikes: read it with 'end', 'max' or 'mean'")
    sample = Calibration(network, input, record=() if readout == "counts" else (output,))
    right = None if labels is None else _labels(labels, sample.samples, network.size(output))
    return _Truth(network, sample, right, output, readout)


def _labels(labels: npt.ArrayLike, samples: int, neurons: int) -> npt.NDArray[np.int64]:
    array = np.asarray(labels)
    if array.shape != (samples,) or not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"labels must be {samples} integers, one for each sample, not {array.dtype} of shape {array.shape}")
    if array.size and not (array.min() >= 0 and array.max() < neurons):
        raise InputError(f"labels run from {array.min()} to {array.max()}; the output population has neurons 0 to {neurons - 1}")
    return array.astype(np.int64)


def _points(truth: _Truth, weight_bits: Any, scale: Any, calibrate: Any, board: Any, params: ArrayParams | None) -> Iterator[_Point]:
    lists = {name: _several(value) for name, value in
             {"weight_bits": weight_bits, "scale": scale, "calibrate": calibrate, "board": board}.items()}
    for name, values in lists.items():
        if not values:
            raise CompileError(f"The sweep of {name} has no values")
    for bits, kind, chosen, name in itertools.product(*lists.values()):
        array = array_of(name, params)
        if isinstance(bits, Mapping):
            bits = dict(bits)
        elif isinstance(bits, bool) or not isinstance(bits, int | np.integer) or not 2 <= bits <= 16:
            raise CompileError(f"weight_bits must be 2 to 16, not {bits!r}")
        else:
            bits = int(bits)
        if kind not in ("neuron", "tensor"):
            raise CompileError(f"scale must be 'neuron' or 'tensor', not {kind!r}")
        yield _Point(truth, {"weight_bits": bits, "scale": str(kind), "calibrate": bool(chosen), "board": name}, array)


def _several(value: Any) -> list[Any]:
    return list(value) if isinstance(value, Iterable) and not isinstance(value, str | Mapping) else [value]


def _row(point: _Point) -> dict[str, Any]:
    truth, options = point.truth, point.options
    blank = dict.fromkeys(("accuracy", "same_answer", "spike_agreement", "differing_spikes", "cores", "synapse_bits", "ramb36"))
    row: dict[str, Any] = {**options, **blank, "float_accuracy": _accuracy(truth, _float_answers(truth)),
                           "spikes": sum(int(array.sum()) for array in truth.sample.activity.values()), "why": ""}
    try:
        quantised = quantise(truth.network, point.params, options["weight_bits"], scale=options["scale"],
                             calibrate=truth.sample if options["calibrate"] else None)
        found = quant_reference(quantised, truth.sample.inputs, point.params,
                                record=() if truth.readout == "counts" else (truth.output,))
        row |= _compare(truth, found.spikes, _answers(truth, found.spikes, found.potentials))
        row |= _memory(fit(truth.network, quantised, point.params, board=options["board"]))
    except CompileError as error:
        row["why"] = str(error)
    return row


def _compare(truth: _Truth, spikes: dict[str, Spikes], answers: npt.NDArray[np.int64]) -> dict[str, Any]:
    both = either = 0
    for name, ours in spikes.items():
        theirs = truth.sample.activity[name]
        both += int(np.count_nonzero(ours & theirs))
        either += int(np.count_nonzero(ours | theirs))
    return {"accuracy": _accuracy(truth, answers), "same_answer": float(np.mean(answers == _float_answers(truth))),
            "spike_agreement": both / either if either else 1.0, "differing_spikes": either - both}


def _memory(image: Image) -> dict[str, int]:
    used = image.report["array"]["synapse_bits"][0]
    return {"cores": int(image.report["array"]["cores"][0]), "synapse_bits": int(used), "ramb36": -(-int(used) // RAMB36_BITS)}


def _float_answers(truth: _Truth) -> npt.NDArray[np.int64]:
    return _answers(truth, truth.sample.activity, truth.sample.potentials)


def _answers(truth: _Truth, spikes: Mapping[str, Spikes], potentials: Mapping[str, Reals]) -> npt.NDArray[np.int64]:
    """The answer to each sample, int64 (samples,)."""
    if truth.readout == "counts":
        return np.asarray(spikes[truth.output].sum(axis=1).argmax(axis=1), np.int64)
    values = potentials[truth.output]
    over = {"end": values[:, -1], "max": values.max(axis=1), "mean": values.mean(axis=1)}
    return np.asarray(over[truth.readout].argmax(axis=1), np.int64)


def _accuracy(truth: _Truth, answers: npt.NDArray[np.int64]) -> float | None:
    return None if truth.labels is None else float(np.mean(answers == truth.labels))


def best_measure(rows: Sequence[Mapping[str, Any]]) -> str:
    """The measure that tells most of these rows: accuracy where labels were given, else spike agreement."""
    return "accuracy" if any(row["accuracy"] is not None for row in rows) else "spike_agreement"
