"""The drain: walks the shadow accumulators row by row and joins the slices of each neuron."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import Component, later
from spikeloom.hdl.lanes import Lanes
from spikeloom.hdl.layouts import ArrayView
from spikeloom.memories import Control, Memory, controls
from spikeloom.params import ArrayParams


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
    index : out. Pair of rows of lanes to show;
    rows : in, two arrays of signed lane sums. The pair asked for ``Lanes.ROW_LATENCY`` cycles ago.
    enable : in, 1 bit. Whoever takes the sums has room.
    valid, number, sums : out. A row of neurons, for one cycle: its number, and its joined sums.
    second_sums : out, where neurons may have two currents. The sums of the second, 0 in a core with one.
    idle : out, 1 bit. In the next cycle nothing is left to drain.
    free : out, 1 bit. In the next cycle the lanes may swap again: all rows have been asked for, the last ones may not have come yet.
    bus : :class:`AccessBus`, in. Serves CONTROL.
    """

    start: Signal
    load: Signal
    fold: Signal
    granted: Signal
    loaded: Signal
    index: Signal
    rows: ArrayView
    enable: Signal
    valid: Signal
    number: Signal
    sums: ArrayView
    second_sums: ArrayView
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
            "index": Out(range(-(-params.lane_rows // 2))),
            "rows": In(data.ArrayLayout(data.ArrayLayout(signed(params.accumulator_bits), per_row), 2)),
            "enable": In(1), "valid": Out(1), "number": Out(bits_for(params.neuron_rows)),
            "sums": sums, **second, "idle": Out(1), "free": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params = self.params
        slices = Signal(range(params.max_slices + 1), init=1)
        groups = Signal(range(params.lane_rows + 1))
        folds = Signal(range(params.folds + 1))
        chosen = self.bus.chosen[Memory.CONTROL]
        currents = Signal(range(max(params.currents, 1) + 1), init=1)
        registers = {Control.SLICES: slices, Control.GROUPS: groups, Control.FOLDS: folds, Control.CURRENTS: currents}
        m.d.sync += self.bus.value.eq(0)
        for control, register in ((control, registers[control]) for control in controls(params)):
            with m.If(chosen & (self.bus.address == control)):
                m.d.sync += self.bus.value.eq(register)
                with m.If(self.bus.write):
                    m.d.sync += register.eq(self.bus.data)

        # Rows are asked for in order. What is to become of each goes along until the lanes show it.
        slice_, group, number = Signal.like(slices), Signal.like(groups), Signal.like(self.number)
        row = Signal(range(2 * -(-params.lane_rows // 2)))  # of lanes
        asked, second, begins, busy, twice = Signal(), Signal(), Signal(), Signal(init=1), Signal()
        # The last of each, for CONTROL does not change while anything is drained: so that no sum lies before a comparison.
        some, last_slice, last_group, last_fold = Signal(), Signal.like(slices, init=0), Signal.like(groups), Signal.like(folds)
        m.d.comb += [begins.eq(self.start & some), self.index.eq(row[1:])]
        m.d.sync += [some.eq((folds != 0) & (groups != 0)), last_group.eq(groups - 1), last_fold.eq(folds - 1),
                     last_slice.eq(Mux(slices[1:].any() & (slices != 2), slices - 1, 0)),
                     twice.eq(slices == 2)]  # both slices are rows of one pair
        whole = slice_ == last_slice  # the sum of the current at hand
        ended = whole if params.currents < 2 else whole & (second | (currents != 2))
        with m.FSM() as machine:
            with m.State("IDLE"):
                m.d.sync += [self.fold.eq(0), number.eq(0), group.eq(0), slice_.eq(0), row.eq(0)]
                with m.If(begins):
                    m.next = "REQUEST" if params.folds > 1 else "WAIT"
            if params.folds > 1:
                with m.State("REQUEST"):
                    m.d.comb += self.load.eq(1)
                    m.d.sync += row.eq(0)
                    with m.If(self.granted):
                        m.next = "WAIT"
            with m.State("WAIT"), m.If(self.loaded):
                m.next = "ASK"
            with m.State("ASK"), m.If(self.enable):
                m.d.comb += asked.eq(1)
                m.d.sync += [row.eq(row + Mux(twice, 2, 1)), slice_.eq(Mux(whole, 0, slice_ + 1))]
                if params.currents > 1:
                    m.d.sync += second.eq(Mux(whole, ~ended, second))
                with m.If(ended):
                    m.d.sync += [number.eq(number + 1), group.eq(group + 1)]
                    with m.If(group == last_group):
                        m.d.sync += [group.eq(0), self.fold.eq(self.fold + 1)]
                        with m.If(self.fold == last_fold):
                            m.next = "IDLE"
                        if params.folds > 1:
                            with m.Else():
                                m.next = "REQUEST"
            m.d.comb += busy.eq(~machine.ongoing("IDLE"))
        steps: list[Value] = [Cat(asked, slice_ == 0, second, asked & ended, row[0] | twice)]
        for cycle in range(Lanes.ROW_LATENCY):
            steps.append(later(m, steps[-1], 1, f"step_{cycle}"))
        # The pulse of the next tick may fall on the last row, which writes its state 6 cycles later (NeuronUnit.LATENCY). The next tick's
        # first row, perhaps the same, reads its state 4 cycles after the synapse latency: with few banks the pulse comes too soon for that.
        under_way = Cat(step[0] for step in steps[1:])
        margin = max(0, 3 - (1 + (params.banks - 1).bit_length()))
        m.d.comb += [self.free.eq(~(busy | begins | under_way[:margin].any())), self.idle.eq(self.free & ~under_way.any()),
                     self.number.eq(later(m, number, Lanes.ROW_LATENCY + 1, "number"))]
        self._join(m, steps[-1], twice, currents)
        return m

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
