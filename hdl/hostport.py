"""The host port: obeys the command stream, drives the ticks, and answers."""

import enum

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
    WRITE = 2       #: the array is quiet: tell the cores where entries begin
    READ = 3        #: the array is quiet: tell the core from where to read
    READ_COUNT = 4  #: say how many
    READING = 5     #: wait until all entries have come
    OBEY = 6        #: the array is quiet: RESET, or answer a READ that no core can
    ECHO = 7        #: the array is quiet: say so
    FINISH = 8      #: the packet is over; wait for a quiet array
    STATUS = 9      #: and for all ERROR words; then say so


class HostPort(Component):
    """The two 64-bit streams of :mod:`spikeloom.packets`, up to one word a cycle each, in front of the mesh.

    Words come decoded (:class:`spikeloom.hdl.words.Words`) and are done in order. SPIKES and the data of a WRITE go into the mesh at
    once; all other commands and the end of a packet wait until the array is quiet. Then a MARK that is due goes out first. While a TICK
    waits, some SPIKES behind it go ahead. Whatever else a decision asks for is a flag kept beside the state, for the array's answer, two
    levels of logic with what hangs on it, comes late.

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
        self.away, self.behind = Signal(), Signal(len(State) - 1)  # from PARSE, and where; so all begin with 0, and 0 is a reset for all
        self.state = Cat(~self.away, self.behind)
        # Of the word that was parsed: whether it ends the packet, how many are left to do, and a TICK's fields.
        self.last, self.left = Signal(), Signal(32, reset_less=True)
        self.one_left, self.two_left = Signal(), Signal()  # so that no decision begins with a comparison
        self.done = Signal()  # in OBEY: no word of an answer is left to say
        self.command = struct_signal(struct(COMMANDS[Command.TICK]), reset_less=True)
        # A tick is asked for: in TICK, but not right behind a tick, which the array knows a cycle late.
        self.asks, self.asks_last, self.asks_mark = Signal(), Signal(), Signal()  # any; the last of its TICK; and of one with ``mark``
        self.ticked, self.began = Signal(), Signal()  # the array got a tick, or that or RESET, a cycle ago
        self.mark_due = Signal()
        # Of the running tick: its turn, whether its TICK had ``overlap``, and whether its neurons start from zero; and of what is sent.
        self.turn, self.overlapping, self.fresh, self.due = Signal(), Signal(), Signal(init=1), Signal()
        self.ticks = Signal(16)
        self._obey(m)
        self._tick(m)
        self._flit(m)
        self._say(m)
        self._faults(m)
        m.d.comb += self.busy.eq(~(self.state[State.PARSE] & words.idle & self.idle & ~self.began & answers.idle) | self.i.valid
                                 | self.mark_due)
        return m

    def _obey(self, m: Module) -> None:
        """What becomes of the word that is first in line."""
        parse, tick, write, _, read_count, _, obey, echo, _, _ = self.state
        word, mesh_takes, room = self.words.o.payload, self.mesh_i.ready, self.answers.own.ready
        self.opens, full, ahead = Signal(), Signal(), Signal(range(AHEAD))  # SPIKES may go ahead, but for how many have
        self.here = parse & self.words.o.valid
        self.goes_ahead = self.opens & self.words.o.valid & word.early
        self.fills = obey & ~self.done
        self.obeyed = self.done | echo & room | write & mesh_takes
        m.d.comb += [
            # A MARK that is due is said in the cycle in which the next tick is asked for.
            self.tick.eq(self.asks & (~self.mark_due | room) & self.idle),
            self.words.o.ready.eq(self.here & word.at_once | self.done | echo & room
                                  | (self.here & word.sends | self.goes_ahead | write | read_count) & mesh_takes),
            self.clear.eq(obey & word.reset),
        ]
        first, again, mark = self.here & word.tick, tick & ~self.tick, self._fields(Command.TICK).mark
        m.d.sync += [self.ticked.eq(self.tick), self.began.eq(self.tick | self.clear), self.asks.eq(first | again),
                     self.asks_last.eq(first & word.one | again & self.one_left),
                     self.asks_mark.eq(first & word.one & mark | again & self.one_left & self.command.mark)]
        self._move(m)

        filled, sent, fills_up, far = self.fills & room, self.goes_ahead & mesh_takes, Signal(), Signal()
        m.d.comb += fills_up.eq(full | (sent & ahead.all()))
        with m.If(parse):
            count, read = self._fields(Command.TICK).count, self._fields(Command.READ)
            m.d.sync += [self.last.eq(word.last), self.left.eq(Mux(word.tick, count, read.count)),
                         self.one_left.eq(word.one), self.two_left.eq(word.two),
                         self.command.eq(self._fields(Command.TICK)), ahead.eq(0), full.eq(0)]
        with m.Else():
            with m.If(filled | self.tick):
                m.d.sync += self.one_left.eq(self.two_left)
            with m.If(filled | self.ticked):  # the next tick cannot end before
                m.d.sync += [self.left.eq(self.left - 1), self.two_left.eq((self.left[:COUNT_BITS] == 3) & ~far)]
            with m.If(sent):
                m.d.sync += ahead.eq(ahead + 1)
            m.d.sync += full.eq(fills_up)
        # The upper bits of how many are left, a cycle late: a READ has none, and the first tick does not end so soon.
        m.d.sync += far.eq(~parse & self.left[COUNT_BITS:].any())
        # Once the cores rest, nothing may keep the mesh from the tick: it is known a cycle late, when a word may go with the tick itself.
        # Right behind a tick they still seem to. They do when a tick ends, so that none goes ahead of one that has.
        m.d.sync += self.opens.eq((self.here & word.tick & word.one & ~word.last | tick & self.one_left & ~self.last & ~fills_up)
                                  & (~self.resting | self.ticked))

    def _move(self, m: Module) -> None:
        """From state to state."""
        _, tick, write, read, read_count, reading, obey, echo, finish, status = self.state
        word, mesh_takes, room = self.words.o.payload, self.mesh_i.ready, self.answers.own.ready
        quiet = ~self.began & ~self.mark_due  # if the array is idle
        over = self.asks_last & (~self.mark_due | room) | reading  # likewise
        calls = self.here & quiet  # and if the word waits for that
        passed = self.here & (word.passes | word.sends & mesh_takes)
        begins = self.idle & (calls & (word.address | word.read))
        comes = self.idle & (over & ~self.last) | self.obeyed & ~self.last | status & self.answers.settled & room
        leaves = self.here & (word.tick | word.last & (word.passes | word.sends & mesh_takes)) | self.idle & (calls & word.waits)
        m.d.sync += self.away.eq(self.away | leaves)
        with m.If(comes):  # never both
            m.d.sync += self.away.eq(0)
        following = {
            State.TICK: self.here & word.tick | tick & ~(self.idle & (self.asks_last & (~self.mark_due | room))),
            State.WRITE: self.idle & (calls & word.address) | write & ~mesh_takes,
            State.READ: self.idle & (calls & word.read) | read & ~mesh_takes,
            State.READ_COUNT: read & mesh_takes | read_count & ~mesh_takes,
            State.READING: read_count & mesh_takes | reading & ~self.idle,
            State.OBEY: self.idle & (calls & (word.fill | word.reset)) | obey & ~self.done,
            State.ECHO: self.idle & (calls & word.echo) | echo & ~room,
            State.FINISH: self.idle & (over & self.last) | self.obeyed & self.last | passed & word.last | finish & ~(self.idle & quiet),
            State.STATUS: self.idle & (finish & quiet) | status & ~(self.answers.settled & room),
        }
        self.begins = Signal()  # in WRITE, READ or READ_COUNT
        m.d.sync += [
            self.behind.eq(Cat(following.values())),
            self.begins.eq(begins | (write | read_count) & ~mesh_takes | read),
            self.done.eq(self.idle & (calls & word.done) | self.fills & room & self.one_left),
        ]

    def _fields(self, command: Command) -> StructView:
        """The word that is first in line, as one of the commands."""
        word = self.words.o.payload
        return struct(COMMANDS[command])(Cat(word.data, word.opcode))

    def _tick(self, m: Module) -> None:
        """What a tick changes: at once what is asked for in the next cycle, and phase and age a cycle later."""
        command, word = self.command, self.words.o.payload
        parsed = self._fields(Command.TICK)
        m.d.comb += [self.info.end.eq(command.end & self.one_left), self.info.fresh.eq(self.fresh), self.info.overlap.eq(command.overlap),
                     self.info.turn.eq(~self.turn)]
        self.latest, self.before = Signal(16, reset_less=True), Signal(16, reset_less=True)  # numbers of the ticks before
        with m.If(self.tick):
            m.d.sync += [self.ticks.eq(self.ticks + 1), self.latest.eq(self.ticks), self.before.eq(self.latest),
                         self.turn.eq(~self.turn), self.overlapping.eq(command.overlap), self.fresh.eq(self.info.end)]
        with m.If(self.clear):
            m.d.sync += [self.ticks.eq(0), self.fresh.eq(1)]
        with m.If(self.here & word.tick | self.tick & ~self.asks_last):  # what goes ahead is due a tick later; and is not ahead after it
            m.d.sync += self.due.eq(~self.due)
        # The first tick of a sample ends with nothing under way: until then cores drop what the sample before still sends.
        with m.If(self.state[State.PARSE]):
            allowed = self.overlapping & ~self.fresh & ~self.mark_due
            m.d.sync += self.overlap.eq(self.here & word.tick & parsed.overlap & allowed)
        with m.Elif(self.tick):
            m.d.sync += self.overlap.eq(command.overlap & ~self.one_left)
        phase, age = self.info.phase, self.info.age
        with m.If(self.ticked):
            m.d.sync += phase.eq(Mux(self.fresh | (phase >= command.period), 0, phase + 1))
            with m.If(self.fresh):
                m.d.sync += age.eq(0)
            with m.Elif(~age.all()):
                m.d.sync += age.eq(age + 1)
        with m.If(self.began & ~self.ticked):
            m.d.sync += [phase.eq(0), age.eq(0)]

    def _flit(self, m: Module) -> None:
        """What goes into the mesh. In TICK that are SPIKES for the tick that it begins."""
        tick, read_count = self.state[State.TICK], self.state[State.READ_COUNT]
        word, flit = self.words.o.payload, self.mesh_i.payload
        spikes, packet = self._fields(Command.SPIKES), struct_signal(spikes_layout(self.params), name="packet")
        is_spikes = word.kind == Kind.SPIKES
        m.d.comb += [
            packet.mask.eq(spikes.mask), packet.block.eq(spikes.block),
            flit.arrival.direct.eq(is_spikes & ~tick), flit.arrival.ahead.eq(tick), flit.arrival.access.eq(~is_spikes),
            flit.kind.eq(word.kind), flit.target.eq(word.target), flit.due.eq(self.due),
            flit.payload.eq(Mux(is_spikes, packet.as_value(), word.data[:DATA_BITS])),  # of an ADDRESS, too, which lies as in the word
            self.mesh_i.valid.eq(self.here & word.sends | self.goes_ahead | self.begins),
            self.took_spikes.eq((self.here & word.sends & is_spikes | self.goes_ahead) & self.mesh_i.ready)]
        with m.If(read_count):
            m.d.comb += [flit.kind.eq(Kind.READ), flit.payload.eq(self.left[:COUNT_BITS])]

    def _say(self, m: Module) -> None:
        """What the host port says, chosen without asking whether it says it, which is known late: a MARK that is due before anything
        that waits for a quiet array; the answer to the word at hand; or else STATUS."""
        word, own, clock = self.words.o.payload, self.answers.own, Signal(32)
        obey, echo, finish, status = (self.state[each] for each in (State.OBEY, State.ECHO, State.FINISH, State.STATUS))
        marks = self.idle & (self.mark_due & (self.asks | (self.here & word.waits | finish) & ~self.began))
        m.d.comb += own.valid.eq(marks | self.fills | echo | status & self.answers.settled)
        m.d.sync += clock.eq(clock + 1)
        m.d.sync += self.mark_due.eq(self.idle & (self.asks_mark & (~self.mark_due | own.ready)) | self.mark_due & ~(marks & own.ready))

        def words(kind: Response, **values: Value) -> None:
            said = struct_signal(struct(RESPONSES[kind]), name=f"word_{kind.name.lower()}")
            m.d.comb += [said.opcode.eq(kind), *(said[name].eq(value) for name, value in values.items()),
                         own.payload.data.eq(said), own.payload.last.eq(kind == Response.STATUS)]

        with m.If(self.mark_due):
            words(Response.MARK, tick=self.latest, cycles=clock)
        with m.Elif(echo):
            words(Response.ECHO, payload=self._fields(Command.ECHO).payload, cycles=clock)
        with m.Elif(obey):  # zeros in place of the entries of a core that does not exist
            words(Response.DATA)
        with m.Else():
            words(Response.STATUS, faults=self.faults, tick=self.ticks)

    def _faults(self, m: Module) -> None:
        """Faults of the words and of the cores; and how the answers are numbered."""
        word, raised, own, opcode = self.words.o.payload, Signal(len(Fault)), Signal(len(Fault)), Signal(4)
        with m.If(self.here):
            m.d.sync += opcode.eq(word.opcode)
        m.d.sync += [own.eq(Mux(self.words.o.ready, word.faults, 0)),
                     self.faults.eq(Mux(self.forget, 0, self.faults) | raised)]
        m.d.comb += [
            raised.eq(own | self.core_faults[0] << Fault.ADDRESS | self.core_faults[1] << Fault.DELAY
                      | self.core_faults[2] << Fault.CURRENT),
            self.answers.raised.eq(raised), self.answers.opcode.eq(opcode),
            # What is due in the running tick was made in the one before.
            self.answers.tick.eq(Mux(self.mesh_o.payload.due == self.turn, self.before, self.latest)),
            self.stalled.eq(self.o.valid & ~self.o.ready), self.gave_spikes.eq(self.answers.gave_spikes)]
