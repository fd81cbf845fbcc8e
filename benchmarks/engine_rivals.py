"""One framework of benchmarks/engine.py in its own Python: builds a workload, warms up, then runs it once for every line it is sent.

    PYTHON benchmarks/engine_rivals.py FRAMEWORK WORKLOAD.npz THREADS

Answers a line of JSON when it is ready, and one for every run: ``seconds``, spikes by population, and ``version``. Building, compiling,
conversion of inputs and two runs before are not timed. It imports NumPy and the framework alone.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

Counts = dict[str, int]
#: Runs a workload: seconds and spikes.
Run = Callable[[], tuple[float, Counts]]
Work = Mapping[str, Any]


def clock(threads: int) -> Callable[[], float]:
    """Of one thread the processor's time, of more the wall's: what else the computer does then counts little, where that can be."""
    return time.process_time if threads == 1 else time.perf_counter


def _timed(run: Callable[[], Counts], threads: int) -> Run:
    now = clock(threads)

    def timed() -> tuple[float, Counts]:
        start = now()
        counts = run()
        return now() - start, counts
    return timed


def _torch(threads: int) -> Any:
    import torch
    torch.set_num_threads(threads)
    torch.set_grad_enabled(False)
    return torch


def snntorch(work: Work, threads: int) -> tuple[Run, str]:
    """``Linear`` and ``Leaky`` layers, each over all steps at once as far as it goes: the products of all steps in one."""
    torch = _torch(threads)
    import snntorch as framework

    layers = []
    for name, theta in (("hidden", work["theta_hidden"]), ("out", work["theta_out"])):
        linear = torch.nn.Linear(work[f"w_{name}"].shape[1], work[f"w_{name}"].shape[0], bias=False)
        linear.weight.copy_(torch.tensor(work[f"w_{name}"], dtype=torch.float32))
        layers.append((name, linear, framework.Leaky(beta=float(work["beta"]), threshold=float(theta), reset_mechanism="zero")))
    batches = _batches(torch, work)

    def run() -> Counts:
        counts = {"hidden": 0, "out": 0}
        for batch in batches:
            spikes = batch
            for name, linear, leaky in layers:
                drive, membrane, found = linear(spikes), leaky.init_leaky(), []
                for step in drive:
                    spike, membrane = leaky(step, membrane)
                    found.append(spike)
                spikes = torch.stack(found)
                counts[name] += int(spikes.sum())
        return counts
    return _timed(run, threads), framework.__version__


def _batches(torch: Any, work: Work) -> list[Any]:
    """The input as floats (steps, batch, neurons)."""
    spikes = torch.tensor(np.swapaxes(work["spikes"], 0, 1), dtype=torch.float32)
    return [part.contiguous() for part in spikes.split(int(work["batch"]), dim=1)]


def norse(work: Work, threads: int) -> tuple[Run, str]:
    """``Linear`` and ``LIFBoxCell`` layers, as for snnTorch. Its input is scaled by 1/(1 − β), as LIFBox is
    v ← v + dt·τ⁻¹·(v_leak − v + x)."""
    torch = _torch(threads)
    from importlib.metadata import version

    import norse.torch as framework

    layers = []
    for name, theta in (("hidden", work["theta_hidden"]), ("out", work["theta_out"])):
        linear = torch.nn.Linear(work[f"w_{name}"].shape[1], work[f"w_{name}"].shape[0], bias=False)
        linear.weight.copy_(torch.tensor(work[f"w_{name}"] / (1 - work["beta"]), dtype=torch.float32))
        parameters = framework.LIFBoxParameters(tau_mem_inv=torch.tensor((1 - float(work["beta"])) / 0.001),
                                                v_th=torch.tensor(float(theta)))
        layers.append((name, linear, framework.LIFBoxCell(p=parameters, dt=0.001)))
    batches = _batches(torch, work)

    def run() -> Counts:
        counts = {"hidden": 0, "out": 0}
        for batch in batches:
            spikes = batch
            for name, linear, cell in layers:
                drive, state, found = linear(spikes), None, []
                for step in drive:
                    spike, state = cell(step, state)
                    found.append(spike)
                spikes = torch.stack(found)
                counts[name] += int(spikes.sum())
        return counts
    return _timed(run, threads), version("norse")


def _brainpy(threads: int) -> tuple[Any, Any]:
    # XLA takes as many threads as there are processors.
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:threads]))
    os.environ["XLA_FLAGS"] = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={threads}"
    import brainpy as bp
    import brainpy.math as bm
    return bp, bm


def brainpy(work: Work, threads: int) -> tuple[Run, str]:
    """``Lif`` neurons (exponential Euler: the input is scaled by 1/(1 − β)) in ``for_loop``, jitted; products of all steps in one."""
    bp, bm = _brainpy(threads)
    beta, batch = float(work["beta"]), int(work["batch"])
    weights = {name: bm.asarray((work[f"w_{name}"] / (1 - beta)).T.astype(np.float32)) for name in ("hidden", "out")}
    cells = {name: bp.dyn.Lif(work[f"w_{name}"].shape[0], V_rest=0., V_reset=0., V_th=float(work[f"theta_{name}"]), tau=-1 / np.log(beta),
                              mode=bm.BatchingMode(batch)) for name in weights}
    bm.set_dt(1.0)

    @bm.jit
    def layers(spikes: Any) -> Any:
        counts = []
        for name, cell in cells.items():
            cell.reset(batch)

            def step(drive: Any, cell: Any = cell) -> Any:
                return cell(drive)
            spikes = bm.for_loop(step, spikes @ weights[name])
            counts.append(spikes.sum())
        return counts
    parts = [bm.asarray(np.ascontiguousarray(np.swapaxes(part, 0, 1)).astype(np.float32))
             for part in np.split(work["spikes"], range(batch, len(work["spikes"]), batch))]

    def run() -> Counts:
        found = np.array([[float(count) for count in layers(part)] for part in parts]).sum(axis=0)
        return {"hidden": int(found[0]), "out": int(found[1])}
    return _timed(run, threads), bp.__version__


def brainpy_cuba(work: Work, threads: int) -> tuple[Run, str]:
    """`LifRef` and ``EventCSRLinear`` as in `tests/brainpy/nets.py`, in ``for_loop``, jitted, in single precision."""
    bp, bm = _brainpy(threads)
    steps, size = int(work["steps"]), int(work["excitatory"])
    bm.set_dt(float(work["dt"]))
    cell = {"V_rest": -49., "V_th": -50., "V_reset": -60., "tau": 20., "tau_ref": 5.}

    class Network(bp.DynSysGroup):  # type: ignore[misc]  # brainpy has no types
        """E and I, and four projections."""

        def __init__(self) -> None:
            super().__init__()
            self.E, self.I = bp.dyn.LifRef(size, **cell), bp.dyn.LifRef(len(work["v"]) - size, **cell)
            self.links = bm.NodeList([self.link(source, target) for source in "EI" for target in "EI"])

        def link(self, source: str, target: str) -> Any:
            pre, post = getattr(self, source), getattr(self, target)
            chosen = ((work["pre"] < size) == (source == "E")) & ((work["post"] < size) == (target == "E"))
            ends = bp.conn.IJConn(i=work["pre"][chosen] - (source == "I") * size, j=work["post"][chosen] - (target == "I") * size)
            comm = bp.dnn.EventCSRLinear(ends(pre.num, post.num), 1.62 if source == "E" else -9.)
            return bp.dyn.FullProjAlignPostMg(pre=pre, delay=None, comm=comm, post=post, out=bp.dyn.CUBA.desc(),
                                              syn=bp.dyn.Expon.desc(post.num, tau=5. if source == "E" else 10.))

        def update(self) -> Any:
            for part in (*self.links, self.E, self.I):
                part()
            return self.E.spike.value.sum(), self.I.spike.value.sum()

    network = Network()
    starts = {"E": bm.asarray(work["v"][:size].astype(np.float32)), "I": bm.asarray(work["v"][size:].astype(np.float32))}

    @bm.jit
    def all_steps() -> Any:
        bp.reset_state(network)
        for name, start in starts.items():
            getattr(network, name).V.value = start
        return bm.for_loop(network.step_run, bm.arange(steps))

    def run() -> Counts:
        return {name: int(np.sum(np.asarray(spikes))) for name, spikes in zip(starts, all_steps(), strict=True)}
    return _timed(run, threads), bp.__version__


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
    """C++ standalone, ``-O3 -ffast-math -march=native``, single precision. It has no batches: the samples follow one another."""
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


#: What each framework runs.
RIVALS: dict[str, dict[str, Callable[[Work, int], tuple[Run, str]]]] = {
    "snntorch": {"lif": snntorch}, "norse": {"lif": norse}, "brainpy": {"lif": brainpy, "cuba": brainpy_cuba},
    "brian2": {"lif": brian2, "cuba": brian2_cuba}, "nest": {"lif": nest, "cuba": nest_cuba},
}


def main() -> None:
    """Command line."""
    name, path, threads = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what frameworks print, from C++ too, is no answer
    warnings.simplefilter("ignore")
    with np.load(path, allow_pickle=False) as file:
        work = {key: file[key] for key in file}
    run, version = RIVALS[name][str(work["kind"])](work, int(threads))
    for _ in range(2):  # jax compiles again for what the first run leaves
        run()
    print(json.dumps({"version": version}), file=answers, flush=True)
    for _ in sys.stdin:
        seconds, counts = run()
        print(json.dumps({"seconds": seconds, "counts": counts}), file=answers, flush=True)


if __name__ == "__main__":
    main()
