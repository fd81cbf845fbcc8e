"""`spikeloom compile --sweep`: a table and a picture of answers against memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from spikeloom.errors import SpikeloomError
from spikeloom.host.commands.common import chosen_array, emit, load_spikes, waiting


def run_sweep(network: Any, given: dict[str, Any], params_file: Path | None, sweeps: Sequence[str], as_json: bool,
              options: Mapping[str, Any]) -> None:
    """Sweep a network and print rows; ``given`` are the options that are not swept unless ``sweeps`` names them."""
    from spikeloom.host.sweep import parse_sweep, sweep
    if options["input_file"] is None:
        raise SpikeloomError("--sweep needs --input: sample input on which the quantised network is compared")
    chosen: dict[str, Any] = {}
    for text in sweeps:
        name, values = parse_sweep(text)
        if name in chosen:
            raise SpikeloomError(f"--sweep names {name} twice: give all its values in one")
        chosen[name] = values
    wanted = {**given, **chosen}
    if "board" not in chosen:
        chosen_array(given["board"], params_file)  # raises unless it is exactly one
    elif given["board"] is not None or params_file is not None:
        raise SpikeloomError("Give either --sweep board=… or one of --board and --params")
    params = None if params_file is None else chosen_array(None, params_file)
    labels = None if options["labels"] is None else _labels(options["labels"])
    with waiting(f"Sweeping {', '.join(chosen)}"):
        rows = sweep(network, input=load_spikes(options["input_file"]), labels=labels, params=params, output=options["answer"],
                     readout=options["readout"], jobs=options["jobs"], scheduler=options["scheduler"], **wanted)
    if options["picture"] is not None:
        draw(rows, list(chosen), options["picture"])
    emit(as_json, {"rows": rows, "picture": None if options["picture"] is None else str(options["picture"])},
         _table(rows, list(chosen)))


def _labels(path: Path) -> Any:
    try:
        read = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SpikeloomError(f"{path} holds no plain NumPy array: {error}") from error
    if not isinstance(read, np.ndarray):
        raise SpikeloomError(f"{path} holds several arrays; labels are one, .npy")
    return read


def _table(rows: list[dict[str, Any]], swept: list[str]) -> Table:
    table = Table(box=SIMPLE_HEAD, caption=_caption(rows, swept), caption_justify="left")
    labelled = rows[0]["accuracy"] is not None or rows[0]["float_accuracy"] is not None
    if labelled:
        table.title = f"float: accuracy {rows[0]['float_accuracy']:.2%}"
    for name in swept:
        table.add_column(name.replace("_", " "))
    for name in (["accuracy"] if labelled else []) + ["same answer", "spikes agree", "cores", "synapse bits", "ramb36"]:
        table.add_column(name, justify="right")
    for row in rows:
        shares = [row[name] for name in (["accuracy"] if labelled else []) + ["same_answer", "spike_agreement"]]
        counts = [row[name] for name in ("cores", "synapse_bits", "ramb36")]
        table.add_row(*(_word(row[name]) for name in swept), *("–" if share is None else f"{share:.2%}" for share in shares),
                      *("–" if count is None else str(count) for count in counts))
    return table


def _caption(rows: list[dict[str, Any]], swept: list[str]) -> str:
    """What a reader needs besides the numbers, and why rows are empty."""
    lines = ["ramb36: estimate, block RAMs that the synapse bits fill"]
    for row in rows:
        if row["why"]:
            lines.append(f"{', '.join(f'{name} {_word(row[name])}' for name in swept)}: {escape(row['why'])}")
    return "\n".join(lines)


def _word(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def draw(rows: list[dict[str, Any]], swept: list[str], path: Path) -> None:
    """Accuracy, or spike agreement where there are no labels, against synapse memory, a line for all but the first option
    that is swept; SpikeloomError for an ending that matplotlib does not write."""
    from matplotlib.figure import Figure

    from spikeloom.host.sweep import best_measure
    measure = best_measure(rows)
    lines: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for row in rows:
        if row["synapse_bits"] is not None:
            lines.setdefault(tuple(f"{name} {_word(row[name])}" for name in swept[1:]), []).append(row)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for key, line in lines.items():
        axis.plot([row["synapse_bits"] / 8192 for row in line], [100 * row[measure] for row in line], "o-",
                  label=", ".join(key) or "quantised")
        for row in line:
            axis.annotate(_word(row[swept[0]]), (row["synapse_bits"] / 8192, 100 * row[measure]), xytext=(4, 4),
                          textcoords="offset points", fontsize="small")
    if measure == "accuracy":
        axis.axhline(100 * rows[0]["float_accuracy"], color="gray", linestyle=":", label="float")
    axis.set_xlabel(f"synapse memory in use (KiB); labels: {swept[0]}")
    axis.set_ylabel(f"{measure.replace('_', ' ')} (%)")
    if lines:
        axis.legend()
    try:
        figure.savefig(path)
    except ValueError as error:
        raise SpikeloomError(f"{path} cannot be drawn: {error}") from error
