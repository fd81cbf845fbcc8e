"""The decoder of the host's words in Amaranth's simulator, with random pauses, against the contract in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from spikeloom.hdl.layouts import Kind
from spikeloom.hdl.words import Words, decoded_layout
from spikeloom.packets import COMMANDS, Command, Fault
from spikeloom.params import ArrayParams
from tests.units import Taker, feed, simulate

PARAMS = ArrayParams(columns=3, rows=2, lanes=8, banks=2, words=16, block=8)


def random_word(rng: random.Random, code: int) -> int:
    """A word of this opcode; where it has a target or a count, that is often legal or small."""
    if code not in COMMANDS:
        return code << 60 | rng.getrandbits(60)
    fields = {field.name: rng.choice([0, 1, 2, rng.getrandbits(field.bits)]) & (1 << field.bits) - 1 for field in COMMANDS[Command(code)]}
    return int(COMMANDS[Command(code)].pack(**fields | {"opcode": code}))


def decoded(words: list[tuple[int, int]]) -> list[dict[str, Any]]:
    """What is to be done about each (word, last)."""
    found = []
    left, target = 0, None
    for value, last in words:
        fields = {name: int(value) >> low & (1 << bits) - 1 for name, low, bits in places(value)}
        code = Command.WRITE if left else value >> 60
        whole = "x1" in fields and fields["x0"] <= fields["x1"] < PARAMS.columns and fields["y0"] <= fields["y1"] < PARAMS.rows
        alone = "x0" in fields and fields["x0"] < PARAMS.columns and fields["y0"] < PARAMS.rows
        faults, does, kind = set(), "passes", None
        if left:
            left -= 1
            if target:
                does, kind = "sends", Kind.DATA
            if last and left:
                faults, left = {Fault.TRUNCATED}, 0
        elif code == Command.SPIKES:
            known = fields["block"] < PARAMS.axon_blocks and fields["mask"] >> PARAMS.block == 0
            if whole and known:
                does, kind = "sends", Kind.SPIKES
            else:
                faults = {Fault.BLOCK if whole else Fault.TARGET}
        elif code == Command.WRITE:
            does, faults = ("address", set()) if whole else ("passes", {Fault.TARGET})
            faults |= {Fault.TRUNCATED} if last and fields["count"] else set()
            left, target = 0 if last else fields["count"], whole
        elif code == Command.READ:
            does, faults = ("read", set()) if alone else ("fill", {Fault.TARGET})
        elif code == Command.TICK and (not fields["count"] or fields["period"] >= PARAMS.phases):
            faults = {Fault.COUNT}
        elif code in (Command.TICK, Command.RESET, Command.ECHO):
            does = Command(code).name.lower()
        elif code != Command.NOP:
            faults = {Fault.OPCODE}
        found.append({"opcode": code, "does": does, "faults": faults, "kind": kind, "last": last})
    return found


def places(value: int) -> list[tuple[str, int, int]]:
    """Fields of a word with their lowest bit and width."""
    record, low, found = COMMANDS.get(Command(value >> 60)) if value >> 60 in COMMANDS else None, 0, []
    for field in record or ():
        found.append((field.name, low, field.bits))
        low += field.bits
    return found


@pytest.mark.parametrize("pause", [0.0, 0.4])
def test_each_word_is_decoded_by_the_contract(pause: float) -> None:
    rng = random.Random(f"words {pause}")
    words = [(random_word(rng, rng.choice([*Command, Command.WRITE, Command.SPIKES, rng.randrange(16)])), int(rng.random() < 0.2))
             for _ in range(600)]
    unit = Words(PARAMS)
    taker = Taker(unit.o, rng, pause)
    sent = [{"data": value, "last": last} for value, last in words]

    async def drained(ctx: Any) -> None:
        while len(taker.found) < len(words):
            await ctx.tick()

    simulate(unit, feed(unit.i, sent, rng, pause), drained, background=[taker.run])
    met = Counter[str]()
    for (value, _), payload, wanted in zip(words, taker.payloads, decoded(words), strict=True):
        word = decoded_layout(PARAMS).from_bits(payload)
        does = [name for name in ("passes", "sends", "tick", "address", "read", "fill", "reset", "echo") if getattr(word, name)]
        faults = {fault for fault in Fault if word.faults >> fault & 1}
        kind = word.kind if does == ["sends"] else None
        assert {"opcode": word.opcode, "does": "".join(does), "faults": faults, "kind": kind, "last": word.last} == wanted, hex(value)
        assert word.waits == (does[0] in ("address", "read", "fill", "reset", "echo"))
        assert word.early == (kind == Kind.SPIKES and not word.last)
        assert word.at_once == (does[0] in ("passes", "tick"))
        met[f"{does[0]} {sorted(faults)} {kind}"] += 1
    assert len(met) >= 14, met
    if not pause:
        assert taker.found[-1][0] - taker.found[0][0] == len(words) - 1, "less than a word a cycle"
        assert taker.found[0][0] == Words.LATENCY
