"""The way out of the host port in Amaranth's simulator, with random waits: every word, in the order in which they came."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from spikeloom.hdl.answers import Answers
from spikeloom.hdl.layouts import WORD, Kind, spikes_layout
from spikeloom.packets import RESPONSES, Response
from spikeloom.params import ArrayParams
from tests.units import Taker, packed, settle, simulate

PARAMS = ArrayParams(lanes=8, banks=2, words=32, block=8, destinations=16)
#: Numbers of the ticks of either turn.
TICKS = [700, 701]


@pytest.mark.parametrize("pause", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("often", [0.2, 0.8])
def test_a_word_and_a_flit_that_come_together_leave_one_behind_the_other(pause: float, often: float) -> None:
    rng = random.Random(f"{pause}/{often}")
    unit = Answers(PARAMS)
    taker = Taker(unit.o, rng, pause)
    expected: list[int] = []
    met = Counter[str]()

    def word(data: Any, last: int = 0) -> int:
        return packed(WORD, {"data": int(data), "last": last})

    async def run(ctx: Any) -> None:
        for turn, tick in enumerate(TICKS):
            ctx.set(unit.ticks[turn], tick)
        said, flit = None, None
        for number in range(600):
            if said is None and rng.random() < often:
                said = {"data": int(RESPONSES[Response.ECHO].pack(opcode=Response.ECHO, payload=number, cycles=number)), "last": number % 2}
            if flit is None and rng.random() < often:
                axons = {"mask": rng.randrange(1, 256), "block": rng.randrange(4)}
                entry, due = rng.random() < 0.3, rng.randrange(2)
                flit = {"payload": number if entry else packed(spikes_layout(PARAMS), axons | {"delay": 0}),
                        "kind": Kind.DATA if entry else Kind.SPIKES, "due": due}
                became = (RESPONSES[Response.DATA].pack(opcode=Response.DATA, data=number) if entry else
                          RESPONSES[Response.SPIKES].pack(opcode=Response.SPIKES, tick=TICKS[due], **axons))
            ctx.set(unit.own.valid, said is not None)
            ctx.set(unit.own.payload, said or {"data": 0, "last": 0})
            ctx.set(unit.flits.valid, flit is not None)
            if flit is not None:
                ctx.set(unit.flits.payload, flit)
            _, _, takes_word, takes_flit = await ctx.tick().sample(unit.own.ready, unit.flits.ready)
            met["together"] += bool(said and takes_word and flit and takes_flit)
            met["refused"] += bool(flit and not takes_flit)
            if said is not None and takes_word:
                expected.append(word(**said))
                said = None
            if flit is not None and takes_flit:
                expected.append(word(became))
                flit = None
        ctx.set(unit.own.valid, 0)
        ctx.set(unit.own.payload, {"data": 0, "last": 0})
        ctx.set(unit.flits.valid, 0)
        await settle(ctx, unit.idle)

    simulate(unit, run, background=[taker.run])
    assert taker.payloads == expected
    assert met["together"] > 5
    assert met["refused"] > 5 or (pause, often) != (0.9, 0.8)
