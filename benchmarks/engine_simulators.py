"""Brian2 and NEST, as benchmarks/engine_rivals.py runs them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from engine_timing import Counts, Run, Work, clock


def _brian2(threads: int) -> Any:
    import brian2 as b2
    b2.set_device("cpp_standalone", directory=tempfile.mkdtemp(prefix="brian2-"), build_on_run=False)
    b2.prefs.codegen.cpp.extra_compile_args_gcc = ["-w", "-O3", "-ffast-math", "-march=native", "-std=c++11"]
    if threads > 1:
        b2.prefs.devices.cpp_standalone.openmp_threads = threads
    return b2


def _standalone(b2: Any, monitors: Mapping[str, Any]) -> tuple[Run, str]:
    """Run the compiled program; the time is that of its ``run``, which it measures itself (without OpenMP the processor's)."""
    b2.device.build(run=False, compile=True, directory=b2.device.project_dir)

    def run() -> tuple[float, Counts]:
        b2.device.run(b2.device.project_dir, with_output=False, run_args=[])
        return float(b2.device._last_run_time), {name: int(monitor.num_spikes) for name, monitor in monitors.items()}
    return run, b2.__version__


def brian2(work: Work, threads: int) -> tuple[Run, str]:
    """C++ standalone, ``-O3 -ffast-math -march=native``, in double precision, its default. It has no batches: the samples follow
    one another."""
    b2 = _brian2(threads)
    spikes, ms = work["spikes"], b2.ms
    b2.defaultclock.dt = 1 * ms
    sample, step, neuron = np.nonzero(spikes)
    source = b2.SpikeGeneratorGroup(spikes.shape[2], neuron, (sample * spikes.shape[1] + step) * ms)
    network, last, monitors = b2.Network(source), source, {}
    network.schedule = ["start", "groups", "synapses", "thresholds", "resets", "end"]  # decay, add, compare
    for name in ("hidden", "out"):
        weights = work[f"w_{name}"]
        group = b2.NeuronGroup(len(weights), "dv/dt = -v / tau : 1", threshold="v >= theta", reset="v = 0", method="exact",
                               namespace={"tau": -1 / np.log(float(work["beta"])) * ms, "theta": float(work[f"theta_{name}"])})
        group.run_regularly("v = 0", dt=spikes.shape[1] * ms, when="start")
        synapses = b2.Synapses(last, group, "w : 1 (constant)", on_pre="v += w")
        post, pre = np.nonzero(weights)
        synapses.connect(i=pre, j=post)
        synapses.w = weights[post, pre]
        monitors[name] = b2.SpikeMonitor(group, record=False)
        network.add(group, synapses, monitors[name])
        last = group
    network.run(spikes.shape[0] * spikes.shape[1] * ms)
    return _standalone(b2, monitors)


def brian2_cuba(work: Work, threads: int) -> tuple[Run, str]:
    """Brian2's own CUBA example with the workload's synapses and potentials."""
    b2 = _brian2(threads)
    ms, size = b2.ms, int(work["excitatory"])
    b2.defaultclock.dt = float(work["dt"]) * ms
    namespace = {"taum": 20 * ms, "taue": 5 * ms, "taui": 10 * ms}
    group = b2.NeuronGroup(len(work["v"]), """dv/dt = (ge + gi - (v + 49)) / taum : 1 (unless refractory)
                                              dge/dt = -ge / taue : 1
                                              dgi/dt = -gi / taui : 1""",
                           threshold="v > -50", reset="v = -60", refractory=5 * ms, method="exact", namespace=namespace)
    group.v = work["v"]
    network, monitors = b2.Network(group), {}
    for name, part, action in (("E", work["pre"] < size, "ge += 1.62"), ("I", work["pre"] >= size, "gi -= 9")):
        synapses = b2.Synapses(group, group, on_pre=action)
        synapses.connect(i=work["pre"][part], j=work["post"][part])
        own = group[:size] if name == "E" else group[size:]
        monitors[name] = b2.SpikeMonitor(own, record=False)
        network.add(synapses, monitors[name])
    network.run(int(work["steps"]) * float(work["dt"]) * ms)
    return _standalone(b2, monitors)


def _nest(threads: int, resolution: float) -> Any:
    import nest
    nest.set_verbosity("M_ERROR")
    nest.ResetKernel()
    nest.resolution = resolution
    nest.local_num_threads = threads
    return nest


def _recorders(nest: Any, groups: Mapping[str, Any]) -> dict[str, Any]:
    made = {name: nest.Create("spike_recorder", params={"record_to": "memory"}) for name in groups}
    for name, group in groups.items():
        nest.Connect(group, made[name])
    return made


def nest(work: Work, threads: int) -> tuple[Run, str]:
    """``iaf_psc_delta`` (double precision, exact). It has no batches: the samples follow one another, with potentials set to 0 between,
    which is not timed."""
    framework = _nest(threads, 1.0)
    spikes = work["spikes"]
    samples, steps, size = spikes.shape
    source = framework.Create("spike_generator", size)
    groups, last = {}, source
    for name in ("hidden", "out"):
        weights = work[f"w_{name}"].astype(np.float64)
        groups[name] = framework.Create("iaf_psc_delta", len(weights), params={
            "E_L": 0., "V_reset": 0., "V_m": 0., "V_th": float(work[f"theta_{name}"]), "tau_m": -1 / np.log(float(work["beta"])),
            "t_ref": 0., "I_e": 0., "C_m": 1.})
        framework.Connect(last, groups[name], "all_to_all", {"weight": weights, "delay": 1.})
        last = groups[name]
    recorders, now = _recorders(framework, groups), clock(threads)

    def run() -> tuple[float, Counts]:
        seconds = 0.0
        for recorder in recorders.values():
            recorder.n_events = 0
        for sample in range(samples):
            passed = framework.biological_time
            source.set([{"spike_times": (np.flatnonzero(spikes[sample, :, i]) + 1.0 + passed).tolist()} for i in range(size)])
            for group in groups.values():
                group.V_m = 0.0
            start = now()
            framework.Simulate(float(steps))
            seconds += now() - start
        return seconds, {name: int(recorder.n_events) for name, recorder in recorders.items()}
    return run, framework.__version__


def nest_cuba(work: Work, threads: int) -> tuple[Run, str]:
    """``iaf_psc_exp``. Every run builds the network anew, which is not timed."""
    size, steps, dt, now = int(work["excitatory"]), int(work["steps"]), float(work["dt"]), clock(threads)

    def run() -> tuple[float, Counts]:
        framework = _nest(threads, dt)
        # A capacity of 20 pF with 20 ms: a pA is a mV. Currents in mV as in Brette's equations.
        group = framework.Create("iaf_psc_exp", len(work["v"]), params={
            "E_L": -49., "V_reset": -60., "V_th": -50., "tau_m": 20., "C_m": 20., "tau_syn_ex": 5., "tau_syn_in": 10., "t_ref": 5.,
            "I_e": 0.})
        group.V_m = work["v"].tolist()
        for part, weight in ((work["pre"] < size, 1.62), (work["pre"] >= size, -9.)):
            count = int(part.sum())
            framework.Connect(work["pre"][part] + 1, work["post"][part] + 1, "one_to_one",
                              {"weight": np.full(count, weight), "delay": np.full(count, dt)})
        recorders = _recorders(framework, {"E": group[:size], "I": group[size:]})
        framework.Prepare()
        start = now()
        framework.Run(steps * dt)
        seconds = now() - start
        framework.Cleanup()
        return seconds, {name: int(recorder.n_events) for name, recorder in recorders.items()}
    import nest as framework
    return run, framework.__version__
