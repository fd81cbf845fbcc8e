"""Networks that snnTorch, Norse, sinabs and SpikingJelly export give the framework's own spikes, or differ for a stated reason.

The files in tests/frameworks were written by tests/frameworks/export.py; with the frameworks installed, the modules are also
built anew and read by from_snntorch and its sisters.
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import NetworkError
from spikeloom.host.importers.nir import from_nir
from spikeloom.host.importers.profiles import PROFILES
from spikeloom.host.networks.reference import reference
from tests.frameworks import export
from tests.frameworks.export import CASES, FOLDER, Case

#: Spikes of each layer that differ by the profile alone, and the words of the profile's docstring that say why; all others: none.
DIFFER = {
    "snntorch_zero_synaptic": ([0, 512], "also stay at 0 for the step that follows"),
    "snntorch_at_once": ([330, 233], "reset_delay=False"),
    "norse_cell": ([1002, 695], "adds x to I whole"),
    "sinabs_several": ([389, 292], "several times in a step"),
}
#: The same by the module itself.
LIVE = ("snntorch_at_once", "sinabs_several")
FRAMEWORKS = sorted({case.framework for case in CASES})


def recorded(case: Case) -> tuple[Any, dict[str, Any]]:
    """Input and spikes of a file."""
    with np.load(FOLDER / f"{case.title}.npz") as file:
        return file["input"], {key[7:]: file[key] for key in file if key.startswith("spikes ")}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_the_reference_gives_the_frameworks_own_spikes(case: Case) -> None:
    sample, spikes = recorded(case)
    np.testing.assert_array_equal(sample, case.sample())
    net = from_nir(FOLDER / f"{case.title}.nir", profile=case.framework, **case.profile)
    ours = reference(net, sample).spikes
    assert set(spikes) == set(ours) - {f"{name}.bias" for name in spikes}
    assert all(0 < np.mean(values > 0) < 0.99 for values in spikes.values())
    expected, why = DIFFER.get(case.title, ([0] * len(spikes), ""))
    assert why in PROFILES[case.framework].description
    assert [int(np.count_nonzero(ours[name] != (values > 0))) for name, values in spikes.items()] == expected


def test_every_file_belongs_to_a_case() -> None:
    stems = {case.title for case in CASES}
    assert {path.stem for path in Path(FOLDER).glob("*.n*")} == stems
    assert {case.framework for case in CASES} == {"snntorch", "norse", "sinabs", "spikingjelly"}


def live(framework: str) -> Any:
    """from_<framework>; skips, with the reason, where the framework is not installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        missing = export.present(framework)
    if missing:
        pytest.skip(f"{framework} is not installed ({missing}); tests/frameworks/requirements.txt has the versions")
    return getattr(sl, f"from_{framework}")


@pytest.mark.filterwarnings("ignore")  # of the frameworks, about each other's age
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.title)
def test_modules_give_the_frameworks_own_spikes(case: Case) -> None:
    convert = live(case.framework)
    module, sample = case.module(), case.sample()
    before = {name: value.detach().numpy().copy() for name, value in module.state_dict().items()}
    net = convert(module, sample)
    after = module.state_dict()
    assert all(np.array_equal(value, after[name].numpy()) for name, value in before.items())
    own = {name: values > 0 for name, values in export.run(case).items()}
    ours = reference(net, sample).spikes
    differ = {name: int(np.count_nonzero(ours[export.node(case, name, list(ours))] != values)) for name, values in own.items()}
    statuses = {node.status for node in net.report}
    print(f"{case.title}: {differ}, {statuses}")
    if case.title in LIVE:
        assert all(differ.values())
        assert "approximated" in statuses
    else:
        assert not any(differ.values())
        assert statuses == {"exact"}
    details = {node.name: node.detail for node in net.report}
    for name, count in differ.items():
        assert f"on the sample {count} of {own[name].size} spikes differ" in details[export.node(case, name, list(ours))]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("recurrent", [False, True])
def test_snntorch_needs_no_vectors_and_keeps_its_own_resets(reset: str, recurrent: bool) -> None:
    convert = live("snntorch")
    import snntorch
    import torch
    from torch import nn
    more: dict[str, Any] = {"init_hidden": True, "reset_mechanism": reset}
    if recurrent:  # the first layer is recurrent (which nirtorch connects wrongly) and the last has no leak
        parts = [snntorch.RLeaky(beta=0.9, linear_features=12, **more), nn.Linear(12, 8),
                 snntorch.RSynaptic(alpha=0.7, beta=1.0, linear_features=8, threshold=0.5, **more)]
    else:
        parts = [nn.Linear(12, 20), snntorch.Leaky(beta=0.9, threshold=0.5, **more), nn.Linear(20, 8),
                 snntorch.Synaptic(alpha=0.7, beta=0.8, threshold=0.5, **more)]
    module = export.filled(nn.Sequential(*parts), np.random.default_rng(3))
    module(torch.ones(4, 12))  # a batch in the middle of training: the states hang in a computation
    state = module[-1].mem
    assert state.grad_fn is not None
    net = convert(module, np.random.default_rng(1).random((200, 12)) < 0.3)
    assert module[-1].mem is state
    assert {node.status for node in net.report} == {"exact"}
    assert sum("on the sample 0 of" in node.detail for node in net.report) == 2
    assert module[-1].beta.ndim == 0


@pytest.mark.filterwarnings("ignore")
def test_norse_cells_are_counted_from_where_they_start() -> None:
    convert = live("norse")
    import norse.torch as norse
    import torch
    from torch import nn
    leaky = norse.LIFBoxParameters(v_th=torch.tensor(0.4), v_leak=torch.tensor(0.125), v_reset=torch.tensor(-0.125))
    soft = norse.LIFBoxParameters(v_th=torch.tensor(0.25), reset_method=norse.functional.reset.reset_subtract)
    parts = [nn.Linear(12, 20), norse.LIFBoxCell(p=leaky), nn.Linear(20, 8), norse.LIFBoxCell(p=soft), nn.Linear(8, 4),
             norse.IAFCell(p=norse.IAFParameters(v_reset=torch.tensor(0.25))), nn.Linear(4, 3), norse.LIBoxCell()]
    module = export.filled(norse.SequentialState(*parts), np.random.default_rng(3))
    net = convert(module, np.random.default_rng(1).random((300, 12)) < 0.5)
    details = [node.detail for node in net.report if "on the sample" in node.detail]
    assert len(details) == 3
    assert all("on the sample 0 of" in text for text in details)
    assert all(reference(net, np.random.default_rng(1).random((300, 12)) < 0.5).counts[name].any() for name in "135")


@pytest.mark.filterwarnings("ignore")
def test_what_the_export_loses_is_noticed_on_the_sample() -> None:
    convert = live("spikingjelly")
    import torch
    from spikingjelly.activation_based import layer, neuron

    class Shifted(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.fire = layer.Linear(12, 5), neuron.IFNode()

        def forward(self, x: Any) -> Any:
            return self.fire(self.fc(x) + 0.25)  # the export drops the constant without a word

    net = convert(export.filled(Shifted(), np.random.default_rng(0)), np.random.default_rng(1).random((100, 12)) < 0.3)
    (node,) = [node for node in net.report if node.name == "fire"]
    assert node.status == "approximated"
    assert "does the module compute outside of its layers" in node.detail


def refused() -> list[tuple[str, Any, str]]:
    """Framework, what builds a module of 12 inputs, and the message."""
    def jelly(*names: str) -> Any:
        from spikingjelly.activation_based import layer, neuron
        from torch import nn
        inner = neuron.IFNode()
        last = {"loop": lambda: layer.LinearRecurrentContainer(inner, 5, 5), "other": neuron.EIFNode,
                "cuba": lambda: neuron.CUBALIFNode(v_reset=-0.5)}[names[0]]()
        return nn.Sequential(layer.Linear(12, 5), last)

    def torch_snn(last: str, **more: Any) -> Any:
        import snntorch
        from torch import nn
        if last == "Dropout":
            return nn.Sequential(nn.Linear(12, 5), nn.Dropout(), snntorch.Leaky(beta=0.5, init_hidden=True))
        return nn.Sequential(nn.Linear(12, 5), getattr(snntorch, last)(beta=0.5, init_hidden=True, **more))

    def norse_net(last: str) -> Any:
        import norse.torch as norse
        from torch import nn
        other = norse.LIFRecurrentCell(5, 5) if last == "loop" else norse.LIFBoxCell(dt=0.1)
        return norse.SequentialState(nn.Linear(12, 5), norse.LIFBoxCell(), nn.Linear(5, 5), other)

    def sinabs_net(last: str, **more: Any) -> Any:
        import sinabs.activation as activation
        import sinabs.layers as layers
        from torch import nn
        made = {"loop": lambda: layers.LIFRecurrent(tau_mem=10.0, rec_connect=nn.Linear(5, 5)),
                "ALIF": lambda: layers.ALIF(10.0, 10.0, 10.0),
                "reset": lambda: layers.IAF(reset_fn=activation.MembraneReset(reset_value=0.5))}[last]()
        return nn.Sequential(nn.Linear(12, 5), made)

    return [
        ("snntorch", lambda: torch_snn("Dropout"), "does not know the layer Dropout '1'; known are AvgPool2d"),
        ("snntorch", lambda: torch_snn("Lapicque"), "does not know the layer Lapicque '1'"),
        ("snntorch", lambda: torch_snn("Leaky", inhibition=True), "Leaky '1' has inhibition"),
        ("snntorch", lambda: torch_snn("Leaky", graded_spikes_factor=2.0), "Leaky '1' has graded spikes"),
        ("norse", lambda: norse_net("loop"), "does not know the layer LIFRecurrentCell '3'"),
        ("norse", lambda: norse_net("dt"), "the cells have different steps dt: 0.001, 0.1"),
        ("sinabs", lambda: sinabs_net("loop"), "NIR export has no form for LIFRecurrent '1'"),
        ("sinabs", lambda: sinabs_net("ALIF"), "does not know the layer ALIF '1'"),
        ("sinabs", lambda: sinabs_net("reset"), "IAF '1' adds a reset_value in every step"),
        ("spikingjelly", lambda: jelly("loop"), "NIR export has no form for LinearRecurrentContainer '1'"),
        ("spikingjelly", lambda: jelly("other"), "does not know the layer EIFNode '1'"),
        ("spikingjelly", lambda: jelly("cuba"), "CUBALIFNode '1' starts from its v_reset -0.5"),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("framework", "build", "message"), refused())
def test_what_cannot_be_represented_is_refused_by_name(framework: str, build: Any, message: str) -> None:
    convert = live(framework)
    with pytest.raises(NetworkError, match=message):
        convert(build(), (12,))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_bad_arguments_are_named(framework: str) -> None:
    convert = live(framework)
    module = next(case for case in CASES if case.framework == framework and not case.image).module()
    for sample, message in ((np.zeros(12), "must be finite numbers"), ((0,), "shape must be positive"), ("x", "takes a sample"),
                            ((13,), "did not run on the sample"), (np.full((3, 12), np.nan), "must be finite numbers")):
        with pytest.raises(NetworkError, match=f"from_{framework}.*{message}"):
            convert(module, sample)
    with pytest.raises(NetworkError, match=r"takes a torch\.nn\.Module, not int"):
        convert(3, (12,))
    net = convert(module, (12,), dt=1e-3)
    assert net.dt == 1e-3
    assert any("not compared with the framework" in node.detail for node in net.report)


@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_an_absent_framework_is_asked_for_by_its_extra(framework: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(NetworkError, match=rf"from_{framework} needs .*pip install 'spikeloom\[{framework}\]'"):
        getattr(sl, f"from_{framework}")(None, (12,))
