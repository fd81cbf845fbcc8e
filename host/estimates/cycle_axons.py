"""When the axons of a core's packets read their words: a model of the gateware's axon unit and issue stage, for the cycles of a tick.

Packets are (arrival, block, mask), ascending; both functions return the cycle of the last read and how many words were read.
"""

from __future__ import annotations

from collections import deque

from spikeloom.host.estimates.cycle_tables import CoreTables

#: Packets in a bank's axon queue; cycles from a packet to its first axon, and from an axon to the first entry of its list.
QUEUE, TO_FIRE, LIST = 16, 1, 5
Packets = list[tuple[int, int, int]]


def numbered(table: CoreTables, packets: Packets) -> tuple[int, int]:
    """One fold: each bank takes an axon a cycle. A packet waits until every bank's queue has room."""
    params, reads, taken = table.params, 0, 0
    banks = [sum(1 << bit for bit in range(bank, params.block, params.banks)) for bank in range(params.banks)]
    free = [0] * params.banks
    loads = [deque([0] * QUEUE, QUEUE) for _ in free]
    for arrival, _, mask in packets:
        taken = max(arrival, taken + 1, *(load[0] for load in loads))
        for bank, chosen in enumerate(banks):
            count = (mask & chosen).bit_count()
            if count:
                start = max(taken + TO_FIRE, free[bank])
                loads[bank].append(start)
                free[bank] = start + count
                reads += count
    return max(free) - 1, reads


def walked(table: CoreTables, packets: Packets) -> tuple[int, int]:
    """Several folds: each bank walks lists, and banks fire together where their folds are equal; not while a fold is loaded."""
    assert table.lists is not None
    banks, block_size = table.params.banks, table.params.block
    waiting: list[deque[tuple[int, int]]] = [deque() for _ in range(banks)]
    look, taken, reads = [0] * banks, 0, 0
    for arrival, block, mask in packets:
        taken = max(arrival, taken + 1)
        while mask:
            bit = (mask & -mask).bit_length() - 1
            mask &= mask - 1
            bank = bit % banks
            look[bank] = max(taken + TO_FIRE, look[bank] + 1)
            waiting[bank].extend((look[bank] + LIST, fold) for fold in table.lists[block * block_size + bit])
    period = table.groups * table.row_cycles + banks.bit_length() + 1  # of the LOADs: rows, and the synapse memory's latency
    cycle, last = 0, max(look) + 1
    while any(waiting):
        cycle = max(cycle + 1, min(queue[0][0] for queue in waiting if queue))
        turn, rest = divmod(cycle - 2, period)
        if rest == 0 and turn < table.folds:
            continue
        fold = next(queue[0][1] for queue in waiting if queue and queue[0][0] <= cycle)
        for queue in waiting:
            if queue and queue[0][0] <= cycle and queue[0][1] == fold:
                queue.popleft()
                reads += 1
        last = cycle
    return last, reads
