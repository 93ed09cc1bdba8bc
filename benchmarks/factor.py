"""Where the time of the factor method goes, in gradients: `python benchmarks/factor.py [names]`.

All layers of each network at once. Next to every stage stands its arithmetic limit: the floating-point operations it
cannot do without, at the rate of a large matrix product on the same threads; for backward passes at the rate that the
gradient itself reaches. Gradient and method take turns in one process, so compare ratios.
"""

import argparse
import ctypes
import gc
import statistics
import time
from collections import Counter
from pathlib import Path
from unittest.mock import patch

import torch
from models import MODELS, build
from torch.utils.flop_counter import FlopCounterMode

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor import factor_spectra, gram, group, parts, spectra
from lhexplore.curvature.replica import Replica

MEMORY = 2 * 2**30
STAGES = ("forward pass", "backward passes", "rows", "Gram matrices", "eigenvalues")


def timed(seconds, stage, function, *, less=()):
    """The function, its time added to a stage, without that of stages inside it."""

    def run(*args, **kwargs):
        started, inside = time.perf_counter(), sum(seconds[other] for other in less)
        result = function(*args, **kwargs)
        seconds[stage] += time.perf_counter() - started - sum(seconds[other] for other in less) + inside
        return result

    return run


def stages(run):
    """Seconds by stage of one run."""
    seconds = Counter()
    with (
        patch.object(spectra, "record", timed(seconds, STAGES[0], spectra.record)),
        patch.object(torch.autograd, "grad", timed(seconds, STAGES[1], torch.autograd.grad)),
        patch.object(parts.Part, "add", timed(seconds, STAGES[2], parts.Part.add)),
        patch.object(parts.Part, "write", timed(seconds, STAGES[2], parts.Part.write)),
        patch.object(group, "rows_gram", timed(seconds, STAGES[3], gram.rows_gram, less=STAGES[2:3])),
        patch.object(group, "add_columns_gram", timed(seconds, STAGES[3], gram.add_columns_gram, less=STAGES[2:3])),
        patch.object(group, "solve", timed(seconds, STAGES[4], gram.solve)),
    ):
        started = time.perf_counter()
        run()
        return seconds, time.perf_counter() - started


def rate(threads):
    """Floating-point operations per second of a large matrix product."""
    torch.set_num_threads(threads)
    a, best = torch.randn(2048, 2048), float("inf")
    for _ in range(8):
        started = time.perf_counter()
        a @ a
        best = min(best, time.perf_counter() - started)
    return 2 * 2048**3 / best


def flops(function):
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def limits(replica, model, x, results, unit, work, speed):
    """Least seconds by stage."""
    with torch.no_grad():
        forward = flops(lambda: model(x))
    passes = results[0].rows / len(x)
    vectors = x.dim() == 2  # then the rows of linear layers are outer products, and never formed
    gram_work = 0
    for r in results:  # half of a full product, by symmetry
        wide = getattr(model.get_submodule(r.layer), "out_features", r.size) if vectors else r.size
        gram_work += min(r.size * r.rows * min(r.size, r.rows), wide * r.rows**2)
    solving = sum(4 / 3 * min(r.size, r.rows) ** 3 for r in results)
    return {
        STAGES[0]: forward / work * unit,
        STAGES[1]: passes * forward / work * unit,
        STAGES[2]: 0 if vectors else passes * forward / speed,  # as many as the weights' gradients take
        STAGES[3]: gram_work / speed,
        STAGES[4]: solving / speed,
    }


def peak(run):
    """Megabytes of resident memory above what was there before."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = resident()
    run()
    return resident("VmHWM") - before


def resident(which="VmRSS"):
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(which)]
    return int(line.split()[1]) / 1024


def measure(name, *, kinds, threads, repeats):
    model, (x, y), criterion = build(name)
    replica = Replica(model, criterion, freeze((x, y)), dtype=torch.float32, device="cpu", threads=threads)
    chosen = [layer for layer in replica.layers if layer.status == "ok" and (not kinds or layer.kind in kinds)]
    weights = [p.requires_grad_() for p in model.parameters()]

    def gradient():
        torch.autograd.grad(criterion(model(x), y), weights)

    def spectra_of_all():
        return [step.result for step in factor_spectra(replica, chosen, memory=MEMORY) if step.result]

    speed = rate(threads)
    gradient()
    memory = peak(spectra_of_all), peak(gradient)
    units, runs, results = [], [], spectra_of_all()
    for _ in range(repeats):
        for _ in range(3):
            started = time.perf_counter()
            gradient()
            units.append(time.perf_counter() - started)
        runs.append(stages(spectra_of_all))
    unit, whole = statistics.median(units), statistics.median(total for _, total in runs)
    least = limits(replica, model, x, results, unit, flops(gradient), speed)
    print(f"\n{name}: {len(chosen)} layers, {len(x)} examples, {results[0].rows} rows, {threads} threads")
    print(f"one gradient {1e3 * unit:.1f} ms; matrix products {speed / 1e9:.0f} GFLOP/s")
    print(f"{'stage':>16} {'ms':>8} {'gradients':>10} {'limit':>8}")
    for stage in STAGES:
        taken = statistics.median(seconds[stage] for seconds, _ in runs)
        print(f"{stage:>16} {1e3 * taken:8.1f} {taken / unit:10.2f} {least[stage] / unit:8.2f}")
    print(f"{'all':>16} {1e3 * whole:8.1f} {whole / unit:10.2f} {sum(least.values()) / unit:8.2f}")
    print(f"resident memory at most {memory[0]:.0f} MB more (one gradient: {memory[1]:.0f} MB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=[], help=f"of {', '.join(MODELS)}; ResNet-20 if none is given")
    parser.add_argument("--kinds", nargs="*", default=[], help="classes of layers, such as Conv2d Linear; all if none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    options = parser.parse_args()
    for chosen_name in options.names or ["resnet20"]:
        measure(chosen_name, kinds=options.kinds, threads=options.threads, repeats=options.repeats)
