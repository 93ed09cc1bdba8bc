"""How metrics go with the generalisation gap over a session's snapshots, as a table."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

from ..diagnosis import METRICS, STATE_METRICS, metrics
from ..diagnosis.alike import require_alike
from ..diagnosis.hesd.generalisation import CAUTION, generalisation
from ..errors import SettingError, suggest
from ..spectrum import WHOLE
from .on_frozen_data import PREFIX, on_frozen_data
from .selection import Layers, blocks
from .table import Table

if TYPE_CHECKING:
    from .session import Session


def generalisation_of(
    session: "Session", layers: Layers = "whole network", *, names: Sequence[str] | None = None, split: str = "data"
) -> Table:
    """Rank correlation of every metric with the gap between held-out and training data, per block.

    Rests on the cached spectra and states of layers and computes none. Losses and accuracies are evaluated on both
    splits, one forward pass per split and snapshot.

    Args:
        session: whose snapshots.
        layers: names, globs, or "whole network"; None for all layers.
        names: of metrics; None for all of them.
        split: which spectra to take the metrics of, "data" or "held_out".

    Raises:
        SettingError: ``names`` holds one that no metric and nothing recorded has.
        ComparisonError: if the spectra of two snapshots were found by different methods.
    """
    if names is not None:
        _require_known(session, names)
    rows: list[dict[str, Any]] = []
    gap = ""
    for layer in blocks(session.layers, layers):
        known = [
            (row.label, spectrum)
            for row in session.snapshots
            if row.status == "ok" and (spectrum := session.cached(layer, row.label, split=split)) is not None
        ]
        for _, spectrum in known:
            require_alike(known[0][1], spectrum)
        measured = [
            metrics(spectrum, session.cached_states(label, split=split).get(layer)) for label, spectrum in known
        ]
        course = [{**row, **_losses(session, label)} for row, (label, _) in zip(measured, known, strict=True)]
        found = generalisation(course, list(dict.fromkeys(chain(*measured))) if names is None else names)
        gap = gap or found.gap
        for name, one in found.correlations.items():
            low, high = one.interval
            rows.append(_row(layer, name, one.value, low, high, one.pairs, one.sign, ""))
        for name, why in found.left_out.items():
            rows.append(_row(layer, name, float("nan"), float("nan"), float("nan"), len(known), "undecided", why))
    told = f"Rank correlation with the gap {gap}, 95 % intervals. " if gap else ""
    return Table(rows, caption=told + CAUTION)


def _require_known(session: "Session", names: Any) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise SettingError(f"names must be a list of names of metrics; got {names!r:.60}.")
    evaluated = [prefix + name for prefix in PREFIX.values() for name in ("loss", "accuracy")]
    recorded = chain(*(row.metrics for row in session.snapshots))
    known = dict.fromkeys([*METRICS, *STATE_METRICS, *evaluated, *recorded])
    for name in names:
        if name not in known:
            raise SettingError(f"There is no metric {name!r}. {suggest(name, known)}")


def _row(
    layer: str | None, name: str, value: float, low: float, high: float, snapshots: int, sign: str, why: str
) -> dict[str, Any]:
    return {
        "layer": layer or WHOLE,
        "metric": name,
        "correlation": value,
        "low": low,
        "high": high,
        "snapshots": snapshots,
        "with a larger gap it is": sign,
        "why not": why,
    }


def _losses(session: "Session", label: str) -> dict[str, float]:
    """Losses and accuracies of a snapshot: those on the frozen data come before what training recorded of a batch."""
    found = on_frozen_data(session, label)
    return {**session.losses(label), **found}
