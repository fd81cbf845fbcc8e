"""Temperature and power where the system can tell, and a plain statement where it cannot.

Read from Linux: industrial I/O (``/sys/bus/iio``: XADC of Zynq-7000, system monitor of Zynq UltraScale+), hardware monitors
(``/sys/class/hwmon``: INA220 and INA260), both as the kernel's ABI documents have them, and PMBus rails by pynq's `get_rails`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

#: Where sensors are found, below the root.
IIO, HWMON = "sys/bus/iio/devices", "sys/class/hwmon"
_RAW = re.compile(r"in_(temp|voltage)(\d*)(_\w+)?_raw")
_INPUT = re.compile(r"(temp|in|curr|power)(\d+)_input")
#: What a hardware monitor's numbers are, and how many of its units make one of ours.
_MONITORS = {"temp": ("celsius", 1e3), "in": ("volts", 1e3), "curr": ("amps", 1e3), "power": ("watts", 1e6)}


@dataclass
class Temperature:
    """A temperature in °C."""

    name: str
    celsius: float


@dataclass
class Rail:
    """A supply in V, A and W; None for what is not measured."""

    name: str
    volts: float | None = None
    amps: float | None = None
    watts: float | None = None


@dataclass
class Telemetry:
    """What the sensors say; ``notes`` are sentences about what they do not."""

    temperatures: list[Temperature] = field(default_factory=list)
    rails: list[Rail] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def plain(self) -> dict[str, Any]:
        """The same as plain data, for JSON."""
        return asdict(self)


def no_sensors(why: str) -> Telemetry:
    """What can be said where there are none."""
    return Telemetry(notes=[why])


def telemetry(root: Path = Path("/"), rails: Callable[[], Mapping[str, Any]] | None = None) -> Telemetry:
    """Read every sensor of this system.

    Parameters
    ----------
    root
        Where the file system begins.
    rails
        pynq's `get_rails`, or None. Each rail has ``voltage``, ``current`` and ``power``, None or with a ``value`` in V, A and W.

    A sensor that cannot be read is named in the notes.
    """
    found = Telemetry()
    for device in sorted((root / IIO).glob("*")):
        _read(found, f"{device}", lambda device=device: _iio(found, device))  # type: ignore[misc]  # a lambda of each turn
    for device in sorted((root / HWMON).glob("*")):
        _read(found, f"{device}", lambda device=device: _hwmon(found, device))  # type: ignore[misc]
    if rails is not None:
        _read(found, "pynq.get_rails()", lambda: _pynq(found, rails()))
    if not found.temperatures:
        found.notes.append(f"No temperature sensor was found below /{IIO} or /{HWMON}.")
    if not any(rail.watts is not None for rail in found.rails):
        found.notes.append("No sensor here measures power: measure at the supply.")
    return found


def _read(found: Telemetry, what: str, read: Callable[[], None]) -> None:
    try:
        read()
    except Exception as error:  # drivers raise what they like, and one broken sensor must not hide the others
        found.notes.append(f"{what} could not be read: {type(error).__name__}: {error}")


def _number(path: Path) -> float:
    return float(path.read_text())


def _name(device: Path) -> str:
    path = device / "name"
    return path.read_text().strip() if path.exists() else device.name


def _iio(found: Telemetry, device: Path) -> None:
    """Channels of an industrial I/O device: (raw + offset) · scale in m°C or mV."""
    for path, match in _matches(device, _RAW):
        kind, number, label = match[1], match[2], (match[3] or "").strip("_")
        own = path.name.removesuffix("_raw")
        scale, offset = (_first(device, f"{own}_{what}", f"in_{kind}{number}_{what}", f"in_{kind}_{what}") for what in ("scale", "offset"))
        if scale is None:
            raise ValueError(f"{path.name} has no scale")
        value = (_number(path) + (offset or 0.0)) * scale / 1e3
        said = device / f"{own}_label"
        label = said.read_text().strip() if said.exists() else label
        name = " ".join([_name(device), label or f"{kind}{number}"])
        if kind == "temp":
            found.temperatures.append(Temperature(name, value))
        else:
            found.rails.append(Rail(name, volts=value))


def _first(device: Path, *names: str) -> float | None:
    """The number in the first of these files that there is."""
    return next((_number(device / name) for name in names if (device / name).exists()), None)


def _hwmon(found: Telemetry, device: Path) -> None:
    """Channels of a hardware monitor. Those for voltage, current and power with the same number belong to one rail; an INA's
    voltage at its shunt (in0, where it has in1 too) is no supply."""
    rails: dict[str, Rail] = {}
    names = {path.name for path, _ in _matches(device, _INPUT)}
    for path, match in _matches(device, _INPUT):
        kind, number = match[1], match[2]
        what, units = _MONITORS[kind]
        if kind == "in" and number == "0" and "in1_input" in names:
            continue
        label = device / f"{kind}{number}_label"
        name = f"{_name(device)} {label.read_text().strip()}" if label.exists() else _name(device)
        value = _number(path) / units
        if kind == "temp":
            found.temperatures.append(Temperature(name, value))
        else:
            setattr(rails.setdefault(number, Rail(name)), what, value)
    found.rails += rails.values()


def _matches(device: Path, pattern: re.Pattern[str]) -> Iterator[tuple[Path, re.Match[str]]]:
    """Files of a device whose names match, in order."""
    for path in sorted(device.iterdir()):
        match = pattern.fullmatch(path.name)
        if match:
            yield path, match


def _pynq(found: Telemetry, rails: Mapping[str, Any]) -> None:
    for name, rail in rails.items():
        values = [None if sensor is None else float(sensor.value) for sensor in (rail.voltage, rail.current, rail.power)]
        found.rails.append(Rail(str(name), *values))
