"""Networks from plain integer arrays: everything is taken exactly, in the units of the hardware."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.host.networks.network import Network, Population, Projection

WEIGHT_BITS = 16  # what the widest synapse holds
STATE_BITS = 32   # what the widest state holds
GAIN_BITS = 12    # fraction bits that every array has

_POPULATION = ("size", "shape", "threshold", "bias", "membrane_gain", "current_gain", "shift", "reset", "reset_value",
               "refractory", "hold", "strict", "spiking")
_PROJECTION = ("name", "source", "target", "weights", "pre", "post", "delay")


def from_arrays(*, inputs: Mapping[str, int | Sequence[int]], populations: Mapping[str, Mapping[str, Any]],
                projections: Iterable[Mapping[str, Any]], outputs: Iterable[str] | None = None) -> Network:
    """A network of integers, in hardware units.

    Parameters
    ----------
    inputs
        Size or shape of each input.
    populations
        For each name a mapping with ``size`` or ``shape`` and, each a number or an array of that shape:

        ``threshold`` (integer; a neuron spikes if v ≥ threshold, with ``strict=True`` if v > threshold),
        ``bias`` (integer added to v in every step; a linear leak is a negative one),
        ``membrane_gain`` β and ``current_gain`` α (0 to 2, multiples of 1/4096, such as ``3895 / 4096``; default 1 and 0),
        ``shift`` (one integer k: sums of weights are multiplied by 2^k; default 0),
        ``reset`` (``subtract``, ``zero`` or ``value``; default ``subtract``) with ``reset_value`` (integer: the amount, default
        the threshold, or the value), ``refractory`` (steps; default 0), ``hold`` (v is frozen while refractory) and
        ``spiking`` (False for a readout).
    projections
        Mappings with ``source``, ``target``, and either ``weights``, an integer matrix (outputs, inputs), or lists ``pre``,
        ``post`` and ``weights``; weights have at most 16 bits. ``delay`` is a number or an array like ``weights``: 0 is seen
        in the same step, 1 (or more) in the next (or later) ones; the default is 0. ``name`` is optional.
    outputs
        Populations to show; default: all.

    NetworkError, naming population or projection, for anything that is not an integer or does not fit.

    Examples
    --------
    >>> net = from_arrays(inputs={"in": 2}, populations={"h": {"size": 1, "threshold": 5, "membrane_gain": 0.5}},
    ...                   projections=[{"source": "in", "target": "h", "weights": [[3, -1]]}])
    >>> net.population("h").threshold
    array([5.])
    """
    shapes = {name: _shape(size) for name, size in inputs.items()}
    made = tuple(_population(name, dict(options)) for name, options in populations.items())
    names: list[str] = []
    links = []
    for options in projections:
        link = _projection(dict(options), names)
        names.append(link.name)
        links.append(link)
    return Network(inputs=shapes, populations=made, projections=tuple(links),
                   outputs=tuple(populations if outputs is None else outputs))


def _shape(size: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, Sequence) else (size,)


def _population(name: str, options: dict[str, Any]) -> Population:
    title = f"Population {name!r}"
    _known(title, options, _POPULATION)
    if ("size" in options) == ("shape" in options):
        raise NetworkError(f"{title}: give either size or shape")
    shape = _shape(options["size"] if "size" in options else options["shape"])
    spiking = bool(options.get("spiking", True))
    if spiking and "threshold" not in options:
        raise NetworkError(f"{title}: give its threshold, or spiking=False for a readout")
    values: dict[str, Any] = {"threshold": options.get("threshold", 0), "bias": options.get("bias", 0)}
    reset = options.get("reset", "subtract")
    if reset not in ("subtract", "zero", "value"):
        raise NetworkError(f"{title}: reset must be 'subtract', 'zero' or 'value', not {reset!r}")
    if reset == "value" and "reset_value" not in options:
        raise NetworkError(f"{title}: reset 'value' needs reset_value")
    if reset == "zero" and np.any(np.asarray(options.get("reset_value", 0)) != 0):
        raise NetworkError(f"{title}: reset 'zero' has no reset_value; use reset 'value'")
    if "reset_value" in options:
        values["reset_value"] = options["reset_value"]
    for key, value in values.items():
        _whole(f"{title}: {key}", value, STATE_BITS)
    for key, default in (("membrane_gain", 1.0), ("current_gain", 0.0)):
        gain = values[key] = np.asarray(options.get(key, default))
        if not np.issubdtype(gain.dtype, np.number) or np.any(gain * 2.0**GAIN_BITS != np.round(gain * 2.0**GAIN_BITS)):
            raise NetworkError(f"{title}: {key} must be a multiple of 1/{1 << GAIN_BITS}, such as 3895 / 4096, so that "
                               f"it is taken exactly")
    shift = options.get("shift", 0)
    if np.ndim(shift) or not float(shift).is_integer() or not 0 <= shift < STATE_BITS:
        raise NetworkError(f"{title}: shift must be one integer from 0 to {STATE_BITS - 1}, not {shift!r}")
    return Population(name=name, shape=shape, input_gain=2.0**int(shift), reset="subtract" if reset == "subtract" else "value",
                      refractory=options.get("refractory", 0), hold=bool(options.get("hold", False)),
                      strict=bool(options.get("strict", False)), spiking=spiking, integer=True, **values)


def _projection(options: dict[str, Any], taken: list[str]) -> Projection:
    for key in ("source", "target", "weights"):
        if key not in options:
            raise NetworkError(f"Projection {options.get('name', len(taken))!r}: give its {key}")
    source, target = options["source"], options["target"]
    name = options.get("name")
    if name is None:
        name, number = f"{source} → {target}", 1
        while name in taken:
            number += 1
            name = f"{source} → {target} ({number})"
    title = f"Projection {name!r}"
    _known(title, options, _PROJECTION)
    weights = _whole(f"{title}: weights", options["weights"], WEIGHT_BITS)
    delay = _whole(f"{title}: delay", options.get("delay", 0), 16)
    if ("pre" in options) != ("post" in options):
        raise NetworkError(f"{title}: give both pre and post, or a matrix of weights")
    if "pre" not in options:
        return Projection.dense(name, source, target, weights, delay)
    pre, post = (_whole(f"{title}: {key}", options[key], STATE_BITS) for key in ("pre", "post"))
    weights = np.broadcast_to(weights, pre.shape) if weights.ndim == 0 else weights
    return Projection(name=name, source=source, target=target, pre=pre, post=post, weight=weights.astype(np.float64), delay=delay)


def _known(title: str, options: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in options:
        if key not in known:
            raise NetworkError(f"{title}: there is no option {key!r}; there are {', '.join(known)}")


def _whole(what: str, value: Any, bits: int) -> npt.NDArray[np.int64]:
    """The value as integers of at most ``bits`` bits, signed; else NetworkError."""
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        raise NetworkError(f"{what} must be integers, not {value!r}") from None
    if not np.all(np.isfinite(array)) or np.any(array != np.round(array)):
        bad = array[~np.isfinite(array) | (array != np.round(array))][0]
        raise NetworkError(f"{what} must be integers, not {bad:g}")
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    if array.size and not (low <= array.min() and array.max() <= high):
        raise NetworkError(f"{what} must be {low} to {high}, {bits} bits, not {array.min():g} to {array.max():g}")
    return array.astype(np.int64)
