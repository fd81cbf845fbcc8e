"""Words of the host, decoded before they are obeyed: which of them are legal, what becomes of them, and the flits that they are."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import WORD, Kind, StructView, flit_layout, struct, struct_signal
from spikeloom.hdl.queue import Queue
from spikeloom.packets import COMMANDS, WORD_BITS, Command, Fault
from spikeloom.params import ArrayParams


def decoded_layout(params: ArrayParams) -> data.StructLayout:
    """A word, and what is to be done about it, so that no decision begins with a comparison.

    ``data``: without its opcode. ``opcode``: of the command to which it belongs. ``kind``, ``target``: of its flit. ``faults``: to raise
    once it is taken. One of four: ``passes``, it is taken at once; ``sends``, it is once the mesh has its flit; ``tick``; ``waits``, for a
    quiet array, and then one of the five behind it is to be done. ``early``: SPIKES that may go ahead of their tick. ``void``: a TICK that
    is illegal. ``none``, ``one``, ``two``: so many are to be done.
    """
    flags = ("last", "passes", "sends", "tick", "waits", "address", "read", "fill", "reset", "echo", "early", "void", "none", "one", "two")
    return data.StructLayout({"data": WORD_BITS - 4, "opcode": 4, "kind": Kind, "target": flit_layout(params)["target"].shape,
                              "faults": len(Fault)} | dict.fromkeys(flags, 1))


def inside(params: ArrayParams, target: StructView, single: bool = False) -> Value:
    """Whether a command's rectangle, or its first core, is one of the mesh."""
    first: Value = (target.x0 < params.columns) & (target.y0 < params.rows)
    if single:
        return first
    whole: Value = first & (target.x1 < params.columns) & (target.y1 < params.rows) & (target.x0 <= target.x1) & (target.y0 <= target.y1)
    return whole


def known(params: ArrayParams, spikes: StructView) -> Value:
    """Whether a core has the axons of a SPIKES word."""
    there: Value = (spikes.block < params.axon_blocks) & (spikes.mask[params.block:] == 0)
    return there


class Words(Component):
    """Decodes a word a cycle, ``LATENCY`` cycles after it came. Nothing of it depends on what the array does: data are told from
    commands by the count of their WRITE.

    Members
    -------
    i : stream of :data:`WORD`, in.
    o : stream of :func:`decoded_layout`, out.
    idle : out, 1 bit. No word is inside.
    """

    i: stream.Interface
    o: stream.Interface
    idle: Signal

    #: Cycles from a transfer at ``i`` to ``o.valid``.
    LATENCY = 2

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({"i": In(stream.Signature(WORD)), "o": Out(stream.Signature(decoded_layout(params))), "idle": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(decoded_layout(self.params))
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        came, raw = Signal(), struct_signal(WORD, reset_less=True)
        taken, last = came & queue.i.ready, raw.last
        commands = {kind: struct(record)(raw.data) for kind, record in COMMANDS.items()}
        write = commands[Command.WRITE]
        word = struct_signal(decoded_layout(self.params), name="decoded")
        m.d.comb += [self.i.ready.eq(~came | queue.i.ready), queue.i.valid.eq(came), queue.i.payload.eq(word),
                     self.idle.eq(~(came | queue.o.valid))]
        with m.If(self.i.ready):
            m.d.sync += [came.eq(self.i.valid), raw.eq(self.i.payload)]

        # Of a WRITE whose data come: how many are left, and where they go, if anywhere.
        writing, legal, one_left, left = Signal(), Signal(), Signal(), Signal(len(write.count), reset_less=True)
        target = struct_signal(flit_layout(self.params), name="written", reset_less=True).target
        is_kind = {kind: ~writing & (write.opcode == kind) for kind in Command}
        there_inside, writes = inside(self.params, write), is_kind[Command.WRITE]
        some = write.count != 0
        with m.If(taken & writing):
            m.d.sync += [left.eq(left - 1), one_left.eq(left == 2), writing.eq(~(last | one_left))]
        with m.Elif(taken):
            m.d.sync += [left.eq(write.count), one_left.eq(write.count == 1), legal.eq(there_inside), target.eq(word.target),
                         writing.eq(writes & some & ~last)]

        spikes, tick = commands[Command.SPIKES], commands[Command.TICK]
        sent = is_kind[Command.SPIKES] & there_inside & known(self.params, spikes)
        alone = inside(self.params, write, single=True)
        counts = [Mux(is_kind[Command.TICK], tick.count == number, write.count == number) for number in range(3)]
        m.d.comb += [
            word.data.eq(raw.data[:-4]), word.last.eq(last), word.opcode.eq(Mux(writing, Command.WRITE, write.opcode)),
            word.sends.eq(sent | (writing & legal)), word.early.eq(sent & ~last), word.tick.eq(is_kind[Command.TICK]),
            word.address.eq(writes & there_inside), word.read.eq(is_kind[Command.READ] & alone),
            word.fill.eq(is_kind[Command.READ] & ~alone), word.reset.eq(is_kind[Command.RESET]), word.echo.eq(is_kind[Command.ECHO]),
            word.waits.eq(Cat(word.address, word.read, word.fill, word.reset, word.echo).any()),
            word.passes.eq(~(word.sends | word.waits | word.tick)),
            Cat(word.none, word.one, word.two).eq(Cat(counts)), word.void.eq((tick.count == 0) | (tick.period >= self.params.phases)),
            word.faults[Fault.OPCODE].eq(~writing & ~Cat(is_kind.values()).any()),
            word.faults[Fault.TARGET].eq((is_kind[Command.SPIKES] | writes) & ~there_inside | word.fill),
            word.faults[Fault.BLOCK].eq(is_kind[Command.SPIKES] & there_inside & ~known(self.params, spikes)),
            word.faults[Fault.TRUNCATED].eq(last & Mux(writing, ~one_left, writes & some)),
        ]
        self._flit(m, word, writing, target, write)
        return m

    def _flit(self, m: Module, word: StructView, writing: Signal, written: StructView, command: StructView) -> None:
        """SPIKES for a SPIKES word, DATA for data, and else where to begin."""
        single = command.opcode == Command.READ
        with m.If(writing):
            m.d.comb += [word.kind.eq(Kind.DATA), word.target.eq(written)]
        with m.Else():
            m.d.comb += [word.target.x0.eq(command.x0), word.target.y0.eq(command.y0),
                         word.target.x1.eq(Mux(single, command.x0, command.x1)), word.target.y1.eq(Mux(single, command.y0, command.y1)),
                         word.kind.eq(Mux(command.opcode == Command.SPIKES, Kind.SPIKES, Kind.ADDRESS))]
