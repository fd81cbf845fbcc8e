"""What the commands share: output as JSON or text, progress, and arguments that several take."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from spikeloom.errors import InputError, SpikeloomError
from spikeloom.host.boards import named_array
from spikeloom.image import Image
from spikeloom.params import ArrayParams

F = TypeVar("F", bound=Callable[..., Any])

#: An existing file, as a path.
FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
#: A file to write.
TARGET = click.Path(dir_okay=False, path_type=Path)


def _known(context: click.Context, option: click.Parameter, value: str | None) -> str | None:
    """The name of a board or an array, if there is one of that name; else wrong usage."""
    try:
        if value is not None:
            named_array(value)
    except SpikeloomError as error:
        raise click.BadParameter(str(error), context, option) from None
    return value


def json_option(command: F) -> F:
    """``--json``: one JSON object on stdout and nothing else there."""
    return click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")(command)


def array_options(command: F) -> F:
    """``--board`` and ``--params``: the array."""
    command = click.option("--params", "params_file", type=FILE, help="JSON file with the array's parameters.")(command)
    return click.option("--board", callback=_known, metavar="NAME", help="A board or an array; `spikeloom boards` lists them.")(command)


def work_options(command: F) -> F:
    """``--jobs`` and ``--scheduler``: where work is spread to."""
    command = click.option("--scheduler", metavar="ADDRESS", help="A dask.distributed scheduler that works in place of this "
                                                                  "computer, such as tcp://host:8786.")(command)
    return click.option("--jobs", type=click.IntRange(1), help="Processes (default: one for each core).")(command)


def load_spikes(path: Path) -> Any:
    """Input spikes in a file: an array (.npy), or one for each input (.npz)."""
    try:
        read = np.load(path, allow_pickle=False)
        return read if isinstance(read, np.ndarray) else {name: read[name] for name in read.files}
    except (ValueError, EOFError) as error:
        raise InputError(f"{path} holds no plain NumPy arrays: {error}") from error


def chosen_array(board: str | None, params_file: Path | None) -> ArrayParams:
    """The array that the options name; SpikeloomError unless it is exactly one."""
    if (board is None) == (params_file is None):
        raise SpikeloomError("Give either --board or --params")
    if params_file is None:
        return named_array(str(board))
    try:
        return ArrayParams(**json.loads(params_file.read_text()))
    except (ValueError, TypeError) as error:
        raise SpikeloomError(f"{params_file}: {error}") from error


def emit(as_json: bool, plain: dict[str, Any], text: Any) -> None:
    """Print the plain data as JSON, or the text (anything that rich can print)."""
    if as_json:
        click.echo(json.dumps(plain, indent=2))
    elif isinstance(text, str):
        click.echo(text)
    else:
        Console().print(text)


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Show on stderr that something takes its time."""
    console = Console(stderr=True)
    if console.is_terminal:
        with console.status(f"{what} …"):
            yield
    else:
        console.print(f"{what} …")
        yield


def progress(items: Iterable[Any], total: int, what: str) -> Iterator[Any]:
    """Pass items on, with a bar on stderr where that is a terminal. An item counts as ``int(item)`` if it is one, else as 1."""
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(what, total=total)
        for item in items:
            yield item
            bar.advance(task, item if isinstance(item, int) else 1)


def load_image(path: Path) -> Image:
    """The image in a file."""
    return Image.load(path)
