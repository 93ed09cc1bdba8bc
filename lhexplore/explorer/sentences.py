"""Says in words what the figures show: the text twin of every picture, and the short lines inside them."""

import math

import numpy as np

from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .escape import plain
from .protocols import TraceLike


def spectrum_title(spectrum: Spectrum | None, name: str, label: str) -> str:
    """One line for the top of the figure."""
    start = f"{plain(name, longest=32)} · {plain(label, longest=32)}"
    if spectrum is None:
        return f"{start} · not computed yet"
    if spectrum.exact:
        return f"{start} · exact"
    return f"{start} · estimate, {spectrum.probes} × {spectrum.steps}" + ("" if spectrum.complete else ", unfinished")


def spectrum_sentence(spectrum: Spectrum, name: str, label: str) -> str:
    """A full description of one spectrum: its ends, how many of each sign, its trace and how sure all that is."""
    about = "" if spectrum.exact else "about "
    negative, zero, positive = _shares(spectrum)
    ends = f"from {_end(spectrum.smallest, spectrum)} to {_end(spectrum.largest, spectrum)}"
    return (
        f"{plain(name)} at {plain(label)}: {_eigenvalues(spectrum.size)} {ends} "
        f"(± {short(spectrum.error, digits=1)}); {about}{negative} negative, {zero} in the "
        f"zero band (within ±{short(spectrum.zero_band, digits=2)}), {positive} positive; "
        f"trace {trace_words(spectrum)}. {_kind(spectrum).capitalize()}."
    )


def beside_sentence(spectrum: Spectrum | None) -> str:
    """A short description of what stands over a spectrum: the same block on held-out data."""
    if spectrum is None:
        return "On held-out data: not computed yet."
    ends = f"from {_end(spectrum.smallest, spectrum)} to {_end(spectrum.largest, spectrum)}"
    return f"On held-out data: {ends}; trace {short(spectrum.trace)}."


def trace_words(spectrum: Spectrum) -> str:
    """The trace and what it may be off by: twice its standard error, or the round-off of all eigenvalues together."""
    # An exact spectrum's zero by rank stands for many eigenvalues at one node and has no error.
    error = np.count_nonzero(spectrum.nodes) * spectrum.error if spectrum.exact else 2 * spectrum.trace_stderr
    return f"{short(spectrum.trace)} ± {short(error, digits=1 if spectrum.exact else 2)}"


def early_trace(trace: TraceLike) -> str:
    """A trace that is known before the spectrum, in few characters."""
    return f"trace {short(trace.value, digits=2)} ± {short(2 * trace.stderr, digits=1)}"


def end_words(value: float, spectrum: Spectrum) -> str:
    """An end of the spectrum with its error; what has no sign is called zero."""
    if abs(value) <= spectrum.zero_band:
        return f"0 (within ± {short(spectrum.zero_band, digits=1)})"
    return f"{short(value)} ± {short(spectrum.error, digits=1)}"


def interval_words(value: float, interval: tuple[float, float]) -> str:
    """A value with its interval: ``−0.229  (−0.231 to −0.227)``, or ± where that lies below the digits shown."""
    low, high = (short(end) for end in interval)
    if math.isnan(interval[0]) or math.isnan(interval[1]):
        return short(value)
    if low == short(value) == high:
        return f"{short(value)} ± {short(max(value - interval[0], interval[1] - value), digits=1)}"
    return f"{short(value)}  ({low} to {high})"


def missing_sentence(name: str, label: str) -> str:
    """Say that there is nothing to see yet."""
    return f"{plain(name)} at {plain(label)} is not computed yet."


def _eigenvalues(count: int) -> str:
    return "1 eigenvalue" if count == 1 else f"{count:,} eigenvalues"


def _end(value: float, spectrum: Spectrum) -> str:
    """What has no sign is called zero."""
    return "0" if abs(value) <= spectrum.zero_band else short(value)


def _kind(spectrum: Spectrum) -> str:
    if spectrum.exact:
        return "exact"
    kind = f"estimate, {spectrum.probes} probe{'s' if spectrum.probes != 1 else ''} × {spectrum.steps} steps"
    return kind if spectrum.complete else f"{kind}, unfinished"


def _shares(spectrum: Spectrum) -> tuple[str, str, str]:
    """Expected numbers of eigenvalues below, inside and above the zero band."""
    signs = np.where(np.abs(spectrum.nodes) <= spectrum.zero_band, 0.0, np.sign(spectrum.nodes))
    counts = [spectrum.size * float(spectrum.weights[signs == sign].sum()) for sign in (-1, 0, 1)]
    negative, zero, positive = (f"{round(c):,}" if spectrum.exact else short(c) for c in counts)
    return negative, zero, positive
