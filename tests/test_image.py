"""Images and events: saved and read whole, checked, and refused by name."""

from __future__ import annotations

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloom.errors import ImageError, InputError
from spikeloom.events import Events, prepare
from spikeloom.image import Image, InputMap, PopulationMap
from spikeloom.memories import Memory
from spikeloom.params import ArrayParams
from spikeloom.sim.stimulus import random_case, random_params
from tests.images import Neuron, lone

# Images.

def sample() -> Image:
    """A random image of two or more cores with everything in it, and a report."""
    for seed in range(100):
        rng = np.random.default_rng([11, seed])
        params = random_params(rng)
        if params.cores == 4 and params.lists:
            return replace(random_case(params, rng).image, report={"title": "é", "numbers": [1, 2.5, None]})
    raise AssertionError("no seed draws four cores with lists")


def equal(first: Image, second: Image) -> bool:
    """Whether everything in two images is the same."""
    def arrays(image: Image) -> list[Any]:
        return [words for _, core in sorted(image.memories.items()) for _, words in sorted(core.items())] \
            + [i.routes for i in image.inputs] \
            + [array for p in image.populations for array in (p.places, p.scale)]
    return first.digest() == second.digest() and first.params == second.params and first.report == second.report \
        and [i.name for i in first.inputs] == [i.name for i in second.inputs] \
        and len(arrays(first)) == len(arrays(second)) \
        and all(np.array_equal(a, b) for a, b in zip(arrays(first), arrays(second), strict=True))


def test_a_saved_image_is_the_same_image(tmp_path: Path) -> None:
    image = sample()
    image.save(tmp_path / "a.image")
    assert equal(image, Image.load(tmp_path / "a.image"))
    other = replace(image, inputs=tuple(replace(i, name=i.name + "x") for i in image.inputs))
    assert other.digest() != image.digest()


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    lone(ArrayParams(lanes=16, banks=2, words=64, block=8), [[1]], [Neuron()]).save(tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    lengths = sorted({*range(64), *range(len(whole) - 64, len(whole)), *np.linspace(0, len(whole) - 1, 200).astype(int)})
    for length in lengths:
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(ImageError, match=r"cut "):
            Image.load(tmp_path / "cut")


def test_an_altered_byte_is_found_or_harmless(tmp_path: Path) -> None:
    """Some bytes of an archive mean nothing (times, system codes); any other change is an ImageError, and never another error."""
    image = lone(ArrayParams(lanes=16, banks=2, words=64, block=8), [[1]], [Neuron()])
    image.save(tmp_path / "whole")
    whole = bytearray((tmp_path / "whole").read_bytes())
    rng = np.random.default_rng(3)
    refused = harmless = 0
    places = np.unique(np.concatenate([np.arange(60), np.arange(len(whole) - 400, len(whole)), rng.integers(0, len(whole), 700)]))
    for place in places.tolist():
        altered = whole.copy()
        altered[place] ^= 1 << int(rng.integers(8))
        (tmp_path / "altered").write_bytes(altered)
        try:
            found = Image.load(tmp_path / "altered")
        except ImageError:
            refused += 1
        else:
            assert equal(found, image), f"byte {place} of {len(whole)}"
            harmless += 1
    assert refused > 300
    assert harmless > 0


def rewritten(path: Path, **header: Any) -> Path:
    """A copy of a saved image with a changed header."""
    target = path.with_name("rewritten")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(target, "w") as archive:
        for name in source.namelist():
            data = source.read(name)
            archive.writestr(name, json.dumps(json.loads(data) | header) if name == "image.json" else data)
    return target


def test_contents_and_versions_that_do_not_belong_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.image"
    sample().save(path)
    with pytest.raises(ImageError, match="has image version 99; this Spikeloom reads version 1"):
        Image.load(rewritten(path, version=99))
    with pytest.raises(ImageError, match="was altered: its contents do not match its digest"):
        Image.load(rewritten(path, ticks_per_step=2 if sample().ticks_per_step != 2 else 1))
    with pytest.raises(ImageError, match="was altered"):
        Image.load(rewritten(path, digest="0"))
    with pytest.raises(ImageError, match="There is no image file"):
        Image.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not an archive")
    with pytest.raises(ImageError, match="is not a Spikeloom image"):
        Image.load(tmp_path / "text")
    with zipfile.ZipFile(tmp_path / "list", "w") as archive:
        archive.writestr("image.json", "[]")
    with pytest.raises(ImageError, match="has image version None"):
        Image.load(tmp_path / "list")


def test_another_array_is_refused_by_what_differs() -> None:
    image = sample()
    image.require(replace(image.params))
    other = replace(image.params, delay_depth=image.params.delay_depth + 1, gain_bits=12 if image.params.gain_bits > 12 else 13)
    with pytest.raises(ImageError) as caught:
        image.require(other)
    text = str(caught.value)
    for name in image.params.describe():
        assert (f" {name} " in text) == (name in ("delay_depth", "gain_bits"))
    assert f"delay_depth {image.params.delay_depth} (array: {other.delay_depth})" in text


SMALL = ArrayParams(columns=2, rows=2, lanes=16, banks=2, words=64, block=8)
TWO = replace(SMALL, currents=2)
PLACES = np.zeros((1, 4), np.int64)
ROUTE = np.zeros((1, 7), np.int64)


def part(core: tuple[int, int], memory: Memory, words: Any) -> dict[str, Any]:
    """Memories of one entry."""
    return {"memories": {core: {memory: np.asarray(words, np.uint64)}}}


def route(**values: int) -> dict[str, Any]:
    """An input with one route."""
    columns = ("neuron", "tick", "x0", "x1", "y0", "y1", "axon")
    return {"inputs": (InputMap("in", (1,), np.array([[values.get(name, 0) for name in columns]])),)}


def place(*row: int) -> dict[str, Any]:
    """A population of one neuron."""
    return {"populations": (PopulationMap("p", (1,), 0, True, np.array([row]), np.ones(1)),)}


@pytest.mark.parametrize(("changes", "message"), [
    ({"ticks_per_step": 0}, "ticks_per_step must be 1 to 4, not 0"),
    ({"ticks_per_step": 5}, "ticks_per_step must be 1 to 4, not 5"),
    (part((2, 0), Memory.BIAS, [0]), r"Core \(2, 0\) lies outside the 2 × 2 mesh"),
    (part((0, 0), Memory.AXONS, [0]), r"Core \(0, 0\): this array has no memory AXONS"),
    (part((0, 0), Memory.BIAS, np.zeros(99)), r"BIAS holds 16 entries, not uint64 of shape \(99,\)"),
    (part((1, 0), Memory.BIAS, [[0]]), r"BIAS holds 16 entries, not uint64 of shape \(1, 1\)"),
    ({"memories": {(0, 0): {Memory.BIAS: np.zeros(3, np.int64)}}}, r"BIAS holds 16 entries, not int64 of shape \(3,\)"),
    (part((1, 1), Memory.CLASSES, [(2 << 12) + 1]), r"Core \(1, 1\): current_gain of class 0 is 2\.000244140625; gains lie in \[0, 2\]"),
    (part((1, 1), Memory.CLASSES, [(2 << 12), 0, 3 << 26]), r"Core \(1, 1\): membrane_gain of class 1 is 3\.0; gains lie in"),
    ({"params": TWO} | part((1, 1), Memory.CLASSES, [0, 0, (2 << 12) + 1]), r"Core \(1, 1\): second_gain of class 0 is 2\.0002"),
    ({"params": TWO} | part((0, 1), Memory.CONTROL, [1, 1, 1, 3]),
     r"Core \(0, 1\): CONTROL asks for 3 synaptic currents; neurons of this array have at most 2"),
    (part((0, 0), Memory.SECOND_CURRENT, [0]), r"Core \(0, 0\): this array has no memory SECOND_CURRENT"),
    (part((1, 0), Memory.BIAS, [1 << 24]), r"Core \(1, 0\): an entry of BIAS exceeds 24 bits"),
    ({"inputs": (InputMap("p", (1,), ROUTE),)}, r"must have different names, not \['p', 'p'\]"),
    ({"inputs": (InputMap("in", (1,), ROUTE[:, :6]),)}, r"Input 'in': routes have shape \(1, 6\), not \(n, 7\)"),
    (route(neuron=1), "Input 'in' must be 0 to 0, not 1 to 1"),
    (route(tick=-1), "Input 'in': tick must be 0 to 65535, not -1 to -1"),
    (route(axon=128), "Input 'in': axon must be 0 to 127, not 128 to 128"),
    (route(x1=2), "Input 'in': column must be 0 to 1, not 2 to 2"),
    (route(y1=2), "Input 'in': row must be 0 to 1, not 2 to 2"),
    (route(x0=1), "Input 'in': a route has an empty rectangle"),
    (route(y0=1), "Input 'in': a route has an empty rectangle"),
    ({"populations": (PopulationMap("p", (2,), 0, True, PLACES, np.ones(1)),)}, "places or scale do not suit its 2 neurons"),
    (place(2, 0, 0, 0), "Population 'p': column must be 0 to 1, not 2 to 2"),
    (place(0, 2, 0, 0), "Population 'p': row must be 0 to 1, not 2 to 2"),
    (place(0, 0, 16, 0), "Population 'p': neuron must be 0 to 15, not 16 to 16"),
    (place(0, 0, 0, 64), "Population 'p': output must be"),
    (place(0, 0, 0, -2), "Population 'p': output must be"),
    ({"populations": tuple(PopulationMap(name, (1,), 0, True, PLACES, np.ones(1)) for name in "pq")}, "share an output"),
])
def test_an_unsound_image_cannot_be_made(changes: dict[str, Any], message: str) -> None:
    sound: dict[str, Any] = {"params": SMALL, "memories": {}, "inputs": (InputMap("in", (1,), ROUTE),),
                             "populations": (PopulationMap("p", (1,), 0, True, PLACES, np.ones(1)),)}
    Image(**sound)
    with pytest.raises(ImageError, match=message):
        Image(**(sound | changes))


def test_rectangles_count_from_zero() -> None:
    """A negative start of a rectangle lies outside the mesh, as a place beyond its end does."""
    for values in ({"x0": -1}, {"y0": -1}):
        with pytest.raises(ImageError, match=r"Input 'in': (column|row) must be 0 to"):
            Image(SMALL, {}, route(**values)["inputs"], ())


def test_unknown_populations_are_named() -> None:
    with pytest.raises(ImageError, match="no population 'q'; it has p"):
        Image(SMALL, {}, (), place(0, 0, 0, 0)["populations"]).population("q")


# Events.

IMAGE = Image(SMALL, {}, (InputMap("in", (2, 3), ROUTE),), ())
TWO = Image(SMALL, {}, (InputMap("a", (2,), ROUTE), InputMap("b", (1,), ROUTE)), ())


def events(sample: Any, step: Any, neuron: Any, samples: int = 2, steps: int = 4) -> Events:
    """Events from lists."""
    arrays = [np.array(values) if len(values) else np.zeros(0, int) for values in (sample, step, neuron)]
    return Events(arrays[0], arrays[1], arrays[2], samples, steps)


@given(st.integers(0, 2 ** 32 - 1))
def test_events_and_dense_spikes_are_the_same(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spikes = rng.random((2, 4, 6)) < 0.4
    order = rng.permutation(int(spikes.sum()))
    sample, step, neuron = (index[order] for index in np.nonzero(spikes))
    listed = Events(sample, step, neuron, samples=2, steps=4)
    for given_spikes in (listed, spikes, spikes.reshape(2, 4, 2, 3), spikes.astype(float), {"in": spikes}):
        dense, single = prepare(IMAGE, given_spikes)
        np.testing.assert_array_equal(dense["in"], spikes)
        assert not single
    dense, single = prepare(IMAGE, spikes[0].reshape(4, 2, 3))
    np.testing.assert_array_equal(dense["in"], spikes[:1])
    assert single


@pytest.mark.parametrize(("spikes", "message"), [
    (events([2], [0], [0]), "Input 'in': event 0 has sample 2, outside 0 to 1"),
    (events([0, 0], [0, 4], [0, 0]), "Input 'in': event 1 has step 4, outside 0 to 3"),
    (events([0], [0], [6]), "Input 'in': event 0 has neuron 6, outside 0 to 5"),
    (events([0], [0], [-1]), "Input 'in': event 0 has neuron -1"),
    (events([1, 1], [3, 3], [5, 5]), "sample 1, step 3, neuron 5 spikes more than once in one step"),
    (events([0.0], [0], [0]), "sample must be integers, not float64"),
    (events([0, 0], [0], [0]), "must be one-dimensional and of equal length"),
    (events([[0]], [0], [0]), "must be one-dimensional and of equal length"),
    (np.zeros((4, 5), bool), r"Input 'in' has shape \(4, 5\); expected \(samples, steps, 6\) or \(steps, 6\), or \(2, 3\) in"),
    (np.zeros((2, 2, 4, 2, 3), bool), "Input 'in' has shape"),
    (np.zeros(6, bool), r"Input 'in' has shape \(6,\)"),
    (np.full((4, 6), 2), "spikes must be bool, or numbers 0 and 1"),
    (np.full((4, 6), "1"), "spikes must be bool, or numbers 0 and 1"),
    ({"out": np.zeros((4, 6), bool)}, "The network has inputs in, not out"),
])
def test_unsuitable_spikes_are_named(spikes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        prepare(IMAGE, spikes)


def test_a_spike_repeated_256_times_is_no_silence() -> None:
    for count in (2, 256, 257):  # a counter of one byte would see 0 and 1
        with pytest.raises(InputError, match="more than once"):
            prepare(IMAGE, events([0] * count, [0] * count, [0] * count))


def test_several_inputs_come_by_name_and_of_one_length() -> None:
    with pytest.raises(InputError, match="inputs a, b: give a mapping"):
        prepare(TWO, np.zeros((4, 2), bool))
    with pytest.raises(InputError, match="Inputs differ in samples or steps"):
        prepare(TWO, {"a": np.zeros((4, 2), bool), "b": np.zeros((5, 1), bool)})
    with pytest.raises(InputError, match="Inputs differ in samples or steps"):
        prepare(TWO, {"a": np.zeros((4, 2), bool), "b": events([], [], [])})
