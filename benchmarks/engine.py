"""The compiled engine against other simulators of spiking networks, in rounds by turns on one computer.

    python benchmarks/engine.py --python snntorch=PATH --python brian2=PATH …     each framework's own Python
    python benchmarks/engine.py … --write                                         and tables and plot into docs/

Frameworks whose Python is not given are left out, and that is printed. Workloads: a 784-256-10 LIF network, 100 samples of 100 steps, a
tenth of the inputs spiking in each, one sample at a time and 100 at once; and the current-based network of 4,000 neurons of Brette et
al. 2007, 1,000 steps of 0.1 ms. All sides get the same weights, input and potentials at the start; they differ in their numbers
(integers here, floats there) and by a step of delay here and there, so spikes are counted and printed. Everybody is measured in each
round, in turn; what counts is the median of the rounds' ratios, as the computer's speed drifts. With ``--again`` each side runs twice
in a row, and the second time counts: the first pays for caches that the others have filled. Of one thread the time is the
processor's, of more the wall's, which means little on a computer that is busy. Building, compiling, and a first run are
left out on all sides; what is timed is a run from the input to spikes that Python has. A framework whose run takes longer than
``--limit`` is left out of a table, which then says so. Exit code 1 where the engine is less than three
times as fast as the fastest of the others.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from engine_plot import plot
from page import save, write

from spikeloom.errors import SpikeloomError
from spikeloom.host.compiler.compile import compile
from spikeloom.host.networks.network import Network, Population, Projection
from spikeloom.image import Image
from spikeloom.params import ArrayParams, preset
from spikeloom.sim.engine import EngineMachine
from spikeloom.sim.golden import GoldenMachine

RIVALS = {"snntorch": "lif", "norse": "lif", "brainpy": "lif cuba", "brian2": "lif cuba", "nest": "lif cuba"}
#: Frameworks without batches run a workload's samples one after another: they are measured with one sample at a time.
ONE_BY_ONE = ("brian2", "nest")
#: What the engine is to reach against the fastest of the others.
GOAL = 3.0
#: Seconds that a framework may take for building, and runs that are not measured: jax compiles again for what its first run leaves.
BUILDING_S, FIRST_RUNS = 600, 2
#: 16 cores of 256 neurons with two currents, each of which hears all 4,000 neurons.
CUBA = ArrayParams(columns=4, rows=4, lanes=64, folds=8, banks=4, words=1024, weight_bits=12, accumulator_bits=20, state_bits=28,
                   gain_bits=16, currents=2, axons=1024, entries=4096, destinations=512, delay_depth=256)
Work = dict[str, Any]
#: Runs a workload once: seconds, and spikes by population.
Run = Callable[[], tuple[float, dict[str, int]]]


def lif(batch: int) -> Work:
    """Weights are integers of 4 bits, so that no side rounds them; thresholds lie between the sums that they make."""
    rng = np.random.default_rng(2026)
    return {"kind": "lif", "batch": batch, "w_hidden": rng.integers(-7, 8, (256, 784)), "w_out": rng.integers(-7, 8, (10, 256)),
            "theta_hidden": 100.5, "theta_out": 60.5, "beta": 0.9375, "spikes": rng.random((100, 100, 784)) < 0.1}


def cuba() -> Work:
    """80 synapses from each neuron, 2 % of all; excitatory 1.62 mV, inhibitory −9 mV."""
    rng = np.random.default_rng(2027)
    return {"kind": "cuba", "pre": np.repeat(np.arange(4000), 80), "excitatory": 3200, "steps": 1000, "dt": 0.1,
            "post": np.concatenate([rng.choice(4000, 80, replace=False) for _ in range(4000)]), "v": rng.uniform(-60, -50, 4000)}


WORKLOADS: dict[str, Callable[[], Work]] = {
    "784-256-10 LIF, batch 1": lambda: lif(1), "784-256-10 LIF, batch 100": lambda: lif(100), "CUBA, 4,000 neurons": cuba}


def compiled(work: Work) -> Image:
    """The workload's image."""
    if work["kind"] == "lif":
        populations = tuple(Population(name=name, shape=(len(work[f"w_{name}"]),), membrane_gain=work["beta"], reset="value",
                                       threshold=work[f"theta_{name}"], reset_value=0.0) for name in ("hidden", "out"))
        projections = tuple(Projection.dense(f"to {name}", source, name, work[f"w_{name}"])
                            for source, name in (("in", "hidden"), ("hidden", "out")))
        return compile(Network(inputs={"in": (784,)}, populations=populations, projections=projections, outputs=("hidden", "out")),
                       params=preset("pynq_z2"))
    size, dt = work["excitatory"], work["dt"]
    gain = np.exp(-dt / 20)
    # Potentials count from where each neuron starts, as a sample begins at 0.
    populations = tuple(
        Population(name=name, shape=start.shape, current_gain=np.exp(-dt / 5), second_current_gain=np.exp(-dt / 10), membrane_gain=gain,
                   input_gain=1 - gain, bias=(1 - gain) * (-49 - start), threshold=-50 - start, strict=True, reset="value",
                   reset_value=-60 - start, refractory=50, hold=True)
        for name, start in (("E", work["v"][:size]), ("I", work["v"][size:])))
    projections = []
    for source, first in (("E", 0), ("I", size)):
        for target, low in (("E", 0), ("I", size)):
            chosen = ((work["pre"] >= size) == bool(first)) & ((work["post"] >= size) == bool(low))
            projections.append(Projection(
                name=f"{source} to {target}", source=source, target=target, pre=work["pre"][chosen] - first,
                post=work["post"][chosen] - low, weight=np.full(int(chosen.sum()), -9.0 if first else 1.62), delay=1,
                receptor=int(first > 0)))
    network = Network(inputs={"time": (1,)}, populations=populations, projections=tuple(projections), outputs=("E", "I"), dt=dt / 1000)
    return compile(network, params=CUBA, weight_bits=12)


def ours(machine: Any, work: Work, threads: int) -> Run:
    """A machine with its image, as a run."""
    machine.load(compiled(work))
    now = time.process_time if threads == 1 else time.perf_counter
    if work["kind"] == "lif":
        size = work["batch"]
        batches = [work["spikes"][low:low + size] for low in range(0, len(work["spikes"]), size)]
    else:
        batches = [np.zeros((1, work["steps"], 1), bool)]

    def run() -> tuple[float, dict[str, int]]:
        start = now()
        results = [machine.run(batch, potentials="none") for batch in batches]
        seconds = now() - start
        return seconds, {name: sum(int(result.spikes[name].sum()) for result in results) for name in results[0].spikes}
    run()
    return run


class Rival:
    """A framework in a process of its own; ``run`` makes it run the workload once. RuntimeError where it does not work, or takes more
    than ``limit`` seconds."""

    def __init__(self, name: str, python: str, work: Path, threads: int, limit: float) -> None:
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "OPENBLAS"))}
        count = {key: str(threads) for key in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115  # it lives as long as the process
        self._process = subprocess.Popen([python, str(Path(__file__).with_name("engine_rivals.py")), name, str(work), str(threads)],
                                         stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=clean | count,
                                         start_new_session=True)
        self._limit = limit
        self.version = self._answer(BUILDING_S)["version"]
        for _ in range(FIRST_RUNS):
            self.run()

    def run(self) -> tuple[float, dict[str, int]]:
        """Seconds and spikes."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._answer(self._limit)
        return answer["seconds"], answer["counts"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(60)

    def _answer(self, limit: float) -> Any:
        assert self._process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            os.killpg(self._process.pid, signal.SIGKILL)  # with what it runs: Brian2's run is a program of its own
        timer = threading.Timer(limit, stop)
        timer.start()
        line = self._process.stdout.readline()
        timer.cancel()
        if late.is_set():
            raise RuntimeError(f"it takes more than {limit:g} s")
        if not line:
            self._errors.seek(0)
            raise RuntimeError(([text for text in self._errors.read().splitlines() if text.strip()] or ["it ended without a word"])[-1])
        return json.loads(line)


def measure(title: str, threads: int, pythons: dict[str, str], rounds: int, limit: float, again: bool) -> dict[str, Any]:
    """All sides of a workload in ``rounds`` rounds (of two runs, where ``again`` is set): times, spikes and versions by name, and why
    others are missing."""
    work = WORKLOADS[title]()
    runs: dict[str, Run] = {"engine": ours(EngineMachine(threads=threads), work, threads)}
    if threads == 1 and work.get("batch") != 1:  # it is slow in single samples
        runs["golden model"] = ours(GoldenMachine(), work, threads)
    rivals: dict[str, Rival] = {}
    missing: dict[str, str] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "work.npz"
        np.savez(path, **work)
        for name, kinds in RIVALS.items():
            if work["kind"] not in kinds.split():
                continue
            if name not in pythons:
                missing[name] = f"no Python with it was given (--python {name}=PATH)"
            elif name in ONE_BY_ONE and work.get("batch", 1) > 1:
                missing[name] = "it has no batches; see batch 1"
            else:
                try:
                    rivals[name] = Rival(name, pythons[name], path, threads, limit)
                    runs[name] = rivals[name].run
                except (OSError, RuntimeError) as error:
                    missing[name] = str(error)
        times: dict[str, list[float]] = {name: [] for name in runs}
        spikes: dict[str, dict[str, int]] = {}
        for _ in range(rounds):
            for name, run in list(runs.items()):
                try:
                    if again:
                        run()
                    seconds, spikes[name] = run()
                    times[name].append(seconds)
                except RuntimeError as error:
                    missing[name] = str(error)
                    del runs[name], times[name], rivals[name]
        for rival in rivals.values():
            rival.close()
    return {"title": title, "threads": threads, "times": times, "spikes": spikes, "missing": missing,
            "versions": {name: rival.version for name, rival in rivals.items()}}


def rows(found: dict[str, Any]) -> list[dict[str, Any]]:
    """A line for each side: median time, and the median of the rounds' ratios to the engine."""
    engine = found["times"]["engine"]
    return [{"name": name, "version": found["versions"].get(name, ""), "ms": 1000 * median(times), "low": 1000 * min(times),
             "high": 1000 * max(times), "ratio": median(t / e for t, e in zip(times, engine, strict=True)), "spikes": found["spikes"][name]}
            for name, times in found["times"].items()]


def fastest(lines: list[dict[str, Any]]) -> dict[str, Any] | None:
    """The fastest of the others."""
    return min((line for line in lines if line["name"] not in ("engine", "golden model")), key=lambda line: line["ratio"], default=None)


def text_of(found: dict[str, Any]) -> str:
    """A workload's table."""
    threads = "one thread" if found["threads"] == 1 else f"{found['threads']} threads"
    kind = "processor" if found["threads"] == 1 else "wall"
    lines = [f"**{found['title']}, {threads}**", "",
             f"| | median {kind} time (ms) | min to max | ÷ engine | spikes |", "|---|---|---|---|---|"]
    for line in rows(found):
        spikes = ", ".join(f"{name} {count:,}" for name, count in line["spikes"].items())
        lines.append(f"| {line['name']} {line['version']} | {line['ms']:,.2f} | {line['low']:,.2f} to {line['high']:,.2f} "
                     f"| {line['ratio']:.2f} | {spikes} |")
    lines += [""] + [f"Without {name}: {reason}." for name, reason in found["missing"].items()]
    best = fastest(rows(found))
    if best is not None:
        verdict = "reached" if best["ratio"] >= GOAL else "missed"
        lines += ["", f"The fastest of the others, {best['name']}, takes {best['ratio']:.2f} times as long as the engine (goal {GOAL:g}: "
                      f"{verdict})."]
    return "\n".join(lines) + "\n"


def computer() -> str:
    """What this ran on."""
    models = [line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return f"{models[0] if models else 'unknown processor'}, {len(os.sched_getaffinity(0))} processors"


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--python", action="append", default=[], metavar="FRAMEWORK=PATH", help="the Python that has a framework")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, action="append", help="threads (repeat; default: 1 and all processors)")
    parser.add_argument("--limit", type=float, default=120, help="seconds that a run of a framework may take (default: %(default)g)")
    parser.add_argument("--again", action="store_true", help="each side runs twice in a row in a round, and the second time counts")
    parser.add_argument("--only", help="workloads with this in their name")
    parser.add_argument("--write", action="store_true", help="write tables and plot into docs/")
    options = parser.parse_args()
    pythons = dict(pair.partition("=")[::2] for pair in options.python)
    unknown = set(pythons) - set(RIVALS)
    if unknown or not all(pythons.values()):
        raise SystemExit(f"--python takes FRAMEWORK=PATH; frameworks are {', '.join(RIVALS)}")
    if options.write and (options.only or options.again):
        raise SystemExit("--write is for all workloads, one run a round")
    load = os.getloadavg()[0]
    parts = [f"{computer()}; {options.rounds} rounds; load at the start {load:.1f}.\n"]
    print(parts[0], flush=True)
    reached, workloads = True, []
    for title in WORKLOADS:
        if options.only and options.only.lower() not in title.lower():
            continue
        for threads in options.threads or sorted({1, len(os.sched_getaffinity(0))}):
            try:
                found = measure(title, threads, pythons, options.rounds, options.limit, options.again)
            except SpikeloomError as error:
                raise SystemExit(f"{title}: {error}") from error
            parts.append(text_of(found))
            print(parts[-1], flush=True)
            workloads.append((f"{title}, {threads} thread{'s' * (threads > 1)}", rows(found)))
            best = fastest(rows(found))
            reached = reached and (best is None or best["ratio"] >= GOAL)
    if options.write:
        write("engine", "\n".join(parts), page="engine.md")
        save(plot(workloads, GOAL), "engine.png")
    return int(not reached)


if __name__ == "__main__":
    sys.exit(main())
