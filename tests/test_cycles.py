"""The model of cycles against the RTL, and its own accounts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import InputError
from spikeloom.host.estimates.cycle_events import Activity, at_rates
from spikeloom.host.estimates.cycles import predict
from spikeloom.host.estimates.estimate import energy, energy_of
from spikeloom.sim.activity import activity
from spikeloom.sim.compiled import open_compiled
from tests.arrays import SQUARE, TINY, everything, sound_case
from tests.data import shared_data
from tests.images import Neuron, lone

ROOT = Path(__file__).parent.parent


def measured(*cases: str) -> list[dict[str, Any]]:
    """Rows of benchmarks/cycles.py, which ends with 1 where a sample is off by more than 5 %."""
    done = subprocess.run([sys.executable, "benchmarks/cycles.py", "--json", *cases], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows: list[dict[str, Any]] = json.loads(done.stdout)["cases"]
    assert [row["case"] for row in rows] == list(cases)
    return rows


def test_random_images_take_the_predicted_cycles() -> None:
    for row in measured("tiny", "square"):
        assert abs(row["worst"]) <= 0.05, row
        assert row["measured"] > 5000, "the cases do too little to say anything"


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_real_networks_and_random_arrays_take_the_predicted_cycles() -> None:
    for part in (("mnist", "t10k-images-idx3-ubyte.gz"), ("netx", "mnist_784-128-64-10.net"), ("nmnist", "nmnist_train_300.npz")):
        shared_data(*part)
    for row in measured("digits", "netx_mnist", "netx_speed", "nmnist", *(f"array_{number}" for number in range(6))):
        print(f"{row['case']}: {row['measured']:,} cycles, predicted {row['predicted']:,}, worst sample {row['worst']:+.2%}")
        assert abs(row["worst"]) <= 0.05, row


@pytest.mark.parametrize("params", [TINY, SQUARE], ids=["one core", "2 × 2"])
def test_the_model_reads_the_words_that_the_golden_model_reads(params: sl.ArrayParams) -> None:
    """Every hit of an axon passes through the model's banks once: readings and marks neither lose nor repeat one."""
    total = 0
    for seed in range(40, 46):
        case = sound_case(params, seed)
        fired, open_, membrane, reads = activity(case.image, case.inputs)
        found = predict(case.image, case.inputs, Activity(fired, open_, membrane), **everything(case.image))
        assert found.reads == reads
        total += reads
    assert total > 100


def test_a_tick_costs_what_the_docs_say() -> None:
    """Two axons hit one core: silent steps take 4 cycles and the update, and the host's words limit nothing."""
    image = lone(TINY, [[0, 5]], [Neuron(theta=1000), Neuron(theta=1000)])
    spikes = np.zeros((1, 51, 1), bool)
    with open_compiled(TINY) as machine:
        machine.load(image)
        for steps in (1, 11, 51):
            expected = machine.run(spikes[:, :steps], potentials="none").cycles
            found = predict(image, spikes[:, :steps], Activity(*activity(image, spikes[:, :steps])), potentials="none")
            assert expected is not None
            np.testing.assert_array_equal(found.cycles, expected)
            assert found.limit == "update"


def test_events_of_other_runs_are_refused() -> None:
    case = sound_case(TINY, 50)
    events = Activity(*activity(case.image, case.inputs))
    longer = {name: np.concatenate([array, array], axis=1) for name, array in case.inputs.items()}
    with pytest.raises(InputError, match="The events are of"):
        predict(case.image, longer, events)
    with pytest.raises(InputError, match="at least one step"):
        predict(case.image, {name: array[:, :0] for name, array in case.inputs.items()}, events)
    with pytest.raises(InputError, match="Rates are 0 to 1"):
        at_rates(case.image, 1.5, 1, 10)


def test_higher_rates_take_more_cycles_and_words() -> None:
    rng = np.random.default_rng(7)
    network = sl.from_arrays(inputs={"in": 60}, populations={"out": {"size": 10, "threshold": 9}},
                             projections=[{"source": "in", "target": "out", "weights": rng.integers(-7, 8, (10, 60))}])
    image = sl.compile(network, board="tiny")
    runs = [predict(image, *at_rates(image, rate, 2, 20)) for rate in (0.0, 0.4, 0.9)]
    assert runs[0].reads == 0 < runs[1].reads < runs[2].reads
    assert runs[0].cycles.sum() < runs[1].cycles.sum() < runs[2].cycles.sum()
    assert runs[0].limits["integration"] == 0 < runs[1].limits["integration"] < runs[2].limits["integration"]
    # 60 inputs in words of 8 axons, 4 of each bank: nine tenths of them at an axon a bank a cycle, and the boundary.
    assert runs[2].cycles.mean() / 20 > 0.9 * 30


def test_energy_of_predicted_words_is_that_of_a_run() -> None:
    case = sound_case(TINY, 51)
    with sl.open("golden") as machine:
        machine.load(case.image)
        result = machine.run(case.inputs)
    samples, steps = next(iter(case.inputs.values())).shape[:2]
    found = predict(case.image, case.inputs, Activity(*activity(case.image, case.inputs)[:3]))
    assert energy_of(case.image, found.reads, samples, steps) == energy(result, samples, steps)
