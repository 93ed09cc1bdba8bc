"""What the type of a Hessian eigenspectral density means for reading on, at every layer and snapshot."""

from collections.abc import Iterator

import numpy as np

from ...spectrum import Spectrum
from ..hesd.ends import ROUND_OFF
from ..hesd.hesd import DEFECT_LIMIT, LIMIT
from .findings import Level
from .grid import Grid, Mask
from .sign import Facts, Sign, Silence

TYPE = "HESD"
# Where no probe's C_t falls below this share of LIMIT, the type is known without its interval: that adds at most two
# standard errors, of probes between 0 and half of LIMIT less than half of LIMIT.
_CLEAR = 0.5
_UNSEEN = 40.0  # residual × √(weight × size) × this bounds how far beyond an outermost node the true end may lie
_NEAR = 8  # nodes per probe, from either end inward, that are searched for its outermost one


def hesd_type(grid: Grid) -> Iterator[Sign | Silence]:
    """What the HESD type means for reading on; the criteria themselves for the whole network only.

    A negative type warns only of a whole network that has learnt: before, and in single layers, it is ordinary.
    """
    limits, chain = grid.limits, grid.chain()
    closer = grid.known & ~grid.flat & ~(_surely_positive(grid) & grid.layer_rows)
    names, ct = np.full(grid.shape, "", object), np.full(grid.shape, np.nan)
    for i, t in np.argwhere(closer).tolist():
        found = grid.type_of(i, t)
        names[i, t], ct[i, t] = ("" if found.flat else found.type), found.ct
    trained = (grid.train_loss <= limits.trained * np.fmax.accumulate(grid.train_loss)) & ~grid.layer_rows
    cases: tuple[tuple[Level, Mask], ...] = (("warning", trained), ("note", ~trained))
    for level, where in cases:
        yield Sign(
            TYPE,
            "mainly negative",
            level,
            fires=(names == "MN") & where,
            value=ct,
            threshold=LIMIT,
            chain=chain,
            facts=lambda i, t: {"ct": ct[i, t], "limit": LIMIT},
            eigenvalue=grid.smallest,
        )
    yield Sign(
        TYPE,
        "undecided",
        "note",
        fires=names == "undecided",
        value=ct,
        threshold=LIMIT,
        chain=chain,
        heuristic=False,
        facts=lambda i, t: {"why": grid.type_of(i, t).reasons[0]},
    )
    criteria = (names == "MP") & ~grid.layer_rows & ~grid.psd
    kh = np.full(grid.shape, np.nan)
    kh[criteria] = [grid.type_of(i, t).kh for i, t in np.argwhere(criteria).tolist()]
    re = -ct
    good = criteria & (re < limits.good_re) & (kh < limits.good_kh)
    moderate = criteria & ~good & (kh < limits.moderate_kh)

    def read(reading: str) -> Facts:
        return lambda i, t: {
            "reading": reading,
            "re": re[i, t],
            "kh": kh[i, t],
            "basis": _basis(grid.type_of(i, t).kh_basis),
        }

    for reading, fires in (("good", good), ("moderate", moderate), ("poor", criteria & ~good & ~moderate)):
        yield Sign(
            TYPE,
            "criteria",
            "info",
            fires=fires,
            value=kh,
            threshold=limits.good_kh,
            chain=chain,
            facts=read(reading),
        )


def _surely_positive(grid: Grid) -> Mask:
    """Where the type is MP beyond doubt, by a look at the ends that costs a tenth of the criteria's."""
    resolved = (grid.of(lambda s: s.symmetry_defect) <= DEFECT_LIMIT) & (grid.magnitude >= grid.limits.floor)
    likely: Mask = resolved & (grid.largest > grid.band) & (-grid.smallest <= -_CLEAR * LIMIT * grid.largest)
    return np.asarray(likely & (grid.psd | (grid.of(_clear, likely) == 1)))


def _clear(s: Spectrum) -> float:
    """Whether every probe's ends, moved by their errors towards the limit, still have a ratio far from it."""
    if s.exact or not s.probes:
        top, reach = s.largest, s.error
    else:
        # A probe's outermost nodes are among the outermost of all, as a rule; the outermost overwrites the others.
        near = min(_NEAR * s.probes, len(s.probe))
        first = {number: k for k, number in zip(range(near)[::-1], s.probe[:near][::-1].tolist(), strict=True)}
        last = {number: k - near for k, number in enumerate(s.probe[-near:].tolist())}
        if len(first) < s.probes or len(last) < s.probes:
            return 0.0
        ends = [*first.values(), *last.values()]
        unseen = s.residuals[ends] * np.maximum(1.0, _UNSEEN * np.sqrt(s.weights[ends] * s.size))
        top, reach = s.nodes[list(last.values())].min(), unseen.max()
    # Rounding is relative to the largest of all, and so may swallow a probe that has seen only small ones.
    reach += s.magnitude * max(s.symmetry_defect, ROUND_OFF)
    return float(reach - s.smallest <= -_CLEAR * LIMIT * (top - reach))


def _basis(basis: str) -> str:
    return basis if basis == "exact" else f"{basis} steps"
