"""One framework of benchmarks/engine.py in its own Python: builds a workload, then runs it once for every line it is sent.

    PYTHON benchmarks/engine_rivals.py FRAMEWORK WORKLOAD.npz THREADS

Answers a line of JSON when it is ready, with its ``version``, and one for every run: ``seconds`` and spikes by population. Building,
compiling and conversion of inputs are not timed. It imports NumPy and the framework alone.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from engine_simulators import brian2, brian2_cuba, nest, nest_cuba
from engine_timing import Counts, Run, Work, timed_by_call


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
    return timed_by_call(run, threads), framework.__version__


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
    return timed_by_call(run, threads), version("norse")


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
    return timed_by_call(run, threads), bp.__version__


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
    return timed_by_call(run, threads), bp.__version__


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
    print(json.dumps({"version": version}), file=answers, flush=True)
    for _ in sys.stdin:
        seconds, counts = run()
        print(json.dumps({"seconds": seconds, "counts": counts}), file=answers, flush=True)


if __name__ == "__main__":
    main()
