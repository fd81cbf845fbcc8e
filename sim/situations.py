"""What a random network exercised, by name: so that a run can tell which situations it never met."""

from __future__ import annotations

import numpy as np

from spikeloom.host.networks.network import Network
from spikeloom.host.networks.sketch import Sketch
from spikeloom.host.quantisation.quant_network import QuantNetwork, digit_range
from spikeloom.host.quantisation.quant_reference import QuantResult
from spikeloom.image import Image

#: Every situation that a long run should meet.
ALL = frozenset({
    "dense", "sparse", "each to its like", "convolution", "stride", "padding", "groups", "pool", "kernel not square",
    "two inputs", "two outputs", "shared source", "skip", "self loop", "loop of several", "delay 0", "delay 1", "delay over 1",
    "mixed delays", "input delay", "readout", "bias", "late start", "integer", "real", "mixed kinds", "numbers per neuron",
    "floor", "subtract", "reset to value", "strict", "hold", "refractory hit", "saturation", "radix gain", "no current state",
    "current", "two currents", "second current alone", "one current beside two", "slowed", "planes", "several cores", "folds",
    "one fold", "slices", "three slices", "second word", "population over cores", "outputs only", "spikes", "silence",
    "overlap", "2 to 4 bits", "5 to 8 bits", "9 to 16 bits"})


def situations(sketch: Sketch, network: Network, image: Image, quantised: QuantNetwork,
               steps: QuantResult) -> set[str]:
    """Names of what this case met, of those in :data:`ALL`; ``steps`` holds the potentials of all populations."""
    met = {name for name, holds in (*_shape(sketch, network), *_neurons(network), *_run(image, quantised, steps),
                                    *_array(image, network, quantised)) if holds}
    met |= {{"dense": "dense", "sparse": "sparse", "each": "each to its like", "conv": "convolution"}[part["kind"]]
            for part in sketch["projections"]}
    for population in network.populations:
        if not population.integer:
            bits = sketch["weight_bits"][population.name]
            met.add("2 to 4 bits" if bits < 5 else "5 to 8 bits" if bits < 9 else "9 to 16 bits")
    return met


Facts = list[tuple[str, bool]]


def _shape(sketch: Sketch, network: Network) -> Facts:
    convolutions = [part for part in sketch["projections"] if part["kind"] == "conv"]
    place = {name: number for number, name in enumerate((*network.inputs, *(p.name for p in network.populations)))}
    inner = [p for p in network.projections if p.source not in network.inputs]
    sources = [p.source for p in network.projections]
    delays = {int(delay) for p in inner for delay in np.unique(p.delay)}
    forward = [p for p in network.projections if np.any(p.delay == 0)]
    return [
        ("stride", any(part["stride"] > 1 for part in convolutions)),
        ("padding", any(part["padding"] > 0 for part in convolutions)),
        ("groups", any(part["groups"] > 1 for part in convolutions)),
        ("pool", any(part["pool"] > 1 for part in convolutions)),
        ("kernel not square", any(len(set(part["kernel"])) > 1 for part in convolutions)),
        ("two inputs", len(network.inputs) > 1), ("two outputs", len(network.outputs) > 1),
        ("shared source", len(set(sources)) < len(sources)),
        ("skip", any(place[p.target] - place[p.source] > 1 and p.source not in network.inputs for p in forward)),
        ("self loop", any(p.source == p.target and p.size for p in inner)),
        ("loop of several", any(place[p.source] > place[p.target] and p.size for p in inner)),
        *((f"delay {delay}", delay in delays) for delay in (0, 1)), ("delay over 1", any(delay > 1 for delay in delays)),
        ("mixed delays", any(p.size and np.ptp(p.delay) for p in inner)),
        ("input delay", any(np.any(p.delay > 0) for p in network.projections if p.source in network.inputs)),
        ("outputs only", sketch["record"] == "outputs")]


def _neurons(network: Network) -> Facts:
    populations = network.populations
    spiking = [p for p in populations if p.spiking]
    return [
        ("readout", len(spiking) < len(populations)), ("bias", any(np.any(p.bias != 0) for p in populations)),
        ("integer", any(p.integer for p in populations)), ("real", any(not p.integer for p in populations)),
        ("mixed kinds", len({p.integer for p in populations}) > 1),
        ("numbers per neuron", any(p.size > 1 and np.ptp(p.threshold) for p in spiking)),
        ("subtract", any(p.reset == "subtract" for p in spiking)), ("reset to value", any(p.reset == "value" for p in spiking)),
        ("strict", any(p.strict for p in spiking)), ("hold", any(p.hold and np.any(p.refractory) for p in spiking)),
        ("radix gain", any(np.any(p.membrane_gain == 2) for p in populations)),
        ("current", any(np.any(p.current_gain > 0) for p in populations))]


def _run(image: Image, quantised: QuantNetwork, steps: QuantResult) -> Facts:
    top = (1 << (image.params.state_bits - 1)) - 1
    refused = []
    for name, fired in steps.spikes.items():
        population = quantised.populations[name]
        # Nothing but refractoriness stops a neuron that is over its threshold.
        refused.append(bool(np.any((steps.states[name] >= population.threshold) & ~fired & (population.refractory > 0))))
    return [("refractory hit", any(refused)),
            ("floor", any(p.floor and np.any(steps.states[name] == -p.threshold) for name, p in quantised.populations.items())),
            ("saturation", any(np.any((array == top) | (array == -top - 1)) for array in steps.states.values())),
            ("spikes", any(array.any() for array in steps.spikes.values())),
            ("silence", any(not array.any() for array in steps.spikes.values()))]


def _array(image: Image, network: Network, quantised: QuantNetwork) -> Facts:
    params, report = image.params, image.report
    two = [network.currents(population.name) == 2 for population in network.populations]
    alone = [{p.receptor for p in network.projections if p.target == population.name and p.size} == {1}
             for population in network.populations]
    second = []
    for edge in quantised.edges:
        low, high = digit_range(params.weight_bits, quantised.populations[edge.target].slices)
        second.append(bool(np.any((edge.weight < low) | (edge.weight > high))))
    slices = [entry["slices"] for entry in report["populations"]]
    return [
        ("two currents", any(two)), ("second current alone", any(alone)), ("one current beside two", any(two) and not all(two)),
        ("slowed", image.ticks_per_step > 1), ("planes", any(entry["helper"] for entry in report["populations"])),
        ("overlap", image.overlaps and image.depth > 0),
        ("late start", any(quantised.populations[p.name].eager and p.depth > 0 for p in image.populations)),
        ("several cores", len(report["cores"]) > 1), ("no current state", params.currents == 0),
        ("folds", params.folds > 1), ("one fold", params.folds == 1),
        ("slices", max(slices) > 1), ("three slices", max(slices) > 2), ("second word", any(second)),
        ("population over cores", any(len(entry["cores"]) > 1 for entry in report["populations"]))]
