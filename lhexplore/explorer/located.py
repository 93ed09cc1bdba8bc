"""Findings where they belong: at an eigenvalue, in a cell of the map, at a step, and as a list that leads there."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ..diagnosis import Finding
from ..diagnosis.findings import LEVELS
from ..diagnosis.number_texts import short
from .escape import plain
from .frames import Key, Shape
from .protocols import Judged

MARKED = LEVELS[:2]  # warnings and notes stand in the map; what is only information does not
SHAPES: Mapping[str, Shape] = {"warning": "triangle", "note": "circle", "info": "diamond"}  # told apart without colour
LONGEST = 90  # characters of one finding in a hover box
MOST = 4  # findings named in one hover box

Text = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Located:
    """The findings of a run by place; the weightiest come first everywhere."""

    findings: tuple[Finding, ...] = ()
    silent: Mapping[str, str] = field(default_factory=dict)  # rule -> why it could not judge

    @classmethod
    def of(cls, run: Judged | None) -> "Located":
        """Sort what the session said; nothing where it said nothing yet."""
        return cls() if run is None else cls(weightiest(run.findings), dict(run.silent))

    def at(self, layer: str | None, label: str) -> tuple[Finding, ...]:
        """The findings about one block (None: the whole network) at one snapshot."""
        return tuple(self._places.get((layer, label), ()))

    def during(self, label: str) -> tuple[Finding, ...]:
        """What the time axis marks at a snapshot: warnings wherever they are, notes about the network as a whole."""
        return tuple(f for f in self._during.get(label, ()) if f.level == "warning" or f.layer is None)

    @cached_property
    def _places(self) -> Mapping[tuple[str | None, str], Sequence[Finding]]:
        places: dict[tuple[str | None, str], list[Finding]] = {}
        for finding in self.findings:
            places.setdefault((finding.layer, finding.snapshot), []).append(finding)
        return places

    @cached_property
    def _during(self) -> Mapping[str, Sequence[Finding]]:
        during: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.level in MARKED:
                during.setdefault(finding.snapshot, []).append(finding)
        return during


def weightiest(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """In the order to read them: by weight, then by level."""
    return tuple(sorted(findings, key=lambda f: (-f.weight, LEVELS.index(f.level))))


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
    texts = [name_of(f) + (f" ({plain(names.get(f.layer, f.layer))})" if names else "") for f in findings[:MOST]]
    more = [f"and {len(findings) - MOST} more"] if len(findings) > MOST else []
    return "; ".join([*texts, *more])


def mark_keys(levels: Sequence[str], role: str) -> tuple[Key, ...]:
    """Entries of a legend for the levels that are marked in a figure."""
    return tuple(Key(level, ((SHAPES[level], role),)) for level in LEVELS if level in levels)


def finding_text(finding: Finding) -> Text:
    """What lists show of a finding; only text, never markup."""
    keys = ("level", "rule", "title", "text", "action", "heuristic", "record", "evidence", "refute")
    return {**{key: getattr(finding, key) for key in keys}, "limit": limit_of(finding)}


def run_texts(
    located: Located, names: Mapping[str | None, str], labels: Sequence[str], places: Sequence[str]
) -> list[Text]:
    """One entry for everything a rule says of a block: its weightiest finding, where to look, and where else it holds.

    ``names`` by block are what is shown of it; findings about blocks and snapshots that are not shown are left out.
    """
    index = {label: k for k, label in enumerate(labels)}
    groups: dict[tuple[str, str | None], list[Finding]] = {}
    for finding in located.findings:
        if finding.layer in names and finding.snapshot in index:
            groups.setdefault((finding.rule, finding.layer), []).append(finding)
    texts = []
    for found in groups.values():
        first = found[0]
        k = index[first.snapshot]
        others = sorted({index[f.snapshot] for f in found} - {k})
        texts.append(
            {
                **finding_text(first),
                "layer": names[first.layer],
                "frame": k,
                "place": places[k],
                "also": _also([places[i] for i in others]),
            }
        )
    return texts


def silent_texts(located: Located) -> list[list[str]]:
    """Pairs of a rule that could not judge, and why."""
    return [[rule, why] for rule, why in located.silent.items()]


def _also(places: Sequence[str]) -> str:
    if not places:
        return ""
    if len(places) <= 2:
        return f"also at {' and '.join(places)}"
    return f"also at {len(places)} other snapshots, {places[0]} to {places[-1]}"
