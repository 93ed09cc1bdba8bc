"""Fill the cache with what a diagnosis reads: spectra, then losses and states of layers beside them."""

from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from ..diagnosis.losses import HELD_OUT, TRAIN
from ..errors import LhexploreError
from ..jobs import Progress
from .layer_states import stream_states
from .request import Request

if TYPE_CHECKING:
    from .session import Session


def fill(session: "Session", wanted: Sequence[Request], *, states: bool) -> Iterator[Progress]:
    """Compute what is missing of ``wanted``; then, at the same snapshots, losses that nobody recorded, and states.

    Each snapshot's states count as one block more. They are extras: where one fails, the spectra stand.
    """
    labels = list(dict.fromkeys(request.snapshot for request in wanted))
    extra = len(labels) if states else 0
    last = Progress(total=len(wanted) + extra)
    for last in session._answers.fill(wanted):
        yield replace(last, total=len(wanted) + extra)
    for label in labels:
        evaluate(session, label)
    for k, label in enumerate(labels if states else ()):
        for split in dict.fromkeys(request.split for request in wanted):
            yield from _states(session, label, split, replace(last, done=len(wanted) + k, total=len(wanted) + extra))
    yield replace(last, done=len(wanted) + extra, total=len(wanted) + extra)


def evaluate(session: "Session", label: str) -> None:
    """Compute the losses of a snapshot that came without, on every split; where that fails they stay unknown."""
    known = session.losses(label)
    kinds = (TRAIN, HELD_OUT) if session.has_held_out else (TRAIN,)
    if not all(any(name in known for name in names) for names in kinds):
        with suppress(LhexploreError):  # spectra meet it, too, and say it
            session.evaluate(label)


def _states(session: "Session", label: str, split: str, progress: Progress) -> Iterator[Progress]:
    with suppress(LhexploreError), closing(stream_states(session, label, split=split)) as steps:
        for step in steps:
            share = 0.999 * step.done / step.total
            yield replace(progress, done=progress.done + share, label=f"gradients at {label}")
