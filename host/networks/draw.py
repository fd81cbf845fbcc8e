"""Random networks for the whole compiler, and arrays on which many of them fit.

Networks are drawn as sketches, plain data from which :func:`spikeloom.host.networks.sketch.build` makes them. Drawn are dense, sparse,
one-to-one and convolutional connections (strides, padding, groups, pools first), several inputs and outputs, skip connections,
shared sources, loops over one or several populations, delays, readouts, biases, both resets, refractory periods, floors, no, one
and two synaptic currents, integer populations and real ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from spikeloom.host.networks.sketch import Sketch, convolved, size_of
from spikeloom.params import ArrayParams

Generator = np.random.Generator

#: Neurons of a dense, sparse or one-to-one population at most, and of a map.
FLAT, MAP = 14, 100


def random_array(rng: Generator) -> ArrayParams:
    """An array of 1 to 6 cores on which most drawn networks fit, small enough that its RTL builds in seconds."""
    columns, rows = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2)][rng.integers(5)]
    narrow = rng.random() < 0.4  # so few axons that inputs must be added up in parts
    banks, per_row = int(rng.choice([1, 2] if narrow else [1, 2, 4])), int(rng.choice([1, 2] if narrow else [1, 2, 2, 4]))
    block = max(int(rng.choice([4, 8, 16])), banks, per_row)
    weight_bits, folds = int(rng.choice([3, 4, 4, 5, 8])), int(rng.choice([1, 1, 2, 4, 8]))
    unit, cores = block // banks, columns * rows
    lanes = per_row * int(rng.integers(24, 49 if cores < 4 else 33) // per_row)
    state_bits = int(rng.choice([20, 24, 24, 32]))

    def rows_of() -> int:
        return int(rng.integers(4, 6) if narrow else rng.integers(4, 9))

    return ArrayParams(
        columns=columns, rows=rows, lanes=lanes, folds=folds, banks=banks, words=max(16, unit) * rows_of(),
        axons=max(16, unit) * rows_of(), entries=int(rng.choice([128, 256])), weight_bits=weight_bits,
        accumulator_bits=min(32, weight_bits + int(rng.integers(8, 12))), state_bits=state_bits,
        gain_bits=int(rng.integers(12, 17)), classes=int(rng.choice([6, 8, 16])), neurons_per_cycle=per_row,
        delays=int(rng.choice([4, 8, 16])), delay_depth=int(rng.choice([32, 64, 128])), block=block,
        destinations=int(rng.choice([64, 128])), refractory_bits=int(rng.integers(2, 6)), phases=int(rng.choice([2, 4, 6])),
        depths=int(rng.choice([8, 16])), currents=int(rng.choice([0, 1, 2, 2])), floors=int(rng.integers(0, 2)))


def random_sketch(rng: Generator, params: ArrayParams) -> Sketch:
    """A network that may fit the array, and how it is to be run."""
    return _Artist(rng, params).sketch()


class _Artist:
    """Draws one sketch: a line of populations, then connections beside it and back."""

    def __init__(self, rng: Generator, params: ArrayParams) -> None:
        self.rng, self.params = rng, params
        self.size = float(rng.choice([2, 8, 40, 40, 300])) if rng.random() < 0.7 else float(rng.uniform(1, 1000))
        self.real = bool(rng.random() < 0.4)  # else integer; now and then a population is of the other kind
        self.room = params.cores * params.core_neurons // (2 if params.weight_bits > 4 else 3)  # neurons of two or three slices
        self.drawn: Sketch = {"seed": self.seed(), "inputs": {}, "populations": [], "projections": []}

    def seed(self) -> int:
        return int(self.rng.integers(1 << 31))

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def sketch(self) -> Sketch:
        rng, drawn = self.rng, self.drawn
        self._inputs()
        source = "in"
        for number in range(int(rng.integers(1, 6))):
            if number and self.room < 3:
                break
            self._grow(source, f"p{number}")
            if self.chance(0.85):  # else the next one shares this one's source
                source = f"p{number}"
        self._more()
        if self.chance(0.5):
            self._readout()
        names = [part["name"] for part in drawn["populations"]]
        outputs = sorted(rng.choice(names, int(rng.integers(1, min(3, len(names)) + 1)), replace=False).tolist())
        bits = [8, 8, int(rng.integers(2, 17))]
        return drawn | {
            "outputs": outputs, "record": "all" if self.chance(0.7) else "outputs",
            "objective": "speed" if self.chance(0.3) else "cores",
            "weight_bits": {name: int(rng.choice(bits)) for name in names},
            "samples": int(rng.integers(1, 4)), "steps": int(rng.integers(4, 16)), "rate": float(rng.choice([0.05, 0.2, 0.4]))}

    def _inputs(self) -> None:
        """One or two inputs, flat or maps; now and then one with more axons than a core has."""
        rng, inputs = self.rng, self.drawn["inputs"]
        axons = self.params.core_axons
        if self.chance(0.45):
            inputs["in"] = [int(rng.integers(1, 4)), int(rng.integers(3, 7)), int(rng.integers(3, 7))]
        elif self.chance(0.3) and axons <= 160:
            inputs["in"] = [int(axons * rng.uniform(1.1, 2.0))]
        else:
            inputs["in"] = [int(rng.integers(1, 25))]
        if self.chance(0.3):
            inputs["also"] = [int(rng.integers(1, 12))]

    def _grow(self, source: str, name: str) -> None:
        """A population driven by ``source``, with skips from what came before."""
        shape = self._shape(source)
        kind: Sketch = {}
        if len(shape) == 3 and self.chance(0.75):
            kind = self._convolution(shape)
        if kind:
            made = [kind["channels"], *self._map(shape, kind)]
        else:
            made = [int(self.rng.integers(1, max(2, min(FLAT, self.room // 2) + 1)))]
            if shape[0] > self.params.core_axons:
                kind = {"kind": "dense"}
                made = [min(made[0], 5)]
        self._population(name, made)
        self._connect(source, name, [0, 0] if self.chance(0.8) else self._delay(0), kind)
        for other in (*self.drawn["inputs"], *(part["name"] for part in self.drawn["populations"][:-1])):
            if other != source and self.chance(0.2):
                self._connect(other, name, self._delay(0))

    def _more(self) -> None:
        """Connections back, to any population from itself or a later one, each with a delay."""
        populations = self.drawn["populations"]
        for number, part in enumerate(populations):
            if self.chance(0.25):
                source = populations[int(self.rng.integers(number, len(populations)))]["name"]
                self._connect(source, part["name"], self._delay(1))

    def _readout(self) -> None:
        """A population that never spikes, fed by one or two of the others."""
        sources = [part["name"] for part in self.drawn["populations"]]
        self._population("read", [int(self.rng.integers(1, 6))], spiking=False)
        for source in self.rng.choice(sources, min(len(sources), int(self.rng.integers(1, 3))), replace=False).tolist():
            self._connect(source, "read", self._delay(0) if self.chance(0.3) else [0, 0])

    def _shape(self, name: str) -> list[int]:
        inputs = self.drawn["inputs"]
        return list(inputs[name] if name in inputs else
                    next(part["shape"] for part in self.drawn["populations"] if part["name"] == name))

    def _delay(self, least: int) -> list[int]:
        """Shortest and longest delay of a projection's synapses."""
        low = least + int(self.rng.choice([0, 0, 1, 2]))
        return [low, low + (int(self.rng.integers(1, 3)) if self.chance(0.3) else 0)]

    def _convolution(self, shape: list[int]) -> Sketch:
        """A convolution of a map, after a pool or not; empty where none of a few draws gives a map of moderate size."""
        rng = self.rng
        for _ in range(6):
            groups = int(rng.choice([1, 1, shape[0]]))
            kind = {"kind": "conv", "kernel": rng.integers(1, 4, 2).tolist(), "stride": int(rng.choice([1, 1, 2])),
                    "padding": int(rng.integers(0, 2)), "groups": groups, "channels": groups * int(rng.integers(1, 4)),
                    "pool": 2 if self.chance(0.35) else 1}
            tall, wide = self._map(shape, kind)
            if tall > 0 and wide > 0 and 1 < kind["channels"] * tall * wide <= min(MAP, self.room // 2):
                return kind
        return {}

    @staticmethod
    def _map(shape: list[int], kind: Sketch) -> tuple[int, int]:
        pooled = convolved(tuple(shape), (kind["pool"], kind["pool"]), kind["pool"], 0)
        if min(pooled) < 1:
            return 0, 0
        return convolved((shape[0], *pooled), tuple(kind["kernel"]), kind["stride"], kind["padding"])

    def _connect(self, source: str, target: str, delay: list[int], kind: Sketch | None = None) -> None:
        """A projection; without a ``kind`` it is dense, sparse, or goes from each neuron to the like one."""
        chosen = kind or {"kind": str(self.rng.choice(["dense", "sparse", "sparse", "each"]))}
        if not kind and chosen["kind"] == "dense" and size_of(self.drawn, source) * size_of(self.drawn, target) > 1500:
            chosen = {"kind": "sparse"}
        if chosen["kind"] == "sparse":
            chosen |= {"density": float(self.rng.choice([0.05, 0.2, 0.5]))}
        part = self.drawn["populations"][[p["name"] for p in self.drawn["populations"]].index(target)]
        receptor = int(self.params.currents == 2 and self.chance(0.5) and part["second"])
        number = len(self.drawn["projections"])
        self.drawn["projections"].append(
            {"name": f"s{number}", "source": source, "target": target, "delay": delay, "size": self.size,
             "shared": self.chance(0.15), "receptor": receptor, "seed": self.seed()} | chosen)

    def _population(self, name: str, shape: list[int], spiking: bool = True) -> None:
        rng = self.rng
        self.room -= int(np.prod(shape))
        floor = spiking and bool(self.params.floors) and self.chance(0.3)
        other: dict[str, Any] = {"integer": not self.real if self.chance(0.9) else self.real, "floor": floor}
        self.drawn["populations"].append({
            "name": name, "shape": shape, "spiking": spiking, "reset": str(rng.choice(["subtract", "value"])),
            "strict": not floor and self.chance(0.5), "hold": self.chance(0.3), "bias": self.chance(0.25),
            "refractory": int(rng.integers(1, min(6, 1 << self.params.refractory_bits))) if self.chance(0.4) else 0,
            "current": self.params.currents > 0 and self.chance(0.4), "second": self.params.currents == 2 and self.chance(0.5),
            "various": self.chance(0.6), "seed": self.seed()} | other)
