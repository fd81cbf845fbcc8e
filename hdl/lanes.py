"""Lanes: an accumulator beside every column of the synapse memory, in two copies that swap at the tick boundary."""

from functools import reduce
from operator import or_

from amaranth.hdl import Array, Cat, Module, Mux, ResetSignal, Signal, signed
from amaranth.lib import data, enum
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.component import LOADS, Component, copies, ram
from spikeloom.hdl.layouts import ArrayView
from spikeloom.hdl.synapses import sum_shape
from spikeloom.params import ArrayParams


class Step(enum.Enum, shape=2):
    """What a lane does in a cycle. Steps travel down the synapse memory's pipeline in order: nothing waits for it to drain."""

    IDLE = 0
    ADD = 1   #: add the sums to the fold's accumulators
    SWAP = 2  #: the active accumulators become the shadow and the other way round
    LOAD = 3  #: take a fold of the shadow into the drain register, and clear it there


def index_layout(params: ArrayParams) -> data.ArrayLayout:
    """A pair of rows, in a copy for each four pairs of them."""
    pairs = -(-params.lane_rows // 2)
    return data.ArrayLayout(bits_for(pairs), -(-pairs // 4))


class Lanes(Component):
    """Accumulators, and the register through which they are drained.

    ``active[fold][lane] += sums[lane]`` for each ADD. With one fold the active copy is a register and the drain register is the
    shadow, so SWAP loads as well; with more folds both copies lie in LUT-RAM, which gives up one cycle for each LOAD.
    The drain register is read two rows at a time.

    Members
    -------
    step : in, :class:`Step`. What to do in the next cycle: it reaches every lane, from a register for a few lanes each.
    fold : in. Of the ``sums`` of this cycle, or to load.
    sums : in, array of signed sums a lane.
    clear : in, 1 bit. Forget all sums in the next cycle.
    index : in, an array with a copy for each four pairs of rows. The pair to show: rows ``2·index`` and ``2·index + 1`` of the drain
        register, which holds the fold from the cycle after LOAD on (with one fold: SWAP).
    rows : out, array of two rows of ``neurons_per_cycle`` signed sums. The pair asked for ``ROW_LATENCY`` cycles ago.
    """

    step: "enum.EnumView[Step]"
    fold: Signal
    sums: ArrayView
    clear: Signal
    index: ArrayView
    rows: ArrayView

    #: Cycles from ``index`` to ``rows``.
    ROW_LATENCY = 2

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        accumulator = signed(params.accumulator_bits)
        super().__init__({"step": In(Step), "fold": In(bits_for(params.folds)),
                          "sums": In(data.ArrayLayout(sum_shape(params), params.lanes)), "clear": In(1),
                          "index": In(index_layout(params)),
                          "rows": Out(data.ArrayLayout(data.ArrayLayout(accumulator, params.neurons_per_cycle), 2))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        drain = Signal(self.params.lanes * self.params.accumulator_bits, reset_less=True)
        if self.params.folds == 1:
            self._registers(m, drain)
        else:
            self._memory(m, drain)
        self._show(m, drain)
        return m

    def _show(self, m: Module, drain: Signal) -> None:
        """One of four pairs in each group of four, 0 in all groups but one (which costs nothing: the registers' own reset), then all
        groups joined with OR: a LUT for four pairs and bit, and one for all groups."""
        width = 2 * self.params.neurons_per_cycle * self.params.accumulator_bits
        shown = []
        for number, first in enumerate(range(0, len(drain), 4 * width)):
            four = drain[first: first + 4 * width]
            quarter, group = self.index[number][:2], self.index[number][2:]
            shown.append(Signal(width, name=f"four_{number}", reset_less=True))
            with m.If(group == number):
                m.d.sync += shown[-1].eq(four.word_select(quarter, width))
            with m.Else():
                m.d.sync += shown[-1].eq(0)
        rows = Signal(width, reset_less=True)
        m.d.sync += rows.eq(reduce(or_, shown))
        m.d.comb += self.rows.as_value().eq(rows)

    def _registers(self, m: Module, drain: Signal) -> None:
        """A copy of each strobe for some lanes. All sums are cleared as they are copied, and by a reset, which they do without."""
        bits, lanes = self.params.accumulator_bits, range(self.params.lanes)
        active = [Signal(signed(bits), name=f"active_{lane}", reset_less=True) for lane in lanes]
        width = max(1, LOADS // bits)
        groups = [lanes[first: first + width] for first in range(0, len(lanes), width)]
        swap = self.step == Step.SWAP
        wanted = {"add": self.step == Step.ADD, "swap": swap, "clear": swap | self.clear | ResetSignal()}
        strobes = zip(*(copies(m, value, len(groups), name) for name, value in wanted.items()), strict=True)
        for group, (adds, swaps, clears) in zip(groups, strobes, strict=True):
            with m.If(adds):
                m.d.sync += [active[lane].eq(active[lane] + self.sums[lane]) for lane in group]
            with m.If(swaps):
                m.d.sync += [drain.word_select(lane, bits).eq(active[lane]) for lane in group]
            with m.If(clears):
                m.d.sync += [active[lane].eq(0) for lane in group]

    def _memory(self, m: Module, drain: Signal) -> None:
        """Each copy has a bit per fold that says whether its sums are more than 0, so that nothing needs to be cleared."""
        params, bits = self.params, self.params.accumulator_bits
        add, swap, load, clear = Signal(), Signal(), Signal(), Signal()
        m.d.sync += [add.eq(self.step == Step.ADD), swap.eq(self.step == Step.SWAP), load.eq(self.step == Step.LOAD),
                     clear.eq(self.clear)]
        m.submodules.store = store = ram(data.ArrayLayout(signed(bits), params.lanes), 2 * params.folds, block=False)
        read, write = store.read_port(domain="comb"), store.write_port()
        filled = Array([Signal(params.folds, name=f"filled_{copy}") for copy in range(2)])
        active = Signal()
        copy = Mux(load, ~active, active)
        known = Signal()
        m.d.comb += [
            known.eq(filled[copy].bit_select(self.fold, 1)),
            read.addr.eq(Cat(self.fold, copy)), write.addr.eq(read.addr), write.en.eq(add),
        ]
        m.d.comb += [write.data[lane].eq(Mux(known, read.data[lane], 0) + self.sums[lane]) for lane in range(params.lanes)]
        with m.If(write.en):
            m.d.sync += filled[active].eq(filled[active] | (1 << self.fold))
        with m.If(load):
            m.d.sync += [drain.eq(Mux(known, read.data.as_value(), 0)),
                         filled[~active].eq(filled[~active] & ~(1 << self.fold))]
        with m.If(swap):
            m.d.sync += active.eq(~active)
        with m.If(clear):
            m.d.sync += [filled[0].eq(0), filled[1].eq(0)]
