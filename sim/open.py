"""`open`: a machine by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from typing import Any, Literal

from spikeloom.calls import Calls
from spikeloom.errors import MachineError, SpikeloomError
from spikeloom.events import InputSpikes
from spikeloom.fields import Ints
from spikeloom.host.boards import named_array
from spikeloom.image import Image
from spikeloom.machine import Machine, Potentials, Result
from spikeloom.params import ArrayParams
from spikeloom.stream import Stream

#: What each kind of machine is.
KINDS = {
    "golden": "the specification in NumPy",
    "engine": "the same results from compiled C++, many times faster",
    "rtl": "the gateware, compiled by Verilator",
    "cocotb": "the same Verilog under cocotb with Icarus",
    "virtual": "the gateware behind a board's DMA and pynq's network client, in a server of its own",
    "pynq": "a board, through the pynq package",
}
#: Kinds that take any image and have no cycles.
CLOCKLESS = ("golden", "engine")
#: What each kind needs to be installed, where it is an extra.
EXTRAS = {"rtl": "rtl", "cocotb": "rtl,cocotb", "virtual": "pynq,rtl,cli"}


def open(kind: str | Sequence[str], params: ArrayParams | str | None = None, *, board: str | None = None, **options: Any) -> Machine:
    """A machine that runs images.

    Parameters
    ----------
    kind
        ``golden`` (the specification in NumPy: no tools, no clock), ``engine`` (the same in C++: needs g++, and compiles itself on first
        use in some seconds), ``rtl`` (the gateware compiled by Verilator: needs the
        extra ``rtl`` and g++; the first use of an array compiles it, which takes some minutes for a large one, and is
        kept in a cache), ``cocotb`` (the same under cocotb with Icarus: slow; needs the extra ``cocotb`` and iverilog),
        ``virtual`` (a virtual board, reached as one on the network is; needs the extras ``pynq`` and ``rtl``) or
        ``pynq`` (the board that this Python runs on, or the one at ``address``; needs ``bitfile``, the path of the ``.bit`` with its
        ``.hwh`` beside it).
        Several make a :class:`spikeloom.host.rack.Rack`: boards by their addresses, or machines by their kinds.
    params, board
        The array, by its parameters or by the name of a preset. With neither, the machine takes the array of the image
        that is loaded, and is built then.
    options
        Passed on to :func:`spikeloom.sim.compiled.open_compiled`, :func:`spikeloom.sim.cosim.open_cocotb`,
        :func:`spikeloom.sim.virtual_machine.open_virtual` or :func:`spikeloom.host.board.open_pynq`: ``pauses``, ``seed``, ``verify``
        and so on. The golden model has none; the engine ``threads`` (default: one a processor).

    MachineError for a kind that is unknown, for tools that are missing, and for a board that cannot be opened.

    Examples
    --------
    >>> with open("golden") as machine:
    ...     machine.params.lanes
    72
    """
    if not isinstance(kind, str):
        return _rack(kind, params, board, options)
    if kind not in KINDS:
        raise MachineError(f"There is no machine {kind!r}; there are {', '.join(KINDS)}. A board on the network is opened by "
                           f"open(\"pynq\", address=…, bitfile=…)")
    if kind == "golden" and options:
        raise MachineError(f"The golden model takes no options, but {', '.join(options)} was given")
    array = _array(params, board)
    if kind == "pynq":
        from spikeloom.host.board import open_pynq
        if "bitfile" not in options:
            raise MachineError("A board needs a bitstream: open(\"pynq\", bitfile=\"spikeloom.bit\"); spikeloom build makes it")
        return open_pynq(params=array, **options)
    if kind in CLOCKLESS or array is not None:
        return _make(kind, array, options)
    return OnDemand(kind, options)


class OnDemand(Calls):
    """A machine that is built when the first image tells which array it needs, and again when another image needs another.

    ``params`` are those of the image that was loaded last; before that, the default array's.
    """

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        super().__init__()
        self.params = ArrayParams()
        self._kind, self._options = kind, options
        self._machine: Machine | None = None

    def load(self, image: Image) -> None:
        """Take over an image, on an array with its parameters."""
        with self._alone("load"):
            if self._machine is None or self._machine.params != image.params:
                self._shut()
                self._machine = _make(self._kind, image.params, self._options)
                self.params = image.params
            self._machine.load(image)

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """See :class:`spikeloom.machine.Machine`."""
        return self._loaded("run").run(spikes, potentials=potentials, record=record)

    async def run_async(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """See :class:`spikeloom.calls.Calls`."""
        return await self._loaded("run_async").run_async(spikes, potentials=potentials, record=record)

    def stream(self, *, potentials: Literal["none", "steps"] = "steps", record: Iterable[str] | None = None) -> Stream:
        """See :class:`spikeloom.stream.Stream`."""
        return self._loaded("stream").stream(potentials=potentials, record=record)

    def reset(self) -> None:
        """See :class:`spikeloom.machine.Machine`."""
        self._loaded("reset").reset()

    def probe(self, population: str) -> dict[str, Ints]:
        """See :class:`spikeloom.machine.Machine`."""
        return self._loaded("probe").probe(population)

    def counters(self) -> dict[str, int]:
        """See :class:`spikeloom.machine.Machine`."""
        return self._loaded("counters").counters()

    def close(self) -> None:
        """Close the machine, if there is one."""
        super().close()
        self._shut()

    def _shut(self) -> None:
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    def _loaded(self, verb: str) -> Machine:
        if self._machine is None:
            raise MachineError(f"No image is loaded: call load(image) before {verb}()")
        return self._machine


def _rack(kinds: Sequence[str], params: ArrayParams | str | None, board: str | None, options: dict[str, Any]) -> Machine:
    """Open each of the machines, or none."""
    from spikeloom.host.rack import Rack
    with contextlib.ExitStack() as stack:
        machines: dict[str, Machine] = {}
        for at, kind in enumerate(kinds, 1):
            name, chosen = (f"{kind} {at}", kind) if kind in KINDS else (kind, "pynq")
            if name in machines:
                raise MachineError(f"Board {name} is named twice")
            own = options if kind in KINDS else options | {"address": kind}
            machines[name] = stack.enter_context(open(chosen, params, board=board, **own))
        rack = Rack(machines)
        stack.pop_all()
    return rack


def _array(params: ArrayParams | str | None, board: str | None) -> ArrayParams | None:
    if params is not None and board is not None:
        raise MachineError("Give params or board, not both: both name the array")
    if isinstance(params, ArrayParams):
        return params
    name = board if params is None else params
    if name is None:
        return None
    try:
        return named_array(name)
    except SpikeloomError as error:
        raise MachineError(str(error)) from None


def _make(kind: str, params: ArrayParams | None, options: dict[str, Any]) -> Machine:
    if kind == "golden":
        from spikeloom.sim.golden import GoldenMachine
        return GoldenMachine(params)
    if kind == "engine":
        from spikeloom.sim.engine import EngineMachine
        return EngineMachine(params, **options)
    assert params is not None  # `open` makes the others on demand
    try:
        if kind == "rtl":
            from spikeloom.sim.compiled import open_compiled
            return open_compiled(params, **options)
        if kind == "virtual":
            from spikeloom.sim.virtual_machine import open_virtual
            return open_virtual(params, **options)
        from spikeloom.sim.cosim import open_cocotb
        return open_cocotb(params, **options)
    except ImportError as error:
        raise MachineError(f"Machine {kind!r} needs {error.name}, which is not installed: pip install 'spikeloom[{EXTRAS[kind]}]'"
                           ) from None
