"""The way out of the host port: what the mesh sends, what the host port says, and faults, as words for the host."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, later
from spikeloom.hdl.layouts import WORD, ArrayView, flit_layout, spikes_layout, struct, struct_signal
from spikeloom.hdl.queue import Queue
from spikeloom.packets import RESPONSES, Fault, Response
from spikeloom.params import DATA_BITS, ArrayParams


class Answers(Component):
    """The way to the host: words of the host port's own, flits from the mesh, and a word for every fault.

    The host port speaks when the mesh has nothing on its way, and before anything else then, so that all words keep the order in which
    they came. A fault waits a cycle in a register, to be the first of those that are raised. A flit, which is known late, is queued as it
    came, and becomes a word as it leaves.

    Members
    -------
    flits : stream of flits, in; SPIKES and DATA.
    own : stream of :data:`WORD`, in; all zeros while it is not valid.
    raised : in, a bit for each :class:`Fault`; one cycle for each time it happens.
    opcode : in. Command to name in the ERROR words of what is ``raised`` in this cycle.
    ticks : in. Numbers to put into SPIKES words, of those due in a tick of turn 0, of turn 1.
    o : stream of :data:`WORD`, out.
    settled : out, 1 bit. Every fault of earlier cycles had been answered a cycle ago.
    idle : out, 1 bit. No word is inside.
    gave_spikes : out, 1 bit. A SPIKES word was queued a cycle ago.
    """

    flits: stream.Interface
    own: stream.Interface
    raised: Signal
    opcode: Signal
    ticks: ArrayView
    o: stream.Interface
    settled: Signal
    idle: Signal
    gave_spikes: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({
            "flits": In(stream.Signature(flit_layout(params))), "own": In(stream.Signature(WORD)), "raised": In(len(Fault)),
            "opcode": In(4), "ticks": In(data.ArrayLayout(16, 2)), "o": Out(stream.Signature(WORD)), "settled": Out(1), "idle": Out(1),
            "gave_spikes": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        flit, error = self.flits.payload, struct_signal(struct(RESPONSES[Response.ERROR]))
        sent = data.StructLayout({name: spikes_layout(self.params)[name].shape for name in ("mask", "block")})
        # A word of the port or of a fault, a flit, of which ``entry`` says that it is DATA, or both: so that neither waits for the
        # other on the way in.
        m.submodules.queue = queue = Queue(data.StructLayout({
            "word": WORD, "says": 1, "flit": max(DATA_BITS, sent.size), "sends": 1, "entry": 1, "due": 1,
            "ticks": self.ticks.shape()}), 32)
        comes, leaves = queue.i.payload, queue.o.payload
        pending, first = Signal(len(Fault)), Signal(range(len(Fault)))
        for fault in reversed(Fault):
            with m.If(pending[fault]):
                m.d.comb += first.eq(fault)
        reports, reported, command = Signal(), Signal(range(len(Fault)), reset_less=True), Signal(4, reset_less=True)
        free = ~reports | (queue.i.ready & ~self.own.valid & ~self.flits.valid)
        m.d.comb += [error.opcode.eq(Response.ERROR), error.fault.eq(reported), error.command.eq(command)]
        with m.If(free):
            m.d.sync += [reports.eq(pending.any()), reported.eq(first), command.eq(later(m, self.opcode, 1, "opcode"))]
        behind = Cat(bit & pending[:number].any() for number, bit in enumerate(pending))
        m.d.sync += [pending.eq(Mux(free, behind, pending) | self.raised),
                     self.settled.eq(~((pending | self.raised).any() | reports))]

        m.d.comb += [
            self.flits.ready.eq(queue.i.ready), self.own.ready.eq(queue.i.ready),
            self.idle.eq(~(self.own.valid | queue.o.valid)),
            queue.i.valid.eq(self.own.valid | self.flits.valid | reports),
            comes.word.eq(self.own.payload), comes.says.eq(self.own.valid | ~self.flits.valid),
            comes.flit.eq(flit.payload), comes.sends.eq(self.flits.valid),
            comes.due.eq(flit.due), comes.ticks.eq(self.ticks),
            comes.entry.eq(flit.kind.as_value()[1]),  # DATA, for nothing but SPIKES and DATA comes here
        ]
        with m.If(~self.own.valid):
            m.d.comb += comes.word.data.eq(self.own.payload.data | error.as_value())
        given = later(m, self.flits.valid & self.flits.ready, 1, "given")
        m.d.comb += self.gave_spikes.eq(given & ~later(m, comes.entry, 1, "entry", reset_less=True))

        spoken = Signal()  # the word has left, the flit beside it follows
        spikes, entry = (struct_signal(struct(RESPONSES[kind])) for kind in (Response.SPIKES, Response.DATA))
        m.d.comb += [
            spikes.opcode.eq(Response.SPIKES), spikes.tick.eq(Mux(leaves.due, leaves.ticks[1], leaves.ticks[0])),
            spikes.block.eq(sent(leaves.flit[: sent.size]).block), spikes.mask.eq(sent(leaves.flit[: sent.size]).mask),
            entry.opcode.eq(Response.DATA), entry.data.eq(leaves.flit),
            self.o.valid.eq(queue.o.valid), queue.o.ready.eq(self.o.ready & (spoken | ~(leaves.says & leaves.sends))),
        ]
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += spoken.eq(leaves.says & leaves.sends & ~spoken)
        with m.If(leaves.says & ~spoken):
            m.d.comb += self.o.payload.eq(leaves.word)
        with m.Else():
            m.d.comb += self.o.payload.data.eq(Mux(leaves.entry, entry.as_value(), spikes.as_value()))
        return m
