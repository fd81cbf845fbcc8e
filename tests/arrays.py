"""The few arrays whose RTL the tests share: building them is what takes time, and each is built once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from spikeloom.fields import Words
from spikeloom.image import Image
from spikeloom.packets import COMMANDS, RESPONSES, Command, Response
from spikeloom.params import ArrayParams, preset
from spikeloom.sim.stimulus import Case, random_case

TINY = preset("tiny")
SQUARE = ArrayParams(columns=2, rows=2, lanes=8, banks=2, words=32, block=8, delay_depth=16, destinations=32)
#: The same with neurons of up to two synaptic currents.
TWIN = replace(SQUARE, currents=2)
#: Room for the reference networks: two cores of wide state.
WIDE = ArrayParams(columns=2, lanes=80, banks=2, words=64, block=8, state_bits=32, accumulator_bits=16, destinations=256)


def word(command: Command | int, **fields: int) -> Words:
    """A command word, (1,) uint64; for codes that are no command, the code alone."""
    if command not in COMMANDS:
        return np.array([int(command) << 60], np.uint64)
    return np.atleast_1d(COMMANDS[Command(command)].pack(opcode=int(command), **fields))


def packet(*parts: Words) -> Words:
    """Words of a packet."""
    return np.concatenate(parts)


def answers(words: Words) -> list[tuple[Response, dict[str, int]]]:
    """The words of an answer, unpacked."""
    found = []
    for number in words.tolist():
        kind = Response(number >> 60)
        found.append((kind, {name: int(value) for name, value in RESPONSES[kind].unpack(np.uint64(number)).items()}))
    return found


def sound_case(params: ArrayParams, seed: int, spikes: int = 1) -> Case:
    """A random case that overflows nothing and in which the golden model sees at least ``spikes`` spikes."""
    from spikeloom.errors import MachineError
    from spikeloom.sim.golden import GoldenMachine
    for attempt in range(200):
        case = random_case(params, np.random.default_rng([seed, attempt]))
        golden = GoldenMachine()
        golden.load(case.image)
        try:
            result = golden.run(case.inputs)
        except MachineError:
            continue
        if sum(int(array.sum()) for array in result.spikes.values()) >= spikes:
            return case
    raise AssertionError(f"seed {seed} draws no such case in 200")


def everything(image: Image) -> dict[str, Any]:
    """Options of a run that reads every potential of every step."""
    return {"potentials": "steps", "record": [population.name for population in image.populations]}
