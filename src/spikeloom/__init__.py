"""Spikeloom: trained spiking neural networks on Xilinx FPGAs.

The public face, a few verbs: :func:`from_nir` or :func:`from_arrays` makes a network, :func:`compile` an image of it,
:func:`open` a machine that runs images, and :func:`reference` the float network's answer. ``import spikeloom`` needs NumPy
alone; what a verb needs is imported when the verb is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom.errors import CompileError, ImageError, InputError, MachineError, NetworkError, SpikeloomError
    from spikeloom.events import Events
    from spikeloom.host.arrays import from_arrays
    from spikeloom.host.boards import boards
    from spikeloom.host.compile import compile
    from spikeloom.host.network import Network
    from spikeloom.host.nir import from_nir
    from spikeloom.host.recording import load_result, save_result
    from spikeloom.host.reference import reference
    from spikeloom.host.report import CompileReport
    from spikeloom.image import Image
    from spikeloom.machine import Machine, Result
    from spikeloom.params import ArrayParams, preset
    from spikeloom.sim.open import open

__version__ = "0.1.0"

__all__ = [
    "ArrayParams", "CompileError", "CompileReport", "Events", "Image", "ImageError", "InputError", "Machine", "MachineError",
    "Network", "NetworkError", "Result", "SpikeloomError", "boards", "compile", "from_arrays", "from_nir", "load_result",
    "open", "preset", "reference", "save_result",
]

#: Where each public name stands.
_HOMES = {
    "spikeloom.errors": ("CompileError", "ImageError", "InputError", "MachineError", "NetworkError", "SpikeloomError"),
    "spikeloom.events": ("Events",),
    "spikeloom.host.arrays": ("from_arrays",),
    "spikeloom.host.boards": ("boards",),
    "spikeloom.host.compile": ("compile",),
    "spikeloom.host.network": ("Network",),
    "spikeloom.host.nir": ("from_nir",),
    "spikeloom.host.recording": ("load_result", "save_result"),
    "spikeloom.host.reference": ("reference",),
    "spikeloom.host.report": ("CompileReport",),
    "spikeloom.image": ("Image",),
    "spikeloom.machine": ("Machine", "Result"),
    "spikeloom.params": ("ArrayParams", "preset"),
    "spikeloom.sim.open": ("open",),
}


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    from importlib import import_module
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
