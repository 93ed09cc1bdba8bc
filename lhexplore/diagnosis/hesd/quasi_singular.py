"""Tell a spectrum whose scale has collapsed by excessive training: the quasi-singular flag.

No threshold is known from the literature; the ratios and their limits are lhexplore's, tried on small
networks (docs/diagnosis_study.md).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float
from numpy import ndarray

from ...spectrum import Spectrum
from .. import texts
from ..alike import require_earlier, require_held_out
from ..measure import is_flat
from ..thresholds import COLLAPSE, SMALL_LOSS


class QuasiSingular(NamedTuple):
    """The flag with its two ratios; NaN where there was nothing to compare with."""

    flag: bool
    own: float  # λmax now / largest λmax so far
    gap: float  # λmax on the training data / λmax on held-out data
    reasons: tuple[str, ...]


def has_collapsed(
    own: Float[ndarray, "*cells"],
    gap: Float[ndarray, "*cells"],
    loss: Float[ndarray, "*cells"],
    *,
    small_loss: Float[ndarray, "*#cells"],
    limit: float,
) -> tuple[Bool[ndarray, "*cells"], Bool[ndarray, "*cells"]]:
    """Where the scale has collapsed against its own past, and where against held-out data.

    Either counts only together with a small training loss: λmax also falls when a network leaves its initial state,
    and held-out inputs of another scale have another one. Where the loss is NaN, neither does.
    """
    small = loss <= small_loss
    return (own < limit) & small, (gap < limit) & small


def quasi_singular(
    spectrum: Spectrum,
    *,
    history: Sequence[Spectrum] = (),
    held_out: Spectrum | None = None,
    train_loss: float | None = None,
    small_loss: float = SMALL_LOSS,
    collapse: float = COLLAPSE,
) -> QuasiSingular:
    """Compare λmax with its own past and with held-out data.

    Where the training loss is not known, what would raise the flag is reported and it stays down.

    Raises:
        ComparisonError: if a spectrum of ``history`` is not of the same block and data and of another snapshot, or
            ``held_out`` not of the same weights and of other data; if one is preliminary.
    """
    for past in history:
        require_earlier(spectrum, past)
    if held_out is not None:
        require_held_out(spectrum, held_out)
    largest = spectrum.largest
    if is_flat(spectrum) or largest <= spectrum.zero_band:
        return QuasiSingular(False, float("nan"), float("nan"), ())
    own = largest / max(largest, *(past.largest for past in history)) if history else float("nan")
    gap = largest / held_out.largest if held_out is not None and held_out.largest > held_out.zero_band else float("nan")
    loss, limit = np.nan if train_loss is None else float(train_loss), float(small_loss)
    cell = [np.array([number]) for number in (own, gap, loss, limit)]
    (by_own,), (by_gap,) = has_collapsed(*cell[:3], small_loss=cell[3], limit=collapse)
    reasons = []
    if by_own:
        reasons.append(texts.QS_COLLAPSE.format(own=own, loss=train_loss))
    if by_gap:
        reasons.append(texts.QS_GAP.format(gap=gap, loss=train_loss))
    if np.isnan(loss):
        fallen = {texts.QS_OF_OWN: own, texts.QS_OF_HELD_OUT: gap}
        reasons += [texts.QS_LOSS_UNKNOWN.format(ratio=x, of=of) for of, x in fallen.items() if x < collapse]
    return QuasiSingular(bool(by_own or by_gap), own, gap, tuple(reasons))
