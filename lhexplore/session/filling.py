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

    Of the states the quick part only, unless ``states`` asks for all. They are extras, and not counted: where one
    fails, the spectra stand.
    """
    last = Progress(total=len(wanted))
    for last in session._answers.fill(wanted):
        yield last
    places = list(dict.fromkeys((request.snapshot, request.split) for request in wanted))
    for label in dict.fromkeys(label for label, _ in places):
        evaluate(session, label)
    for label, split in places:
        with suppress(LhexploreError), closing(stream_states(session, label, split=split, quick=not states)) as steps:
            for _ in steps:
                yield replace(last, label=f"gradients at {label}")
    yield replace(last, label="")


def evaluate(session: "Session", label: str) -> None:
    """Compute the losses of a snapshot that came without, on every split; where that fails they stay unknown."""
    known = session.losses(label)
    kinds = (TRAIN, HELD_OUT) if session.has_held_out else (TRAIN,)
    if not all(any(name in known for name in names) for names in kinds):
        with suppress(LhexploreError):  # spectra meet it, too, and say it
            session.evaluate(label)
