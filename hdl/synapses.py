"""Synapse memory: banks of words, a whole row of cells from each bank in a cycle."""

from amaranth.hdl import Cat, Const, Module, Mux, Shape, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import In, Out

from spikeloom.fields import bits_for
from spikeloom.hdl.access import AccessBus, AccessInterface
from spikeloom.hdl.component import Component, ram
from spikeloom.hdl.layouts import ArrayView
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


def adder_levels(params: ArrayParams) -> int:
    """Levels of the tree that adds the banks."""
    return (params.banks - 1).bit_length()


def sum_shape(params: ArrayParams) -> Shape:
    """Shape of a lane's sum over the banks."""
    return signed(params.weight_bits + adder_levels(params))


class Synapses(Component):
    """Reads one word of each bank that fires, and adds the banks' cells lane by lane.

    ``sums[lane] = Σ_bank cell[bank][word[bank]][lane]`` over the banks with ``fire``; without any, ``sums`` stays as it is and
    no memory is read. A new set of words can come in every cycle.

    Members
    -------
    fire : in, 1 bit a bank.
    word_0 … : in. Word to read in each bank.
    sums : out, an array of signed sums, ``latency`` cycles after ``fire``.
    bus : :class:`AccessBus`, in. Serves SYNAPSES; a read passes through the adders.
    """

    fire: Signal
    sums: ArrayView
    bus: AccessInterface

    def __init__(self, params: ArrayParams) -> None:
        self.params = params
        #: Cycles from ``fire`` to ``sums``: the memory and one register for each level of adders.
        self.latency = 1 + adder_levels(params)
        super().__init__({"fire": In(params.banks), "sums": Out(data.ArrayLayout(sum_shape(params), params.lanes)),
                          "bus": In(AccessBus())}
                         | {f"word_{bank}": In(bits_for(params.words)) for bank in range(params.banks)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        params = self.params
        chunk_bits = params.chunk_lanes * params.weight_bits
        address = memory_specs(params)[Memory.SYNAPSES].address
        parts = data.StructLayout({field.name: field.bits for field in address})(self.bus.address[: address.bits])
        chosen = self.bus.chosen[Memory.SYNAPSES]

        fire = Signal(params.banks)
        m.d.comb += fire.eq(self.fire)
        asked = self.bus.read & chosen
        with m.If(asked):
            m.d.comb += fire.eq(1 << parts.bank)
        cells = []
        for bank in range(params.banks):
            m.submodules[f"bank_{bank}"] = store = ram(params.chunks * chunk_bits, params.words, block=True)
            write = store.write_port(granularity=chunk_bits)
            m.d.comb += [write.addr.eq(parts.word), write.data.eq(self.bus.data[:chunk_bits].replicate(params.chunks)),
                         write.en.eq(Mux(self.bus.write & chosen & (parts.bank == bank), 1 << parts.chunk, 0))]
            # The register with its reset is the block RAM's own output latch: a silent bank beside one that fires gives 0.
            read = store.read_port(domain="comb")
            row = Signal(params.chunks * chunk_bits, name=f"row_{bank}", reset_less=True)
            m.d.comb += read.addr.eq(Mux(self.bus.read, parts.word, getattr(self, f"word_{bank}")))
            with m.If(self.fire.any() | asked):
                m.d.sync += row.eq(Mux(fire[bank], read.data, 0))
            lanes = data.ArrayLayout(signed(params.weight_bits), params.lanes)(row[: params.lanes * params.weight_bits])
            cells.append([lanes[lane] for lane in range(params.lanes)])
        for lane in range(params.lanes):
            level = [row[lane] for row in cells]
            depth = 0
            while len(level) > 1:
                depth += 1
                shape = signed(params.weight_bits + depth)
                # As meaningless before the first words as `row`, so there is nothing to reset.
                sums = [Signal(shape, name=f"sum_{lane}_{depth}_{i}", reset_less=True) for i in range(len(level) // 2)]
                m.d.sync += [total.eq(level[2 * i] + level[2 * i + 1]) for i, total in enumerate(sums)]
                level = list(sums)
            m.d.comb += self.sums[lane].eq(level[0])

        # Each sum is that of one bank here, so its low bits are the cell; lanes beyond the last show 0.
        cells_shown = Cat(self.sums[lane][: params.weight_bits] for lane in range(params.lanes))
        shown = Cat(cells_shown, Const(0, params.chunks * chunk_bits - len(cells_shown)))
        value = Signal(chunk_bits, reset_less=True)
        # One of each four chunks, then one of those: a LUT each, and a register, for which there is time.
        low, high = parts.chunk[:2], parts.chunk[2:]
        fours = Signal(-(-params.chunks // 4) * chunk_bits, reset_less=True)
        picked = [shown[first: first + 4 * chunk_bits].word_select(low, chunk_bits) for first in range(0, len(shown), 4 * chunk_bits)]
        with m.If(chosen):
            m.d.sync += [fours.eq(Cat(picked)), value.eq(fours.word_select(high, chunk_bits))]
        with m.Else():
            m.d.sync += value.eq(0)
        m.d.comb += self.bus.value.eq(value)
        return m
