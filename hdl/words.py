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
    quiet array, and then one of the five behind it is to be done. ``at_once``: it passes or is a TICK. ``early``: SPIKES that may go
    ahead of their tick. ``done``: a RESET, or a READ of nothing: once the array is quiet, there is nothing to say first. ``one``, ``two``:
    so many are to be done.
    """
    flags = ("last", "passes", "sends", "tick", "waits", "address", "read", "fill", "reset", "echo", "at_once", "early", "done", "one",
             "two")
    return data.StructLayout({"data": WORD_BITS - 4, "opcode": 4, "kind": Kind, "target": flit_layout(params)["target"].shape,
                              "faults": len(Fault)} | dict.fromkeys(flags, 1))


def seen(params: ArrayParams, word: Value) -> dict[str, Value]:
    """What the bits of a word say by themselves, in flags: each is at most two levels of logic behind the port.

    Which command it is; whether its rectangle is one of columns and of rows of the mesh, and its first core a core (``alone``); whether a
    core has its block, and the block its axons; whether four ticks or entries or more are to be done (``far``: 16 entries), of ticks by
    the lower and the upper bits; and whether a step may be so long.
    """
    spikes, tick, access = (struct(COMMANDS[kind])(word) for kind in (Command.SPIKES, Command.TICK, Command.WRITE))
    return {f"is_{kind.name.lower()}": access.opcode == kind for kind in Command} | {
        "columns": (access.x0 <= access.x1) & (access.x1 < params.columns), "rows": (access.y0 <= access.y1) & (access.y1 < params.rows),
        "alone": (access.x0 < params.columns) & (access.y0 < params.rows),
        "block": spikes.block < params.axon_blocks, "axons": spikes.mask[params.block:] == 0,
        "many_ticks": tick.count[2:17] != 0, "most_ticks": tick.count[17:] != 0,
        "many_entries": access.count[2:] != 0, "far": access.count[4:] != 0, "period": tick.period < params.phases}


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
        sees = seen(self.params, self.i.payload.data)
        saw = struct_signal(data.StructLayout(dict.fromkeys(sees, 1)), reset_less=True)
        taken, last = came & queue.i.ready, raw.last
        command, write = struct(COMMANDS[Command.TICK])(raw.data), struct(COMMANDS[Command.WRITE])(raw.data)
        word = struct_signal(decoded_layout(self.params), name="decoded")
        m.d.comb += [self.i.ready.eq(~came | queue.i.ready), queue.i.valid.eq(came), queue.i.payload.eq(word),
                     self.idle.eq(~(came | queue.o.valid))]
        with m.If(self.i.ready):
            m.d.sync += [came.eq(self.i.valid), raw.eq(self.i.payload), *(saw[name].eq(flag) for name, flag in sees.items())]

        # Of a WRITE whose data come: how many are left, and where they go, if anywhere.
        writing, legal, one_left, left = Signal(), Signal(), Signal(), Signal(len(write.count), reset_less=True)
        target = struct_signal(flit_layout(self.params), name="written", reset_less=True).target
        inside, known = saw.columns & saw.rows, saw.block & saw.axons
        ticks, entries = Cat(command.count[:2], saw.many_ticks | saw.most_ticks), Cat(write.count[:2], saw.many_entries)
        far = Signal()  # of ``left``, whether upper bits are set, a cycle late: it may be too large to be 2
        m.d.sync += far.eq(Mux(taken & ~writing, saw.far, left[4:] != 0))
        with m.If(taken & writing):
            m.d.sync += [left.eq(left - 1), one_left.eq((left[:4] == 2) & ~far), writing.eq(~(last | one_left))]
        with m.Elif(taken):
            m.d.sync += [left.eq(write.count), one_left.eq(entries == 1), legal.eq(inside), target.eq(word.target),
                         writing.eq(saw.is_write & (entries != 0) & ~last)]

        sent, tick = saw.is_spikes & inside & known, saw.is_tick & saw.period & (ticks != 0)
        waits = saw.is_write & inside | saw.is_read | saw.is_reset | saw.is_echo
        counts = [Mux(saw.is_tick, ticks == number, entries == number) for number in range(3)]
        m.d.comb += [
            word.data.eq(raw.data[:-4]), word.last.eq(last), word.opcode.eq(Mux(writing, Command.WRITE, write.opcode)),
            word.sends.eq(Mux(writing, legal, sent)), word.tick.eq(~writing & tick), word.waits.eq(~writing & waits),
            word.passes.eq(Mux(writing, ~legal, ~(sent | tick | waits))),
            word.at_once.eq(Mux(writing, ~legal, ~(sent | waits))),
            word.early.eq(~writing & sent & ~last),
            word.address.eq(~writing & saw.is_write & inside), word.read.eq(~writing & saw.is_read & saw.alone),
            word.fill.eq(~writing & saw.is_read & ~saw.alone), word.reset.eq(~writing & saw.is_reset), word.echo.eq(~writing & saw.is_echo),
            word.done.eq(~writing & (saw.is_reset | saw.is_read & ~saw.alone & counts[0])), word.one.eq(counts[1]), word.two.eq(counts[2]),
            word.faults[Fault.OPCODE].eq(~writing & ~Cat(saw[f"is_{kind.name.lower()}"] for kind in Command).any()),
            word.faults[Fault.TARGET].eq(~writing & ((saw.is_spikes | saw.is_write) & ~inside | saw.is_read & ~saw.alone)),
            word.faults[Fault.BLOCK].eq(~writing & saw.is_spikes & inside & ~known),
            word.faults[Fault.TRUNCATED].eq(last & Mux(writing, ~one_left, saw.is_write & (entries != 0))),
            word.faults[Fault.COUNT].eq(~writing & saw.is_tick & ~tick),
        ]
        self._flit(m, word, writing, target, write, saw)
        return m

    def _flit(self, m: Module, word: StructView, writing: Signal, written: StructView, command: StructView,
              saw: StructView) -> None:
        """SPIKES for a SPIKES word, DATA for data, and else where to begin."""
        with m.If(writing):
            m.d.comb += [word.kind.eq(Kind.DATA), word.target.eq(written)]
        with m.Else():
            m.d.comb += [word.target.x0.eq(command.x0), word.target.y0.eq(command.y0),
                         word.target.x1.eq(Mux(saw.is_read, command.x0, command.x1)),
                         word.target.y1.eq(Mux(saw.is_read, command.y0, command.y1)),
                         word.kind.eq(Mux(saw.is_spikes, Kind.SPIKES, Kind.ADDRESS))]
