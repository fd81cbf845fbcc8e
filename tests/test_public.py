"""The public face: what `import spikeloom` gives, `open`, recorded runs, boards, estimates and rasters."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.host.boards import board_of, synthesis
from spikeloom.host.estimates.estimate import RAMB36_PJ, energy, images_per_second, latency_us
from spikeloom.sim.open import KINDS, OnDemand


def network() -> sl.Network:
    """Eight inputs, six neurons that leak, three readouts."""
    rng = np.random.default_rng(5)
    return sl.from_arrays(
        inputs={"in": 8},
        populations={"hidden": {"size": 6, "threshold": 9, "membrane_gain": 0.5},
                     "out": {"size": 3, "spiking": False, "membrane_gain": 0.5}},
        projections=[{"source": "in", "target": "hidden", "weights": rng.integers(-7, 8, (6, 8))},
                     {"source": "hidden", "target": "out", "weights": rng.integers(-7, 8, (3, 6))}])


def spikes(samples: int = 3) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    return np.random.default_rng(6).random((samples, 10, 8)) < 0.5


@pytest.fixture
def image() -> sl.Image:
    return sl.compile(network(), board="tiny")


def run(image: sl.Image, **options: object) -> sl.Result:
    with sl.open("golden") as machine:
        machine.load(image)
        return machine.run(spikes(), **options)  # type: ignore[arg-type]  # options of run, by name


def test_every_public_name_is_there_and_documented() -> None:
    for name in sl.__all__:
        value = getattr(sl, name)
        assert value.__doc__, name
        assert value is getattr(sl, name)
        assert name in dir(sl)
    with pytest.raises(AttributeError, match="module 'spikeloom' has no attribute 'weave'"):
        sl.weave  # noqa: B018  # the attribute access is what is tested


def test_importing_the_face_needs_numpy_alone() -> None:
    code = ("import sys, spikeloom\n"
            "heavy = {'nir', 'h5py', 'click', 'rich', 'matplotlib', 'amaranth', 'cocotb', 'sklearn', 'scipy'}\n"
            "assert not heavy & set(sys.modules), heavy & set(sys.modules)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_network_goes_through_all_verbs(image: sl.Image) -> None:
    result = run(image, potentials="steps")
    expected = sl.reference(network(), spikes())
    np.testing.assert_array_equal(result.spikes["hidden"], expected.spikes["hidden"])
    np.testing.assert_array_equal(result.potentials["out"], expected.potentials["out"])
    assert result.counts["hidden"].sum() > 0
    assert "9 neurons" in str(sl.CompileReport(image.report))


def test_an_rtl_machine_without_an_array_takes_the_image_s(image: sl.Image) -> None:
    with sl.open("rtl") as machine:
        assert isinstance(machine, OnDemand)
        assert isinstance(machine, sl.Machine)
        with pytest.raises(sl.MachineError, match=r"No image is loaded: call load\(image\) before run\(\)"):
            machine.run(spikes())
        machine.load(image)
        assert machine.params == image.params
        result = machine.run(spikes(), potentials="steps")
        assert machine.counters()["TICKS"] > 0
        expected = run(image, potentials="steps")
        np.testing.assert_array_equal(result.spikes["hidden"], expected.spikes["hidden"])
        np.testing.assert_array_equal(result.states["out"], expected.states["out"])
        assert set(machine.probe("hidden")) == {"current", "membrane", "refractory"}
        machine.reset()
    with pytest.raises(sl.MachineError, match="No image is loaded"):
        machine.probe("hidden")


def test_an_array_is_named_in_two_ways(image: sl.Image) -> None:
    for machine in (sl.open("golden", board="tiny"), sl.open("golden", "tiny"), sl.open("golden", sl.preset("tiny"))):
        assert machine.params == sl.preset("tiny")
        machine.load(image)
    with pytest.raises(sl.ImageError, match="compiled for another array"):
        sl.open("golden", board="small").load(image)


@pytest.mark.parametrize(("kind", "options", "message"), [
    ("fpga", {}, f"There is no machine 'fpga'; there are {', '.join(KINDS)}"),
    ("golden", {"pauses": 0.5}, "The golden model takes no options, but pauses was given"),
    ("rtl", {"board": "zedboard"}, "There is no board 'zedboard', nor an array of that name; there are tiny, small"),
    ("rtl", {"board": "tiny", "params": "small"}, "Give params or board, not both"),
])
def test_a_machine_that_cannot_be_opened_says_why(kind: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(sl.MachineError, match=message):
        sl.open(kind, **options)  # type: ignore[arg-type]  # parametrised


@pytest.mark.parametrize("potentials", ["none", "end", "steps"])
def test_a_recorded_run_comes_back_whole(image: sl.Image, tmp_path: Path, potentials: str) -> None:
    result = run(image, potentials=potentials)
    sl.save_result(result, tmp_path / "run.npz")
    back = sl.load_result(tmp_path / "run.npz")
    assert back.image.digest() == image.digest()
    assert list(back.spikes) == list(result.spikes)
    assert list(back.states) == list(result.states)
    for name in result.spikes:
        np.testing.assert_array_equal(back.spikes[name], result.spikes[name])
    for name in result.states:
        np.testing.assert_array_equal(back.states[name], result.states[name])
    assert back.cycles is None
    assert back.stats == result.stats


def test_a_damaged_recording_is_refused(image: sl.Image, tmp_path: Path) -> None:
    path = tmp_path / "run.npz"
    sl.save_result(run(image), path)
    whole = path.read_bytes()
    for name, contents in (("short", whole[:len(whole) // 2]), ("other", b"not a zip archive"), ("empty", b"")):
        (tmp_path / name).write_bytes(contents)
        with pytest.raises(sl.SpikeloomError, match="is not a recorded run, or it is damaged"):
            sl.load_result(tmp_path / name)
    with pytest.raises(sl.SpikeloomError, match="There is no recorded run"):
        sl.load_result(tmp_path / "absent")
    image.save(tmp_path / "image.slm")
    with pytest.raises(sl.SpikeloomError, match="is not a recorded run"):
        sl.load_result(tmp_path / "image.slm")


def test_boards_have_what_their_part_has() -> None:
    board = sl.boards()["pynq_z2"]
    assert (board.part, board.clock_mhz) == ("xc7z020clg400-1", 100)
    assert board.resources == {"luts": 53200, "ffs": 106400, "ramb36": 140, "urams": 0, "dsps": 220}
    for array in board.arrays:
        assert board_of(array) == board
        assert sl.preset(array).cores > 0
    with pytest.raises(sl.SpikeloomError, match="Array 'tiny' is meant for no board; those that are: kv260, pynq_z1"):
        board_of("tiny")
    assert synthesis("no such array") == {}


def test_energy_is_counts_times_energies(image: sl.Image) -> None:
    result = run(image)
    found = energy(result, 3, 10)
    assert found.mid == pytest.approx(sum(found.shares.values()))
    assert (found.low, found.high) == pytest.approx((found.mid / 2, found.mid * 2))
    words = image.params.lanes * image.params.weight_bits / 72
    assert found.shares["synapses"] == pytest.approx(result.stats["READS"] / 3 * words * RAMB36_PJ * 1e-6)
    # Eleven ticks (the readouts run one behind), nine neurons, two multiplications each, 4 pJ.
    assert found.shares["multipliers"] == pytest.approx(11 * 9 * 2 * 4e-6)
    with pytest.raises(sl.InputError, match="at least one sample"):
        energy(result, 0, 10)


def test_speed_is_clock_over_cycles() -> None:
    assert images_per_second(1000, 100) == pytest.approx(100_000)
    assert latency_us(1000, 100) == pytest.approx(10)


def test_a_raster_shows_every_spike(image: sl.Image) -> None:
    result = run(image, potentials="steps")
    figure = sl.Result.raster(result, 1)
    dots, lines = figure.axes
    assert len(dots.lines[0].get_xdata()) == result.spikes["hidden"][1].sum() > 0
    np.testing.assert_array_equal(np.array([line.get_ydata() for line in lines.lines]).T, result.potentials["out"][1])
    with pytest.raises(sl.InputError, match="The run has samples 0 to 2, not 3"):
        result.raster(3)


def test_potentials_of_the_end_make_no_lines(image: sl.Image) -> None:
    assert len(run(image, potentials="end").raster().axes) == 1
    with sl.open("golden") as machine:
        machine.load(image)
        single = machine.run(spikes()[0], potentials="steps")
        assert len(single.raster().axes) == 2
        assert len(machine.run(spikes()[0]).raster().axes) == 1
