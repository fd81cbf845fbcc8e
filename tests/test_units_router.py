"""Routers as a mesh in Amaranth's simulator: every copy of every flit arrives, in time, and nowhere else."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest
from amaranth.hdl import Elaboratable, Module
from amaranth.lib import wiring

from spikeloom.hdl.layouts import Kind, flit_layout
from spikeloom.hdl.router import Router
from spikeloom.params import ArrayParams
from tests.units import Taker, feed, packed, simulate


class Routers(Elaboratable):
    """Routers of a mesh, connected as in hdl.mesh, with their local ports open."""

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        self.routers = {(x, y): Router(params, x, y) for y in range(params.rows) for x in range(params.columns)}

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for (x, y), router in self.routers.items():
            m.submodules[f"router_{x}_{y}"] = router
            if (x + 1, y) in self.routers:
                wiring.connect(m, router.o_east, self.routers[x + 1, y].i_west)
                wiring.connect(m, self.routers[x + 1, y].o_west, router.i_east)
            if (x, y + 1) in self.routers:
                wiring.connect(m, router.o_south, self.routers[x, y + 1].i_north)
                wiring.connect(m, self.routers[x, y + 1].o_north, router.i_south)
        return m


@pytest.mark.parametrize(("columns", "rows"), [(1, 1), (3, 3), (4, 2)])
@pytest.mark.parametrize("pause", [0.0, 0.5])
def test_every_flit_reaches_each_core_of_its_rectangle_once(columns: int, rows: int, pause: float) -> None:
    params = ArrayParams(columns=columns, rows=rows, lanes=8, banks=2, words=32, block=8)
    rng = random.Random(f"{columns}/{rows}/{pause}")
    mesh, layout = Routers(params), flit_layout(params)
    places = list(mesh.routers)
    per_source = 40

    def traffic(number: int, to_host: bool) -> list[dict[str, Any]]:
        flits = []
        for i in range(per_source):
            (x0, x1), (y0, y1) = (sorted(rng.choices(range(size), k=2)) for size in (columns, rows))
            flits.append({"payload": number * 256 + i, "kind": Kind.SPIKES, "target": {
                "x0": x0, "x1": x1, "y0": y0, "y1": y1, "host": int(to_host and rng.random() < 0.3)}, "due": rng.randrange(2)})
        return flits

    host = mesh.routers[0, 0]
    inputs = [(host.i_west, traffic(0, False))]
    inputs += [(router.i_local, traffic(1 + n, True)) for n, router in enumerate(mesh.routers.values())]
    takers = {place: Taker(router.o_local, rng, pause) for place, router in mesh.routers.items()}
    west = Taker(host.o_west, rng, pause)
    expected: dict[Any, Counter[int]] = {place: Counter() for place in [*places, "host"]}
    for _, flits in inputs:
        for flit in flits:
            target = flit["target"]
            reached = ["host"] if target["host"] else [
                (x, y) for x, y in places if target["x0"] <= x <= target["x1"] and target["y0"] <= y <= target["y1"]]
            for place in reached:
                expected[place][packed(layout, flit)] += 1
    met = Counter[str]()

    async def watch(ctx: Any) -> None:
        every = [router.busy for router in mesh.routers.values()]
        while True:
            _, _, *busy = await ctx.tick().sample(*every)
            met["busy" if any(busy) else "idle"] += 1
            met["busy with both turns"] += any(value == 3 for value in busy)
            met["busy with one turn"] += any(value in (1, 2) for value in busy)

    async def done(ctx: Any) -> None:
        wanted = sum(counter.total() for counter in expected.values())
        while sum(len(taker.found) for taker in [*takers.values(), west]) < wanted:
            await ctx.tick()
        await ctx.tick().repeat(10)
        assert not any(ctx.get(router.busy) for router in mesh.routers.values())

    copies = sum(counter.total() for counter in expected.values())
    feeders = [feed(stream, flits, rng, pause) for stream, flits in inputs]
    # The busiest link carries no more than all copies, at one a cycle that nobody pauses, and a hop is a cycle.
    simulate(mesh, *feeders, done, background=[watch, west.run, *(taker.run for taker in takers.values())],
             limit=int((copies + 50) / (1 - pause) * (1 if pause == 0 else 2)))
    for place, taker in takers.items():
        assert Counter(taker.payloads) == expected[place], f"core {place}"
    assert Counter(west.payloads) == expected["host"]
    assert met["busy"] > per_source
    assert met["busy with both turns"] > 5
    assert met["busy with one turn"] > 5
    if pause:
        assert sum(taker.refused for taker in takers.values()) > 50, "no core ever made a flit wait"
    if columns > 1:
        assert copies > 2 * len(inputs) * per_source, "flits hardly branched"
        bound = max(counter.total() for counter in expected.values())
        assert max(cycle for taker in takers.values() for cycle, _ in taker.found) > bound, "no two flits ever wanted one core at once"
