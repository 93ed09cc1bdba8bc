"""A session as large as one likes, from closed forms: for what a report costs to write, to open and to scrub."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from canned import CannedLayer, CannedSession, CannedSnapshot, CannedSnapshots, finding, held_out

from lhexplore.diagnosis import Diagnosis, Finding, diagnose
from lhexplore.layer_state import LayerState
from lhexplore.spectrum import Spectrum

STEPS, PROBES, NODES = 100, 5, 40


def large(layers: int = 20, snapshots: int = 50, *, names: Sequence[str] = (), **more: Any) -> CannedSession:
    """Estimated spectra of blocks in groups of five, losses, and a warning on every fourth block."""
    names = names or [f"blocks.{i // 5}.{('norm', 'query', 'key', 'value', 'project')[i % 5]}" for i in range(layers)]
    shots = CannedSnapshots(
        CannedSnapshot(
            f"step-{STEPS * k:06d}", STEPS * k, k / 2,
            {"loss": 2.3 / (1 + k / 9), "held_out_loss": 2.3 / (1 + k / 9) + 0.01 * k},
        )
        for k in range(snapshots)
    )  # fmt: skip
    rows = tuple(CannedLayer(name, 10_000 + 400 * i) for i, name in enumerate(names))
    return Large(missing=set(), layers=rows, snapshots=shots, run=Judged.of(names, shots), **more)


class Large(CannedSession):
    """Has the face of a session; every spectrum differs from every other."""

    def _spectrum(self, layer: str | None, k: int, split: str, curvature: str) -> Spectrum:
        i = -1 if layer is None else [row.name for row in self.layers].index(layer)
        found = _estimate(layer, i, k, self.snapshots[k].label)
        return found if split == "data" else held_out(found)

    def known_diagnosis(self, layer: str | None, snapshot: int | str = -1) -> Diagnosis | None:
        found = self.cached(layer, snapshot)
        return None if found is None else _read(found)

    def findings(self, **_: Any) -> Any:
        return self.run

    def cached_states(self, snapshot: int | str = -1, **_: Any) -> dict[str | None, LayerState]:
        return {}


@cache  # a session, too, judges its run once
def _read(spectrum: Spectrum) -> Diagnosis:
    return diagnose(spectrum)


@cache  # a session, too, holds its spectra, and what was found out about one is kept with it
def _estimate(layer: str | None, i: int, k: int, label: str) -> Spectrum:
    rng = np.random.default_rng([i + 1, k])
    top = 0.3 * (1 + 0.4 * i) * (1 + k / 7)
    grid = np.concatenate([-np.geomspace(0.3, 1e-4, NODES // 3), np.geomspace(1e-5, 1, NODES - NODES // 3)]) * top
    nodes = np.concatenate([grid * (1 + 0.03 * rng.standard_normal(NODES)) for _ in range(PROBES)])
    shape = np.exp(-((np.log10(np.abs(np.tile(grid, PROBES)) / top) + 3) ** 2)) * rng.uniform(0.7, 1.3, NODES * PROBES)
    size = 500_000 if layer is None else 10_000 + 400 * i
    residuals = np.tile(np.concatenate([[0.04 * top], np.full(NODES - 2, 0.02 * top), [1e-6 * top]]), PROBES)
    return Spectrum(
        layer, label, size, nodes, shape / shape.sum(), "lanczos",
        residuals=residuals, probe=np.repeat(np.arange(PROBES), NODES), steps=NODES, probes=PROBES,
        trace=float(size * (nodes @ shape) / shape.sum()), trace_stderr=0.02 * size * top, zero_band=1e-6 * top,
        reason=f"{PROBES} probes x {NODES} steps", products=PROBES * NODES, seconds=2.5,
        provenance={"seed": i, "dtype": "float32", "model": f"{i:08x}", "data": f"{k:08x}"},
    )  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """A warning on every fourth block at the fifth snapshot, and what is usual everywhere else."""

    findings: tuple[Finding, ...]
    layers: tuple[str | None, ...]
    labels: tuple[str, ...]
    silent: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, names: Sequence[str], shots: CannedSnapshots) -> "Judged":
        made = [_warning(name, min(4, len(shots) - 1), shots) for name in names[::4]] if shots else []
        return cls(tuple(made), (*names, None), shots.labels)

    def at(self, layer: str | None, snapshot: int | str = -1) -> tuple[Finding, ...]:
        return tuple(f for f in self.findings if f.layer == layer and f.snapshot == snapshot)


def _warning(layer: str, k: int, shots: CannedSnapshots) -> Finding:
    made = finding("D2", "warning", None, 0)
    return replace(made, layer=layer, snapshot=shots[k].label, window=(shots[k].label,), eigenvalue=1.0)
