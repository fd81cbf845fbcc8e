"""The data that the Vivado scripts in boards/vivado walk over: ``settings.tcl``."""

from __future__ import annotations

from collections.abc import Iterable

from spikeloom.host.boards import Board
from spikeloom.host.build.design import Cell, Segment, design, divisor_settings, pll_settings
from spikeloom.ip import (
    DESIGN,
    DESIGN_TOP,
    FIELDS,
    INTERFACES,
    LIBRARY,
    NAME,
    PS,
    REGISTER_SPACE,
    VENDOR,
    VLNV,
    WRAPPER,
)
from spikeloom.params import ArrayParams
from spikeloom.registers import REGISTERS

#: Values of a Tcl list: words, or lists of them.
Value = str | int | Iterable["Value"]
_ACCESS = {"ro": "read-only", "rw": "read-write"}


def word(value: Value) -> str:
    """A value as one word of Tcl, in braces where it needs them. ValueError for text that braces cannot hold."""
    if isinstance(value, (str, int)):
        text = str(value)
        if any(mark in text for mark in "{}\\\n"):
            raise ValueError(f"{text!r} cannot be written as a word of Tcl")
        return text if text and not any(mark in text for mark in ' \t"[]$;#') else f"{{{text}}}"
    return "{" + " ".join(word(one) for one in value) + "}"


def _flat(settings: dict[str, str]) -> list[str]:
    return [part for pair in settings.items() for part in pair]


def _cell(cell: Cell) -> list[Value]:
    vendor, library, name, _ = cell.vlnv.split(":")
    return [cell.name, vendor, library, name, _flat(cell.settings)]


def _excluded(segments: Iterable[Segment]) -> list[Value]:
    """For each of the DMA's address spaces: the space, the slave behind it, and the segments that it keeps."""
    kept: dict[tuple[str, str], list[str]] = {}
    for segment in segments:
        if segment.block != "Reg":
            kept.setdefault((_space(segment), segment.slave), []).append(segment.block)
    return [[space, slave, names] for (space, slave), names in kept.items()]


def _space(segment: Segment) -> str:
    return f"{segment.master.partition('/')[0]}/{segment.space}"


def settings_text(board: Board, params: ArrayParams, clock_mhz: float | None = None, jobs: int = 2) -> str:
    """``settings.tcl``: everything that the scripts need to know, one variable a line.

    ``jobs`` is how many processes Vivado may use. ValueError for a clock that the board cannot give.
    """
    clock = board.clock_mhz if clock_mhz is None else clock_mhz
    whole = design(board, params, clock)
    first, second = board.divisors(clock)
    registers: list[Value] = [
        [register.name, f"0x{register.address:02X}", _ACCESS[register.access], register.meaning,
         [[field.name, field.offset, field.width, field.meaning] for field in FIELDS.get(register.name, ())]]
        for register in REGISTERS]
    variables: dict[str, Value] = {
        "part": board.part, "board_part": board.board_part, "family": board.family, "jobs": jobs,
        "design": DESIGN, "design_top": DESIGN_TOP, "wrapper": WRAPPER, "ps": PS,
        "ip_vendor": VENDOR, "ip_library": LIBRARY, "ip_name": NAME, "ip_version": VLNV.split(":")[3],
        "ip_digest": params.digest(), "ip_register_space": REGISTER_SPACE, "ip_registers": registers,
        "ip_interfaces": [[interface.name, interface.bus, interface.mode] for interface in INTERFACES],
        "clock_mhz": f"{clock:g}", "clock_pin": whole.nets[0].driver, "io_pll_mhz": f"{board.io_pll_mhz:g}",
        "divisors": list(divisor_settings(board, clock)), "divisor_product": first * second,
        "pll_settings": _flat(pll_settings(board, clock)),
        "cells": [_cell(cell) for cell in whole.cells],
        "buses": whole.buses, "nets": [[net.driver, net.sinks] for net in whole.nets],
        "segments": [[_space(one), one.slave, one.block, f"0x{one.address:X}", f"0x{one.range:X}"] for one in whole.segments],
        "excluded": _excluded(whole.segments),
    }
    head = f"# Made by spikeloom build for {board.title} and the array with digest {params.digest()[:8]}. Read by build.tcl.\n"
    return head + "".join(f"set {name} {word(value)}\n" for name, value in variables.items())
