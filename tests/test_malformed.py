"""The list of malformed things that a user may bring: each is an error of Spikeloom's own whose message names the culprit.

Everything goes in through the public functions. Other files test each part in more depth; this one shows the whole list.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import pytest

import spikeloom as sl
from spikeloom.errors import CompileError, ImageError, InputError, MachineError, NetworkError, SpikeloomError
from spikeloom.fields import Words
from spikeloom.host.driver import Driver
from spikeloom.memories import Memory
from spikeloom.packets import Command
from spikeloom.params import ArrayParams
from spikeloom.sim.compiled import CompiledTransport
from spikeloom.sim.golden import GoldenMachine
from spikeloom.sim.verify import first_difference
from tests.arrays import TINY, everything, packet, word
from tests.nir_cases import CHAIN, edited, ends, graph, lif, norse, replace, spiking

OTHER = ArrayParams(lanes=32, banks=2, words=64, block=8, delay_depth=16, destinations=32)


def arrays(**changes: Any) -> sl.Network:
    """Three inputs and two neurons; ``changes`` replace arguments, or options of the ``neurons`` and their ``synapses``."""
    neurons = {"size": 2, "threshold": 3, "membrane_gain": 0.5} | changes.pop("neurons", {})
    synapses = {"source": "in", "target": "h", "weights": [[1, 2, 3], [-1, 0, 2]]} | changes.pop("synapses", {})
    parts = {"inputs": {"in": 3}, "populations": {"h": neurons}, "projections": [synapses]}
    return sl.from_arrays(**(parts | changes))


def image() -> sl.Image:
    """That network on the array ``tiny``."""
    return sl.compile(arrays(), board="tiny")


def run(spikes: Any) -> Any:
    """The network's answer from the golden model."""
    with sl.open("golden") as machine:
        machine.load(image())
        return machine.run(spikes)


def nested(**changes: Any) -> nir.NIRGraph:
    """A graph whose node ``lif`` is itself a graph: a recurrent layer."""
    edges = changes.pop("edges", ("input > lif > output", "lif > w_rec > lif"))
    inner = graph(ends([2], [2]) | {"lif": lif(2), "w_rec": nir.Linear(np.eye(2))} | changes, *edges)
    return graph(spiking(lif=inner), CHAIN)


def cut(path: Path, share: float) -> Path:
    """The file's first part."""
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    return path


def written(folder: Path, edit: Callable[[Any], None] = lambda node: None) -> Path:
    """A NIR file, its nodes edited."""
    return edited(folder, edit)


def saved(folder: Path) -> Path:
    """An image file."""
    path = folder / "net.slm"
    image().save(path)
    return path


def altered(folder: Path) -> Path:
    """An image file of which one bit of the synapses was changed, with checksums that fit."""
    import zipfile
    path = saved(folder)
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    name = next(name for name in parts if name.endswith("SYNAPSES.npy"))
    parts[name] = parts[name][:-8] + bytes([parts[name][-8] ^ 1]) + parts[name][-7:]
    with zipfile.ZipFile(path, "w") as archive:
        for each, data in parts.items():
            archive.writestr(each, data)
    return path


def foreign(folder: Path) -> None:
    """Load an image on an array of other parameters."""
    with sl.open("golden", OTHER) as machine:
        machine.load(image())


def renamed(folder: Path) -> Path:
    """A file in which an edge leads to a node that it lacks."""
    edges = np.array([["input", "fc"], ["fc", "lif1"]], h5py.string_dtype())
    return written(folder, lambda node: replace(node, "edges", edges))


NAN, INF = np.nan, np.inf

#: What is brought, the error that it must be, and what the message must name.
CASES: dict[str, tuple[Callable[[Path], object], type[SpikeloomError], str]] = {
    # NIR graphs and files.
    "an inner edge that names a missing node": (
        lambda _: norse(nested(edges=("input > lif1 > output", "lif1 > w_rec > lif1"))), NetworkError,
        "graph 'lif': the edge 'input' → 'lif1' names the node 'lif1', which does not exist"),
    "an edge of a file that names a missing node": (
        lambda folder: norse(renamed(folder)), NetworkError, r"bad\.nir: the edge 'fc' → 'lif1' names the node 'lif1'"),
    "an inner Input of the wrong shape": (
        lambda _: norse(nested(input=nir.Input(input_type=np.array([12])))), NetworkError,
        r"'lif\.input' has the shape \(12,\), but what leads to it has the shape \(2,\)"),
    "a layer of the wrong shape": (
        lambda _: norse(graph(spiking(lif=lif(3)), CHAIN)), NetworkError, r"LIF 'lif' has the shape \(3,\), but 'fc'"),
    "a weight matrix of the wrong shape": (
        lambda _: norse(graph(spiking(fc=nir.Linear(np.ones((2, 4)))), CHAIN)), NetworkError, "Linear 'fc' takes 4 inputs"),
    "an Output of the wrong shape": (
        lambda _: norse(graph(spiking(output=nir.Output(np.array([5]))), CHAIN)), NetworkError, "Output 'output' has the shape"),
    "a layer without neurons": (
        lambda folder: norse(written(folder, lambda node: replace(node["nodes/fc"], "weight", np.ones((0, 3))))), NetworkError,
        r"bad\.nir: Linear 'fc': weight is empty"),
    "an input without neurons": (
        lambda folder: norse(written(folder, lambda node: replace(node["nodes/input"], "shape", [0]))), NetworkError,
        r"bad\.nir: Input 'input': shape \(0,\) has an empty axis"),
    "a weight that is NaN": (
        lambda _: norse(graph(spiking(fc=nir.Linear(np.full((2, 3), NAN))), CHAIN)), NetworkError,
        "Linear 'fc': weight holds nan"),
    "a weight that is infinite": (
        lambda folder: norse(written(folder, lambda node: replace(node["nodes/fc"], "weight", np.full((2, 3), -INF)))),
        NetworkError, r"bad\.nir: Linear 'fc': weight holds -inf"),
    "a threshold that is NaN": (
        lambda _: norse(graph(spiking(lif=lif(2, v_threshold=np.array([1, NAN]))), CHAIN)), NetworkError,
        "LIF 'lif': v_threshold holds nan"),
    "a node of an unknown type": (
        lambda folder: norse(written(folder, lambda node: replace(node["nodes/lif"], "type", "Izhikevich"))), NetworkError,
        r"bad\.nir: Izhikevich 'lif' is of an unknown type; known are Input"),
    "a node without a parameter": (
        lambda folder: norse(written(folder, lambda node: node["nodes/lif"].__delitem__("tau"))), NetworkError,
        r"bad\.nir: LIF 'lif' lacks the parameter 'tau'"),
    "an edge that is there twice": (
        lambda _: norse(graph(spiking(), CHAIN, "input > fc")), NetworkError, "the edge 'input' → 'fc' is there twice"),
    "a node that nothing leads to": (
        lambda _: norse(graph(spiking(), "fc > lif > output")), NetworkError, "Linear 'fc' has no input"),
    **{f"a NIR file cut at {share:.0%}": (
        lambda folder, share=share: norse(cut(written(folder), share)), NetworkError,  # type: ignore[misc]  # a default binds it
        r"bad\.nir: not a NIR file, or it is damaged") for share in (0.0, 0.1, 0.5, 0.99)},
    "a NIR file that does not exist": (
        lambda folder: norse(folder / "none.nir"), NetworkError, r"There is no NIR file .*none\.nir"),
    "an unknown profile": (
        lambda _: norse(graph(spiking(), CHAIN), profile="matlab"), NetworkError,
        "There is no profile 'matlab'; the exporters are"),
    # Networks from arrays.
    "an integer weight that is NaN": (
        lambda _: arrays(synapses={"weights": [[1, NAN, 3], [0, 0, 0]]}), NetworkError,
        "'in → h': weights must be integers, not nan"),
    "an integer weight that is infinite": (
        lambda _: arrays(synapses={"weights": [[1, INF, 3], [0, 0, 0]]}), NetworkError,
        "'in → h': weights must be integers, not inf"),
    "weights for other inputs": (
        lambda _: arrays(synapses={"weights": [[1, 2, 3, 4]] * 2}), NetworkError,
        "'in → h': pre reaches neuron 3, but 'in' has only 3"),
    "weights that are no matrix": (
        lambda _: arrays(synapses={"weights": [1, 2, 3]}), NetworkError,
        r"'in → h': weights must be a matrix .* not of shape \(3,\)"),
    "a population without neurons": (
        lambda _: arrays(neurons={"size": 0}), NetworkError,
        "Population 'h': shape must have at least one axis and no empty one"),
    "a threshold for other neurons": (
        lambda _: arrays(neurons={"threshold": [1, 2, 3]}), NetworkError,
        r"Population 'h': threshold has shape \(3,\); expected \(2,\)"),
    "a source that does not exist": (
        lambda _: arrays(synapses={"source": "eye"}), NetworkError, "there is no input or population 'eye'; there are in, h"),
    "an output that does not exist": (
        lambda _: arrays(outputs=["out"]), NetworkError, "There is no population 'out'; there are h"),
    "an option that does not exist": (
        lambda _: arrays(neurons={"treshold": 3}), NetworkError, "Population 'h': there is no option 'treshold'; there are size"),
    "a loop without a delay": (
        lambda _: arrays(projections=[{"source": "h", "target": "h", "weights": np.ones((2, 2))}]), NetworkError,
        "Populations h → h form a loop"),
    # Networks that do not fit.
    "a board that does not exist": (
        lambda _: sl.compile(arrays(), board="pink"), CompileError, "There is no board 'pink', nor an array of that name; there are tiny"),
    "a network that is too big": (
        lambda _: sl.compile(arrays(neurons={"size": 99}, synapses={"weights": np.ones((99, 3))}), board="tiny"), CompileError,
        r"needs \d+ cores .* this array has 1 \('h': 99 neurons"),
    "weights of too many bits": (
        lambda _: sl.compile(norse(graph(spiking(), CHAIN)), board="tiny", weight_bits=17), CompileError,
        "Population 'lif': weight_bits must be 2 to 16, not 17"),
    # Images.
    "an image for other parameters": (foreign, ImageError, r"compiled for another array: lanes 16 \(array: 32\)"),
    **{f"an image file cut at {share:.0%}": (
        lambda folder, share=share: sl.Image.load(cut(saved(folder), share)), ImageError,  # type: ignore[misc]  # as above
        r"net\.slm is not a Spikeloom image, or it was truncated") for share in (0.0, 0.1, 0.5, 0.99)},
    "an image file that was altered": (
        lambda folder: sl.Image.load(altered(folder)), ImageError, r"net\.slm was altered: its contents do not match its digest"),
    "an image file that does not exist": (
        lambda folder: sl.Image.load(folder / "none.slm"), ImageError, r"There is no image file .*none\.slm"),
    # Inputs of a run.
    "an input of the wrong width": (
        lambda _: run(np.zeros((5, 4), bool)), InputError, r"Input 'in' has shape \(5, 4\); expected \(samples, steps, 3\)"),
    "an input of one axis": (lambda _: run(np.zeros(3, bool)), InputError, r"Input 'in' has shape \(3,\)"),
    "an input that is NaN": (
        lambda _: run(np.full((5, 3), NAN)), InputError, "Input 'in': spikes must be bool, or numbers 0 and 1"),
    "an input of another name": (lambda _: run({"eye": np.zeros((5, 3), bool)}), InputError, "has inputs in, not eye"),
    "an event beyond the input": (
        lambda _: run(sl.Events(np.array([0]), np.array([0]), np.array([3]), 1, 5)), InputError,
        "Input 'in': event 0 has neuron 3, outside 0 to 2"),
    "a machine that does not exist": (
        lambda _: sl.open("abacus"), MachineError, "There is no machine 'abacus'; there are golden"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_malformed_is_refused_by_name(tmp_path: Path, name: str) -> None:
    bring, error, message = CASES[name]
    with pytest.raises(SpikeloomError, match=message) as caught:
        bring(tmp_path)
    assert type(caught.value) is error


def test_what_is_sound_is_taken(tmp_path: Path) -> None:
    """The cases above differ from these in one thing each."""
    assert norse(nested()).size("lif.lif") == norse(graph(spiking(), CHAIN)).size("lif") == 2
    assert norse(written(tmp_path)).size("lif") == 2
    assert sl.Image.load(saved(tmp_path)).digest() == image().digest()
    assert run(np.ones((5, 3), bool)).counts["h"].tolist() == [5, 0]


# Command streams.

class Cutting:
    """A transport that loses the end of a packet: only its first ``keep`` words arrive, TLAST on the last of them."""

    def __init__(self, inner: CompiledTransport) -> None:
        self.inner, self.params = inner, inner.params
        self.keep: int | None = None

    def exchange(self, sent: Words) -> Words:
        """The answer to what was not lost."""
        kept, self.keep = sent[: self.keep], None
        return self.inner.exchange(kept)

    def read_register(self, address: int) -> int:
        """As the inner transport."""
        return self.inner.read_register(address)

    def write_register(self, address: int, value: int) -> None:
        """As the inner transport."""
        self.inner.write_register(address, value)

    def close(self) -> None:
        """As the inner transport."""
        self.inner.close()


def test_a_truncated_command_stream_is_named_and_the_array_stays_usable() -> None:
    """TLAST inside a WRITE while an image is loaded: the driver names the fault, and the next load and run are sound."""
    spikes = np.ones((3, 6, 3), bool)
    with GoldenMachine() as golden:
        golden.load(image())
        expected = golden.run(spikes, **everything(image()))
    transport = Cutting(CompiledTransport(TINY, limit=100_000))
    with Driver(transport) as driver:
        for keep in (2, 3, 40, 400):  # word 0 is RESET, word 1 the first WRITE
            transport.keep = keep
            with pytest.raises(MachineError, match=r"The array reports TRUNCATED \(WRITE\): a packet ended within the data"):
                driver.load(image())
            with pytest.raises(MachineError, match=r"No image is loaded: call load\(image\) before run"):
                driver.run(spikes)
            driver.load(image(), verify=True)
            assert first_difference(expected, driver.run(spikes, **everything(image()))) is None


@pytest.mark.parametrize("sent", [
    packet(word(Command.WRITE, memory=int(Memory.BIAS), count=4), np.arange(3, dtype=np.uint64)),
    packet(word(Command.NOP), word(Command.WRITE, memory=int(Memory.SYNAPSES), count=1)),
], ids=["in the data", "at the header"])
def test_the_fault_of_a_truncated_packet_is_told_once(sent: Words) -> None:
    from spikeloom.host.decode import Answer
    transport = CompiledTransport(TINY, limit=100_000)
    assert Answer.read(transport.exchange(sent)).faults() == "TRUNCATED (WRITE): a packet ended within the data of a WRITE"
    answer = Answer.read(transport.exchange(word(Command.ECHO, payload=5)))
    assert len(answer.echoes) == 1
    assert not len(answer.errors)
    transport.close()


def test_a_run_cut_short_is_no_result() -> None:
    """The end of a run's packet is lost, between two commands, so that the array sees nothing wrong: the driver does."""
    spikes = np.ones((1, 6, 3), bool)
    transport = Cutting(CompiledTransport(TINY, limit=100_000))
    with Driver(transport) as driver:
        driver.load(image())
        expected = driver.run(spikes)
        transport.keep = 4
        with pytest.raises(MachineError, match=r"The array answered \d+ \w+ words, not \d+"):
            driver.run(spikes)
        assert first_difference(expected, driver.run(spikes)) is None
