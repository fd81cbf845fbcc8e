"""A router of the mesh: single-flit packets, X before Y, multicast to a rectangle of cores."""

from typing import cast

from amaranth.hdl import Cat, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib import stream
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.component import Component, every, some
from spikeloom.hdl.layouts import StructView, flit_layout, struct_signal
from spikeloom.params import ArrayParams

#: Ports: the four neighbours and the core itself. Rows count southward, columns eastward.
PORTS = ("north", "east", "south", "west", "local")


class Router(Component):
    """Forwards each flit to every output on its way, one flit an output a cycle, a cycle a hop.

    A flit for a rectangle runs along its row and branches into each column of the rectangle, so every core of
    it gets one copy. A flit for the host runs west, then north, and leaves west of core (0, 0). Copies leave when their outputs
    are free, each on its own; the flit leaves its queue with the last copy. Packets turn from X to Y only, so the channels'
    waits form no cycle, and cores always accept: the mesh cannot deadlock as long as the host takes what it is sent.

    Parameters
    ----------
    params
        The array.
    x, y
        Place of the router.

    Members
    -------
    i_north … i_local : flit streams in. In the corner (0, 0), ``i_west`` comes from the host.
    o_north … o_local : flit streams out. In the corner (0, 0), ``o_west`` goes to the host.
    busy : out, 2 bits. A flit is inside that is due in a tick of turn 0, of turn 1. It comes a cycle late: a cycle ago one was inside, or
        came in.
    """

    # At an edge of the mesh, the ports toward it do not exist.
    i_north: stream.Interface
    i_east: stream.Interface
    i_south: stream.Interface
    i_west: stream.Interface
    i_local: stream.Interface
    o_north: stream.Interface
    o_east: stream.Interface
    o_south: stream.Interface
    o_west: stream.Interface
    o_local: stream.Interface
    busy: Signal

    def __init__(self, params: ArrayParams, x: int, y: int) -> None:
        self.params, self.x, self.y = params, x, y
        present = {"north": y > 0, "east": x < params.columns - 1, "south": y < params.rows - 1,
                   "west": x > 0 or (x, y) == (0, 0), "local": True}
        self.ports = tuple(name for name in PORTS if present[name])
        flit = flit_layout(params)
        super().__init__({"busy": Out(2)}
                         | {f"i_{name}": In(stream.Signature(flit)) for name in self.ports}
                         | {f"o_{name}": Out(stream.Signature(flit)) for name in self.ports})

    def _ways(self, target: StructView, source: str) -> dict[str, Value]:
        """Which outputs a flit from ``source`` needs."""
        x, y, host = self.x, self.y, target.host
        within = (target.x0 <= x) & (x <= target.x1)
        along_x = source in ("local", "east", "west")
        ways = {
            "east": ~host & (target.x1 > x) if source in ("local", "west") else None,
            "west": host | (target.x0 < x) if source in ("local", "east") and x > 0 else None,
            "north": host & (x == 0) | ~host & within & (target.y0 < y),
            "south": ~host & within & (target.y1 > y),
            "local": ~host & within & (target.y0 <= y) & (y <= target.y1),
        }
        if (x, y) == (0, 0):
            ways["west"] = host if source != "west" else None
        if not along_x:  # already in its column
            ways["north" if source == "north" else "south"] = None
        return {name: way for name, way in ways.items() if way is not None and name in self.ports}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        requests: dict[str, list[tuple[str, Value, Value]]] = {name: [] for name in self.ports}
        heads: dict[str, StructView] = {}
        busy: tuple[list[Value], list[Value]] = ([], [])
        for source in self.ports:
            i = getattr(self, f"i_{source}")
            names = list(self._ways(i.payload.target, source))
            left, taken = Signal(len(names), name=f"left_{source}"), Signal(len(names), name=f"taken_{source}")
            due, heads[source] = self._queue(m, source, left, taken)
            for turn in range(2):
                busy[turn].extend([due[turn], i.valid & (i.payload.due == turn)])
            for number, name in enumerate(names):
                requests[name].append((source, left[number], taken[number]))
        for name, asking in requests.items():
            self._arbitrate(m, name, asking, heads)
        m.d.sync += self.busy.eq(Cat(some(terms) for terms in busy))
        return m

    def _queue(self, m: Module, source: str, left: Signal, taken: Signal) -> tuple[tuple[Value, Value], StructView]:
        """Room for two flits that come from ``source``. Of the first in line it shows the ways that are ``left``, none if there is no
        flit, of which some are ``taken``. Returns whether there are flits that are due in a tick of either turn, and the first one.

        A flit's ways are found as it comes in, or as the one before it leaves. The flit itself stays where it is put, in one of two
        places, so that whether the one before it leaves, which is known late, is nothing to it.
        """
        i = getattr(self, f"i_{source}")
        room, there = Signal(init=1, name=f"room_{source}", reset_less=True), Signal(name=f"there_{source}")
        first, place = Signal(name=f"first_{source}"), Signal(name=f"place_{source}")
        places = [struct_signal(flit_layout(self.params), name=f"flit_{source}_{number}", reset_less=True) for number in range(2)]
        head, done = struct_signal(flit_layout(self.params), name=f"head_{source}"), Signal(name=f"done_{source}")
        m.d.comb += [i.ready.eq(room), done.eq((left & ~taken) == 0), head.eq(Mux(first, places[1], places[0]))]
        m.d.sync += place.eq(place ^ (i.valid & room))
        for number, flit in enumerate(places):
            with m.If(room & (place == number)):
                m.d.sync += flit.eq(i.payload)
        with m.If(done):
            m.d.sync += [first.eq(place ^ ~room), there.eq(i.valid | ~room)]
        # The same or a reset, which so takes no level of its own.
        with m.If(every([~one | goes | ResetSignal() for one, goes in zip(left, taken, strict=True)])):
            m.d.sync += room.eq(1)
        with m.Elif(i.valid):
            m.d.sync += room.eq(0)
        # What is left comes from where a flit is, of which one at most is first in line next.
        comes, *waits = (Cat(self._ways(flit.target, source).values()) for flit in (i.payload, *places))
        m.d.sync += left.eq(Cat(some([
            done & room & i.valid & comes[number], *(done & ~room & (first == 1 - at) & way[number] for at, way in enumerate(waits)),
            left[number] & ~taken[number] & ~done]) for number in range(len(left))))
        due = tuple((there & (head.due == turn)) | (~room & (Mux(first, places[0].due, places[1].due) == turn)) for turn in range(2))
        return cast("tuple[Value, Value]", due), head

    def _arbitrate(self, m: Module, name: str, asking: list[tuple[str, Value, Value]],
                   heads: dict[str, StructView]) -> None:
        """Give the output to one of the inputs that ask; the one served last comes last next time."""
        output = getattr(self, f"o_{name}")
        if not asking:
            m.d.comb += output.valid.eq(0)
            return
        if len(asking) == 1:
            ((source, request, taken),) = asking
            m.d.comb += [output.valid.eq(request), output.payload.eq(heads[source]), taken.eq(request & output.ready)]
            return
        # The one that is first in line for it: what was offered, so that it stays, or the one behind that which was served.
        count = len(asking)
        line, chosen = (Signal(range(count), name=f"{kind}_{name}") for kind in ("line", "chosen"))
        wins = Signal(count, name=f"wins_{name}")  # the same, a bit for each
        with m.Switch(line):
            for first in range(count):
                with m.Case(first):
                    for i in reversed([(first + step) % count for step in range(count)]):  # the latest assignment wins
                        with m.If(asking[i][1]):
                            m.d.comb += [chosen.eq(i), wins.eq(1 << i)]
        shown: list[Value] = []
        for i, (source, _, taken) in enumerate(asking):
            m.d.comb += taken.eq(wins[i] & output.ready)
            shown.append(heads[source].as_value())
            with m.If(wins[i]):
                m.d.sync += line.eq(Mux(output.ready, (i + 1) % count, i))
        for bit in chosen:  # a tree, of which four branches are one LUT
            shown = [Mux(bit, shown[at + 1], shown[at]) if at + 1 < len(shown) else shown[at] for at in range(0, len(shown), 2)]
        m.d.comb += [output.valid.eq(Cat(request for _, request, _ in asking).any()), output.payload.eq(shown[0])]
        if name == "local" and count > 3:  # what the core's entrance asks for at once
            arrivals = zip(*(heads[source].arrival.as_value() for source, _, _ in asking), strict=True)
            m.d.comb += output.payload.arrival.eq(Cat(some([wins[i] & bit for i, bit in enumerate(bits)]) for bits in arrivals))
