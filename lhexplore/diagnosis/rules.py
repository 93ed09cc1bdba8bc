"""Heuristic rules: a layer against its own past or against the other layers, never against an absolute level.

None of them is taken from a paper; limits and evidence are lhexplore's own.
"""

import statistics
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from ..spectrum import Spectrum
from .facts import precision, structure, type_, unchanged
from .findings import Case, Finding, finding
from .losses import HELD_OUT, TRAIN
from .measure import fractions, recorded_count
from .metrics import metric
from .quasi_singular import quasi_singular


def overfit(case: Case) -> Iterator[Finding]:
    """D1: training loss, trace and negative share fall while the held-out loss rises."""
    recent = case.recent()
    train, held_out = case.recent_losses(TRAIN), case.recent_losses(HELD_OUT)
    if not (recent and _falls(train) and _falls(held_out[::-1]) and min(*train, *held_out) > 0):
        return
    traces = [s.trace for s in recent]
    if not (_falls(traces) and traces[-1] > 0):
        return
    negative = [fractions(s).negative for s in recent]
    if not case.hesd.psd and any(later > earlier for earlier, later in pairwise(negative)):
        return
    rise = held_out[-1] / held_out[0]
    yield finding(
        "D1",
        "overfit",
        "warning",
        value=rise,
        threshold=1.0,
        heuristic=True,
        window=_labels(recent),
        count=len(recent),
        train=train[-1] / train[0],
        held_out=rise,
        trace=traces[-1] / max(s.trace for s in (*case.history, case.spectrum)),
    )


def bottleneck(case: Case) -> Iterator[Finding]:
    """D3: the training loss stands still above its aim, and this layer is steep and uses most directions."""
    recent, train, limits = case.recent(), case.recent_losses(TRAIN), case.thresholds
    if not recent or not train or not train[-1] > case.small_loss():
        return
    flat = (max(train) - min(train)) / statistics.fmean(train)
    ratio = _against(case, "lambda_max")
    if not flat < limits.flat_loss or ratio is None or ratio < limits.high:
        return
    name = "effective_rank_ratio"
    ranks = [case.metrics[name], *(metric(name, s) for s in case.peers)]
    if not np.isfinite(ranks).all() or ranks[0] < max(ranks):
        return
    yield finding(
        "D3",
        "bottleneck",
        "warning",
        value=ratio,
        threshold=limits.high,
        heuristic=True,
        eigenvalue=case.spectrum.largest,
        window=_labels(recent),
        count=len(recent),
        flat=flat,
    )


def underused(case: Case) -> Iterator[Finding]:
    """D4: rank or effective rank far below that of the other layers, or no curvature at all."""
    s, limit = case.spectrum, case.thresholds.low
    if case.hesd.flat:
        if s.functional != "sum":  # for which a zero block is the rule, not a sign
            yield finding(
                "D4",
                "no curvature",
                "warning",
                value=s.magnitude,
                threshold=s.zero_band,
                heuristic=True,
                eigenvalue=0.0,
            )
        return
    for what, name in (("The numerical rank", "numerical_rank"), ("The effective rank", "effective_rank")):
        share = case.metrics[name] / _possible_rank(s)
        others = [metric(name, peer) / _possible_rank(peer) for peer in case.peers] if share <= limit else []
        ratio = _to_median(share, others, case.thresholds.others)
        if ratio is not None and ratio <= limit:
            yield finding(
                "D4",
                "underused",
                "warning",
                value=ratio,
                threshold=limit,
                heuristic=True,
                eigenvalue=0.0,
                what=what,
                share=share,
            )
            return


def ill_conditioned(case: Case) -> Iterator[Finding]:
    """D5: percentile condition or peakedness far above that of the other layers."""
    limit = case.thresholds.condition
    for what, name in (("λmax over the median eigenvalue", "condition_50"), ("λmax over the mean", "peakedness")):
        own = case.metrics[name]
        # Both are at least 1, so the median of the others is too: a smaller value cannot fire.
        ratio = _against(case, name) if limit <= own < np.inf else None
        if ratio is not None and ratio >= limit:
            yield finding(
                "D5",
                "ill-conditioned",
                "note",
                value=ratio,
                threshold=limit,
                heuristic=True,
                eigenvalue=case.spectrum.largest,
                what=what,
                own=own,
            )
            return


def saddle_like(case: Case) -> Iterator[Finding]:
    """D6: clearly negative curvature that stays while the gradient vanishes; silent without gradient norms."""
    s, recent, limits, norms = case.spectrum, case.recent(), case.thresholds, case.gradient_norms
    if not recent or case.hesd.psd or not norms or not max(norms) > 0:
        return
    gradient = norms[-1] / max(norms)
    clear = all(r.smallest < -r.zero_band and -r.smallest > limits.saddle * r.largest for r in recent)
    if clear and gradient <= limits.gradient:
        yield finding(
            "D6",
            "saddle-like",
            "note",
            value=-s.smallest / s.largest if s.largest > s.zero_band else float("inf"),
            threshold=limits.saddle,
            heuristic=True,
            eigenvalue=s.smallest,
            window=_labels(recent),
            count=len(recent),
            smallest=s.smallest,
            gradient=gradient,
        )


def collapsed(case: Case) -> Iterator[Finding]:
    """D7: the quasi-singular flag."""
    if not case.hesd.quasi_singular:
        return
    limit = case.thresholds.collapse
    qs = quasi_singular(case.spectrum, history=case.history, held_out=case.held_out)
    by_gap = qs.gap < limit
    yield finding(
        "D7",
        "quasi-singular",
        "warning",
        value=qs.gap if by_gap else qs.own,
        threshold=limit,
        heuristic=True,
        eigenvalue=case.spectrum.largest,
        window=_labels((*case.history, case.spectrum)),
        reference="λmax on held-out data" if by_gap else "its largest value so far",
    )


Rule = Callable[[Case], Iterator[Finding]]
RULES: tuple[Rule, ...] = (
    overfit,
    bottleneck,
    underused,
    ill_conditioned,
    saddle_like,
    collapsed,
    type_,
    structure,
    precision,
    unchanged,
)


def _against(case: Case, name: str) -> float | None:
    """Divide this layer's metric by the median of the other layers."""
    return _to_median(case.metrics[name], [metric(name, peer) for peer in case.peers], case.thresholds.others)


def _to_median(value: float, others: Sequence[float], enough: int) -> float | None:
    """Divide by the median of the others that have a value; None where they are too few."""
    known = [other for other in others if not np.isnan(other)]
    if np.isnan(value) or len(known) < enough:
        return None
    middle = statistics.median(known)
    return value / middle if 0 < middle < np.inf else None


def _possible_rank(s: Spectrum) -> float:
    """The largest rank the frozen data allow: examples × (outputs − 1) of a softmax, where both are recorded."""
    examples, outputs = recorded_count(s, "examples"), recorded_count(s, "outputs")
    if examples and outputs:
        return float(min(s.size, examples * max(1, outputs - 1)))
    return float(s.size)


def _falls(values: Sequence[float]) -> bool:
    return len(values) > 1 and all(later < earlier for earlier, later in pairwise(values))


def _labels(spectra: Sequence[Spectrum]) -> tuple[str, ...]:
    return tuple(s.snapshot for s in spectra)
