"""Tables and plot of depth.py for docs/performance.md."""

from __future__ import annotations

from typing import Any

from page import figure, table

#: Registers and nets that are listed.
LISTED = 8


def text(result: dict[str, Any]) -> str:
    """How many end points are beyond what is allowed, the latest paths, and the nets with most loads."""
    mhz = f"{result['mhz']:g} MHz"
    whole = table(("end points", "beyond the rule", f"too slow for {mhz}", "worst path"),
                  [(f"{result['end_points']:,}", f"{result['beyond_rule']:,}", f"{result['slow']:,}",
                    f"{result['worst_ns']} ns ({result['estimated_mhz']:.0f} MHz)")])
    paths = table(("from", "ns", "carry chains + LUT levels", f"end points too slow for {mhz}", "the latest one's end"),
                  ((f"`{path['name']}`", path["ns"], f"{path['chains']} + {path['levels']}", f"{path['slow']:,} of {path['end_points']:,}",
                    f"`{path['path'][-1]}`") for path in result["by_start"][:LISTED]))
    nets = table(("net", "loads", "like it", "driven by"),
                 ((f"`{net['net'] or net['register']}`", f"{net['loads']:,}", net["nets"] - 1, net["driver"])
                  for net in result["fan_outs"][:LISTED]))
    return "\n\n".join((whole, "Latest paths from each register (those that differ in numbers only together):", paths,
                        "Nets with most loads:", nets))


def plot(result: dict[str, Any]) -> Any:
    """How many end points need how long."""
    drawn = figure()
    axes = drawn.subplots()
    starts, counts = zip(*result["nanoseconds"].items(), strict=True)
    axes.bar([float(start) for start in starts], counts, 0.25, align="edge")
    goal = 1000 / result["mhz"] - result["uncertainty_ns"]
    axes.axvline(goal, color="C3", label=f"{result['mhz']:g} MHz ({goal:.2f} ns)")
    axes.set(yscale="log", xlabel="ns that the latest path to an end point needs (model of a -1 part)", ylabel="end points")
    axes.legend()
    return drawn
