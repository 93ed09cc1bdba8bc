"""How long the diagnosis of a whole run takes: ``python benchmarks/diagnose_time.py``.

30 layers × 50 snapshots, spectra of 1,000 nodes made up at random. Cold: nothing is known of the spectra but their
nodes. Warm: the same objects again, whose metrics are remembered. Process time of one core, the median of several;
each cold run has fresh spectra.

The last row is a session of as many blocks, of 20 parameters each, computed for it (half a minute): ``findings()`` and
``summary()`` of what is cached, once right after computing (new) and once more (known). ``files`` is a new session that
reads all of it from the folder.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

import lhexplore as lh
from lhexplore.diagnosis import Course, diagnose_run
from lhexplore.layer_state import LayerState
from lhexplore.spectrum import Spectrum

GOAL_MS = 100.0
SUMMARY_MS = 2000.0
NODES, PROBES = 1000, 5


def exact(layer: str, label: str, values: np.ndarray, _: np.random.Generator) -> Spectrum:
    return Spectrum(layer, label, NODES, values, np.full(NODES, 1 / NODES), "dense")


def estimated(layer: str, label: str, values: np.ndarray, rng: np.random.Generator) -> Spectrum:
    probe = rng.permutation(np.repeat(np.arange(PROBES), NODES // PROBES))
    return Spectrum(
        layer, label, 100 * NODES, values, np.full(NODES, 1 / NODES), "lanczos",
        probe=probe, probes=PROBES, steps=NODES // PROBES,
    )  # fmt: skip


def run(make: Callable[..., Spectrum], layers: int, snapshots: int, seed: int) -> Course:
    """A training as it often is: losses and curvature fall, some eigenvalues are negative, everything is recorded."""
    rng = np.random.default_rng(seed)
    labels = tuple(f"step-{k:03d}" for k in range(snapshots))
    names = [f"layer{i}" for i in range(layers)]
    spectra, states = {}, {}
    for name in names:
        for k, label in enumerate(labels):
            signs = np.where(rng.random(NODES) < 0.15, -0.05, 1.0)
            spectra[name, label] = make(name, label, np.sort(signs * 10 ** rng.uniform(-5, 0, NODES)) * 0.97**k, rng)
            states[name, label] = LayerState(name, label, NODES, gradient_norm=0.95**k)
    losses = {
        label: {"loss": 2.3 * 0.93**k, "held_out_loss": 2.3 * 0.97**k, "accuracy": min(1.0, 0.1 + 0.03 * k), "lr": 0.1}
        for k, label in enumerate(labels)
    }
    return Course(labels, spectra, losses=losses, states=states)


def taken(function: Callable[[], object]) -> float:
    """Process time of a call, in ms."""
    start = time.process_time()
    function()
    return 1e3 * (time.process_time() - start)


def in_a_session(layers: int, snapshots: int) -> dict[str, float]:
    """What a session of computed spectra takes, in ms."""
    torch.manual_seed(0)
    model = nn.Sequential(*(made for _ in range(layers) for made in (nn.Linear(4, 4), nn.Tanh())))
    x, y = torch.randn(32, 4), torch.randint(0, 4, (32,))
    states = {}
    for k in range(snapshots):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
        states[f"step-{k}"] = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        settings = {"snapshots": states, "held_out": [(x + 0.1, y)], "cache": folder}
        with lh.Session(model, [(x, y)], nn.CrossEntropyLoss(), **settings) as session:
            session.compute(progress=False)
            times = {
                f"{what} {state}": taken(function)
                for what, function in (("findings", session.findings), ("summary", session.summary))
                for state in ("new", "known")
            }
        with lh.Session(model, [(x, y)], nn.CrossEntropyLoss(), **settings) as session:
            times["findings from files"] = taken(session.findings)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=30)
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    for what, make in (("exact", exact), ("estimated", estimated)):
        times: dict[str, list[float]] = {"cold": [], "warm": []}
        for seed in range(arguments.repeats + 1):  # the first one also pays for what is imported late
            course = run(make, arguments.layers, arguments.snapshots, seed)
            for state in times:
                start = time.process_time()
                found = diagnose_run(course)
                times[state].append(1e3 * (time.process_time() - start))
        cold, warm = (statistics.median(values[1:]) for values in times.values())
        print(
            f"{what:9}  {arguments.layers} layers × {arguments.snapshots} snapshots  cold {cold:5.1f} ms  "
            f"warm {warm:5.1f} ms  ({len(found.findings)} findings)"
        )
        print(f"below {GOAL_MS:g} ms: {'reached' if cold < GOAL_MS else 'NOT reached'}")
    times = in_a_session(arguments.layers, arguments.snapshots)
    print("session    " + "  ".join(f"{what} {ms:.1f} ms" for what, ms in times.items()))
    reached = times["findings known"] < GOAL_MS and times["summary new"] < SUMMARY_MS
    print(
        f"findings known below {GOAL_MS:g} ms, summary new below {SUMMARY_MS:g} ms: "
        f"{'reached' if reached else 'NOT reached'}"
    )


if __name__ == "__main__":
    main()
