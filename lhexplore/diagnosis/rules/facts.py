"""D9: what is rather than how to read it: structure, zeros, what round-off leaves open, weights that repeat."""

from collections.abc import Callable, Iterator

import numpy as np

from ..hesd.hesd import DEFECT_LIMIT
from .findings import Level
from .grid import Grid, Mask
from .sign import Sign, Silence

FACT = "D9"
_UNUSED = "does not use"  # in the reason of a spectrum whose zeros were derived rather than computed


def structure(grid: Grid) -> Iterator[Sign | Silence]:
    """PSD by structure, a zero block, a functional without curvature."""
    chain, none = grid.chain(), np.zeros(grid.shape)
    degenerate = grid.of(lambda s: float(s.functional == "sum")) == 1
    unused = grid.of(lambda s: float(_UNUSED in s.reason), grid.flat) == 1
    cells: tuple[tuple[str, Level, Mask], ...] = (
        ("unused", "note", unused),
        ("zero block", "info", grid.flat & ~unused),
        ("degenerate", "note", grid.flat & degenerate),
    )
    for wording, level, fires in cells:
        yield Sign(
            FACT,
            wording,
            level,
            fires=fires,
            value=grid.magnitude,
            threshold=0.0,
            chain=chain,
            heuristic=False,
            facts=lambda i, t: {"band": grid.band[i, t], "reason": grid.spectra[i, t].reason},
            eigenvalue=none,
        )
    yield Sign(
        FACT,
        "psd",
        "info",
        fires=grid.psd & ~grid.flat,
        value=grid.smallest,
        threshold=0.0,
        chain=chain,
        heuristic=False,
        eigenvalue=none,
        together=True,
    )


def precision(grid: Grid) -> Iterator[Sign | Silence]:
    """Whether round-off decides, the ends have converged and the computation has finished."""
    limits, chain = grid.limits, grid.chain()
    defect = grid.of(lambda s: s.symmetry_defect)
    doubtful = defect > limits.asymmetry
    cells: tuple[tuple[Level, Mask], ...] = (
        ("warning", doubtful & (defect > DEFECT_LIMIT)),
        ("note", doubtful & ~(defect > DEFECT_LIMIT)),
    )
    for level, fires in cells:
        yield Sign(
            FACT,
            "unresolved",
            level,
            fires=fires,
            value=defect,
            threshold=limits.asymmetry,
            chain=chain,
            heuristic=False,
            facts=lambda i, t: {"band": grid.band[i, t]},
            together=True,
        )
    low, high = grid.of(lambda s: s.residuals[0]), grid.of(lambda s: s.residuals[-1])
    error = np.maximum(low, high)
    yield Sign(
        FACT,
        "not converged",
        "note",
        fires=~grid.flat & (error > limits.unresolved * grid.magnitude),
        value=error / grid.magnitude,
        threshold=limits.unresolved,
        chain=chain,
        heuristic=False,
        facts=lambda i, t: {"error": error[i, t]},
        eigenvalue=np.where(high >= low, grid.largest, grid.smallest),
        together=True,
    )
    probes = grid.of(lambda s: float(s.probes))
    yield Sign(
        FACT,
        "preliminary",
        "info",
        fires=grid.of(lambda s: float(s.complete)) == 0,
        value=probes,
        threshold=0.0,
        chain=chain,
        heuristic=False,
        facts=lambda i, t: {"probes": int(probes[i, t])},
        together=True,
    )


def unchanged(grid: Grid) -> Iterator[Sign | Silence]:
    """Whether a spectrum repeats the one before it digit by digit, or all weights are those of an earlier snapshot."""
    chain = grid.chain()
    same = grid.known & ~grid.flat & (grid.largest == chain.back(grid.largest))
    for i, t in np.argwhere(same).tolist():
        now, before = grid.spectra[i, t], grid.spectra[i, chain.columns(i, t, 2)[0]]
        same[i, t] = (
            before.method == now.method
            and np.array_equal(before.nodes, now.nodes)
            and np.array_equal(before.weights, now.weights)
        )
    repeated, earlier = _repeated(grid)
    yield Sign(
        FACT,
        "unchanged",
        "info",
        fires=same & ~repeated[-1],
        value=np.zeros(grid.shape),
        threshold=0.0,
        chain=chain,
        heuristic=False,
        facts=lambda i, t: {"before": grid.labels[chain.columns(i, t, 2)[0]]},
        looked_back=2,
        together=True,
    )
    yield Sign(
        FACT,
        "same weights",
        "note",
        fires=repeated,
        value=np.zeros(grid.shape),
        threshold=0.0,
        chain=grid.chain(repeated),
        heuristic=False,
        facts=lambda _i, t: {
            "here": _with_step(grid, grid.labels[t]),
            "before": _with_step(grid, earlier[grid.labels[t]]),
        },
    )


def built(grid: Grid) -> Iterator[Sign | Silence]:
    """What is known of how layers are built, such as tied weights."""
    remarks = grid.course.remarks
    told = np.array([[name is not None and name in remarks] for name in grid.layers])
    yield Sign(
        FACT,
        "built",
        "info",
        fires=grid.known & told,
        value=np.zeros(grid.shape),
        threshold=0.0,
        chain=grid.chain(),
        heuristic=False,
        facts=lambda i, _t: {"remark": remarks[str(grid.layers[i])]},
    )


FACTS: tuple[Callable[[Grid], Iterator[Sign | Silence]], ...] = (structure, precision, unchanged, built)


def _repeated(grid: Grid) -> tuple[Mask, dict[str, str]]:
    """Snapshots whose weights an earlier one had, in the row of the run, and which one that was."""
    first: dict[object, str] = {}
    earlier: dict[str, str] = {}
    for t, label in enumerate(grid.labels):
        digests = {s.provenance.get("snapshot_digest") for s in grid.spectra[:, t] if s is not None} - {None, ""}
        for digest in digests:
            before = first.setdefault(digest, label)
            if before != label:
                earlier[label] = before
    repeated = np.zeros(grid.shape, bool)
    repeated[-1] = [label in earlier for label in grid.labels]
    return repeated, earlier


def _with_step(grid: Grid, label: str) -> str:
    step = grid.course.steps.get(label)
    return f"{label!r}" if step is None else f"{label!r} (step {step:,})"
