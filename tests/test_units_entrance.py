"""The way into a core in Amaranth's simulator: every packet of every kind, with ticks that begin while one waits."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from spikeloom.hdl.entrance import Entrance, axons_layout, delayed_layout
from spikeloom.hdl.layouts import Kind, flit_layout, spikes_layout
from spikeloom.params import ArrayParams
from tests.units import arrival, bits, packed, simulate

PARAMS = ArrayParams(lanes=8, banks=2, words=32, block=8, delays=4, delay_depth=4, destinations=16)
OUTPUTS = ("o_now", "o_ahead", "o_later", "o_access")


def packet(params: ArrayParams, rng: random.Random) -> dict[str, Any]:
    """A flit of any kind, by its fields; those of SPIKES beside it."""
    kind = rng.choice([Kind.SPIKES] * 9 + [Kind.ADDRESS, Kind.DATA, Kind.READ])
    spikes = {"mask": rng.randrange(1, 1 << params.block), "block": rng.randrange(params.axon_blocks),
              "delay": rng.randrange(params.delays)}
    ahead = int(rng.random() < 0.25)
    flit = {"payload": packed(spikes_layout(params), spikes) if kind is Kind.SPIKES else rng.getrandbits(32), "kind": kind,
            "arrival": arrival(params, kind, spikes["delay"], ahead),
            "target": dict.fromkeys(("x0", "x1", "y0", "y1", "host"), 0), "due": rng.randrange(2)}
    return {"flit": flit, "spikes": spikes | {"ahead": ahead}}


def whither(params: ArrayParams, packet: dict[str, Any], turn: int, end: int) -> tuple[str, int] | None:
    """Where a packet goes that leaves in a tick of this turn, and as what; None: it is of a sample that ended with this tick.

    ``due`` is the tick after the one in which the packet was made; of a packet of the host the tick that it is for.
    """
    flit, spikes = packet["flit"], packet["spikes"]
    if flit["kind"] is not Kind.SPIKES:
        return "o_access", packed(flit_layout(params), flit)
    passed = flit["due"] == turn
    axons = {name: spikes[name] for name in ("mask", "block")}
    if spikes["ahead"]:
        return "o_now" if passed else "o_ahead", packed(axons_layout(params), axons)
    left = spikes["delay"] - passed  # ticks from the running one
    if spikes["delay"] and passed and end:
        return None
    if left <= 0:
        return "o_now", packed(axons_layout(params), axons)
    return "o_later", packed(delayed_layout(params), axons | {"delay": spikes["delay"], "made": 1 - flit["due"]})


@pytest.mark.parametrize("delays", [1, 4])
@pytest.mark.parametrize(("pause_in", "pause_out"), [(0.0, 0.0), (0.0, 0.6), (0.6, 0.0), (0.4, 0.5)])
def test_every_packet_leaves_once_where_the_running_tick_says(delays: int, pause_in: float, pause_out: float) -> None:
    """The two outputs that may pause do so; a tick begins in any cycle but while a packet that was let go on waits, which it would have to
    wait for."""
    params = replace(PARAMS, delays=delays)
    rng = random.Random(f"{delays}/{pause_in}/{pause_out}")
    unit = Entrance(params)
    outputs = [getattr(unit, name) for name in OUTPUTS]
    met = Counter[str]()
    sent = [packet(params, rng) for _ in range(1500)]

    async def run(ctx: Any) -> None:
        inside: dict[str, Any] | None = None
        turn = end = came = taken = 0
        offered = None  # where the packet inside waited in the cycle before
        for cycle in range(20_000):
            if taken == len(sent) and inside is None:
                break
            if offered != "o_now" and rng.random() < 0.3:
                before = inside and whither(params, inside, turn, end)
                turn, end = 1 - turn, int(rng.random() < 0.3)
                if cycle > came + 1 and inside and whither(params, inside, turn, end) != before:
                    met["changed while it waited"] += 1
            ctx.set(unit.info, {"phase": 0, "age": 0, "end": end, "fresh": 0, "overlap": 1, "turn": turn})
            offer = taken < len(sent) and rng.random() >= pause_in
            ctx.set(unit.i.valid, offer)
            if offer:
                ctx.set(unit.i.payload, sent[taken]["flit"])
            ready = {name: int(name in ("o_ahead", "o_later") or rng.random() >= pause_out) for name in OUTPUTS}
            for name, output in zip(OUTPUTS, outputs, strict=True):
                ctx.set(output.ready, ready[name])
            _, _, takes, *found = await ctx.tick().sample(
                unit.i.ready, *(output.valid for output in outputs), *(output.payload for output in outputs))
            valid = dict(zip(OUTPUTS, found[:4], strict=True))
            payloads = dict(zip(OUTPUTS, map(bits, found[4:]), strict=True))

            wanted = whither(params, inside, turn, end) if inside else None
            there = [name for name in OUTPUTS if valid[name]]
            assert there in ([], [wanted and wanted[0]]), f"cycle {cycle}: {inside} at {there}"
            if wanted and wanted[0] in ("o_now", "o_access"):
                assert there, f"cycle {cycle}: {inside} is not offered"
            if there:
                assert payloads[there[0]] == wanted[1], f"cycle {cycle}: {inside}"
            leaves = bool(there and ready[there[0]])
            dropped = bool(inside and not wanted and takes)
            if inside:
                assert takes == (leaves or dropped), f"cycle {cycle}: {inside} is lost or doubled"
                met["dropped" if dropped else f"{inside['flit']['kind'].name} to {there[0]}" if leaves else "waited"] += 1
                met["behind another tick"] += leaves and there == ["o_now"] and not inside["spikes"]["ahead"] and inside["spikes"]["delay"]
            if not pause_out:
                assert takes, f"cycle {cycle}: it stops without a pause"
                assert not inside or cycle == came + Entrance.LATENCY
            else:
                assert takes or not all(ready.values())
            offered = there[0] if there and not leaves else None
            if takes:
                inside = sent[taken] if offer else None
                came, taken = cycle, taken + offer
        else:
            pytest.fail("packets are left")

    simulate(unit, run, limit=21_000)
    wanted = ["SPIKES to o_now", "SPIKES to o_ahead", "ADDRESS to o_access", "DATA to o_access", "READ to o_access",
              *(["waited", "changed while it waited"] if pause_out else []),
              *(["SPIKES to o_later", "dropped", "behind another tick"] if delays > 1 else [])]
    for situation in wanted:
        assert met[situation] > 10, f"{situation}: {met}"
    assert sum(met[each] for each in met if " to " in each or each == "dropped") == len(sent)
