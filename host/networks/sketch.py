"""Networks as plain data: a sketch names parts, shapes and kinds, with a seed for the numbers of each part.

So a case that fails can be printed, edited (a part left out), and built again: :func:`build` makes the same network from the
same sketch, and a projection keeps its weights and delays when others go. Keys, beside ``name`` and ``seed``:

``inputs``       shape by name
``populations``  ``name``, ``shape``, ``integer``, ``spiking``, ``reset``, ``strict``, ``hold``, ``floor``,
                 ``refractory`` (longest, steps), ``bias``, ``current``, ``second`` (whether some are not 0), ``various`` (numbers
                 per neuron)
``projections``  ``source``, ``target``, ``kind`` (``dense``, ``sparse``, ``each``: neuron to like neuron, ``conv``), ``delay``
                 (shortest and longest, steps), ``size`` of the weights, ``receptor``, ``shared`` (weights of one size only, so that
                 words repeat), for ``sparse`` the ``density``, for ``conv`` ``channels``, ``kernel``, ``stride``, ``padding``,
                 ``groups`` and ``pool`` (window of a sum that comes first)
``outputs``, ``weight_bits``, ``record``, ``objective``, ``samples``, ``steps``, ``rate``
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import NetworkError
from spikeloom.events import Spikes
from spikeloom.host.networks.network import Network, Population, Projection

Sketch = dict[str, Any]
Reals = npt.NDArray[np.float64]

#: Gains that occur: none, exact halves, leaky ones with many bits (multiples of 2**-12, which every array has), 1, radix 2.
CURRENT_GAINS = (2048 / 4096, 3000 / 4096, 3840 / 4096)
MEMBRANE_GAINS = (0.0, 2048 / 4096, 3500 / 4096, 4000 / 4096, 1.0, 1.0, 2.0)


def build(sketch: Sketch) -> Network:
    """The network of a sketch. NetworkError for a sketch that is none."""
    fan_in = {population["name"]: 1.0 for population in sketch["populations"]}
    projections = []
    for part in sketch["projections"]:
        projections.append(made := _projection(sketch, part))
        rms = float(np.sqrt(np.sum(made.weight ** 2) / max(1, size_of(sketch, part["target"]))))
        fan_in[part["target"]] = max(fan_in[part["target"]], rms)
    populations = tuple(_population(part, fan_in[part["name"]]) for part in sketch["populations"])
    return Network(inputs={name: tuple(shape) for name, shape in sketch["inputs"].items()}, populations=populations,
                   projections=tuple(projections), outputs=tuple(sketch["outputs"]))


def spikes(sketch: Sketch) -> dict[str, Spikes]:
    """The input spikes of a sketch, bool (samples, steps, neurons) by input."""
    return {name: np.random.default_rng([sketch["seed"], number]).random(
        (sketch["samples"], sketch["steps"], int(np.prod(shape)))) < sketch["rate"]
        for number, (name, shape) in enumerate(sketch["inputs"].items())}


def shape_of(sketch: Sketch, name: str) -> tuple[int, ...]:
    """Shape of an input or population."""
    if name in sketch["inputs"]:
        return tuple(sketch["inputs"][name])
    return tuple(next(part["shape"] for part in sketch["populations"] if part["name"] == name))


def size_of(sketch: Sketch, name: str) -> int:
    """Neurons of an input or population."""
    return int(np.prod(shape_of(sketch, name)))


def convolved(shape: tuple[int, ...], kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int]:
    """Height and width of a map of ``shape`` (channels, height, width) after a kernel (height, width) has passed over it."""
    return tuple((length + 2 * padding - window) // stride + 1  # type: ignore[return-value]  # two
                 for length, window in zip(shape[1:], kernel, strict=True))


def conv_matrix(shape: tuple[int, ...], weight: Reals, stride: int, padding: int, groups: int) -> Reals:
    """A convolution as a matrix (outputs, inputs), in PyTorch's sense.

    ``shape`` is (channels, height, width), ``weight`` (channels out, channels in / groups, height, width).
    """
    channels, tall, wide = shape
    out, each, *kernel = weight.shape
    down, across = convolved(shape, (kernel[0], kernel[1]), stride, padding)
    matrix = np.zeros((out, down, across, channels, tall, wide))
    for o, y, x, c, i, j in np.ndindex(out, down, across, each, *kernel):
        row, column = y * stride + i - padding, x * stride + j - padding
        if 0 <= row < tall and 0 <= column < wide:
            matrix[o, y, x, o * groups // out * each + c, row, column] += weight[o, c, i, j]
    return matrix.reshape(out * down * across, channels * tall * wide)


def _projection(sketch: Sketch, part: Sketch) -> Projection:
    rng = np.random.default_rng(part["seed"])
    shape, target = shape_of(sketch, part["source"]), size_of(sketch, part["target"])
    strength = float(part["size"])
    integer = next(p["integer"] for p in sketch["populations"] if p["name"] == part["target"])

    def weights(*size: int) -> Reals:
        values: Reals = rng.choice([-1.0, 1.0, 1.0], size) if part["shared"] else rng.normal(0.2, 0.6, size)
        if integer:
            whole: Reals = np.rint(values * strength)
            whole[whole == 0] = 1
            return whole
        return values * strength

    if part["kind"] == "conv":
        pool, source = part["pool"], shape
        first = np.eye(int(np.prod(shape)))
        if pool > 1:
            first = conv_matrix(shape, np.ones((shape[0], 1, pool, pool)), pool, 0, shape[0])
            shape = (shape[0], *convolved(shape, (pool, pool), pool, 0))
        kernel = weights(part["channels"], shape[0] // part["groups"], *part["kernel"])
        matrix = conv_matrix(shape, kernel, part["stride"], part["padding"], part["groups"]) @ first
        if matrix.shape != (target, int(np.prod(source))):
            raise NetworkError(f"Projection {part['name']!r}: its convolution makes {matrix.shape[0]} of {target} neurons")
    else:
        count = int(np.prod(shape))
        matrix = weights(target, count)
        if part["kind"] == "sparse":
            matrix = matrix * (rng.random((target, count)) < part["density"])
        elif part["kind"] == "each":
            matrix = matrix * np.eye(target, count)
    post, pre = np.nonzero(matrix)
    low, high = part["delay"]
    options = {"receptor": 1} if part["receptor"] else {}
    return Projection(name=part["name"], source=part["source"], target=part["target"], pre=pre, post=post,
                      weight=matrix[post, pre], delay=rng.integers(low, high + 1, len(pre)), **options)


def _population(part: Sketch, fan_in: float) -> Population:
    """A population whose thresholds lie around ``fan_in``, the rms sum of its strongest projection, so that it spikes."""
    rng = np.random.default_rng(part["seed"])
    count = int(np.prod(part["shape"]))

    def some(choose: Any) -> Any:
        """Numbers per neuron, or one for all."""
        values = choose(count if part["various"] else 1)
        return values if part["various"] else values[0]

    def two(values: Any) -> Any:
        """One or two of these values over the neurons: each mixture of gains and periods is a class, and classes are few."""
        return some(lambda n: rng.choice(rng.choice(values, 2), n))

    def constants(low: float, high: float) -> Any:
        values = some(lambda n: rng.uniform(low * fan_in, high * fan_in, n))
        return np.rint(values) if part["integer"] else values

    options: dict[str, Any] = {
        "current_gain": two(CURRENT_GAINS) if part["current"] else 0.0,
        "membrane_gain": two(MEMBRANE_GAINS),
        "input_gain": 2.0 ** rng.integers(0, 3) if part["integer"] else rng.choice([1.0, 0.7])}
    if part["second"]:
        options["second_current_gain"] = rng.choice(CURRENT_GAINS)
    threshold = constants(0.2, 1.2)
    if part["reset"] == "value":
        options["reset_value"] = constants(-0.5, 0.3)
    elif rng.random() < 0.5:  # else the threshold
        options["reset_value"] = constants(0.1, 1.5)
    if part["bias"]:
        options["bias"] = constants(-0.2, 0.3)
    if part["refractory"]:
        options["refractory"] = two([0, part["refractory"], part["refractory"]])
    return Population(name=part["name"], shape=tuple(part["shape"]), threshold=threshold, reset=part["reset"],
                      strict=part["strict"], hold=part["hold"], floor=part["floor"], spiking=part["spiking"],
                      integer=part["integer"], **options)
