"""The plot of engine.py for docs/engine.md."""

from __future__ import annotations

from typing import Any

from page import figure


def plot(workloads: list[tuple[str, list[dict[str, Any]]]], goal: float) -> Any:
    """How many times as long as the engine each side takes, a group of bars a workload."""
    drawn = figure(height=1.2 + 0.17 * sum(len(lines) for _, lines in workloads))
    axes = drawn.subplots()
    place, ticks = 0.0, {}
    for title, lines in workloads:
        axes.text(1.05, place, title, fontsize=8, fontweight="bold", va="center")
        for line in lines:
            if line["name"] != "engine":
                place += 1
                ticks[place] = line["name"]
                axes.barh(place, line["ratio"], color="0.6" if line["name"] == "golden model" else "C0")
        place += 1.3
    axes.axvline(goal, color="C3", linewidth=0.8, label=f"{goal:g}: the goal")
    axes.set_yticks(list(ticks), list(ticks.values()), fontsize=8)
    axes.invert_yaxis()
    axes.set(xscale="log", xlim=(1, None), xlabel="time ÷ engine's time (median of the rounds)")
    axes.legend(loc="lower right")
    return drawn
