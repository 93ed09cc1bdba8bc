"""What traces beside a training cost, in training steps: `python benchmarks/monitor.py [--threads 1]`.

One measurement (all layers, 4 random vectors, 32 examples) must cost less than ten training steps with batches of 64:
at every 100 steps that is less than 10 % of the training. Medians, the two interleaved; the model copy is made once,
before. "weights" is what writing a snapshot costs beside it. Processor time, which a busy machine changes least; tiny
networks exceed the goal, because a measurement costs some 6 ms of Python whatever it multiplies.
"""

import argparse
import statistics
import tempfile
import time
import warnings
from itertools import pairwise

import torch
from torch import nn

import lhexplore as lh
from lhexplore.session.recording import record

BATCH = 64
LIMIT = 10.0  # training steps


def conv():
    def block(inside, out, stride):
        return (nn.Conv2d(inside, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU())

    layers = (*block(3, 16, 1), *block(16, 16, 1), *block(16, 32, 2), *block(32, 32, 1), *block(32, 64, 2))
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)), torch.randn(
        BATCH, 3, 32, 32
    )


def mlp(activation):
    widths = (784, 512, 512, 256)
    layers = [part for a, b in pairwise(widths) for part in (nn.Linear(a, b), activation())]
    return nn.Sequential(*layers, nn.Linear(256, 10)), torch.randn(BATCH, 784)


def small():
    return nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 32), nn.Tanh(), nn.Linear(32, 10)), torch.randn(
        BATCH, 64
    )


NETWORKS = {
    "conv net, BatchNorm, ReLU": conv,
    "MLP, ReLU": lambda: mlp(nn.ReLU),
    "MLP, GELU": lambda: mlp(nn.GELU),
    "tiny MLP, tanh": small,
}
OPTIMISERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.9),
    "Adam": lambda p: torch.optim.Adam(p, lr=1e-3),
}


def measured(build, optimiser, repeats):
    torch.manual_seed(0)
    model, x = build()
    y, criterion = torch.randint(0, 10, (BATCH,)), nn.CrossEntropyLoss()
    opt = OPTIMISERS[optimiser](model.parameters())
    steps, points, writes = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        rec = record(model, folder, schedule=lambda _: False, curvature_every=1, data=(x, y), loss=criterion)
        opening = time.process_time() - began
        plain = lh.record(model, folder, every=1)
        for step in range(repeats):
            for _ in range(5):
                began = time.process_time()
                opt.zero_grad()
                criterion(model(x), y).backward()
                opt.step()
                steps.append(time.process_time() - began)
            began = time.process_time()
            rec.step(step)
            points.append(time.process_time() - began)
            began = time.process_time()
            plain.step(step)
            writes.append(time.process_time() - began)
    return [statistics.median(times) for times in (steps, points, writes)], opening


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    warnings.simplefilter("ignore")
    print(f"batch {BATCH}, {arguments.threads} threads; goal: traces below {LIMIT:g} steps, at every 100 below 10 %\n")
    print(f"{'network':<28}{'optimiser':<11}{'step ms':>9}{'traces ms':>11}{'in steps':>10}{'weights':>9}{'open s':>8}")
    for name, build in NETWORKS.items():
        for optimiser in OPTIMISERS:
            (step, point, write), opening = measured(build, optimiser, arguments.repeats)
            verdict = "" if point < LIMIT * step else "  ABOVE THE GOAL"
            print(
                f"{name:<28}{optimiser:<11}{step * 1e3:>9.2f}{point * 1e3:>11.2f}{point / step:>10.1f}"
                f"{write / step:>9.1f}{opening:>8.2f}{verdict}"
            )


if __name__ == "__main__":
    main()
