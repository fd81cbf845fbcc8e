"""The neuron unit: decays, integration, threshold, reset; a row of neurons a cycle."""

from functools import reduce
from operator import and_, or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface, forward
from spikeloom.hdl.component import COPY, SHALLOW, Component, later, ram
from spikeloom.hdl.drain import Drain, promised
from spikeloom.hdl.layouts import ArrayView, StructView, row_layout, struct, tick_layout
from spikeloom.hdl.neuron_memory import CONSTANTS, NeuronMemory
from spikeloom.hdl.queue import Queue
from spikeloom.hdl.synapses import adder_levels
from spikeloom.memories import Memory, memory_specs, state_memories
from spikeloom.params import ArrayParams

#: Rows on their way through the unit and in the queue behind it.
ROWS = 32


def gained(m: Module, value: Value, gain: Value, addend: Value, fraction: int, name: str) -> Value:
    """``rtz(value · gain / 2**fraction) + addend``, for gain ≥ 0, two cycles later: as a DSP block does it, with a register before
    the multiplier's adder and one behind it.

    Toward zero is the floor once a negative product has ``2**fraction - 1`` added; where gain makes it 0, the floor drops that too.
    """
    product = later(m, value * Cat(gain, Const(0, 1)).as_signed(), 1, f"{name}_product", reset_less=True)
    added = later(m, Cat(value[-1].replicate(fraction), addend).as_signed(), 1, f"{name}_addend", reset_less=True)
    return later(m, product + added, 1, f"{name}_sum", reset_less=True) >> fraction


def fits(value: Value, bits: int) -> Value:
    """Whether a signed value fits in ``bits``, two's complement."""
    return ~value[bits - 1:].any() | value[bits - 1:].all()


def saturated(value: Value, bits: int) -> Value:
    """A signed value clipped to ``bits``, two's complement."""
    extreme = Cat((~value[-1]).replicate(bits - 1), value[-1])  # not a comparison, which would be a carry chain
    return Mux(fits(value, bits), value, extreme)[:bits].as_signed()


class NeuronUnit(Component):
    """Updates a row of neurons: ``u ← rtz(u·α) + 2^k·Σ`` for each synaptic current, ``v ← saturate(rtz(v·β) + Σ u + b)``, with
    ``floor`` raised to −θ; spike if v ≥ θ and not refractory, then ``v ← v − reset`` or ``v ← reset``. A neuron whose class
    rests in this tick (by its ``phases`` and ``start``) keeps its state, or is zeroed by a ``fresh`` tick.

    One row a cycle while ``enable``; written back ``LATENCY`` cycles after ``valid``. Rows with a spike or with a potential to
    send wait in a queue of ``ROWS``; before it could overflow, ``enable`` falls.

    Members
    -------
    valid, number, sums : in. A row of neurons and what its synapses add.
    second_sums : in, where neurons may have two currents. What they add to the second.
    tick : :func:`tick_layout`, in. About the tick that ended last. The first row of a tick comes ``Drain.LATENCY`` + 1 cycles and the
        synapse latency later or after that; what comes sooner is of the tick before.
    enable : out, 1 bit. A row may come in ``Drain.LATENCY`` cycles.
    ample : out, 1 bit. Rows may come one after another for :func:`spikeloom.hdl.drain.promised` cycles more. A register.
    o : stream of :func:`row_layout`, out.
    idle : out, 1 bit. Nothing is inside.
    due : out, 2 bits. A row is inside whose packets are due in a tick of turn 0, of turn 1.
    overflow : out, 1 bit. A synaptic current left its width.
    bus : :class:`AccessBus`, in. Serves the neuron memories, CLASSES and FANOUT.
    """

    valid: Signal
    number: Signal
    sums: ArrayView
    second_sums: ArrayView
    tick: StructView
    enable: Signal
    ample: Signal
    o: stream.Interface
    idle: Signal
    due: Signal
    overflow: Signal
    bus: AccessInterface

    #: Cycles from ``valid`` to the write.
    LATENCY = 6

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        sums = In(data.ArrayLayout(signed(params.sum_bits), params.neurons_per_cycle))
        second = {} if params.currents < 2 else {"second_sums": sums}
        super().__init__({
            "valid": In(1), "number": In(bits_for(params.neuron_rows)), "sums": sums, **second, "tick": In(tick_layout(params)),
            "enable": Out(1), "ample": Out(1), "o": Out(stream.Signature(row_layout(params))), "idle": Out(1), "due": Out(2),
            "overflow": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # What is made of a row is due in the tick after the running one.
        valid: list[Value] = [self.valid]
        number: list[Value] = [self.number]
        first = adder_levels(self.params) + 2 + Drain.LATENCY  # cycles from the change of `tick` to its first row
        due: list[Value] = [~later(m, self.tick.turn, first, "turn")]
        for stage in range(1, self.LATENCY + 1):
            valid.append(later(m, valid[-1], 1, f"valid_{stage}"))
            number.append(later(m, number[-1], 1, f"number_{stage}", reset_less=stage % 3 > 0))
            due.append(later(m, due[-1], 1, f"due_{stage}"))
        # Of the row that came a cycle ago, and of those which came three and four cycles ago.
        layout = self.tick.shape()
        self.fresh = later(m, self.tick.fresh, first + 1, "fresh", reset_less=True)
        self.info = layout(later(m, self.tick.as_value(), first + 3, "info", reset_less=True))
        self.fresh_4 = later(m, self.info.fresh, 1, "fresh_4", reset_less=True)
        m.submodules.queue = queue = Queue(row_layout(self.params), ROWS)
        row = queue.i.payload
        values, overflows, spiking, opening = [], [], [], []
        for column in range(self.params.neurons_per_cycle):
            m.submodules[f"memory_{column}"] = store = NeuronMemory(self.params, column)
            # State and class are read first, the bias before it is added, threshold and reset before they are compared.
            states = state_memories(self.params)
            reads = dict.fromkeys((*states, Memory.NEURON_CLASS), 0) | {Memory.BIAS: 1} | dict.fromkeys(
                (Memory.THRESHOLD, Memory.RESET), 4)
            for kind in states + CONSTANTS:
                name, stage = kind.name.lower(), reads[kind]
                m.d.comb += [getattr(store, f"at_{name}").eq(number[stage]), getattr(store, f"at_{name}_valid").eq(valid[stage])]
            m.d.comb += store.write_row.eq(number[-1])
            forward(m, self.bus, store.bus)
            values.append(store.bus.value)
            overflow, spikes, opens = self._column(m, column, store, valid, row)
            overflows.append(overflow)
            spiking.append(spikes)
            opening.append(opens)
        fanout = self._fanout(m, valid[-2], number[-2])
        values.append(fanout.as_value() & self.bus.chosen[Memory.FANOUT].replicate(len(fanout.as_value())))
        inside, none = Signal(range(ROWS + 1)), Signal(init=1)  # `none`: nothing is inside
        # One that is taken from the queue counts a cycle longer, in which it is in the next unit.
        spikes, opens = (later(m, valid[-2] & Cat(each).any(), 1, name) for each, name in ((spiking, "spikes"), (opening, "opens")))
        comes = spikes | opens
        gone, taken = valid[-1] & ~comes, later(m, self.o.valid & self.o.ready, 1, "taken")
        down = Mux(self.valid, gone & taken, gone | taken)  # sign of what `inside` changes by
        room = ROWS - 1 - Drain.LATENCY
        m.d.sync += [inside.eq(inside + Cat(self.valid ^ gone ^ taken, down.replicate(len(inside) - 1))),
                     none.eq(~self.valid & (inside == Cat(gone ^ taken, gone & taken))),
                     self.ample.eq(inside < room - 1 - promised(self.params))]
        m.d.comb += [
            self.bus.value.eq(reduce(or_, values)), self.overflow.eq(Cat(overflows).any()),
            row.fanout.eq(fanout), row.due.eq(due[-1]),
            # Without potentials to send, which would be most of a choice, a row passes by an empty queue.
            queue.i.valid.eq(comes & (queue.o.valid | opens | ~self.o.ready)), queue.o.ready.eq(self.o.ready),
            self.o.payload.eq(queue.o.payload), self.o.valid.eq(queue.o.valid | (spikes & ~opens)),
            # Rows may be on their way from the drain when `enable` falls, one for each cycle of its latency.
            self.enable.eq(inside < room), self.idle.eq(none & ~self.valid),
        ]
        # Rows leave in their order, so that those of the older update are those at the front of the queue.
        # Of those between the first stage and the last it is known a cycle ahead, when each is a stage before.
        between, before = Signal(2), [*zip(valid[:-2], due[:-2], strict=True)]
        there = [(self.valid, due[0]), (comes, due[-1]), (queue.o.valid, queue.o.payload.due)]
        for turn in range(2):
            m.d.sync += between[turn].eq(Cat(one & (made == turn) for one, made in before).any())
            m.d.comb += self.due[turn].eq(between[turn] | Cat(one & (made == turn) for one, made in there).any())
        with m.If(~queue.o.valid):
            m.d.comb += [self.o.payload.fanout.eq(row.fanout), self.o.payload.due.eq(row.due), self.o.payload.spikes.eq(row.spikes),
                         self.o.payload.open.eq(0)]
        return m

    def _fanout(self, m: Module, valid: Value, number: Value) -> StructView:
        """Where the destinations of a row begin, a cycle later; the bus has the table while there is none."""
        spec = memory_specs(self.params)[Memory.FANOUT]
        m.submodules.fanout = store = ram(struct(spec.entry), spec.span, block=spec.span > 2 * SHALLOW)
        read, write = store.read_port(), store.write_port()
        m.d.comb += [read.addr.eq(Mux(valid, number, self.bus.address)), write.addr.eq(self.bus.address),
                     write.data.eq(self.bus.data), write.en.eq(self.bus.chosen[Memory.FANOUT] & self.bus.write)]
        entry: StructView = read.data
        return entry

    def _column(self, m: Module, column: int, store: NeuronMemory, valid: list[Value], row: StructView) -> tuple[Value, Value, Value]:
        """The arithmetic of one column, stage by stage. Returns whether a current overflowed; and, a cycle before the row is shown,
        whether it spikes, and whether it is open."""
        state, fraction = self.params.state_bits, self.params.gain_bits
        names = ("current", "second_current")[: self.params.currents]

        def hold(value: Value, cycles: int, name: str) -> Value:
            return later(m, value, cycles, f"{name}_{column}", reset_less=True)  # `valid` goes along

        def factors(word: StructView, name: str) -> StructView:
            """Held for a cycle in registers that can be those of the DSP blocks: Yosys, which looks for DSP blocks later, would make them
            part of the LUT-RAM, were there nothing else that reads it."""
            m.d.sync += Signal(name=f"{name}_{column}_guard", attrs=COPY, reset_less=True).eq(word.as_value()[0])
            return word.shape()(hold(word.as_value(), 1, name))

        # Stage 1: the memories show. Stage 2: operands.
        fresh = self.fresh
        currents = [hold(Mux(fresh, 0, getattr(store, name)).as_signed(), 1, f"{name}_2") for name in names]
        membrane = hold(Mux(fresh, 0, store.membrane).as_signed(), 1, "membrane_2")
        waiting_3 = hold(Mux(fresh, 0, store.refractory), 2, "waiting")
        gains = factors(store.gains, "gains_2")
        rules = store.rules.shape()(hold(store.rules.as_value(), 1, "rules_2"))
        sums = [hold(self.sums[column], 2, "sums")]
        alphas = [gains.current_gain] if names else []
        if len(names) > 1:
            sums.append(hold(self.second_sums[column], 2, "second_sums"))
            alphas.append(factors(store.second, "second_2").second_gain)

        # Stage 3: products, and what is added to them: the sum at the state's scale, the bias. Stage 4: rounded and added. Without a
        # state for it, what synapses add is the current.
        shifted = [(total << rules.shift)[: state + 2].as_signed() for total in sums]
        moved = [gained(m, current, alpha, total, fraction, f"{name}_{column}")[: state + 3].as_signed()
                 for name, current, alpha, total in zip(names, currents, alphas, shifted, strict=False)]
        if not names:
            moved = [hold(shifted[0], 2, "current_4")]
        leaked = gained(m, membrane, gains.membrane_gain, store.bias, fraction, f"membrane_{column}")[: state + 3].as_signed()

        # Stage 4, too: whether the class is active in this tick, and the neuron rests.
        info, early = self.info, rules.shape()(hold(rules.as_value(), 1, "rules_3"))
        active_before = hold(early.phases.bit_select(info.phase, 1) & (info.age >= early.start), 1, "active_4")
        resting = hold(waiting_3 != 0, 1, "resting_4")

        # Stage 5: the potential. Threshold and reset show. What does not depend on it is decided.
        potential = hold(saturated(leaked + sum(moved[1:], moved[0]), state), 1, "potential_5")
        early = rules.shape()(later(m, early.as_value(), 1, f"rules_4_{column}"))
        waiting = hold(waiting_3, 1, "waiting_4")
        active = hold(active_before, 1, "active")
        ready = hold(early.spiking & active_before & ~resting, 1, "ready")
        rest = hold(Mux(resting, waiting - 1, 0)[: len(waiting)], 1, "rest")
        holds = hold(early.hold & resting, 1, "holds")
        rules = rules.shape()(later(m, early.as_value(), 1, f"rules_{column}"))

        # Stage 6: spike, reset, write.
        fresh_6 = hold(self.fresh_4, 1, "fresh_6")
        spike = Signal(name=f"spike_{column}")
        if self.params.floors:
            bottom = saturated(-store.threshold, state)
            potential = Mux(rules.floor & (potential < bottom), bottom, potential)
        # As unsigned numbers; `ready` is a bit above them, so that of the comparison it takes no logic behind it.
        m.d.comb += spike.eq(Cat(potential[:-1], ~potential[-1], ready) >= Cat(store.threshold[:-1], ~store.threshold[-1], 1))
        after = Mux(spike, Mux(rules.subtract, saturated(potential - store.reset, state), store.reset), potential)
        count = Mux(spike, rules.refractory, rest)
        new = {name: hold(current[:state], 1, f"{name}_5") for name, current in zip(names, moved, strict=False)}
        new |= {"membrane": after, "refractory": count}
        never = Const(0, 1)
        keep = dict.fromkeys(names, never) | {"membrane": holds, "refractory": never}
        for name, value in new.items():
            target = getattr(store, f"new_{name}")
            m.d.comb += target.eq(hold(Mux(active, value, 0)[: len(target)], 1, f"new_{name}"))
            enable = hold((active & ~keep[name] | fresh_6)[0], 1, f"enable_{name}")
            m.d.comb += getattr(store, f"write_{name}").eq(valid[-1] & enable)
        opens = active & ~rules.spiking
        m.d.comb += [row.membrane[column].eq(store.new_membrane), row.spikes[column].eq(hold(spike, 1, "spike")),
                     row.open[column].eq(hold(opens, 1, "open"))]
        return valid[4] & ~reduce(and_, (fits(current, state) for current in moved)), spike, opens
