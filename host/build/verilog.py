"""Verilog of a build: the array, and the wrapper that tells Vivado which ports form which interface."""

from __future__ import annotations

import re

from spikeloom.errors import SpikeloomError
from spikeloom.host.boards import Board
from spikeloom.ip import INTERFACES, MODULE, PORTS, WRAPPER, Interface, Port, ip_settings
from spikeloom.params import ArrayParams

#: Rows of an UltraRAM (AMD UG573).
ULTRA_WORDS = 4096
_SYNAPSES = re.compile(r"^module (?P<name>\\\S*\.synapses) .*?^endmodule", re.MULTILINE | re.DOTALL)


def wrapper_text(params: ArrayParams) -> str:
    """The wrapper: the array's own ports with ``X_INTERFACE_INFO`` and ``X_INTERFACE_PARAMETER`` (AMD UG1118).

    Its parameters change nothing: they appear in the ``.hwh``, where the driver reads what array this is.
    """
    settings = ",\n".join(f'    parameter {name} = "{value}"' for name, value in ip_settings(params).items())
    ports = ",\n".join(_port(port) for port in PORTS)
    pins = ",\n".join(f"        .{port.name}({port.name})" for port in PORTS)
    return (f"// The array's ports as interfaces. Made by spikeloom build for the array with digest {params.digest()[:8]}.\n"
            f"module {WRAPPER} #(\n{settings}\n) (\n{ports}\n);\n    {MODULE} array (\n{pins}\n    );\nendmodule\n")


def _port(port: Port) -> str:
    interface = next(interface for interface in INTERFACES if interface.name == port.interface)
    first = next(other for other in PORTS if other.interface == port.interface) == port
    lines = [f'    (* X_INTERFACE_INFO = "{interface.definition} {interface.name} {port.logical}" *)']
    if first:
        lines.append(f'    (* X_INTERFACE_PARAMETER = "{_parameters(interface)}" *)')
    width = f"[{port.width - 1}:0] " if port.width > 1 else ""
    return "\n".join([*lines, f"    {port.direction}put wire {width}{port.name}"])


def _parameters(interface: Interface) -> str:
    named = [("XIL_INTERFACENAME", interface.name), *interface.parameters]
    return ", ".join(f"{name} {value}" for name, value in named)


def ultra_banks(board: Board, params: ArrayParams) -> int:
    """Synapse banks of each core that a board puts into UltraRAM: none of those too shallow to fill one."""
    return min(board.ultra_banks, params.banks) if params.words >= ULTRA_WORDS else 0


def in_ultra_ram(text: str, params: ArrayParams, banks: int) -> str:
    """The Verilog with the first ``banks`` synapse banks of each core marked ``ram_style = "ultra"``.

    It changes where Vivado puts a memory, not what the array computes, so it is a matter of the board and not of
    :class:`ArrayParams`. SpikeloomError if the memories are not found.
    """
    if not banks:
        return text
    if banks > params.banks:
        raise SpikeloomError(f"{banks} synapse banks of each core cannot go into UltraRAM: the array has {params.banks}")
    moved = 0

    def move(module: re.Match[str]) -> str:
        nonlocal moved
        body = module.group()
        for bank in range(banks):
            body, found = re.subn(rf'\(\* ram_style = "block" \*\)(\s+reg \[\d+:0\] bank_{bank} \[)',
                                  r'(* ram_style = "ultra" *)\1', body)
            moved += found
        return body

    text = _SYNAPSES.sub(move, text)
    if moved != banks * params.cores:
        raise SpikeloomError(f"Found {moved} synapse banks in the Verilog to put into UltraRAM, not {banks * params.cores}")
    return text
