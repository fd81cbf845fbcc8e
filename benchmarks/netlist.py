"""A netlist that Yosys mapped to 7-series primitives, as a graph of timing arcs between registers.

Delays are nanoseconds, rounded figures of a -1 part of the Artix fabric (xc7z020, xc7a): look-up table, flip-flop, carry and block RAM
as vendor timing reports and Project X-Ray's tables show them; those of DSP48E1 are the figures of Yosys's ``cells_sim.v`` times
:data:`DSP_GRADE`, which takes them from a -3 to a -1 part. Pins of one kind have one figure, the largest or a usual one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

#: A net of one bit: Yosys's number for it.
Bit = int
CLOCK_TO_Q, SETUP_D, SETUP_ENABLE, SETUP_RESET = 0.456, 0.05, 0.205, 0.43
LUT, CARRY_ENTER, CARRY_SUM, CARRY_PASS, CARRY_OUT = 0.124, 0.55, 0.45, 0.114, 0.30
MUX, MUX_SELECT = 0.22, 0.30
RAM_CLOCK, RAM_SETUP_ADDRESS, RAM_SETUP_DATA, RAM_SETUP_ENABLE = 1.31, 0.30, 0.40, 0.55
SHIFT_CLOCK, SHIFT_SETUP = 1.63, 0.20
BLOCK_CLOCK, BLOCK_CLOCK_REGISTER = 2.454, 0.882
BLOCK_SETUP = {"ADDR": 0.566, "WE": 0.532, "EN": 0.443, "RST": 0.443, "REGCE": 0.360, "DI": 0.737}
#: Clock to output with the output register: 0.434 ns in a -1 part, 0.329 in Yosys's table; other pins give the same ratio.
DSP_GRADE = 0.434 / 0.329
#: What a pin of an AXI stream sees beyond the array: another register.
PORT_CLOCK, PORT_SETUP = CLOCK_TO_Q, SETUP_D


@dataclass(frozen=True)
class Arc:
    """From an input pin to an output pin of one cell, combinational: so many LUT levels and carry chains more. The LUT in the
    slice of a carry that does nothing but to feed it is part of the chain."""

    source: Bit
    target: Bit
    cell: str
    delay: float
    levels: int = 0
    chains: int = 0


@dataclass(frozen=True)
class Start:
    """A net driven by a register, a memory or a port: where, and how long after the clock."""

    bit: Bit
    cell: str
    kind: str
    delay: float


@dataclass(frozen=True)
class End:
    """A pin that is sampled by the clock."""

    bit: Bit
    cell: str
    kind: str
    pin: str
    setup: float


class Netlist:
    """Cells and nets of a flat module, from the JSON of ``write_json``.

    ``wire`` is the delay of a net to one of its loads: 0.5 ns, and 0.12 more each time that the loads double. It is 0 where a slice
    has a wire of its own: LUT to multiplexer, carry chain or flip-flop if that is its one load, carry to carry, carry to flip-flop.
    With ``slices`` a LUT that does nothing but to feed a carry's S, from within its slice, belongs to the chain and is no level.
    """

    def __init__(self, module: dict[str, Any], *, slices: bool = True) -> None:
        self.slices = slices
        self.cells: dict[str, dict[str, Any]] = module["cells"]
        self.drivers: dict[Bit, tuple[str, str]] = {}
        self.loads: dict[Bit, list[tuple[str, str]]] = {}
        for name, cell in self.cells.items():
            for port, bits in cell["connections"].items():
                for index, bit in enumerate(bits):
                    if isinstance(bit, int):
                        if cell["port_directions"][port] == "output":
                            self.drivers[bit] = name, f"{port}[{index}]" if len(bits) > 1 else port
                        else:
                            self.loads.setdefault(bit, []).append((name, f"{port}[{index}]" if len(bits) > 1 else port))
        #: All names that are not Yosys's own, with their bits; and one name for each bit.
        self.known: dict[str, list[Bit]] = {name: [bit for bit in net["bits"] if isinstance(bit, int)]
                                            for name, net in module["netnames"].items() if not net.get("hide_name")}
        self.names = _names(module["netnames"])
        self.clocks = {bit for cell in self.cells.values() for port, bits in cell["connections"].items()
                       if port in ("C", "CLK", "WCLK", "CLKARDCLK", "CLKBWRCLK") or cell["type"] == "BUFG" for bit in bits}
        self.arcs: list[Arc] = []
        self.starts: list[Start] = []
        self.ends: list[End] = []
        for name, cell in self.cells.items():
            self._cell(name, cell)
        for name, port in module["ports"].items():
            for bit in port["bits"]:
                if not isinstance(bit, int) or bit in self.clocks:
                    continue
                if port["direction"] == "input":
                    self.starts.append(Start(bit, name, "port", PORT_CLOCK))
                else:
                    self.ends.append(End(bit, name, "port", name, PORT_SETUP))
                    self.loads.setdefault(bit, []).append((name, "port"))

    def name(self, bit: Bit) -> str:
        """The name of a net; "" for one that only Yosys named."""
        return self.names.get(bit, "")

    def type(self, cell: str) -> str:
        """Primitive of a cell."""
        return str(self.cells[cell]["type"]) if cell in self.cells else "port"

    def wire(self, bit: Bit, load: str, pin: str) -> float:
        """Delay of a net on its way to a pin."""
        driver, kind = self.type(self.drivers[bit][0]) if bit in self.drivers else "port", self.type(load)
        alone = len(self.loads[bit]) == 1
        if kind == "CARRY4" and driver == "CARRY4" and pin == "CI":
            return 0.0
        if driver == "CARRY4" and kind.startswith("FD") and pin == "D":
            return 0.0
        if alone and driver.startswith(("LUT", "MUXF")) and (
                (kind.startswith("FD") and pin == "D") or (kind == "CARRY4" and pin.startswith("S")) or
                (kind.startswith("MUXF") and pin != "S")):
            return 0.0
        return 0.5 + 0.12 * math.log2(len(self.loads[bit]))

    def cut(self, pattern: str) -> int:
        """Put a register into every net with a name that matches, to see what it would bring; returns how many."""
        nets = {bit for name, bits in self.known.items() if re.search(pattern, name) for bit in bits
                if bit in self.loads and bit not in self.clocks}
        for bit in nets:  # what drives it has the net of the opposite number from here on
            self.loads[-bit] = [("cut", "D")]
            if bit in self.drivers:
                self.drivers[-bit] = self.drivers[bit]
            self.names[-bit] = self.names[bit]
        self.arcs = [replace(arc, target=-arc.target) if arc.target in nets else arc for arc in self.arcs]
        self.starts = [replace(start, bit=-start.bit) if start.bit in nets else start for start in self.starts]
        self.starts += [Start(bit, self.names[bit], "cut", CLOCK_TO_Q) for bit in sorted(nets)]
        self.ends += [End(-bit, self.names[bit], "cut", "D", SETUP_D) for bit in sorted(nets)]
        return len(nets)

    # Cells, by primitive.

    def _cell(self, name: str, cell: dict[str, Any]) -> None:
        kind = cell["type"]
        pins = {port: [bit if isinstance(bit, int) else None for bit in bits] for port, bits in cell["connections"].items()}
        if kind.startswith("FD"):
            self._start(name, kind, pins["Q"], CLOCK_TO_Q)
            for pin, setup in (("D", SETUP_D), ("CE", SETUP_ENABLE), *((pin, SETUP_RESET) for pin in ("R", "S", "CLR", "PRE"))):
                self._end(name, kind, pin, pins.get(pin, []), setup)
        elif kind.startswith("LUT") or kind == "INV":
            for pin, bits in pins.items():
                if pin != "O":
                    self._arcs(name, bits, pins["O"], LUT, levels=int(not self._feeds_carry(pins["O"])))
        elif kind.startswith("MUXF"):
            self._arcs(name, pins["I0"] + pins["I1"], pins["O"], MUX)
            self._arcs(name, pins["S"], pins["O"], MUX_SELECT, levels=1)
        elif kind == "CARRY4":
            self._carry(name, pins)
        elif kind.startswith(("RAM32", "RAM64", "RAM128", "RAM256")):
            self._ram(name, kind, pins)
        elif kind.startswith("SRL"):
            self._start(name, kind, pins["Q"] + pins.get("Q31", []), SHIFT_CLOCK)
            for pin in pins.keys() & {"A", "A0", "A1", "A2", "A3"}:
                self._arcs(name, pins[pin], pins["Q"], LUT, levels=1)
            for pin in pins.keys() & {"D", "CE"}:
                self._end(name, kind, pin, pins[pin], SHIFT_SETUP)
        elif kind.startswith("RAMB"):
            self._block(name, kind, pins, cell["parameters"])
        elif kind == "DSP48E1":
            self._dsp(name, kind, pins, cell["parameters"])
        elif kind not in ("BUFG", "$scopeinfo"):  # the clock, and what is left of the hierarchy
            raise SystemExit(f"Primitive {kind} has no delays here")

    def _start(self, name: str, kind: str, bits: list[Bit | None], delay: float) -> None:
        self.starts += [Start(bit, name, kind, delay) for bit in bits if bit is not None and bit in self.loads]

    def _end(self, name: str, kind: str, pin: str, bits: list[Bit | None], setup: float) -> None:
        self.ends += [End(bit, name, kind, f"{pin}[{index}]" if len(bits) > 1 else pin, setup)
                      for index, bit in enumerate(bits) if bit is not None and bit not in self.clocks]

    def _arcs(self, name: str, sources: list[Bit | None], targets: list[Bit | None], delay: float, levels: int = 0,
              chains: int = 0) -> None:
        self.arcs += [Arc(source, target, name, delay, levels, chains) for source in sources if source is not None
                      for target in targets if target is not None and target in self.loads]

    def _feeds_carry(self, bits: list[Bit | None]) -> bool:
        """Whether an output goes to nothing but S of CARRY4s, which a LUT of their slice drives without any other wire."""
        if not self.slices:
            return False
        (bit,) = bits
        loads = self.loads.get(bit, []) if bit is not None else []
        return bool(loads) and all(self.type(cell) == "CARRY4" and pin.startswith("S") for cell, pin in loads)

    def _carry(self, name: str, pins: dict[str, list[Bit | None]]) -> None:
        for index in range(4):
            carries, sums = pins.get("CO", [])[index:], pins.get("O", [])[index:]
            for pin in ("S", "DI"):
                self._arcs(name, [pins[pin][index]], carries, CARRY_ENTER, chains=1)
                self._arcs(name, [pins[pin][index]], sums, CARRY_SUM, chains=1)
        self._arcs(name, pins.get("CYINIT", []), pins.get("CO", []) + pins.get("O", []), CARRY_ENTER, chains=1)
        for bit in pins.get("CI", []):
            linked = bit in self.drivers and self.type(self.drivers[bit][0]) == "CARRY4"
            self._arcs(name, [bit], pins.get("CO", []), CARRY_PASS, chains=int(not linked))
            self._arcs(name, [bit], pins.get("O", []), CARRY_OUT, chains=int(not linked))

    def _ram(self, name: str, kind: str, pins: dict[str, list[Bit | None]]) -> None:
        """LUT-RAM: a read is a LUT level; of more than 64 words, with the multiplexers behind it."""
        read = LUT + (2 * MUX if kind.startswith(("RAM128", "RAM256")) else 0)
        multiple = re.fullmatch(r"RAM(32|64)M\d*", kind)
        reads = ([(f"ADDR{letter}", f"DO{letter}") for letter in "ABCDEFGH" if f"DO{letter}" in pins] if multiple else
                 [("A", "SPO"), ("DPRA", "DPO"), ("A", "O")])
        for address, output in reads:
            bits = [bit for pin in pins if re.fullmatch(rf"{address}\d*", pin) for bit in pins[pin]]
            self._arcs(name, bits, pins.get(output, []), read, levels=1)
            self._start(name, kind, pins.get(output, []), RAM_CLOCK)
        written = ("ADDRH" if "ADDRH" in pins else "ADDRD") if multiple else "A"
        for pin, bits in pins.items():
            if re.fullmatch(rf"{written}\d*", pin):
                self._end(name, kind, pin, bits, RAM_SETUP_ADDRESS)
            elif pin.startswith("D") and not pin.startswith(("DO", "DP")):
                self._end(name, kind, pin, bits, RAM_SETUP_DATA)
            elif pin == "WE":
                self._end(name, kind, pin, bits, RAM_SETUP_ENABLE)

    def _block(self, name: str, kind: str, pins: dict[str, list[Bit | None]], parameters: dict[str, Any]) -> None:
        for pin, bits in pins.items():
            if pin.startswith(("DOA", "DOPA", "DOB", "DOPB")):
                registered = integer(parameters.get(f"DO{pin[3] if pin.startswith('DOP') else pin[2]}_REG", 0))
                self._start(name, f"{kind}{'' if registered else ' without output register'}", bits,
                            BLOCK_CLOCK_REGISTER if registered else BLOCK_CLOCK)
            elif "CLK" not in pin and not pin.startswith("CAS"):
                setup = next((setup for start, setup in BLOCK_SETUP.items() if pin.startswith(start)), BLOCK_SETUP["DI"])
                self._end(name, kind, pin, bits, setup)

    def _dsp(self, name: str, kind: str, pins: dict[str, list[Bit | None]], parameters: dict[str, Any]) -> None:
        """Multiplier and adder; what a pin needs and gives depends on the first register behind and the last before it."""
        held = {pin: integer(parameters.get(f"{pin}REG", 1)) > 0 for pin in "ABCDMP"}
        setups = {"A": (0.254, 1.416, 2.739), "B": (0.324, 1.285, 2.608), "C": (0.168, None, 1.244), "D": (0.248, 2.310, 3.635)}
        through = {"A": 2.823, "B": 2.690, "C": 1.325, "D": 3.717}
        clocked = 0.329 if held["P"] else 1.671 if held["M"] else 2.952 if held["A"] or held["B"] else 1.687 if held["C"] else None
        outputs = pins.get("P", []) + pins.get("CARRYOUT", [])
        if clocked is not None:
            self._start(name, kind, outputs, clocked * DSP_GRADE)
        for pin, bits in pins.items():
            if pin in setups:
                own, product, after = setups[pin]
                setup = own if held[pin] else product if held["M"] and product else after if held["P"] else None
                if setup is None:
                    self._arcs(name, bits, outputs, through[pin] * DSP_GRADE)
                else:
                    self._end(name, kind, pin, bits, setup * DSP_GRADE)
            elif pin.startswith(("CE", "RST")):
                self._end(name, kind, pin, bits, 0.5)
            elif pin in ("OPMODE", "INMODE", "ALUMODE", "CARRYIN"):
                self._end(name, kind, pin, bits, 1.7 if held["P"] else 0.5)


def integer(value: Any) -> int:
    """A parameter, which Yosys writes as a number or as a string of bits."""
    return int(value, 2) if isinstance(value, str) and value else int(value or 0)


def _names(nets: dict[str, Any]) -> dict[Bit, str]:
    """A name for each bit: that of a register if it is one, else the deepest in the hierarchy, where it comes from."""
    best: dict[Bit, tuple[Any, str]] = {}
    for name, net in nets.items():
        if net.get("hide_name"):
            continue
        said = not re.search(r"(^|\.)(_\d+_|\$\d*)$", name)  # `_0_` and the like are Yosys's, too
        rank = (said, "register" in net["attributes"], name.count("."), -len(name), name)
        for index, bit in enumerate(net["bits"]):
            if isinstance(bit, int) and (bit not in best or rank > best[bit][0]):
                best[bit] = rank, f"{name}[{index}]" if len(net["bits"]) > 1 else name
    return {bit: name for bit, (_, name) in best.items()}


def fan_outs(netlist: Netlist) -> Iterator[tuple[int, Bit]]:
    """Nets by their number of loads, largest first, without clocks."""
    yield from sorted(((len(loads), bit) for bit, loads in netlist.loads.items() if bit not in netlist.clocks),
                      key=lambda found: (-found[0], netlist.name(found[1])))
