"""A line per eigenvalue at every snapshot, each spectrum in a lane of its own."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from .axes import ValueAxis
from .base_figure import rows
from .spectrum_shapes import NONE, Canvas, Fit, Frames, Over, Spectra, kept_of

CELLS = 700  # places of the axis that can be told apart; eigenvalues in one of them share a line
FAINTEST = 0.25  # opacity of a line that stands for much less than one eigenvalue
LANE = 0.8  # share of a lane that its lines fill


def rug(spectra: Spectra, axis: ValueAxis, over: Over = NONE, fit: Fit = None) -> Canvas:
    """Lines at the eigenvalues; where they are estimated, paler ones stand for less than one eigenvalue.

    The lanes' ticks carry the names of their sources. ``fit`` changes nothing: lanes have no scale.
    """
    lanes: list[tuple[str, Spectra, bool]] = [("rug", spectra, False)]
    lanes += [("minus", spectra, True)] if axis.folded else []
    lanes += [(source, each, False) for source, each in over.items()]
    frames: Frames = {}
    for i, (source, each, negative) in enumerate(lanes):
        block = _lines(each, axis, negative)
        shown = np.where(np.isnan(block["x"]), np.nan, 1.0)
        bottom, top = (10 ** ((i + part) / len(lanes)) for part in (0.0, LANE))
        frames |= {f"{source}__{key}": values for key, values in block.items()}
        frames |= {f"{source}__low": bottom * shown, f"{source}__high": top * shown}
    middles = (10 ** ((i + LANE / 2) / len(lanes)) for i in range(len(lanes)))
    return Canvas(frames, 10**-0.02, 10**1.15, "", dict(zip(middles, (lane[0] for lane in lanes), strict=True)))


def _lines(spectra: Spectra, axis: ValueAxis, negative: bool) -> Frames:
    found: list[tuple[Float[ndarray, " l"], Float[ndarray, " l"]]] = []
    for spectrum in spectra:
        if spectrum is None:
            found.append((np.empty(0), np.empty(0)))
            continue
        inside = np.abs(spectrum.nodes) <= spectrum.zero_band
        share = (axis.position(np.where(inside, 0.0, spectrum.nodes)) - axis.start) / (axis.end - axis.start)
        kept = kept_of(axis, spectrum.nodes, inside, negative) & (share >= 0) & (share <= 1)
        cells, counts = (share[kept] * CELLS).astype(int), spectrum.size * spectrum.weights[kept]
        number = np.bincount(cells, counts, CELLS + 1).astype(float)
        place = np.bincount(cells, counts * share[kept], CELLS + 1)
        filled = number > 0
        found.append((axis.start + (axis.end - axis.start) * place[filled] / number[filled], number[filled]))
    longest = max([1, *(len(x) for x, _ in found)])
    block = {key: rows(len(found), longest) for key in ("x", "value", "count", "strength")}
    for k, (x, number) in enumerate(found):
        used = len(x)
        block["x"][k, :used], block["value"][k, :used], block["count"][k, :used] = x, axis.value(x), number
        block["strength"][k, :used] = np.clip(np.sqrt(number), FAINTEST, 1.0)
    return block
