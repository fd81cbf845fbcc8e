"""The issue stage: decides what the synapse memory and the lanes do in each cycle."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import enum, stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.axons import ListWalker
from spikeloom.hdl.component import Component, later, ram
from spikeloom.hdl.lanes import Step
from spikeloom.hdl.layouts import StructView, struct
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


class Issue(Component):
    """Turns the banks' axons into synapse reads, and puts SWAP and LOAD between them.

    With one fold an axon's number is its word, and every bank with an axon fires. With more, each bank walks its axons' lists;
    the first bank with an entry chooses the fold, and all banks whose next entry has the same fold fire with it. SWAP comes
    first, then LOAD, then axons; one step a cycle.

    Members
    -------
    i_0 … : stream of axon numbers for each bank, in.
    swap : in, 1 bit. The tick has ended; no axon waits.
    load, load_fold : in. LOAD this fold as soon as possible,
    granted : out, 1 bit. which happens in this cycle.
    fire, word_0 … : out. To the synapse memory.
    step, fold : out. To the lanes, at the time of ``fire``.
    idle : out, 1 bit. In the next cycle no entry waits, as long as no axon does.
    bus : :class:`AccessBus`, in. Serves AXONS and ENTRIES where there are lists.
    """

    swap: Signal
    load: Signal
    load_fold: Signal
    granted: Signal
    fire: Signal
    step: "enum.EnumView[Step]"
    fold: Signal
    idle: Signal
    bus: AccessInterface

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        fold = bits_for(params.folds)
        super().__init__(
            {f"i_{bank}": In(stream.Signature(bits_for(params.bank_axons))) for bank in range(params.banks)}
            | {f"word_{bank}": Out(bits_for(params.words)) for bank in range(params.banks)}
            | {"swap": In(1), "load": In(1), "load_fold": In(fold), "granted": Out(1), "fire": Out(params.banks),
               "step": Out(Step), "fold": Out(fold), "idle": Out(1), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self.params.lists:
            self._lists(m)
        else:
            self._direct(m)
        with m.If(self.swap):
            m.d.comb += self.step.eq(Step.SWAP)
        if self.params.lists:
            with m.Elif(self.load):
                m.d.comb += [self.step.eq(Step.LOAD), self.granted.eq(1)]
        with m.Elif(self.fire.any()):
            m.d.comb += self.step.eq(Step.ADD)
        return m

    def _direct(self, m: Module) -> None:
        m.d.comb += self.idle.eq(1)
        for bank in range(self.params.banks):
            axon = getattr(self, f"i_{bank}")
            m.d.comb += [axon.ready.eq(1), getattr(self, f"word_{bank}").eq(axon.payload),
                         self.fire[bank].eq(axon.valid & axon.ready)]

    def _lists(self, m: Module) -> None:
        specs = memory_specs(self.params)
        walkers = []
        values = []
        for bank in range(self.params.banks):
            m.submodules[f"walker_{bank}"] = walker = ListWalker(
                self.params, struct(specs[Memory.AXONS].entry), struct(specs[Memory.ENTRIES].entry))
            wiring.connect(m, wiring.flipped(getattr(self, f"i_{bank}")), walker.i)
            for kind, address, target in ((Memory.AXONS, walker.axon_address, walker.axon),
                                          (Memory.ENTRIES, walker.entry_address, walker.entry)):
                values.append(self._table(m, kind, bank, address, target, walker.idle))
            walkers.append(walker)
        chosen = Signal(bits_for(self.params.folds))
        for walker in reversed(walkers):
            with m.If(walker.o.valid):
                m.d.comb += chosen.eq(walker.o.payload.fold)
        m.d.comb += [self.bus.value.eq(reduce(or_, values)), self.fold.eq(Mux(self.load, self.load_fold, chosen)),
                     self.idle.eq(Cat(walker.idle for walker in walkers).all())]
        for bank, walker in enumerate(walkers):
            m.d.comb += [walker.o.ready.eq((walker.o.payload.fold == chosen) & ~self.load),
                         getattr(self, f"word_{bank}").eq(walker.o.payload.word),
                         self.fire[bank].eq(walker.o.valid & walker.o.ready)]

    def _table(self, m: Module, kind: Memory, bank: int, address: Signal, target: StructView, idle: Signal) -> Signal:
        """One bank's table, read by its walker, or by the bus while the walker is idle; returns what it shows on the bus."""
        spec = memory_specs(self.params)[kind]
        index, _ = spec.address
        depth = spec.sizes[0]
        m.submodules[f"{kind.name.lower()}_{bank}"] = table = ram(struct(spec.entry), depth, block=depth > 64)
        read, write = table.read_port(), table.write_port()
        mine = self.bus.chosen[kind] & (self.bus.address >> index.bits == bank)
        shown = later(m, mine, 1, f"{kind.name.lower()}_shown_{bank}")
        value = Signal(spec.entry.bits, name=f"{kind.name.lower()}_value_{bank}")
        m.d.comb += [
            read.addr.eq(Mux(mine & idle, self.bus.address[: index.bits], address)), target.eq(read.data),
            write.addr.eq(self.bus.address[: index.bits]), write.data.eq(self.bus.data), write.en.eq(mine & self.bus.write),
            value.eq(Mux(shown, read.data.as_value(), 0)),
        ]
        return value
