"""The mesh cannot deadlock by routing: proved by exhaustion over the router's own route function.

A flit waits in an input queue of a router, a *channel*, for room in the queues behind the outputs that it needs. Dally and
Seitz (IEEE Trans. Computers C-36, 1987): if the graph of these waits has no cycle, some waiting flit can always move,
provided that whoever stands at the end of a way takes what it is sent. So there are three things to show: the graph has no
cycle, whatever bits a flit carries; the elaborated router sends flits where the route function says; and a core takes flits
while nobody takes its own.
"""

from __future__ import annotations

import random
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.sim import Simulator

from spikeloom.hdl.core import Core
from spikeloom.hdl.layouts import Kind
from spikeloom.hdl.router import Router
from spikeloom.memories import Control, Memory, class_records, controls, destination_record, memory_specs
from spikeloom.params import ArrayParams
from tests.units import arrival

Place = tuple[int, int]
Channel = tuple[Place, str]  #: a router, and the input whose queue it is
Graph = dict[Channel, set[Channel]]
Bools = npt.NDArray[np.bool_]

OPPOSITE = {"north": "south", "south": "north", "east": "west", "west": "east"}
STEP = {"north": (0, -1), "south": (0, 1), "east": (1, 0), "west": (-1, 0)}
SHAPES = [(1, 1), (2, 1), (1, 2), (1, 3), (2, 2), (3, 2), (4, 2), (2, 3), (3, 3), (4, 4), (5, 3), (16, 1), (1, 16)]
HOST: Channel = ((0, 0), "west")  #: where flits from the host come in
REFUSED = "refused"


class Drawn(Router):
    """A router that is asked for its ways and never elaborated, about which Amaranth would warn."""

    _MustUse__silence = True


def mesh(columns: int, rows: int, router: type[Router] = Drawn) -> dict[Place, Router]:
    """The routers of a mesh."""
    params = ArrayParams(columns=columns, rows=rows)
    return {(x, y): router(params, x, y) for y in range(rows) for x in range(columns)}


def every_target(params: ArrayParams, host: bool = True) -> SimpleNamespace:
    """Every bit pattern of a flit's target, rectangles or not, one array a field, and last (with ``host``) the host."""
    bits = (params.x_bits, params.x_bits, params.y_bits, params.y_bits)
    fields = [part.ravel() for part in np.indices([1 << count for count in bits])]
    if host:
        fields = [np.append(part, 0) for part in fields]
    flag = np.zeros(len(fields[0]), bool)
    flag[-1] = host
    return SimpleNamespace(**dict(zip(("x0", "x1", "y0", "y1"), fields, strict=True)), host=flag)


def ways(router: Router, source: str, targets: SimpleNamespace) -> dict[str, Bools]:
    """The router's own route function, on arrays in place of signals: which outputs a flit from ``source`` needs."""
    asked: Any = router
    return {name: np.broadcast_to(way, targets.host.shape) for name, way in asked._ways(targets, source).items()}


def behind(place: Place, output: str) -> Channel | None:
    """The queue behind an output; None for the core and, west of (0, 0), for the host: they take everything."""
    if output == "local" or (place, output) == HOST:
        return None
    (x, y), (dx, dy) = place, STEP[output]
    return (x + dx, y + dy), OPPOSITE[output]


def waits(routers: dict[Place, Router]) -> Graph:
    """Which channels a flit in a channel may wait for, over all bit patterns of its target, whether or not it can get there."""
    targets = every_target(next(iter(routers.values())).params)
    graph: Graph = {}
    for place, router in routers.items():
        for source in router.ports:
            used = [name for name, way in ways(router, source, targets).items() if way.any()]
            graph[place, source] = {channel for name in used if (channel := behind(place, name)) is not None}
    return graph


def order(graph: Graph) -> list[Channel]:
    """Channels so that each comes before those it waits for; AssertionError names what is left of a cycle."""
    into = Counter(channel for behind in graph.values() for channel in behind)
    ready = [channel for channel in graph if not into[channel]]
    done: list[Channel] = []
    while ready:
        done.append(ready.pop())
        for channel in graph[done[-1]]:
            into[channel] -= 1
            if not into[channel]:
                ready.append(channel)
    assert len(done) == len(graph), f"These channels wait for each other: {sorted(set(graph) - set(done))}"
    return done


@pytest.mark.parametrize(("columns", "rows"), [*SHAPES, (16, 16)])
def test_no_channel_waits_for_itself(columns: int, rows: int) -> None:
    graph = waits(mesh(columns, rows))
    channels = order(graph)
    assert len(channels) == len(graph) == 5 * columns * rows - 2 * (columns + rows) + 1  # all inputs, and the host's
    assert {channel for behind in graph.values() for channel in behind} <= set(graph)  # no way leads out of the mesh


class Careless(Drawn):
    """Flits for a single core turn in either order, by the parity of their column: what must not be done."""

    def _ways(self, target: Any, source: str) -> dict[str, Any]:
        plain = super()._ways(target, source)
        first = ~target.host & (target.x0 == target.x1) & (target.y0 == target.y1) & (target.x0 & 1 == 0)
        along_y = {"north": target.y0 < self.y, "south": target.y0 > self.y}
        along_x = {"west": target.x0 < self.x, "east": target.x0 > self.x, "local": target.x0 == self.x}
        turned = along_y | {name: way & (target.y0 == self.y) for name, way in along_x.items()}
        return {name: first & turned[name] | ~first & plain.get(name, False) for name in self.ports if name != source}


def test_a_route_that_could_deadlock_is_found() -> None:
    with pytest.raises(AssertionError, match="These channels wait for each other"):
        order(waits(mesh(4, 2, Careless)))


def deliver(routers: dict[Place, Router], channels: list[Channel], start: Channel,
            targets: SimpleNamespace) -> tuple[dict[Place, npt.NDArray[np.int64]], npt.NDArray[np.int64]]:
    """Copies of a flit from ``start`` that reach each core, and the host, for every target: int64 (targets,)."""
    nothing = np.zeros(len(targets.host), np.int64)
    inside: dict[Channel, npt.NDArray[np.int64]] = {start: nothing + 1}
    cores, host = dict.fromkeys(routers, nothing), nothing
    for place, source in channels[channels.index(start):]:
        if (place, source) not in inside:
            continue
        for name, way in ways(routers[place], source, targets).items():
            copies = inside[place, source] * way
            channel = behind(place, name)
            if channel is not None:
                inside[channel] = inside.get(channel, 0) + copies
            elif name == "local":
                cores[place] = cores[place] + copies
            else:
                host = host + copies
    return cores, host


@pytest.mark.parametrize(("columns", "rows"), SHAPES)
def test_every_rectangle_is_reached_once_from_everywhere(columns: int, rows: int) -> None:
    """Once each core of the rectangle, and no other; flits for the host once the host. Other bit patterns reach no core twice."""
    routers = mesh(columns, rows)
    params = routers[0, 0].params
    channels = order(waits(routers))
    for start in [HOST, *((place, "local") for place in routers)]:
        targets = every_target(params, host=start != HOST)
        sound = ~targets.host & (targets.x0 <= targets.x1) & (targets.x1 < columns)
        sound &= (targets.y0 <= targets.y1) & (targets.y1 < rows)
        assert np.count_nonzero(sound) == columns * (columns + 1) * rows * (rows + 1) // 4
        cores, host = deliver(routers, channels, start, targets)
        np.testing.assert_array_equal(host, targets.host)
        for (x, y), copies in cores.items():
            wanted = (targets.x0 <= x) & (x <= targets.x1) & (targets.y0 <= y) & (y <= targets.y1)
            np.testing.assert_array_equal(copies[sound], wanted[sound], err_msg=f"core ({x}, {y}) from {start}")
            assert copies.max() <= 1
            assert not copies[targets.host].any()


@pytest.mark.parametrize("place", [(x, y) for y in range(3) for x in range(3)])
def test_the_elaborated_router_sends_each_copy_once_where_the_function_says(place: Place) -> None:
    """All targets at all inputs, inputs and outputs pausing at random."""
    router: Any = Router(ArrayParams(columns=3, rows=3), *place)
    targets = every_target(router.params, host=place != (0, 0))
    count = len(targets.host)
    queues = {source: list(range(count)) for source in router.ports}
    rng = random.Random(7)
    for queue in queues.values():
        rng.shuffle(queue)
    wanted = Counter((source, name, number) for source in router.ports for name, way in ways(router, source, targets).items()
                     for number in np.flatnonzero(way).tolist())
    found: Counter[tuple[str, str, int]] = Counter()
    met: Counter[str] = Counter()

    async def bench(ctx: Any) -> None:
        for _ in range(40 * count):
            for number, source in enumerate(router.ports):
                stream = getattr(router, f"i_{source}")
                offered = bool(queues[source]) and rng.random() < 0.7
                ctx.set(stream.valid, offered)
                if offered:
                    at = queues[source][-1]
                    target = {name: int(getattr(targets, name)[at]) for name in ("x0", "x1", "y0", "y1", "host")}
                    ctx.set(stream.payload, {"payload": number << 16 | at, "kind": Kind.SPIKES, "target": target})
            for name in router.ports:
                ctx.set(getattr(router, f"o_{name}").ready, rng.random() < 0.6)
            for source in router.ports:
                stream = getattr(router, f"i_{source}")
                if ctx.get(stream.valid) and ctx.get(stream.ready):
                    queues[source].pop()
                met[REFUSED] += int(ctx.get(stream.valid) and not ctx.get(stream.ready))
            for name in router.ports:
                stream = getattr(router, f"o_{name}")
                if ctx.get(stream.valid) and ctx.get(stream.ready):
                    number = ctx.get(stream.payload.payload)
                    found[router.ports[number >> 16], name, number & 0xFFFF] += 1
            await ctx.tick()
            if not any(queues.values()) and not ctx.get(router.busy):
                return
        raise AssertionError(f"Flits are still inside after {40 * count} cycles: {queues}")

    simulator: Any = Simulator(router)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert found == wanted
    assert met[REFUSED] > 0


@pytest.mark.parametrize("folds", [1, 2])
def test_a_core_takes_flits_while_nobody_takes_its_own(folds: int) -> None:
    """Every neuron spikes, the way out is shut for good, and spikes and entries to write still go in, each within 16 cycles: until
    three packets of four axons a bank have gone, of which two came before it was known that many wait."""
    params = ArrayParams(lanes=4, banks=2, words=16, axons=16, entries=16, block=8, folds=folds, destinations=4, delay_depth=256)
    core: Any = Core(params)
    rng = random.Random(3)
    spikes = []
    for _ in range(300):
        mask, block, late = rng.choice([255, rng.randrange(256)]), rng.randrange(params.axon_blocks), rng.random() < 0.1
        spikes.append({"kind": Kind.SPIKES, "arrival": arrival(params, Kind.SPIKES, late),
                       "payload": mask | block << params.block | late << params.block + params.block_bits})
    access = {"arrival": arrival(params, Kind.DATA)}
    entries = [access | {"kind": Kind.DATA, "payload": rng.randrange(1 << 20)} for _ in range(30)]
    met: Counter[str] = Counter()

    async def give(ctx: Any, flit: dict[str, Any], limit: int) -> None:
        ctx.set(core.i.payload, flit)
        ctx.set(core.i.valid, 1)
        for _ in range(limit):
            taken = ctx.get(core.i.ready)
            met["shut"] += ctx.get(core.o.valid)
            await ctx.tick()
            if taken:
                ctx.set(core.i.valid, 0)
                return
            met[REFUSED] += 1
        raise AssertionError(f"The core does not take {flit} within {limit} cycles")

    async def bench(ctx: Any) -> None:
        for memory, address, words in configuration(params):
            await give(ctx, access | {"kind": Kind.ADDRESS, "payload": address | memory << 20}, 1)
            for word in words:
                await give(ctx, access | {"kind": Kind.DATA, "payload": word}, 1)
        await ctx.tick().repeat(4)
        assert ctx.get(core.idle)
        ctx.set(core.tick, 1)
        await ctx.tick()
        ctx.set(core.tick, 0)
        await ctx.tick().repeat(40)
        assert ctx.get(core.o.valid)
        await give(ctx, access | {"kind": Kind.ADDRESS, "payload": Memory.BIAS << 20}, 1)
        flits = spikes + entries
        rng.shuffle(flits)
        for flit in flits:
            await give(ctx, flit, 16)
        await ctx.tick().repeat(100)
        assert ctx.get(core.o.valid)
        assert not ctx.get(core.idle)  # its own spikes are still there

    simulator: Any = Simulator(core)
    simulator.add_clock(1e-8)
    simulator.add_testbench(bench)
    simulator.run()
    assert met["shut"] >= len(spikes) + len(entries)
    assert met[REFUSED] > 0  # the banks' queues were full at times


def configuration(params: ArrayParams) -> list[tuple[Memory, int, list[int]]]:
    """(memory, first address, entries) by which every neuron spikes in every tick, to two destinations."""
    specs = memory_specs(params)
    rows = params.neuron_rows
    control = {Control.SLICES: 1, Control.GROUPS: params.lane_rows, Control.FOLDS: params.folds}
    _, rules = class_records(params)
    destination = {"mask": 3, "x1": 0, "delay": 0}
    record = destination_record(params)
    return [(Memory.CONTROL, 0, [control[index] for index in controls(params)]),
            (Memory.CLASSES, 0, [0, int(rules.pack(spiking=1, phases=1))]),
            (Memory.FANOUT, 0, [int(specs[Memory.FANOUT].entry.pack(start=0, valid=1))] * rows),
            (Memory.DESTINATIONS, 0, [int(record.pack(**destination)), int(record.pack(**destination, last=1))])]
