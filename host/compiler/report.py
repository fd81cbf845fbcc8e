"""What the compiler did: plain data in ``image.report``, and its printed form."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from spikeloom.errors import SpikeloomError
from spikeloom.host.compiler.headroom import steps_to_saturation
from spikeloom.host.compiler.mesh_map import mesh_figure, mesh_text
from spikeloom.host.compiler.place import Placement
from spikeloom.host.networks.network import Network
from spikeloom.host.quantisation.report import quantisation_lines
from spikeloom.image import Image
from spikeloom.memories import Memory, memory_specs
from spikeloom.params import ArrayParams


def describe(network: Network, placement: Placement, image: Image, board: str | None) -> dict[str, Any]:
    """The report as plain data, fit for JSON.

    Keys: ``board``, ``params``, ``nodes`` (of the imported file), ``populations``, ``cores``, ``room`` (of one core), ``array``
    (used and available), ``hops`` (packets × hops if every neuron row and input sends once), ``placement`` (how it was made),
    ``ticks_per_step``, ``slowed`` (why, or empty), ``depth``, ``overlaps`` (whether ticks do).
    :func:`spikeloom.host.compiler.compile.compile` adds ``array_name`` and
    ``passed_over`` (arrays of the board that were too small, and why).
    """
    params, schedule = image.params, placement.netlist.schedule
    cores = [_core(placement, image, index) for index in placement.plans]
    return {
        "board": board, "params": params.describe(), "dt": network.dt,
        "nodes": [{"name": n.name, "kind": n.kind, "status": n.status, "detail": n.detail} for n in network.report],
        "populations": [_population(placement, image, name) for name in placement.netlist.network.populations],
        "inputs": [{"name": source.name, "neurons": source.size, "routes": len(source.routes)} for source in image.inputs],
        "synapses": sum(len(edge.pre) for edge in placement.netlist.network.edges if not edge.planes),
        "cores": cores, "room": _room(params), "array": _totals(params, cores),
        "hops": placement.hops, "placement": placement.strategy.describe(),
        "ticks_per_step": schedule.ticks_per_step, "slowed": schedule.reason, "depth": image.depth,
        "overlaps": image.overlaps,
    }


def _population(placement: Placement, image: Image, name: str) -> dict[str, Any]:
    netlist = placement.netlist
    population, seats = netlist.network.populations[name], netlist.seats[name]
    used = np.unique(placement.core[seats.base: seats.base + len(seats.rows)])
    at = [[int(core) % image.params.columns, int(core) // image.params.columns] for core in used]
    return {"name": name, "neurons": population.size, "cores": at, "depth": netlist.schedule.depth[name],
            "helper": population.helper, "slices": population.slices, "currents": population.currents,
            "steps_to_saturation": steps_to_saturation(netlist.network, name, image.params)} | netlist.network.errors.get(name, {})


def _core(placement: Placement, image: Image, index: int) -> dict[str, Any]:
    params, plan, netlist = image.params, placement.plans[index], placement.netlist
    at = (index % params.columns, index // params.columns)
    rows = np.flatnonzero(placement.core == index)
    inside: dict[str, int] = {}
    for number, (name, seats) in enumerate(netlist.seats.items()):
        mine = rows[netlist.row_population[rows] == number]
        if mine.size:
            inside[name] = int((seats.rows[mine - seats.base] >= 0).sum())
    data = {"core": list(at), "slices": plan.slices, "currents": plan.currents, "neurons": sum(inside.values()),
            "populations": inside,
            "lanes": int(plan.heights.sum()) * plan.slices * plan.currents * params.neurons_per_cycle, "folds": plan.folds,
            "updates": plan.folds * plan.groups * plan.slices * plan.currents, "axons": plan.axons, "classes": len(plan.classes)}
    data["destinations"] = len(image.memories[at][Memory.DESTINATIONS])
    specs = memory_specs(params)
    synapses = image.entries(at, Memory.SYNAPSES)[specs[Memory.SYNAPSES].addresses().astype(np.int64)]
    data["words"] = int(np.count_nonzero(synapses.reshape(params.banks * params.words, -1).any(axis=1)))
    if params.lists:
        table = specs[Memory.AXONS].entry.unpack(image.entries(at, Memory.AXONS))
        data["entries"] = int(np.sum(_longest(table, specs[Memory.AXONS].addresses().astype(np.int64), params)))
    return data


def _longest(table: dict[str, Any], addresses: Any, params: ArrayParams) -> Any:
    """Entries in use of each bank: the furthest end of its lists."""
    end = np.where(table["count"] > 0, table["start"] + table["count"], 0)[addresses]
    return end.reshape(params.banks, -1).max(axis=1)


def _room(params: ArrayParams) -> dict[str, int]:
    """What one core has."""
    room = {"lanes": params.core_neurons, "axons": params.core_axons, "words": params.words * params.banks,
            "destinations": params.destinations, "classes": params.classes}
    return room | ({"entries": params.entries * params.banks} if params.lists else {})


def _totals(params: ArrayParams, cores: list[dict[str, Any]]) -> dict[str, Any]:
    bits = params.cores * params.words * params.banks * params.lanes * params.weight_bits
    used = sum(core["words"] for core in cores) * params.lanes * params.weight_bits
    return {"cores": [len(cores), params.cores],
            **{name: [sum(core[name] for core in cores), most * params.cores] for name, most in _room(params).items()},
            "neurons": sum(core["neurons"] for core in cores), "synapse_bits": [used, bits]}


class CompileReport:
    """The report of an image, for print: ``print(CompileReport(image.report))``."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data

    def __str__(self) -> str:
        data = self.data
        lines = [self._title(), *self._shares(), "", *self._populations()]
        for name, why in data.get("passed_over", {}).items():
            lines += ["", f"Array {name} was passed over: {why}"]
        lines += ["", mesh_text(data)]
        if quantised := quantisation_lines(data["populations"]):
            lines += ["", *quantised]
        if data["ticks_per_step"] > 1:
            lines += ["", f"Slowed to {data['ticks_per_step']} ticks a step: {data['slowed']}."]
        noted = [node for node in data["nodes"] if node["status"] != "exact"]
        if noted:
            lines += ["", "Nodes of the file that were not taken exactly:"]
            lines += [f"  {node['name']} ({node['kind']}): {node['status']}: {node['detail']}" for node in noted]
        return "\n".join(lines)

    def __repr__(self) -> str:
        return str(self)

    def mesh_map(self) -> Any:
        """A matplotlib figure of the mesh: what lies where, and how full each core is."""
        return mesh_figure(self.data)

    def save_map(self, path: Path) -> None:
        """Write :meth:`mesh_map` to a file, in the format of its ending; SpikeloomError where matplotlib has none such."""
        figure = self.mesh_map()
        try:
            figure.savefig(path, dpi=150)
        except ValueError as error:
            raise SpikeloomError(f"{path} cannot be drawn: {error}") from error

    def _title(self) -> str:
        data, params = self.data, self.data["params"]
        name = data["board"] or "the given array"
        if data.get("array_name") not in (None, data["board"]):
            name += f", array {data['array_name']}"
        return (f"{data['array']['neurons']} neurons and {data['synapses']} synapses on {name}: {params['columns']} × "
                f"{params['rows']} cores, {params['lanes']} lanes × {params['folds']} folds; {data['ticks_per_step']} tick(s) a "
                f"step, outputs {data['depth']} tick(s) behind" + (", ticks overlap" if data.get("overlaps") and data["depth"] else ""))

    def _shares(self) -> list[str]:
        shares = [(name, value) for name, value in self.data["array"].items() if isinstance(value, list)]
        return [f"  {name.replace('_', ' '):<14}{used:>10} of {most:>10}  {used / most:6.1%}" for name, (used, most) in shares]

    def _populations(self) -> list[str]:
        lines = [f"{'population':<20}{'neurons':>8}{'cores':>6}{'depth':>6}{'cells':>6}  status"]
        for entry in self.data["populations"]:
            lines.append(f"{entry['name']:<20}{entry['neurons']:>8}{len(entry['cores']):>6}{entry['depth']:>6}{entry['slices']:>6}"
                         f"  {self._status(entry)}")
        return lines

    @staticmethod
    def _status(entry: dict[str, Any]) -> str:
        if entry["helper"]:
            return "partial sums, exact"
        text = str(entry["status"])
        if text != "exact":
            text += (f": weights ±{entry['weight_error_max']:.2%} of the largest (rms {entry['weight_error_rms']:.2%}), gains "
                     f"±{max(entry['current_gain_error'], entry['membrane_gain_error']):.1g}, potentials "
                     f"1/{2 ** entry['shift']} weight step")
        if entry.get("steps_to_saturation") is not None and text != "exact":
            text += f"; potentials saturate after {entry['steps_to_saturation']:.3g} steps of the strongest input, if it lasts"
        if entry["coarser_bits"]:
            text += f"; weights cut by {entry['coarser_bits']} bits, which the state cannot hold"
        if "partial_sums" in entry:
            text += f"; fan-in in {entry['partial_sums']} partial sums"
        return text
