"""What one product with a layer costs, in gradients of the whole network: `python benchmarks/products.py [names]`.

Prints one line per layer of each network: building the gradient graph, one product with the Hessian and with the
Gauss-Newton block, one column of a batch where batches are taken, and the arithmetic limit: multiplications of matrix
products and convolutions in a Hessian product over those of a gradient. A product that did nothing else, at the
gradient's speed, would cost as much. Everything is measured in one process, so compare ratios.
"""

import argparse
import statistics
import time

import torch
from models import MODELS, build
from torch.utils.flop_counter import FlopCounterMode

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.batching import Batching
from lhexplore.curvature.layers import whole_network
from lhexplore.curvature.operators import LayerGGN, LayerHessian
from lhexplore.curvature.replica import Replica

DTYPES = {"float32": torch.float32, "float64": torch.float64}


def seconds(function, repeats):
    """Least time of a few calls, after a first one: what else runs on the machine only ever adds to it."""
    function()
    taken = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return min(taken)


def flops(function):
    """Multiplications and additions of the matrix products and convolutions in a call."""
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


def measure(name, *, dtype, threads, repeats):
    """Measure and print one network; the means of Hessian product and limit come last."""
    model, (x, y), criterion = build(name)
    replica = Replica(model, criterion, freeze((x, y)), dtype=dtype, device="cpu", threads=threads)
    plain, weights = model.to(dtype), [p.requires_grad_() for p in model.parameters()]
    x = x.to(dtype)

    def gradient():
        torch.autograd.grad(criterion(plain(x), y), weights)

    unit, work = seconds(gradient, 3 * repeats), flops(gradient)
    print(
        f"\n{name}, {dtype}, {len(y)} examples, {threads} threads; one gradient of {len(replica.layers)} layers: ",
        end="",
    )
    print(f"{1e3 * unit:.1f} ms, {work / 1e9:.2f} GFLOP")
    print(f"{'layer':>20} {'size':>7} {'build':>7} {'Hv':>7} {'limit':>7} {'Gv':>7} {'column':>7}  chunk  graph")
    rows = []
    for layer in (*replica.layers, whole_network(replica.layers)):
        hessian, ggn = LayerHessian(replica, layer), LayerGGN(replica, layer)
        v = torch.randn(hessian.size).to(dtype)
        started = time.perf_counter()
        hessian.matvec(v)
        first = time.perf_counter() - started
        product, other = (seconds(lambda op=op, v=v: op.matvec(v), repeats) for op in (hessian, ggn))
        limit = flops(lambda op=hessian, v=v: op.matvec(v)) / work
        chunk = Batching(hessian).chunk
        columns = torch.randn(hessian.size, min(chunk, hessian.size)).to(dtype)
        column = seconds(lambda op=hessian, columns=columns: op.matmat(columns), repeats) / columns.shape[1]
        ratios = [
            max(first - product, 0) / unit,
            product / unit,
            limit,
            other / unit,
            column / unit if chunk > 1 else 0,
        ]
        text = " ".join(f"{value:7.3f}" if value else "      –" for value in ratios)
        print(f"{layer.name:>20} {layer.size:7} {text} {chunk:6} {hessian.graph_bytes / 2**20:5.1f} MiB", flush=True)
        rows.append(ratios)
    again = seconds(gradient, 3 * repeats)
    hv, limit = (statistics.fmean(row[i] for row in rows[:-1]) for i in (1, 2))
    print(
        f"mean over the layers: {hv:.3f} gradients a product, limit {limit:.3f}; gradient again: {1e3 * again:.1f} ms"
    )


def main():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(MODELS), help="networks (default: all)")
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    for name in chosen.names:
        measure(name, dtype=DTYPES[chosen.dtype], threads=chosen.threads, repeats=chosen.repeats)


if __name__ == "__main__":
    main()
