"""Profiles give the step rules of their frameworks, and ask for what neither file nor framework tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import pytest

from spikeloom.errors import NetworkError
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.importers.profiles import PROFILES
from tests.nir_cases import CHAIN, ends, graph, lif, spiking


@pytest.mark.parametrize(("profile", "options", "strict", "reset", "value"), [
    ("snntorch", {"reset": "subtract"}, True, "subtract", [0.5 / (1 - 1 / 6), 1 / (1 - 1 / 8)]),
    ("snntorch", {"reset": "zero"}, True, "value", [0, 0]),
    ("norse", {"dt": 1e-4}, True, "value", [-0.05, -0.1]),
    ("norse", {"dt": 1e-4, "reset": "zero"}, True, "value", [0, 0]),
    ("sinabs", {"dt": 1e-4, "norm_input": True}, False, "subtract", [0.5, 1]),
    ("spikingjelly", {"reset": "subtract"}, False, "subtract", [0.5, 1]),
    ("spikingjelly", {"reset": "value"}, False, "value", [-0.05, -0.1]),
    ("rockpool", {"dt": 1e-4}, False, "subtract", [0.5, 1]),
    ("brainpy", {"dt": 1e-4}, False, "value", [-0.05, -0.1]),
])
def test_profiles_spike_and_reset_as_their_framework(profile: str, options: dict[str, Any], strict: bool, reset: str,
                                                     value: list[float]) -> None:
    population = from_nir(graph(spiking(), CHAIN), profile=profile, **options).population("lif")
    assert (population.strict, population.reset) == (strict, reset)
    np.testing.assert_allclose(population.reset_value, value)


@pytest.mark.parametrize(("profile", "gain", "factor"), [
    ("norse", lambda a: 1 - a, lambda a: a), ("snntorch", lambda a: 1 - a, lambda a: a),
    ("spikingjelly", lambda a: 1 - a, lambda a: a),
    ("brainpy", lambda a: np.exp(-a), lambda a: 1 - np.exp(-a)), ("sinabs", lambda a: np.exp(-a), lambda a: 1 - np.exp(-a)),
    ("rockpool", lambda a: np.exp(-a), lambda a: a * np.exp(a)),
])
def test_profiles_integrate_as_their_framework(profile: str, gain: Callable[[Any], Any], factor: Callable[[Any], Any]) -> None:
    node = lif(2)
    net = from_nir(graph(spiking(), CHAIN), profile=profile, dt=1e-4, reset="zero", norm_input=True)
    population = net.population("lif")
    np.testing.assert_allclose(population.membrane_gain, gain(1e-4 / node.tau))
    np.testing.assert_allclose(population.input_gain, node.r * factor(1e-4 / node.tau))


def test_every_profile_says_what_it_does() -> None:
    assert set(PROFILES) == {"snntorch", "norse", "sinabs", "spikingjelly", "rockpool", "brainpy"}
    for profile in PROFILES.values():
        assert "spike if v" in profile.description
        assert profile.dt is not None or profile.dt_help
        assert profile.reset is not None or profile.reset_help


def test_several_spikes_in_a_step_are_reported_as_approximated() -> None:
    statuses = {profile: {node.name: node.status for node in from_nir(graph(spiking(), CHAIN), profile=profile, dt=1e-4,
                                                                      norm_input=True).report}["lif"]
                for profile in ("sinabs", "rockpool", "norse")}
    assert statuses == {"sinabs": "approximated", "rockpool": "approximated", "norse": "exact"}


@pytest.mark.parametrize(("options", "message"), [
    ({"profile": "torch"}, "There is no profile 'torch'; the exporters are snntorch, norse"),
    ({"profile": "norse"}, "profile 'norse' needs dt=…: Norse 1.1.0 scales"),
    ({"profile": "brainpy"}, r"profile 'brainpy' needs dt=…: bm.get_dt\(\)"),
    ({"profile": "rockpool"}, "profile 'rockpool' needs dt=…: it could not be recovered"),
    ({"profile": "snntorch"}, "LIF 'lif' needs reset=…: snnTorch writes v_reset = 0 for both"),
    ({"profile": "spikingjelly"}, "LIF 'lif' needs reset=…: SpikingJelly writes its soft reset"),
    ({"profile": "sinabs", "dt": 1e-4}, "LIF 'lif': the file does not tell .*norm_input=True"),
    ({"profile": "norse", "dt": -1.0}, "dt must be a positive number"),
    ({"profile": "norse", "dt": 1e-3}, "LIF 'lif': tau 0.0006 is below the step dt = 0.001; is dt, or the profile, that"),
    ({"profile": "norse", "dt": 1e-4, "reset": "half"}, "reset must be one of subtract, zero, value, not 'half'"),
    ({"profile": "norse", "dt": 1e-4, "order": "odd"}, "order must be 'new' or 'old'"),
])
def test_what_the_file_leaves_open_is_asked_for(options: dict[str, Any], message: str) -> None:
    with pytest.raises(NetworkError, match=message):
        from_nir(graph(spiking(), CHAIN), **options)


def test_readouts_need_no_reset() -> None:
    nodes = ends([2], [2]) | {"li": nir.LI(tau=np.full(2, 1e-3), r=np.ones(2), v_leak=np.zeros(2))}
    assert not from_nir(graph(nodes, "input > li > output"), profile="snntorch").population("li").spiking


def test_subtraction_after_a_decay_to_nothing_is_refused() -> None:
    node = lif(2, tau=np.full(2, 1e-4))
    with pytest.raises(NetworkError, match="LIF 'lif': snntorch subtracts the threshold after the decay"):
        from_nir(graph(spiking(lif=node), CHAIN), profile="snntorch", reset="subtract")
