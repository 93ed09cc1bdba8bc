"""Figures as tables: for those who listen, for paper, and for pages without scripts."""

from collections.abc import Mapping, Sequence
from typing import TypedDict

import numpy as np

from ..diagnosis import Hesd
from ..diagnosis.number_texts import short
from ..explorer.escape import plain
from ..explorer.sentences import end_words, interval_words, trace_words
from ..figures.shapes import quantile
from ..spectrum import Spectrum

SHARES = (0.05, 0.25, 0.5, 0.75, 0.95)
MISSING = "not computed"


class Table(TypedDict):
    """Only text, never markup; one row per snapshot."""

    caption: str
    head: list[str]
    rows: list[list[str]]


def table(caption: str, head: Sequence[str], labels: Sequence[str], cells: Sequence[Sequence[str] | None]) -> Table:
    """A row per snapshot; None where nothing is known."""
    blank = [MISSING, *[""] * (len(head) - 1)]
    rows = [[label, *(blank if row is None else row)] for label, row in zip(labels, cells, strict=True)]
    return {"caption": caption, "head": ["Snapshot", *head], "rows": rows}


def ends_table(
    name: str, spectra: Sequence[Spectrum | None], held_out: Sequence[Spectrum | None], labels: Sequence[str]
) -> Table:
    """Both ends and the trace, and those of held-out data beside them."""
    head = ["λmin", "λmax", "Trace", "Method"] + (["λmax, held-out", "Trace, held-out"] if held_out else [])
    beside = held_out or [None] * len(spectra)
    cells = [None if s is None else _ends(s, other, bool(held_out)) for s, other in zip(spectra, beside, strict=True)]
    return table(f"Ends of the spectrum of {plain(name)}", head, labels, cells)


def _ends(spectrum: Spectrum, other: Spectrum | None, both: bool) -> list[str]:
    method = "exact" if spectrum.exact else f"{spectrum.probes} × {spectrum.steps}"
    beside = [MISSING, ""] if other is None else [end_words(other.largest, other), trace_words(other)]
    ends = [end_words(spectrum.smallest, spectrum), end_words(spectrum.largest, spectrum)]
    return [*ends, trace_words(spectrum), method, *(beside if both else [])]


def quantile_table(name: str, spectra: Sequence[Spectrum | None], labels: Sequence[str]) -> Table:
    """Which eigenvalues the smallest 5, 25, 50, 75 and 95 % do not exceed."""
    head = [f"{100 * share:.0f} %" for share in SHARES]
    cells = [None if s is None else _quantiles(s) for s in spectra]
    return table(f"Quantiles of the eigenvalues of {plain(name)}", head, labels, cells)


def _quantiles(spectrum: Spectrum) -> list[str]:
    found = quantile(spectrum, np.array(SHARES))
    return [short(value) if abs(value) > spectrum.zero_band else "0" for value in found]


def types_table(name: str, types: Sequence[Hesd | None], labels: Sequence[str]) -> Table:
    """Type and both criteria with their intervals."""
    cells = [None if h is None else [h.word, interval_words(h.ct, h.interval), _kh(h)] for h in types]
    return table(f"HESD type of {plain(name)}", ["Type", "C_t", "K_H"], labels, cells)


def _kh(h: Hesd) -> str:
    certain = h.kh_interval == (h.kh, h.kh)
    return short(h.kh) if certain else interval_words(h.kh, h.kh_interval)


def losses_table(losses: Sequence[Mapping[str, float]], labels: Sequence[str]) -> Table:
    """Everything that was recorded."""
    names = list(dict.fromkeys(name for row in losses for name in row))
    cells = [[short(float(row[name])) if name in row else "" for name in names] if row else None for row in losses]
    return table("Recorded in training", [plain(name) for name in names] or ["Loss"], labels, cells)


def values_table(caption: str, names: Sequence[str], words: Sequence[Sequence[str]], labels: Sequence[str]) -> Table:
    """A column per block."""
    return table(caption, [plain(name) for name in names], labels, [list(row) for row in zip(*words, strict=True)])
