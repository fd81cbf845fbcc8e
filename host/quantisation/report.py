"""What quantisation did, population by population, as plain data and as lines of text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from spikeloom.host.quantisation.fan import Fan
from spikeloom.host.quantisation.quant_network import Ints, QuantNetwork, QuantPopulation, Reals
from spikeloom.host.quantisation.quant_reference import quant_reference
from spikeloom.params import ArrayParams

if TYPE_CHECKING:
    from spikeloom.host.quantisation.calibrate import Calibration


def layer_report(fan: Fan, done: QuantPopulation, integers: Ints, steps: Reals, gain_bits: int) -> dict[str, Any]:
    """Plain data on one population.

    ``weight_error_max``, ``weight_error_rms``: of the quantised weights, as shares of the largest weight;
    ``weight_error_relative``: √(Σ error² / Σ weight²); ``zeroed_weights``: synapses that became 0;
    ``current_gain_error``, ``second_gain_error``, ``membrane_gain_error``: the largest rounding of the gains;
    ``threshold_steps``, ``threshold_weight_steps``: the smallest threshold in state units and in weight steps (0 where there is
    none); ``shift``: a weight step is 2^shift state units; ``slices``: cells a weight; ``integer``, ``status``.
    """
    population, one = fan.population, 1 << gain_bits
    error = integers / steps[fan.post] - fan.weight
    most = float(np.max(np.abs(fan.weight), initial=0)) or 1.0
    gains = {"current": done.current_gain / one - population.current_gain,
             "membrane": done.membrane_gain / one - population.membrane_gain}
    if fan.currents == 2:
        gains["second"] = done.second_current_gain / one - population.second_current_gain
    level = np.abs(fan.threshold * done.scale)
    least = float(np.min(level[level > 0], initial=np.inf))
    least = least if np.isfinite(least) else 0.0
    return {
        "weight_error_max": float(np.max(np.abs(error), initial=0)) / most,
        "weight_error_rms": float(np.sqrt(np.mean(error ** 2))) / most if error.size else 0.0,
        "weight_error_relative": float(np.sqrt(np.sum(error ** 2) / np.sum(fan.weight ** 2))) if error.size else 0.0,
        "zeroed_weights": int(np.count_nonzero(integers == 0)),
        **{f"{name}_gain_error": float(np.max(np.abs(gap), initial=0)) for name, gap in gains.items()},
        "threshold_steps": least, "threshold_weight_steps": least / 2 ** done.shift,
        "slices": done.slices, "shift": done.shift, "integer": bool(population.integer),
        "status": "exact" if population.integer else "approximated",
    }


def spike_report(network: QuantNetwork, sample: Calibration, params: ArrayParams) -> dict[str, dict[str, Any]]:
    """For each spiking population, on the calibration data: ``spikes`` of the float reference, ``quantised_spikes``, and
    ``differing``: places (sample, step, neuron) ``of`` all in which the two differ when the whole network runs quantised."""
    ours = quant_reference(network, sample.inputs, params, record=()).spikes
    return {name: {"samples": sample.samples, "steps": sample.steps, "spikes": int(sample.activity[name].sum()),
                   "quantised_spikes": int(fired.sum()), "differing": int(np.count_nonzero(fired != sample.activity[name])),
                   "of": int(fired.size)} for name, fired in ours.items()}


def quantisation_lines(populations: list[dict[str, Any]]) -> list[str]:
    """A table of the populations that were quantised, for print, from ``image.report["populations"]``; empty without any."""
    mine = [entry for entry in populations if "weight_bits" in entry]
    if not mine:
        return []
    measured = any("calibration" in entry for entry in mine)
    head = f"{'quantised':<20}{'bits':>5}{'max error':>10}{'rms':>8}{'relative':>9}{'θ/step':>8}{'clipped':>8}{'shift':>6}"
    lines = [head + (f"{'v error':>10}{'spikes that differ':>26}" if measured else "")]
    for entry in mine:
        line = (f"{entry['name']:<20}{entry['weight_bits']:>5}{entry['weight_error_max']:>10.2%}{entry['weight_error_rms']:>8.2%}"
                f"{entry['weight_error_relative']:>9.2%}{entry['threshold_weight_steps']:>8.1f}{entry['clipped_weights']:>8}"
                f"{entry['shift']:>6}")
        found = entry.get("calibration")
        if found is not None:
            line += f"{found['potential_error']:>10.3g}"
            line += f"{found['differing']:>12} ({found['spikes']} spikes)" if "differing" in found else f"{'–':>12}"
        lines.append(line)
    if measured:
        lines.append("(v error: rms on the calibration data before any reset differs, in the network's units)")
    return lines
