"""Training in the array's integers: the torch modules compute what the golden model computes, and their gradients are as said."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from tests.train_cases import LAYERS, PARAMS, SIZES, model_of

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'spikeloom[train]'")
train = sl.train

@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", LAYERS)
def test_the_forward_pass_is_the_golden_model(name: str, seed: int) -> None:
    model = model_of(LAYERS[name], seed)
    spikes = np.random.default_rng(seed).random((6, 20, SIZES[0])) < 0.4
    params = dataclasses.replace(PARAMS, state_bits=model.layers[0].state_bits)
    with sl.open("golden") as machine:
        machine.load(sl.compile(model.to_network(), params=params))
        result = machine.run(spikes, potentials="steps", record=model.names)
    met = 0
    for layer, (title, trace) in zip(model.layers, model.trace(torch.from_numpy(spikes)).items(), strict=True):
        assert np.array_equal(trace.potentials.detach().numpy(), result.states[title]), (title, seed)
        if layer.spiking:
            assert np.array_equal(trace.spikes.detach().numpy() > 0, result.spikes[title]), (title, seed)
            met += int(result.spikes[title].sum())
    assert met, f"seed {seed}: no neuron spiked, nothing was compared"


def test_saturation_and_refractory_periods_were_met() -> None:
    """The cases above compare what they are there for."""
    spikes = torch.from_numpy(np.random.default_rng(0).random((6, 20, SIZES[0])) < 0.4)
    first = model_of(LAYERS["integrators that saturate"], 0).trace(spikes)["layer1"]
    assert float(first.potentials.detach().min()) == -(2.0**15)
    model = model_of(LAYERS["refractory"], 0)
    held = model.layers[0]
    free = train.Layer(SIZES[0], SIZES[1], **LAYERS["refractory"][0] | {"refractory": 0})
    free.load_state_dict(held.state_dict())
    assert held(spikes)[0].detach().sum() < free(spikes)[0].detach().sum()


@pytest.mark.parametrize(("bits", "levels", "expected"), [
    (4, "odd", [-7, -5, -3, -1, 1, 3, 5, 7]), (2, "odd", [-1, 1]), (2, "symmetric", [-1, 0, 1]), (3, "symmetric", range(-3, 4))])
def test_weights_take_exactly_the_levels(bits: int, levels: str, expected: list[int]) -> None:
    latent = torch.linspace(-1.5, 1.5, 4001)
    assert torch.unique(train.quantise_weights(latent, bits, levels)).tolist() == list(expected)


def test_weights_pass_their_gradient_on_inside_the_range_only() -> None:
    latent = torch.tensor([-1.4, -0.3, 0.0, 0.9, 1.1], requires_grad=True)
    train.quantise_weights(latent, 4).sum().backward()
    assert latent.grad.tolist() == [0, 7, 7, 7, 0]


@pytest.mark.parametrize("name", ["fast_sigmoid", "triangle", "atan", "box"])
def test_a_spike_has_its_surrogate_for_a_derivative(name: str) -> None:
    distance = torch.tensor([-2.0, -0.5, 0.0, 0.5, 3.0], requires_grad=True)
    fired = train.spike(distance, name)
    assert fired.tolist() == [0, 0, 1, 1, 1]
    fired.sum().backward()
    assert torch.allclose(distance.grad, train.SURROGATES[name](distance.detach()))
    assert float(train.SURROGATES[name](torch.zeros(1))) == 1


def test_rounding_is_toward_zero_with_the_gain_for_a_gradient() -> None:
    value = torch.tensor([-7.0, -1.0, 1.0, 7.0], dtype=torch.float64, requires_grad=True)
    rounded = train.rtz(value, 0.75)
    assert rounded.tolist() == [-5, 0, 0, 5]
    rounded.sum().backward()
    assert value.grad.tolist() == [0.75] * 4


def test_training_lowers_the_loss_through_time_and_both_layers() -> None:
    torch.manual_seed(0)
    model = train.Sequential(train.Layer(12, 16, decay=0.9, shift=4, threshold=150),
                             train.Layer(16, 4, decay=0.9, shift=4, threshold=150, weight_bits=8))
    labels = torch.arange(64) % 4
    spikes = (torch.rand(64, 8, 12) < 0.15 + 0.5 * torch.nn.functional.one_hot(labels, 4).repeat_interleave(3, 1)[:, None]).float()
    optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
    losses = []
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(train.votes(model(spikes), 4), labels)
        optimiser.zero_grad()
        loss.backward()
        assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())
        optimiser.step()
        model.clip_()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2
    assert all(layer.latent.abs().max() <= 1 for layer in model.layers)


def test_votes_count_spikes_by_class() -> None:
    spikes = torch.zeros(1, 2, 7)
    spikes[0, 0, [0, 3, 4]] = 1
    spikes[0, 1, 6] = 1
    assert train.votes(spikes, 3).tolist() == [[3, 1, 0]]
    with pytest.raises(sl.NetworkError, match="7 neurons cannot vote for 8 classes"):
        train.votes(spikes, 8)


@pytest.mark.parametrize(("options", "message"), [
    ({"weight_bits": 9}, "weight_bits must be an integer from 2 to 8, not 9"),
    ({"levels": "even"}, "levels must be 'symmetric' or 'odd', not 'even'"),
    ({"decay": 2.5}, "decay must be 0 to 2, not 2.5"), ({"surrogate": "step"}, "surrogate must be 'fast_sigmoid'"),
    ({"threshold": 1 << 23}, "threshold must be an integer from"), ({"width": 0}, "width must be above 0"),
    ({"inputs": 1 << 20, "weight_bits": 8}, "are not exact in float32")])
def test_a_parameter_that_the_array_cannot_have_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(sl.NetworkError, match=message):
        train.Layer(**{"inputs": 4, "neurons": 3, **options})


def test_layers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(sl.NetworkError, match="has 5 inputs"):
        train.Sequential(train.Layer(3, 4), train.Layer(5, 2))
    with pytest.raises(sl.NetworkError, match="never spikes"):
        train.Sequential(train.Layer(3, 4, spiking=False), train.Layer(4, 2))
    with pytest.raises(sl.NetworkError, match="each must have its own"):
        train.Sequential(train.Layer(3, 4, name="a"), train.Layer(4, 2, name="a"))
    with pytest.raises(sl.NetworkError, match=r"spikes must be \(samples, steps, 3\)"):
        train.Sequential(train.Layer(3, 4))(torch.zeros(2, 3))
