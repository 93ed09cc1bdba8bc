"""Under which names a spectrum lies in the cache: everything that its numbers depend on, hashed."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..curvature import Batches, Choice, Layer
from ..snapshots import Snapshots
from ..spectrum import Spectrum
from ..store import key
from .request import Request

ALGORITHM = 2  # grows when a change of code changes numbers: older cache entries are then computed anew
STATE_ALGORITHM = 1  # the same for the states of layers
EXACT = ("factor", "dense")


class Keys:
    """Makes keys for requests and remembers them.

    An exact spectrum depends neither on steps nor on start vectors, so it has one key however it was asked for. What
    ``method="auto"`` gives elsewhere has a key of its own. A large block may turn out to be refused by the factor, to
    live in the span of few inputs, or to fall apart into neurons: an estimate that was asked for by name must not
    answer for it, or the same call would give other numbers.
    """

    def __init__(
        self,
        common: Mapping[str, Any],
        *,
        layer: Callable[[str | None], Layer],
        snapshots: Snapshots,
        data: Mapping[str, Batches],
    ) -> None:
        """``common`` is what all requests of a session share."""
        self._common, self._layer, self._snapshots, self._data = dict(common), layer, snapshots, data
        self._made: dict[tuple[Request, str], str] = {}
        self._states: dict[tuple[Request, int, str | None], str] = {}

    def grow(self, snapshots: Snapshots, changed: Collection[str]) -> None:
        """Go on with the series as it is now; under the labels ``changed`` lie other weights than before."""
        self._snapshots = snapshots
        for made in [one for one in self._made if one[0].snapshot in changed]:
            self._made.pop(made, None)
        for state in [one for one in self._states if one[0].snapshot in changed]:
            self._states.pop(state, None)

    def places(self, request: Request, choice: Choice) -> tuple[str, ...]:
        """Where the answer may lie, best first."""
        if request.method != "auto":
            return (self._of(request, request.method),)
        planned = (self._of(request, choice.method),) if choice.method in EXACT else ()
        return *planned, self._of(request, "auto")

    def place(self, request: Request, choice: Choice, answer: Spectrum) -> str:
        """Where a new answer is put."""
        as_planned = request.method != "auto" or (choice.method in EXACT and answer.method == choice.method)
        return self._of(request, choice.method if as_planned else "auto")

    def state(self, request: Request, *, share_of: int) -> str:
        """Where the state of a layer lies; it depends on the first snapshot too, from which the parameters moved."""
        oldest = self._snapshots[0]
        first = oldest.digest if oldest.status == "ok" else None
        if (request, share_of, first) not in self._states:
            self._states[request, share_of, first] = key(
                {
                    **self._common,
                    "what": "layer state",
                    "algorithm": STATE_ALGORITHM,
                    "share_of": share_of,
                    "first": first,
                    **self._of_request(request),
                }
            )
        return self._states[request, share_of, first]

    def _of(self, request: Request, method: str) -> str:
        if (request, method) not in self._made:
            self._made[request, method] = self._new(request, method)
        return self._made[request, method]

    def _new(self, request: Request, method: str) -> str:
        exact = method in EXACT
        return key(
            {
                **self._common,
                "algorithm": ALGORITHM,
                "method": method,
                "steps": None if exact else request.steps,
                "probes": None if exact else request.probes,
                **self._of_request(request),
            }
        )

    def _of_request(self, request: Request) -> dict[str, Any]:
        batches = self._data[request.split]
        return {
            "parameters": sorted(self._layer(request.layer).parameters),
            "snapshot": self._snapshots[request.snapshot].digest,
            "data": batches.digest,
            "weights": list(batches.weights),
            "curvature": request.curvature,
        }
