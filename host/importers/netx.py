"""NetX files as networks of integers: what lava-dl trained for Loihi runs exactly, with nothing to quantise.

The file's layout is in :mod:`spikeloom.host.importers.netx_file`, the neurons' rule in :mod:`spikeloom.host.importers.netx_neuron`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from spikeloom.errors import NetworkError
from spikeloom.host.importers.convolve import Shape
from spikeloom.host.importers.netx_file import Layer, read_layers
from spikeloom.host.importers.netx_neuron import LIMIT, LoihiNeurons
from spikeloom.host.importers.netx_synapses import synapses
from spikeloom.host.networks.network import Network, NodeReport, Population, Projection
from spikeloom.host.networks.population import Ints
from spikeloom.host.networks.values import check_shape


def from_netx(path: str | os.PathLike[str], *, layer_delay: int = 0, input_shape: Sequence[int] | None = None) -> Network:
    """Import a NetX file (``.net``, as ``export_hdf5`` of lava-dl writes it) under Loihi's integer rule.

    Parameters
    ----------
    path
        The file. Its layers may be input, dense, conv, pool, flatten, and average as the last; their neurons CUBA or LOIHI.
    layer_delay
        When a layer sees the spikes of the layer before: 0 (the default) in the same step, as a network with
        ``delay_shift=False`` was trained, 1 in the next one, as between lava's processes and on Loihi, and as lava-dl's
        blocks train by default. With 1 the network answers a step later for each layer; choose what the training had.
    input_shape
        (channels, height, width), where the file begins with a convolution and does not say it.

    Returns a network of integer populations ``layer<i>`` (shape as in the file; the last is the output) and one input,
    ``input``. It takes spikes. A layer of type input with neurons turns real values into spikes: it runs on the host,
    and :func:`spikeloom.host.importers.netx_input.netx_input_spikes` is that. An average becomes a readout of sums. Axonal delays
    become those of the synapses. ``report`` tells what became of each layer, and whether v can reach its 24 bits' end.

    Raises NetworkError, naming file and layer, for what cannot be read or cannot be taken exactly: other types of layer or
    neuron, graded spikes, numbers that are not integers, sizes that contradict each other.
    """
    if isinstance(layer_delay, bool) or layer_delay not in (0, 1):
        raise NetworkError(f"layer_delay must be 0 or 1, not {layer_delay!r}")
    layers = read_layers(path)
    build = _Build(layers, int(layer_delay), None if input_shape is None else check_shape(input_shape, "input_shape"))
    for layer in layers:
        build.add(layer)
    return build.network()


class _Build:
    """The layers so far: the signal that the next one sees comes from ``source``, in ``shape``, ``delay`` steps after its spike."""

    def __init__(self, layers: Sequence[Layer], layer_delay: int, input_shape: Shape | None) -> None:
        self._last = layers[-1]
        self._layer_delay = layer_delay
        self.input_shape = self.shape = _input_shape(layers[0], input_shape)
        self.source = "input"
        self.delay: Ints = np.zeros(int(np.prod(self.shape)), np.int64)
        self._populations: list[Population] = []
        self._projections: list[Projection] = []
        self._report: list[NodeReport] = []

    def add(self, layer: Layer) -> None:
        """Take one more layer."""
        if layer.kind == "input":
            detail = self._input(layer)
        elif layer.kind == "flatten":
            detail = self._flatten(layer)
        elif layer.kind == "average":
            detail = self._average(layer)
        else:
            detail = self._neurons(layer)
        self._report.append(NodeReport(layer.name, layer.kind, "exact", detail))

    def network(self) -> Network:
        """The whole."""
        if not self._populations:
            self._last.fail("is the last, but no layer has neurons to run on an array")
        return Network(inputs={"input": self.input_shape}, populations=tuple(self._populations), projections=tuple(self._projections),
                       outputs=(self._populations[-1].name,), report=tuple(self._report))

    def _input(self, layer: Layer) -> str:
        if layer.number:
            layer.fail("must be the first")
        if layer.neuron is None:
            return f"{self.delay.size} inputs"
        LoihiNeurons.of(layer, self.shape, np.zeros(self.delay.size, np.int64))
        self._delays(layer)
        return f"{self.delay.size} neurons that turn values into spikes: run on the host, by netx_input_spikes"

    def _flatten(self, layer: Layer) -> str:
        size = self.delay.size
        if int(np.prod(layer.shape)) != size:
            layer.fail(f"has the shape {layer.shape}, but what leads to it has {self.shape}")
        self.shape = (size,)
        return "numbering only: channels, rows, columns"

    def _average(self, layer: Layer) -> str:
        groups, size = layer.shape[0], self.delay.size
        if layer is not self._last:
            layer.fail("is not the last: fractions of spikes cannot travel on")
        if not self._populations or int(np.prod(layer.shape)) != groups or size % groups:
            layer.fail(f"has the shape {layer.shape}, which does not divide the {size} neurons before it")
        every = np.arange(size)
        self._population(Population(name=layer.name, shape=(groups,), membrane_gain=0.0, spiking=False, integer=True), every,
                         every // (size // groups), np.ones(size))
        return f"readout: v is the sum of the spikes of {size // groups} neurons in each step, so {size // groups} times their average"

    def _neurons(self, layer: Layer) -> str:
        links = synapses(layer, self.shape)
        bias = layer.values["bias"] if "bias" in layer.values else np.zeros(1, np.int64)
        neurons = LoihiNeurons.of(layer, links.shape, layer.spread("bias", bias, links.shape))
        self._population(neurons.population(layer.name, links.shape), links.pre, links.post, links.weight)
        self.shape = links.shape
        late = self._delays(layer)
        if not neurons.spiking and layer is not self._last:
            layer.fail("has thresholds that cannot be reached (2^17 and more), but feeds another layer")
        lowest = neurons.lowest(links)
        room = f"|v| stays below {int(lowest) + 1}" if lowest < LIMIT else \
            "where v falls to the end of its 24 bits, arrays of 24 state bits stop it at −2^23, Loihi at −(2^23 − 1)"
        return f"{self.delay.size} neurons, {len(links.weight)} synapses{late}; {room}"

    def _population(self, population: Population, pre: Ints, post: Ints, weight: np.ndarray[tuple[int], np.dtype[np.generic]]) -> None:
        self._populations.append(population)
        self._projections.append(Projection(
            name=f"{self.source} → {population.name}", source=self.source, target=population.name, pre=pre, post=post,
            weight=weight.astype(np.float64), delay=self.delay[pre]))
        self.source = population.name

    def _delays(self, layer: Layer) -> str:
        """Set when the next layer sees this one's spikes; returns what to say of it."""
        own = layer.spread("delay", layer.values.get("delay", np.zeros(1, np.int64)), self.shape)
        if own.min() < 0:
            layer.fail(f"has the delay {own.min()}")
        if layer is self._last and own.max():
            layer.fail("is the last but has axonal delays, which would have to delay what the host sees; take them out of the file")
        self.delay = own + self._layer_delay
        return f", axonal delays up to {own.max()} steps" if own.max() else ""


def _input_shape(first: Layer, given: Shape | None) -> Shape:
    """Shape of what the first layer sees."""
    stated: Shape | None = None
    if first.kind == "input":
        stated = first.shape
    elif first.kind == "dense":
        weight = first.need("weight")
        inputs = weight.shape[1] if weight.ndim > 1 else weight.size // int(np.prod(first.shape))
        stated = (max(inputs, 1),) if given is None or int(np.prod(given)) != inputs else given
    if stated is None and given is None:
        first.fail("is the first, and the file does not say what shape its input has: give input_shape=(channels, height, width)")
    if stated is not None and given is not None and stated != given:
        first.fail(f"takes the shape {stated}, not input_shape {given}")
    shape = stated if stated is not None else given
    assert shape is not None  # one of the two is there
    return shape
