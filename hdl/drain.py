"""The drain: walks the shadow accumulators row by row and joins the slices of each neuron."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import Component, copies, later
from spikeloom.hdl.lanes import Lanes, index_layout
from spikeloom.hdl.layouts import ArrayView
from spikeloom.hdl.synapses import adder_levels
from spikeloom.memories import Control, Memory, controls, memory_specs
from spikeloom.params import ArrayParams

#: Rows of which each has written its state before the next tick reads it, when that tick's rows come right behind.
LEAST_ROWS = 7


def promised(params: ArrayParams) -> int:
    """Rows that may still be to be asked for when the drain lets the next tick end: it does two cycles later at the earliest, and the
    lanes swap another synapse latency later."""
    return adder_levels(params) + 3


class Drain(Component):
    """After each tick: for every fold in use, for every group, ``sum = Σ_i row_i · 2^(W·(slices−1−i))``; in a core whose neurons
    have two currents, one sum for each, the first current's rows first.

    A row of lanes a cycle while ``enable``, or the two rows of two slices: so a row of neurons every cycle with one or two slices,
    every ``slices`` cycles with more, and twice as many with two currents; a fold takes a few more for its LOAD. It owns the CONTROL
    memory: slices, groups and folds in use, and currents.

    Members
    -------
    start : in, 1 bit. A tick has ended; at the earliest two cycles after a write to CONTROL, which the idle of a core takes anyway.
    load, fold : out. Ask for a LOAD of this fold; held until
    granted : in, 1 bit. The LOAD was sent on its way.
    loaded : in, 1 bit. The lanes can be asked for rows from the next cycle on.
    index : out, :func:`spikeloom.hdl.lanes.index_layout`. Pair of rows of lanes to show;
    rows : in, two arrays of signed lane sums. The pair asked for ``Lanes.ROW_LATENCY`` cycles ago.
    enable : in, 1 bit. Whoever takes the sums has room.
    ample : in, 1 bit. It will also have room in each of the next :func:`promised` cycles.
    valid, number, sums : out. A row of neurons, for one cycle: its number, and its joined sums.
    second_sums : out, where neurons may have two currents. The sums of the second, 0 in a core with one.
    late : out, 1 bit. Rows of the tick before the one that ended last are still to come. A register.
    idle : out, 1 bit. In the next cycle nothing is left to drain.
    free : out, 1 bit. A tick may end in the cycle after the next or later: all rows will have been asked for before the lanes swap.
    bus : :class:`AccessBus`, in. Serves CONTROL.
    """

    start: Signal
    load: Signal
    fold: Signal
    granted: Signal
    loaded: Signal
    index: ArrayView
    rows: ArrayView
    enable: Signal
    ample: Signal
    valid: Signal
    number: Signal
    sums: ArrayView
    second_sums: ArrayView
    late: Signal
    idle: Signal
    free: Signal
    bus: AccessInterface

    #: Cycles from ``enable`` to the ``valid`` that comes of it.
    LATENCY = Lanes.ROW_LATENCY + 1

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        per_row = params.neurons_per_cycle
        sums = Out(data.ArrayLayout(signed(params.sum_bits), per_row))
        second = {} if params.currents < 2 else {"second_sums": sums}
        super().__init__({
            "start": In(1), "load": Out(1), "fold": Out(bits_for(params.folds)), "granted": In(1), "loaded": In(1),
            "index": Out(index_layout(params)),
            "rows": In(data.ArrayLayout(data.ArrayLayout(signed(params.accumulator_bits), per_row), 2)),
            "enable": In(1), "ample": In(1), "valid": Out(1), "number": Out(bits_for(params.neuron_rows)),
            "sums": sums, **second, "late": Out(1), "idle": Out(1), "free": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params = self.params
        slices = Signal(range(params.max_slices + 1), init=1)
        groups = Signal(range(params.lane_rows + 1))
        folds = Signal(range(params.folds + 1))
        chosen = self.bus.chosen[Memory.CONTROL]
        currents = Signal(range(max(params.currents, 1) + 1), init=1)
        registers = {Control.SLICES: slices, Control.GROUPS: groups, Control.FOLDS: folds, Control.CURRENTS: currents}
        (index,) = memory_specs(params)[Memory.CONTROL].address
        m.d.sync += self.bus.value.eq(0)
        for control, register in ((control, registers[control]) for control in controls(params)):
            # The low bits are enough: what does not exist is not written, and nobody looks at what is shown for it.
            with m.If(chosen & (self.bus.address[: index.bits] == control)):
                m.d.sync += self.bus.value.eq(register)
                with m.If(self.bus.write):
                    m.d.sync += register.eq(self.bus.data)

        # Rows are asked for in order. What is to become of each goes along until the lanes show it.
        number = Signal.like(self.number)
        row, next_row = (Signal(range(2 * -(-params.lane_rows // 2)), name=name) for name in ("row", "next_row"))  # of lanes
        asked, second, begins, busy = Signal(), Signal(), Signal(), Signal(init=1)
        asking = Signal()  # the state ASK, in a register of its own: so that a LUT has room for it and for `enable`
        # From CONTROL, which does not change while anything is drained: so that no sum lies before what is decided. `twice`: both slices
        # are rows of one pair; `two`: there are two currents.
        some, last_slice, last_group, twice, two = Signal(), Signal.like(slices, init=0), Signal.like(groups), Signal(), Signal()
        m.d.comb += [begins.eq(self.start & some), next_row.eq(row)]
        for number_of, copy in enumerate(copies(m, next_row[1:], len(self.index), "index")):
            m.d.comb += self.index[number_of].eq(copy)
        m.d.sync += [row.eq(next_row), some.eq((folds != 0) & (groups != 0)), last_group.eq(groups - 1),
                     last_slice.eq(Mux(slices[1:].any() & (slices != 2), slices - 1, 0)),
                     twice.eq(slices == 2), two.eq(currents == 2)]
        # How many slices and groups follow those at hand; whether the slice is the first, the group the last, the fold the last.
        slices_left, groups_left = Signal.like(last_slice), Signal.like(last_group)
        first, last, last_fold = Signal(init=1), Signal(), Signal(init=1)
        whole = Signal()  # the slice is the last: the sum of the current at hand
        ended = whole if params.currents < 2 else whole & (second | ~two)
        # With many rows the next tick may end while the last ones are still to be asked for.
        pending, nearly = Signal(), Signal()
        early, ahead = self._early(m, groups, slices, currents)
        with m.If(begins):
            m.d.sync += pending.eq(1)
        with m.Elif(self.loaded):
            m.d.sync += pending.eq(0)
        if params.folds > 1:
            m.d.sync += last_fold.eq(self.fold == folds - 1)  # at least two cycles lie between the end of a fold and the next row
        with m.FSM() as machine:
            with m.State("IDLE"), m.If(begins):
                m.next = "REQUEST" if params.folds > 1 else "WAIT"
            if params.folds > 1:
                with m.State("REQUEST"):
                    m.d.comb += self.load.eq(1)
                    with m.If(self.granted):
                        m.next = "WAIT"
            with m.State("WAIT"), m.If(self.loaded):
                m.d.sync += asking.eq(1)
                m.next = "ASK"
            with m.State("ASK"), m.If(asked & ended & last):
                if params.folds > 1:
                    m.d.sync += asking.eq(0)
                    with m.If(last_fold):
                        m.next = "IDLE"
                    with m.Else():
                        m.next = "REQUEST"
                else:
                    m.d.sync += asking.eq(pending & self.loaded)
                    with m.If(pending & self.loaded):
                        m.next = "ASK"
                    with m.Elif(pending | begins):
                        m.next = "WAIT"
                    with m.Else():
                        m.next = "IDLE"
            m.d.comb += busy.eq(~machine.ongoing("IDLE"))
        m.d.comb += asked.eq(asking & self.enable)
        with m.If(asked):
            m.d.comb += next_row.eq(Mux(ended & last, 0, row + Mux(twice, 2, 1)))
            m.d.sync += first.eq(whole)
            if params.currents > 1:
                m.d.sync += second.eq(Mux(whole, ~ended, second))
        with m.If(asked & ended):
            m.d.sync += [number.eq(Mux(last & last_fold, 0, number + 1)),
                         nearly.eq(~last & (nearly | (early & (groups_left == ahead + 1))))]
            if params.folds > 1:
                with m.If(last):
                    m.d.sync += self.fold.eq(Mux(last_fold, 0, self.fold + 1))
        with m.If(~asking | asked):
            again = ~asking | whole
            m.d.sync += [slices_left.eq(Mux(again, last_slice, slices_left - 1)),
                         whole.eq(Mux(again, last_slice == 0, slices_left == 1))]
        with m.If(~asking | (asked & ended)):
            again = ~asking | last
            m.d.sync += [groups_left.eq(Mux(again, last_group, groups_left - 1)),
                         last.eq(Mux(again, last_group == 0, groups_left == 1))]
        steps: list[Value] = [Cat(asked, first, second, asked & ended, row[0] | twice)]
        for cycle in range(Lanes.ROW_LATENCY):
            steps.append(later(m, steps[-1], 1, f"step_{cycle}"))
        under_way = Cat(step[0] for step in steps[1:])
        ending = begins | pending  # a tick has ended, and the lanes have not swapped yet
        # A few rows only: the next tick ends at the earliest when the last one comes, which writes its state 6 cycles later
        # (NeuronUnit.LATENCY). Its own first row, perhaps the same, reads its state 4 cycles after the synapse latency: with few banks
        # that is too soon.
        margin = max(0, 3 - adder_levels(params) - 1)
        none = ~(busy | begins)
        m.d.comb += [
            self.idle.eq(none & ~under_way.any()),
            self.free.eq(none & (early | ~under_way[:margin].any()) | (asking & nearly & self.ample & ~ending)),
            self.number.eq(later(m, number, Lanes.ROW_LATENCY + 1, "number", reset_less=True)),
        ]
        # A row that has just been asked for is under way then; so whether any is left is known a cycle ahead.
        old = later(m, asked & ending, 1, "old")
        m.d.sync += self.late.eq(asking & ending | under_way[:-1].any() & (begins | old))
        self._join(m, steps[-1], twice, currents)
        return m

    def _early(self, m: Module, groups: Signal, slices: Signal, currents: Signal) -> tuple[Signal, int]:
        """Whether a tick may end while the last rows are still to be asked for, and how many groups those are.

        They are asked for in a cycle each. There must be as many rows as a row takes from its sums to its state, and one more, for the
        next tick reads the state of each as many cycles later as there are rows.
        """
        early, ahead = Signal(), promised(self.params)
        if self.params.folds == 1:
            m.d.sync += early.eq((groups > max(ahead + 1, LEAST_ROWS - 1)) & ((slices == 1) | (slices == 2)) & (currents <= 1))
        return early, ahead

    def _join(self, m: Module, step: Value, twice: Signal, currents: Signal) -> None:
        """Add the row that the lanes show, as ``step`` says: there is one, begin a sum, that of the second current, end a row, and which
        row of the pair is the last one; or ``twice``, both rows of the pair."""
        there, begin, second, ended, lower = step
        m.d.sync += self.valid.eq(ended)
        for column in range(self.params.neurons_per_cycle):
            total = Signal(signed(self.params.sum_bits), name=f"joined_{column}", reset_less=True)
            digits = self.rows[0][column], self.rows[1][column]
            # One adder: the higher digit or what has been joined so far, and a digit.
            higher = Mux(twice, digits[0], Mux(begin, 0, total))
            with m.If(there):
                m.d.sync += total.eq((higher << self.params.weight_bits) + Mux(lower, digits[1], digits[0]))
            if self.params.currents < 2:
                m.d.comb += self.sums[column].eq(total)
                continue
            first = Signal.like(total, name=f"first_{column}", reset_less=True)  # the sum of the first current, while the second is joined
            with m.If(there & second & begin):
                m.d.sync += first.eq(total)
            m.d.comb += [self.sums[column].eq(Mux(currents == 2, first, total)),
                         self.second_sums[column].eq(Mux(currents == 2, total, 0))]
