"""The linear nodes of a NIR graph as sparse maps, and their composition.

Between two populations a graph may hold chains such as Affine → Scale → Flatten. Each node is a :class:`Map` from flat inputs
to flat outputs; chains are composed into one, so that only synapses remain. A further node type is one more function in
``MAPS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from spikeloom.host.nir_graph import Graph, Node
from spikeloom.host.population import Floats, Ints

Shape = tuple[int, ...]
#: Products that a composition may list before it is multiplied as matrices instead.
_SPARSE_LIMIT = 4_000_000


def size(shape: Shape) -> int:
    """Number of elements."""
    return int(np.prod(shape, dtype=np.int64))


@dataclass(frozen=True)
class Map:
    """y = W x + c between flat vectors: ``weight[i]`` leads from ``pre[i]`` to ``post[i]``; ``constant`` is c, (outputs,)."""

    shape_in: Shape
    shape_out: Shape
    pre: Ints
    post: Ints
    weight: Floats
    constant: Floats

    @classmethod
    def identity(cls, shape: Shape, shape_out: Shape | None = None) -> Map:
        """y = x, perhaps in another shape."""
        every = np.arange(size(shape))
        return cls(shape, shape_out or shape, every, every, np.ones(len(every)), np.zeros(len(every)))

    @classmethod
    def dense(cls, shape_in: Shape, shape_out: Shape, matrix: Floats, constant: Floats) -> Map:
        """From a matrix (outputs, inputs); zeros are left out."""
        post, pre = np.nonzero(matrix)
        return cls(shape_in, shape_out, pre, post, matrix[post, pre], constant)

    def matrix(self) -> Floats:
        """W as an array (outputs, inputs)."""
        whole = np.zeros((size(self.shape_out), size(self.shape_in)))
        np.add.at(whole, (self.post, self.pre), self.weight)
        return whole

    def apply(self, vector: Floats) -> Floats:
        """W x + c of one flat vector."""
        sums = np.bincount(self.post, self.weight * vector[self.pre], minlength=size(self.shape_out))
        return sums.astype(np.float64) + self.constant

    def then(self, following: Map) -> Map:
        """This map and then the following one; synapses of the same pair are added."""
        constant = following.apply(self.constant)
        order = np.argsort(following.pre, kind="stable")
        count = np.bincount(following.pre, minlength=size(following.shape_in))
        fan = count[self.post]
        if int(fan.sum()) > _SPARSE_LIMIT:
            return Map.dense(self.shape_in, following.shape_out, following.matrix() @ self.matrix(), constant)
        start = np.concatenate(([0], np.cumsum(count)))[self.post]
        within = np.arange(fan.sum()) - np.repeat(np.cumsum(fan) - fan, fan)
        pick = order[np.repeat(start, fan) + within]
        pre, post = np.repeat(self.pre, fan), following.post[pick]
        products = np.repeat(self.weight, fan) * following.weight[pick]
        pairs, index = np.unique(post * size(self.shape_in) + pre, return_inverse=True)
        weight = np.bincount(index.reshape(-1), products, minlength=len(pairs)).astype(np.float64)
        keep = weight != 0
        pairs = pairs[keep]
        return Map(self.shape_in, following.shape_out, pairs % size(self.shape_in), pairs // size(self.shape_in), weight[keep],
                   constant)


def _linear(graph: Graph, node: Node, shape: Shape) -> Map:
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
    return Map.dense(shape, (len(matrix),), matrix, constant)


def _scale(graph: Graph, node: Node, shape: Shape) -> Map:
    scale = node.parameters["scale"]
    if scale.size == size(shape):
        factors = scale.reshape(-1)
    else:
        try:
            factors = np.broadcast_to(scale, shape).reshape(-1)
        except ValueError:
            raise graph.error(node.name, f"has a scale of shape {scale.shape}, but its input has the shape {shape}") from None
    every = np.arange(size(shape))
    return Map(shape, shape, every, every, factors.astype(np.float64), np.zeros(len(every)))


def _flatten(graph: Graph, node: Node, shape: Shape) -> Map:
    first, last = (int(node.parameters[key].reshape(-1)[0]) for key in ("start_dim", "end_dim"))
    first, last = (axis + len(shape) if axis < 0 else axis for axis in (first, last))
    if not 0 <= last < len(shape) or first < 0:
        raise graph.error(node.name, f"flattens axes {first} to {last}, but its input has the shape {shape}")
    if first >= last:  # exporters that did not shift for the batch axis write 1 for a vector: nothing to flatten
        return Map.identity(shape)
    return Map.identity(shape, (*shape[:first], size(shape[first:last + 1]), *shape[last + 1:]))


def _wire(graph: Graph, node: Node, shape: Shape) -> Map:
    written = tuple(node.parameters["shape"].reshape(-1).tolist())
    if size(written) != size(shape):
        raise graph.error(node.name, f"has the shape {written}, but what leads to it has the shape {shape}")
    return Map.identity(shape)


#: Map of each linear node type, given the shape of its input.
MAPS: dict[str, Callable[[Graph, Node, Shape], Map]] = {
    "Linear": _linear, "Affine": _linear, "Scale": _scale, "Flatten": _flatten, "Wire": _wire, "Output": _wire,
}
