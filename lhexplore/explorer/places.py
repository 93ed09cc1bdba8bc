"""Says where in training snapshots stand: in words, and under figures."""

import re
from collections.abc import Sequence
from math import ceil

from ..diagnosis.number_texts import short
from .escape import plain
from .protocols import SnapshotLike

MOST_LABELS = 14  # tick labels under one figure


def step_words(snapshot: SnapshotLike) -> str:
    """Call a snapshot by its name and step, ``best, step 30``; a name that only repeats the step is left out."""
    if snapshot.step is None:
        return plain(snapshot.label)
    step = f"step {snapshot.step:,}"
    if re.fullmatch(rf"(step|global_step|checkpoint)?\W*0*{snapshot.step}", snapshot.label):
        return step
    return f"{plain(snapshot.label)}, {step}"


def snapshot_words(snapshot: SnapshotLike) -> str:
    """Call a snapshot by its name, step and epoch: ``step 128, epoch 3``."""
    epoch = "" if snapshot.epoch is None else f", epoch {short(snapshot.epoch)}"
    return step_words(snapshot) + epoch


def place(snapshot: SnapshotLike) -> str:
    """Where in training a snapshot stands: ``step 128 · epoch 3``, or its label where neither is known."""
    parts = []
    if snapshot.step is not None:
        parts.append(f"step {snapshot.step:,}")
    if snapshot.epoch is not None:
        parts.append(f"epoch {snapshot.epoch:.4g}")
    return " · ".join(parts) or plain(snapshot.label)


def axis_words(snapshots: Sequence[SnapshotLike]) -> str:
    """Say what the labels under a figure are."""
    return "snapshot (training step)" if any(s.step is not None for s in snapshots) else "snapshot"


def snapshot_ticks(snapshots: Sequence[SnapshotLike], *, most: int = MOST_LABELS) -> dict[float, str]:
    """Label snapshots with their steps (or names), thinned evenly, first and last included."""
    count = len(snapshots)
    gap = max(1, ceil((count - 1) / (most - 1))) if count > 1 else 1
    shown = list(range(0, count, gap))
    if shown and shown[-1] != count - 1:
        if count - 1 - shown[-1] < (gap + 1) // 2:
            shown.pop()
        shown.append(count - 1)
    return {float(k): _tick(snapshots[k]) for k in shown}


def _tick(snapshot: SnapshotLike) -> str:
    if snapshot.step is None:
        return plain(snapshot.label, longest=12)
    step = snapshot.step
    if step < 10_000:
        return str(step)
    return f"{step / 1e3:.4g}k" if step < 1e6 else f"{step / 1e6:.4g}M"
