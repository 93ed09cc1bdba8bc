"""How the cost grows with samples, layers and snapshots: `python benchmarks/linear.py [--quick]`.

Each sweep doubles one thing and keeps the rest, on the exact way (`Session.compute` of a ReLU network) and on the
estimating one (Lanczos on smooth ones). Prints the times and the exponent of the growth, and writes
benchmarks/results/linear.json and the picture. lhexplore only.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import numpy as np
import torch
from matplotlib import pyplot as plt
from models import build

import lhexplore as lh

RESULTS = Path(__file__).parent / "results" / "linear.json"
EXACT, ESTIMATE = "exact, ReLU", "Lanczos, smooth"
COLOURS = {EXACT: "#D55E00", ESTIMATE: "#0072B2"}
MARKERS = {EXACT: "D", ESTIMATE: "o"}
LIMIT = 1.15  # exponent up to which growth is called linear: single times differ by some per cent
NETWORKS = {EXACT: "lenet", ESTIMATE: "tanh"}
STEPS, PROBES = 40, 2


def seconds(function: Callable[[], None], repeats: int) -> float:
    """The fastest of some runs: the one that other work disturbed least."""
    taken = []
    for _ in range(repeats):
        began = time.perf_counter()
        function()
        taken.append(time.perf_counter() - began)
    return min(taken)


def opened(name: str, *, examples: int, **settings: object) -> Callable[[], lh.Session]:
    """A way to open a session; building the network and its data is not what is measured."""
    model, batch, criterion = build(name, examples=examples)
    same = {"samples": None, "cache": False, "dtype": torch.float32} | settings
    return lambda: lh.Session(model, [batch], criterion, **same)


def estimate(s: lh.Session, layer: str, snapshot: int | str = -1) -> None:
    s.spectrum(layer, snapshot, method="lanczos", steps=STEPS, probes=PROBES)


def samples(kind: str, count: int) -> Callable[[], None]:
    """All layers of LeNet, or one layer of the MLP, on more and more digits."""
    fresh = opened(NETWORKS[kind], examples=count)

    def run() -> None:
        with fresh() as s:
            s.compute(progress=False) if kind == EXACT else estimate(s, "fc2")

    return run


def layers(kind: str, count: int) -> Callable[[], None]:
    """The last layers of ResNet-20 in one go, or the layers of the transformer one by one."""
    fresh = opened("resnet20" if kind == EXACT else "transformer", examples=16)

    def run() -> None:
        with fresh() as s:
            chosen = [row.name for row in s.layers if row.kind in ("Conv2d", "Linear")][-count:]
            if kind == EXACT:
                s.compute(chosen, progress=False)
            else:
                for layer in chosen:
                    estimate(s, layer)

    return run


def snapshots(kind: str, count: int) -> Callable[[], None]:
    """More and more snapshots of the same networks."""
    weights = build(NETWORKS[kind])[0].state_dict()
    moved = {k for k, v in weights.items() if v.is_floating_point()}  # not the counters of batch norms
    states = {
        f"step-{i}": {k: v * (1 + i / 1000) if k in moved else v for k, v in weights.items()} for i in range(count)
    }
    fresh = opened(NETWORKS[kind], examples=64, snapshots=states)

    def run() -> None:
        with fresh() as s:
            if kind == EXACT:
                s.compute(progress=False)
            else:
                for label in states:
                    estimate(s, "fc2", label)

    return run


SWEEPS = {
    "samples": (samples, {EXACT: (32, 64, 128, 256), ESTIMATE: (64, 128, 256, 512, 1024)}),
    "layers": (layers, {EXACT: (2, 4, 8, 16, 22), ESTIMATE: (1, 2, 4, 8)}),
    "snapshots": (snapshots, {EXACT: (1, 2, 4, 8), ESTIMATE: (1, 2, 4, 8, 16)}),
}


def exponent(counts: Sequence[int], taken: Sequence[float]) -> float:
    """Slope of the straight line through the logarithms: 1 is linear, less where a fixed cost is shared."""
    return float(np.polyfit(np.log(counts), np.log(taken), 1)[0])


def draw(found: dict[str, dict[str, dict]], path: Path) -> list[Path]:
    """One panel per sweep, both axes logarithmic, with the slope of linear growth behind."""
    plt.rcParams.update({"font.size": 10, "font.family": "DejaVu Sans", "svg.fonttype": "none"})
    figure, panels = plt.subplots(1, len(found), figsize=(10.5, 3.2), layout="constrained")
    for axes, (sweep, rows) in zip(np.atleast_1d(panels), found.items(), strict=True):
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        for kind, row in rows.items():
            counts, taken = np.array(row["counts"]), np.array(row["seconds"])
            axes.plot(counts, taken[-1] * counts / counts[-1], color="#C9C9C9", linestyle="--", linewidth=1)
            label = f"{kind}: exponent {row['exponent']:.2f}"
            axes.plot(counts, taken, color=COLOURS[kind], marker=MARKERS[kind], linewidth=1.6, label=label)
        ticks = sorted({count for row in rows.values() for count in row["counts"]})
        axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
        axes.yaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.set_xlabel(sweep)
        axes.grid(color="#E8E8E8", linewidth=0.8)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8, loc="upper left")
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * 3)  # room for the legend
    np.atleast_1d(panels)[0].set_ylabel("seconds (dashed: linear)")
    written = [path.with_suffix(suffix) for suffix in (".png", ".svg")]
    for file in written:
        figure.savefig(file, dpi=160, facecolor="white", metadata={"Date": None} if file.suffix == ".svg" else None)
    plt.close(figure)
    return written


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="the two smallest points of each sweep, nothing written")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found: dict[str, dict[str, dict]] = {}
    for sweep, (function, kinds) in SWEEPS.items():
        for kind, planned in kinds.items():
            counts = planned[:2] if arguments.quick else planned
            function(kind, counts[0])()  # the first call of a process is slow
            taken = [seconds(function(kind, count), 1 if arguments.quick else 3) for count in counts]
            row = {"counts": list(counts), "seconds": taken, "exponent": exponent(counts, taken)}
            found.setdefault(sweep, {})[kind] = row
            word = "reached" if row["exponent"] <= LIMIT else "NOT reached"
            times = "  ".join(f"{c:,}: {s:.3g} s" for c, s in zip(counts, taken, strict=True))
            print(f"{sweep:9} {kind:13} {times}  exponent {row['exponent']:.2f} (at most {LIMIT}: {word})", flush=True)
    if not arguments.quick:
        arguments.out.parent.mkdir(exist_ok=True)
        arguments.out.write_text(json.dumps({"threads": arguments.threads, "sweeps": found}, indent=1) + "\n")
        print(", ".join(path.name for path in draw(found, arguments.out)))


if __name__ == "__main__":
    main()
