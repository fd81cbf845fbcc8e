"""Integer networks from arrays are taken exactly, or refused by name."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from spikeloom.errors import NetworkError
from spikeloom.host.estimates.arrays import from_arrays
from spikeloom.host.networks.network import Network
from spikeloom.host.networks.reference import reference


def arrays(population: dict[str, Any] | None = None, projection: dict[str, Any] | None = None, **more: Any) -> Network:
    """One input, one population and one projection, with changes; None takes an option away."""
    h = {"size": 2, "threshold": 5} | (population or {})
    p = {"source": "in", "target": "h", "weights": [[3, -1, 0], [2, 0, 1]]} | (projection or {})
    return from_arrays(inputs={"in": 3}, populations={"h": {k: v for k, v in h.items() if v is not None}},
                       projections=[{k: v for k, v in p.items() if v is not None}], **more)


def test_every_option_arrives() -> None:
    net = from_arrays(
        inputs={"in": (2, 2)},
        populations={"h": {"shape": (1, 2), "threshold": [7, 9], "bias": [-1, 2], "membrane_gain": 3895 / 4096,
                           "current_gain": 0.5, "shift": 6, "reset": "value", "reset_value": -3,
                           "refractory": [1, 2], "hold": True, "strict": True},
                     "out": {"size": 1, "spiking": False}},
        projections=[{"source": "in", "target": "h", "weights": np.array([[1, -2, 3, 4], [5, 6, -7, 8]], np.int8)},
                     {"source": "h", "target": "h", "weights": [[0, 1], [2, 0]], "delay": [[1, 3], [2, 1]]},
                     {"source": "h", "target": "out", "pre": [0, 1, 1], "post": [0, 0, 0], "weights": [1, 2, 3],
                      "delay": [0, 1, 5]},
                     {"source": "h", "target": "out", "weights": [[1, 1]]}],
        outputs=["out"])
    h = net.population("h")
    assert (h.integer, h.strict, h.hold, h.reset, h.shape) == (True, True, True, "value", (1, 2))
    np.testing.assert_array_equal(h.threshold, [7, 9])
    np.testing.assert_array_equal(h.input_gain, [64, 64])
    np.testing.assert_array_equal(h.membrane_gain * 4096, [3895, 3895])
    np.testing.assert_array_equal(h.refractory, [1, 2])
    assert not net.population("out").spiking
    assert [p.name for p in net.projections] == ["in → h", "h → h", "h → out", "h → out (2)"]
    np.testing.assert_array_equal(net.projections[1].delay, [3, 2])
    np.testing.assert_array_equal(net.projections[2].delay, [0, 1, 5])
    assert net.outputs == ("out",)


def test_a_small_network_runs_as_counted_by_hand() -> None:
    net = arrays({"threshold": 4, "bias": -1, "refractory": 1})
    spikes = np.array([[1, 0, 0], [1, 0, 0], [1, 0, 1], [0, 0, 0]], bool)
    result = reference(net, spikes, record=["h"])
    # Neuron 0: 2, 4 → spike, 0, then 2 while refractory, then 1. Neuron 1: 1, 2, 4 → spike, 0, then −1.
    np.testing.assert_array_equal(result.potentials["h"], [[2, 1], [0, 2], [2, 0], [1, -1]])
    np.testing.assert_array_equal(result.spikes["h"], [[0, 0], [1, 0], [0, 1], [0, 0]])


def test_widest_weights_are_taken() -> None:
    weights = arrays(projection={"weights": [[-32768, 32767, 0], [0, 0, 1]]}).projections[0].weight
    np.testing.assert_array_equal(weights, [-32768, 32767, 1])


@pytest.mark.parametrize(("population", "projection", "message"), [
    ({"threshold": 2.5}, {}, "Population 'h': threshold must be integers, not 2.5"),
    ({"threshold": np.nan}, {}, "threshold must be integers, not nan"),
    ({"threshold": None}, {}, "give its threshold, or spiking=False for a readout"),
    ({"threshold": 1 << 31}, {}, "threshold must be -2147483648 to 2147483647, 32 bits"),
    ({"bias": "x"}, {}, "bias must be integers, not 'x'"),
    ({"reset": "reset"}, {}, "reset must be 'subtract', 'zero' or 'value', not 'reset'"),
    ({"reset": "value"}, {}, "reset 'value' needs reset_value"),
    ({"reset": "zero", "reset_value": 3}, {}, "reset 'zero' has no reset_value"),
    ({"reset_value": 0.5}, {}, "reset_value must be integers, not 0.5"),
    ({"membrane_gain": 0.9}, {}, "membrane_gain must be a multiple of 1/4096, such as 3895 / 4096"),
    ({"current_gain": "x"}, {}, "current_gain must be a multiple"),
    ({"membrane_gain": 2.5}, {}, "membrane_gain must be 0 to 2"),
    ({"shift": -1}, {}, "shift must be one integer from 0 to 31, not -1"),
    ({"shift": [1, 2]}, {}, "shift must be one integer"),
    ({"refractory": -1}, {}, "refractory must be steps"),
    ({"size": None}, {}, "give either size or shape"),
    ({"shape": (2,)}, {}, "give either size or shape"),
    ({"size": 0}, {}, "no empty one"),
    ({"leak": 3}, {}, "there is no option 'leak'; there are size, shape"),
    ({}, {"weights": [[0.5, 1, 1], [1, 1, 1]]}, "Projection 'in → h': weights must be integers, not 0.5"),
    ({}, {"weights": [[40000, 1, 1], [1, 1, 1]]}, "weights must be -32768 to 32767, 16 bits, not 1 to 40000"),
    ({}, {"weights": None}, "Projection 0: give its weights"),
    ({}, {"weights": [1, 2, 3]}, "must be a matrix"),
    ({}, {"weights": [[1, 2, 3, 4]]}, "pre reaches neuron 3, but 'in' has only 3"),
    ({}, {"delay": 0.5}, "delay must be integers, not 0.5"),
    ({}, {"delay": -1}, "delay must be 0, 1, 2"),
    ({}, {"pre": [0]}, "give both pre and post"),
    ({}, {"pre": [0], "post": [0.5], "weights": [1]}, "post must be integers, not 0.5"),
    ({}, {"wieght": 1}, "there is no option 'wieght'"),
    ({}, {"source": "x"}, "there is no input or population 'x'"),
    ({}, {"source": "h", "weights": [[1, 0], [0, 1]]}, "form a loop in which no synapse has a delay"),
])
def test_what_is_not_exact_is_refused(population: dict[str, Any], projection: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        arrays(population, projection)


def test_unknown_outputs_are_refused() -> None:
    with pytest.raises(NetworkError, match="no population 'x'"):
        arrays(outputs=["x"])
