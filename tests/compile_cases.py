"""Networks and arrays for the compiler's tests, and a reader of image bits that shares no code with the packer."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.image import Image
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams

Ints = npt.NDArray[np.int64]

DIRECT = ArrayParams(columns=3, rows=2, lanes=16, banks=2, words=32, block=8, delay_depth=32, destinations=64,
                     accumulator_bits=14)
FOLDED = ArrayParams(columns=2, rows=2, lanes=16, folds=4, banks=2, words=64, axons=64, entries=128, block=8, delay_depth=64,
                     destinations=128, accumulator_bits=14, delays=8)


def random_network(rng: np.random.Generator, *, bias: bool, spread: int = 100) -> Network:
    """One to three layers of integer neurons: recurrence, skips, delays, both resets, refractory periods, up to 16 bits."""
    names = [f"p{i}" for i in range(rng.integers(1, 4))]
    sizes = {name: int(rng.integers(1, 9)) for name in names}
    inputs = {"in": (int(rng.integers(1, 9)),)}
    populations = tuple(_population(rng, name, sizes[name], bias, spread) for name in names)
    projections: list[Projection] = []
    for i, name in enumerate(names):
        source = names[i - 1] if i else "in"
        projections.append(_projection(rng, len(projections), source, name, sizes | {"in": inputs["in"][0]}, 0, spread))
        if rng.random() < 0.5:  # from any layer, itself and later ones too
            source = names[rng.integers(len(names))]
            projections.append(_projection(rng, len(projections), source, name, sizes, 1, spread))
        if rng.random() < 0.3:
            projections.append(_projection(rng, len(projections), "in", name, sizes | {"in": inputs["in"][0]}, 0, spread))
    return Network(inputs=inputs, populations=populations, projections=tuple(projections), outputs=(names[-1],))


def _population(rng: np.random.Generator, name: str, size: int, bias: bool, spread: int) -> Population:
    gains = np.array([0, 0, 1024, 2048, 4000]) / 4096
    return Population(
        name=name, shape=(size,), integer=True, current_gain=rng.choice(gains, size), membrane_gain=rng.choice(
            np.array([0, 2048, 3500, 4096, 8192]) / 4096, size), bias=rng.integers(-spread, spread, size) if bias else 0.0,
        threshold=rng.integers(1, 3 * spread, size), strict=bool(rng.integers(2)), reset=rng.choice(["subtract", "value"]),
        reset_value=rng.integers(-spread, spread, size), refractory=rng.integers(0, 3, size), hold=bool(rng.integers(2)))


def _projection(rng: np.random.Generator, number: int, source: str, target: str, sizes: dict[str, int], delay: int,
                spread: int) -> Projection:
    count = int(rng.integers(1, 25))
    weight = rng.integers(-spread, spread + 1, count)
    weight[rng.random(count) < 0.1] *= int(rng.integers(1, 30))  # some need further words
    return Projection(name=f"s{number}", source=source, target=target, pre=rng.integers(0, sizes[source], count),
                      post=rng.integers(0, sizes[target], count), weight=np.clip(weight, -32768, 32767),
                      delay=delay + rng.integers(0, 2, count))


def layers(*sizes: int, weight: int = 1, **options: object) -> Network:
    """Dense integer layers ``in`` → p0 → p1 …, all weights alike, thresholds 1."""
    names = ["in", *(f"p{i}" for i in range(len(sizes) - 1))]
    populations = tuple(Population(name=name, shape=(size,), integer=True, **options)  # type: ignore[arg-type]  # any option
                        for name, size in zip(names[1:], sizes[1:], strict=True))
    projections = tuple(Projection.dense(f"to {b}", a, b, np.full((m, n), weight))
                        for a, b, n, m in zip(names, names[1:], sizes, sizes[1:], strict=False))
    return Network(inputs={"in": (sizes[0],)}, populations=populations, projections=projections, outputs=(names[-1],))


def dense_weights(image: Image, source: str, target: str) -> Ints:
    """Weights (target neurons, source neurons) summed over all paths, read from the image's bits by shifts and masks.

    ``source`` is an input or a population; the sum is over all delays.
    """
    cores: dict[tuple[int, int], dict[int, Ints]] = {}
    places = image.population(target).places
    hits = _input_hits(image, source) if source in [i.name for i in image.inputs] else _spike_hits(image, source)
    sizes = {i.name: i.size for i in image.inputs} | {p.name: p.size for p in image.populations}
    weights = np.zeros((len(places), sizes[source]), np.int64)
    for neuron, core, axon in hits:
        effects = cores.setdefault(core, {})
        if axon not in effects:
            effects[axon] = _effect(image, core, axon)
        for n, (x, y, where, _) in enumerate(places.tolist()):
            if (x, y) == core:
                weights[n, neuron] += effects[axon][where]
    return weights


def _bits(word: int, low: int, count: int, signed: bool = False) -> int:
    value = word >> low & ((1 << count) - 1)
    return value - (1 << count) if signed and value >> (count - 1) else value


def _width(count: int) -> int:
    return max(1, (count - 1).bit_length())


def _input_hits(image: Image, source: str) -> list[tuple[int, tuple[int, int], int]]:
    routes = next(i.routes for i in image.inputs if i.name == source)
    return [(neuron, (x, y), axon) for neuron, _, x0, x1, y0, y1, axon in routes.tolist()
            for x in range(x0, x1 + 1) for y in range(y0, y1 + 1)]


def _spike_hits(image: Image, source: str) -> list[tuple[int, tuple[int, int], int]]:
    """(source neuron, core, axon) from FANOUT and DESTINATIONS."""
    params, hits = image.params, []
    per_row = params.neurons_per_cycle
    widths = [per_row, _width(params.block // per_row), params.block_bits, _width(params.delays), *[_width(params.columns)] * 2,
              *[_width(params.rows)] * 2, _width(params.state_bits + 1), 1, 1]
    lows = np.cumsum([0, *widths]).tolist()
    for neuron, (x, y, where, _) in enumerate(image.population(source).places.tolist()):
        column, row = where % per_row, where // per_row
        fanout = int(image.entries((x, y), Memory.FANOUT)[row])
        start, valid = _bits(fanout, 0, _width(params.destinations)), fanout >> _width(params.destinations)
        while valid:
            word = int(image.entries((x, y), Memory.DESTINATIONS)[start])
            mask, offset, block, _, x0, x1, y0, y1, planes, host, last = (
                _bits(word, low, width) for low, width in zip(lows, widths, strict=False))
            assert planes == 0
            if mask >> column & 1 and not host:
                axon = block * params.block + offset * per_row + column
                hits += [(neuron, (i, j), axon) for i in range(x0, x1 + 1) for j in range(y0, y1 + 1)]
            start, valid = start + 1, not last
    return hits


def _effect(image: Image, core: tuple[int, int], axon: int) -> Ints:
    """What one hit of an axon adds to each neuron of a core, by the neuron's address."""
    params = image.params
    slices, groups, _ = image.entries(core, Memory.CONTROL).tolist()[:3]
    added = np.zeros(params.folds * params.lane_rows * params.neurons_per_cycle, np.int64)
    for word, fold in _selected(image, core, axon):
        for lane in range(groups * slices * params.neurons_per_cycle):
            group, rest = divmod(lane, slices * params.neurons_per_cycle)
            digit, column = divmod(rest, params.neurons_per_cycle)
            chunk, cell = divmod(lane, 36 // params.weight_bits)
            bank_at = _width(params.chunks) + _width(params.words)
            address = chunk | word << _width(params.chunks) | axon % params.banks << bank_at
            bits = int(image.entries(core, Memory.SYNAPSES)[address])
            value = _bits(bits, cell * params.weight_bits, params.weight_bits, signed=True)
            neuron = (fold * groups + group) * params.neurons_per_cycle + column
            added[neuron] += value << (params.weight_bits * (slices - 1 - digit))
    return added


def _selected(image: Image, core: tuple[int, int], axon: int) -> list[tuple[int, int]]:
    """Synapse words and folds of an axon."""
    params = image.params
    bank, index = axon % params.banks, axon // params.banks
    if params.folds == 1:
        return [(index, 0)]
    entry_bits, fold_bits, word_bits = _width(params.entries), _width(params.folds), _width(params.words)
    head = int(image.entries(core, Memory.AXONS)[index | bank << _width(params.axons)])
    start, base, count = _bits(head, 0, entry_bits), _bits(head, entry_bits, fold_bits), head >> (entry_bits + fold_bits)
    entries = [int(image.entries(core, Memory.ENTRIES)[i | bank << entry_bits]) for i in range(start, start + count)]
    return [(_bits(e, 0, word_bits), (base + _bits(e, word_bits, fold_bits)) % params.folds) for e in entries]
