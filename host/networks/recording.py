"""Recorded runs: a result and the image that made it in one file, so that two runs can be compared later."""

from __future__ import annotations

import io
import json
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from spikeloom.errors import ImageError, SpikeloomError
from spikeloom.image import Image
from spikeloom.machine import Result

VERSION = 1
_HEADER, _IMAGE = "run.json", "image.slm"


def save_result(result: Result, path: str | Path) -> None:
    """Write a run: a zip archive of plain NumPy arrays, a JSON header with the image's digest, and the image itself."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, name in enumerate(result.spikes):
        arrays[f"spikes_{number}"] = result.spikes[name]
    for number, name in enumerate(result.states):
        arrays[f"states_{number}"] = result.states[name]
    if result.cycles is not None:
        arrays["cycles"] = result.cycles
    header = {"version": VERSION, "image": result.image.digest(), "spikes": list(result.spikes), "states": list(result.states),
              "stats": {name: int(value) for name, value in result.stats.items()}}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(_HEADER, json.dumps(header))
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
            archive.writestr(f"{name}.npy", buffer.getvalue())
        with tempfile.TemporaryDirectory() as folder:
            image = Path(folder, _IMAGE)
            result.image.save(image)
            archive.writestr(_IMAGE, image.read_bytes())


def load_result(path: str | Path) -> Result:
    """Read a run; SpikeloomError when the file is none, is damaged, or its image is not the one that it was made with."""
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(_HEADER))
            arrays = {name[:-4]: np.lib.format.read_array(io.BytesIO(archive.read(name)), allow_pickle=False)
                      for name in archive.namelist() if name.endswith(".npy")}
            with tempfile.TemporaryDirectory() as folder:
                Path(folder, _IMAGE).write_bytes(archive.read(_IMAGE))
                image = Image.load(Path(folder, _IMAGE))
    except FileNotFoundError:
        raise SpikeloomError(f"There is no recorded run {path}") from None
    except ImageError as error:
        raise SpikeloomError(f"{path}: the image in this recorded run is damaged: {error}") from error
    except Exception as error:  # zipfile, zlib and NumPy raise many kinds for a damaged file: the same to the user
        raise SpikeloomError(f"{path} is not a recorded run, or it is damaged: {error}") from error
    if not isinstance(header, dict) or header.get("version") != VERSION:
        raise SpikeloomError(f"{path} is a recorded run of another version; this Spikeloom reads version {VERSION}")
    try:
        if header["image"] != image.digest():
            raise SpikeloomError(f"{path} was altered: the image in it is not the one that was run")
        spikes = {name: arrays[f"spikes_{number}"] for number, name in enumerate(header["spikes"])}
        states = {name: arrays[f"states_{number}"] for number, name in enumerate(header["states"])}
        return Result(image, spikes, states, arrays.get("cycles"), dict(header["stats"]))
    except (KeyError, TypeError) as error:
        raise SpikeloomError(f"{path} is not a complete recorded run: {error!r}") from error
