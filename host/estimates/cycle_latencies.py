"""Cycles and places of the gateware that the model of cycles counts with, each in this one place.

``tests/test_rtl.py`` pins EMPTY and those of READ; a change of the gateware's pipelines is a change of these numbers.
"""

from __future__ import annotations

# The host port.
#: From a pulse to the next at the earliest; from a pulse to the first word behind it; from the last word of a tick to its TICK's state.
EMPTY, FIRST_WORD, TO_TICK = 2, 1, 2
#: Words of the host that go ahead of their tick; cycles for which they still may once the cores rest.
AHEAD, RESTING = 16, 1
#: A MARK before a reading; else it is said in the cycle of the pulse.
MARK = 1
#: From a READ in a quiet array to the next word, without hops and entries; for each entry.
READ, READ_ENTRY = 12, 1

# The mesh.
#: From a pulse to the cycle in which cores see it.
TO_CORES = 1
#: Packets in a queue of a router.
ROUTER_QUEUE = 2
#: From the last transfer out of a queue, or the last step of a spike unit, until the host port takes the array for quiet.
QUIET = 2

# The spike unit.
#: Packets that it has made and not sent or kept; from making one to the cycle in which it can be sent or kept.
PACKETS, TO_SEND = 3, 2
#: From the spike unit's last step of an update to the last cycle in which a packet is kept for others to join: where that step made
#: none, and where it made one.
KEPT, KEPT_BEHIND = 1, 2

# Axons.
#: From a router's way out to the axons.
ENTRANCE = 1
#: Packets that wait for a bank from which on no more are taken, and cycles until that is seen.
BANK_QUEUE, SEEN = 24, 2
#: From a packet to its first axon; from an axon to the first entry of its list.
TO_FIRE, LIST = 1, 5
#: From the last axon, or entry, until the host port takes the core for quiet; a cycle less for an axon whose packet came that many cycles
#: before it.
FIRED, WALKED, FORESEEN = 1, 2, 2
#: From a delayed packet's arrival until it can leave its slot.
SLOT = 4

# The drain and the neurons.
#: From SWAP or LOAD at the issue stage, beside the latency of the synapse memory, to the request for the first row; from a fold's last
#: request to its LOAD.
TO_ASK, TO_LOAD = 1, 1
#: From the request for a row's last part to its sum, from the sum to its writing, from there to the queue's way out where it sends
#: potentials; others go past it.
TO_SUM, TO_WRITE, TO_LEAVE = 3, 6, 1
#: Rows inside from which on no more are asked for; from the cycle in which one is taken out to the next request.
ROWS, TO_ROOM = 28, 2
#: With overlapping ticks the lanes may swap once all rows were asked for; where the synapse memory answers sooner than this, later.
SWAP = 3
#: A core of more rows than this, and than PROMISED + 1 + L, of one cycle each, swaps sooner: a tick may end while PROMISED + L of them are
#: still to be asked for, if there is room for these. L is the latency of the synapse memory.
FEW_ROWS, PROMISED = 6, 2
