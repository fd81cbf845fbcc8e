"""The float reference gives what the frameworks gave, and integer networks what the equations say."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloom.errors import InputError, NetworkError
from spikeloom.events import Events
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.importers.profiles import PROFILES
from spikeloom.host.networks.discretise import discretise
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.host.networks.reference import reference
from tests.data import shared_data


def one(population: Population, weights: npt.ArrayLike, delay: int = 0) -> Network:
    """A network of one input and one population."""
    matrix = np.asarray(weights, np.float64)
    return Network(inputs={"in": (matrix.shape[1],)}, populations=(population,), outputs=(population.name,),
                   projections=(Projection.dense("p", "in", population.name, matrix, delay),))


# What frameworks gave.

def test_norse_lif_is_reproduced_bit_for_bit() -> None:
    recorded = np.loadtxt(shared_data("nir_paper", "01_lif", "lif_norse.csv"), delimiter=",")
    net = from_nir(shared_data("nir_paper", "01_lif", "lif_norse.nir"), profile="norse", dt=1e-4)
    result = reference(net, recorded[:, :1], record=["1"])
    # The file holds float32 numbers to eight decimals, which name them uniquely.
    difference = result.potentials["1"][:, 0].astype(np.float32) - recorded[:, 1].astype(np.float32)
    assert np.abs(difference).max() == 0.0
    assert np.abs(recorded[:, 1]).max() > 0.09
    np.testing.assert_array_equal(np.flatnonzero(result.spikes["1"]), [460, 510, 710, 760])
    np.testing.assert_array_equal(result.spikes["1"][:, 0], recorded[:, 2] == 1)


def test_rockpool_lif_is_reproduced() -> None:
    recorded = np.loadtxt(shared_data("nir_paper", "01_lif", "lif_rockpool.csv"), delimiter=",")
    net = from_nir(shared_data("nir_paper", "01_lif", "lif_rockpool.nir"), profile="rockpool")
    assert net.dt == pytest.approx(1e-4, rel=1e-6)
    name = net.populations[0].name
    result = reference(net, recorded[:, :1], record=[name])
    np.testing.assert_allclose(result.potentials[name][:, 0], recorded[:, 1], atol=1e-7)
    np.testing.assert_array_equal(np.flatnonzero(result.spikes[name]), [450, 500, 710, 760])


def braille(**options: Any) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.int64], int]:
    """Hidden spikes and output counts of Braille sample 0, and how many hidden spikes differ from snnTorch's."""
    net = from_nir(shared_data("nir_paper", "03_rnn", "braille_noDelay_bias_zero.nir"), profile="snntorch",
                   reset="zero", **options)
    sample = np.load(shared_data("nir_paper", "03_rnn", "braille_test_sample0_256x12.npy"), allow_pickle=False)
    recorded = np.load(shared_data("nir_paper", "03_rnn", "snntorch_activity_noDelay_bias_zero.npy"), allow_pickle=False)
    result = reference(net, sample)
    hidden = result.spikes["lif1.lif"]
    assert hidden.shape == recorded.shape == (256, 38)
    return hidden, result.counts["lif2"], int((hidden != (recorded == 1)).sum())


def test_braille_hidden_spikes_are_snntorchs() -> None:
    hidden, counts, different = braille()
    assert different == 0, f"{different} of {hidden.size}"
    assert hidden.sum() == 119
    np.testing.assert_array_equal(counts, [10, 160, 112, 113, 103, 68, 121])


def test_braille_with_the_old_current_is_another_network() -> None:
    assert 127 <= braille(order="old")[2] <= 169  # as published for interpreters with this order of update


# Rules and gains are the same equations.

@pytest.mark.parametrize("profile", sorted(PROFILES))
@pytest.mark.parametrize("kind", ["Threshold", "I", "IF", "LI", "LIF", "CubaLI", "CubaLIF"])
def test_rules_state_the_gains_equations(profile: str, kind: str) -> None:
    rng = np.random.default_rng(5)
    n, samples, steps = 7, 3, 40
    chosen = PROFILES[profile]
    p = {"tau": rng.uniform(2, 9, n), "tau_syn": rng.uniform(2, 9, n), "tau_mem": rng.uniform(2, 9, n),
         "r": rng.uniform(0.5, 2, n), "v_leak": rng.uniform(-1, 1, n), "w_in": rng.uniform(0.5, 2, n)}
    offset = np.zeros(n) if kind.startswith("Cuba") else rng.uniform(-1, 1, n)
    step = discretise("x", kind, p, offset, chosen, 1.0, True)
    current = membrane = np.zeros((samples, n), step.rule.precision)
    u = v = np.zeros((samples, n))
    for _ in range(steps):
        drive = rng.normal(size=(samples, n))
        current, membrane = step.rule.advance(current, membrane, drive.astype(step.rule.precision))
        u = step.alpha * u + step.gain * drive
        v = step.beta * v + u + step.bias
        np.testing.assert_allclose(membrane, v, rtol=1e-4, atol=1e-4)
    assert membrane.dtype == np.dtype(step.rule.precision)
    assert np.abs(v).max() > 0.1


def test_exponential_rule_is_the_differential_equations_solution() -> None:
    tau, r, leak, x, dt, steps = 0.02, 3.0, -0.5, 0.7, 1e-3, 30
    p = {"tau": np.array([tau]), "r": np.array([r]), "v_leak": np.array([leak])}
    step = discretise("x", "LI", p, np.zeros(1), PROFILES["brainpy"], dt, None)
    current = membrane = np.zeros((1, 1))
    for _ in range(steps):
        current, membrane = step.rule.advance(current, membrane, np.array([[x]]))
    assert membrane[0, 0] == pytest.approx((leak + r * x) * (1 - np.exp(-dt * steps / tau)), rel=1e-5)


def test_late_subtraction_of_snntorch_is_theta_over_beta() -> None:
    beta, theta, weight = 0.8, 1.0, 0.6
    population = Population(name="a", shape=(1,), membrane_gain=beta, threshold=theta, strict=True, reset_value=theta / beta)
    net = one(population, [[weight]])
    spikes = np.ones((60, 1), bool)
    result = reference(net, spikes)
    v, fired, expected = 0.0, False, []
    for _ in range(60):  # snnTorch: U' = β U + x − R θ with R of the step before
        v = beta * v + weight - theta * fired
        fired = v > theta
        expected.append(fired)
    np.testing.assert_array_equal(result.spikes["a"][:, 0], expected)
    assert 5 < sum(expected) < 55


# Integer networks.

def rtz(value: Fraction) -> int:
    """Toward zero."""
    return int(value)


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], list[list[int]], list[list[int]], int]:
    """A population's options, recurrent weights (2, 2), input (steps, 2), and a delay; ``receptor`` is the recurrent one's."""
    whole = st.integers(-300, 300)
    gain = st.integers(0, 8192).map(lambda k: k / 4096)
    options = {"current_gain": draw(gain.filter(lambda g: g <= 1)), "membrane_gain": draw(gain), "bias": draw(whole),
               "threshold": draw(st.integers(-20, 400)), "strict": draw(st.booleans()),
               "reset": draw(st.sampled_from(["subtract", "value"])),
               "reset_value": draw(whole), "refractory": draw(st.integers(0, 3)), "hold": draw(st.booleans()),
               "input_gain": draw(st.sampled_from([1, 2, 8])), "second_current_gain": draw(gain.filter(lambda g: g <= 1)),
               "receptor": draw(st.integers(0, 1))}
    weights = [[draw(whole), draw(whole)], [draw(whole), draw(whole)]]
    spikes = draw(st.lists(st.lists(st.integers(0, 1), min_size=2, max_size=2), min_size=1, max_size=15))
    return options, weights, spikes, draw(st.integers(1, 3))


@settings(max_examples=80, deadline=None)
@given(cases())
def test_integer_networks_follow_the_equations(case: tuple[dict[str, Any], list[list[int]], list[list[int]], int]) -> None:
    options, weights, spikes, delay = case
    receptor = options.pop("receptor")
    high = (1 << 15) - 1
    population = Population(name="a", shape=(2,), integer=True, **options)
    net = Network(inputs={"in": (2,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("p", "in", "a", weights), Projection.dense("q", "a", "a", np.transpose(weights), delay, receptor=receptor)))
    result = reference(net, np.array(spikes, bool), record=["a"], state_bits=16)
    alphas = [Fraction(options[name]) for name in ("current_gain", "second_current_gain")]
    beta = Fraction(options["membrane_gain"])
    past: list[list[bool]] = []
    u, v, wait = [[0, 0], [0, 0]], [0, 0], [0, 0]
    for step, given_spikes in enumerate(spikes):
        now = []
        for i in range(2):
            total = [sum(weights[i][j] * given_spikes[j] for j in range(2)), 0]
            if step >= delay:
                total[receptor] += sum(weights[j][i] * past[step - delay][j] for j in range(2))
            u[i] = [rtz(u[i][k] * alphas[k]) + options["input_gain"] * total[k] for k in range(2)]
            new = max(-high - 1, min(high, rtz(v[i] * beta) + sum(u[i]) + options["bias"]))
            if not (wait[i] and options["hold"]):
                v[i] = new
            fires = not wait[i] and (v[i] > options["threshold"] if options["strict"] else v[i] >= options["threshold"])
            wait[i] = max(0, wait[i] - 1)
            if fires:
                after = v[i] - options["reset_value"] if options["reset"] == "subtract" else options["reset_value"]
                v[i], wait[i] = max(-high - 1, min(high, after)), options["refractory"]
            now.append(fires)
        past.append(now)
        np.testing.assert_array_equal(result.spikes["a"][step], now)
        np.testing.assert_array_equal(result.potentials["a"][step], v)


def test_two_currents_decay_with_time_constants_of_their_own() -> None:
    population = Population(name="a", shape=(1,), current_gain=0.5, second_current_gain=0.9, membrane_gain=0.8, input_gain=3,
                            bias=0.1, spiking=False)
    net = Network(inputs={"x": (1,), "y": (1,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("fast", "x", "a", [[2]]), Projection.dense("slow", "y", "a", [[-1]], receptor=1)))
    spikes = np.random.default_rng(2).random((2, 40, 1)) < 0.4
    found = reference(net, {"x": spikes[0], "y": spikes[1]}).potentials["a"][:, 0]
    fast = slow = v = 0.0
    for step in range(40):
        fast, slow = 0.5 * fast + 3 * 2 * spikes[0, step, 0], 0.9 * slow - 3 * spikes[1, step, 0]
        v = 0.8 * v + fast + slow + 0.1
        assert found[step] == pytest.approx(v, abs=1e-12)


def test_integer_decay_rounds_toward_zero_on_both_sides() -> None:
    population = Population(name="a", shape=(2,), integer=True, membrane_gain=0.5, spiking=False)
    result = reference(one(population, [[7], [-7]]), np.array([[1], [0], [0], [0], [0]], bool))
    np.testing.assert_array_equal(result.potentials["a"], [[7, -7], [3, -3], [1, -1], [0, 0], [0, 0]])


def test_integer_state_without_bound_is_refused() -> None:
    population = Population(name="a", shape=(1,), integer=True, membrane_gain=2.0, spiking=False)
    with pytest.raises(NetworkError, match="left 46 bits"):
        reference(one(population, [[1]]), np.ones((60, 1), bool))
    held = reference(one(population, [[1]]), np.ones((60, 1), bool), state_bits=24)
    assert held.potentials["a"].max() == (1 << 23) - 1


# Time, forms of input, sizes.

def test_feed_forward_is_seen_in_the_same_step_and_delays_later() -> None:
    populations = tuple(Population(name=name, shape=(1,), membrane_gain=0.0) for name in ("late", "second", "first"))
    net = Network(inputs={"in": (1,)}, populations=populations, outputs=("late",), projections=(
        Projection.dense("x", "in", "first", [[1]]), Projection.dense("y", "first", "second", [[1]]),
        Projection.dense("z", "second", "late", [[1]], delay=3)))
    result = reference(net, np.array([1, 0, 0, 0, 1, 0, 0, 0], bool)[:, None])
    assert [np.flatnonzero(result.spikes[name]).tolist() for name in ("first", "second", "late")] == [[0, 4], [0, 4], [3, 7]]


def test_samples_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(3)
    population = Population(name="a", shape=(5,), membrane_gain=0.9, threshold=2)
    net = Network(inputs={"in": (4,)}, populations=(population,), outputs=("a",), projections=(
        Projection.dense("p", "in", "a", rng.normal(size=(5, 4))), Projection.dense("q", "a", "a", rng.normal(size=(5, 5)), 1)))
    spikes = rng.random((6, 30, 4)) < 0.4
    together = reference(net, spikes, record=["a"])
    assert together.spikes["a"].any()
    assert together.counts["a"].shape == (6, 5)
    for i, sample in enumerate(spikes):
        alone = reference(net, sample, record=["a"])
        np.testing.assert_array_equal(alone.spikes["a"], together.spikes["a"][i])
        np.testing.assert_allclose(alone.potentials["a"], together.potentials["a"][i], rtol=1e-12, atol=1e-12)


def test_sparse_and_dense_synapses_sum_alike() -> None:
    rng = np.random.default_rng(4)
    matrix = rng.integers(-9, 10, (40, 50)) * (rng.random((40, 50)) < 0.1)
    population = Population(name="a", shape=(40,), integer=True, spiking=False)
    spikes = rng.random((3, 12, 50)) < 0.3
    result = reference(one(population, matrix), spikes)
    np.testing.assert_array_equal(result.potentials["a"], np.cumsum(spikes.astype(int) @ matrix.T, axis=1))
    real = rng.normal(size=(3, 12, 50))
    half = one(Population(name="a", shape=(40,), spiking=False), matrix)
    np.testing.assert_allclose(reference(half, real).potentials["a"], np.cumsum(real @ matrix.T, axis=1), atol=1e-9)


def test_results_do_not_depend_on_batches_and_only_what_is_asked_for_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    a, b = Population(name="a", shape=(30,), threshold=2), Population(name="b", shape=(20,), membrane_gain=0.9, threshold=2)
    net = Network(inputs={"in": (25,)}, populations=(a, b), outputs=("b",), projections=(
        Projection.dense("p", "in", "a", rng.normal(size=(30, 25))),
        Projection.dense("q", "a", "b", rng.normal(size=(20, 30)) * (rng.random((20, 30)) < 0.1), rng.integers(0, 4, (20, 30))),
        Projection.dense("r", "b", "a", rng.normal(size=(30, 20)) * (rng.random((30, 20)) < 0.1), 2)))
    spikes = rng.random((7, 25, 25)) < 0.3
    whole = reference(net, spikes, record=["b"])
    assert whole.counts["b"].min() < whole.counts["b"].max()
    for batch, events in ((1, 1 << 22), (64, 1 << 22), (1 << 17, 20_000), (1 << 17, 600)):
        monkeypatch.setattr("spikeloom.host.networks.reference._BATCH", batch)
        monkeypatch.setattr("spikeloom.host.networks.sums._EVENTS", events)
        part = reference(net, spikes, record=["b"], keep=["b"])
        assert set(part.spikes) == {"b"}
        np.testing.assert_array_equal(part.spikes["b"], whole.spikes["b"])
        if events > 750:  # else one sample's sum is cut, and rounds otherwise
            np.testing.assert_array_equal(part.potentials["b"], whole.potentials["b"])
        else:
            np.testing.assert_allclose(part.potentials["b"], whole.potentials["b"], rtol=1e-12, atol=1e-12)
    with pytest.raises(NetworkError, match="no population 'c'"):
        reference(net, spikes, keep=["c"])


def test_events_and_arrays_are_the_same_input() -> None:
    net = one(Population(name="a", shape=(2,)), np.eye(2))
    spikes = np.zeros((2, 5, 2), bool)
    spikes[1, 3, 0] = spikes[0, 2, 1] = True
    sample, step, neuron = np.nonzero(spikes)
    events = Events(sample, step, neuron, samples=2, steps=5)
    np.testing.assert_array_equal(reference(net, events).spikes["a"], reference(net, {"in": spikes}).spikes["a"])


@pytest.mark.parametrize(("spikes", "message"), [
    (np.zeros((4, 3)), r"Input 'in' has shape \(4, 3\)"),
    (np.full((4, 2), np.nan), "Input 'in': every value must be finite"),
    ({"on": np.zeros((4, 2))}, "The network has inputs in, not on"),
    (np.full((4, 2), 2), "spikes must be bool, or numbers 0 and 1"),
])
def test_unsuitable_inputs_are_refused(spikes: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference(one(Population(name="a", shape=(2,)), np.eye(2)), spikes)


def test_two_inputs_need_a_mapping_of_equal_lengths() -> None:
    net = Network(inputs={"x": (1,), "y": (1,)}, populations=(Population(name="a", shape=(1,)),), outputs=("a",), projections=(
        Projection.dense("p", "x", "a", [[1]]), Projection.dense("q", "y", "a", [[1]])))
    with pytest.raises(InputError, match="inputs x, y: give a mapping"):
        reference(net, np.zeros((4, 1)))
    with pytest.raises(InputError, match="Inputs differ in samples or steps"):
        reference(net, {"x": np.zeros((4, 1)), "y": np.zeros((5, 1))})


def test_fractions_cannot_drive_integers() -> None:
    with pytest.raises(InputError, match="'a' takes integers: inputs with fractions cannot drive it"):
        reference(one(Population(name="a", shape=(2,), integer=True), np.eye(2)), np.full((4, 2), 0.5))


def test_unknown_names_are_not_recorded() -> None:
    with pytest.raises(NetworkError, match="no population 'b'"):
        reference(one(Population(name="a", shape=(2,)), np.eye(2)), np.zeros((4, 2)), record=["b"])
