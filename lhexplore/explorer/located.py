"""Findings where they belong: at an eigenvalue, in a cell of the map, at a step, and as a list that leads there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..diagnosis import Finding
from ..diagnosis.number_texts import short
from ..diagnosis.rules.findings import LEVELS
from ..errors import UnknownSnapshotError
from .escape import plain
from .frames import Key, Shape
from .protocols import Judged

MARKED = LEVELS[:2]  # warnings and notes stand in the map; what is only information does not
SHAPES: Mapping[str, Shape] = {"warning": "triangle", "note": "circle", "info": "diamond"}  # told apart without colour
LONGEST = 90  # characters of one finding in a hover box
MOST = 4  # findings named in one hover box
NAMED = 3  # blocks of a finding that are called by name

Text = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Located:
    """The findings of a run by place, in the order of the run: what is more urgent, then what weighs more."""

    run: Judged | None = None  # None: not judged yet

    @property
    def findings(self) -> Sequence[Finding]:
        """What is found in the run, each where it begins."""
        return () if self.run is None else self.run.findings

    @property
    def silent(self) -> list[list[str]]:
        """Pairs of a rule that could not judge, and why."""
        return [] if self.run is None else [[rule, why] for rule, why in self.run.silent.items()]

    def at(self, layer: str | None, label: str) -> Sequence[Finding]:
        """What holds of one block (None: the whole network) at one snapshot; nothing where it was not judged."""
        if self.run is None or layer not in self.run.layers:
            return ()
        if (layer, label) not in self._cells:
            try:
                self._cells[layer, label] = self.run.at(layer, label)
            except UnknownSnapshotError:  # it came after the run was judged
                return ()
        return self._cells[layer, label]

    def during(self, label: str) -> tuple[Finding, ...]:
        """The warnings and notes of the run that begin at a snapshot."""
        return tuple(f for f in self.findings if f.snapshot == label and f.level in MARKED)

    @cached_property
    def _cells(self) -> dict[tuple[str | None, str], Sequence[Finding]]:
        return {}  # the map and the card ask for the same


def worst(findings: Sequence[Finding]) -> str:
    """The most urgent level among them; empty where none deserves a mark."""
    levels = [level for level in MARKED if any(f.level == level for f in findings)]
    return levels[0] if levels else ""


def name_of(finding: Finding) -> str:
    """Level, rule and title in one line."""
    return plain(f"{finding.level} {finding.rule}: {finding.title}", longest=LONGEST)


def limit_of(finding: Finding) -> str:
    """The number that made the rule speak, and its limit."""
    return f"value {short(finding.value)}, threshold {short(finding.threshold)}"


def hover_words(findings: Sequence[Finding], names: Mapping[str | None, str] | None = None) -> str:
    """Some findings in one line for a hover box; with ``names`` of blocks, each says where it is."""
    texts = [name_of(f) + (f" ({where_words(f, names)})" if names else "") for f in findings[:MOST]]
    more = [f"and {len(findings) - MOST} more"] if len(findings) > MOST else []
    return "; ".join([*texts, *more])


def marked_words(found: Sequence[Sequence[Finding]], names: Sequence[str]) -> str:
    """Which layers are marked at a snapshot, in a sentence."""
    marked = [f"{plain(name)} ({level})" for name, each in zip(names, found, strict=True) if (level := worst(each))]
    more = f" and {len(marked) - MOST} more" if len(marked) > MOST else ""
    return f" Marked: {', '.join(marked[:MOST])}{more}." if marked else ""


def mark_keys(levels: Sequence[str], role: str) -> tuple[Key, ...]:
    """Entries of a legend for the levels that are marked in a figure."""
    return tuple(Key(level, ((SHAPES[level], role),)) for level in LEVELS if level in levels)


def finding_text(finding: Finding) -> Text:
    """What lists show of a finding; only text, never markup."""
    keys = ("level", "rule", "title", "text", "action", "heuristic", "record", "evidence", "refute")
    return {**{key: getattr(finding, key) for key in keys}, "limit": limit_of(finding)}


def of_run(finding: Finding) -> bool:
    """Whether it is about the run as such, say its losses, and no block's spectrum."""
    return finding.layer is None and not finding.others and finding.eigenvalue is None


def blocks_of(finding: Finding, names: Mapping[str | None, str]) -> list[str]:
    """The blocks a finding of the run is about, by the names on show, as far as they are on show."""
    about = finding.others if finding.layer is None and finding.others else (finding.layer,)
    if of_run(finding):
        return []
    return [names[block] for block in about if block in names]


def where_words(finding: Finding, names: Mapping[str | None, str]) -> str:
    """Say which blocks a finding is about: few by name, many by number."""
    if of_run(finding):
        return "the run"
    blocks = blocks_of(finding, names)
    if len(blocks) > NAMED:
        return f"{len(blocks)} layers"
    return ", ".join(plain(block) for block in blocks) or "layers not shown"


def run_texts(
    located: Located, names: Mapping[str | None, str], labels: Sequence[str], places: Sequence[str]
) -> list[Text]:
    """Entries of the list of the run: what each finding says, of which blocks, from which snapshot on.

    ``names`` are the blocks on show, by what the session calls them. ``layer`` is where a click leads to; empty, it
    leads to the snapshot only.
    """
    index = {label: k for k, label in enumerate(labels)}
    texts = []
    for finding in located.findings:
        k, shown = index.get(finding.snapshot), of_run(finding) or blocks_of(finding, names)
        if k is not None and shown:
            place = f"{where_words(finding, names)} at {places[k]}"
            texts.append(
                {**finding_text(finding), "layer": _first(located, finding, names), "frame": k, "place": place}
            )
    return texts


def run_words(count: int, data: str = "") -> str:
    """The sentence above the list; ``data`` says which, where it is not that of training."""
    known = f"in what is known{data}"
    if not count:
        return f"Nothing unusual was found {known}."
    return f"{count} {known}, most urgent first. Click one to go there."


def _first(located: Located, finding: Finding, names: Mapping[str | None, str]) -> str:
    """The first block in which it begins, by the name on show."""
    keys = {name: key for key, name in names.items()}
    blocks = blocks_of(finding, names)
    begun = (b for b in blocks if any(f.rule == finding.rule for f in located.at(keys[b], finding.snapshot)))
    return next(begun, blocks[0] if blocks else "")
