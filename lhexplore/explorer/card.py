"""The card beside the spectrum: HESD badge, the numbers with their errors, how they were made, what was found."""

import json
from collections.abc import Sequence
from typing import Any

import traitlets as t

from ..diagnosis import Diagnosis, Finding, Hesd
from ..diagnosis.number_texts import short
from ..spectrum import Spectrum, Step
from .framed import Framed, script
from .located import finding_text
from .protocols import TraceLike
from .sentences import end_words, interval_words, trace_words

Text = dict[str, Any]  # what card.js shows of one snapshot; only text, never markup


class Card(Framed):
    """Shows one text per snapshot; ``frame`` says which."""

    _esm = script("focus.js", "findings.js", "card.js")
    texts = t.Unicode("[]", help="JSON text: one card per snapshot.").tag(sync=True)

    def show(self, cards: Sequence[Text]) -> None:
        """Show these cards, one per snapshot."""
        self.texts = json.dumps(list(cards), ensure_ascii=False)


def known_card(title: str, spectrum: Spectrum, diagnosis: Diagnosis, findings: Sequence[Finding] | None = None) -> Text:
    """The card of a complete spectrum; ``findings`` are what the whole run shows here, in place of the diagnosis'."""
    found = [finding_text(f) for f in (diagnosis.findings if findings is None else findings)]
    return {
        "state": "known",
        "title": title,
        "badge": badge(diagnosis.hesd),
        "numbers": numbers(spectrum, diagnosis.hesd),
        "method": method_sentence(spectrum),
        "reasons": list(diagnosis.hesd.reasons),
        "findings": found,
        "beside": [],
        "message": "" if found else "No rule fires for this block here.",
    }


def beside(spectrum: Spectrum, hesd: Hesd, held_out: Spectrum | None, held_hesd: Hesd | None) -> list[list[str]]:
    """Rows of a small table: name, on training data, on held-out data, and their ratio; one row of words if unknown."""
    if held_out is None or held_hesd is None:
        return [["Held-out data: not computed yet."]]
    pairs = [
        ("λmax", spectrum.largest, held_out.largest),
        ("trace", spectrum.trace, held_out.trace),
        ("C_t", hesd.ct, held_hesd.ct),
    ]
    return [[name, short(own), short(other), short(other / own) if own else "–"] for name, own, other in pairs]


def preliminary_card(
    title: str, step: Step, hesd: Hesd | None, trace: TraceLike | None = None, *, stopped: bool
) -> Text:
    """The card of a spectrum that is still being computed, or was stopped on the way."""
    doing = "stopped" if stopped else "computing"
    message = f"Preliminary: {doing} at {step.done} of {step.total} steps." if step.total else "Starting …"
    card = {**_empty(title), "state": "preliminary", "numbers": early_numbers(trace), "message": message}
    if step.spectrum is None or hesd is None:
        return card
    return {
        **card,
        "badge": badge(hesd),
        "numbers": numbers(step.spectrum, hesd),
        "method": method_sentence(step.spectrum),
        "reasons": list(hesd.reasons),
    }


def missing_card(title: str, trace: TraceLike | None = None, *, waiting: bool) -> Text:
    """The card of a spectrum that is not known yet; its trace may be."""
    message = "Not computed yet; it is on its way." if waiting else "Not computed. Press Compute to get it."
    return {**_empty(title), "state": "missing", "numbers": early_numbers(trace), "message": message}


def failed_card(title: str, message: str) -> Text:
    """The card of a spectrum that could not be computed, with the reason in words."""
    return {**_empty(title), "state": "failed", "message": f"Could not be computed. {message}"}


def badge(hesd: Hesd) -> Text:
    """Word, symbol and colour of a HESD type: each says it alone."""
    return {"word": hesd.word, "symbol": hesd.symbol, "kind": hesd.colour}


def numbers(spectrum: Spectrum, hesd: Hesd) -> list[list[str]]:
    """Rows of the card: name, value with its error, what it means."""
    ct = interval_words(hesd.ct, hesd.interval)
    return [
        ["C_t", ct, "smallest over largest eigenvalue; mainly positive from −0.6 up; the interval is its uncertainty"],
        ["λmax", end_words(spectrum.largest, spectrum), "largest eigenvalue"],
        ["λmin", end_words(spectrum.smallest, spectrum), "smallest eigenvalue"],
        ["trace", trace_words(spectrum), "sum of all eigenvalues"],
        ["parameters", f"{spectrum.size:,}", "number of eigenvalues"],
    ]


def early_numbers(trace: TraceLike | None) -> list[list[str]]:
    """What is known before the spectrum."""
    if trace is None or trace.status != "ok":
        return []
    value = f"{short(trace.value)} ± {short(2 * trace.stderr, digits=2)}"
    return [["trace", value, "sum of all eigenvalues, estimated for all layers from the same few random vectors"]]


def method_sentence(spectrum: Spectrum) -> str:
    """Say how the numbers came about."""
    if spectrum.exact:
        how = f"All {spectrum.size:,} eigenvalues, exact up to round-off ({spectrum.method})."
    else:
        how = f"Estimated by Lanczos quadrature: {spectrum.probes} probes × {spectrum.steps} steps."
    matrix = "Gauss–Newton matrix" if spectrum.curvature == "ggn" else "Hessian"
    return " ".join([how, f"{matrix} of the loss." if spectrum.functional == "loss" else "", *spectrum.notes]).strip()


def _empty(title: str) -> Text:
    lists: Text = {name: [] for name in ("numbers", "beside", "reasons", "findings")}
    return {"title": title, "badge": None, "method": "", "message": "", **lists}
