"""How often the stated interval of C_t covers the exact value: `python benchmarks/hesd_coverage.py [--networks 300]`.

Random networks (widths, depth, activation, loss, labels, scale of the initial weights, none to some hundred steps of
training), small enough for every eigenvalue to be known. The whole network and each layer are estimated with few and
with the default number of Lanczos steps; C_t, its interval and the type are compared with the exact ones. The table
goes to the terminal and to benchmarks/results/hesd_coverage.json, there with every case that missed its goal.
"""

import argparse
import json
import math
import platform
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from lhexplore.curvature import Layer, Replica, freeze, measure, whole_network
from lhexplore.diagnosis import hesd
from lhexplore.diagnosis.hesd.hesd import LIMIT
from lhexplore.spectrum import WHOLE, Spectrum

RESULTS = Path(__file__).parent / "results" / "hesd_coverage.json"
DEFAULTS = (100, 5)  # steps, start vectors
SETTINGS = (DEFAULTS, (100, 1), (20, 5), (20, 1), (10, 5), (10, 1))
LEAST, MOST = 100, 800  # parameters
SMALLEST_LAYER = 20  # a layer with fewer parameters is known exactly after that many steps
EXAMPLES = 60
ACTIVATIONS = (nn.Tanh, nn.GELU, nn.SiLU, nn.ReLU)
TRAINED = (0, 0, 1, 3, 10, 30, 100, 300)  # steps; C_t of networks that have hardly learned lies near the limit
NEAR = 0.05  # of the limit: where a type could be wrong most easily
ROUND_OFF = 1e-9  # of an exact C_t: two eigenvalues of a matrix of products in float64
GOAL_ERROR, GOAL_COVER = 0.01, 0.95


@dataclass(frozen=True)
class Case:
    """One block, estimated and exact."""

    network: int
    block: str
    size: int
    steps: int
    probes: int
    ct: float
    low: float
    high: float
    type: str
    exact_ct: float
    exact_type: str

    @property
    def error(self) -> float:
        """Relative to the exact C_t."""
        return 0.0 if self.ct == self.exact_ct else abs(self.ct - self.exact_ct) / abs(self.exact_ct or math.inf)

    @property
    def covered(self) -> bool:
        slack = ROUND_OFF * max(1.0, abs(self.exact_ct)) if math.isfinite(self.exact_ct) else 0.0
        return self.low - slack <= self.exact_ct <= self.high + slack

    @property
    def wrong(self) -> bool:
        """Named with certainty, and not what it is."""
        return "undecided" not in (self.type, self.exact_type) and self.type != self.exact_type


def problem(index: int, most: int = MOST) -> tuple[nn.Sequential, torch.Tensor, torch.Tensor, nn.Module]:
    """A random network with its data and criterion, trained for a random number of steps."""
    draw = np.random.default_rng(index)
    features, outputs = int(draw.integers(3, 13)), int(draw.integers(2, 6))
    size = 0
    while not LEAST <= size <= most:
        widths = [features, *draw.integers(3, 25, int(draw.integers(1, 5))).tolist(), outputs]
        size = sum((a + 1) * b for a, b in pairwise(widths))
    activation = ACTIVATIONS[int(draw.integers(len(ACTIVATIONS)))]
    scale = float(np.exp(draw.uniform(np.log(0.5), np.log(2.5))))
    with torch.random.fork_rng():
        torch.manual_seed(index)
        model = nn.Sequential(*[m for a, b in pairwise(widths) for m in (nn.Linear(a, b), activation())][:-1]).double()
        x = torch.randn(EXAMPLES, features, dtype=torch.float64)
        teacher = x @ torch.randn(features, outputs, dtype=torch.float64)
        noise = torch.randint(0, outputs, (EXAMPLES,))
    criterion: nn.Module
    if draw.random() < 0.5:
        criterion, y = nn.CrossEntropyLoss(), noise if draw.random() < 0.3 else teacher.argmax(1)
    else:
        criterion, y = nn.MSELoss(), torch.sin(teacher)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(scale)
    adam = draw.random() < 0.5
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2) if adam else torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(TRAINED[int(draw.integers(len(TRAINED)))]):
        optimiser.zero_grad()
        criterion(model(x), y).backward()
        optimiser.step()
    return model, x, y, criterion


def cases(index: int, most: int = MOST) -> Iterator[Case]:
    """Every block of one network of at most ``most`` parameters under every setting."""
    model, x, y, criterion = problem(index, most)
    replica = Replica(model, criterion, freeze([(x, y)], samples=None), dtype=torch.float64, device="cpu", threads=1)
    layers = [layer for layer in replica.layers if layer.size >= SMALLEST_LAYER]
    for block in (whole_network(replica.layers), *layers):
        exact = hesd(_spectrum(replica, block, seed=index, method="dense"))
        for steps, probes in SETTINGS:
            found = hesd(_spectrum(replica, block, seed=index, method="lanczos", steps=steps, probes=probes))
            place = (index, block.name, block.size, steps, probes)
            yield Case(*place, found.ct, *found.interval, found.type, exact.ct, exact.type)


def _spectrum(replica: Replica, block: Layer, **settings: Any) -> Spectrum:
    label = None if block.name == WHOLE else block.name
    with replica.guard():
        *_, last = measure(replica, block, label=label, snapshot="now", **settings)
    assert last.spectrum is not None
    return last.spectrum


def summary(found: Sequence[Case], *, whole: bool, steps: int, probes: int) -> dict[str, Any]:
    """One row of the table."""
    mine = [c for c in found if (c.block == WHOLE, c.steps, c.probes) == (whole, steps, probes)]
    finite = [c for c in mine if math.isfinite(c.exact_ct)]
    errors = np.array([c.error for c in finite])
    return {
        "blocks": "whole networks" if whole else "layers",
        "steps": steps,
        "probes": probes,
        "cases": len(mine),
        "mainly_negative": sum(c.exact_type == "MN" for c in mine),
        "near_the_limit": sum(abs(c.exact_ct - LIMIT) <= NEAR for c in mine),
        "error_median": float(np.median(errors)),
        "error_95": float(np.quantile(errors, 0.95)),
        "error_largest": float(errors.max()),
        "within_1_percent": float((errors <= GOAL_ERROR).mean()),
        "covered": float(np.mean([c.covered for c in mine])),
        "width_median": float(np.median([c.high - c.low for c in finite])),
        "undecided": sum(c.type == "undecided" for c in mine),
        "wrong": sum(c.wrong for c in mine),
    }


def _of_one(index: int, most: int) -> list[Case]:
    torch.set_num_threads(1)
    return list(cases(index, most))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", type=int, default=300)
    parser.add_argument("--most", type=int, default=MOST, help="parameters")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--results", type=Path, default=RESULTS)
    asked, began = parser.parse_args(), time.perf_counter()
    with ProcessPoolExecutor(asked.workers) as pool:
        found = [
            case
            for part in pool.map(partial(_of_one, most=asked.most), range(asked.networks), chunksize=5)
            for case in part
        ]
    rows = [summary(found, whole=whole, steps=m, probes=p) for whole in (True, False) for m, p in SETTINGS]
    print(f"{'':15}{'steps':>6}{'probes':>7}{'cases':>7}{'MN':>5}{'error 50 %':>12}{'95 %':>9}{'largest':>9}", end="")
    print(f"{'≤ 1 %':>8}{'covered':>9}{'width':>10}{'undecided':>11}{'wrong':>7}")
    for r in rows:
        print(f"{r['blocks']:15}{r['steps']:6}{r['probes']:7}{r['cases']:7}{r['mainly_negative']:5}", end="")
        print(f"{r['error_median']:12.1e}{r['error_95']:9.1e}{r['error_largest']:9.1e}", end="")
        print(f"{r['within_1_percent']:8.3f}{r['covered']:9.3f}{r['width_median']:10.1e}", end="")
        print(f"{r['undecided']:11}{r['wrong']:7}")
    seconds = time.perf_counter() - began
    defaults = [c for c in found if (c.steps, c.probes) == DEFAULTS]
    missed = [c for c in found if c.wrong or not c.covered] + [c for c in defaults if c.error > GOAL_ERROR]
    print(f"{asked.networks} networks in {seconds:.0f} s; {len(missed)} cases missed a goal (in the file).")
    machine = {"torch": torch.__version__, "python": platform.python_version(), "seconds": round(seconds)}
    kept = {"networks": asked.networks, **machine, "rows": rows, "missed": [asdict(c) for c in missed]}
    asked.results.write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
