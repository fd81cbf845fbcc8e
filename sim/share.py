"""One module for all that are alike: Amaranth writes each core of an array as modules of its own, which differ in names only.

Verilator then compiles a core once, whatever their number. For the four cores of the preset ``pynq_z2`` (two busy CPUs) this
took 42 s in place of 107 s, for a simulation that is a fifth slower.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field

#: Modules that stand in several places are kept out of their parents if they and what is below are longer than this many
#: characters: copying smaller ones is what makes a simulation fast.
LARGE = 50_000

_MODULE = re.compile(r"^(?:\(\*[^\n]*\*\)\n)*module (?P<name>\\\S+ |\w+) *\((?P<ports>[^;]*)\);\n(?P<body>.*?)^endmodule\n",
                     re.MULTILINE | re.DOTALL)
#: Names that Amaranth or Yosys numbered: the only ones in which alike modules differ.
_NUMBERED = re.compile(r"\\\S*\$\d\S*(?= )")
_INSTANCE = re.compile(r"^  (?P<module>\\\S+ |\w+) +(?P<name>\\\S+ +|\w+ *)\(\n"
                       r"(?P<ports>(?:    \.[^\n]*\n)+)  \);\n", re.MULTILINE)
_PORT = re.compile(r"^    \.(\\\S+|\w+)", re.MULTILINE)
#: Declarations side by side, each with its attributes. They stand by their names, numbers and all.
_DECLARATION = r"(?:  \(\*[^\n]*\n)*  (?:input|output|wire|reg)\b[^\n]*;\n"
_DECLARATIONS = re.compile(rf"(?:^{_DECLARATION})+", re.MULTILINE)


@dataclass
class _Kind:
    """A module as it is kept: its name, its text, and how many characters it has with all below."""

    name: str
    ports: str
    body: str
    size: int


@dataclass
class _Sharing:
    modules: dict[str, re.Match[str]]
    kinds: dict[tuple[str, str], _Kind] = field(default_factory=dict)
    #: For each module its kind, and the kind's names for its numbered ports.
    found: dict[str, tuple[_Kind, dict[str, str]]] = field(default_factory=dict)

    def visit(self, name: str) -> tuple[_Kind, dict[str, str]]:
        """The kind of a module, after those below it."""
        if name in self.found:
            return self.found[name]
        size = 0

        def instance(found: re.Match[str]) -> str:
            nonlocal size
            child = found["module"].strip()
            if child not in self.modules:
                return found[0]
            kind, ports = self.visit(child)
            size += kind.size
            renamed = _PORT.sub(lambda port: "    ." + ports.get(port[1], port[1]), found["ports"])
            lines = sorted(line.rstrip(",") for line in renamed.splitlines())
            return f"  {kind.name} {found['name']}(\n" + ",\n".join(lines) + "\n  );\n"

        # Numbered in the order in which they appear; a # keeps them apart from names that a parent's turn would rename again.
        names: dict[str, str] = {}
        own = self.modules[name]
        ports, body = (_NUMBERED.sub(lambda found: names.setdefault(found[0], f"\\#{len(names)}"), text)
                       for text in (own["ports"], _INSTANCE.sub(instance, own["body"])))
        # In one order, whatever the names were sorted by before.
        named = ",".join(sorted(port.strip() for port in ports.split(",")))
        body = _DECLARATIONS.sub(lambda found: "".join(sorted(re.findall(_DECLARATION, found[0]))), body)
        kind = self.kinds.setdefault((named, body), _Kind(name + " ", ports, body, size + len(body)))
        self.found[name] = kind, names
        return self.found[name]


def share_modules(verilog: str, top: str) -> str:
    """Yosys's Verilog of ``top`` with one module for all that differ in numbered names only, large ones marked so that
    Verilator compiles them once. The ports of ``top`` must have no numbered names. Modules that ``top`` does not use go."""
    sharing = _Sharing({module["name"].strip(): module for module in _MODULE.finditer(verilog)})
    if top not in sharing.modules:
        return verilog
    sharing.visit(top)
    places = Counter(found["module"].strip() for kind in sharing.kinds.values() for found in _INSTANCE.finditer(kind.body))
    parts = []
    for kind in sharing.kinds.values():
        mark = "/* verilator no_inline_module */\n" if places[kind.name.strip()] > 1 and kind.size > LARGE else ""
        parts.append(f"module {kind.name}({kind.ports});\n{mark}{kind.body}endmodule\n")
    return "\n".join(parts)
