"""The host port: obeys the command stream, drives the ticks, and answers."""

import enum

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.ahead import AHEAD
from spikeloom.hdl.answers import Answers
from spikeloom.hdl.component import Component, later
from spikeloom.hdl.layouts import COUNT_BITS, WORD, Kind, StructView, flit_layout, spikes_layout, struct, struct_signal, tick_layout
from spikeloom.hdl.words import Words
from spikeloom.packets import COMMANDS, RESPONSES, Command, Fault, Response
from spikeloom.params import DATA_BITS, ArrayParams


class State(enum.IntEnum):
    """What the host port is about. A bit for each, so that none needs to be decoded."""

    PARSE = 0       #: the next word: passed on, or obeyed once the array is quiet
    TICK = 1        #: wait until the array lets a tick end; SPIKES behind it go ahead
    READ = 2        #: the array is quiet: tell the core from where to read
    READ_COUNT = 3  #: say how many
    READING = 4     #: wait until all entries have come
    FILL = 5        #: the array is quiet: answer a READ that no core can
    ECHO = 6        #: the array is quiet: say so
    DONE = 7        #: the array is quiet: RESET; tell the cores where entries begin, which they take at once; or all of a FILL is said
    FINISH = 8      #: the packet is over; wait for a quiet array
    STATUS = 9      #: and for all ERROR words; then say so


class HostPort(Component):
    """The two 64-bit streams of :mod:`spikeloom.packets`, up to one word a cycle each, in front of the mesh.

    Words come decoded (:class:`spikeloom.hdl.words.Words`) and are done in order. SPIKES and the data of a WRITE go into the mesh at
    once; all other commands and the end of a packet wait until the array is quiet. Then a MARK that is due goes out first. While a TICK
    waits, some SPIKES behind it go ahead. Whatever else a decision asks for is a flag kept beside the state, for the array's answer, two
    levels of logic with what hangs on it, comes late: where it can, it is an enable.

    Members
    -------
    i, o : streams of :data:`WORD`, from and to the host.
    mesh_i, mesh_o : streams of flits, to and from the mesh.
    tick, info, clear, overlap : out; idle, resting, core_faults : in. As in :class:`spikeloom.hdl.mesh.Mesh`.
    forget : in, 1 bit. Clear the sticky faults.
    faults : out, a sticky bit for each :class:`Fault`.
    busy : out, 1 bit. Something was under way a cycle ago.
    took_spikes, gave_spikes : out, 1 bit. A SPIKES word went into the mesh; one was queued for the host a cycle ago.
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
            "tick": Out(1), "info": Out(tick_layout(params)), "clear": Out(1), "overlap": Out(2), "idle": In(4), "resting": In(1),
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
        self.command = struct_signal(struct(COMMANDS[Command.TICK]), reset_less=True)
        # A tick is asked for: in TICK, but not right behind a tick, which the array knows a cycle late.
        self.asks, self.asks_last, self.asks_mark = Signal(), Signal(), Signal()  # any; the last of its TICK; and of one with ``mark``
        self.ticked, self.began = Signal(), Signal()  # the array got a tick, or that or RESET, a cycle ago; that it got it is known late
        self.marked, self.mark_due = Signal(), Signal()  # it got the tick of a MARK; which is due from the next cycle on
        # Of the running tick: its turn, whether its TICK had ``overlap``, and whether its neurons start from zero.
        self.turn, self.overlapping, self.fresh = Signal(), Signal(), Signal(init=1)
        self.ticks = Signal(16)
        self._obey(m)
        self._tick(m)
        self._flit(m)
        self._say(m)
        self._faults(m)
        here = Cat(self.away, self.began, self.mark_due, self.i.valid, ~words.idle, ~answers.idle).any()
        m.d.comb += self.busy.eq(later(m, here, 1, "busy_here") | later(m, ~self.idle.all(), 1, "busy_there"))
        return m

    def _obey(self, m: Module) -> None:
        """What becomes of the word that is first in line."""
        parse, tick, _, read_count, _, fill, echo, done, _, _ = self.state
        word, mesh_takes, room = self.words.o.payload, self.mesh_i.ready, self.answers.own.ready
        self.opens, full, nearly, ahead = Signal(), Signal(), Signal(), Signal(range(AHEAD))  # SPIKES may go ahead, but for how many have
        self.here = parse & self.words.o.valid
        self.goes_ahead = self.opens & self.words.o.valid & word.early
        self.obeyed = done | echo & room
        # A MARK that is due is said in the cycle in which the next tick is asked for.
        self.asks_first, self.ready = Signal(), Signal()  # for it; for a tick
        m.d.comb += [
            self.ready.eq(self.asks & ~self.asks_first | self.asks_first & room), self.tick.eq(self.idle.all() & self.ready),
            self.words.o.ready.eq(self.here & word.at_once | self.obeyed
                                  | (self.here & word.sends | self.goes_ahead | read_count) & mesh_takes),
            self.clear.eq(done & word.reset),
        ]
        first, mark = self.here & word.tick, self._fields(Command.TICK).mark
        m.d.sync += [self.ticked.eq(self.tick), self.began.eq(self.tick | self.clear), self.asks.eq(first | tick),
                     self.asks_first.eq((first | tick) & (self.marked | self.mark_due)),
                     self.asks_last.eq(first & word.one | tick & self.one_left),
                     self.asks_mark.eq(first & word.one & mark | tick & self.one_left & self.command.mark)]
        with m.If(self.tick):
            m.d.sync += [self.asks.eq(0), self.asks_first.eq(0), self.asks_last.eq(0), self.asks_mark.eq(0)]
        self._move(m)

        filled, sent, fills_up, far = fill & room, self.goes_ahead & mesh_takes, Signal(), Signal()
        m.d.comb += fills_up.eq(full | (sent & nearly))
        with m.If(parse):
            count, read = self._fields(Command.TICK).count, self._fields(Command.READ)
            m.d.sync += [self.last.eq(word.last), self.left.eq(Mux(word.tick, count, read.count)),
                         self.one_left.eq(word.one), self.two_left.eq(word.two),
                         self.command.eq(self._fields(Command.TICK)), ahead.eq(0), nearly.eq(0), full.eq(0)]
        with m.Else():
            with m.If(filled | self.tick):
                m.d.sync += self.one_left.eq(self.two_left)
            with m.If(filled | self.ticked):  # the next tick cannot end before
                m.d.sync += [self.left.eq(self.left - 1), self.two_left.eq((self.left[:COUNT_BITS] == 3) & ~far)]
            with m.If(sent):
                m.d.sync += [ahead.eq(ahead + 1), nearly.eq(ahead == AHEAD - 2)]
            m.d.sync += full.eq(fills_up)
        # The upper bits of how many are left, a cycle late: a READ has none, and the first tick does not end so soon.
        m.d.sync += far.eq(~parse & self.left[COUNT_BITS:].any())
        # Once the cores rest, nothing may keep the mesh from the tick: it is known a cycle late, when a word may go with the tick itself.
        # Right behind a tick they still seem to. They do when a tick ends, so that none goes ahead of one that has.
        m.d.sync += self.opens.eq((self.here & word.tick & word.one & ~word.last | tick & self.one_left & ~self.last & ~fills_up)
                                  & (~self.resting | self.ticked))

    def _move(self, m: Module) -> None:
        """From state to state. Until a quiet array lets it go on, the state stays: so that of it only the enable asks the array."""
        _, tick, read, read_count, reading, fill, echo, _, finish, status = self.state
        word, mesh_takes, room = self.words.o.payload, self.mesh_i.ready, self.answers.own.ready
        calls = self.here & ~self.mark_due  # if the word waits for a quiet array
        passed = self.here & word.last & (word.passes | word.sends & mesh_takes)
        ended = self.asks_last & self.ready
        over, told = ended | reading | self.obeyed, status & self.answers.settled & room
        following = {
            State.TICK: self.here & word.tick | tick & ~ended,
            State.READ: calls & word.read,
            State.READ_COUNT: read | read_count & ~mesh_takes,
            State.READING: read_count & mesh_takes,
            State.FILL: calls & word.fill & ~word.done | fill & ~(room & self.one_left),
            State.ECHO: calls & word.echo | echo & ~room,
            State.DONE: calls & (word.done | word.address) | fill & room & self.one_left,
            State.FINISH: over & self.last | passed | finish & self.mark_due,
            State.STATUS: finish & ~self.mark_due | status & ~told,
        }
        self.begins = Signal()  # there is a flit, in READ, READ_COUNT, or for a WRITE; the first of them a quiet mesh takes at once
        with m.If((self.idle.all() & ~self.began) | ~(tick | reading | finish | self.here & word.waits)):
            m.d.sync += [
                self.away.eq(self.away & ~(over & ~self.last | told) | self.here & word.tick | calls & word.waits | passed),
                self.behind.eq(Cat(following.values())),
                self.begins.eq(calls & (word.address | word.read) | read | read_count & ~mesh_takes),
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
        # Numbers: of the tick before; and of the one of each turn before, in which was made what is due in a tick of that turn.
        self.latest, self.made = Signal(16, reset_less=True), [Signal(16, reset_less=True, name=f"made_{turn}") for turn in range(2)]
        with m.If(self.tick):
            m.d.sync += [made.eq(Mux(self.turn == turn, self.ticks, made)) for turn, made in enumerate(self.made)]
            m.d.sync += [self.ticks.eq(self.ticks + 1), self.latest.eq(self.ticks), self.turn.eq(~self.turn),
                         self.overlapping.eq(command.overlap), self.fresh.eq(self.info.end)]
        with m.If(self.clear):
            m.d.sync += [self.ticks.eq(0), self.fresh.eq(1)]
        # The first tick of a sample ends with nothing under way: until then cores drop what the sample before still sends.
        with m.If(self.state[State.PARSE]):
            allowed = self.overlapping & ~self.fresh & ~self.marked & ~self.mark_due
            m.d.sync += self.overlap.eq((self.here & word.tick & parsed.overlap & allowed) << self.turn)
        with m.Elif(self.tick):
            m.d.sync += self.overlap.eq((command.overlap & ~self.one_left) << ~self.turn)
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
            flit.arrival.soon.eq(is_spikes), flit.arrival.ahead.eq(tick), flit.arrival.access.eq(~is_spikes),
            flit.kind.eq(word.kind), flit.target.eq(word.target), flit.due.eq(self.turn ^ tick),
            flit.payload.eq(Mux(is_spikes, packet.as_value(), word.data[:DATA_BITS])),  # of an ADDRESS, too, which lies as in the word
            self.mesh_i.valid.eq(self.here & word.sends | self.goes_ahead | self.begins),
            self.took_spikes.eq((self.here & word.sends & is_spikes | self.goes_ahead) & self.mesh_i.ready)]
        with m.If(read_count):
            m.d.comb += [flit.kind.eq(Kind.READ), flit.payload.eq(self.left[:COUNT_BITS])]

    def _say(self, m: Module) -> None:
        """What the host port says, from a register; chosen without asking whether it says it, which is known late: a MARK that is due
        before anything that waits for a quiet array; the answer to the word at hand; or else STATUS."""
        word, own, clock = self.words.o.payload, self.answers.own, Signal(32)
        fill, echo, finish, status = (self.state[each] for each in (State.FILL, State.ECHO, State.FINISH, State.STATUS))
        marks = self.asks_first | self.mark_due & (self.here & word.waits | finish)
        settled = status & self.answers.settled
        m.d.sync += clock.eq(clock + 1)
        m.d.sync += self.marked.eq(self.idle.all() & (self.asks_mark & self.ready))
        with m.If(self.idle.all() | self.marked):
            m.d.sync += self.mark_due.eq(self.marked | self.mark_due & ~(marks & own.ready))

        def when(asked: Value, kind: Response, **values: Value) -> Value:
            word = struct_signal(struct(RESPONSES[kind]), name=f"word_{kind.name.lower()}")
            m.d.comb += [word.opcode.eq(kind), *(word[name].eq(value) for name, value in values.items())]
            return Mux(asked, word.as_value(), 0)

        # Never two of them: what is said in states waits for a MARK that is due.
        chosen = (when(self.mark_due, Response.MARK, tick=self.latest, cycles=clock)
                  | when(echo, Response.ECHO, payload=self._fields(Command.ECHO).payload, cycles=clock)
                  | when(fill, Response.DATA)  # zeros in place of the entries of a core that does not exist
                  | when(settled, Response.STATUS, faults=self.faults, tick=self.ticks))
        says, said = Signal(), struct_signal(WORD, reset_less=True)
        m.d.comb += [own.valid.eq(says), own.payload.eq(said)]
        with m.If(own.ready):
            m.d.sync += [says.eq(self.idle.all() & marks | (fill | echo | settled)), said.data.eq(chosen), said.last.eq(settled)]
        with m.If(~(self.idle.all() & marks) & (self.mark_due & own.ready)):  # nothing is said, and nothing should show
            m.d.sync += said.eq(0)

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
            self.answers.ticks.eq(Cat(self.made)),
            self.stalled.eq(self.o.valid & ~self.o.ready), self.gave_spikes.eq(self.answers.gave_spikes)]
