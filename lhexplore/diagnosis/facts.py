"""Rules that state what is: structure, zeros and what round-off leaves open. Nothing here is a heuristic reading."""

from collections.abc import Iterator

import numpy as np

from .findings import Case, Finding, Level, finding
from .hesd import DEFECT_LIMIT, LIMIT

FACT = "D9"
TYPE = "HESD"


def structure(case: Case) -> Iterator[Finding]:
    """PSD by structure, a zero block, a functional without curvature."""
    s, hesd = case.spectrum, case.hesd
    if hesd.flat:
        yield finding(
            FACT,
            "zero block",
            "info",
            value=s.magnitude,
            threshold=s.zero_band,
            heuristic=False,
            eigenvalue=0.0,
            band=s.zero_band,
        )
        if s.functional == "sum":
            yield finding(FACT, "degenerate", "note", value=s.magnitude, threshold=s.zero_band, heuristic=False)
    elif hesd.psd:
        yield finding(FACT, "psd", "info", value=s.smallest, threshold=-s.zero_band, heuristic=False, eigenvalue=0.0)


def precision(case: Case) -> Iterator[Finding]:
    """Whether round-off decides, the ends have converged and the computation has finished."""
    s, limits = case.spectrum, case.thresholds
    if s.symmetry_defect > limits.asymmetry:
        level: Level = "warning" if s.symmetry_defect > DEFECT_LIMIT else "note"
        yield finding(
            FACT,
            "unresolved",
            level,
            value=s.symmetry_defect,
            threshold=limits.asymmetry,
            heuristic=False,
            band=s.zero_band,
        )
    ends = max(float(s.residuals[0]), float(s.residuals[-1]))
    if not case.hesd.flat and ends > limits.unresolved * s.magnitude:
        which = s.largest if s.residuals[-1] >= s.residuals[0] else s.smallest
        yield finding(
            FACT,
            "not converged",
            "note",
            value=ends / s.magnitude,
            threshold=limits.unresolved,
            heuristic=False,
            eigenvalue=which,
            error=ends,
        )
    if not s.complete:
        yield finding(
            FACT, "preliminary", "info", value=float(s.probes), threshold=0.0, heuristic=False, probes=s.probes
        )


def unchanged(case: Case) -> Iterator[Finding]:
    """Whether this spectrum repeats the one before it digit by digit."""
    if not case.history or case.hesd.flat:
        return
    s, before = case.spectrum, case.history[-1]
    same = (
        before.method == s.method
        and before.largest == s.largest
        and np.array_equal(before.nodes, s.nodes)
        and np.array_equal(before.weights, s.weights)
    )
    if same:
        yield finding(
            FACT,
            "unchanged",
            "info",
            value=0.0,
            threshold=0.0,
            heuristic=False,
            before=before.snapshot,
            window=(before.snapshot, s.snapshot),
        )


def type_(case: Case) -> Iterator[Finding]:
    """What the HESD type means for reading on; the criteria themselves for the whole network only."""
    s, hesd, limits = case.spectrum, case.hesd, case.thresholds
    if hesd.type == "MN":
        yield finding(
            TYPE,
            "mainly negative",
            "warning",
            value=hesd.ct,
            threshold=LIMIT,
            heuristic=True,
            eigenvalue=s.smallest,
            ct=hesd.ct,
            limit=LIMIT,
        )
    elif hesd.type == "undecided" and not hesd.flat:
        yield finding(TYPE, "undecided", "note", value=hesd.ct, threshold=LIMIT, heuristic=False, why=hesd.reasons[0])
    elif hesd.type == "MP" and s.layer is None and not hesd.psd:
        if hesd.re < limits.good_re and hesd.kh < limits.good_kh:
            reading = "good"
        else:
            reading = "moderate" if hesd.kh < limits.moderate_kh else "poor"
        yield finding(
            TYPE,
            "criteria",
            "info",
            value=hesd.kh,
            threshold=limits.good_kh,
            heuristic=True,
            reading=reading,
            re=hesd.re,
            kh=hesd.kh,
            basis=hesd.kh_basis if hesd.kh_basis == "exact" else f"{hesd.kh_basis} steps",
        )
