"""The contract: records, parameters and memories hold what they promise and name what breaks a promise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.fields import Field, Record, bits_for, sign_extend
from spikeloom.memories import Control, Memory, class_records, controls, memory_specs, state_memories
from spikeloom.packets import COMMANDS, RESPONSES, WORD_BITS, Command, Response
from spikeloom.params import DATA_BITS, PRESETS, ArrayParams, preset
from spikeloom.registers import ADDRESS, ADDRESS_BITS, REGISTERS, shape_word
from spikeloom.sim.stimulus import random_params

# Records.

@st.composite
def records(draw: st.DrawFn) -> tuple[Record, dict[str, list[int]]]:
    """A record of up to 64 bits, and three values for each field."""
    fields: list[Field] = []
    values: dict[str, list[int]] = {}
    left = 64
    while left and len(fields) < 9 and (not fields or draw(st.booleans())):
        # Values are NumPy's int64, so a field has at most 63 bits.
        field = Field(f"f{len(fields)}", draw(st.integers(1, min(left, 63))), draw(st.booleans()))
        fields.append(field)
        values[field.name] = draw(st.lists(st.integers(field.low, field.high), min_size=3, max_size=3))
        left -= field.bits
    return Record(*fields), values


@settings(max_examples=200)
@given(records())
def test_records_unpack_what_they_packed(case: tuple[Record, dict[str, list[int]]]) -> None:
    record, values = case
    words = record.pack(**values)
    for i in range(3):  # the same word by Python's integers
        word, shift = 0, 0
        for field in record:
            word |= (values[field.name][i] % (1 << field.bits)) << shift
            shift += field.bits
        assert int(words[i]) == word
    for name, found in record.unpack(words).items():
        np.testing.assert_array_equal(found, values[name])


@given(st.integers(1, 63), st.booleans())
def test_values_beyond_a_field_are_refused(bits: int, signed: bool) -> None:
    field = Field("f", bits, signed)
    record = Record(field, Field("g", 1))
    for value in {min(field.high + 1, (1 << 63) - 1), field.low - 1} - {field.high}:
        with pytest.raises(ValueError, match=f"Field f holds {field.low} to {field.high}, not {value} to {value}"):
            record.pack(f=value)


def test_records_name_unknown_fields_and_their_limit() -> None:
    with pytest.raises(ValueError, match="Record has no field b, c"):
        Record(Field("a", 3)).pack(a=1, c=0, b=2)
    with pytest.raises(ValueError, match="Record must fit in 64 bits, not 65"):
        Record(Field("a", 64), Field("b", 1))


@given(st.integers(-(1 << 40), 1 << 40), st.integers(1, 40))
def test_sign_extension_is_modulo(value: int, bits: int) -> None:
    found = int(sign_extend(np.array([value]), bits)[0])
    assert (found - value) % (1 << bits) == 0
    assert -(1 << (bits - 1)) <= found < 1 << (bits - 1)


def test_counts_get_enough_bits() -> None:
    assert [bits_for(count) for count in (1, 2, 3, 4, 5, 256, 257)] == [1, 1, 2, 2, 3, 8, 9]


def test_stream_words_have_64_bits_and_their_code_on_top() -> None:
    for table in (COMMANDS, RESPONSES):
        for record in table.values():
            assert record.bits == WORD_BITS
            assert record.fields[-1] == Field("opcode", 4)
    assert set(COMMANDS) == set(Command) - {Command.NOP}
    assert set(RESPONSES) == set(Response)


def test_registers_have_words_of_their_own() -> None:
    assert sorted(ADDRESS.values()) == list(range(0, 4 * len(REGISTERS), 4))
    assert max(ADDRESS.values()) < 1 << ADDRESS_BITS
    assert {register.access for register in REGISTERS} == {"ro", "rw"}
    assert len({shape_word(params) for params in PRESETS.values()}) == len(PRESETS)


# Parameters.

@pytest.mark.parametrize(("changes", "message"), [
    ({"folds": 12}, "folds must be a power of two, not 12"),
    ({"folds": 512}, "folds must be 1 to 256, not 512"),
    ({"banks": 3}, "banks must be a power of two, not 3"),
    ({"banks": 16}, "banks must be 1 to 8, not 16"),
    ({"neurons_per_cycle": 0}, "neurons_per_cycle must be a power of two, not 0"),
    ({"neurons_per_cycle": 32, "lanes": 64}, "neurons_per_cycle must be 1 to 16, not 32"),
    ({"delays": 6}, "delays must be a power of two, not 6"),
    ({"delays": 128}, "delays must be 1 to 64, not 128"),
    ({"block": 24}, "block must be a power of two, not 24"),
    ({"block": 64}, "block must be 4 to 32, not 64"),
    ({"block": 2}, "block must be 4 to 32, not 2"),
    ({"columns": 0}, "columns must be 1 to 16, not 0"),
    ({"rows": 17}, "rows must be 1 to 16, not 17"),
    ({"words": 1}, "words must be 2 to 16384, not 1"),
    ({"weight_bits": 1}, "weight_bits must be 2 to 16, not 1"),
    ({"state_bits": 33}, "state_bits must be 16 to 32, not 33"),
    ({"gain_bits": 11}, "gain_bits must be 12 to 16, not 11"),
    ({"accumulator_bits": 5}, "accumulator_bits must be 6 to 32, not 5"),
    ({"classes": 65}, "classes must be 1 to 64, not 65"),
    ({"delay_depth": 1}, "delay_depth must be 2 to 4096, not 1"),
    ({"axons": 1}, "axons must be 2 to 16384, not 1"),
    ({"entries": 1}, "entries must be 2 to 65536, not 1"),
    ({"destinations": 1}, "destinations must be 2 to 16384, not 1"),
    ({"refractory_bits": 17}, "refractory_bits must be 1 to 16, not 17"),
    ({"phases": 9}, "phases must be 1 to 8, not 9"),
    ({"currents": 3}, "currents must be 0 to 2, not 3"),
    ({"lanes": 1}, "lanes must be 2 to 1024, not 1"),
    ({"lanes": 73}, r"lanes must be a multiple of neurons_per_cycle \(2\), not 73"),
    ({"words": 500}, r"Axons in a bank \(500\) must be a multiple of block / banks \(8\)"),
    ({"columns": 16, "rows": 16, "lanes": 1024, "block": 4}, "at most 4,096 blocks of axons or outputs, not 65536"),
])
def test_impossible_parameters_are_refused(changes: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ArrayParams(**changes)


@pytest.mark.parametrize("value", [2.0, "2", True, None])
def test_parameters_are_integers(value: Any) -> None:
    with pytest.raises(TypeError, match="columns must be an integer, not "):
        ArrayParams(columns=value)


def test_presets_are_known_by_name() -> None:
    assert all(preset(name) is params for name, params in PRESETS.items())
    with pytest.raises(ValueError, match="Preset must be one of tiny, small, pynq_z2, pynq_z2_folded, not 'large'"):
        preset("large")


@pytest.mark.parametrize("name", PRESETS)
def test_presets_have_memories_that_can_be_addressed(name: str) -> None:
    check_memories(preset(name))


def test_random_arrays_have_memories_that_can_be_addressed() -> None:
    for seed in range(60):
        check_memories(random_params(np.random.default_rng([7, seed])))


def check_memories(params: ArrayParams) -> None:
    """Every memory's addresses are those of its sizes, once each, ascending, and its entries fit a word."""
    for memory, spec in memory_specs(params).items():
        assert spec.memory is memory
        addresses = spec.addresses()
        assert len(addresses) == np.prod(spec.sizes)
        assert np.all(np.diff(addresses.astype(np.int64)) > 0)
        assert addresses[-1] == spec.span - 1
        parts = spec.address.unpack(addresses)
        for field, size in zip(spec.address, spec.sizes, strict=True):
            assert set(parts[field.name].tolist()) == set(range(size))
        assert spec.valid(addresses).all()
        assert not spec.valid([-1, spec.span, 1 << 20]).any()
        assert spec.entry.bits <= DATA_BITS
    assert ({Memory.AXONS, Memory.ENTRIES} <= set(memory_specs(params))) == params.lists


def test_equal_parameters_have_equal_digests_and_others_others() -> None:
    assert preset("tiny").digest() == replace(preset("tiny")).digest()
    digests = {ArrayParams(**{name: value}).digest() for name, value in (
        ("columns", 2), ("rows", 2), ("words", 256), ("phases", 3), ("gain_bits", 13), ("delay_depth", 32), ("classes", 4))}
    assert len(digests | {ArrayParams().digest()}) == 8


def test_arrays_of_one_current_are_what_they_were_before_there_were_two() -> None:
    one, two = ArrayParams(), ArrayParams(currents=2)
    assert controls(one) == (Control.SLICES, Control.GROUPS, Control.FOLDS)
    assert controls(two) == tuple(Control)
    assert len(class_records(one)) == 2
    assert [field.name for field in class_records(two)[2]] == ["second_gain"]
    assert set(memory_specs(two)) - set(memory_specs(one)) == {Memory.SECOND_CURRENT}
    assert state_memories(two) == (*state_memories(one), Memory.SECOND_CURRENT)
    assert one.digest()[:16] == "7336686aba159bce"  # as it was: bitstreams that have it in their DIGEST register stay good
    assert two.digest() != one.digest()


def test_memories_too_wide_for_a_word_are_refused() -> None:
    wide = ArrayParams(columns=16, rows=16, neurons_per_cycle=16, lanes=16, delays=64, block=16, words=1024)
    with pytest.raises(ValueError, match=r"Entries of DESTINATIONS need \d+ bits, more than 36"):
        memory_specs(wide)
    with pytest.raises(ValueError, match=r"Memory SYNAPSES needs \d+ address bits, more than 20"):
        memory_specs(ArrayParams(words=1 << 14, lanes=512, banks=8, weight_bits=8, block=32))
