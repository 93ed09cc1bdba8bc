"""How a spectrum came about: the settings and digests that it was computed with."""

from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .escape import plain

SETTINGS = {
    "examples": "{} examples",
    "mode": "mode {}",
    "dtype": "{}",
    "device": "{}",
    "seed": "seed {}",
    "torch": "torch {}",
}
DIGESTS = {"snapshot_digest": "weights", "data_digest": "data", "loss_digest": "loss"}
SHOWN = 12  # characters of a digest; tables have all of it
UNKNOWN = "Settings and digests stand here as soon as this spectrum is known."


def origin_rows(spectrum: Spectrum, held_out: Spectrum | None = None) -> list[list[str]]:
    """Rows of a table: what is said, and its value."""
    return [
        ["method", f"{spectrum.method}: {spectrum.reason}" if spectrum.reason else spectrum.method],
        ["curvature", f"{spectrum.curvature} of {spectrum.functional}, split {spectrum.split}"],
        ["products", f"{spectrum.products:,} in {short(spectrum.seconds)} s"],
        ["zero band", f"|λ| ≤ {short(spectrum.zero_band)}"],
        *([["held-out", f"{held_out.method}, {held_out.products:,} products"]] if held_out is not None else []),
        ["symmetry defect", short(spectrum.symmetry_defect)],
        *([key, str(value)] for key, value in spectrum.provenance.items()),
    ]


def origin_words(spectrum: Spectrum | None) -> str:
    """The settings and digests in two sentences, as far as the spectrum says them."""
    if spectrum is None:
        return UNKNOWN
    said = spectrum.provenance
    matrix = "Gauss–Newton matrix" if spectrum.curvature == "ggn" else "Hessian"
    of = str(said.get("loss", "the loss")) if spectrum.functional == "loss" else spectrum.functional
    data = "held-out data" if spectrum.split == "held_out" else "training data"
    settings = [text.format(said[key]) for key, text in SETTINGS.items() if key in said]
    digests = [f"{name} {str(said[key])[:SHOWN]}" for key, name in DIGESTS.items() if said.get(key)]
    words = f"Settings: {matrix} of {plain(of)} on {data}, {', '.join([f'method {spectrum.method}', *settings])}."
    return words + (f" Digests: {', '.join(digests)}." if digests else "")
