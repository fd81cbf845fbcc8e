"""An array without neurons, for tests of the driver: it obeys the packets' rules, and what it computes is plain to see.

A spike of axon a in core (0, 0) is answered as output a in the same tick. After a tick, the membrane of every neuron is
``1000 · core + neuron address − ticks of the sample so far``. A tick takes 7 cycles, and 1 more per SPIKES word.
"""

from __future__ import annotations

import numpy as np

from spikeloom.fields import Ints, Words, sign_extend
from spikeloom.memories import Memory, memory_specs
from spikeloom.packets import COMMANDS, RESPONSES, Command, Fault, Response
from spikeloom.params import ArrayParams
from spikeloom.registers import ADDRESS, IDENTITY, VERSION, shape_word


class FakeArray:
    """A transport to the array described above; ``log`` keeps the packets it was sent."""

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        self.specs = memory_specs(params)
        self.log: list[Words] = []
        self.registers = {"IDENTITY": IDENTITY, "VERSION": VERSION, "DIGEST": int(params.digest()[:8], 16),
                          "SHAPE": shape_word(params)}
        self.memory = {(core, spec.memory): np.full(1 << spec.address.bits, 0x5A, np.uint64)
                       for core in range(params.cores) for spec in self.specs.values()}
        self.ignored: set[Memory] = set()  # memories whose WRITE is lost
        self.fault: Fault | None = None    # reported once, with the next packet
        self.clock = (1 << 32) - 50        # wraps soon
        self.tick = self.age = 0
        self.waiting: list[tuple[int, int]] = []
        self.closed = False

    def read_register(self, address: int) -> int:
        name = next(name for name, place in ADDRESS.items() if place == address)
        return self.registers.get(name, 0)

    def write_register(self, address: int, value: int) -> None:
        assert address == ADDRESS["CONTROL"]
        self.registers["CONTROLLED"] = value

    def close(self) -> None:
        self.closed = True

    def exchange(self, packet: Words) -> Words:
        self.log.append(packet)
        out: list[Words] = []
        position = 0
        while position < len(packet):
            word = packet[position]
            command = Command(int(word) >> 60)
            fields = {name: int(value) for name, value in COMMANDS[command].unpack(word).items()} if command else {}
            position += 1
            if command == Command.WRITE:
                self._write(fields, packet[position:position + fields["count"]])
                position += fields["count"]
            elif command == Command.READ:
                core = fields["y0"] * self.params.columns + fields["x0"]
                address = np.arange(fields["address"], fields["address"] + fields["count"])
                assert np.all(self.specs[Memory(fields["memory"])].valid(address))
                data = self.memory[core, Memory(fields["memory"])][address]
                out.append(RESPONSES[Response.DATA].pack(opcode=int(Response.DATA), data=data))
            elif command == Command.RESET:
                self.tick = self.age = 0
                self.waiting = []
            elif command == Command.ECHO:
                out.append(self._word(Response.ECHO, cycles=self.clock, payload=fields["payload"]))
            elif command == Command.SPIKES:
                self.clock = (self.clock + 1) % (1 << 32)
                if fields["x0"] == fields["y0"] == 0:
                    self.waiting.append((fields["block"], fields["mask"]))
            elif command == Command.TICK:
                self._tick(fields, out)
        if self.fault is not None:
            out.append(self._word(Response.ERROR, fault=int(self.fault), command=int(Command.SPIKES)))
        faults, self.fault = 0 if self.fault is None else 1 << self.fault, None
        return np.concatenate([*out, self._word(Response.STATUS, faults=faults, tick=self.tick % (1 << 16))])

    def _word(self, response: Response, **fields: int) -> Words:
        return np.atleast_1d(RESPONSES[response].pack(opcode=int(response), **fields))

    def _write(self, fields: dict[str, int], data: Words) -> None:
        assert len(data) == fields["count"]
        memory = Memory(fields["memory"])
        address = np.arange(fields["address"], fields["address"] + fields["count"])
        assert np.all(self.specs[memory].valid(address))
        for y in range(fields["y0"], fields["y1"] + 1):
            for x in range(fields["x0"], fields["x1"] + 1):
                if memory not in self.ignored:
                    self.memory[y * self.params.columns + x, memory][address] = data

    def _tick(self, fields: dict[str, int], out: list[Words]) -> None:
        assert fields["count"]
        out += [self._word(Response.SPIKES, tick=self.tick % (1 << 16), block=block, mask=mask) for block, mask in self.waiting]
        self.waiting = []
        self.tick += fields["count"]
        self.age += fields["count"]
        self.clock = (self.clock + 7 * fields["count"]) % (1 << 32)
        spec = self.specs[Memory.MEMBRANE]
        for core in range(self.params.cores):
            every = spec.addresses().astype(np.int64)
            value = membrane(core, every, self.age, self.params.state_bits)
            self.memory[core, Memory.MEMBRANE][every] = spec.entry.pack(value=value)
        if fields["mark"]:
            out.append(self._word(Response.MARK, cycles=self.clock, tick=(self.tick - 1) % (1 << 16)))
        if fields["end"]:
            self.age = 0


def membrane(core: int | Ints, neuron: Ints, age: int, bits: int) -> Ints:
    """The fake's membrane potential after ``age`` ticks of a sample."""
    return sign_extend(np.asarray(1000 * core + neuron - age, np.int64), bits)
