"""Networks hold together, or say which population or projection does not."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from spikeloom.errors import NetworkError
from spikeloom.host.networks.discretise import Gains
from spikeloom.host.networks.network import Network, Population, Projection


def network(**changes: Any) -> Network:
    """A sound network of one input and two populations."""
    parts: dict[str, Any] = {
        "inputs": {"in": (2, 3)},
        "populations": (Population(name="a", shape=(4,)), Population(name="b", shape=(2,), spiking=False)),
        "projections": (Projection.dense("first", "in", "a", np.ones((4, 6))),
                        Projection.dense("second", "a", "b", np.ones((2, 4))),
                        Projection.dense("loop", "a", "a", np.ones((4, 4)), delay=1)),
        "outputs": ("b",), "dt": 1e-3}
    return Network(**(parts | changes))


def test_numbers_are_broadcast_over_the_neurons() -> None:
    population = Population(name="a", shape=(2, 3), threshold=2, bias=np.arange(6).reshape(2, 3), refractory=3)
    assert population.size == 6
    np.testing.assert_array_equal(population.threshold, np.full(6, 2.0))
    np.testing.assert_array_equal(population.bias, np.arange(6.0))
    assert population.refractory.dtype == np.int64
    assert population.threshold.dtype == np.float64


def test_reset_subtracts_the_threshold_unless_told() -> None:
    np.testing.assert_array_equal(Population(name="a", shape=(2,), threshold=[3, 4]).reset_value, [3, 4])
    np.testing.assert_array_equal(Population(name="a", shape=(2,), threshold=3, reset="value").reset_value, [0, 0])


def test_a_population_can_be_replaced_in_part() -> None:
    population = dataclasses.replace(Population(name="a", shape=(2,), threshold=[3, 4]), bias=1)
    np.testing.assert_array_equal(population.threshold, [3, 4])
    np.testing.assert_array_equal(population.bias, [1, 1])


def test_arrays_of_a_population_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        Population(name="a", shape=(2,)).bias[0] = 1


@pytest.mark.parametrize(("changes", "message"), [
    ({"shape": (0,)}, r"Population 'a': shape must have at least one axis and no empty one, not \(0,\)"),
    ({"shape": ()}, "at least one axis"),
    ({"shape": (1.5,)}, "no empty one"),
    ({"shape": "xy"}, "tuple of integers"),
    ({"name": ""}, "Population must have a name"),
    ({"threshold": np.inf}, "Population 'a': threshold of neuron 0 is inf; every number must be finite"),
    ({"bias": [0, np.nan]}, "bias of neuron 1 is nan"),
    ({"reset_value": np.nan}, "reset_value of neuron 0 is nan"),
    ({"bias": [1, 2, 3]}, r"bias has shape \(3,\); expected \(2,\) or one number"),
    ({"bias": "much"}, "bias must be a number or an array of numbers"),
    ({"membrane_gain": -0.1}, "membrane_gain must be 0 to 2, not -0.1"),
    ({"current_gain": 2.1}, "current_gain must be 0 to 2, not 2.1"),
    ({"second_current_gain": -1}, "Population 'a': second_current_gain must be 0 to 2, not -1"),
    ({"second_current_gain": [1, 2, 3]}, r"second_current_gain has shape \(3,\)"),
    ({"refractory": -1}, "refractory must be steps 0, 1, 2 …, not -1"),
    ({"refractory": 0.5}, "refractory must be steps"),
    ({"reset": "half"}, "reset must be 'subtract' or 'value', not 'half'"),
    ({"integer": True, "threshold": 1.5}, "threshold of neuron 0 is 1.5, not an integer"),
    ({"integer": True, "membrane_gain": 1 / 3}, r"membrane_gain of an integer population must be a multiple of 2\*\*-16"),
    ({"integer": True, "second_current_gain": 0.3}, r"second_current_gain of an integer population must be a multiple of"),
    ({"integer": True, "input_gain": 3}, "power of two"),
    ({"integer": True, "input_gain": 0.5}, "not an integer"),
])
def test_a_bad_population_is_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        Population(**({"name": "a", "shape": (2,)} | changes))


def test_a_dense_projection_lists_its_synapses() -> None:
    projection = Projection.dense("p", "in", "a", [[0, 2, 0], [3, 0, -1]], delay=[[1, 2, 1], [3, 1, 4]])
    assert projection.size == 3
    np.testing.assert_array_equal(projection.pre, [1, 0, 2])
    np.testing.assert_array_equal(projection.post, [0, 1, 1])
    np.testing.assert_array_equal(projection.weight, [2, 3, -1])
    np.testing.assert_array_equal(projection.delay, [2, 3, 4])


@pytest.mark.parametrize(("changes", "message"), [
    ({"pre": [0]}, "lists of equal length"),
    ({"weight": [1, np.nan]}, "Projection 'p': weight of synapse 1 is nan"),
    ({"pre": [0, -1]}, "pre must be 0, 1, 2 …, not -1"),
    ({"delay": [0, -2]}, "delay must be 0, 1, 2 …, not -2"),
    ({"delay": 0.5}, "delay must be 0, 1, 2 …, not 0.5"),
    ({"weight": ["a", "b"]}, "weight must be real numbers"),
    ({"weight": [1j, 2]}, "weight must be real numbers"),
    ({"name": 3}, "Projection must have a name"),
    ({"receptor": 2}, "Projection 'p': receptor must be 0 or 1, not 2: neurons have at most two synaptic currents"),
    ({"receptor": True}, "receptor must be 0 or 1, not True"),
    ({"receptor": "x"}, "receptor must be 0 or 1, not 'x'"),
    ({"receptor": [0, 1]}, r"receptor must be 0 or 1, not \[0, 1\]"),
])
def test_a_bad_projection_is_named(changes: dict[str, Any], message: str) -> None:
    parts: dict[str, Any] = {"name": "p", "source": "in", "target": "a", "pre": [0, 1], "post": [0, 1], "weight": [1, 2],
                             "delay": 0}
    with pytest.raises(NetworkError, match=message):
        Projection(**(parts | changes))


def test_dense_weights_must_be_a_matrix() -> None:
    with pytest.raises(NetworkError, match=r"must be a matrix \(outputs, inputs\), not of shape \(2,\)"):
        Projection.dense("p", "in", "a", [1, 2])
    with pytest.raises(NetworkError, match="do not form matrices"):
        Projection.dense("p", "in", "a", [[1, 2]], delay=[[1, 2, 3]])


def test_a_sound_network_gives_its_populations_in_order() -> None:
    net = network()
    assert net.order() == ("a", "b")
    assert net.size("in") == 6
    assert net.population("b").size == 2


def test_delayed_synapses_may_close_a_loop() -> None:
    back = Projection.dense("back", "a", "a", np.ones((4, 4)), delay=2)
    assert network(projections=(back,)).order() == ("a", "b")


@pytest.mark.parametrize(("changes", "message"), [
    ({"inputs": {"a": (6,)}}, "Input or population 'a' is there twice"),
    ({"inputs": {"in": (0, 3)}}, "Input 'in': shape must have"),
    ({"inputs": {"in": (2,)}}, "Projection 'first': pre reaches neuron 5, but 'in' has only 2"),
    ({"inputs": {}}, "Projection 'first': there is no input or population 'in'; there are a, b"),
    ({"inputs": {}, "populations": ()}, "neither inputs nor populations"),
    ({"populations": ()}, "no populations"),
    ({"outputs": ("c",)}, "There is no population 'c'; there are a, b"),
    ({"outputs": ("b", "b")}, "Output 'b' is there twice"),
    ({"dt": 0.0}, "dt must be a positive number"),
    ({"dt": np.nan}, "dt must be a positive number"),
    ({"projections": (Projection.dense("p", "a", "c", np.ones((2, 4))),)}, "'p': there is no population 'c'; there are a, b"),
    ({"projections": (Projection.dense("p", "a", "in", np.ones((2, 4))),)}, "an input cannot be a target"),
    ({"projections": (Projection.dense("p", "in", "b", np.ones((3, 6))),)}, "post reaches neuron 2, but 'b' has only 2"),
    ({"projections": (Projection.dense("p", "b", "a", np.ones((4, 2))),)}, "'b' never spikes, so that it cannot drive 'a'"),
    ({"projections": (Projection.dense("p", "a", "a", np.ones((4, 4))),)}, "Populations a → a form a loop"),
    ({"projections": (Projection.dense("p", "in", "a", np.ones((4, 6))),) * 2}, "Projection 'p' is there twice"),
])
def test_a_contradictory_network_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        network(**changes)


def test_the_network_knows_how_many_currents_its_neurons_have() -> None:
    second = Projection.dense("second", "in", "a", np.ones((4, 6)), receptor=1)
    assert [network().currents(name) for name in "ab"] == [1, 1]
    assert [network(projections=(second,)).currents(name) for name in "ab"] == [2, 1]
    with pytest.raises(NetworkError, match="There is no population 'c'"):
        network().currents("c")


def test_a_second_current_has_no_place_in_a_frameworks_rule() -> None:
    rule = Gains("float32", *(np.zeros(4) for _ in range(5)))
    second = Projection.dense("second", "in", "a", np.ones((4, 6)), receptor=1)
    with pytest.raises(NetworkError, match="'second': 'a' follows a framework's rule, which knows one synaptic current"):
        network(populations=(Population(name="a", shape=(4,), rule=rule),), projections=(second,), outputs=())


def test_a_loop_without_delay_is_named_from_end_to_end() -> None:
    populations = tuple(Population(name=name, shape=(1,)) for name in "abcd")
    pairs = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]
    links = tuple(Projection.dense(x + y, x, y, [[1]]) for x, y in pairs)
    with pytest.raises(NetworkError, match=r"(b → c → d → b|c → d → b → c|d → b → c → d) form a loop in which"):
        Network(inputs={}, populations=populations, projections=links, outputs=("d",))


def test_weights_into_integer_populations_are_integers() -> None:
    population = Population(name="a", shape=(4,), integer=True)
    with pytest.raises(NetworkError, match="'a' is an integer population, so that its weights must be integers"):
        network(populations=(population,), projections=(Projection.dense("p", "in", "a", np.full((4, 6), 0.5)),), outputs=())
