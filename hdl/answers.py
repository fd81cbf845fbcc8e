"""The way out of the host port: what the mesh sends, what the host port says, and faults, as words for the host."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, later
from spikeloom.hdl.layouts import WORD, Kind, flit_layout, spikes_layout, struct, struct_signal
from spikeloom.hdl.queue import Queue
from spikeloom.packets import RESPONSES, Fault, Response
from spikeloom.params import ArrayParams


class Answers(Component):
    """The way to the host: words of the host port's own, flits from the mesh, and a word for every fault.

    The host port speaks when the mesh has nothing on its way, and before anything else then, so that all words keep the order in which
    they came. A word of its own waits a cycle in a register, for that it speaks is known late; and so does a fault, to
    be the first of those that are raised.

    Members
    -------
    flits : stream of flits, in.
    own : stream of :data:`WORD`, in.
    raised : in, a bit for each :class:`Fault`; one cycle for each time it happens.
    opcode : in. Command to name in the ERROR words of what is ``raised`` in this cycle.
    tick : in. Number to put into SPIKES words.
    o : stream of :data:`WORD`, out.
    settled : out, 1 bit. Every fault of earlier cycles had been answered a cycle ago.
    idle : out, 1 bit. No word is inside.
    gave_spikes : out, 1 bit. A SPIKES word was queued.
    """

    flits: stream.Interface
    own: stream.Interface
    raised: Signal
    opcode: Signal
    tick: Signal
    o: stream.Interface
    settled: Signal
    idle: Signal
    gave_spikes: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        super().__init__({
            "flits": In(stream.Signature(flit_layout(params))), "own": In(stream.Signature(WORD)), "raised": In(len(Fault)),
            "opcode": In(4), "tick": In(16), "o": Out(stream.Signature(WORD)), "settled": Out(1), "idle": Out(1), "gave_spikes": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.queue = queue = Queue(WORD, 32)
        wiring.connect(m, queue.o, wiring.flipped(self.o))
        flit = self.flits.payload
        sent = spikes_layout(self.params)(flit.payload[: spikes_layout(self.params).size])
        spikes, entry, error = (
            struct_signal(struct(RESPONSES[kind])) for kind in (Response.SPIKES, Response.DATA, Response.ERROR))
        pending, first = Signal(len(Fault)), Signal(range(len(Fault)))
        for fault in reversed(Fault):
            with m.If(pending[fault]):
                m.d.comb += first.eq(fault)
        says, said = Signal(), Signal.like(self.own.payload, name="said", reset_less=True)
        reports, reported, command = Signal(), Signal(range(len(Fault)), reset_less=True), Signal(4, reset_less=True)
        free = ~reports | (queue.i.ready & ~says & ~self.flits.valid)
        m.d.comb += [
            spikes.opcode.eq(Response.SPIKES), spikes.tick.eq(self.tick), spikes.block.eq(sent.block), spikes.mask.eq(sent.mask),
            entry.opcode.eq(Response.DATA), entry.data.eq(flit.payload),
            error.opcode.eq(Response.ERROR), error.fault.eq(reported), error.command.eq(command),
        ]
        with m.If(queue.i.ready):
            m.d.sync += [says.eq(self.own.valid), said.eq(self.own.payload)]
        with m.If(free):
            m.d.sync += [reports.eq(pending.any()), reported.eq(first), command.eq(later(m, self.opcode, 1, "opcode"))]
        behind = Cat(bit & pending[:number].any() for number, bit in enumerate(pending))
        m.d.sync += [pending.eq(Mux(free, behind, pending) | self.raised),
                     self.settled.eq(~((pending | self.raised).any() | reports))]

        is_spikes = flit.kind == Kind.SPIKES
        m.d.comb += [self.flits.ready.eq(queue.i.ready & ~says), self.own.ready.eq(queue.i.ready), self.idle.eq(~(says | queue.o.valid)),
                     queue.i.valid.eq(says | self.flits.valid | reports),
                     self.gave_spikes.eq(self.flits.valid & self.flits.ready & is_spikes)]
        with m.If(says):
            m.d.comb += queue.i.payload.eq(said)
        with m.Elif(self.flits.valid):
            m.d.comb += queue.i.payload.data.eq(Mux(is_spikes, spikes.as_value(), entry.as_value()))
        with m.Else():
            m.d.comb += queue.i.payload.data.eq(error)
        return m
