"""The linear nodes of a NIR graph as sparse maps, and their composition.

Between two populations a graph may hold chains such as Affine → Scale → Flatten. Each node is a :class:`Map` from flat inputs
to flat outputs and a constant; chains are composed into one, so that only synapses remain. A further node type is one more
function in ``NODES``. Convolutions and pools stand in :mod:`spikeloom.host.importers.nir_conv`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from spikeloom.host.importers.nir_conv import Links, conv, pool
from spikeloom.host.importers.nir_graph import Graph, Node
from spikeloom.host.networks.population import Floats, Ints

Shape = tuple[int, ...]
#: Products that a composition lists at once; each takes some 60 bytes.
_PRODUCTS = 4_000_000
#: Entries up to which maps with more products than that are multiplied as matrices: 128 MiB each.
_DENSE_LIMIT = 1 << 24


def size(shape: Shape) -> int:
    """Number of elements."""
    return int(np.prod(shape, dtype=np.int64))


@dataclass(frozen=True)
class Map:
    """y(t) = Σ w x(t − d) between flat vectors: ``weight[i]`` leads from ``pre[i]`` to ``post[i]`` in ``delay[i]`` steps."""

    shape_in: Shape
    shape_out: Shape
    pre: Ints
    post: Ints
    weight: Floats
    delay: Ints

    @classmethod
    def identity(cls, shape: Shape, shape_out: Shape | None = None) -> Map:
        """y = x, perhaps in another shape."""
        return cls.diagonal(shape, np.ones(size(shape)), shape_out)

    @classmethod
    def diagonal(cls, shape: Shape, factors: Floats, shape_out: Shape | None = None) -> Map:
        """Each element times a factor of its own."""
        every = np.arange(size(shape))
        return cls(shape, shape_out or shape, every, every, factors, np.zeros(len(every), np.int64))

    @classmethod
    def dense(cls, shape_in: Shape, shape_out: Shape, matrix: Floats) -> Map:
        """From a matrix (outputs, inputs); zeros are left out."""
        post, pre = np.nonzero(matrix)
        return cls(shape_in, shape_out, pre, post, matrix[post, pre].astype(np.float64), np.zeros(len(pre), np.int64))

    @classmethod
    def constant(cls, values: Floats, shape: Shape) -> Map:
        """What a source that is always 1 must be weighted with to give the values."""
        return cls.dense((1,), shape, values[:, None])

    def vector(self) -> Floats:
        """Sums of the weights without delay, per output."""
        now = self.delay == 0
        return np.bincount(self.post[now], self.weight[now], minlength=size(self.shape_out)).astype(np.float64)

    def delayed(self) -> Map:
        """Only the weights with a delay."""
        late = self.delay > 0
        return replace(self, pre=self.pre[late], post=self.post[late], weight=self.weight[late], delay=self.delay[late])

    def plus(self, other: Map) -> Map:
        """The sum of two maps between the same vectors, whose shapes are this map's."""
        pairs = ((self.pre, other.pre), (self.post, other.post), (self.delay, other.delay))
        pre, post, delay = (np.concatenate(pair) for pair in pairs)
        return self._summed(self.shape_out, pre, post, np.concatenate((self.weight, other.weight)), delay)

    def then(self, following: Map) -> Map:
        """This map and then the following one; synapses of the same pair and delay are added."""
        inputs, middle, outputs = size(self.shape_in), size(self.shape_out), size(following.shape_out)
        start = np.concatenate(([0], np.cumsum(np.bincount(self.post, minlength=middle))))
        fan = (start[1:] - start[:-1])[following.pre]
        if int(fan.sum()) > _PRODUCTS and max(inputs, outputs) * middle <= _DENSE_LIMIT and inputs * outputs <= _DENSE_LIMIT \
                and not (self.delay.any() or following.delay.any()):
            return Map.dense(self.shape_in, following.shape_out, following._matrix() @ self._matrix())
        mine, theirs = np.argsort(self.post, kind="stable"), np.argsort(following.post, kind="stable")
        ordered = following.post[theirs]
        before = np.concatenate(([0], np.cumsum(fan[theirs])))[np.searchsorted(ordered, ordered)]  # products of earlier outputs
        cuts = np.flatnonzero(np.diff(before // _PRODUCTS)) + 1  # between outputs, so that no pair is in two parts
        parts: list[tuple[Ints, Ints, Floats, Ints]] = []
        for chosen in np.split(theirs, cuts):
            count = fan[chosen]
            within = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
            here, there = mine[np.repeat(start[following.pre[chosen]], count) + within], np.repeat(chosen, count)
            part = self._summed(following.shape_out, self.pre[here], following.post[there],
                                self.weight[here] * following.weight[there], self.delay[here] + following.delay[there])
            parts.append((part.pre, part.post, part.weight, part.delay))
        pre, post, weight, delay = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        return Map(self.shape_in, following.shape_out, pre, post, weight, delay)

    def _matrix(self) -> Floats:
        whole = np.zeros((size(self.shape_out), size(self.shape_in)))
        np.add.at(whole, (self.post, self.pre), self.weight)
        return whole

    def _summed(self, shape_out: Shape, pre: Ints, post: Ints, weight: Floats, delay: Ints) -> Map:
        """A map with the same input whose equal synapses are added, in the order of outputs and inputs; no zeros."""
        inputs, outputs = size(self.shape_in), size(shape_out)
        key = (delay * outputs + post) * inputs + pre
        order = np.argsort(key, kind="stable")
        key = key[order]
        first = np.flatnonzero(np.concatenate((np.ones(min(len(key), 1), bool), key[1:] != key[:-1])))
        total = np.add.reduceat(weight[order], first) if len(first) else np.zeros(0)
        keep = order[first][total != 0]
        return Map(self.shape_in, shape_out, pre[keep], post[keep], total[total != 0], delay[keep])


#: A linear node: its map and the constant (outputs,) that it adds.
Linear = tuple[Map, Floats]


def _plain(made: Map) -> Linear:
    return made, np.zeros(size(made.shape_out))


def _linear(graph: Graph, node: Node, shape: Shape, _: float) -> Linear:
    matrix = node.parameters["weight"]
    if matrix.ndim != 2:
        raise graph.error(node.name, f"has weights of shape {matrix.shape}; expected a matrix (outputs, inputs)")
    if matrix.shape[1] != size(shape):
        raise graph.error(node.name, f"takes {matrix.shape[1]} inputs, but what leads to it has the shape {shape}")
    constant = np.zeros(len(matrix))
    if node.kind == "Affine":
        bias = node.parameters["bias"]
        if bias.size not in (1, len(matrix)):
            raise graph.error(node.name, f"has {len(matrix)} outputs, but a bias of shape {bias.shape}")
        constant = constant + bias.reshape(-1)
    return Map.dense(shape, (len(matrix),), matrix), constant


def _scale(graph: Graph, node: Node, shape: Shape, _: float) -> Linear:
    scale = node.parameters["scale"]
    if scale.size == size(shape):
        factors = scale.reshape(-1)
    else:
        try:
            factors = np.broadcast_to(scale, shape).reshape(-1)
        except ValueError:
            raise graph.error(node.name, f"has a scale of shape {scale.shape}, but its input has the shape {shape}") from None
    return _plain(Map.diagonal(shape, factors.astype(np.float64)))


def _flatten(graph: Graph, node: Node, shape: Shape, _: float) -> Linear:
    first, last = (int(node.parameters[key].reshape(-1)[0]) for key in ("start_dim", "end_dim"))
    first, last = (axis + len(shape) if axis < 0 else axis for axis in (first, last))
    if not 0 <= last < len(shape) or first < 0:
        raise graph.error(node.name, f"flattens axes {first} to {last}, but its input has the shape {shape}")
    if first >= last:  # exporters that did not shift for the batch axis write 1 for a vector: nothing to flatten
        return _plain(Map.identity(shape))
    return _plain(Map.identity(shape, (*shape[:first], size(shape[first:last + 1]), *shape[last + 1:])))


def _wire(graph: Graph, node: Node, shape: Shape, _: float) -> Linear:
    written = tuple(node.parameters["shape"].reshape(-1).tolist())
    if size(written) != size(shape):
        raise graph.error(node.name, f"has the shape {written}, but what leads to it has the shape {shape}")
    return _plain(Map.identity(shape))


def delay_steps(graph: Graph, node: Node, dt: float) -> tuple[Ints, Floats]:
    """The delays of a Delay node in steps, flat, and how far each is from what the file says, in steps."""
    exact = node.parameters["delay"].reshape(-1) / dt
    if exact.min() < 0:
        raise graph.error(node.name, f"has the delay {node.parameters['delay'].min():g}; delays cannot be negative")
    if exact.max() >= 1 << 31:
        raise graph.error(node.name, f"has a delay of {exact.max():g} steps of dt {dt:g}; is dt, or the profile, that of the file?")
    steps = np.round(exact)
    return steps.astype(np.int64), np.abs(steps - exact)


def _delay(graph: Graph, node: Node, shape: Shape, dt: float) -> Linear:
    steps, _ = delay_steps(graph, node, dt)
    if len(steps) not in (1, size(shape)):
        raise graph.error(node.name, f"has delays of shape {node.parameters['delay'].shape}, but its input has the shape {shape}")
    return _plain(replace(Map.identity(shape), delay=np.broadcast_to(steps, size(shape)).copy()))


def _links(make: Callable[[Graph, Node, Shape], Links]) -> Callable[[Graph, Node, Shape, float], Linear]:
    def linear(graph: Graph, node: Node, shape: Shape, _: float) -> Linear:
        links = make(graph, node, shape)
        made = Map(shape, links.shape_out, links.pre, links.post, links.weight, np.zeros(len(links.pre), np.int64))
        return made, links.constant
    return linear


#: Each linear node type, given the shape of its input and the step dt.
NODES: dict[str, Callable[[Graph, Node, Shape, float], Linear]] = {
    "Linear": _linear, "Affine": _linear, "Scale": _scale, "Flatten": _flatten, "Wire": _wire, "Output": _wire,
    "Delay": _delay, "Conv1d": _links(conv), "Conv2d": _links(conv), "SumPool2d": _links(pool), "AvgPool2d": _links(pool),
}
