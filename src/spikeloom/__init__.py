"""Spikeloom: trained spiking neural networks on Xilinx FPGAs.

The public face, a few verbs: :func:`from_nir`, :func:`from_netx` or :func:`from_arrays` makes a network, :func:`compile` an
image of it, :func:`open` a machine that runs images, and :func:`reference` the float network's answer. ``import spikeloom``
needs NumPy alone; what a verb needs is imported when the verb is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from spikeloom.errors import CompileError, ImageError, InputError, MachineError, NetworkError, SpikeloomError
    from spikeloom.events import Events
    from spikeloom.host.boards import boards
    from spikeloom.host.compiler.compile import compile
    from spikeloom.host.compiler.report import CompileReport
    from spikeloom.host.estimates.arrays import from_arrays
    from spikeloom.host.importers.brainpy_import import from_brainpy
    from spikeloom.host.importers.frameworks_norse import from_norse
    from spikeloom.host.importers.frameworks_sinabs import from_sinabs
    from spikeloom.host.importers.frameworks_snntorch import from_snntorch
    from spikeloom.host.importers.frameworks_spikingjelly import from_spikingjelly
    from spikeloom.host.importers.netx import from_netx
    from spikeloom.host.importers.netx_input import netx_input_spikes
    from spikeloom.host.importers.nir import from_nir
    from spikeloom.host.networks.network import Network
    from spikeloom.host.networks.recording import load_result, save_result
    from spikeloom.host.networks.reference import reference
    from spikeloom.host.sweep import sweep
    from spikeloom.image import Image
    from spikeloom.machine import Machine, Result
    from spikeloom.params import ArrayParams, preset
    from spikeloom.sim.many import run_many
    from spikeloom.sim.open import open

__version__ = "0.1.0"

__all__ = [
    "ArrayParams", "CompileError", "CompileReport", "Events", "Image", "ImageError", "InputError", "Machine", "MachineError",
    "Network", "NetworkError", "Result", "SpikeloomError", "boards", "compile", "from_arrays", "from_brainpy", "from_netx",
    "from_nir", "from_norse", "from_sinabs", "from_snntorch", "from_spikingjelly", "load_result", "netx_input_spikes",
    "open", "preset", "reference", "run_many", "save_result", "sweep",
]

#: Where each public name stands.
_HOMES = {
    "spikeloom.errors": ("CompileError", "ImageError", "InputError", "MachineError", "NetworkError", "SpikeloomError"),
    "spikeloom.events": ("Events",),
    "spikeloom.host.estimates.arrays": ("from_arrays",),
    "spikeloom.host.boards": ("boards",),
    "spikeloom.host.importers.brainpy_import": ("from_brainpy",),
    "spikeloom.host.compiler.compile": ("compile",),
    "spikeloom.host.importers.frameworks_norse": ("from_norse",),
    "spikeloom.host.importers.frameworks_sinabs": ("from_sinabs",),
    "spikeloom.host.importers.frameworks_snntorch": ("from_snntorch",),
    "spikeloom.host.importers.frameworks_spikingjelly": ("from_spikingjelly",),
    "spikeloom.host.networks.network": ("Network",),
    "spikeloom.host.importers.netx": ("from_netx",),
    "spikeloom.host.importers.netx_input": ("netx_input_spikes",),
    "spikeloom.host.importers.nir": ("from_nir",),
    "spikeloom.host.networks.recording": ("load_result", "save_result"),
    "spikeloom.host.networks.reference": ("reference",),
    "spikeloom.host.compiler.report": ("CompileReport",),
    "spikeloom.host.sweep": ("sweep",),
    "spikeloom.image": ("Image",),
    "spikeloom.machine": ("Machine", "Result"),
    "spikeloom.params": ("ArrayParams", "preset"),
    "spikeloom.sim.many": ("run_many",),
    "spikeloom.sim.open": ("open",),
}


def __getattr__(name: str) -> Any:
    """A public name, imported on first use."""
    from importlib import import_module
    if name == "train":  # a package: training needs torch, so it is not among the verbs that every installation has
        return import_module("spikeloom.host.train")
    for home, names in _HOMES.items():
        if name in names:
            globals()[name] = value = getattr(import_module(home), name)
            return value
    raise AttributeError(f"module 'spikeloom' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
