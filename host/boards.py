"""Boards, from boards/<name>/board.json, and what synthesis found for the arrays that are meant for them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import spikeloom
from spikeloom.errors import SpikeloomError
from spikeloom.ip import FAMILIES, Family
from spikeloom.params import PRESETS, ArrayParams

#: What synthesis reports, by array: {"luts", "ff", "ramb36", "dsp", "tool"}.
SYNTHESIS = "docs/synthesis.json"
#: What a part has.
RESOURCES = ("luts", "ffs", "ramb36", "urams", "dsps")
#: Where a board's sensors are found: below /sys/bus/iio, below /sys/class/hwmon, by ``pynq.get_rails()``, or nowhere.
SENSOR_KINDS = ("iio", "hwmon", "pynq", "none")


@dataclass(frozen=True, kw_only=True)
class Sensors:
    """``temperature`` and ``power`` as ``kind:name`` (kinds: :data:`SENSOR_KINDS`) or ``none``, and a note for the user."""

    temperature: str
    power: str
    note: str

    def __post_init__(self) -> None:
        for name in ("temperature", "power"):
            if getattr(self, name).partition(":")[0] not in SENSOR_KINDS:
                raise ValueError(f"sensors.{name} must begin with {', '.join(SENSOR_KINDS)}, not {getattr(self, name)!r}")


@dataclass(frozen=True, kw_only=True)
class Board:
    """A board.

    Parameters
    ----------
    name, title
        Its folder's name, and its name in print.
    part, board_part
        Xilinx's names of the part and of the board (vendor:name:part0:version), as Vivado has them.
    family
        ``zynq7`` or ``zynqmp``, see :data:`spikeloom.ip.FAMILIES`.
    pynq
        Version of PYNQ that the board's image has or that is meant for it.
    clock_mhz
        Clock of the array: assumed, for no tool here can tell what the part reaches. An integer part of ``io_pll_mhz``.
    crystal_mhz, io_pll_mhz
        Clock at the processing system's pin, and the I/O PLL that its boot sets from it.
    memory_mb
        DDR in MiB.
    resources
        What the part has: :data:`RESOURCES`.
    arrays
        Names of the arrays meant for it, the default first: presets, or the own array of this board or another.
    array
        Its own array, which has the board's name; None if it has none.
    ultra_banks
        Synapse banks in each core that are built of UltraRAM.
    sensors
        Where temperature and power are read.
    """

    name: str
    title: str
    part: str
    board_part: str
    family: str
    pynq: str
    clock_mhz: float
    crystal_mhz: float
    io_pll_mhz: float
    memory_mb: int
    resources: dict[str, int]
    arrays: tuple[str, ...]
    sensors: Sensors
    array: ArrayParams | None = None
    ultra_banks: int = 0

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ValueError(f"family must be one of {', '.join(FAMILIES)}, not {self.family!r}")
        if set(self.resources) != set(RESOURCES) or not all(type(count) is int and count >= 0 for count in self.resources.values()):
            raise ValueError(f"resources must be counts of {', '.join(RESOURCES)}, not {self.resources}")
        if not 16 <= self.memory_mb <= 65_536:
            raise ValueError(f"memory_mb must be 16 to 65536 MiB, not {self.memory_mb}")
        if not 10 <= self.crystal_mhz <= 60:
            raise ValueError(f"crystal_mhz must be 10 to 60, not {self.crystal_mhz}")
        if not self.arrays:
            raise ValueError("arrays must name at least one array")
        if (self.array is None) != (self.name not in self.arrays or self.name in PRESETS):
            raise ValueError(f"array must be given if and only if arrays names {self.name!r}")
        if self.ultra_banks and not self.resources["urams"]:
            raise ValueError(f"ultra_banks is {self.ultra_banks}, but {self.part} has no UltraRAM")
        self.divisors(self.clock_mhz)

    @property
    def system(self) -> Family:
        """The system around the array on this board's family."""
        return FAMILIES[self.family]

    def divisors(self, clock_mhz: float) -> tuple[int, int]:
        """The two divisors, each 1 to 63, that make a clock from the I/O PLL; ValueError when none gives it within 0.1 %."""
        ratio = self.io_pll_mhz / clock_mhz if clock_mhz > 0 else 0
        product = round(ratio)
        if product < 1 or abs(product / ratio - 1) > 1e-3:
            raise ValueError(f"The clock must be the I/O PLL's {self.io_pll_mhz:g} MHz divided by an integer, not {clock_mhz:g} MHz")
        first = next((d for d in range(min(63, product), 0, -1) if product % d == 0 and product // d <= 63), None)
        if first is None:
            raise ValueError(f"{clock_mhz:g} MHz needs a division by {product}, which is no product of two numbers up to 63")
        return first, product // first


def read_board(path: Path) -> Board:
    """The board that a ``board.json`` describes; SpikeloomError says what is wrong with it."""
    try:
        plain = json.loads(path.read_text())
        if not isinstance(plain, dict):
            raise ValueError("it is no JSON object")
        own, sensors = plain.pop("array", None), Sensors(**plain.pop("sensors"))
        return Board(name=path.parent.name, sensors=sensors, array=None if own is None else ArrayParams(**own),
                     arrays=tuple(plain.pop("arrays")), **plain)
    except KeyError as error:
        raise SpikeloomError(f"{path} is not a board's description: {error.args[0]} is missing") from error
    except (ValueError, TypeError) as error:
        raise SpikeloomError(f"{path} is not a board's description: {error}") from error


def boards() -> dict[str, Board]:
    """All boards by name."""
    found = (read_board(path) for path in sorted((Path(spikeloom.__file__).parent / "boards").glob("*/board.json")))
    return {board.name: board for board in found}


def board(name: str) -> Board:
    """The board of that name; SpikeloomError lists those that there are."""
    known = boards()
    if name not in known:
        raise SpikeloomError(f"There is no board {name!r}; there are {', '.join(known)}. A board is one folder: docs/boards.md")
    return known[name]


def named_array(name: str) -> ArrayParams:
    """The array of that name: a preset, or the default array of the board of that name; SpikeloomError lists the names."""
    known = boards()
    if name in PRESETS:
        return PRESETS[name]
    if name not in known:
        names = ", ".join([*PRESETS, *(other for other in known if other not in PRESETS)])
        raise SpikeloomError(f"There is no board {name!r}, nor an array of that name; there are {names}")
    found = known[name]
    return found.array if found.array is not None else named_array(found.arrays[0])


def board_of(array: str) -> Board:
    """The board that the named array is meant for first of all; SpikeloomError where there is none."""
    known = boards()
    meant = sorted((found.arrays.index(array), not array.startswith(name), name) for name, found in known.items() if array in found.arrays)
    if meant:
        return known[meant[0][2]]
    names = dict.fromkeys(name for found in known.values() for name in found.arrays)
    raise SpikeloomError(f"Array {array!r} is meant for no board; those that are: {', '.join(names)}")


def project_file(path: str) -> Path | None:
    """A file of the project that is no module: from the checkout, or as the wheel carries it; None where there is neither."""
    package = Path(spikeloom.__file__).resolve().parent
    return next((folder / path for folder in (package.parents[1], package) if (folder / path).is_file()), None)


def synthesis(array: str) -> dict[str, Any]:
    """What synthesis found for the named array: ``luts``, ``ramb36``, ``dsp``, ``ff``, ``tool``; empty where nobody looked."""
    path = project_file(SYNTHESIS)
    return dict(json.loads(path.read_text()).get(array, {})) if path else {}
