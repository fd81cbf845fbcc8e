"""Words of the host streams, 64 bits each.

To the array: commands, one word each; WRITE is followed by ``count`` data words. From the array: responses. Every
packet sent (up to TLAST) is answered by one packet, whose last word is STATUS. A command that is illegal
is answered by an ERROR word and does nothing else; the array stays usable.

======== =======================================================================================
SPIKES   Add axons to the running tick: bit i of ``mask`` is axon ``block * params.block + i`` in each core of
         the rectangle x0..x1, y0..y1.
TICK     End the running tick once everything has arrived; then ``count - 1`` more ticks without input.
         ``period`` is the number of ticks in a step, less one. ``end``: the last of them ends a sample: its
         spikes reach the host but no core, waiting spikes are dropped, and every neuron starts from zero in the
         next tick. ``mark``: answer MARK when the last of them has been updated. ``overlap``, for networks
         whose connections take two ticks or more: a tick may end while spikes that are not due in it are on their
         way.
WRITE    Once the array is quiet, write ``count`` entries of ``memory`` from ``address`` on, in each core of the rectangle.
READ     Read ``count`` entries from core (x0, y0): answered by as many DATA words.
RESET    Start from zero: as ``end``, and also forget axons added to the running tick.
ECHO     Answer ECHO with the same payload, and the clock, once everything before it has been done.
======== =======================================================================================

DATA, MARK, ECHO, ERROR and STATUS words wait for the array to be quiet; SPIKES words come as they happen, before the MARK of
their tick. ``tick`` numbers the updates since RESET from 0, modulo 2**16; ``cycles`` is a free-running clock. A READ beyond
the memory answers DATA words of 0, so that the number of words never depends on the fault. ERROR words come before the STATUS of their
packet; for a bad address, which only the core finds out, perhaps after answers to later commands, and with the code of a later one.
"""

from __future__ import annotations

import enum

from spikeloom.fields import Field, Record

WORD_BITS = 64


class Command(enum.IntEnum):
    """Codes in the top four bits of a word to the array."""

    NOP = 0
    SPIKES = 1
    TICK = 2
    WRITE = 3
    READ = 4
    RESET = 5
    ECHO = 6


class Response(enum.IntEnum):
    """Codes in the top four bits of a word from the array."""

    SPIKES = 1
    DATA = 2
    MARK = 3
    ECHO = 6
    ERROR = 14
    STATUS = 15


class Fault(enum.IntEnum):
    """Bits of the sticky error register, and codes in ERROR words."""

    OPCODE = 0      #: unknown command
    TARGET = 1      #: rectangle outside the mesh, or empty
    BLOCK = 2       #: SPIKES beyond the axons of a core
    ADDRESS = 3     #: no such memory, or an address outside it
    TRUNCATED = 4   #: TLAST within the data of a WRITE
    DELAY = 5       #: more packets waiting for a tick than ``delay_depth``, or ticks with ``overlap`` and connections of one tick
    CURRENT = 6     #: a synaptic current left its width (the compiler excludes it)
    COUNT = 7       #: TICK with count 0, or period beyond ``phases``


_OPCODE = (Field("opcode", 4),)
_TARGET = (Field("y1", 4), Field("y0", 4), Field("x1", 4), Field("x0", 4))
_ACCESS = Record(Field("address", 20), Field("memory", 4), Field("count", 16), Field("pad", 4), *_TARGET, *_OPCODE)

COMMANDS: dict[Command, Record] = {
    Command.SPIKES: Record(Field("mask", 32), Field("block", 12), *_TARGET, *_OPCODE),
    Command.TICK: Record(Field("count", 32), Field("period", 4), Field("end", 1), Field("mark", 1), Field("overlap", 1), Field("pad", 21),
                         *_OPCODE),
    Command.WRITE: _ACCESS,
    Command.READ: _ACCESS,
    Command.RESET: Record(Field("pad", 60), *_OPCODE),
    Command.ECHO: Record(Field("pad", 32), Field("payload", 28), *_OPCODE),
}

RESPONSES: dict[Response, Record] = {
    Response.SPIKES: Record(Field("mask", 32), Field("block", 12), Field("tick", 16), *_OPCODE),
    Response.DATA: Record(Field("data", 36), Field("pad", 24), *_OPCODE),
    Response.MARK: Record(Field("cycles", 32), Field("pad", 12), Field("tick", 16), *_OPCODE),
    Response.ECHO: Record(Field("cycles", 32), Field("payload", 28), *_OPCODE),
    Response.ERROR: Record(Field("fault", 8), Field("pad", 44), Field("command", 8), *_OPCODE),
    Response.STATUS: Record(Field("faults", 16), Field("pad", 28), Field("tick", 16), *_OPCODE),
}
