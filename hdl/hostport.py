"""The host port: obeys the command stream, drives the ticks, and answers."""

import enum
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.ahead import AHEAD
from spikeloom.hdl.answers import Answers
from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import COUNT_BITS, WORD, Kind, StructView, flit_layout, spikes_layout, struct, struct_signal, tick_layout
from spikeloom.hdl.words import Words
from spikeloom.packets import COMMANDS, RESPONSES, Command, Fault, Response
from spikeloom.params import DATA_BITS, ArrayParams


class State(enum.IntEnum):
    """What the host port is about. A bit for each, so that none needs to be decoded."""

    PARSE = 0       #: the next word: passed on, or obeyed once the array is quiet
    TICK = 1        #: wait until the array lets a tick end; SPIKES behind it go ahead
    OBEY = 2        #: the array is quiet: do what the word says
    READ_COUNT = 3  #: the core knows from where to read; say how many
    READING = 4     #: wait until all entries have come
    FINISH = 5      #: the packet is over; wait for a quiet array
    STATUS = 6      #: and for all ERROR words; then say so


class HostPort(Component):
    """The two 64-bit streams of :mod:`spikeloom.packets`, up to one word a cycle each, in front of the mesh.

    Words come decoded (:class:`spikeloom.hdl.words.Words`) and are done in order. SPIKES and the data of a WRITE go into the mesh at
    once; all other commands and the end of a packet wait until the array is quiet. Then a MARK that is due goes out first. While a TICK
    waits, some SPIKES behind it go ahead.

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
        m.submodules.words = self.words = words = Words(self.params)
        m.submodules.answers = self.answers = answers = Answers(self.params)
        wiring.connect(m, wiring.flipped(self.i), words.i)
        wiring.connect(m, wiring.flipped(self.mesh_o), answers.flits)
        wiring.connect(m, answers.o, wiring.flipped(self.o))
        self.state = Signal(len(State), init=1 << State.PARSE)
        # Of the word that was parsed: whether it ends the packet, how many are left to do, and a TICK's fields and whether it is illegal.
        self.last, self.left = Signal(), Signal(32, reset_less=True)
        self.none_left, self.one_left, self.two_left = Signal(), Signal(), Signal()  # so that no decision begins with a comparison
        self.command, self.void = struct_signal(struct(COMMANDS[Command.TICK]), reset_less=True), Signal()
        self.mark_due, self.ticked = Signal(), Signal()  # a MARK is; and a tick has ended in the cycle before
        # Of the running tick: its turn, whether its TICK had ``overlap``, and whether its neurons start from zero.
        self.turn, self.overlapping, self.fresh = Signal(), Signal(), Signal(init=1)
        self.ticks = Signal(16)
        self._obey(m)
        self._tick(m)
        self._flit(m)
        self._say(m)
        self._faults(m)
        m.d.comb += self.busy.eq(~(self.state[State.PARSE] & words.idle & self.idle & answers.idle) | self.i.valid | self.mark_due)
        return m

    def _obey(self, m: Module) -> None:
        """What becomes of the word that is first in line, and of the state. The array is asked last: its answer comes late."""
        parse, tick, obey, read_count, reading, finish, status = self.state
        word, mesh_takes, room = self.words.o.payload, self.mesh_i.ready, self.answers.own.ready
        self.here, self.quiet, over = parse & self.words.o.valid, self.idle & ~self.mark_due, Signal()
        self.opens, full, ahead = Signal(), Signal(), Signal(range(AHEAD + 1))  # SPIKES may go ahead, but for how many have
        self.goes_ahead = tick & self.opens & ~full & self.words.o.valid & word.early
        self.fills = obey & word.fill & ~self.none_left
        passed = self.here & (word.passes | (word.sends & mesh_takes))
        obeyed = obey & Cat(word.address & mesh_takes, word.reset, word.echo & room, word.fill & self.none_left).any()
        m.d.comb += [
            # A MARK that is due is said in the cycle in which the next tick is asked for.
            self.tick.eq(tick & ~self.void & self.idle & (~self.mark_due | room)), over.eq(self.tick & self.one_left | tick & self.void),
            self.words.o.ready.eq(Cat(passed, self.here & word.tick, self.goes_ahead & mesh_takes, obeyed, read_count & mesh_takes).any()),
            self.clear.eq(obey & word.reset),
        ]
        self._move(m, [
            (State.PARSE, passed & word.last, State.FINISH),
            (State.PARSE, self.here & word.tick, State.TICK),
            (State.PARSE, self.here & word.waits & self.quiet, State.OBEY),
            (State.TICK, over & self.last, State.FINISH),
            (State.TICK, over & ~self.last, State.PARSE),
            (State.OBEY, obeyed & self.last, State.FINISH),
            (State.OBEY, obeyed & ~self.last, State.PARSE),
            (State.OBEY, obey & word.read & mesh_takes, State.READ_COUNT),
            (State.READ_COUNT, read_count & mesh_takes, State.READING),
            (State.READING, reading & self.idle & self.last, State.FINISH),
            (State.READING, reading & self.idle & ~self.last, State.PARSE),
            (State.FINISH, finish & self.quiet, State.STATUS),
            (State.STATUS, status & self.answers.settled & room, State.PARSE)])

        filled = self.fills & room
        with m.If(parse):
            count, read = self._fields(Command.TICK).count, self._fields(Command.READ)
            m.d.sync += [self.last.eq(word.last), self.left.eq(Mux(word.tick, count, read.count)), self.none_left.eq(word.none),
                         self.one_left.eq(word.one), self.two_left.eq(word.two),
                         self.command.eq(self._fields(Command.TICK)), self.void.eq(word.void),
                         ahead.eq(0), full.eq(0)]
        with m.Else():
            with m.If(filled):
                m.d.sync += self.none_left.eq(self.one_left)
            with m.If(filled | self.tick):
                m.d.sync += self.one_left.eq(self.two_left)
            with m.If(filled | self.ticked):  # the next tick cannot end before
                m.d.sync += [self.left.eq(self.left - 1), self.two_left.eq(self.left == 3)]
            with m.If(self.goes_ahead & mesh_takes):
                m.d.sync += [ahead.eq(ahead + 1), full.eq(ahead == AHEAD - 1)]
        # Once the cores rest, nothing may keep the mesh from the tick: it is known a cycle late, when a word may go with the tick itself.
        # Right behind a tick they still seem to.
        m.d.sync += self.opens.eq(Mux(parse, word.one & ~word.last, self.one_left & ~self.last) & (~self.resting | self.ticked))

    def _fields(self, command: Command) -> StructView:
        """The word that is first in line, as one of the commands."""
        word = self.words.o.payload
        return struct(COMMANDS[command])(Cat(word.data, word.opcode))

    def _move(self, m: Module, moves: list[tuple[State, Value, State]]) -> None:
        """From state to state: no two conditions hold at once."""
        for each in State:
            comes, goes = ([when for source, when, target in moves if (source, target)[end] == each] for end in (1, 0))
            m.d.sync += self.state[each].eq(reduce(or_, comes) | (self.state[each] & ~reduce(or_, goes)))

    def _tick(self, m: Module) -> None:
        """What a tick changes: at once what is asked for in the next cycle, and phase and age a cycle later."""
        command, word = self.command, self.words.o.payload
        parsed = self._fields(Command.TICK)
        m.d.comb += [self.info.end.eq(command.end & self.one_left), self.info.fresh.eq(self.fresh), self.info.overlap.eq(command.overlap),
                     self.info.turn.eq(~self.turn)]
        m.d.sync += self.ticked.eq(self.tick)
        self.latest, self.before = Signal(16, reset_less=True), Signal(16, reset_less=True)  # numbers of the ticks before
        with m.If(self.clear):
            m.d.sync += [self.ticks.eq(0), self.fresh.eq(1)]
        with m.If(self.tick):
            m.d.sync += [self.ticks.eq(self.ticks + 1), self.latest.eq(self.ticks), self.before.eq(self.latest),
                         self.turn.eq(~self.turn), self.overlapping.eq(command.overlap), self.fresh.eq(self.info.end)]
        # The first tick of a sample ends with nothing under way: until then cores drop what the sample before still sends.
        with m.If(self.state[State.PARSE]):
            allowed = self.overlapping & ~self.fresh & ~self.mark_due
            m.d.sync += self.overlap.eq(self.here & word.tick & ~word.void & parsed.overlap & allowed)
        with m.Elif(self.tick):
            m.d.sync += self.overlap.eq(command.overlap & ~self.one_left)
        phase, age = self.info.phase, self.info.age
        with m.If(self.ticked):
            m.d.sync += phase.eq(Mux(self.fresh | (phase >= command.period), 0, phase + 1))
            with m.If(self.fresh):
                m.d.sync += age.eq(0)
            with m.Elif(~age.all()):
                m.d.sync += age.eq(age + 1)
        with m.If(self.clear):
            m.d.sync += [phase.eq(0), age.eq(0)]

    def _flit(self, m: Module) -> None:
        """What goes into the mesh. In TICK that are SPIKES for the tick that it begins."""
        tick, obey, read_count = (self.state[each] for each in (State.TICK, State.OBEY, State.READ_COUNT))
        word, flit = self.words.o.payload, self.mesh_i.payload
        spikes, packet = self._fields(Command.SPIKES), struct_signal(spikes_layout(self.params), name="packet")
        is_spikes = word.kind == Kind.SPIKES
        m.d.comb += [
            packet.mask.eq(spikes.mask), packet.block.eq(spikes.block), packet.ahead.eq(tick),
            flit.kind.eq(word.kind), flit.target.eq(word.target), flit.due.eq(self.turn ^ tick),
            flit.payload.eq(Mux(is_spikes, packet.as_value(), word.data[:DATA_BITS])),  # of an ADDRESS, too, which lies as in the word
            self.mesh_i.valid.eq(Cat(self.here & word.sends, self.goes_ahead, obey & (word.address | word.read), read_count).any()),
            self.took_spikes.eq((self.here & word.sends & is_spikes | self.goes_ahead) & self.mesh_i.ready)]
        with m.If(read_count):
            m.d.comb += [flit.kind.eq(Kind.READ), flit.payload.eq(self.left[:COUNT_BITS])]

    def _say(self, m: Module) -> None:
        """What the host port says, chosen without asking whether it says it, which is known late: a MARK that is due before anything
        that waits for a quiet array; the answer to the word at hand; or else STATUS."""
        word, own, clock = self.words.o.payload, self.answers.own, Signal(32)
        _, tick, obey, _, _, finish, status = self.state
        marks = self.idle & self.mark_due & ((self.here & word.waits) | tick | finish)
        m.d.comb += own.valid.eq(Cat(marks, self.fills, obey & word.echo, status & self.answers.settled).any())
        m.d.sync += clock.eq(clock + 1)
        with m.If(self.tick & self.one_left):
            m.d.sync += self.mark_due.eq(self.command.mark)
        with m.Elif(marks & own.ready):
            m.d.sync += self.mark_due.eq(0)

        def words(kind: Response, **values: Value) -> None:
            said = struct_signal(struct(RESPONSES[kind]), name=f"word_{kind.name.lower()}")
            m.d.comb += [said.opcode.eq(kind), *(said[name].eq(value) for name, value in values.items()),
                         own.payload.data.eq(said), own.payload.last.eq(kind == Response.STATUS)]

        with m.If(self.mark_due):
            words(Response.MARK, tick=self.latest, cycles=clock)
        with m.Elif(obey & word.echo):
            words(Response.ECHO, payload=self._fields(Command.ECHO).payload, cycles=clock)
        with m.Elif(obey):  # zeros in place of the entries of a core that does not exist
            words(Response.DATA)
        with m.Else():
            words(Response.STATUS, faults=self.faults, tick=self.ticks)

    def _faults(self, m: Module) -> None:
        """Faults of the words and of the cores; and how the answers are numbered."""
        word, raised, own, opcode = self.words.o.payload, Signal(len(Fault)), Signal(len(Fault)), Signal(4)
        void = self.state[State.TICK] & self.void
        with m.If(self.here):
            m.d.sync += opcode.eq(word.opcode)
        m.d.sync += [own.eq(Mux(self.words.o.ready, word.faults, 0) | void << Fault.COUNT),
                     self.faults.eq(Mux(self.forget, 0, self.faults) | raised)]
        m.d.comb += [
            raised.eq(own | self.core_faults[0] << Fault.ADDRESS | self.core_faults[1] << Fault.DELAY
                      | self.core_faults[2] << Fault.CURRENT),
            self.answers.raised.eq(raised), self.answers.opcode.eq(opcode),
            # What is due in the running tick was made in the one before.
            self.answers.tick.eq(Mux(self.mesh_o.payload.due == self.turn, self.before, self.latest)),
            self.stalled.eq(self.o.valid & ~self.o.ready), self.gave_spikes.eq(self.answers.gave_spikes)]
