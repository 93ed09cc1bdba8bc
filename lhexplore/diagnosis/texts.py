"""Every sentence the diagnosis says: cause, effect, next step. Numbers are put in by the rules."""

from typing import NamedTuple

from ..spectrum import Spectrum
from .number_texts import Phrase, short


class Badge(NamedTuple):
    """A type as word and symbol, and the name of a colour; never the colour alone."""

    word: str
    symbol: str
    colour: str


class Wording(NamedTuple):
    """One finding in words: ``text`` is filled with the ratios that fired."""

    title: str
    text: str
    action: str
    evidence: str = ""  # what the rule rests on; empty for plain facts
    refute: str = ""  # what would show that it is wrong


TYPES = {
    "MP": Badge("mainly positive", "+", "positive"),
    "MN": Badge("mainly negative, or not yet trained", "−", "negative"),
    "undecided": Badge("undecided", "?", "undecided"),
    "psd": Badge("PSD by structure", "≥", "structure"),
    "flat": Badge("flat: no curvature", "0", "flat"),
}


def badge(type_: str, *, psd: bool, flat: bool, quasi_singular: bool, preliminary: bool) -> Badge:
    """Choose the words for the badge."""
    key = "flat" if flat else "psd" if psd and type_ == "MP" else type_
    word, symbol, colour = TYPES[key]
    extras = (", quasi-singular" if quasi_singular else "") + (", preliminary" if preliminary else "")
    return Badge(word + extras, symbol + ("↓" if quasi_singular else ""), colour)


MP = Phrase("C_t = {ct:.3g} is not below {limit:g}: positive curvature dominates, the criteria may be read.")
PSD = Phrase("C_t = {ct:.3g}, because no eigenvalue can be negative here: the criteria are not to be read.")
MN = Phrase(
    "C_t = {ct:.3g} is below {limit:g}: r_e and K_H must not be read as quality. Rule out the plain causes first."
)
BELOW_FLOOR = Phrase(
    "The largest absolute eigenvalue, {magnitude:.3g}, is below the floor of {floor:.3g} that was set: "
    "the shape of so little curvature is not judged."
)
ASYMMETRIC = Phrase(
    "Unresolved: round-off decides. The products are {defect:.2g} away from symmetric (limit {limit:g}), so signs "
    "are not reliable. Usual causes: confident outputs in float32, dropout, BatchNorm in training mode. Use float64."
)
ENOUGH_PROBES = 5  # lhexplore's choice, and its default
LOCALISED = (
    f"With fewer than {ENOUGH_PROBES} start vectors the intervals may miss an eigenvalue that lives on few parameters: "
    "add start vectors (probes=)."
)
_STRADDLES = Phrase(
    "C_t lies between {low:.3g} and {high:.3g}, on both sides of {limit:g}, so no type is named. {next}"
)
_MORE_WORK = "More steps or probes narrow the interval."
_MORE_DIGITS = "Only a more precise dtype (float64) narrows the interval of an exact spectrum."

QS_COLLAPSE = Phrase(
    "Quasi-singular (heuristic): λmax fell to {own:.2g} of its largest value so far while the training loss is small "
    "({loss:.2g}). Sharpness no longer ranks snapshots; C_t still reads. Prefer the held-out spectrum and float64."
)
QS_GAP = Phrase(
    "Quasi-singular (heuristic): λmax on the training data is only {gap:.2g} of λmax on held-out data, and the "
    "training loss is small ({loss:.2g}). Read C_t on the held-out spectrum."
)
QS_LOSS_UNKNOWN = Phrase(
    "λmax is {ratio:.2g} of {of}. With a small training loss that means quasi-singular; the loss is not known here. "
    "Record it, or evaluate it at this snapshot."
)
QS_OF_OWN = "its largest value so far"
QS_OF_HELD_OUT = "λmax on held-out data"


def straddles(interval: tuple[float, float], limit: float, *, exact: bool) -> str:
    """Say that the interval of C_t contains the limit."""
    following = _MORE_DIGITS if exact else _MORE_WORK
    return _STRADDLES.format(low=interval[0], high=interval[1], limit=limit, next=following)


def flat_reason(spectrum: Spectrum) -> str:
    """Say why a spectrum without values outside the zero band has no type."""
    if spectrum.magnitude == 0:
        cause = "The block is exactly zero"
    else:
        cause = f"All eigenvalues (at most {short(spectrum.magnitude, digits=2)} in size) lie inside the zero band"
    return (
        f"{cause}: no sign can be told. The functional may be degenerate for this block, the layer dead or unused, "
        "or the loss linear in it. Check its gradient and activations."
    )


def hesd_remarks(spectrum: Spectrum, *, psd: bool, preview: int) -> tuple[str, ...]:
    """List what belongs beside every type: scope, structure, and how finished the value is."""
    remarks = []
    if psd:
        remarks.append(
            "PSD by structure: the type is not informative. "
            + ("Look at the Hessian instead of the GGN." if spectrum.curvature == "ggn" else _ask_whole(spectrum))
        )
    elif spectrum.psd:
        remarks.append(
            f"Marked PSD by structure, but the smallest value {short(spectrum.smallest)} is negative beyond its error "
            f"({short(spectrum.error, digits=2)}): the numbers are shown as they came. Repeat in float64."
        )
    if spectrum.layer is not None:
        remarks.append("HESD of a single layer is lhexplore's extension; the criteria were made for the whole network.")
    if not spectrum.complete:
        remarks.append("Preliminary: the spectrum is still being improved, and K_H grows with the number of steps.")
    if not spectrum.exact and spectrum.probes < preview:
        remarks.append(f"Preview only: {spectrum.probes} probes; numbers worth quoting need at least {preview}.")
    if hides(spectrum):
        remarks.append(LOCALISED)
    return tuple(remarks)


def hides(spectrum: Spectrum) -> bool:
    """Whether so few start vectors were drawn that an eigenvalue on few parameters may be outside every interval."""
    return not spectrum.exact and spectrum.probes < ENOUGH_PROBES


def _ask_whole(spectrum: Spectrum) -> str:
    if spectrum.layer is None:
        return "No negative curvature is possible here."
    return "Look at the spectrum of the whole network."


NEEDS = {
    "every eigenvalue": "It needs every eigenvalue, and this spectrum is an estimate. If method='auto' gives no exact "
    "one, ask for method='dense' where the size allows.",
    "curvature": "All eigenvalues are zero or inside the zero band, so the quotient is 0/0.",
    "positive": "No eigenvalue is clearly positive.",
    "no negative": "It is meaningful only without negative eigenvalues, and this spectrum has some.",
    "leading pair": "It needs the two largest eigenvalues apart from each other; fewer than two are resolved here.",
}
UNDEFINED = "It is undefined for this spectrum."
INFINITE = "It is infinite: the eigenvalue it divides by is zero within the cut."
STRUCTURE = "The block is PSD by structure: it has no negative eigenvalues, which says nothing about health."
ESTIMATED = "Estimated from {probes} probes with {steps} steps each."
MULTIPLICITY = "Estimated: one start vector shows one copy of a repeated eigenvalue."
