"""How many cycles a network takes, from its image and its events: a model of the array's time, not a simulation of the array.

Read from the gateware in hdl/, with its latencies in :mod:`spikeloom.host.estimates.cycle_latencies`. Time runs in *windows*, from the
pulse that ends one tick (cycle 0) to the pulse that ends the next. In a window a core updates the tick that has ended, sends its spikes,
and integrates what arrives, so that

    window = max(update, integration, host stream, EMPTY)

========================== =======================================================================================================
row r of fold f is asked   a = A_f + (r + 1)·S − 1; S = slices · currents, 2 slices counting 1; A_f = L + 2 with one fold, else
for                        L + 3 + f·(groups·S + L + 1); L = 1 + log₂ banks, the latency of the synapse memory; later, while ROWS rows
                           are on their way to the spike unit or wait for it
its spikes leave           in q = a + 9, potentials in a + 10
the spike unit             takes a row in q + 1, or when it has begun with the row before; then a cycle for each destination and plane
                           (max(1, planes)), for rows that spike or send v; later, while PACKETS wait to be sent
a packet made in cycle e   is sent in e + 2, or when the router has room; or it is kept for others to join that go the same way to the same
                           block, if it is for the host or not due in the next tick: until another drives it out, or no row is left
routers                    forward a packet an output a cycle, X before Y, inputs in turns, from queues of ROUTER_QUEUE packets: so it
                           reaches a core h hops away 1 + h cycles later, or when those before it let it; its axons another later
**update**                 q of the last row, or the last cycle of the spike unit or a router, + 2; where ticks overlap, those of the update
                           before, and the last row asked for + 2 + max(0, 3 − L), of cores with many rows (FEW_ROWS) L + 3 cycles before
host words                 of the tick a word a cycle, from cycle 1 on; up to AHEAD of the next tick's from behind the TICK on until the
                           cores rest, which keep the pulse waiting until they have arrived unless ticks overlap
a core takes               a packet a cycle while fewer than BANK_QUEUE waited for each bank: one that comes first, then those that
                           were sent ahead, then those that were delayed, both from cycle 1 on
an axon of bank b          fires in max(packet + 1, last of bank b + 1): an axon a bank a cycle
an entry of a list         is there 5 cycles after its axon; of all banks only those with the first waiting bank's fold fire together,
                           and none while a fold is loaded
**integration**            last fire + 1, or + 0 where its packet came before; with lists + 2
**host stream**            last word of the tick + 2 (its TICK comes behind)
EMPTY                      2
reading potentials         begins a cycle after the window is quiet; 11 + 2·h + words for each READ, then the tick's host words follow
MARK                       in the cycle of the next pulse, or 1 before a reading
========================== =======================================================================================================

Each part has its equation, but for packets that wait for each other between spike units, routers and cores: these queues are followed from
cycle to cycle, as long as anything is in them.

A sample counts from the MARK before to its own, so readings at its end count for the next sample, as in the driver. What the
model leaves out: that queues in front of lists are finite, what earlier traffic left of the routers' turns, and a host that pauses.
``benchmarks/cycles.py`` measures the error against the RTL.

Events are exact (``spikeloom.sim.activity``), or drawn at given rates
(:func:`spikeloom.host.estimates.cycle_events.at_rates`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spikeloom.errors import InputError
from spikeloom.events import InputSpikes, prepare
from spikeloom.fields import Ints
from spikeloom.host.encode import MARK_TICKS, InputEncoder, ReadPlan
from spikeloom.host.estimates.cycle_events import Activity
from spikeloom.host.estimates.cycle_windows import Array, Word
from spikeloom.image import Image
from spikeloom.machine import Potentials, readings
from spikeloom.memories import Memory
from spikeloom.packets import COMMANDS, Command


@dataclass(frozen=True)
class Prediction:
    """``cycles`` of each sample, int64 (samples,); ``limits``, cycles of all windows by what they waited for ("update", "integration",
    "host", "empty"), and "readings"; ``reads``, synapse words read by all samples."""

    cycles: Ints
    limits: dict[str, int]
    reads: int

    @property
    def limit(self) -> str:
        """What took most cycles."""
        return max(self.limits, key=lambda name: self.limits[name])


def predict(image: Image, spikes: InputSpikes, activity: Activity, *, potentials: Potentials = "end",
            record: Iterable[str] | None = None) -> Prediction:
    """Cycles of a run; arguments as for :meth:`spikeloom.machine.Machine.run`, and what the network does in it.

    InputError for spikes that do not fit.
    """
    dense, _ = prepare(image, spikes)
    samples, steps = next(iter(dense.values())).shape[:2] if dense else (0, 0)
    if not samples or not steps:
        raise InputError("Cycles need at least one step of one sample")
    ticks, encoder = image.ticks(steps), InputEncoder(image)
    if activity.fired[0].shape[:2] != (samples, ticks):
        raise InputError(f"The events are of {activity.fired[0].shape[:2]} samples and ticks, the input is of {(samples, ticks)}")
    masks = encoder.masks(dense, ticks)
    fields = {name: values.astype(int).tolist() for name, values in COMMANDS[Command.SPIKES].unpack(encoder.headers).items()}
    reads = {tick: [command for population in chosen for command in _reads(image, population.name)]
             for tick, chosen in readings(image, potentials, record, steps).items()}
    array = Array(image, activity)

    def words_of(sample: int, tick: int) -> list[Word]:
        return [(int(masks[sample, tick, g]), fields["block"][g], (fields["x0"][g], fields["x1"][g], fields["y0"][g], fields["y1"][g]))
                for g in np.flatnonzero(masks[sample, tick])]

    following = words_of(0, 0)
    for sample, tick in np.ndindex(samples, ticks):
        words, last = following, tick == ticks - 1
        following = words_of(sample + last, (tick + 1) % ticks) if sample + last < samples else []
        before = reads.get(tick - 1 if tick else ticks - 1, []) if sample or tick else []
        starts = bool(words or (tick and before)) or tick % MARK_TICKS == 0
        array.read(before)
        array.close(words if starts else None, following if not reads.get(tick) else [])
        array.begin(sample, tick, ends=last, marked=last or (tick + 1) % MARK_TICKS == 0)
    array.read(reads.get(ticks - 1, []))
    if len(array.marks) <= samples:
        array.close(None, [])
    return Prediction(np.diff(array.marks).astype(np.int64), dict(array.limits), array.reads if activity.reads is None else activity.reads)


def _reads(image: Image, name: str) -> list[tuple[int, int]]:
    """(hops, entries) of the READ commands for a population's potentials."""
    plan = COMMANDS[Command.READ].unpack(ReadPlan.make(image.population(name), Memory.MEMBRANE).words)
    return [(int(x) + int(y), int(n)) for x, y, n in zip(plan["x0"], plan["y0"], plan["count"], strict=True)]
