"""The data sets, small on purpose, and the half of them that is set aside for the final figures.

The split is by name and was fixed before any figure was looked at. Every data set gives three parts: one to train on,
a held-out one that the rules may see, and a test part that only the truths know.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray
from sklearn import datasets as sk
from sklearn.linear_model import Ridge

DEVELOPMENT = (
    "digits", "iris", "diabetes", "moons", "blobs", "teacher_tanh", "quantiles", "friedman1", "diabetes_regression",
)  # fmt: skip
SET_ASIDE = (
    "wine", "breast_cancer", "swiss_roll", "circles", "classification", "teacher_relu", "hastie", "friedman2",
    "friedman3_regression",
)  # fmt: skip
REGRESSION = ("diabetes_regression", "friedman3_regression")
IDLE_FEATURES = 4  # of noise beside the two coordinates of a drawing


@dataclass(frozen=True, eq=False)
class Part:
    """Inputs and targets: classes, or one real number per example."""

    x: Float[ndarray, "n d"]
    y: Int[ndarray, " n"] | Float[ndarray, "n 1"]


@dataclass(frozen=True, eq=False)
class Parts:
    """One data set, cut into three."""

    train: Part
    held_out: Part
    test: Part
    classes: int  # 0 for a regression


def load(name: str, *, seed: int, noise: float = 0.0, centred: bool = True) -> Parts:
    """Draw or read a data set; ``noise`` is the share of examples, in every part, whose class is drawn at random.

    ``centred`` inputs have mean 0 and variance 1; the others lie between 0 and 1.
    """
    rng = np.random.default_rng(seed)
    x, y, count = _SETS[name](rng)
    order = rng.permutation(len(x))
    x, y = np.asarray(x, np.float64)[order], np.asarray(y)[order]
    rest = (len(x) - count) // 2
    cuts = slice(0, count), slice(count, count + rest), slice(count + rest, count + 2 * rest)
    low, high, mean, std = (f(x[cuts[0]], axis=0) for f in (np.min, np.max, np.mean, np.std))
    x = (x - mean) / np.maximum(std, 1e-9) if centred else (x - low) / np.maximum(high - low, 1e-9)
    if name in REGRESSION:
        y = ((y - y[cuts[0]].mean()) / y[cuts[0]].std())[:, None]
        return Parts(*(Part(x[cut], y[cut]) for cut in cuts), classes=0)
    y = y.astype(np.int64)
    classes = int(y.max()) + 1
    drawn = rng.permutation(len(y))[: round(noise * len(y))]
    y[drawn] = rng.integers(classes, size=len(drawn))
    return Parts(*(Part(x[cut], y[cut]) for cut in cuts), classes=classes)


def _digits(rng: np.random.Generator):
    x, y = sk.load_digits(return_X_y=True)
    rows = rng.permutation(len(x))[:800]
    coarse = x.reshape(-1, 4, 2, 4, 2).mean(axis=(2, 4)).reshape(len(x), 16)
    return coarse[rows], y[rows], 200


def _levels(values: Float[ndarray, " n"], count: int) -> Int[ndarray, " n"]:
    """Classes of equal size from a real number."""
    return np.searchsorted(np.quantile(values, np.arange(1, count) / count), values)


def _diabetes(_: np.random.Generator):
    """Real inputs; the real target holds more chance than structure, so the classes are those of its linear fit."""
    x, y = sk.load_diabetes(return_X_y=True)
    return x, _levels(Ridge(0.1).fit(x, y).predict(x), 3), 150


def _drawing(make: Callable[..., tuple[ndarray, ndarray]], spread: float, **settings: float):
    def draw(rng: np.random.Generator):
        x, y = make(n_samples=500, noise=spread, random_state=int(rng.integers(2**31)), **settings)
        return np.hstack([x, rng.normal(size=(len(x), IDLE_FEATURES))]), y, 120

    return draw


def _teacher(activation: Callable[[ndarray], ndarray]):
    def draw(rng: np.random.Generator):
        x = rng.normal(size=(600, 8))
        scores = activation(x @ rng.normal(size=(8, 6))) @ rng.normal(size=(6, 4))
        return x, (scores - scores.mean(0)).argmax(1), 180

    return draw


def _made(make: Callable[..., tuple[ndarray, ndarray]], count: int, **settings: object):
    return lambda rng: (*make(random_state=int(rng.integers(2**31)), **settings), count)


def _binned(make: Callable[..., tuple[ndarray, ndarray]], count: int, levels: int, **settings: object):
    def draw(rng: np.random.Generator):
        x, t = make(random_state=int(rng.integers(2**31)), **settings)
        return x, _levels(t, levels), count

    return draw


def _hastie(rng: np.random.Generator):
    x, y = sk.make_hastie_10_2(n_samples=600, random_state=int(rng.integers(2**31)))
    return x, y > 0, 180


_SETS = {
    "digits": _digits,
    "iris": lambda _: (*sk.load_iris(return_X_y=True), 60),
    "wine": lambda _: (*sk.load_wine(return_X_y=True), 70),
    "breast_cancer": lambda _: (*sk.load_breast_cancer(return_X_y=True), 150),
    "diabetes": _diabetes,
    "diabetes_regression": lambda _: (*sk.load_diabetes(return_X_y=True), 150),
    "moons": _drawing(sk.make_moons, 0.15),
    "circles": _drawing(sk.make_circles, 0.08, factor=0.5),
    "blobs": _made(sk.make_blobs, 150, n_samples=600, n_features=5, centers=5, cluster_std=3.0),
    "quantiles": _made(sk.make_gaussian_quantiles, 180, n_samples=600, n_features=4, n_classes=3),
    "classification": _made(
        sk.make_classification, 160, n_samples=600, n_features=12, n_informative=6, n_classes=4, class_sep=1.5
    ),
    "teacher_tanh": _teacher(np.tanh),
    "teacher_relu": _teacher(lambda z: np.maximum(z, 0)),
    "hastie": _hastie,
    "friedman1": _binned(sk.make_friedman1, 180, 3, n_samples=600, n_features=8, noise=0.3),
    "friedman2": _binned(sk.make_friedman2, 180, 3, n_samples=600, noise=10.0),
    "friedman3_regression": _made(sk.make_friedman3, 180, n_samples=600, noise=0.1),
    "swiss_roll": _binned(sk.make_swiss_roll, 160, 4, n_samples=600, noise=0.3),
}
