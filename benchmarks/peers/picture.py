"""Draw benchmarks/results/peers.json: time for all layers and error, one row per network. ``picture.py [JSON]``."""

import json
import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")

import numpy as np
from matplotlib import pyplot as plt
from matplotlib.lines import Line2D
from measures import human
from tools import TIMED, tool

RESULTS = Path(__file__).parents[1] / "results" / "peers.json"
# Okabe and Ito's colours, told apart by the colour-blind; the shapes differ as well, and a small shift keeps close ones
# apart: colour, shape, shift
STYLES = {
    "lhexplore": ("#D55E00", "D", 0.0),
    "pyhessian": ("#0072B2", "o", -0.13),
    "eigenthings": ("#009E73", "s", 0.0),
    "curvlinops": ("#CC79A7", "^", 0.13),
    "asdl": ("#8C6D1F", "v", 0.26),
}
TITLES = {
    "tanh": "MLP, tanh",
    "gelu": "MLP, GELU",
    "relu": "MLP, ReLU",
    "lenet": "LeNet, BatchNorm",
    "resnet20": "ResNet-20",
    "transformer": "Transformer",
}
FLOOR = 1e-9  # errors below are drawn here: exact but for rounding
INK, QUIET = "#222222", "#777777"


def draw(path: Path) -> list[Path]:
    """Write the picture beside the JSON file, as PNG and SVG."""
    data = json.loads(path.read_text())
    models = list(data["models"])
    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "svg.fonttype": "none", "text.color": INK})
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(11, 1.5 + 0.62 * len(models)), sharey=True, width_ratios=(1.55, 1), layout="constrained"
    )
    for axes in (left, right):
        _prepare(axes, len(models))
    for place, model in enumerate(models):
        _times(left, place, model, data)
        _errors(right, place, model, data)
    rows = [f"{TITLES[m]}\n{_about(data['models'][m])}" for m in models]
    left.set_yticks(range(len(models)), rows)
    for label in left.get_yticklabels():
        label.set_linespacing(1.25)
    left.set_title("Time for the spectra of all layers", loc="left", fontsize=11, fontweight="bold")
    right.set_title("Error of the spectrum", loc="left", fontsize=11, fontweight="bold")
    right.set_xlabel("Wasserstein-1 distance / range, median over layers", color=QUIET)
    _time_ticks(left)
    low, high = right.get_xlim()
    right.set_xlim(min(low, 1e-8), max(high, 1e-2))
    right.minorticks_off()
    _legend(figure, data)
    written = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in written:
        figure.savefig(file, dpi=160, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
    return written


def _prepare(axes: Any, count: int) -> None:
    axes.set_xscale("log")
    axes.set_ylim(count - 0.5, -0.5)
    axes.grid(axis="x", color="#E4E4E4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(axis="both", length=0, colors=INK)
    axes.spines[:].set_visible(False)
    for place in range(0, count, 2):
        axes.axhspan(place - 0.5, place + 0.5, color="#F6F6F6", zorder=0)


def _cells(data: dict[str, Any], model: str, task: str) -> dict[str, dict[str, Any]]:
    return {
        cell["tool"]: cell
        for cell in data["cells"]
        if (cell["model"], cell["task"]) == (model, task) and cell["status"] in TIMED
    }


def _dot(axes: Any, x: float, y: float, name: str, *, hollow: bool) -> None:
    colour, shape, shift = STYLES[name]
    size = 95 if name == "lhexplore" else 60
    face = "white" if hollow else colour
    axes.scatter([x], [y + shift], s=size, marker=shape, facecolor=face, edgecolor=colour, linewidth=1.7, zorder=3)


def _times(axes: Any, place: int, model: str, data: dict[str, Any]) -> None:
    cells = {name: cell for name, cell in _cells(data, model, "layers").items() if name in STYLES}
    if not cells:
        return
    seconds = {name: cell["seconds"] for name, cell in cells.items()}
    axes.plot([min(seconds.values()), max(seconds.values())], [place] * 2, color="#CFCFCF", linewidth=1.2, zorder=1)
    for name, cell in cells.items():
        _dot(axes, cell["seconds"], place, name, hollow=cell["status"] == "extrapolated")
    peers = [value for name, value in seconds.items() if name != "lhexplore"]
    if "lhexplore" not in seconds:
        return
    mine, colour = seconds["lhexplore"], STYLES["lhexplore"][0]
    axes.annotate(
        human(mine), (mine, place), (0, -15), textcoords="offset points", ha="center", color=colour, fontsize=9
    )
    if peers and min(peers) > 1.5 * mine:
        middle = np.sqrt(mine * min(peers))
        axes.annotate(
            f"{_times_faster(min(peers) / mine)} ×", (middle, place), (0, 5), textcoords="offset points", ha="center",
            fontsize=9, fontweight="bold",
        )  # fmt: skip


def _times_faster(ratio: float) -> str:
    return f"{ratio:.1f}" if ratio < 10 else f"{round(ratio, 1 - int(np.log10(ratio))):,.0f}"


def _errors(axes: Any, place: int, model: str, data: dict[str, Any]) -> None:
    for name in STYLES:
        for task in ("layers", "slq"):  # where no layer was run in full: the one layer that was
            cell = _cells(data, model, task).get(name)
            if cell is not None and cell.get("errors"):
                value = max(cell["errors"]["distance_median"], FLOOR)
                _dot(axes, value, place, name, hollow=cell["status"] == "extrapolated" or task == "slq")
                break


def _where(data: dict[str, Any]) -> str:
    return "CUDA" if data["device"] == "cuda" else f"{data['threads']} CPU threads"


def _about(row: dict[str, Any]) -> str:
    return f"{row['layers']} layers, {row['parameters'] / 1000:,.0f} k"


def _time_ticks(axes: Any) -> None:
    """Seconds, minutes and hours instead of powers of ten."""
    low, high = axes.get_xlim()
    steps = {1e-3: "1 ms", 1e-2: "10 ms", 0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h"}
    steps |= {36000: "10 h"}
    chosen = {at: word for at, word in steps.items() if low <= at <= high}
    axes.set_xticks(list(chosen), list(chosen.values()))
    axes.set_xticks([], minor=True)


def _legend(figure: Any, data: dict[str, Any]) -> None:
    shown = {c["tool"] for c in data["cells"] if c["task"] in ("layers", "slq") and c["status"] in TIMED}
    handles = [
        Line2D([], [], color=colour, marker=shape, linestyle="", markersize=8, label=tool(name).label)
        for name, (colour, shape, _) in STYLES.items()
        if name in shown
    ]
    handles.append(
        Line2D(
            [],
            [],
            color=QUIET,
            marker="o",
            markerfacecolor="white",
            linestyle="",
            markersize=8,
            label="extrapolated from a part",
        )
    )
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles), frameon=False, handletextpad=0.2)
    plan = next(iter(data["models"].values()))
    note = (
        f"Peers: {plan['probes']} probes × {plan['steps']} Lanczos steps a layer. Extrapolated: some layers or "
        "products were timed, the rest computed from them;\nerrors are of the layers that were run in full. "
        f"× against the fastest peer. {_where(data)}, float32. "
        "PyHessian's density raises with this torch: its products alone are timed."
    )
    figure.supxlabel(note, fontsize=8, color=QUIET, x=0.005, ha="left", linespacing=1.4)


if __name__ == "__main__":
    for written in draw(Path(sys.argv[1]) if len(sys.argv) > 1 else RESULTS):
        print(written.name)
