"""What is true of a run, by its recipe and by what was measured on data and weights; no rule has a part in it."""

from .bundle import Record
from .datasets import REGRESSION

HARMLESS, OVERFITTED = 1.05, 1.1  # test loss at the end, of its lowest
LEARNT = 0.9  # lowest test loss, of that of the first weights
NO_CAPACITY = 0.05  # training loss at the end, of the first one, from which on it counts as not small
NOT_FALLING = 0.1  # relative fall of the training loss from the third to the last quarter
WIDE = 5.0  # a wide network of the same kind reaches a training loss this many times smaller
LONG = 0.6  # a training loss below 1e-3 since this share of the training
FIT = 0.98  # training accuracy
CLEAN, NOISY = ("healthy", "fitted", "overtrained"), ("noise50", "noise100")
IDLE, USED = 0.9, 0.5  # share of units, or of inputs, that are never active
VANISHED, PRESENT = 1e-3, 1e-2  # size of the single examples' gradients, of that of the layer where it is largest

Truth = bool | None  # None: neither clearly so nor clearly not so; not counted


def healthy(record: Record) -> bool:
    """Clean labels, wide enough, learnt, and stopped before the test loss rose or the training loss vanished."""
    t = record.truths
    return (
        record.run.state in ("healthy", "fitted")
        and t["test_rise"] <= HARMLESS
        and t["test_fall"] <= LEARNT
        and t["small_since"] == 1
    )


def overfitted(record: Record) -> Truth:
    """D1: the loss on test data, which no rule sees, ends above its lowest."""
    if record.run.state == "idle":
        return None
    rise = record.truths["test_rise"]
    return True if rise >= OVERFITTED else False if rise <= HARMLESS else None


def memorised(record: Record) -> Truth:
    """D2: at least half of the labels drawn at random, and fitted; against clean ones fitted as well."""
    final = record.truths["final"]
    if record.run.dataset in REGRESSION or final["accuracy"] < FIT or record.run.state not in CLEAN + NOISY:
        return None
    return record.run.state in NOISY


def underparameterised(record: Record) -> Truth:
    """D3: a narrow network whose training loss stands still far above that of a wide one; against all wide ones.

    Regressions are left out: the rule says nothing of them.
    """
    t, run = record.truths, record.run
    if run.state == "idle" or run.dataset in REGRESSION:
        return None
    if run.state != "narrow":
        return False
    left = t["final"]["loss"] / t["first"]["loss"]
    if left < NO_CAPACITY:
        return False
    flat = t["flat"] <= NOT_FALLING and t["wide_loss"] <= t["final"]["loss"] / WIDE
    return True if flat else None


def idle_layer(record: Record, layer: str) -> Truth:
    """D4: units or inputs that are never active, or gradients that vanish, layer by layer."""
    t = record.truths
    units, inputs, gradient = (t[name][layer] for name in ("units", "inputs", "gradient"))
    if units >= IDLE or inputs >= IDLE or gradient <= VANISHED:
        return True
    return False if units <= USED and inputs <= USED and gradient >= PRESENT else None


def overtrained(record: Record) -> Truth:
    """D7: a cross-entropy below 1e-3 for much of the training; a squared error keeps its curvature and is left out."""
    if record.run.dataset in REGRESSION:
        return None
    since = record.truths["small_since"]
    return True if since <= LONG else False if since == 1 else None
