"""NetX files of lava-dl become networks of integers that follow Loihi's rule to the bit."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest

import spikeloom as sl
from spikeloom import from_netx, netx_input_spikes
from spikeloom.errors import InputError, NetworkError
from spikeloom.host.importers.netx_input import integrate_and_fire
from tests.data import shared_data
from tests.netx_cases import NEURON, Array, conv, dense, loihi, write

STEPS = 20
#: An array with room for the small networks here, and for every delay.
ROOM = sl.ArrayParams(columns=3, rows=2, lanes=144, delays=8, delay_depth=256, destinations=256)


def mnist(images: int | None = None) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Test images, uint8 (images, 784), and their labels."""
    files = (shared_data("mnist", name) for name in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"))
    pixels, labels = (np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=offset)
                      for path, offset in zip(files, (16, 8), strict=True))
    return pixels.reshape(-1, 784)[:images], labels[:images]


def golden(net: sl.Network, spikes: Any, params: sl.ArrayParams = ROOM) -> sl.Result:
    with sl.open("golden", params) as machine:
        machine.load(sl.compile(net, params=params))
        return machine.run(spikes, potentials="none")


def equal(found: Any, expected: dict[str, Array]) -> None:
    """Every population's spikes are those of the evaluation, and there are some."""
    for name, spikes in found.spikes.items():
        np.testing.assert_array_equal(spikes, expected[name], err_msg=name)
        assert spikes.any(), name


def test_the_mnist_network_is_taken_whole() -> None:
    net = from_netx(shared_data("netx", "mnist_784-128-64-10.net"))
    assert net.inputs == {"input": (784,)}
    assert net.outputs == ("layer2",)
    assert [population.size for population in net.populations] == [128, 64, 10]
    assert [projection.size for projection in net.projections] == [90135, 7848, 578]
    assert [note.status for note in net.report] == ["exact"] * 3
    assert "of 24 state bits" in net.report[0].detail
    assert "|v| stays below 4330738" in net.report[2].detail
    first = net.populations[0]
    assert (first.integer, first.strict, first.hold, first.reset) == (True, True, True, "value")
    assert (first.current_gain[0], first.threshold[0], first.refractory[0], first.reset_value[0]) == (3686 / 4096, 4096, 0, 0)


def test_the_mnist_network_runs_exactly_on_the_board() -> None:
    path = shared_data("netx", "mnist_784-128-64-10.net")
    images, labels = mnist(100)
    spikes = integrate_and_fire(images, STEPS, 255)
    net, expected = from_netx(path), loihi(path, spikes)
    result = golden(net, spikes, sl.preset("pynq_z2"))
    equal(result, expected)
    equal(sl.reference(net, spikes, state_bits=24), expected)
    assert np.mean(result.counts["layer2"].argmax(axis=1) == labels) == 0.98


def test_a_layer_may_see_the_last_one_a_step_later() -> None:
    path = shared_data("netx", "mnist_784-128-64-10.net")
    spikes = integrate_and_fire(mnist(10)[0], STEPS, 255)
    expected = loihi(path, spikes, layer_delay=1)
    equal(golden(from_netx(path, layer_delay=1), spikes, sl.preset("pynq_z2")), expected)
    assert not np.array_equal(expected["layer2"], loihi(path, spikes)["layer2"])


def test_convolutions_and_the_input_layer_run_exactly() -> None:
    path = shared_data("netx", "tiny_conv.net")
    net = from_netx(path)
    assert net.inputs == {"input": (3, 16, 16)}
    assert [population.shape for population in net.populations] == [(24, 6, 6), (36, 1, 1)]
    assert [note.kind for note in net.report] == ["input", "conv", "conv"]
    values = np.random.default_rng(1).uniform(-1, 1, (4, 3, 16, 16))
    spikes = netx_input_spikes(path, values, 32)
    expected = loihi(path, np.repeat(values[:, None], 32, axis=1))
    np.testing.assert_array_equal(spikes, expected["layer0"])
    equal(golden(net, spikes, sl.preset("pynq_z2_folded")), expected)


def random_layers(rng: np.random.Generator) -> list[dict[str, Any]]:
    """Convolution, pool and matrices with everything that the file can say: 2 × 9 × 8 inputs."""
    def neuron(shape: int) -> dict[str, Any]:
        return {**NEURON, "type": str(rng.choice(["CUBA", "LOIHI"])), "iDecay": rng.integers(500, 4097, shape),
                "vDecay": int(rng.integers(0, 4097)), "vThMant": rng.integers(5, 20, shape), "refDelay": int(rng.integers(1, 4))}

    kernel, pool = rng.integers(-6, 12, (4, 1, 3, 2)), np.full((1, 1, 2, 2), 9)
    maps = conv(kernel, (4, 5, 7), neuron(4), stride=[2, 1], padding=[2, 0], dilation=[2, 1], groups=2,
                bias=rng.integers(-3, 5, 4), delay=rng.integers(0, 4, 4))
    pooled = {"type": "pool", "shape": [4, 3, 4], "kernelSize": [2, 2], "stride": [2, 2], "padding": [0, 0], "dilation": [1, 1],
              "weight": pool, "neuron": neuron(1)}
    hidden = dense(rng.integers(-200, 250, (9, 48)), neuron(9), delay=rng.integers(0, 3, 9), bias=rng.integers(-40, 40, 9))
    return [maps, pooled, {"type": "flatten", "shape": [48, 1, 1]}, hidden, dense(rng.integers(-40, 90, (5, 9)), neuron(1))]


@pytest.mark.parametrize("seed", range(6))
def test_any_layers_run_exactly(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    path = write(tmp_path / "random.net", random_layers(rng))
    spikes = rng.random((3, 25, 2, 9, 8)) < 0.2
    delay = seed % 2
    net = from_netx(path, layer_delay=delay, input_shape=(2, 9, 8))
    expected = loihi(path, spikes, delay)
    equal(sl.reference(net, spikes, state_bits=24), expected)
    equal(golden(net, spikes), expected)


def test_readouts_and_averages_are_read_as_potentials(tmp_path: Path) -> None:
    weights = np.array([[3, -1], [2, 2], [0, 5], [1, 0]])
    spikes = np.array([[1, 0], [1, 1], [0, 1], [0, 0]], bool)
    silent = {**NEURON, "iDecay": 4096, "vDecay": 0, "vThMant": (1 << 18) - 1}
    net = from_netx(write(tmp_path / "li.net", [dense(weights, silent)]))
    assert not net.populations[0].spiking
    np.testing.assert_array_equal(sl.reference(net, spikes).potentials["layer0"], np.cumsum(spikes @ weights.T, axis=0) * 64)
    quick = {**NEURON, "iDecay": 4096, "vDecay": 4096, "vThMant": 1}
    net = from_netx(write(tmp_path / "mean.net", [dense(weights, quick), {"type": "average", "shape": [2, 1, 1]}]))
    fired = spikes @ weights.T > 1
    np.testing.assert_array_equal(sl.reference(net, spikes).potentials["layer1"], fired.reshape(4, 2, 2).sum(axis=2))
    assert "2 times their average" in net.report[1].detail


ONE = np.ones((2, 3))


def changed(**neuron: Any) -> list[dict[str, Any]]:
    """One dense layer with other neurons; None takes a dataset away."""
    return [dense(ONE, {key: value for key, value in {**NEURON, **neuron}.items() if value is not None})]


def without(layer: dict[str, Any], *keys: str) -> list[dict[str, Any]]:
    return [{key: value for key, value in layer.items() if key not in keys}]


@pytest.mark.parametrize(("layers", "message"), [
    (without(dense(ONE), "weight"), r"bad\.net: layer 0 \(dense\) lacks the dataset 'weight'"),
    (without(dense(ONE), "shape"), "lacks the dataset 'shape'"),
    (without(dense(ONE), "type"), "layer 0 lacks the dataset 'type'"),
    (without(dense(ONE), "neuron"), "has no neuron"),
    ([dense(ONE, weight=ONE * 0.5)], r"layer 0 \(dense\): weight must be integers of at most 32 bits, not 0.5"),
    ([dense(ONE, weight=ONE * np.nan)], "not nan"),
    ([dense(ONE, weight="text")], "weight must be integers"),
    ([dense(ONE, weight=np.ones((3, 2)))], r"has inFeatures 3, but what leads to it has 2"),
    ([dense(ONE, weight=np.ones(5))], r"has inFeatures 3, but"),
    ([dense(ONE, shape=[3])], "has outFeatures 2, but its shape has 3"),
    ([dense(ONE, shape=[0])], "every extent must be at least 1"),
    ([dense(ONE, bias=[1, 2, 3])], r"has bias of shape \(3,\); expected one number, 2 or 2"),
    ([dense(ONE, mask=ONE)], "holds 'mask', whose meaning is not known here"),
    ([dense(ONE, delay=[1, 1])], "is the last but has axonal delays"),
    ([dense(ONE, delay=[-1, 1])], "has the delay -1"),
    ([dense(ONE), dense(np.ones((2, 3)))], r"layer 1 \(dense\) has inFeatures 3, but what leads to it has 2"),
    (changed(iDecay=4097), "has iDecay 4097; it must be 0 to 4096"),
    (changed(vDecay=-1), "has vDecay -1; it must be 0 to 4096"),
    (changed(iDecay=0.5), "iDecay must be integers"),
    (changed(iDecay=[1, 2, 3]), "has iDecay of shape"),
    (changed(iDecay=None), "lacks the dataset 'neuron/iDecay'"),
    (changed(vThMant=[10, 1 << 17]), "some of its neurons could never spike"),
    (changed(refDelay=0), "has refDelay 0; it must be 1 to 64"),
    (changed(type="ALIF"), "has neurons of type ALIF; those that can be taken exactly are CUBA, LOIHI"),
    (changed(gradedSpike=True), "has graded spikes"),
    (changed(wgtExp=2), "has a weight exponent"),
    (changed(thDecay=5), "its neuron holds 'thDecay'"),
    (changed(type=None), "its neuron lacks the dataset 'type'"),
    ([dense(ONE), {"type": "concat", "shape": [2], "layers": [0]}], r"layer 1 \(concat\) is of a type that cannot be taken exactly"),
    ([dense(ONE, weight={"real": ONE, "imag": ONE})], "has complex weights"),
    ([{"type": "input", "shape": [3]}], "no layer has neurons to run on an array"),
    ([dense(ONE), {"type": "input", "shape": [2]}], "must be the first"),
    ([dense(ONE), {"type": "flatten", "shape": [3]}], r"has the shape \(3,\), but what leads to it has \(2,\)"),
    ([dense(ONE), {"type": "average", "shape": [2]}, dense(np.ones((2, 2)))], "is not the last"),
    ([dense(ONE), {"type": "average", "shape": [3]}], "does not divide the 2 neurons"),
    ([dense(ONE, {**NEURON, "vThMant": 1 << 17}), dense(np.ones((2, 2)))], "cannot be reached"),
    ([conv(np.ones((1, 1, 3, 3)), (1, 2, 2))], "give input_shape"),
    ([dense(ONE), conv(np.ones((1, 2, 1, 1)), (1, 1, 1))], r"leads from the shape \(2,\)"),
])
def test_what_is_not_exact_is_refused(tmp_path: Path, layers: list[dict[str, Any]], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        from_netx(write(tmp_path / "bad.net", layers))


@pytest.mark.parametrize(("change", "message"), [
    ({"stride": [2, 2]}, "make 1 of the 4 rows before it"),
    ({"groups": 2}, r"has weights of shape \(2, 2, 3, 3, 1\); expected \(2, 1, 3, 3\)"),
    ({"groups": 3}, "has 3 groups, which must divide its 2 and 2 channels"),
    ({"inChannels": 3}, "has inChannels 3, but the shapes say 2"),
    ({"kernelSize": [2, 3]}, r"has weights of shape \(2, 2, 3, 3, 1\); expected \(2, 2, 2, 3\)"),
    ({"stride": [0, 1]}, "must be at least 1, 0 and 1"),
    ({"stride": [1, 1, 1]}, "expected one number or two"),
    ({"shape": (2, 2, 3)}, "make 2 of the 4 columns before it"),
    ({"outChannels": 3}, "has outChannels 3, but the shapes say 2"),
])
def test_convolutions_that_contradict_themselves_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = write(tmp_path / "bad.net", [conv(np.ones((2, 2, 3, 3)), (2, 2, 2)) | change])
    with pytest.raises(NetworkError, match=message):
        from_netx(path, input_shape=(2, 4, 4))


def test_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"There is no NetX file .*none\.net"):
        from_netx(tmp_path / "none.net")
    with pytest.raises(NetworkError, match="given by its file's path, not by int"):
        from_netx(3)  # type: ignore[arg-type]
    whole = write(tmp_path / "whole.net", [dense(np.ones((30, 30)))]).read_bytes()
    for length in np.linspace(0, len(whole) - 1, 20).astype(int):
        (tmp_path / "cut.net").write_bytes(whole[:length])
        with pytest.raises(NetworkError, match=r"cut\.net: not a NetX file, or it is damaged"):
            from_netx(tmp_path / "cut.net")


@pytest.mark.parametrize(("edit", "message"), [
    (lambda file: file.__delitem__("layer"), "not a NetX file"),
    (lambda file: file.move("layer/0", "layer/1"), "must be numbered from 0 without gaps, but are 1"),
    (lambda file: file.__delitem__("layer/0"), "are absent"),
])
def test_files_with_other_layers_are_named(tmp_path: Path, edit: Callable[[Any], None], message: str) -> None:
    path = write(tmp_path / "bad.net", [dense(ONE)])
    with h5py.File(path, "r+") as file:
        edit(file)
    with pytest.raises(NetworkError, match=message):
        from_netx(path)


def test_arguments_are_checked(tmp_path: Path) -> None:
    path = write(tmp_path / "fine.net", [dense(ONE)])
    for options, message in (({"layer_delay": 2}, "layer_delay must be 0 or 1"), ({"input_shape": (4,)}, "takes the shape"),
                             ({"input_shape": (0, 3)}, "no empty one")):
        with pytest.raises(NetworkError, match=message):
            from_netx(path, **options)  # type: ignore[arg-type]
    assert from_netx(path, input_shape=(3, 1, 1)).inputs == {"input": (3, 1, 1)}
    with pytest.raises(NetworkError, match="is no input layer with neurons"):
        netx_input_spikes(path, np.zeros((1, 3)), 4)


def test_values_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    first = {"type": "input", "shape": [2], "weight": [3], "bias": [1], "neuron": NEURON}
    path = write(tmp_path / "in.net", [first, dense(np.ones((1, 2)))])
    assert netx_input_spikes(path, np.full((5, 2), 20), 7).shape == (5, 7, 2)
    for values, steps, message in ((np.zeros((1, 3)), 4, r"expected \(samples, 2\)"), (np.zeros(2), 4, r"expected \(samples, 2\)"),
                                   ([[0, np.inf]], 4, "finite"), ([["a", "b"]], 4, "array of numbers"),
                                   (np.zeros((1, 2)), -1, "steps must"), (np.full((1, 2), 1e7), 4, "beyond 24 bits"),
                                   (np.full((1, 2), 1e5), 4, "beyond its 24 bits")):
        with pytest.raises(InputError, match=message):
            netx_input_spikes(path, values, steps)
    with pytest.raises(InputError, match="takes integers"):
        integrate_and_fire(np.full((1, 2), 0.5), 3, 1)


def test_the_command_line_takes_net_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from spikeloom.host.commands.group import run
    path, image = write(tmp_path / "some.net", [dense(40 * ONE)]), tmp_path / "some.slm"
    assert run(["compile", str(path), "--board", "tiny", "-o", str(image)]) == 0
    assert "2 neurons and 6 synapses on tiny" in capsys.readouterr().out
    spikes = np.random.default_rng(0).random((3, 9, 3)) < 0.5
    np.save(tmp_path / "spikes.npy", spikes)
    assert run(["run", str(image), "--input", str(tmp_path / "spikes.npy"), "--machine", "golden", "-o", str(tmp_path / "out.npz")]) == 0
    equal(sl.load_result(tmp_path / "out.npz"), loihi(path, spikes))
    assert run(["compile", str(path), "--board", "tiny", "--profile", "norse"]) != 0
    assert "leave out --profile" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1800)  # three minutes on a core of its own
def test_all_test_images_agree_in_golden_and_gateware() -> None:
    """FRONTENDS.md §2: 95.32 % of 10,000 at T = 20."""
    path = shared_data("netx", "mnist_784-128-64-10.net")
    images, labels = mnist()
    image = sl.compile(from_netx(path), board="pynq_z2")
    right, cycles = 0, []
    with sl.open("golden", image.params) as model, sl.open("rtl", image.params) as gateware:
        for machine in (model, gateware):
            machine.load(image)
        for first in range(0, len(images), 500):
            part = slice(first, first + 500)
            spikes = integrate_and_fire(images[part], STEPS, 255)
            expected, specified, simulated = loihi(path, spikes), model.run(spikes), gateware.run(spikes)
            equal(specified, expected)
            equal(simulated, expected)
            for name in expected:
                np.testing.assert_array_equal(specified.counts[name], expected[name].sum(axis=1))
                np.testing.assert_array_equal(simulated.counts[name], specified.counts[name])
            right += int(np.sum(specified.counts["layer2"].argmax(axis=1) == labels[part]))
            assert simulated.cycles is not None
            cycles.append(simulated.cycles)
    assert right == 9532
    every = np.concatenate(cycles)
    print(f"cycles an image: mean {every.mean():.0f}, {every.min()} to {every.max()}")
