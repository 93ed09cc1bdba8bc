"""What one product costs, in gradients of the same loss: `python benchmarks/products.py [--single]`.

Prints one line per layer of a small convolutional network: building the gradient graph, one product with the Hessian
and with the Gauss-Newton block, and one column of a batch. Numbers are ratios measured in one process on one thread.
"""

import statistics
import sys
import time

import torch
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.layers import whole_network
from lhexplore.curvature.operators import LayerGGN, LayerHessian
from lhexplore.curvature.planner import chunk_size
from lhexplore.curvature.replica import Replica

REPEATS = 9


def seconds(function):
    """Median over a few calls, after a first one."""
    function()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        function()
        taken.append(time.perf_counter() - started)
    return statistics.median(taken)


def network():
    """3,658 parameters, images of 8 × 8."""
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.Tanh(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 32),
        nn.Tanh(),
        nn.Linear(32, 10),
    )


def main(dtype):
    """Measure and print."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = freeze((torch.randn(512, 1, 8, 8), torch.randint(0, 10, (512,))))
    replica = Replica(network(), nn.CrossEntropyLoss(), data, dtype=dtype, device="cpu", threads=1)
    everything = {name: tensor.clone().requires_grad_() for name, tensor in replica.tensors.items()}

    def gradient():
        with replica.guard():
            torch.autograd.grad(replica.batch_loss(0, everything), list(everything.values()))

    unit = seconds(gradient)
    first = replica.layers[0]
    LayerHessian(replica, first).matvec(torch.ones(first.size, dtype=dtype))  # warm: the first double backward is slow
    print(
        f"{dtype}, one gradient of all {sum(t.numel() for t in everything.values()):,} parameters: {1e3 * unit:.2f} ms"
    )
    print(f"{'layer':>14} {'size':>6} {'build':>7} {'Hv':>7} {'Gv':>7} {'column':>7}  chunk  graph")
    for layer in (*replica.layers, whole_network(replica.layers)):
        started = time.perf_counter()
        hessian, ggn = LayerHessian(replica, layer), LayerGGN(replica, layer)
        v = torch.randn(hessian.size).to(dtype)
        hessian.matvec(v)
        build = time.perf_counter() - started
        product, other = seconds(lambda op=hessian, v=v: op.matvec(v)), seconds(lambda op=ggn, v=v: op.matvec(v))
        chunk = chunk_size(hessian.size, graph_bytes=hessian.graph_bytes)
        columns = torch.randn(hessian.size, chunk).to(dtype)
        column = seconds(lambda op=hessian, columns=columns: op.matmat(columns)) / chunk
        ratios = " ".join(f"{value / unit:7.2f}" for value in (build - product, product, other, column))
        print(f"{layer.name:>14} {layer.size:6} {ratios} {chunk:6} {hessian.graph_bytes / 2**20:5.1f} MiB")


if __name__ == "__main__":
    main(torch.float32 if "--single" in sys.argv else torch.float64)
