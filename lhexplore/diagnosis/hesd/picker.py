"""Which snapshot three different criteria would choose, side by side; none of them is declared the winner.

Choosing by the smallest |C_t| among mainly positive snapshots is lhexplore's reading of what is reported of the HESD
paper (arXiv 2504.17618): that C_t can choose better than the smallest λmax.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import ComparisonError, SettingError, whole_number
from ...spectrum import WHOLE, Spectrum
from ..alike import require_alike
from ..arguments import named_numbers, spectra
from ..laid_out import as_html, as_text
from ..losses import HELD_OUT
from ..number_texts import short
from ..thresholds import Thresholds
from .ends import largest_between
from .hesd import Hesd, hesd
from .shares import Interval, share_between

HELD_OUT_ACCURACY = (
    "held_out_accuracy",
    "val_accuracy",
    "valid_accuracy",
    "validation_accuracy",
    "val_acc",
    "test_accuracy",
    "test_acc",
    "eval_accuracy",
    "val/accuracy",
    "eval/accuracy",
)
_NOWHERE = (math.nan, math.nan)
COLUMNS = ("snapshot", "type", "C_t", "λmax", "held-out", "chosen by")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One snapshot with what the criteria look at; intervals are (low, high)."""

    snapshot: str
    hesd: Hesd
    largest: float
    largest_interval: Interval
    held_out: float  # accuracy or loss on held-out data, NaN where it is not known
    held_out_interval: Interval  # NaN where nobody counted the examples


@dataclass(frozen=True, slots=True)
class Pick:
    """The snapshot that one criterion chooses."""

    criterion: str
    snapshot: str | None  # None where it cannot choose
    value: float
    interval: Interval
    ties: tuple[str, ...]  # snapshots that cannot be told apart from it
    why: str  # in a sentence: what was chosen, what it is not told apart from, or why nothing was


@dataclass(frozen=True, slots=True)
class Picks:
    """What each criterion chooses among the snapshots of one block."""

    layer: str | None  # None for the whole network
    candidates: tuple[Candidate, ...]
    picks: tuple[Pick, ...]
    held_out_name: str  # of the measure on held-out data; empty where there is none

    def __repr__(self) -> str:
        return as_text(self._title, COLUMNS, self._rows, self._notes)

    def _repr_html_(self) -> str:
        return as_html(self._title, COLUMNS, self._rows, self._notes)

    @property
    def _title(self) -> str:
        return f"Snapshots of {f'the {WHOLE}' if self.layer is None else repr(self.layer)} beside each other"

    @property
    def _rows(self) -> list[tuple[str, ...]]:
        return [
            (
                c.snapshot,
                c.hesd.word,
                _with(c.hesd.ct, c.hesd.interval),
                _with(c.largest, c.largest_interval),
                "–" if math.isnan(c.held_out) else short(c.held_out),
                ", ".join(pick.criterion for pick in self.picks if pick.snapshot == c.snapshot) or "–",
            )
            for c in self.candidates
        ]

    @property
    def _notes(self) -> tuple[str, ...]:
        said = "No criterion is the right one: choosing by |C_t| is lhexplore's reading, a heuristic."
        return (*(f"{pick.criterion}: {pick.why}" for pick in self.picks), said)


def pick_snapshots(
    course: Sequence[Spectrum],
    *,
    losses: Sequence[Mapping[str, float]] = (),
    held_out_examples: int | None = None,
    thresholds: Thresholds = Thresholds(),
) -> Picks:
    """Set the snapshots side by side that three criteria would choose.

    The smallest |C_t| is looked for among snapshots that are mainly positive for certain, and not by structure alone;
    the smallest λmax and the best measure on held-out data among all.

    Args:
        course: the same block at several snapshots, all computed in the same way.
        losses: what was recorded or evaluated at each of them, or nothing.
        held_out_examples: how many the held-out accuracy was counted on; gives it an interval (Wilson's, 95 %).
        thresholds: for the floor below which no type is named.

    Raises:
        SettingError: for what is no list of spectra, an empty one, ``losses`` of another length, or a held-out accuracy
            that is no share of ``held_out_examples``.
        ComparisonError: if they differ in layer, method, steps, start vectors, data, functional or curvature, one is
            preliminary, or two are of one snapshot.
    """
    spectra(course, "course")
    for i, row in enumerate(losses):
        named_numbers(row, f"losses[{i}]")
    if not course:
        raise SettingError("course must hold at least one spectrum.")
    if len(losses) not in (0, len(course)):
        raise SettingError(f"losses must be empty or have one entry per spectrum ({len(course)}), got {len(losses)}.")
    for other in course:
        require_alike(course[0], other)
    labels = [s.snapshot for s in course]
    if len(set(labels)) < len(labels):
        raise ComparisonError(f"Every snapshot may stand once among {labels!r}: it would tie with itself.")
    if held_out_examples is not None:
        whole_number("held_out_examples", held_out_examples)
    name, values = _held_out(losses, len(course))
    examples = held_out_examples if name in HELD_OUT_ACCURACY else None
    candidates = tuple(_candidate(s, v, examples, thresholds) for s, v in zip(course, values, strict=True))
    picks = (_by_ct(candidates), _by_largest(candidates), _by_held_out(candidates, name))
    return Picks(course[0].layer, candidates, picks, name)


def _with(value: float, between: Interval) -> str:
    """The value, with its interval where that is wider than what is written of it."""
    low, high = map(short, between)
    return short(value) if low == high else f"{short(value)} ({low} to {high})"


def _candidate(s: Spectrum, held_out: float, examples: int | None, limits: Thresholds) -> Candidate:
    between = _NOWHERE if examples is None or math.isnan(held_out) else share_between(held_out, examples)
    found = hesd(s, floor=limits.floor)
    return Candidate(s.snapshot, found, s.largest, largest_between(s), held_out, between)


def _held_out(losses: Sequence[Mapping[str, float]], count: int) -> tuple[str, list[float]]:
    """The first measure that any snapshot has, accuracies before losses."""
    for name in (*HELD_OUT_ACCURACY, *HELD_OUT):
        values = [float(row.get(name, math.nan)) for row in losses]
        if any(map(math.isfinite, values)):
            return name, values
    return "", [math.nan] * count


def _by_ct(candidates: Sequence[Candidate]) -> Pick:
    usable = [c for c in candidates if c.hesd.type == "MP" and not c.hesd.psd]
    if not usable:
        words = ", ".join(dict.fromkeys(c.hesd.word for c in candidates))
        return _nothing("smallest |C_t|", f"no snapshot is mainly positive with negative values beside ({words})")
    sizes = {c.snapshot: (c.hesd.re, (-c.hesd.interval[1] + 0.0, -c.hesd.interval[0] + 0.0)) for c in usable}
    return _choose("smallest |C_t|", sizes)


def _by_largest(candidates: Sequence[Candidate]) -> Pick:
    usable = {c.snapshot: (c.largest, c.largest_interval) for c in candidates if not c.hesd.flat}
    if not usable:
        return _nothing("smallest λmax", "every snapshot is flat")
    return _choose("smallest λmax", usable)


def _by_held_out(candidates: Sequence[Candidate], name: str) -> Pick:
    if not name:
        return _nothing("best on held-out data", "no accuracy or loss on held-out data is known")
    known = {c.snapshot: (c.held_out, c.held_out_interval) for c in candidates if math.isfinite(c.held_out)}
    largest = name in HELD_OUT_ACCURACY
    return _choose(f"{'largest' if largest else 'smallest'} {name}", known, largest=largest)


def _choose(criterion: str, known: Mapping[str, tuple[float, Interval]], *, largest: bool = False) -> Pick:
    """Take the extreme value, and name all whose intervals meet its own."""
    best = (max if largest else min)(known, key=lambda label: known[label][0])
    value, (low, high) = known[best]
    ties = tuple(
        label for label, (x, (a, b)) in known.items() if label != best and (x == value or (a <= high and b >= low))
    )
    why = f"{best}, {short(value)}" + (f"; not told apart from {', '.join(ties)}" if ties else "")
    if math.isnan(low):
        why += "; how sure that is, is not known"
    if len(known) == 1:
        why += "; the only snapshot that can be looked at"
    return Pick(criterion, best, value, (low, high), ties, f"{why}.")


def _nothing(criterion: str, why: str) -> Pick:
    return Pick(criterion, None, math.nan, _NOWHERE, (), f"{why}.")
