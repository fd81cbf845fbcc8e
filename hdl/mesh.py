"""The mesh: cores and routers on a grid, seen from the corner where the host is."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, ClockDomain, ClockSignal, DomainRenamer, Module, ResetSignal, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import COPY, Component, later
from spikeloom.hdl.core import PARTS, Core
from spikeloom.hdl.layouts import StructView, flit_layout, struct_signal, tick_layout
from spikeloom.hdl.router import Router
from spikeloom.params import ArrayParams

#: Resets of each place: those of the core's parts, and the router's.
RESETS = len(PARTS) + 1


class Mesh(Component):
    """All cores. Tick signals reach every core a cycle after they were given.

    Members
    -------
    resets : in. :data:`RESETS` for each core and its router, core by core, each from a register of its own.
    i, o : streams of flits, from and to the host.
    tick, clear : in, 1 bit. As for a core.
    info : :func:`tick_layout`, in. About the tick that ends, at the time of ``tick``.
    overlap : in, 2 bits. Of ``idle`` and ``resting``, leave out what is not due in the running tick, which is one of turn 0, of turn 1.
    idle : out, 4 bits. All of them are set: nothing is under way anywhere, nor did anything come in a cycle ago. What ``tick`` or
        ``clear`` began a cycle ago is seen later.
    resting : out, 1 bit. No core has anything to do; packets may still be on their way. Likewise.
    reads : out. Synapse words read, over all cores; some cycles late.
    faults : out, 3 bits. As for a core, of any core, a cycle ago.
    """

    resets: Signal
    i: stream.Interface
    o: stream.Interface
    tick: Signal
    info: StructView
    clear: Signal
    overlap: Signal
    idle: Signal
    resting: Signal
    reads: Signal
    faults: Signal

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        flit = stream.Signature(flit_layout(params))
        super().__init__({
            "resets": In(params.cores * RESETS), "i": In(flit), "o": Out(flit), "tick": In(1), "info": In(tick_layout(params)),
            "clear": In(1), "overlap": In(2), "idle": Out(4), "resting": Out(1), "reads": Out(range(params.cores * params.banks + 1)),
            "faults": Out(3)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params = self.params
        cores: list[Core] = []
        routers: dict[tuple[int, int], Router] = {}
        for y in range(params.rows):
            for x in range(params.columns):
                resets = self.resets.word_select(len(cores), RESETS)
                m.domains += ClockDomain(domain := f"router_{x}_{y}", local=True)
                m.submodules[f"core_{x}_{y}"] = core = Core(params)
                router = Router(params, x, y)
                m.submodules[f"router_{x}_{y}"] = DomainRenamer(domain)(router)
                m.d.comb += [core.resets.eq(resets[: len(PARTS)]), ClockSignal(domain).eq(ClockSignal()),
                             ResetSignal(domain).eq(resets[len(PARTS)])]
                wiring.connect(m, core.o, router.i_local)
                wiring.connect(m, router.o_local, core.i)
                # Each core has its own, so that what a register reaches does not grow with the mesh.
                tick, clear = Signal(name=f"tick_{x}_{y}", attrs=COPY), Signal(name=f"clear_{x}_{y}", attrs=COPY)
                info = struct_signal(tick_layout(params), f"info_{x}_{y}", attrs=COPY)
                m.d.sync += [tick.eq(self.tick), clear.eq(self.clear)]
                with m.If(self.tick):
                    m.d.sync += info.eq(self.info)
                m.d.comb += [core.tick.eq(tick), core.info.eq(info), core.clear.eq(clear)]
                cores.append(core)
                routers[x, y] = router
        for (x, y), router in routers.items():
            if x + 1 < params.columns:
                wiring.connect(m, router.o_east, routers[x + 1, y].i_west)
                wiring.connect(m, routers[x + 1, y].o_west, router.i_east)
            if y + 1 < params.rows:
                wiring.connect(m, router.o_south, routers[x, y + 1].i_north)
                wiring.connect(m, routers[x, y + 1].o_north, router.i_south)
        wiring.connect(m, wiring.flipped(self.i), routers[0, 0].i_west)
        wiring.connect(m, routers[0, 0].o_west, wiring.flipped(self.o))

        # The cores' and routers' own are registers: of up to four of each, a bit of ``idle`` is one level of logic, and a decision that
        # hangs on all bits of it the second.
        busy = reduce(or_, [router.busy for router in routers.values()])
        m.d.comb += [
            self.idle[0].eq(self.overlap.any() | Cat(core.idle for core in cores).all()),
            self.idle[1].eq(~self.overlap.any() | Cat(core.settled for core in cores).all()),
            self.idle[2].eq(self.overlap[1] | ~busy[0]),
            self.idle[3].eq(self.overlap[0] | ~busy[1]),
            self.resting.eq(self.idle[:2].all()),
        ]
        # A register for each core, and for the sum of each two: a carry chain at most, between registers.
        reads: list[Value] = [later(m, core.reads, 1, f"reads_{number}") for number, core in enumerate(cores)]
        while len(reads) > 1:
            reads = [later(m, sum(reads[place + 1 : place + 2], reads[place]), 1, f"reads_{len(reads)}_{place}")
                     for place in range(0, len(reads), 2)]
        faults = [later(m, core.faults, 1, f"faults_{number}") for number, core in enumerate(cores)]
        m.d.comb += [self.reads.eq(reads[0]), self.faults.eq(reduce(or_, faults))]
        return m
