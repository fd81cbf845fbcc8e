"""Checks of an image: what every machine relies on."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from spikeloom.errors import ImageError
from spikeloom.fields import Ints
from spikeloom.memories import Control, Memory, MemorySpec, class_records, memory_specs

if TYPE_CHECKING:
    from spikeloom.image import Core, Image, InputMap, PopulationMap

#: Columns of :class:`InputMap` routes and of :class:`PopulationMap` places.
ROUTE_COLUMNS = ("neuron", "tick", "x0", "x1", "y0", "y1", "axon")
PLACE_COLUMNS = ("x", "y", "neuron", "output")


def check(image: Image) -> None:
    """Raise ImageError, naming the culprit, unless a machine can rely on everything in the image.

    That sums and currents stay within their widths is the compiler's proof; the golden model and the array watch it too.
    """
    if not 1 <= image.ticks_per_step <= image.params.phases:
        raise ImageError(f"ticks_per_step must be 1 to {image.params.phases}, not {image.ticks_per_step}")
    specs = memory_specs(image.params)
    for core in image.memories:
        _check_core(image, core, specs)
    names = [i.name for i in image.inputs] + [p.name for p in image.populations]
    if len(set(names)) != len(names):
        raise ImageError(f"Inputs and populations must have different names, not {names}")
    for source in image.inputs:
        _check_input(image, source)
    for population in image.populations:
        _check_population(image, population, specs)
    _check_outputs(image)


def _check_core(image: Image, core: Core, specs: dict[Memory, MemorySpec]) -> None:
    params, (x, y) = image.params, core
    if not (0 <= x < params.columns and 0 <= y < params.rows):
        raise ImageError(f"Core ({x}, {y}) lies outside the {params.columns} × {params.rows} mesh")
    for memory, words in image.memories[core].items():
        if memory not in specs:
            raise ImageError(f"Core ({x}, {y}): this array has no memory {memory.name}")
        spec = specs[memory]
        if words.dtype != np.uint64 or words.ndim != 1 or len(words) > spec.span:
            raise ImageError(f"Core ({x}, {y}): {memory.name} holds {spec.span} entries, not {words.dtype} of shape "
                             f"{words.shape}")
        if words.size and int(words.max()) >> spec.entry.bits:
            raise ImageError(f"Core ({x}, {y}): an entry of {memory.name} exceeds {spec.entry.bits} bits")
    _check_gains(image, core, specs[Memory.CLASSES])
    if params.currents > 1 and image.entries(core, Memory.CONTROL)[Control.CURRENTS] > params.currents:
        raise ImageError(f"Core ({x}, {y}): CONTROL asks for {image.entries(core, Memory.CONTROL)[Control.CURRENTS]} synaptic "
                         f"currents; neurons of this array have at most {params.currents}")


def _check_gains(image: Image, core: Core, spec: MemorySpec) -> None:
    params, table = image.params, image.entries(core, Memory.CLASSES)
    for part, record in enumerate(class_records(params)):
        words = table[spec.address.pack(part=part, index=np.arange(params.classes)).astype(np.int64)]
        for name, values in record.unpack(words).items():
            if name.endswith("_gain") and values.max() > 2 << params.gain_bits:
                raise ImageError(f"Core ({core[0]}, {core[1]}): {name} of class {int(values.argmax())} is "
                                 f"{values.max() / (1 << params.gain_bits)}; gains lie in [0, 2]")


def _check_input(image: Image, source: InputMap) -> None:
    params, title = image.params, f"Input {source.name!r}"
    if source.routes.ndim != 2 or source.routes.shape[1] != len(ROUTE_COLUMNS):
        raise ImageError(f"{title}: routes have shape {source.routes.shape}, not (n, {len(ROUTE_COLUMNS)})")
    _within(title, source.column("neuron"), source.size)
    _within(f"{title}: tick", source.column("tick"), 1 << 16)
    _within(f"{title}: axon", source.column("axon"), params.core_axons)
    for name, what, size in (("x", "column", params.columns), ("y", "row", params.rows)):
        for end in "01":
            _within(f"{title}: {what}", source.column(name + end), size)
    if np.any(source.column("x0") > source.column("x1")) or np.any(source.column("y0") > source.column("y1")):
        raise ImageError(f"{title}: a route has an empty rectangle")


def _check_population(image: Image, population: PopulationMap, specs: dict[Memory, MemorySpec]) -> None:
    params, title = image.params, f"Population {population.name!r}"
    if population.places.shape != (population.size, len(PLACE_COLUMNS)) or population.scale.shape != (population.size,):
        raise ImageError(f"{title}: places or scale do not suit its {population.size} neurons")
    _within(f"{title}: column", population.column("x"), params.columns)
    _within(f"{title}: row", population.column("y"), params.rows)
    _within(f"{title}: neuron", population.column("neuron"), specs[Memory.MEMBRANE].span)
    _within(f"{title}: output", population.column("output"), params.output_blocks * params.block, low=-1)


def _check_outputs(image: Image) -> None:
    outputs = np.concatenate([p.column("output") for p in image.populations if p.recorded] or [np.zeros(0, np.int64)])
    if len(np.unique(outputs)) != len(outputs):
        raise ImageError("Two recorded neurons share an output: their spikes could not be told apart")


def _within(what: str, values: Ints, limit: int, low: int = 0) -> None:
    if values.size and not (values.min() >= low and values.max() < limit):
        raise ImageError(f"{what} must be {low} to {limit - 1}, not {values.min()} to {values.max()}")
