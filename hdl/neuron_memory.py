"""The memories of one column of neurons: state, constants and classes."""

from functools import reduce
from operator import or_

from amaranth.hdl import Const, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import SHALLOW, Component, later, ram
from spikeloom.hdl.layouts import StructView, struct
from spikeloom.memories import Memory, class_records, memory_specs, state_memories
from spikeloom.params import ArrayParams

#: What a neuron's update only reads; what it changes are the contract's ``state_memories``.
CONSTANTS = (Memory.THRESHOLD, Memory.BIAS, Memory.RESET, Memory.NEURON_CLASS)


class NeuronMemory(Component):
    """State and constants of column ``column`` of every neuron row, each read at its own time.

    A row given in one cycle shows its entry in the next; without ``at_*_valid`` the bus has the port. The class of a row is
    looked up in the cycle in which NEURON_CLASS shows. A write of new state goes before one of the bus.

    Members
    -------
    at_<memory>, at_<memory>_valid : in. Row to read, for each memory of state and of CONSTANTS.
    <memory> : out. The entry of the row given a cycle before.
    gains, rules, second : out, the words of the class that NEURON_CLASS names, in the cycle in which it shows; ``second`` where
        neurons may have two currents.
    write_row : in. Row to write.
    write_<state>, new_<state> : in. Enable and datum for each state memory.
    bus : :class:`AccessBus`, in. Serves the neuron memories for addresses of this column, and CLASSES, of which every column
        has a copy: all are written, that of column 0 is read.
    """

    # The rest of `at_…`, `write_…` and `new_…` is reached by name.
    membrane: Signal
    refractory: Signal
    threshold: Signal
    bias: Signal
    reset: Signal
    neuron_class: Signal
    at_neuron_class_valid: Signal
    gains: StructView
    rules: StructView
    second: StructView
    write_row: Signal
    new_membrane: Signal
    bus: AccessInterface

    def __init__(self, params: ArrayParams, column: int) -> None:
        self.params, self.column = params, column
        self.specs = memory_specs(params)
        row = bits_for(params.neuron_rows)
        self.words = dict(zip(("gains", "rules", "second"), class_records(params), strict=False))  # by part; not all have the last
        self.states = state_memories(params)
        members: dict[str, wiring.Member] = {name: Out(struct(record)) for name, record in self.words.items()}
        members |= {"write_row": In(row), "bus": In(AccessBus())}
        for kind in self.states + CONSTANTS:
            name = kind.name.lower()
            members |= {f"at_{name}": In(row), f"at_{name}_valid": In(1), name: Out(self.shape(kind))}
            if kind in self.states:
                members |= {f"write_{name}": In(1), f"new_{name}": In(self.shape(kind))}
        super().__init__(members)

    def shape(self, kind: Memory) -> Shape:
        """Shape of an entry."""
        (field,) = self.specs[kind].entry
        return signed(field.bits) if field.signed else unsigned(field.bits)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        address = self.specs[Memory.MEMBRANE].address
        (column_field, _) = address
        bus_row, coming_row = (Signal(bits_for(self.params.neuron_rows), name=name) for name in ("bus_row", "coming_row"))
        here, shown = Signal(), Signal()  # whether the address is of this column, that to write and that of the entry that shows
        m.d.comb += [bus_row.eq(self.bus.address >> column_field.bits), coming_row.eq(self.bus.coming >> column_field.bits),
                     here.eq(self.bus.address[: column_field.bits] == self.column)]
        m.d.sync += shown.eq(self.bus.coming[: column_field.bits] == self.column)
        values: list[Value] = []  # with one memory chosen at most, OR joins them in fewer LUTs than a choice
        for kind in self.states + CONSTANTS:
            name = kind.name.lower()
            chosen = self.bus.chosen[kind]
            m.submodules[name] = store = ram(
                self.shape(kind), self.params.neuron_rows, block=self.params.neuron_rows > SHALLOW)
            read, write = store.read_port(), store.write_port()
            entry: Value = getattr(self, name)
            m.d.comb += [
                read.addr.eq(Mux(getattr(self, f"at_{name}_valid"), getattr(self, f"at_{name}"), coming_row)),
                entry.eq(read.data),
                write.addr.eq(bus_row), write.data.eq(self.bus.data), write.en.eq(chosen & here & self.bus.write),
            ]
            if kind in self.states:
                with m.If(getattr(self, f"write_{name}")):
                    m.d.comb += [write.addr.eq(self.write_row), write.data.eq(getattr(self, f"new_{name}")), write.en.eq(1)]
            values.append(entry.as_unsigned() & chosen.replicate(len(entry)))
        # A register for each column, as the entries of all of them would be too much for a cycle.
        value = Signal(max(map(len, values)), reset_less=True)
        with m.If(shown):
            m.d.sync += value.eq(reduce(or_, values))
        with m.Else():
            m.d.sync += value.eq(0)
        m.d.comb += self.bus.value.eq(value | self._classes(m))
        return m

    def _classes(self, m: Module) -> Signal:
        """Small tables in LUT-RAM, one for each word, read in the cycle in which they are needed, and a second time for the bus; returns
        the register that the bus reads."""
        values: list[Value] = []
        part_field, index_field = self.specs[Memory.CLASSES].address
        index, coming = (address[part_field.bits: part_field.bits + index_field.bits] for address in (self.bus.address, self.bus.coming))
        chosen = self.bus.chosen[Memory.CLASSES]
        for part, name in enumerate(self.words):
            word: StructView = getattr(self, name)
            mine = chosen & (self.bus.address[: part_field.bits] == part)
            m.submodules[f"classes_{part}"] = table = ram(word.shape(), 1 << index_field.bits, block=False)
            read, write = table.read_port(domain="comb"), table.write_port()
            m.d.comb += [read.addr.eq(self.neuron_class), word.eq(read.data),
                         write.addr.eq(index), write.data.eq(self.bus.data), write.en.eq(mine & self.bus.write)]
            if self.column == 0:
                bus_read = table.read_port()
                m.d.comb += bus_read.addr.eq(coming)
                shown = later(m, self.bus.coming[: part_field.bits] == part, 1, f"shown_{part}")
                values.append(bus_read.data.as_value() & shown.replicate(len(bus_read.data.as_value())))
        value = Signal(max(map(len, values), default=0), name="word", reset_less=True)
        with m.If(chosen):
            m.d.sync += value.eq(reduce(or_, values, Const(0)))
        with m.Else():
            m.d.sync += value.eq(0)
        return value
