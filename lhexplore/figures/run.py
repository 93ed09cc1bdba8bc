"""What figures read: a session, a course or bare spectra, all seen as one run; never computes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from operator import index
from typing import Any, Protocol, SupportsIndex

from ..diagnosis import Course, Finding, diagnose_run
from ..errors import ComparisonError, SettingError, UnknownLayerError, UnknownSnapshotError, suggest
from ..layer_state import LayerState
from ..spectrum import WHOLE, Spectrum
from .names import block, shown
from .scales import TimeAxis

Layer = str | None
SPLITS = ("data", "held_out")


class Judged(Protocol):
    """What the rules say of a run."""

    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def layers(self) -> Sequence[Layer]: ...
    def at(self, layer: Layer, snapshot: int | str = -1) -> Sequence[Finding]: ...


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Blocks and snapshots with what is known of them; reading one costs a look into the cache."""

    layers: tuple[Layer, ...]  # those that may have spectra; the whole network (None) last
    labels: tuple[str, ...]
    steps: tuple[int | None, ...]
    refused: Mapping[str, str]  # layers without spectra, and why
    cached: Callable[[Layer, str, str], Spectrum | None]  # by layer, label, split
    losses: Callable[[str], Mapping[str, float]]
    state: Callable[[Layer, str], LayerState | None]
    judge: Callable[[], Judged | None]

    def layer(self, name: Layer) -> Layer:
        """Check the name of a block; "whole network" stands for None where no layer is called that.

        Raises:
            UnknownLayerError: there is none, with near names.
        """
        if name in self.layers:
            return name
        if name == WHOLE:
            return None
        if name is not None and name in self.refused:
            raise UnknownLayerError(f"Layer {name!r} has no spectra: {self.refused[name]}.")
        raise UnknownLayerError(f"There is no layer {name!r}. {suggest(name, [n for n in self.layers if n])}")

    def snapshot(self, which: int | str) -> int:
        """The position of a snapshot, by position or label.

        Raises:
            UnknownSnapshotError: there is none, with near labels.
        """
        if isinstance(which, str) and which in self.labels:
            return self.labels.index(which)
        if isinstance(which, SupportsIndex) and -len(self.labels) <= index(which) < len(self.labels):
            return index(which) % len(self.labels)
        raise UnknownSnapshotError(f"There is no snapshot {which!r}. {suggest(which, self.labels)}")

    def spectrum(self, layer: Layer, k: int, split: str = "data") -> Spectrum | None:
        """What is known of a block at the ``k``-th snapshot."""
        return self.cached(layer, self.labels[k], split)

    def spectra(self, layer: Layer, split: str = "data") -> list[Spectrum | None]:
        """What is known of a block, over all snapshots."""
        return [self.cached(layer, label, split) for label in self.labels]

    def judged(self) -> tuple[Judged | None, str]:
        """What the rules say, or None with the reason."""
        try:
            return self.judge(), ""
        except ComparisonError as error:
            return None, f"Findings are not marked: {error}"

    @property
    def time(self) -> TimeAxis:
        """Where the snapshots stand on an axis."""
        return TimeAxis.of(self.labels, self.steps)

    def place(self, k: int) -> str:
        """Where in training a snapshot stands, in a word or two."""
        step = self.steps[k]
        return shown(self.labels[k]) if step is None else f"step {step:,}"

    def wanted(self, layer: Layer, k: int | None = None, split: str = "data") -> str:
        """The call that computes what is missing."""
        where = "" if k is None else f", [{shown(self.labels[k])!r}]"
        more = "" if split == "data" else f", split={split!r}"
        return f"session.compute([{block(layer)!r}]{where}{more})"


def run_of(source: Any) -> Run:
    """See a session, a :class:`Course`, a spectrum or a list of spectra as a run.

    Raises:
        SettingError: it is none of them.
    """
    if isinstance(source, Spectrum):
        source = [source]
    if isinstance(source, Sequence) and source and all(isinstance(item, Spectrum) for item in source):
        source = _course(source)
    if isinstance(source, Course):
        return _of_course(source)
    if all(hasattr(source, name) for name in ("cached", "layers", "snapshots", "losses", "findings")):
        return _of_session(source)
    raise SettingError(
        f"Figures are drawn from a Session, a Course, a Spectrum or a list of them; got {source!r:.60} "
        f"({type(source).__name__})."
    )


def _course(spectra: Sequence[Spectrum]) -> Course:
    cells = {(s.layer, s.snapshot): s for s in spectra}
    if len(cells) < len(spectra):
        raise SettingError("Two of these spectra are of the same block and snapshot: give each cell of a run once.")
    return Course(tuple(dict.fromkeys(s.snapshot for s in spectra)), cells)


def _of_course(course: Course) -> Run:
    tables = {"data": course.spectra, "held_out": course.held_out}
    return Run(
        layers=course.layers,
        labels=course.snapshots,
        steps=tuple(course.steps.get(label) for label in course.snapshots),
        refused={},
        cached=lambda layer, label, split: tables[split].get((layer, label)),
        losses=lambda label: course.losses.get(label, {}),
        state=lambda layer, label: course.states.get((layer, label)),
        judge=lambda: diagnose_run(course),
    )


def _of_session(session: Any) -> Run:
    def cached(layer: Layer, label: str, split: str) -> Spectrum | None:
        if split == "held_out" and not session.has_held_out:
            raise SettingError("There is no held-out data: Session(…, held_out=loader).")
        found: Spectrum | None = session.cached(layer, label, split=split)
        return found

    return Run(
        layers=(*(row.name for row in session.layers if row.status == "ok"), None),
        labels=tuple(row.label for row in session.snapshots),
        steps=tuple(row.step for row in session.snapshots),
        refused={row.name: row.reason for row in session.layers if row.status != "ok"},
        cached=cached,
        losses=session.losses,
        state=lambda layer, label: session.cached_states(label).get(layer),
        judge=session.findings,
    )
