"""States of layers through a session: from the cache where they are known, else computed together and kept."""

from collections.abc import Generator, Mapping
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from ..curvature import StateStep
from ..errors import whole_number
from ..layer_state import LayerState
from .request import Request

if TYPE_CHECKING:
    from .session import Session


QUICK = -1  # in place of a number of eigenvectors: gradients and moments of parameters only


def states(
    session: "Session", snapshot: int | str = -1, *, split: str = "data", share_of: int = 0, quick: bool = False
) -> Mapping[str | None, LayerState]:
    """Gradient and parameters of every layer, and of the whole network (None), at ``snapshot``; see the session's."""
    for _ in stream_states(session, snapshot, split=split, share_of=share_of, quick=quick):
        pass
    return known_states(session, snapshot, split=split, share_of=share_of)


def stream_states(
    session: "Session", snapshot: int | str = -1, *, split: str = "data", share_of: int = 0, quick: bool = False
) -> Generator[StateStep, None, None]:
    """Compute what :func:`states` lacks, one item per pass or product; closing it stops the work and keeps the rest."""
    share_of = QUICK if quick else whole_number("share_of", share_of, least=0)
    wanted = _requests(session, snapshot, split)
    missing = [request for request in wanted if _known(session, request, share_of) is None]
    if not missing:
        return
    answers, rows = session._answers, session.snapshots
    here = rows[missing[0].snapshot]
    requests = {request: answers.layer(request.layer) for request in missing}
    of = {request.layer: request for request in missing}
    steps = session._lane.states(requests, here, rows[0], share_of=max(share_of, 0), quick=quick, seed=session._seed)
    with closing(steps):
        for step in steps:
            if step.state is not None:
                put = partial(_put, session, of[step.state.layer], step.state, share_of)
                answers.keep(here, put, first=rows[0])
            yield step


def _put(session: "Session", request: Request, state: LayerState, share_of: int) -> None:
    for count in {QUICK, min(share_of, 0), share_of}:  # whoever asks for less may have what is known
        session._store.put(session._answers.keys.state(request, share_of=count), state)


def known_states(
    session: "Session", snapshot: int | str = -1, *, split: str = "data", share_of: int = 0
) -> Mapping[str | None, LayerState]:
    """The states that are known already, as far as they are; never computes. Empty for another functional."""
    if not session._plain_loss or not session._answers.readable(snapshot):
        return {}
    found = {
        request.layer: _known(session, request, share_of) or (None if share_of else _known(session, request, QUICK))
        for request in _requests(session, snapshot, split)
    }
    return {layer: state for layer, state in found.items() if state is not None}


def _requests(session: "Session", snapshot: int | str, split: str) -> list[Request]:
    """One per layer with a spectrum of its own, and one for the whole network."""
    session._require_loss("States of layers")
    first = session._request(None, snapshot, split=split)  # says what is wrong with snapshot or split
    names = [None, *(layer.name for layer in session.layers if layer.status == "ok")]
    grid = session._answers.everywhere(split=split, curvature=str(first.curvature))
    return [grid[name, first.snapshot] for name in names]


def _known(session: "Session", request: Request, share_of: int) -> LayerState | None:
    found = session._store.state(session._answers.keys.state(request, share_of=share_of))
    asked = (request.layer, request.snapshot, request.split)
    if found is None or (found.layer, found.snapshot, found.split) == asked:
        return found
    # The same weights may lie under another label.
    return replace(found, layer=request.layer, snapshot=request.snapshot, split=request.split)
