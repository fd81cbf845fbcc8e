"""The image: the exact bits of a compiled network, and where its inputs, neurons and outputs lie."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.checks import PLACE_COLUMNS, ROUTE_COLUMNS, check
from spikeloom.errors import ImageError
from spikeloom.fields import Ints, Words
from spikeloom.memories import Memory, destination_record, memory_specs
from spikeloom.params import ArrayParams

IMAGE_VERSION = 1
Core = tuple[int, int]


@dataclass(frozen=True)
class InputMap:
    """Where the spikes of one network input go.

    ``routes`` is int64 (routes, 7) with columns neuron, tick, x0, x1, y0, y1, axon: a spike of input ``neuron`` in step s
    is added to ``axon`` of the cores in the rectangle, in tick ``s * ticks_per_step + tick``.
    """

    name: str
    shape: tuple[int, ...]
    routes: Ints

    @property
    def size(self) -> int:
        """Number of input neurons."""
        return int(np.prod(self.shape, dtype=np.int64))

    def column(self, name: str) -> Ints:
        """One column of the routes."""
        return self.routes[:, ROUTE_COLUMNS.index(name)]


@dataclass(frozen=True)
class PopulationMap:
    """Where the neurons of one population lie.

    ``places`` is int64 (neurons, 4) with columns x, y (core), neuron (address in the neuron memories) and output (number of
    its output at the host port, −1 where its spikes are not recorded). Step s of the network is tick
    ``s * ticks_per_step + depth``. ``scale`` (neurons,) is the number of state units in one unit of the network's potential.
    """

    name: str
    shape: tuple[int, ...]
    depth: int
    spiking: bool
    places: Ints
    scale: npt.NDArray[np.float64]

    @property
    def size(self) -> int:
        """Number of neurons."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def recorded(self) -> bool:
        """Whether the host sees its spikes."""
        return self.spiking and bool(np.all(self.column("output") >= 0))

    def column(self, name: str) -> Ints:
        """One column of the places."""
        return self.places[:, PLACE_COLUMNS.index(name)]


@dataclass(frozen=True)
class Image:
    """A network as bits for arrays with exactly these parameters.

    ``memories[(x, y)][memory]`` is a uint64 array of entries by address; entries beyond its end, and memories
    and cores that are not named, are zero. ``report`` is plain data from the compiler.
    """

    params: ArrayParams
    memories: dict[Core, dict[Memory, Words]]
    inputs: tuple[InputMap, ...]
    populations: tuple[PopulationMap, ...]
    ticks_per_step: int = 1
    report: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check(self)

    @property
    def depth(self) -> int:
        """Ticks by which the last population runs behind the input."""
        return max((population.depth for population in self.populations), default=0)

    def ticks(self, steps: int) -> int:
        """Ticks of a sample of ``steps`` steps."""
        return (steps - 1) * self.ticks_per_step + self.depth + 1 if steps else 0

    @property
    def overlaps(self) -> bool:
        """Whether ticks may overlap (``overlap`` of TICK): no spike that a core sends to a core is due in the very next tick."""
        record = destination_record(self.params)
        for memories in self.memories.values():
            entry = record.unpack(memories.get(Memory.DESTINATIONS, np.zeros(0, np.uint64)))
            if np.any((entry["mask"] != 0) & (entry["host"] == 0) & (entry["delay"] == 0)):
                return False
        return True

    def population(self, name: str) -> PopulationMap:
        """The named population; ImageError lists them when it is unknown."""
        for population in self.populations:
            if population.name == name:
                return population
        raise ImageError(f"The image has no population {name!r}; it has {', '.join(p.name for p in self.populations)}")

    def entries(self, core: Core, memory: Memory) -> Words:
        """All entries of a memory by address, zeros where the image is silent."""
        spec = memory_specs(self.params)[memory]
        whole = np.zeros(spec.span, np.uint64)
        part = self.memories.get(core, {}).get(memory)
        if part is not None:
            whole[: len(part)] = part
        return whole

    def require(self, params: ArrayParams) -> None:
        """Raise ImageError, naming the differences, unless the array has this image's parameters."""
        if params == self.params:
            return
        mine, theirs = self.params.describe(), params.describe()
        text = ", ".join(f"{name} {mine[name]} (array: {theirs[name]})" for name in mine if mine[name] != theirs[name])
        raise ImageError(f"The image was compiled for another array: {text}. Compile it for this array, or open a "
                         f"machine with the image's parameters")

    def digest(self) -> str:
        """SHA-256 over everything that decides the results (not the report), hexadecimal."""
        return _digest(self._header(), self._arrays())

    def save(self, path: str | Path) -> None:
        """Write the image to a file: a zip archive of NumPy arrays and a JSON header with its digest."""
        header = self._header() | {"report": self.report}
        arrays = self._arrays()
        header["digest"] = _digest(header, arrays)
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("image.json", json.dumps(header))
            for name, array in arrays.items():
                buffer = io.BytesIO()
                np.lib.format.write_array(buffer, array, allow_pickle=False)
                archive.writestr(f"{name}.npy", buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> Image:
        """Read an image; ImageError when the file is damaged, altered, or of another version."""
        try:
            with zipfile.ZipFile(path) as archive:
                header = json.loads(archive.read("image.json"))
                arrays = {name[:-4]: np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
                          for name in archive.namelist() if name.endswith(".npy")}
        except FileNotFoundError:
            raise ImageError(f"There is no image file {path}") from None
        except (zipfile.BadZipFile, KeyError, ValueError, EOFError, OSError) as error:
            raise ImageError(f"{path} is not a Spikeloom image, or it was truncated: {error}") from error
        except Exception as error:  # zlib.error and the like: any damage to the archive is the same to the user
            raise ImageError(f"{path} is damaged: {error}") from error
        if not isinstance(header, dict) or header.get("version") != IMAGE_VERSION:
            found = header.get("version") if isinstance(header, dict) else None
            raise ImageError(f"{path} has image version {found}; this Spikeloom reads version {IMAGE_VERSION}")
        try:
            if header["digest"] != _digest(header, arrays):
                raise ImageError(f"{path} was altered: its contents do not match its digest")
            return cls._from_parts(header, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ImageError(f"{path} is not a sound image: {error}") from error

    def _header(self) -> dict[str, Any]:
        return {
            "version": IMAGE_VERSION, "params": self.params.describe(), "ticks_per_step": self.ticks_per_step,
            "inputs": [{"name": i.name, "shape": list(i.shape)} for i in self.inputs],
            "populations": [{"name": p.name, "shape": list(p.shape), "depth": p.depth, "spiking": p.spiking}
                            for p in self.populations],
        }

    def _arrays(self) -> dict[str, npt.NDArray[Any]]:
        arrays: dict[str, npt.NDArray[Any]] = {}
        for (x, y), memories in sorted(self.memories.items()):
            for memory, words in sorted(memories.items()):
                arrays[f"core_{x}_{y}_{memory.name}"] = words.astype("<u8")
        for i, source in enumerate(self.inputs):
            arrays[f"input_{i}"] = source.routes.astype("<i8")
        for i, population in enumerate(self.populations):
            arrays[f"places_{i}"] = population.places.astype("<i8")
            arrays[f"scale_{i}"] = population.scale.astype("<f8")
        return arrays

    @classmethod
    def _from_parts(cls, header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> Image:
        memories: dict[Core, dict[Memory, Words]] = {}
        for name, array in arrays.items():
            if name.startswith("core_"):
                x, y, memory = name[5:].split("_", 2)
                memories.setdefault((int(x), int(y)), {})[Memory[memory]] = array
        inputs = tuple(InputMap(entry["name"], tuple(entry["shape"]), arrays[f"input_{i}"])
                       for i, entry in enumerate(header["inputs"]))
        populations = tuple(
            PopulationMap(entry["name"], tuple(entry["shape"]), entry["depth"], entry["spiking"], arrays[f"places_{i}"],
                          arrays[f"scale_{i}"])
            for i, entry in enumerate(header["populations"]))
        return cls(ArrayParams(**header["params"]), memories, inputs, populations, header["ticks_per_step"],
                   header.get("report", {}))


def _digest(header: dict[str, Any], arrays: dict[str, npt.NDArray[Any]]) -> str:
    plain = {key: value for key, value in header.items() if key not in ("digest", "report")}
    sha = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        sha.update(f"{name} {array.dtype.str} {array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
