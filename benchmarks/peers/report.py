"""Judge what the cells measured: errors against the exact spectra, ratios to the fastest peer, tables of text."""

import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from measures import columns, distance, human, invented, largest_error, top_errors, trace_error
from numpy import ndarray
from tools import NAMES, TASKS, TIMED, tool

OURS = "lhexplore"
REMARK = 110  # letters of a remark in a table; the JSON file has all of it
GOALS = {True: 100.0, False: 3.0}  # times faster for all layers than the fastest peer; by "piecewise linear"


def errors(task: str, row: Mapping[str, Any], spectra: Mapping[str, ndarray], exact: Mapping[str, ndarray]) -> dict:
    """Errors of one cell; ``spectra`` and ``exact`` are what cell.py and reference.py wrote."""
    if task in ("layers", "slq"):
        names = [key.removesuffix(" nodes") for key in spectra if key.endswith(" nodes")]
        both = [name for name in names if f"layer {name}" in exact]
        pairs = [(spectra[f"{n} nodes"], spectra[f"{n} weights"], exact[f"layer {n}"]) for n in both]
        kinds = {
            "largest": [largest_error(nodes, true) for nodes, _, true in pairs],
            "distance": [distance(nodes, weights, true) for nodes, weights, true in pairs],
            "invented": [invented(nodes, true) for nodes, _, true in pairs],
        }
    elif task == "trace":
        both = [name for name in row["traces"] if f"layer {name}" in exact]
        kinds = {"trace": [trace_error(row["traces"][n], exact[f"layer {n}"]) for n in both]}
    else:
        found = top_errors(row["values"], list(exact["top"]))
        both, kinds = [None] * len(found), {"top": found}
    if not both:
        return {}
    return {"count": len(both)} | {
        f"{kind}_{name}": function(values)
        for kind, values in kinds.items()
        for name, function in (("median", statistics.median), ("worst", max))
    }


def ratios(cells: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """How many times faster than the fastest peer, per task and model."""
    found = []
    for task in TASKS:
        for model in dict.fromkeys(cell["model"] for cell in cells):
            rows = [c for c in cells if (c["task"], c["model"]) == (task, model) and c["status"] in TIMED]
            ours = [c for c in rows if c["tool"] == OURS]
            peers = [c for c in rows if c["tool"] != OURS]
            if ours and peers:
                best = min(peers, key=lambda c: c["seconds"])
                found.append(
                    {
                        "task": task,
                        "model": model,
                        "peer": best["tool"],
                        "extrapolated": best["status"] == "extrapolated",
                        "faster": best["seconds"] / ours[0]["seconds"],
                        "memory": ours[0]["peak_bytes"] / max(1, min(c["peak_bytes"] for c in peers)),
                    }
                )
    return found


def table(cells: Sequence[Mapping[str, Any]], task: str) -> str:
    """One task: a line per model and tool."""
    head = ["model", "tool", "time", "gradients", "products", "peak MB", "median error", "worst", "over"]
    rows = [[*head, "remark"]]
    for cell in cells:
        if cell["task"] == task:
            rows.append(_line(cell))
    remarks = [row.pop() for row in rows]
    text = columns(rows).splitlines()
    width = max(map(len, text)) + 2
    return "\n".join(f"{line:{width}}{remark}".rstrip() for line, remark in zip(text, remarks, strict=True))


def _line(cell: Mapping[str, Any]) -> list[str]:
    start = [cell["model"], tool(cell["tool"]).label]
    if cell["status"] not in TIMED:
        return [*start, *["–"] * 7, f"{cell['status']}: {cell['message']}"[:REMARK]]
    about = "≈" if cell["status"] == "extrapolated" else ""
    error = cell["errors"]
    kind = {"layers": "distance", "slq": "distance", "top": "top", "trace": "trace"}[cell["task"]]
    shown = [f"{error[f'{kind}_{name}']:.1e}" if error else "–" for name in ("median", "worst")]
    remark = "; ".join([*([f"measured: {cell['measured']}"] if cell["measured"] else []), *cell["notes"]])
    return [
        *start,
        about + human(cell["seconds"]),
        about + f"{cell['seconds'] / cell['gradient_seconds']:,.0f}",
        f"{cell['products']:,.0f}" if cell["products"] else "–",
        f"{cell['peak_bytes'] / 1e6:.0f}",
        *shown,
        str(error["count"]) if error else "–",
        remark[:REMARK],
    ]


def verdicts(cells: Sequence[Mapping[str, Any]], piecewise_linear: Mapping[str, bool]) -> list[str]:
    """The goals, each with what was reached."""
    lines = []
    best = {(r["task"], r["model"]): r for r in ratios(cells)}
    for (task, model), row in best.items():
        if task != "layers":
            continue
        goal = GOALS[piecewise_linear[model]]
        about = "about " if row["extrapolated"] else ""
        lines.append(
            f"all layers of {model}: {about}{row['faster']:,.3g} × faster than {tool(row['peer']).label} "
            f"(goal {goal:g}): {'reached' if row['faster'] >= goal else 'NOT reached'}"
        )
        mine = _error(cells, model, OURS)
        others = [e for name in NAMES if name != OURS and (e := _error(cells, model, name)) is not None]
        if mine is not None and others:
            word = "reached" if mine <= min(others) else "NOT reached"
            lines.append(f"  error {mine:.1e} of the range, peers' smallest {min(others):.1e} (not larger): {word}")
        word = "reached" if row["memory"] <= 1 else "NOT reached"
        lines.append(f"  peak memory {row['memory']:.2g} × the most frugal peer's (goal 1): {word}")
    return lines


def _error(cells: Sequence[Mapping[str, Any]], model: str, name: str) -> float | None:
    """Median distance over the layers; of the one layer of "slq" where no layer was run in full."""
    for task in ("layers", "slq"):
        for cell in cells:
            if (cell["model"], cell["tool"], cell["task"]) == (model, name, task) and cell.get("errors"):
                return float(cell["errors"]["distance_median"])
    return None


def load_spectra(path: Path) -> dict[str, ndarray]:
    """Arrays of an npz file, as a dictionary."""
    with np.load(path) as file:
        return {key: file[key] for key in file.files}
