"""Which trainings there are: states × data sets × architectures × seeds, each a name and a frozen recipe."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from .datasets import REGRESSION
from .networks import Shape

ADAMW, SGD, ADAHESSIAN = "AdamW", "SGD", "AdaHessian"
MOMENTUM = 0.9  # of SGD
MOST_STEPS = 6000
STATES = ("healthy", "fitted", "noise50", "noise100", "narrow", "slow", "idle", "overtrained", "manipulated")


@dataclass(frozen=True)
class Run:
    """One training. ``stop``: "best" and "patience" look at the held-out loss, "fit" at the training part, "steps"."""

    dataset: str
    state: str
    kind: str  # what was varied within the state
    number: int
    shape: Shape
    optimiser: str = ADAMW
    rate: float = 5e-3
    batch: int = 32  # 0: all at once
    noise: float = 0.0
    centred: bool = True
    stop: str = "steps"
    steps: int = MOST_STEPS
    target: float = 0.05  # training loss at which a "fit" stops
    clip: str = ""  # "" | "norm" | "value"
    limit: float = 0.0
    reference: str = ""  # name of the run it is compared with
    whole: bool = True  # whether spectra of the whole network are wanted
    data_seed: int = field(default=0)

    @property
    def name(self) -> str:
        return f"{self.dataset}-{self.state}-{self.kind}-{self.number}"

    @property
    def seed(self) -> int:
        return zlib.crc32(self.name.encode())


def plan(dataset: str) -> Iterator[Run]:
    """List the trainings on one data set."""
    rng = np.random.default_rng(zlib.crc32(dataset.encode()))
    classify = dataset not in REGRESSION

    def widths(low: int, high: int) -> tuple[int, ...]:
        return tuple([int(rng.integers(low, high))] * int(rng.integers(2, 4)))

    def common(i: int) -> dict[str, object]:
        return {"number": i, "dataset": dataset, "data_seed": i}

    for i in range(6):
        name = ("relu", "tanh", "gelu")[i % 3]
        sgd = i in (1, 3, 5)
        yield Run(
            **common(i),
            state="healthy",
            kind=name,
            shape=Shape(widths(12, 18), name, norm=i in (2, 3)),
            optimiser=SGD if sgd else ADAMW,
            rate=0.03 if sgd else 5e-3,
            centred=i != 5,
            stop=("best", "patience")[i % 2],
            steps=1500,
        )
    for i in range(3) if classify else ():
        name = ("relu", "tanh", "gelu")[i]
        shape = Shape(widths(16, 21), name, norm=i == 2)
        sgd = i == 1
        for state, kind, noise in (
            ("fitted", "a", 0.0), ("fitted", "b", 0.0), ("noise50", name, 0.5), ("noise100", name, 1.0),
        ):  # fmt: skip
            yield Run(
                **common(i) | {"data_seed": 10 * i + (kind == "b")},
                state=state,
                kind=kind,
                shape=shape,
                optimiser=SGD if sgd else ADAMW,
                rate=0.05 if sgd else 5e-3,
                noise=noise,
                stop="fit",
                target=float(rng.choice([0.1, 0.05, 0.02])),
                reference="" if kind == "a" else f"{dataset}-fitted-a-{i}",
            )
    narrow = (
        ((2, 2), "tanh"),
        ((3, 3), "tanh"),
        ((2, 2, 2), "gelu"),
        ((1, 1), "tanh"),
        ((3, 3), "relu"),
        ((16, 1, 16), "tanh"),
    )
    for i, (chosen, name) in enumerate(narrow):
        kind = f"{name}-" + "x".join(map(str, chosen))
        yield Run(**common(i), state="narrow", kind=kind, shape=Shape(chosen, name), batch=0, rate=1e-2, steps=4000)
    for i, rate in enumerate((1e-3, 1e-4)):
        yield Run(
            **common(i), state="slow", kind="sgd", shape=Shape((14, 14), "tanh"), optimiser=SGD, rate=rate, steps=600
        )
    deep = ("sigmoid", "tanh")[int(rng.integers(2))]
    faults = {
        "dead": Shape((20, 20, 20), "relu", plant="dead", at=int(rng.integers(0, 3))),
        "unused": Shape((14, 14, 14), ("relu", "gelu")[int(rng.integers(2))], plant="gate", at=1, gate=0.0),
        "faint": Shape((14, 14, 14), ("relu", "tanh")[int(rng.integers(2))], plant="gate", at=1, gate=1e-4),
        "deep": Shape((12,) * 9, deep, gain=1.0 if deep == "sigmoid" else 0.4),
    }
    for kind, shape in faults.items():
        yield Run(**common(0), state="idle", kind=kind, shape=shape, steps=500, whole=False)
    for i in range(2):
        name = ("relu", "tanh")[i]
        yield Run(**common(i), state="overtrained", kind=name, shape=Shape(widths(14, 19), name), rate=1e-2, steps=4000)
    clipped = {"optimiser": SGD, "rate": 0.05, "steps": 800}
    manipulated = {
        "norm": clipped | {"clip": "norm", "limit": 0.01},
        "value": clipped | {"clip": "value", "limit": 1e-3},
        "adahessian": {"optimiser": ADAHESSIAN, "rate": 0.15, "steps": 400},
    }
    for kind, settings in manipulated.items():
        yield Run(**common(0), state="manipulated", kind=kind, shape=Shape((14, 14), "tanh"), **settings)
