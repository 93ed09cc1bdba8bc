"""The trace monitor in words."""

from collections.abc import Sequence
from typing import Any

from .trace_paths import Alarm, LayerPath, Skipped

EARLY = (
    "Compared with its own first {early} points, because no reference run was given. An alarm says that a trace has "
    "left its early level. It cannot say that this is unhealthy: a healthy trace rises and later collapses. "
    "Give reference= a run that is known to be healthy."
)
ONE_RUN = (
    "Compared with one reference run. How far healthy runs lie apart is not known from one; its own scatter is used, "
    "which is smaller, so expect false alarms. Three or more reference runs can be calibrated."
)
MORE_POINTS = (
    "This run was looked at {run} times, the reference {reference} times: expect more false alarms than h was made for."
)


def table(
    paths: Sequence[LayerPath], alarms: Sequence[Alarm], skipped: Sequence[Skipped], settings: Any, notes: Sequence[str]
) -> str:
    """One line per layer under a headline, then what should be known."""
    width = max((len(path.layer) for path in paths), default=5)
    designed = settings.false_alarms
    limit = f"h = {settings.h:.3g} s.d., " + (
        "the textbook's" if designed is None and settings.h == 5 else
        "not calibrated" if designed is None else
        f"simulated for false alarms in {designed:.0%} of healthy runs"
    )  # fmt: skip
    count = len({alarm.layer for alarm in alarms})
    lines = [f"Trace monitor (lhexplore definition, after Page 1954): {count} of {len(paths)} layers alarmed; {limit}."]
    for path in paths:
        mine = [alarm for alarm in alarms if alarm.layer == path.layer]
        said = "; ".join(f"{alarm.side} alarm at step {alarm.step} (S = {alarm.s:.1f})" for alarm in mine) or "no alarm"
        said = said if len(path.steps) else "not judged"
        lost = sum(skip.layer == path.layer for skip in skipped)
        points = f"{len(path.steps)} points" + (f", {lost} skipped" if lost else "")
        lines.append(f"  {path.layer:<{width}}  {said}, {points}")
    reasons = dict.fromkeys(skip.reason for skip in skipped)
    lines += [f"Skipped where {reason}." for reason in reasons]
    return "\n".join([*lines, *notes])
