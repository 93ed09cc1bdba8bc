"""A session in a can: spectra of 4 layers at 12 snapshots from closed forms, for tests of everything people see.

Nothing is computed from a model, so views are tested without torch. Some snapshots are missing, one layer is
estimated (with a spread over probes), one is positive semi-definite by structure, and one has a name that is an attack.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np

from lhexplore.errors import UnknownSnapshotError
from lhexplore.spectrum import Spectrum, Step

HOSTILE = "<img src=x onerror=window.hacked=1>$$x$$"
STEPS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
MISSING = {("conv1", 2), ("conv1", 3), ("conv2", 7), ("head", 5)}
PROBES, LANCZOS = 5, 20


@dataclass(frozen=True)
class CannedLayer:
    name: str
    size: int
    kind: str = "Linear"
    status: str = "ok"
    reason: str = ""
    parameters: tuple[str, ...] = ("weight", "bias")


@dataclass(frozen=True)
class CannedSnapshot:
    label: str
    step: int | None
    epoch: float | None
    metrics: Mapping[str, float]
    digest: str = "0" * 40
    status: str = "ok"
    reason: str = ""
    aliases: tuple[str, ...] = ()


class CannedSnapshots(tuple[CannedSnapshot, ...]):
    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(s.label for s in self)

    def index(self, value: Any, *_: Any) -> int:
        for k, row in enumerate(self):
            if value in (row.label, row):
                return k
        if isinstance(value, int) and -len(self) <= value < len(self):
            return value % len(self)
        raise UnknownSnapshotError(f"no snapshot {value!r}")

    def __getitem__(self, key: Any) -> Any:
        return tuple.__getitem__(self, self.index(key) if isinstance(key, str) else key)


LAYERS = (
    CannedLayer("conv1", 80, "Conv2d"),
    CannedLayer("conv2", 3000, "Conv2d"),
    CannedLayer(HOSTILE, 40),
    CannedLayer("head", 650),
    CannedLayer("old", 10, status="skipped", reason="integer parameters"),
)


def snapshots(count: int = len(STEPS)) -> CannedSnapshots:
    return CannedSnapshots(
        CannedSnapshot(
            label=f"step-{step:06d}",
            step=step,
            epoch=step / 64,
            metrics={"loss": 2.3 / (1 + step / 20), "held_out_loss": 2.3 / (1 + step / 20) + 0.02 * k},
        )
        for k, step in enumerate(STEPS[:count])
    )


def spectrum(layer: str | None, k: int, label: str) -> Spectrum:
    """The same numbers for the same arguments, always."""
    names = [row.name for row in LAYERS]
    rng = np.random.default_rng([0 if layer is None else 1 + names.index(layer), k])
    size = sum(row.size for row in LAYERS if row.status == "ok") if layer is None else LAYERS[names.index(layer)].size
    top = 0.5 * 1.6 ** min(k, 8)
    if layer is None or layer == "conv2":
        return _estimate(layer, label, size, top, rng)
    negative = 0 if layer == "head" else size // 6
    zero = size // 3
    nodes = np.concatenate(
        [
            -(10 ** rng.uniform(-5, -1.2, negative)) * top / (1 + k),
            rng.normal(0, 1e-16, zero),
            10 ** rng.uniform(-5, -0.5, size - zero - negative - 1) * top,
            [top],
        ]
    )
    return Spectrum(
        layer, label, size, nodes, np.full(size, 1 / size), "dense",
        zero_band=float(top * 2.2e-15 * np.sqrt(size)), psd=layer == "head", reason=f"{size} parameters",
        products=size, seconds=0.01 * size, provenance={"seed": 0, "dtype": "float64"},
    )  # fmt: skip


def _estimate(layer: str | None, label: str, size: int, top: float, rng: np.random.Generator) -> Spectrum:
    grid = np.concatenate([-np.geomspace(0.2, 1e-4, 6), np.geomspace(1e-5, 1, LANCZOS - 6)]) * top
    shape = np.exp(-np.abs(np.log10(np.abs(grid) / top) + 4))
    nodes, weights = [], []
    for _ in range(PROBES):
        nodes.append(grid * (1 + 0.02 * rng.standard_normal(LANCZOS)))
        noisy = shape * rng.uniform(0.6, 1.4, LANCZOS)
        noisy[-1] = 1 / size
        weights.append(noisy / noisy.sum() / PROBES)
    residuals = np.tile(np.concatenate([[0.05 * top], np.full(LANCZOS - 2, 0.02 * top), [1e-8 * top]]), PROBES)
    flat, mass = np.concatenate(nodes), np.concatenate(weights)
    return Spectrum(
        layer, label, size, flat, mass / mass.sum(), "lanczos",
        residuals=residuals, probe=np.repeat(np.arange(PROBES), LANCZOS), steps=LANCZOS, probes=PROBES,
        trace=float(size * (flat @ mass)), trace_stderr=0.1 * size * float(np.abs(flat) @ mass), zero_band=1e-9 * top,
        reason=f"{size} parameters: {PROBES} probes × {LANCZOS} steps", products=PROBES * LANCZOS, seconds=1.5,
        provenance={"seed": 0, "dtype": "float32"},
    )  # fmt: skip


@dataclass
class CannedSession:
    """Has the public face of a session; ``steps`` makes what is missing, one product every ``pause`` seconds."""

    missing: set[tuple[str | None, int]] = field(default_factory=lambda: set(MISSING))
    layers: tuple[CannedLayer, ...] = LAYERS
    snapshots: CannedSnapshots = field(default_factory=snapshots)
    description: str = "ConvNet · 3,770 parameters · 512 examples · cross-entropy · eval · float64 · cpu"
    notices: tuple[str, ...] = ()
    has_held_out: bool = False
    closed: bool = False
    pause: float = 0.0
    asked: list[tuple[str | None, int]] = field(default_factory=list)
    attached: list[Any] = field(default_factory=list)

    def attach(self, work: Any) -> None:
        self.attached.append(work)

    def cached(self, layer: str | None, snapshot: int | str = -1, **_: Any) -> Spectrum | None:
        k = self.snapshots.index(snapshot)
        return None if (layer, k) in self.missing else spectrum(layer, k, self.snapshots[k].label)

    def steps(self, layer: str | None, snapshot: int | str = -1, **_: Any) -> Iterator[Step]:
        k = self.snapshots.index(snapshot)
        self.asked.append((layer, k))
        for done in range(1, 10):
            time.sleep(self.pause)
            yield Step(done, 10)
        self.missing.discard((layer, k))
        yield Step(10, 10, spectrum(layer, k, self.snapshots[k].label))

    def stream_traces(self, snapshot: int | str = -1, **_: Any) -> Iterator[SimpleNamespace]:
        k = self.snapshots.index(snapshot)
        for probes in (1, 2, 3, 4):
            time.sleep(self.pause)
            found = [(row.name, spectrum(row.name, k, "")) for row in self.layers if row.status == "ok"]
            layers = [
                SimpleNamespace(layer=name, value=s.trace, stderr=0.1 * abs(s.trace) / probes, status="ok")
                for name, s in found
            ]
            yield SimpleNamespace(layers=layers, probes=probes)

    def losses(self, snapshot: int | str = -1) -> dict[str, float]:
        return dict(self.snapshots[snapshot].metrics)

    evaluate = losses

    def known_diagnosis(self, layer: str | None, snapshot: int | str = -1) -> Any:
        from lhexplore.diagnosis import diagnose

        found = self.cached(layer, snapshot)
        if found is None:
            return None
        k = self.snapshots.index(snapshot)
        history = [s for s in (self.cached(layer, i) for i in range(k)) if s is not None]
        return diagnose(found, history=history, peers=self._peers(layer, k), losses=self.losses(snapshot))

    def _peers(self, layer: str | None, k: int) -> Sequence[Spectrum]:
        rows = (self.cached(row.name, k) for row in self.layers if row.status == "ok" and row.name != layer)
        return [] if layer is None else [s for s in rows if s is not None]
