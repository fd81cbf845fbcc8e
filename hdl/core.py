"""A core: axons, synapses, lanes, neurons and spikes around one router port."""

from functools import reduce
from operator import or_
from typing import cast

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, Mux, ResetSignal, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessInterface, AccessUnit, forward
from spikeloom.hdl.axons import AxonUnit
from spikeloom.hdl.component import Component, every, later
from spikeloom.hdl.drain import Drain
from spikeloom.hdl.entrance import Entrance
from spikeloom.hdl.issue import Issue
from spikeloom.hdl.lanes import Lanes, Step
from spikeloom.hdl.layouts import StructView, flit_layout, tick_layout
from spikeloom.hdl.neurons import NeuronUnit
from spikeloom.hdl.spikes import SpikeUnit
from spikeloom.hdl.synapses import Synapses
from spikeloom.params import ArrayParams

#: Integration; drain and spike unit; the neuron unit between them.
PARTS = ("core", "update", "neurons")


class Core(Component):
    """The compute-in-memory tile.

    While the neuron unit updates the tick that has ended, the lanes already integrate the next one. The SWAP between the two
    travels down the synapse pipeline like any other step, so a tick boundary costs the lanes one cycle.

    Each of its :data:`PARTS` has a clock domain of its own, of the same clock, so that no reset reaches too many registers.

    Members
    -------
    resets : in, a bit for each of the parts.
    i, o : streams of flits, from and to the router.
    tick : in, 1 bit. End the running tick; only while ``settled``. Packets that the host sent ahead are due from this cycle on.
    info : :func:`tick_layout`, in. About the tick that ends, or ended last; it changes with ``tick``.
    clear : in, 1 bit. Forget sums and waiting packets; only while ``idle``.
    idle : out, 1 bit. Nothing is left to do but to wait for packets.
    settled : out, 1 bit. Nothing is left of what is due in the running tick, and the lanes can swap again.
    reads : out. Synapse words read in this cycle.
    faults : out, 3 bits. Address, delay, current (see :class:`spikeloom.packets.Fault`).
    """

    resets: Signal
    i: stream.Interface
    o: stream.Interface
    tick: Signal
    info: StructView
    clear: Signal
    idle: Signal
    settled: Signal
    reads: Signal
    faults: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({
            "resets": In(len(PARTS)), "i": In(flit), "o": Out(flit), "tick": In(1), "info": In(tick_layout(params)), "clear": In(1),
            "idle": Out(1), "settled": Out(1), "reads": Out(range(params.banks + 1)), "faults": Out(3)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # The parts' domains are the core's own, named alike in all cores, which so are one module.
        for part, reset in zip(PARTS, self.resets, strict=True):
            m.domains += ClockDomain(part, local=True)
            m.d.comb += [ClockSignal(part).eq(ClockSignal("mesh")), ResetSignal(part).eq(reset)]
        self._parts(m)
        return cast("Module", DomainRenamer({"sync": PARTS[0], "mesh": "sync"})(m))

    def _parts(self, m: Module) -> None:
        params = self.params
        m.submodules.entrance = entrance = Entrance(params)
        m.submodules.access = access = AccessUnit(params)
        m.submodules.axons = axons = AxonUnit(params)
        m.submodules.issue = issue = Issue(params)
        m.submodules.synapses = synapses = Synapses(params)
        m.submodules.lanes = lanes = Lanes(params)
        drain, neurons, spikes = Drain(params), NeuronUnit(params), SpikeUnit(params)
        m.submodules.drain, m.submodules.spikes = DomainRenamer("update")(drain), DomainRenamer("update")(spikes)
        m.submodules.neurons = DomainRenamer("neurons")(neurons)

        # Packets: spikes to the axons, everything else to the access unit.
        wiring.connect(m, wiring.flipped(self.i), entrance.i)
        for output, into in ((entrance.o_now, axons.i), (entrance.o_ahead, axons.i_ahead), (entrance.o_later, axons.i_later),
                             (entrance.o_access, access.i)):
            wiring.connect(m, output, into)
        m.d.comb += [entrance.info.eq(self.info), axons.tick.eq(self.tick), axons.clear.eq(self.clear | (self.tick & self.info.end))]

        # Axons to synapses to lanes; the step goes along.
        for bank in range(params.banks):
            wiring.connect(m, getattr(axons, f"o_{bank}"), getattr(issue, f"i_{bank}"))
            m.d.comb += getattr(synapses, f"word_{bank}").eq(getattr(issue, f"word_{bank}"))
        # The lanes want it a cycle ahead. A `clear` goes the same way, behind the last sums.
        step = Step(later(m, issue.step.as_value(), synapses.latency - 1, "step"))
        forget = later(m, self.clear, synapses.latency - 1, "forget")
        loaded = Signal()
        m.d.sync += loaded.eq(step == (Step.SWAP if params.folds == 1 else Step.LOAD))
        fold = later(m, issue.fold, synapses.latency, "fold")
        m.d.comb += [
            issue.swap.eq(self.tick), issue.load.eq(drain.load), issue.load_fold.eq(drain.fold), drain.granted.eq(issue.granted),
            synapses.fire.eq(issue.fire), self.reads.eq(sum(issue.fire)),
            lanes.step.eq(step), lanes.fold.eq(fold), lanes.sums.eq(synapses.sums), lanes.clear.eq(forget),
            lanes.index.eq(drain.index), drain.rows.eq(lanes.rows),
        ]

        # The drain to the neurons to the spikes.
        m.d.comb += [
            drain.start.eq(self.tick), drain.loaded.eq(loaded),
            drain.enable.eq(neurons.enable), drain.ample.eq(neurons.ample),
            neurons.valid.eq(drain.valid), neurons.number.eq(drain.number), neurons.sums.eq(drain.sums),
            neurons.tick.eq(self.info), spikes.tick.eq(self.info),
            # What is still to be drained is made in the running tick, or late: in the one before.
            *(spikes.more[turn].eq(neurons.due[turn] | Mux(self.info.turn == turn, drain.late, ~drain.idle)) for turn in range(2)),
        ]
        if params.currents > 1:
            m.d.comb += neurons.second_sums.eq(drain.second_sums)
        wiring.connect(m, neurons.o, spikes.i)

        wiring.connect(m, access.o, spikes.entries)
        wiring.connect(m, spikes.o, wiring.flipped(self.o))

        # The access bus: what is not chosen shows 0, so the values are joined.
        owners: list[AccessInterface] = [neurons.bus, drain.bus, spikes.bus, synapses.bus]
        if params.lists:
            owners.append(issue.bus)
        for owner in owners:
            forward(m, access.bus, owner)
        m.d.comb += access.bus.value.eq(reduce(or_, [owner.value for owner in owners]))

        # Each part says whether it will have something to do in the next cycle; a packet under way between them is with one of both.
        axons_rest = [*axons.idle, issue.idle, access.idle]
        m.d.sync += [self.idle.eq(every([*axons_rest, drain.idle, neurons.idle, spikes.idle])),
                     self.settled.eq(every([*axons_rest, drain.free, *(~Mux(self.info.turn, unit.due[1], unit.due[0])
                                                                       for unit in (neurons, spikes))]))]
        # The spike unit's is known late, and may be told a cycle later: its packet keeps the core busy for longer.
        fault = later(m, spikes.fault, 1, "fault")
        m.d.comb += self.faults.eq(Cat(access.fault, axons.overflow | fault, neurons.overflow))
