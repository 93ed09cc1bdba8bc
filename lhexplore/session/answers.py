"""Answers requests: from the cache where it can, else by the lane, with everything found kept."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from ..curvature import Batches, Choice, Layer, choose
from ..diagnosis.course import Cell
from ..errors import LhexploreError, SnapshotError, TooLargeError, UnsupportedError
from ..jobs import Progress
from ..snapshots import GONE, Snapshot, Snapshots
from ..spectrum import WHOLE, Spectrum, Step
from ..store import Store
from .forecast import Forecast
from .keys import Keys
from .lane import Lane
from .request import Request
from .selection import block


class Answers:
    """Owns what a session computes with and remembers; ``failures`` are of blocks that could not be had."""

    def __init__(
        self,
        lane: Lane,
        layers: Sequence[Layer],
        snapshots: Snapshots,
        data: Mapping[str, Batches],
        store: Store,
        *,
        common: Mapping[str, Any],
        seed: int,
    ) -> None:
        """``common`` is what the keys of all requests share."""
        self.failures: dict[tuple[str | None, str, str], str] = {}  # by layer, snapshot and split
        self.layer = partial(block, layers)
        self.keys = Keys(common, layer=self.layer, snapshots=snapshots, data=data)
        self._lane, self._layers, self._snapshots, self._store, self._seed = lane, layers, snapshots, store, seed
        self._forecast = Forecast(lane, layers, self.layer)
        self._choices: dict[Request, Choice] = {}
        self._places: dict[Request, tuple[str, ...]] = {}
        self._turn = threading.Lock()  # between keeping a result and taking in other snapshots
        self._grids: dict[tuple[str, str], dict[Cell, Request]] = {}
        self._relabelled: dict[Request, tuple[Spectrum, Spectrum]] = {}

    def grow(self, snapshots: Snapshots, changed: Collection[str]) -> None:
        """Go on with the series as it is now; under the labels ``changed`` lie other weights than before."""
        with self._turn:
            self._snapshots = snapshots
            self.keys.grow(snapshots, changed)
            for known in (self._places, self._relabelled):
                for request in [one for one in known if one.snapshot in changed]:
                    known.pop(request, None)
        self._grids = {}
        self._lane.forget(changed)
        for place in [one for one in self.failures if one[1] in changed]:
            self.failures.pop(place, None)

    def keep(self, snapshot: Snapshot, put: Callable[[], None], *, first: Snapshot | None = None) -> None:
        """Have ``put`` keep what was computed of ``snapshot``, unless other weights lie under its label by now.

        ``first`` is the oldest snapshot at the time, where the result depends on it.
        """
        with self._turn:
            now = self._snapshots
            if now[snapshot.label] is snapshot and (first is None or now[0] is first):
                put()

    # ---- before anything runs

    def choice(self, request: Request) -> Choice:
        """What the planner chooses for a request; its method is part of the cache key."""
        if request not in self._choices:
            self._choices[request] = self._choose(request)
        return self._choices[request]

    def _choose(self, request: Request) -> Choice:
        shape = self._lane.factor_shape(request.split)
        if request.layer is None and request.curvature == "hessian" and sum(r.size > 0 for r in self._layers) > 1:
            shape = "layers act on one another, so the Hessian of a whole network is not its Gauss-Newton matrix"
        itemsize = torch.finfo(self._lane.replica.dtype).bits // 8
        settings: dict[str, Any] = {"method": request.method, "steps": request.steps, "probes": request.probes}
        return choose(self.layer(request.layer).size, itemsize=itemsize, factor=shape, **settings)

    def expected(self, request: Request) -> Choice:
        """What is likely to be done: the choice, or what comes after it where numbers ruled that out before."""
        choice = self.choice(request)
        if choice.otherwise is None:
            return choice
        refusal = self._lane.refusal(self.layer(request.layer), request.split, request.curvature or "hessian")
        return (
            replace(choice.otherwise, reason=f"{choice.otherwise.reason}; not by the factor: {refusal}")
            if refusal
            else choice
        )

    def judge(self, wanted: Sequence[Request]) -> None:
        """Try, on a few examples at one snapshot, which of the missing ones the factor can answer."""
        missing = [request for request in wanted if self.known(request) is None]
        kinds = {(request.split, request.curvature or "hessian") for request in missing}
        for split, curvature in kinds:
            mine = [r for r in missing if (r.split, r.curvature or "hessian") == (split, curvature)]
            names = dict.fromkeys(r.layer for r in mine if self.choice(r).method == "factor")
            self._lane.judge([self.layer(name) for name in names], split, self.first_usable(), curvature)

    def known(self, request: Request) -> Spectrum | None:
        """The answer to a request if it is there; never computes."""
        if not self.readable(request.snapshot):
            return None
        places = self._places.get(request)
        if places is None:
            places = self._places[request] = self.keys.places(request, self.choice(request))
        found = next((known for place in places if (known := self._store.get(place)) is not None), None)
        asked = (request.layer, request.snapshot, request.split)
        if found is None or (found.layer, found.snapshot, found.split) == asked:
            return found
        before = self._relabelled.get(request)
        if before is None or before[0] is not found:  # one object each time: what is known of it is kept with it
            named = replace(found, layer=request.layer, snapshot=request.snapshot, split=request.split)
            before = self._relabelled[request] = (found, named)
        return before[1]

    def readable(self, snapshot: int | str) -> bool:
        """Whether what is known of a snapshot counts: also after its file was deleted, if its weights were read."""
        row = self._snapshots[snapshot]
        return row.status == "ok" or (row.status == GONE and row.known_digest is not None)

    def everywhere(self, *, split: str, curvature: str) -> Mapping[Cell, Request]:
        """The request of every layer and of the whole network at every snapshot, with the usual settings."""
        if (split, curvature) not in self._grids:
            names = [*(layer.name for layer in self._layers if layer.status == "ok"), None]
            self._grids[split, curvature] = {
                (name, row.label): Request(name, row.label, split=split, curvature=curvature)
                for name in names
                for row in self._snapshots
            }
        return self._grids[split, curvature]

    def seconds(self, request: Request) -> float:
        """Predicted seconds of a request, corrected by what ran; NaN before :meth:`calibrate`."""
        return self._forecast.seconds(request, self.expected(request))

    def peak(self, request: Request) -> int:
        """Predicted bytes of a request, on top of model and data."""
        return self._forecast.peak(request, self.expected(request))

    def measure_graphs(self, wanted: Sequence[Request]) -> None:
        """Measure on a few examples what :meth:`peak` needs to know of the missing ones."""
        if missing := [request for request in wanted if self.known(request) is None]:
            self._forecast.measure_graphs(missing, self.first_usable())

    def calibrate(self, wanted: Sequence[Request]) -> None:
        """Time one gradient, once, if anything of ``wanted`` is missing: what predictions rest on at first."""
        if not self._forecast.calibrated and any(self.known(request) is None for request in wanted):
            self._forecast.calibrate(self.first_usable())

    def first_usable(self) -> Snapshot:
        """The newest snapshot whose weights can be computed with.

        Raises:
            SnapshotError: there is none.
        """
        for snapshot in reversed(self._snapshots):
            if snapshot.status == "ok" and self._lane.fits(snapshot):
                return snapshot
        self._snapshots.index(-1)  # says so where there is none yet
        reasons = "; ".join(f"{s.label}: {s.reason}" for s in list(self._snapshots)[:3])
        raise SnapshotError(f"None of the {len(self._snapshots)} snapshots can be used ({reasons}).")

    # ---- one

    def steps(self, request: Request) -> Iterator[Step]:
        """One item per product, the complete spectrum last."""
        known = self.known(request)
        if known is not None:
            yield Step(known.products, known.products, known)
            return
        refused = ""
        if self.choice(request).method == "factor":
            refused = yield from self._factored(request)
            if not refused:
                return
            if request.method == "factor":
                why = refused.rstrip(".")
                raise UnsupportedError(
                    f"The factor does not give the Hessian of {request.layer or WHOLE!r}: {why}. Use method='auto', "
                    "or curvature='ggn' for the Gauss-Newton matrix."
                )
        layer, snapshot = self.layer(request.layer), self._snapshots[request.snapshot]
        with closing(self._lane.steps(request, layer, snapshot, seed=self._seed, refused=refused)) as steps:
            for step in steps:
                if step.spectrum is not None and step.spectrum.complete:
                    self._remember(request, snapshot, step.spectrum)
                yield step

    def _factored(self, request: Request) -> Generator[Step, None, str]:
        """Answer ``request`` and all that its backward passes answer as well; returns why not, if not."""
        snapshot = self._snapshots[request.snapshot]
        wanted = {name: self.layer(name) for name in self._together(request)}
        items = self._lane.factored(request, wanted, self.choice(request), snapshot)
        answer: Step | None = None
        try:
            while True:
                try:
                    step = next(items)
                except StopIteration as end:
                    if answer is not None:  # last, as in every stream, whatever order the layers were solved in
                        yield replace(answer, done=answer.total)
                    return str(end.value)
                except TooLargeError as error:
                    if request.method == "factor":
                        raise
                    return str(error)
                found = step.spectrum
                if found is not None:
                    self._remember(replace(request, layer=found.layer), snapshot, found)
                    answer = step if found.layer == request.layer else answer
                early = None if found is None or found.layer != request.layer else replace(found, complete=False)
                yield Step(step.done, step.total, early)  # to be seen at once, while other layers are solved
        finally:
            items.close()

    def _together(self, request: Request) -> list[str | None]:
        """The layers that one set of backward passes can answer for: the wanted one, and what is missing beside it."""
        if request.layer is None:
            return [None]
        beside = [replace(request, layer=row.name) for row in self._layers if row.status == "ok"]
        missing = [r for r in beside if r != request and self.choice(r).method == "factor" and self.known(r) is None]
        return [request.layer, *(r.layer for r in missing)]

    def _remember(self, request: Request, snapshot: Snapshot, spectrum: Spectrum) -> None:
        choice = self.choice(request)
        self.keep(snapshot, lambda: self._store.put(self.keys.place(request, choice, spectrum), spectrum))
        self.failures.pop((request.layer, request.snapshot, request.split), None)
        self._forecast.observe(request, self.choice(request), spectrum)

    # ---- many

    def fill(self, wanted: Sequence[Request]) -> Iterator[Progress]:
        """Compute what is missing, one item per product; a block that fails is noted and the rest goes on.

        Raises:
            LhexploreError: the first failure, when nothing at all could be computed.
        """
        began, first = time.perf_counter(), None
        missing = [request for request in wanted if self.known(request) is None]
        done = len(wanted) - len(missing)
        computed = 0
        kinds = [(request.layer, request.split) for request in missing]
        ahead, sample = Counter(kinds), dict(zip(kinds, missing, strict=True))
        yield Progress(done, len(wanted), time.perf_counter() - began, 0.0 if not missing else float("nan"))
        self.calibrate(missing)
        for request in missing:
            name = WHOLE if request.layer is None else request.layer
            ahead[request.layer, request.split] -= 1
            if self.known(request) is not None:  # by the work for a layer beside it
                done, computed = done + 1, computed + 1
                continue
            own = self.seconds(request)
            after = sum(self.seconds(sample[kind]) * count for kind, count in ahead.items() if count)
            try:
                for step in self.steps(request):
                    share = min(step.done / step.total, 1.0) if step.total else 1.0
                    rest = own * (1 - share) + after
                    elapsed = time.perf_counter() - began
                    yield Progress(done + 0.999 * share, len(wanted), elapsed, rest, f"{name} at {request.snapshot}")
                computed += 1
            except LhexploreError as error:
                first = first or error
                self.failures[request.layer, request.snapshot, request.split] = str(error)
            done += 1
            yield Progress(done, len(wanted), time.perf_counter() - began, after)
        yield Progress(done, len(wanted), time.perf_counter() - began, 0.0)
        if first is not None and not computed and len(missing) == len(wanted):
            raise first
