"""The HESD methodology through a session: the context of a snapshot, step by step, snapshots and data side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from torch import nn

from ..diagnosis.hesd.causes import Context
from ..diagnosis.hesd.methodology import Methodology, methodology
from ..diagnosis.hesd.picker import HELD_OUT_ACCURACY, Picks, pick_snapshots
from ..diagnosis.hesd.relative import Relative, relative
from ..diagnosis.losses import HELD_OUT, TRAIN_ACCURACY, train_loss
from ..errors import SettingError
from ..spectrum import Spectrum
from .on_frozen_data import on_frozen_data

if TYPE_CHECKING:
    from .session import Session

_DROPS = "dropout"  # in the name of a class, or an attribute of modules that drop out on their own
_BATCH = "batchnorm"
_ALL_USED = "all are used"  # how the frozen data say that there are no more


def context_of(session: "Session", snapshot: int | str = -1, *, split: str = "data") -> Context:
    """What is known of network, data and snapshot beside a spectrum; reads the snapshot's weights once.

    Raises:
        SnapshotError: the weights cannot be read or do not fit the model.
    """
    row, replica = session.snapshots[snapshot], session._lane.replica
    modules = [(name, module) for name, module in replica.model.named_modules() if name]
    _, adapted = row.fitted(replica.model)
    recorded = train_loss(row.metrics)
    evaluated = session._evaluated.get((split, row.label), {}).get("loss")
    return Context(
        dropout=tuple(name for name, module in modules if _drops(module)),
        batch_norm=tuple(name for name, module in modules if _BATCH in type(module).__name__.lower()),
        first=row is session.snapshots[0],
        step=row.step,
        loaded=adapted,
        recorded_loss=float("nan") if recorded is None else recorded,
        evaluated_loss=float("nan") if evaluated is None else evaluated,
        whole_data=any(_ALL_USED in note for note in session._data[split].notes) or None,
    )


def methodology_of(
    session: "Session", layer: str | None = None, snapshot: int | str = -1, *, held_out: bool = False
) -> Methodology:
    """Read one block in the seven steps of the HESD methodology; computes its spectrum if it is missing.

    Earlier snapshots serve for the quasi-singular flag where they are cached and found alike, the held-out spectrum
    where it is cached or ``held_out=True`` asks for it: that costs as much as the spectrum itself. Loss and accuracy
    are evaluated, one forward pass per split.

    Raises:
        SettingError: ``held_out=True`` without held-out data.
        UnknownLayerError, UnknownSnapshotError: with near names.
        SnapshotError: the weights cannot be used.
    """
    if held_out and not session.has_held_out:
        raise SettingError("held_out=True needs a second loader: Session(…, held_out=loader).")
    spectrum = session.spectrum(layer, snapshot)
    label = spectrum.snapshot
    evaluated = on_frozen_data(session, label)
    beside = session.cached(layer, label, split="held_out") if session.has_held_out else None
    if beside is None and held_out:
        beside = session.spectrum(layer, label, split="held_out")
    earlier = _before(session, label)
    known = (session.cached(layer, name) for name in earlier)
    history = [s for s in known if s is not None and (s.exact, s.steps) == (spectrum.exact, spectrum.steps)]
    return methodology(
        spectrum,
        held_out=beside,
        history=history,
        losses={**session.losses(label), **{name: evaluated[name] for name in _COUNTED if name in evaluated}},
        past_losses=[session.losses(name) for name in earlier],
        context=context_of(session, label),
        thresholds=session.thresholds,
    )


def picks_of(session: "Session", layer: str | None = None) -> Picks:
    """Set the snapshots side by side that C_t, λmax and held-out data would choose; computes missing spectra.

    Costs a spectrum per usable snapshot that is not cached, and a forward pass per split and snapshot. The measure on
    held-out data is that on the session's own, where it was evaluated at all of them; else what was recorded in
    training serves, of which nobody knows how sure it is.

    Raises:
        ComparisonError: if the spectra of two snapshots were found by different methods.
    """
    course = [session.spectrum(layer, row.label) for row in session.snapshots if row.status == "ok"]
    if not course:
        session._answers.first_usable()  # says why there is none
    losses, examples = _held_out(session, [spectrum.snapshot for spectrum in course])
    return pick_snapshots(course, losses=losses, held_out_examples=examples, thresholds=session.thresholds)


def relative_of(session: "Session", layer: str | None = None, snapshot: int | str = -1) -> Relative:
    """Compare the criteria on the session's data (A) with those on its held-out data (B); computes what is missing.

    The accuracies are those on the frozen data; where these have none, what was recorded in training stands there
    without an interval.

    Raises:
        SettingError: the session has no held-out data.
        ComparisonError: the methods differ, or one of the two is not mainly positive for certain.
    """
    if not session.has_held_out:
        raise SettingError("Comparing two data sets needs a second loader: Session(…, held_out=loader).")
    pair: list[Spectrum] = [session.spectrum(layer, snapshot, split=split) for split in ("data", "held_out")]
    accuracies = _accuracies(session, pair[0].snapshot)
    return relative(*pair, accuracy=accuracies.values, examples=accuracies.examples, thresholds=session.thresholds)


class _Accuracies(NamedTuple):
    """On both splits, and on how many examples they were counted: None where that, or one of them, is not known."""

    values: tuple[float, float] | None
    examples: tuple[int, int] | None


def _accuracies(session: "Session", label: str) -> _Accuracies:
    """Those on the frozen data; else those recorded in training, of examples that nobody counted."""
    for losses, counted in ((on_frozen_data(session, label), True), (session.snapshots[label].metrics, False)):
        a, b = (next((float(losses[name]) for name in names if name in losses), None) for names in _SIDES)
        if a is not None and b is not None:
            counts = (session._data["data"].examples, session._data["held_out"].examples)
            return _Accuracies((a, b), counts if counted else None)
    return _Accuracies(None, None)


def _held_out(session: "Session", labels: Sequence[str]) -> tuple[list[dict[str, float]], int | None]:
    """Measures on held-out data of one source for all snapshots, and on how many examples they were counted."""
    evaluated = [on_frozen_data(session, label) for label in labels]
    if all(any(name in row for name in (*HELD_OUT_ACCURACY, *HELD_OUT)) for row in evaluated):
        return evaluated, session._data["held_out"].examples
    recorded = [session.snapshots[label].metrics for label in labels]
    return [{name: float(value) for name, value in row.items()} for row in recorded], None


_SIDES = (TRAIN_ACCURACY, HELD_OUT_ACCURACY)
_COUNTED = ("accuracy", "held_out_accuracy")  # on the examples that the spectrum is of, unlike those of a batch


def _before(session: "Session", label: str) -> list[str]:
    """Usable snapshots before this one, oldest first."""
    labels = [row.label for row in session.snapshots]
    return [row.label for row in list(session.snapshots)[: labels.index(label)] if row.status == "ok"]


def _drops(module: nn.Module) -> bool:
    rate = getattr(module, _DROPS, 0.0)  # of attention and recurrent modules
    return _DROPS in type(module).__name__.lower() or (isinstance(rate, float) and rate > 0)
