"""A map of the mesh: what lies in which core, and how full each core is, as text and as a picture."""

from __future__ import annotations

from typing import Any

from spikeloom.errors import SpikeloomError

#: What fills a core, in the order in which it is shown.
RESOURCES = ("lanes", "words", "axons", "entries", "destinations")


def fill(core: dict[str, Any], room: dict[str, int]) -> dict[str, float]:
    """The share of each resource of a core that is in use, from an entry of ``report["cores"]`` and ``report["room"]``."""
    return {name: core[name] / room[name] for name in RESOURCES if name in room}


def mesh_text(report: dict[str, Any]) -> str:
    """The mesh as text: a line for each core in use, with its populations and the shares of its memories in use."""
    params, room = report["params"], report["room"]
    cores = {tuple(core["core"]): core for core in report["cores"]}
    names = [name for name in RESOURCES if name in room]
    head = f"{'core':<9}" + "".join(f"{name:>13}" for name in names) + "  neurons"
    lines = [f"Mesh of {params['columns']} × {params['rows']} cores, host port at (0, 0); in use {len(cores)}; "
             f"{report['hops']} packet hops if all send once", head]
    for place in sorted(cores, key=lambda at: (at[1], at[0])):
        core = cores[place]
        shares = "".join(f"{core[name]:>7} {share:>4.0%} " for name, share in fill(core, room).items())
        inside = ", ".join(f"{name} {count}" for name, count in core["populations"].items())
        lines.append(f"({place[0]}, {place[1]})".ljust(9) + shares + "  " + inside)
    return "\n".join(lines)


def mesh_figure(report: dict[str, Any]) -> Any:
    """A matplotlib figure of the mesh: a square for each core, with a bar for each resource and the populations' names.

    SpikeloomError where matplotlib is missing.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.patches import Rectangle
    except ImportError:
        raise SpikeloomError("Maps need matplotlib, which is not installed: pip install 'spikeloom[cli]'") from None
    params, room = report["params"], report["room"]
    columns, rows = params["columns"], params["rows"]
    figure = Figure(figsize=(1.2 + 1.9 * columns, 1.2 + 1.9 * rows), layout="constrained")
    axis = figure.subplots()
    colours = {name: f"C{number}" for number, name in enumerate(name for name in RESOURCES if name in room)}
    for y in range(rows):
        for x in range(columns):
            axis.add_patch(Rectangle((x - 0.47, y - 0.47), 0.94, 0.94, fill=False, edgecolor="0.6"))
    for core in report["cores"]:
        x, y = core["core"]
        height = 0.4 / len(colours)
        for number, (name, share) in enumerate(fill(core, room).items()):
            top = y + 0.03 + number * height
            axis.add_patch(Rectangle((x - 0.44, top), 0.88, height * 0.8, color="0.92"))
            axis.add_patch(Rectangle((x - 0.44, top), 0.88 * min(share, 1.0), height * 0.8, color=colours[name]))
        inside = [f"{name} {count}" for name, count in core["populations"].items()]
        shown = inside[:5] + ([f"and {len(inside) - 5} more"] if len(inside) > 5 else [])
        axis.text(x - 0.44, y - 0.43, "\n".join(shown), ha="left", va="top", fontsize=7)
    for name, colour in colours.items():
        axis.plot([], [], "s", color=colour, label=name)
    axis.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncol=3, fontsize="small", frameon=False)
    axis.set(xlim=(-0.6, columns - 0.4), ylim=(rows - 0.4, -0.6), aspect="equal", xticks=range(columns), yticks=range(rows),
             xlabel="x", ylabel="y")
    return figure
