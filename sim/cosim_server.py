"""The cocotb test behind `cosim.CocotbTransport`: drives the array's ports as its client asks."""

from __future__ import annotations

import json
import logging
import os
import random
from collections.abc import Iterator
from multiprocessing.connection import Client, Connection
from typing import Any

import cocotb
import numpy as np
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, SimTimeoutError, with_timeout
from cocotb.utils import get_sim_time
from cocotbext.axi import AxiLiteBus, AxiLiteMaster, AxiStreamBus, AxiStreamFrame, AxiStreamSink, AxiStreamSource

#: Clock period in the simulator's own time steps: any even number will do, for time is counted in cycles.
PERIOD = 10
#: AXI asks for at least 16 cycles of reset.
RESET_CYCLES = 16


def _pauses(generator: random.Random, probability: float) -> Iterator[bool]:
    while True:
        yield generator.random() < probability


class PortError(Exception):
    """The array did not do what a request asked of its ports."""


class Server:
    """The array's ports, and what a client may ask of them."""

    def __init__(self, dut: Any, pauses: tuple[float, float], seed: int, limit: int) -> None:
        self._dut, self._limit = dut, limit
        # byte_size 64: the streams carry whole words. No reset is given: the server resets before the ports are made.
        self._source = AxiStreamSource(AxiStreamBus.from_prefix(dut, "s_axis"), dut.aclk, byte_size=64)
        self._sink = AxiStreamSink(AxiStreamBus.from_prefix(dut, "m_axis"), dut.aclk, byte_size=64)
        self._registers = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.aclk)
        write, read = self._registers.write_if, self._registers.read_if
        for number, (port, probability) in enumerate((
                (self._source, pauses[0]), (write.aw_channel, pauses[0]), (write.w_channel, pauses[0]),
                (read.ar_channel, pauses[0]), (self._sink, pauses[1]), (write.b_channel, pauses[1]),
                (read.r_channel, pauses[1]))):
            port.log.setLevel(logging.WARNING)  # a line for every packet would fill the log
            if probability:
                port.set_pause_generator(_pauses(random.Random(f"{seed}/{number}"), probability))
        for part in (write, read):
            part.log.setLevel(logging.WARNING)

    async def exchange(self, packet: bytes) -> bytes:
        """Send a packet and await its answer, both as 64-bit words, little-endian."""
        words = np.frombuffer(packet, "<u8").tolist()
        await self._source.send(AxiStreamFrame(words))
        try:
            frame = await self._within(self._sink.recv())
        except SimTimeoutError:
            raise PortError(f"The simulated array did not complete its answer to {len(words)} words within {self._limit} "
                            f"cycles; {'all' if self._source.idle() else 'not all'} of them were taken") from None
        return np.array(frame.tdata, "<u8").tobytes()

    async def read(self, address: int) -> int:
        """Read a register."""
        answer = await self._access(self._registers.read(address, 4), f"Reading register 0x{address:02x}")
        return int.from_bytes(answer.data, "little")

    async def write(self, address: int, value: int) -> None:
        """Write a register."""
        await self._access(self._registers.write(address, value.to_bytes(4, "little")), f"Writing register 0x{address:02x}")

    async def clock(self) -> int:
        """Cycles since the start."""
        return int(get_sim_time("step")) // PERIOD

    async def _access(self, transfer: Any, what: str) -> Any:
        try:
            answer = await self._within(transfer)
        except SimTimeoutError:
            raise PortError(f"{what}: no answer within {self._limit} cycles") from None
        if answer.resp:
            raise PortError(f"{what}: the array answered with AXI response {int(answer.resp)}")
        return answer

    async def _within(self, transfer: Any) -> Any:
        return await with_timeout(cocotb.start_soon(transfer), self._limit * PERIOD, "step")


async def _answer(server: Server, request: tuple[Any, ...]) -> tuple[str, Any]:
    """Do one request: ("done", value), or ("failed", what was wrong with the array)."""
    name, *arguments = request
    try:
        return "done", await getattr(server, name)(*arguments)
    except PortError as error:
        return "failed", str(error)


@cocotb.test()
async def serve(dut: Any) -> None:
    """Reset the array, then serve until the client says ``close`` or goes away."""
    settings = json.loads(os.environ["SPIKELOOM_COSIM"])
    dut.aresetn.value = 0
    server = Server(dut, tuple(settings["pauses"]), settings["seed"], settings["limit"])
    Clock(dut.aclk, PERIOD, "step").start()
    await ClockCycles(dut.aclk, RESET_CYCLES)
    dut.aresetn.value = 1
    await ClockCycles(dut.aclk, 1)
    connection: Connection = Client(settings["socket"], family="AF_UNIX")
    with connection:
        await ClockCycles(dut.aclk, 1)
        while True:
            try:
                request = connection.recv()  # the simulation stands still meanwhile
            except EOFError:
                return
            if request == ("close",):
                return
            connection.send(await _answer(server, request))
