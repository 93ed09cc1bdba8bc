"""Judge a whole training run: every rule on all layers and snapshots at once, each finding in its place."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from numpy import ndarray

from ...errors import SettingError, UnknownLayerError, UnknownSnapshotError, suggest
from ...spectrum import WHOLE
from ..arguments import named_numbers
from ..course import Course
from ..laid_out import as_html, as_text
from ..thresholds import Thresholds
from .all_rules import FOLLOW, RULES
from .findings import LEVELS, Finding, in_order
from .grid import Grid
from .one_run import require_one_run
from .sign import Sign, Silence
from .silence_texts import SILENCES

_NAMED = 5  # layers that a sentence lists
_LINES = 12  # findings that a repr shows
_LEVEL_WORDS = {"warning": "warning", "note": "note", "info": "fact"}


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class RunDiagnosis:
    """What the rules say of one run; warnings come first, then what weighs more.

    What holds at several snapshots in a row is one finding, placed at the first of them; what shows in many layers at
    once is one finding of the run. ``at`` has both for every cell they cover. ``silent`` says of each rule that could
    not judge what it lacks.
    """

    findings: tuple[Finding, ...]
    silent: Mapping[str, str]
    layers: tuple[str | None, ...]
    snapshots: tuple[str, ...]
    thresholds: Thresholds
    _grid: Grid = field(repr=False)
    _signs: tuple[Sign, ...] = field(repr=False)

    @property
    def course(self) -> Course:
        """What was judged."""
        return self._grid.course

    @property
    def of_run(self) -> tuple[Finding, ...]:
        """Findings about the whole network or the run, not about a single layer."""
        return tuple(found for found in self.findings if found.layer is None)

    def at(self, layer: str | None, snapshot: int | str = -1) -> tuple[Finding, ...]:
        """Findings that cover one layer (None: the whole network) at one snapshot, with the numbers of that place.

        Raises:
            UnknownLayerError, UnknownSnapshotError: with near names.
        """
        if layer not in self._grid.layers:
            known = [name for name in self.layers if name is not None]
            raise UnknownLayerError(f"The run has no layer {layer!r}. {suggest(layer, known)}")
        i, t = self._grid.layers.index(layer), self._column(snapshot)
        places = [(sign, _place(sign, i, t)) for sign in self._signs]
        return in_order([sign.finding(self._grid, i, u) for sign, u in places if u is not None])

    def _column(self, snapshot: int | str) -> int:
        count = len(self.snapshots)
        if isinstance(snapshot, str) and snapshot in self._grid.column:
            return self._grid.column[snapshot]
        if isinstance(snapshot, int) and -count <= snapshot < count:
            return snapshot % count
        raise UnknownSnapshotError(f"The run has no snapshot {snapshot!r}. {suggest(snapshot, self.snapshots)}")

    def __reduce__(self) -> tuple[Any, ...]:  # rules keep functions, which do not travel: the course does
        return partial(diagnose_run, alarms=self._grid.alarms), (self._grid.course, self.thresholds)

    def __repr__(self) -> str:
        return as_text(*self._laid_out())

    def _repr_html_(self) -> str:
        return as_html(*self._laid_out())

    def _laid_out(self) -> tuple[str, tuple[str, ...], list[tuple[str, ...]], list[str]]:
        """Title, columns, a row per finding, and what could not be judged."""
        levels = [found.level for found in self.findings]
        counts = ", ".join(_count(levels.count(level), _LEVEL_WORDS[level]) for level in LEVELS)
        blocks = _count(sum(name is not None for name in self.layers), "layer")
        title = f"RunDiagnosis of {blocks} × {_count(len(self.snapshots), 'snapshot')}: {counts}"
        shown = self.findings[:_LINES]
        rows: list[tuple[str, ...]] = [
            (f.level, f.rule, f.layer or "–", f.snapshot, f"{f.title}. {f.text}") for f in shown
        ]
        notes = [f"Not judged, {rule}: {why}" for rule, why in self.silent.items()]
        if len(self.findings) > _LINES:
            notes.insert(0, f"… and {len(self.findings) - _LINES} more in .findings")
        return title, ("level", "rule", "layer", "from", "finding"), rows, notes


def diagnose_run(
    course: Course, thresholds: Thresholds = Thresholds(), *, alarms: Mapping[str, float] | None = None
) -> RunDiagnosis:
    """Apply every rule to a whole run; rules that lack what they need stay silent and say what.

    Args:
        course: what is known of the run.
        thresholds: the limits of the rules.
        alarms: by layer, the optimiser step at which a trace monitor was alarmed first; it holds from there on.

    Raises:
        ComparisonError: spectra of different curvature, functional, split or data, or layers of changing size.
        SettingError: what is no course, labels that do not fit together, losses or alarms that are no numbers.
    """
    if not isinstance(course, Course):
        raise SettingError(f"course must be a Course, as session.course() returns it; got {course!r:.60}.")
    if not isinstance(thresholds, Thresholds):
        raise SettingError(f"thresholds must be Thresholds(…), got {thresholds!r:.60}.")
    require_one_run(course)
    _check_alarms({} if alarms is None else alarms)
    grid = Grid(course, thresholds, alarms or {})
    with np.errstate(all="ignore"):
        said = [item for rule in RULES for item in rule(grid)] if grid.labels else []
    signs = tuple(item for item in said if isinstance(item, Sign) and item.fires.any())
    found = in_order([finding for sign in signs for finding in _of_run(sign, grid)])
    return RunDiagnosis(found, _silent(said, grid), course.layers, course.snapshots, thresholds, grid, signs)


def _check_alarms(alarms: Any) -> None:
    named_numbers(alarms, "alarms")
    for layer, step in alarms.items():
        if not 0 <= step < np.inf:
            raise SettingError(
                f"alarms must give the step of each layer's first alarm, a finite number from 0 up; {layer!r} has "
                f"{step!r}."
            )


def _silent(said: list[Sign | Silence], grid: Grid) -> dict[str, str]:
    silent = {item.rule: str(SILENCES[item.why].format(**item.facts)) for item in said if isinstance(item, Silence)}
    if grid.mixed:
        for rule in FOLLOW:
            silent.setdefault(rule, SILENCES["mixed"].format(layers=_names(grid.mixed)))
    return dict(sorted(silent.items()))


def _of_run(sign: Sign, grid: Grid) -> list[Finding]:
    """One finding per stretch of snapshots: of every layer, or of all of them together."""
    rows = np.flatnonzero(sign.fires.any(axis=1))
    groups = [rows] if sign.together else [rows[k : k + 1] for k in range(len(rows))]
    return [
        _stretch(sign, grid, sign.fires & _only(group, columns, sign.fires.shape))
        for group in groups
        for columns in _stretches(sign.fires[group], sign.chain.judged[group])
    ]


def _stretch(sign: Sign, grid: Grid, fires: Bool[ndarray, "layers snapshots"]) -> Finding:
    """Word the strongest cell of a stretch, and say from when to when and where it holds."""
    cells = [(int(i), int(t)) for i, t in np.argwhere(fires)]
    i, t = max(cells, key=lambda cell: sign.weight(*cell))  # the first of equals
    columns = sorted({t for _, t in cells})
    looked = sorted(
        {k for i, t in cells if t == columns[0] for k in sign.chain.columns(i, t, sign.reach)} | set(columns)
    )
    rows = sorted({i for i, _ in cells})
    names = tuple(grid.layers[k] for k in rows)
    words = sign.finding(grid, i, t)
    first, last = grid.labels[columns[0]], grid.labels[columns[-1]]
    since = f"At {first!r} only." if len(columns) == 1 else f"From {first!r} to {last!r}, {len(columns)} snapshots."
    if len(names) > 1:
        since = f"In {len(names)} of {len(grid.course.layers)} blocks ({_names(names)}). {since}"
    if len(cells) > 1:
        where = f"{grid.layers[i] or WHOLE!r} at " if len(names) > 1 else ""
        since += f" The numbers are those of {where}{grid.labels[t]!r}."
    return replace(
        words,
        layer=names[0] if len(names) == 1 else None,
        snapshot=first,
        window=tuple(grid.labels[k] for k in looked),
        others=words.others if len(names) == 1 else tuple(name for name in names if name is not None),
        evidence=" ".join(filter(None, (since, words.evidence))),
    )


def _stretches(fires: Bool[ndarray, "rows snapshots"], judged: Bool[ndarray, "rows snapshots"]) -> list[list[int]]:
    """Columns at which it fires in some row, cut where it could be judged and does not."""
    anywhere = set(np.flatnonzero(fires.any(axis=0)).tolist())
    found: list[list[int]] = [[]]
    for t in sorted(anywhere | set(np.flatnonzero(judged.any(axis=0)).tolist())):
        if t in anywhere:
            found[-1].append(t)
        elif found[-1]:
            found.append([])
    return [columns for columns in found if columns]


def _only(rows: Int[ndarray, " rows"], columns: list[int], shape: tuple[int, int]) -> Bool[ndarray, "layers snapshots"]:
    mask = np.zeros(shape, bool)
    mask[rows[:, None], columns] = True
    return mask


def _place(sign: Sign, i: int, t: int) -> int | None:
    """The column whose words a cell gets: its own where it fires, else that of the first one whose window it opens."""
    if sign.fires[i, t]:
        return t
    later = np.flatnonzero(sign.fires[i, t:])
    if sign.reach > 1 and len(later) and t in sign.chain.columns(i, t + int(later[0]), sign.reach):
        return t + int(later[0])
    return None


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _names(names: tuple[str | None, ...]) -> str:
    listed = ", ".join(repr(name or WHOLE) for name in names[:_NAMED])
    return f"{listed} and {len(names) - _NAMED} more" if len(names) > _NAMED else listed
