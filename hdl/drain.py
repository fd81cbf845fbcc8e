"""The drain: walks the shadow accumulators row by row and joins the slices of each neuron."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import Component
from spikeloom.hdl.layouts import ArrayView
from spikeloom.memories import Control, Memory, controls
from spikeloom.params import ArrayParams


class Drain(Component):
    """After each tick: for every fold in use, for every group, ``sum = Σ_i row_i · 2^(W·(slices−1−i))``; in a core whose neurons
    have two currents, one sum for each, the first current's rows first.

    A row of lanes a cycle while ``enable``, so a row of neurons every ``slices`` cycles, or twice as many; a fold takes a few
    more for its LOAD. It owns the CONTROL memory: slices, groups and folds in use, and currents.

    Members
    -------
    start : in, 1 bit. A tick has ended.
    load, fold : out. Ask for a LOAD of this fold; held until
    granted : in, 1 bit. The LOAD was sent on its way.
    loaded : in, 1 bit. The lanes show the first row from the next cycle on.
    row : in, array of signed lane sums.
    shift : out, 1 bit. Take the next row.
    enable : in, 1 bit. Whoever takes the sums has room.
    valid, number, sums : out. A row of neurons, for one cycle: its number, and its joined sums.
    second_sums : out, where neurons may have two currents. The sums of the second, 0 in a core with one.
    idle : out, 1 bit. Nothing is left to drain.
    bus : :class:`AccessBus`, in. Serves CONTROL.
    """

    start: Signal
    load: Signal
    fold: Signal
    granted: Signal
    loaded: Signal
    row: ArrayView
    shift: Signal
    enable: Signal
    valid: Signal
    number: Signal
    sums: ArrayView
    second_sums: ArrayView
    idle: Signal
    bus: AccessInterface

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        per_row = params.neurons_per_cycle
        sums = Out(data.ArrayLayout(signed(params.sum_bits), per_row))
        second = {} if params.currents < 2 else {"second_sums": sums}
        super().__init__({
            "start": In(1), "load": Out(1), "fold": Out(bits_for(params.folds)), "granted": In(1), "loaded": In(1),
            "row": In(data.ArrayLayout(signed(params.accumulator_bits), per_row)), "shift": Out(1), "enable": In(1),
            "valid": Out(1), "number": Out(bits_for(params.neuron_rows)),
            "sums": sums, **second, "idle": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params = self.params
        slices = Signal(range(params.max_slices + 1), init=1)
        groups = Signal(range(params.lane_rows + 1))
        folds = Signal(range(params.folds + 1))
        chosen = self.bus.memory == Memory.CONTROL
        currents = Signal(range(max(params.currents, 1) + 1), init=1)
        registers = {Control.SLICES: slices, Control.GROUPS: groups, Control.FOLDS: folds, Control.CURRENTS: currents}
        for control, register in ((control, registers[control]) for control in controls(params)):
            with m.If(chosen & (self.bus.address == control)):
                m.d.comb += self.bus.value.eq(register)
                with m.If(self.bus.write):
                    m.d.sync += register.eq(self.bus.data)

        slice_, group, number = Signal.like(slices), Signal.like(groups), Signal.like(self.number)
        joined = [Signal(signed(params.sum_bits), name=f"joined_{c}") for c in range(params.neurons_per_cycle)]
        whole = slice_ + 1 >= slices  # the sum of the current at hand,
        second = Signal()             # which is the second
        ended = whole if params.currents < 2 else whole & (second | (currents != 2))
        m.d.sync += self.valid.eq(0)
        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += self.idle.eq(1)
                m.d.sync += [self.fold.eq(0), number.eq(0), group.eq(0), slice_.eq(0)]
                with m.If(self.start & (folds != 0) & (groups != 0)):
                    m.next = "REQUEST" if params.folds > 1 else "WAIT"
            with m.State("REQUEST"):
                m.d.comb += self.load.eq(1)
                with m.If(self.granted):
                    m.next = "WAIT"
            with m.State("WAIT"), m.If(self.loaded):
                m.next = "JOIN"
            with m.State("JOIN"), m.If(self.enable):
                m.d.comb += self.shift.eq(1)
                for column, total in enumerate(joined):
                    above = Mux(slice_ == 0, 0, total << params.weight_bits)
                    m.d.sync += total.eq(above + self.row[column])
                m.d.sync += slice_.eq(slice_ + 1)
                with m.If(ended):
                    m.d.sync += [slice_.eq(0), self.valid.eq(1), self.number.eq(number), number.eq(number + 1),
                                 group.eq(group + 1)]
                    with m.If(group + 1 >= groups):
                        m.d.sync += [group.eq(0), self.fold.eq(self.fold + 1)]
                        with m.If(self.fold + 1 >= folds):
                            m.next = "IDLE"
                        with m.Elif(params.folds > 1):
                            m.next = "REQUEST"
        if params.currents < 2:
            m.d.comb += [self.sums[column].eq(total) for column, total in enumerate(joined)]
            return m

        with m.If(self.shift & whole):
            m.d.sync += [slice_.eq(0), second.eq(~ended)]
        for column, total in enumerate(joined):
            first = Signal.like(total, name=f"first_{column}")  # the sum of the first current, while the second is joined
            with m.If(self.shift & second & (slice_ == 0)):
                m.d.sync += first.eq(total)
            m.d.comb += [self.sums[column].eq(Mux(currents == 2, first, total)),
                         self.second_sums[column].eq(Mux(currents == 2, total, 0))]
        return m
