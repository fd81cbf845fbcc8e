"""The destination lists, read entry after entry."""

from amaranth.hdl import Array, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import SHALLOW, Component, ram
from spikeloom.hdl.layouts import StructView, struct, struct_signal
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams

#: Entries of LUT-RAM that are read without a choice behind it.
DEEP = 64


class Destinations(Component):
    """Shows an entry, and with ``advance`` in the next cycle the one behind it or the first of another list.

    Both are read, and which of them it is tells the entry that shows: so the choice comes behind LUT-RAM, which is read at addresses
    that are registers, and before block RAM, which needs the time itself.

    Members
    -------
    start : in. Where another list begins.
    begins : in, 1 bit. That entry comes, and not the one behind what shows.
    used : in, 1 bit. An entry is wanted; else the bus has the table.
    advance : in, 1 bit. Show what comes; while not ``used``, in every cycle.
    entry : out. What an entry has, and as nobody could find out in time, whether it is for ``spikes`` or for ``several`` planes.
    bus : :class:`AccessBus`, in. Serves DESTINATIONS.
    """

    start: Signal
    begins: Signal
    used: Signal
    advance: Signal
    entry: StructView
    bus: AccessInterface

    def __init__(self, params: ArrayParams) -> None:
        self.spec = memory_specs(params)[Memory.DESTINATIONS]
        self.record = struct(self.spec.entry)
        self.layout = data.StructLayout(self.record.members | {"spikes": 1, "several": 1})
        super().__init__({"start": In(range(params.destinations)), "begins": In(1), "used": In(1), "advance": In(1),
                          "entry": Out(self.layout), "bus": In(AccessBus())})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        onward, following = Signal.like(self.start), Signal.like(self.start)  # behind the one that shows, or where the bus reads
        chosen, written = self.bus.chosen[Memory.DESTINATIONS], self.record(self.bus.data[: self.record.size])
        word = struct_signal(self.layout)
        m.d.comb += [
            following.eq(Mux(self.begins, self.start, onward)),
            *(word[name].eq(written[name]) for name in self.record.members),
            word.spikes.eq(written.planes == 0), word.several.eq(written.planes > 1),
        ]
        with m.If(self.advance):
            m.d.sync += onward.eq(Mux(self.used, following + 1, self.bus.coming))
        if self.spec.span > 2 * SHALLOW:
            self._block(m, word, chosen & self.bus.write, following)
        else:
            self._luts(m, word, chosen & self.bus.write, onward)
        with m.If(chosen):
            m.d.comb += self.bus.value.eq(self.entry.as_value()[: self.record.size])
        return m

    def _block(self, m: Module, word: StructView, write: Value, following: Signal) -> None:
        m.submodules.store = store = ram(self.layout, self.spec.span, block=True)
        read, written = store.read_port(), store.write_port()
        m.d.comb += [read.addr.eq(following), read.en.eq(self.advance), self.entry.eq(read.data),
                     written.addr.eq(self.bus.address), written.data.eq(word), written.en.eq(write)]

    def _luts(self, m: Module, word: StructView, write: Value, onward: Signal) -> None:
        """Read at either address, in parts that are one level deep each; the choice among all of it is a second one."""
        depth = min(DEEP, self.spec.span)
        bits = (depth - 1).bit_length()
        part = Mux(self.begins, self.start[bits:], onward[bits:])
        found: list[Value] = []
        for number in range(-(-self.spec.span // depth)):
            words: list[Value] = []
            for name, address in (("next", onward), ("begin", self.start)):  # a copy for each: tools read one at a chosen address instead
                m.submodules[f"{name}_{number}"] = store = ram(self.layout, depth, block=False)
                read, written = store.read_port(domain="comb"), store.write_port()
                m.d.comb += [read.addr.eq(address), written.addr.eq(self.bus.address), written.data.eq(word),
                             written.en.eq(write & (self.bus.address[bits:] == number))]
                words.append(read.data.as_value())
            found.append(Mux(self.begins, *words[::-1]))
        shown = struct_signal(self.layout, reset_less=True)
        with m.If(self.advance):
            m.d.sync += shown.eq(Array(found)[part] if len(found) > 1 else found[0])
        m.d.comb += self.entry.eq(shown)
