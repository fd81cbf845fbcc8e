"""The host port: obeys the command stream, drives the ticks, and answers."""

from collections.abc import Callable
from functools import partial

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.ahead import AHEAD
from spikeloom.hdl.answers import WORD, Answers
from spikeloom.hdl.commands import inside, known, offer
from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import (
    COUNT_BITS,
    Kind,
    StructView,
    address_layout,
    flit_layout,
    spikes_layout,
    struct,
    struct_signal,
    tick_layout,
)
from spikeloom.packets import COMMANDS, RESPONSES, Command, Fault, Response
from spikeloom.params import ArrayParams


class HostPort(Component):
    """The two 64-bit streams of :mod:`spikeloom.packets`, up to one word a cycle each, in front of the mesh.

    Commands are done in order. SPIKES and WRITE go into the mesh at once; TICK, READ, RESET, ECHO and the end of a packet wait
    until the array is quiet. Then a MARK that is due goes out first. While a TICK waits, some SPIKES behind it go ahead.

    Members
    -------
    i, o : streams of :data:`WORD`, from and to the host.
    mesh_i, mesh_o : streams of flits, to and from the mesh.
    tick, info, clear, overlap : out; idle, resting, core_faults : in. As in :class:`spikeloom.hdl.mesh.Mesh`.
    forget : in, 1 bit. Clear the sticky faults.
    faults : out, a sticky bit for each :class:`Fault`.
    busy : out, 1 bit. Something is under way.
    took_spikes, gave_spikes : out, 1 bit. A SPIKES word went into the mesh; one was queued for the host.
    stalled : out, 1 bit. The host did not take a word that waits.
    """

    i: stream.Interface
    o: stream.Interface
    mesh_i: stream.Interface
    mesh_o: stream.Interface
    tick: Signal
    info: StructView
    clear: Signal
    overlap: Signal
    idle: Signal
    resting: Signal
    core_faults: Signal
    forget: Signal
    faults: Signal
    busy: Signal
    took_spikes: Signal
    gave_spikes: Signal
    stalled: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({
            "i": In(stream.Signature(WORD)), "o": Out(stream.Signature(WORD)), "mesh_i": Out(flit), "mesh_o": In(flit),
            "tick": Out(1), "info": Out(tick_layout(params)), "clear": Out(1), "overlap": Out(1), "idle": In(1), "resting": In(1),
            "core_faults": In(3), "forget": In(1), "faults": Out(len(Fault)), "busy": Out(1), "took_spikes": Out(1), "gave_spikes": Out(1),
            "stalled": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.answers = self.answers = answers = Answers(self.params)
        wiring.connect(m, wiring.flipped(self.mesh_o), answers.flits)
        wiring.connect(m, answers.o, wiring.flipped(self.o))
        self.command = {kind: struct(record)(self.i.payload.data) for kind, record in COMMANDS.items()}
        self.raised, self.own_faults = Signal(len(Fault)), Signal(len(Fault))
        self.clock, self.ticks, self.mark_due = Signal(32), Signal(16), Signal()
        self.phase, self.age, self.fresh = Signal.like(self.info.phase), Signal.like(self.info.age), Signal(init=1)
        self.opcode, self.last, self.left = Signal(4), Signal(), Signal(32)
        self.none_left, self.one_left = Signal(), Signal()  # of `left`, so that no decision begins with a comparison of all its bits
        self.ahead = Signal(range(AHEAD + 1))  # packets sent for the tick that the TICK at hand begins
        self.access = struct_signal(struct(COMMANDS[Command.WRITE]))
        self.turn, self.overlapping = Signal(), Signal()  # of the running tick: its turn, and whether its TICK had ``overlap``
        m.d.comb += [
            self.raised.eq(self.own_faults | self.core_faults[0] << Fault.ADDRESS | self.core_faults[1] << Fault.DELAY
                           | self.core_faults[2] << Fault.CURRENT),
            answers.raised.eq(self.raised), answers.opcode.eq(self.opcode),
            # What is due in the running tick was made in the one before.
            answers.tick.eq(self.ticks - 1 - (self.mesh_o.payload.due == self.turn)), self.mesh_i.payload.due.eq(self.turn),
            self.stalled.eq(self.o.valid & ~self.o.ready), self.gave_spikes.eq(answers.gave_spikes),
            self.info.phase.eq(self.phase), self.info.age.eq(self.age), self.info.fresh.eq(self.fresh),
        ]
        m.d.sync += [self.clock.eq(self.clock + 1), self.faults.eq(Mux(self.forget, 0, self.faults) | self.raised)]
        with m.FSM() as machine:
            with m.State("PARSE"):
                self._parse(m)
            with m.State("TICK"):
                self._tick(m)
            with m.State("WRITE"):
                self._write(m)
            with m.State("READ"):
                self._read(m)
            with m.State("READ_COUNT"):
                self._read_count(m)
            with m.State("READING"):
                self._when_quiet(m, lambda: self._proceed(m, self.last))
            for state, do in (("FILL", self._fill), ("RESET", self._reset), ("ECHO", self._echo), ("FINISH", self._finish)):
                with m.State(state):
                    self._when_quiet(m, partial(do, m))
            m.d.comb += self.busy.eq(~machine.ongoing("PARSE") | self.i.valid | ~self.idle | self.mark_due | self.o.valid)
        # What the port says is chosen without asking whether it says it, which is known late.
        with m.If(self.mark_due):
            self._word(m, Response.MARK, tick=self.ticks - 1, cycles=self.clock)
        with m.Elif(machine.ongoing("FILL")):
            self._word(m, Response.DATA)
        with m.Elif(machine.ongoing("ECHO")):
            self._word(m, Response.ECHO, payload=self.left, cycles=self.clock)
        with m.Else():
            self._word(m, Response.STATUS, faults=self.faults, tick=self.ticks)
        return m

    # Pieces that several states share.

    def _proceed(self, m: Module, last: Value) -> None:
        """On to the next command, or to the end of the packet."""
        with m.If(last):
            m.next = "FINISH"
        with m.Else():
            m.next = "PARSE"

    def _count(self, m: Module, count: Value) -> None:
        """So many are left,"""
        m.d.sync += [self.left.eq(count), self.none_left.eq(count == 0), self.one_left.eq(count == 1)]

    def _count_down(self, m: Module) -> None:
        """and now one less."""
        m.d.sync += [self.left.eq(self.left - 1), self.none_left.eq(self.one_left), self.one_left.eq(self.left == 2)]

    def _word(self, m: Module, kind: Response, **values: Value) -> None:
        """What the port says when it next says something."""
        word = struct_signal(struct(RESPONSES[kind]), name=f"word_{kind.name.lower()}")
        m.d.comb += [word.opcode.eq(kind), *(word[name].eq(value) for name, value in values.items()),
                     self.answers.own.payload.data.eq(word), self.answers.own.payload.last.eq(kind == Response.STATUS)]

    def _say(self, m: Module) -> Value:
        """Offer the state's word to the host; returns whether it was taken."""
        m.d.comb += self.answers.own.valid.eq(1)
        return self.answers.own.ready

    def _when_quiet(self, m: Module, then: Callable[[], None]) -> None:
        """Do it once the array is quiet and a MARK that was due has gone out."""
        with m.If(self.idle & self.mark_due):
            taken = self._say(m)
            with m.If(taken):
                m.d.sync += self.mark_due.eq(0)
        with m.Elif(self.idle):
            then()

    # The states.

    def _parse(self, m: Module) -> None:
        take, last = self.i.ready, self.i.payload.last
        command = self.command
        with m.If(self.i.valid):
            m.d.sync += [self.last.eq(last), self.opcode.eq(command[Command.RESET].opcode)]
            with m.Switch(command[Command.RESET].opcode):
                with m.Case(Command.NOP):
                    m.d.comb += take.eq(1)
                    self._proceed(m, last)
                with m.Case(Command.SPIKES):
                    self._parse_spikes(m)
                with m.Case(Command.TICK):
                    tick = command[Command.TICK]
                    m.d.comb += take.eq(1)
                    self._count(m, tick.count)
                    m.d.sync += self.access.eq(self.i.payload.data)
                    with m.If((tick.count != 0) & (tick.period < self.params.phases)):
                        m.next = "TICK"
                    with m.Else():
                        m.d.comb += self.own_faults[Fault.COUNT].eq(1)
                        self._proceed(m, last)
                with m.Case(Command.WRITE):
                    self._parse_write(m)
                with m.Case(Command.READ):
                    read = command[Command.READ]
                    m.d.comb += take.eq(1)
                    self._count(m, read.count)
                    m.d.sync += self.access.eq(read)
                    with m.If(~inside(self.params, read, single=True)):
                        m.d.comb += self.own_faults[Fault.TARGET].eq(1)
                        m.next = "FILL"
                    with m.Elif(read.count == 0):
                        self._proceed(m, last)
                    with m.Else():
                        m.next = "READ"
                with m.Case(Command.RESET):
                    m.d.comb += take.eq(1)
                    m.next = "RESET"
                with m.Case(Command.ECHO):
                    m.d.comb += take.eq(1)
                    m.d.sync += self.left.eq(command[Command.ECHO].payload)
                    m.next = "ECHO"
                with m.Default():
                    m.d.comb += [take.eq(1), self.own_faults[Fault.OPCODE].eq(1)]
                    self._proceed(m, last)

    def _parse_spikes(self, m: Module) -> None:
        take, last, spikes = self.i.ready, self.i.payload.last, self.command[Command.SPIKES]
        there = inside(self.params, spikes)
        with m.If(there & known(self.params, spikes)):
            self._pass_spikes(m, spikes)
        with m.Else():
            m.d.comb += [take.eq(1), self.own_faults[Fault.TARGET].eq(~there), self.own_faults[Fault.BLOCK].eq(there)]
        with m.If(take):
            self._proceed(m, last)

    def _pass_spikes(self, m: Module, spikes: StructView, ahead: int = 0) -> None:
        """Offer the SPIKES word to the mesh."""
        payload = struct_signal(spikes_layout(self.params), name="ahead" if ahead else "spikes")
        m.d.comb += [payload.mask.eq(spikes.mask), payload.block.eq(spikes.block), payload.ahead.eq(ahead),
                     self.i.ready.eq(self.mesh_i.ready), self.took_spikes.eq(self.i.ready), self.mesh_i.payload.due.eq(self.turn ^ ahead)]
        offer(m, self.mesh_i, Kind.SPIKES, payload.as_value(), spikes)

    def _parse_write(self, m: Module) -> None:
        take, last, write = self.i.ready, self.i.payload.last, self.command[Command.WRITE]
        place = struct_signal(address_layout())
        m.d.comb += [place.memory.eq(write.memory), place.address.eq(write.address)]
        self._count(m, write.count)
        m.d.sync += self.access.eq(write)
        with m.If(inside(self.params, write)):
            self._when_quiet(m, lambda: self._begin_write(m, place, write))
        with m.Else():
            m.d.comb += [take.eq(1), self.own_faults[Fault.TARGET].eq(1)]
        with m.If(take):
            with m.If((write.count != 0) & ~last):
                m.next = "WRITE"
            with m.Else():
                m.d.comb += self.own_faults[Fault.TRUNCATED].eq(write.count != 0)
                self._proceed(m, last)

    def _begin_write(self, m: Module, place: StructView, write: StructView) -> None:
        """Say where, in a quiet array: an update that still runs would write the same memories."""
        offer(m, self.mesh_i, Kind.ADDRESS, place.as_value(), write)
        m.d.comb += self.i.ready.eq(self.mesh_i.ready)

    def _write(self, m: Module) -> None:
        """One data word after another; those for a rectangle outside the mesh are dropped, its fault was raised."""
        take, last = self.i.ready, self.i.payload.last
        with m.If(self.i.valid):
            with m.If(inside(self.params, self.access)):
                offer(m, self.mesh_i, Kind.DATA, self.i.payload.data, self.access)
                m.d.comb += take.eq(self.mesh_i.ready)
            with m.Else():
                m.d.comb += take.eq(1)
            with m.If(take):
                self._count_down(m)
                with m.If(last | self.one_left):
                    m.d.comb += self.own_faults[Fault.TRUNCATED].eq(~self.one_left)
                    self._proceed(m, last)

    def _tick(self, m: Module) -> None:
        command = struct(COMMANDS[Command.TICK])(self.access.as_value())
        over = self.one_left
        # The first tick of a sample ends with nothing under way: until then cores drop what the sample before still sends.
        m.d.comb += self.overlap.eq(command.overlap & self.overlapping & ~self.fresh & ~self.mark_due)

        def advance() -> None:
            self._count_down(m)
            m.d.comb += [self.tick.eq(1), self.info.end.eq(command.end & over), self.info.overlap.eq(command.overlap),
                         self.info.turn.eq(~self.turn)]
            m.d.sync += [self.turn.eq(~self.turn), self.overlapping.eq(command.overlap),
                         self.ticks.eq(self.ticks + 1), self.fresh.eq(self.info.end),
                         self.phase.eq(Mux(self.info.end | (self.phase >= command.period), 0, self.phase + 1))]
            with m.If(self.info.end):
                m.d.sync += self.age.eq(0)
            with m.Elif(~self.age.all()):
                m.d.sync += self.age.eq(self.age + 1)
            with m.If(over):
                m.d.sync += [self.mark_due.eq(command.mark), self.ahead.eq(0)]
                self._proceed(m, self.last)

        self._when_quiet(m, advance)
        # The spikes behind this command are for the tick that it begins. Once the cores rest, nothing may keep the mesh from it.
        spikes = self.command[Command.SPIKES]
        with m.If(self.i.valid & ~self.i.payload.last & ~self.last & (spikes.opcode == Command.SPIKES) & over
                  & (self.ahead != AHEAD) & ~self.resting & inside(self.params, spikes) & known(self.params, spikes)):
            self._pass_spikes(m, spikes, ahead=1)
            with m.If(self.i.ready):
                m.d.sync += self.ahead.eq(self.ahead + 1)

    def _read(self, m: Module) -> None:
        place = struct_signal(address_layout(), name="read_place")
        m.d.comb += [place.memory.eq(self.access.memory), place.address.eq(self.access.address)]

        def ask() -> None:
            offer(m, self.mesh_i, Kind.ADDRESS, place.as_value(), self.access, single=True)
            with m.If(self.mesh_i.ready):
                m.next = "READ_COUNT"

        self._when_quiet(m, ask)

    def _read_count(self, m: Module) -> None:
        offer(m, self.mesh_i, Kind.READ, self.left[:COUNT_BITS], self.access, single=True)
        with m.If(self.mesh_i.ready):
            m.next = "READING"

    def _fill(self, m: Module) -> None:
        """Zeros in place of the entries of a core that does not exist."""
        with m.If(self.none_left):
            self._proceed(m, self.last)
        with m.Else():
            taken = self._say(m)
            with m.If(taken):
                self._count_down(m)

    def _reset(self, m: Module) -> None:
        m.d.comb += self.clear.eq(1)
        m.d.sync += [self.ticks.eq(0), self.phase.eq(0), self.age.eq(0), self.fresh.eq(1)]
        self._proceed(m, self.last)

    def _echo(self, m: Module) -> None:
        with m.If(self._say(m)):
            self._proceed(m, self.last)

    def _finish(self, m: Module) -> None:
        with m.If(self.answers.settled):
            taken = self._say(m)
            with m.If(taken):
                m.next = "PARSE"
