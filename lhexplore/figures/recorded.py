"""Which of the recorded numbers are losses and accuracies, what people call them, and which belong together."""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy import ndarray

HELD_OUT = ("held", "val", "test", "eval", "dev")
_ACCURACY = re.compile("accuracy|(?<![a-z])acc(?![a-z])", re.IGNORECASE)
_OF_TRAINING = re.compile("(?:train(?:ing)?_)?(loss|acc)(?:uracy)?", re.IGNORECASE)


class Curve(NamedTuple):
    """A number over the snapshots, NaN where it is not known; ``place`` is that of its colour among the curves."""

    name: str
    values: Float[ndarray, " snapshots"]
    place: int


def is_loss(key: str) -> bool:
    """Tell whether a recorded number is a loss, by its name."""
    return "loss" in key.lower()


def is_accuracy(key: str) -> bool:
    """Tell whether a recorded number is an accuracy, by its name."""
    return not is_loss(key) and _ACCURACY.search(key) is not None


def called(key: str) -> str:
    """Call a recorded number as people do: ``loss`` is that of training, underscores are blanks."""
    if _OF_TRAINING.fullmatch(key):
        return "training loss" if is_loss(key) else "training accuracy"
    return re.sub("^held_?out_", "held-out ", key, flags=re.IGNORECASE).replace("_", " ")


def recorded(
    rows: Sequence[Mapping[str, float]], printable: Callable[[str], str], *, most: int
) -> tuple[list[Curve], list[Curve]]:
    """Choose what is drawn: at most so many losses, and as many accuracies, those on training data first.

    An accuracy has the place of its loss, else one that no other accuracy has. What leaves 0 … 1 is no share and is
    not drawn.

    Args:
        rows: what is known of every snapshot.
        printable: makes a name fit for the figure.
        most: of either kind.
    """
    keys = list(dict.fromkeys(key for row in rows for key in row))
    keys.sort(key=_held_out)  # stable
    table = {key: np.array([float(row.get(key, np.nan)) for row in rows]) for key in keys if is_loss(key)}
    table |= {key: np.array([float(row.get(key, np.nan)) for row in rows]) for key in keys if is_accuracy(key)}
    known = [key for key, values in table.items() if _drawable(key, values)]
    names = [printable(called(key)) for key in known]
    unique = {key: name if names.count(name) == 1 else printable(key) for key, name in zip(known, names, strict=True)}
    losses = {unique[key]: table[key] for key in [key for key in known if is_loss(key)][:most]}
    shares = {unique[key]: table[key] for key in [key for key in known if is_accuracy(key)][:most]}
    places = _places(list(losses), list(shares), most)
    return (
        [Curve(name, values, i) for i, (name, values) in enumerate(losses.items())],
        [Curve(name, values, places[name]) for name, values in shares.items()],
    )


def _held_out(key: str) -> bool:
    return any(word in key.lower() for word in HELD_OUT)


def _drawable(key: str, values: Float[ndarray, " n"]) -> bool:
    finite = values[np.isfinite(values)]
    return bool(finite.size) and (is_loss(key) or (finite.min() >= 0 and finite.max() <= 1))


def _places(losses: list[str], shares: list[str], most: int) -> dict[str, int]:
    """Where accuracies have their colour: at the loss of the same name, of the same kind of data, or where none is."""
    of = {name: _ACCURACY.sub("loss", name) for name in shares}
    places = {name: losses.index(loss) for name, loss in of.items() if loss in losses}
    for name in (name for name in shares if name not in places):
        same = [i for i, loss in enumerate(losses) if _held_out(loss) == _held_out(name)]
        wanted = (*same, *range(len(losses), most), *range(most))
        places[name] = next(i for i in wanted if i not in places.values())
    return places
