"""How many cycles a network takes, from its image and its events: a model of the array's time, not a simulation of the array.

Read from the gateware in hdl/. Time runs in *windows*, from the pulse that ends one tick (cycle 0) to the pulse that ends the
next. In a window a core updates the tick that has ended, sends its spikes, and integrates what arrives, so that

    window = max(update, integration, host stream, EMPTY)

========================== =======================================================================================================
row r of fold f joined      J_f + (r + 1)·S; S = slices · currents, 2 slices counting 1; J_f = L + 4 with one fold, else
                            L + 5 + f·(groups·S + L + 1)
its spikes are queued       q = that + 6; L = 1 + log₂ banks, the latency of the synapse memory
the spike unit is done      e = max(q + 2, e of the row before) + Σ over destinations max(1, planes), for rows that spike or send v;
                            a packet made in cycle e is sent in e + 2, or kept for others to join that go the same way to the
                            same block, if it is for the host or not due in the next tick; what is kept leaves after e + 1 of the
                            last destination
**update**                  q of the last row, or e + 2, or the cycle in which the last packet is sent that was kept, + 2; where ticks
                            overlap, the last row joined − 3 + max(0, 3 − L) + 2, and what the update before has left, likewise
a packet sent in cycle s    reaches the queues of a core h hops away in s + 2 + h, one packet a core a cycle; the host in
                            s + 1 + h, one word a cycle
host words sent ahead       up to AHEAD of the next tick's, a word a cycle from behind the TICK on until the cores rest; they reach the
                            queues in cycles 1, 2, … of their window; the last one delays the pulse to its cycle + 3 + h, unless
                            ticks overlap
other host word i           is sent in cycle i (1, 2, …), or when the axon queues (QUEUE packets a bank) let it
packet i that was delayed   is at its core's queues in cycle i
an axon of bank b           fires in max(arrival + 1, last of bank b + 1): an axon a bank a cycle
an entry of a list          is there 5 cycles after its axon; of all banks only those with the first waiting bank's fold fire together,
                            and none while a fold is loaded
**integration**             last fire + 1, with lists + 2
**host stream**             words of the tick that were not sent ahead + 2 (their TICK comes behind them); last word to the host + 2
EMPTY                       2
reading potentials          begins with the window quiet; 11 + 2·h + words for each READ, then the tick's host words follow
MARK                        1
========================== =======================================================================================================

A sample counts from the MARK before to its own, so readings at its end count for the next sample, as in the driver. What the
model leaves out: packets that wait for each other between cores, spike units that wait for full queues, and a host that pauses.
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
from spikeloom.host.estimates.cycle_windows import Array, Window, Word
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
        return [(int(masks[sample, tick, g]), fields["block"][g], range(fields["x0"][g], fields["x1"][g] + 1),
                 range(fields["y0"][g], fields["y1"][g] + 1)) for g in np.flatnonzero(masks[sample, tick])]

    marks, clock, window = [0], 0, Window(array, None)
    following = words_of(0, 0)
    for sample, tick in np.ndindex(samples, ticks):
        words, last = following, tick == ticks - 1
        following = words_of(sample + last, (tick + 1) % ticks) if sample + last < samples else []
        starts = bool(words) or tick % MARK_TICKS == 0 or bool(reads.get(tick - 1))
        begin = window.read(reads.get(tick - 1, []) if tick else reads.get(ticks - 1, []) if sample else [])
        window.host(words, begin, starts)
        quiet = window.close(following if not reads.get(tick) else [])
        if window.marked and window.mark is None:
            window.mark, quiet = quiet, quiet + 1
        if window.ends and window.mark is not None:
            marks.append(clock + window.mark)
        clock += quiet
        window = Window(array, (sample, tick), end=last, marked=last or (tick + 1) % MARK_TICKS == 0)
    window.read(reads.get(ticks - 1, []))
    marks.append(clock + (window.close([]) if window.mark is None else window.mark))
    return Prediction(np.diff(marks).astype(np.int64), dict(array.limits), array.reads if activity.reads is None else activity.reads)


def _reads(image: Image, name: str) -> list[tuple[int, int]]:
    """(hops, entries) of the READ commands for a population's potentials."""
    plan = COMMANDS[Command.READ].unpack(ReadPlan.make(image.population(name), Memory.MEMBRANE).words)
    return [(int(x) + int(y), int(n)) for x, y, n in zip(plan["x0"], plan["y0"], plan["count"], strict=True)]
