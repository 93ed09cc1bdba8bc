"""A session in a can: spectra of 4 layers at 12 snapshots from closed forms, for tests of everything people see.

Nothing is computed from a model, so views are tested without torch. Some snapshots are missing, one layer is
estimated (with a spread over probes), one is positive semi-definite by structure, and one has a name that is an attack.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any

import numpy as np

from lhexplore.diagnosis import Course, Finding, Thresholds
from lhexplore.errors import UnknownSnapshotError
from lhexplore.layer_state import LayerState
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


GAP = 1.3  # held-out eigenvalues over those of training


def held_out(found: Spectrum) -> Spectrum:
    """The same spectrum, all of it larger by one factor."""
    return replace(
        found,
        nodes=GAP * found.nodes,
        residuals=None if found.residuals is None else GAP * found.residuals,
        trace=GAP * found.trace,
        trace_stderr=GAP * found.trace_stderr,
        zero_band=GAP * found.zero_band,
        split="held_out",
    )


def gauss_newton(found: Spectrum) -> Spectrum:
    """A Gauss-Newton matrix beside a Hessian: the same sizes, none of them negative."""
    return replace(found, nodes=np.abs(found.nodes), trace=float("nan"), psd=True, curvature="ggn")


SHAPES: Mapping[str | None, tuple[tuple[str, tuple[int, ...]], ...]] = {
    "conv1": (("conv1.weight", (8, 1, 3, 3)), ("conv1.bias", (8,))),
    "conv2": (("conv2.weight", (37, 9, 3, 3)), ("conv2.bias", (3,))),
    HOSTILE: ((f"{HOSTILE}.weight", (8, 4)), (f"{HOSTILE}.bias", (8,))),
    "head": (("head.weight", (10, 64)), ("head.bias", (10,))),
}  # fmt: skip


def layer_state(layer: str | None, k: int, split: str = "data") -> LayerState:
    """Weights that widen and a gradient that falls; singular values are known from the sixth snapshot on."""
    size = sum(row.size for row in LAYERS if row.status == "ok")
    size = size if layer is None else next(row.size for row in LAYERS if row.name == layer)
    width = 0.1 * (1 + 0.2 * k)
    return LayerState(
        layer, f"step-{STEPS[k]:06d}", size, split,
        gradient_norm=(GAP if split == "held_out" else 1.0) * 2.0 ** -k,
        mean=0.01 * k, std=width, norm=width * size**0.5, moved=0.1 * k,
        quantiles=tuple(0.01 * k + width * z for z in (-2.33, -1.64, -0.67, 0.0, 0.67, 1.64, 2.33)),
        singular_values=np.array([4.0, 2.0, 1.0, 0.0]) * width if k > 5 else np.empty(0),
    )  # fmt: skip


def eigenpairs(layer: str | None, count: int, k: int, *, products: int) -> SimpleNamespace:
    """Orthonormal vectors from a fixed draw, their largest component negative, so that somebody has to turn them."""
    size = next(row.size for row in LAYERS if row.name == layer)
    rng = np.random.default_rng([size, k])
    vectors = np.linalg.qr(rng.standard_normal((size, max(count, 1))))[0].T[:count]
    signs = [-np.sign(v[np.abs(v).argmax()]) for v in vectors]
    return SimpleNamespace(
        values=np.array([3.0, -2.0, 1.0, 0.5, 0.2, 0.1])[:count] * (1 + k),
        vectors=vectors * np.reshape(signs, (-1, 1)),
        residuals=np.full(count, 1e-6), converged=np.ones(count, bool), products=products, planned=4,
        complete=count > 0,
    )  # fmt: skip


FROM, TO = 4, 6  # the snapshots at which something is found


def finding(rule: str, level: Any, layer: str | None, k: int, *, end: str = "", **more: Any) -> Finding:
    """What a rule says of a block; ``end`` places it at that end of its spectrum."""
    label = f"step-{STEPS[k]:06d}"
    values = {
        "title": f"{rule} speaks", "text": "The trace stays high.", "action": "Look at the labels.",
        "eigenvalue": getattr(spectrum(layer, k, label), end) if end else None,
    }  # fmt: skip
    return Finding(
        rule=rule, level=level, value=3.5, threshold=2.0, layer=layer, snapshot=label,
        window=(label,), evidence="Seen in small networks.", refute="Clean labels with the same trace.",
        **{"heuristic": True, "record": "right in 9 of 10 cases", **values, **more},
    )  # fmt: skip


@dataclass(frozen=True)
class CannedRun:
    """What rules say of the canned run: two warnings and a note about conv1 for a while, one of the run, one attack."""

    findings: tuple[Finding, ...] = (
        finding("D2", "warning", "conv1", FROM, end="largest", weight=0.9),
        finding("D7", "warning", "conv1", FROM, end="largest", weight=0.5),
        finding("D1", "warning", None, 7, others=("conv2", "head"), weight=0.4),
        finding("D6", "note", "conv1", FROM, end="smallest", weight=0.3),
        finding("D4", "note", HOSTILE, 9, end="largest", title=f"{HOSTILE} sleeps", weight=0.1),
        finding("D9", "info", "head", 0, heuristic=False, record=""),
        finding("HESD", "info", "conv2", 11, title="Ends not converged", heuristic=False, record=""),
    )
    silent: Mapping[str, str] = field(default_factory=lambda: {"D8": "The step size is not known."})
    layers: tuple[str | None, ...] = ("conv1", "conv2", HOSTILE, "head")
    course: Course = field(default_factory=lambda: Course((), {}))
    thresholds: Thresholds = field(default_factory=Thresholds)

    def at(self, layer: str | None, snapshot: int | str = -1) -> tuple[Finding, ...]:
        k = [f"step-{step:06d}" for step in STEPS].index(str(snapshot))
        if layer == "conv1" and FROM <= k <= TO:
            ends = {"D2": "largest", "D7": "largest", "D6": "smallest"}
            return tuple(
                finding(f.rule, f.level, layer, k, end=ends[f.rule]) for f in self.findings if f.layer == layer
            )
        about = [f for f in self.findings if f.snapshot == snapshot]
        return tuple(f for f in about if layer == f.layer or (f.layer is None and layer in f.others))


@dataclass
class CannedSession:
    """Has the public face of a session; ``steps`` makes what is missing, one product every ``pause`` seconds."""

    missing: set[Any] = field(default_factory=lambda: set(MISSING))
    layers: tuple[CannedLayer, ...] = LAYERS
    snapshots: CannedSnapshots = field(default_factory=snapshots)
    description: str = "ConvNet · 3,770 parameters · 512 examples · cross-entropy · eval · float64 · cpu"
    notices: tuple[str, ...] = ()
    has_held_out: bool = False
    closed: bool = False
    pause: float = 0.0
    asked: list[Any] = field(default_factory=list)  # (layer, snapshot), and "held_out" where it was that
    run: CannedRun | None = field(default_factory=CannedRun)
    attached: list[Any] = field(default_factory=list)
    heard: list[Any] = field(default_factory=list)

    def attach(self, work: Any) -> None:
        self.attached.append(work)

    def on_close(self, heard: Callable[[], None]) -> Callable[[], None]:
        self.heard.append(heard)
        return lambda: self.heard.remove(heard) if heard in self.heard else None

    def close(self) -> None:
        self.closed = True
        for heard in [*self.heard]:
            heard()

    def cached(
        self, layer: str | None, snapshot: int | str = -1, *, split: str = "data", curvature: str = "hessian", **_: Any
    ) -> Spectrum | None:
        k = self.snapshots.index(snapshot)
        missing = _cell(layer, k, split, curvature) in self.missing
        return None if missing else self._spectrum(layer, k, split, curvature)

    def _spectrum(self, layer: str | None, k: int, split: str, curvature: str) -> Spectrum:
        found = spectrum(layer, k, self.snapshots[k].label)
        found = found if split == "data" else held_out(found)
        return gauss_newton(found) if curvature == "ggn" else found

    def steps(
        self, layer: str | None, snapshot: int | str = -1, *, split: str = "data", curvature: str = "hessian", **_: Any
    ) -> Iterator[Step]:
        k = self.snapshots.index(snapshot)
        self.asked.append(_cell(layer, k, split, curvature))
        for done in range(1, 10):
            time.sleep(self.pause)
            yield Step(done, 10)
        self.missing.discard(_cell(layer, k, split, curvature))
        yield Step(10, 10, self._spectrum(layer, k, split, curvature))

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

    def states(self, snapshot: int | str = -1, *, split: str = "data", **_: Any) -> dict[str | None, LayerState]:
        k = self.snapshots.index(snapshot)
        names = [None, *(row.name for row in self.layers if row.status == "ok")]
        return {name: layer_state(name, k, split) for name in names}

    cached_states = states

    def shapes(self, layer: str | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return SHAPES[layer]

    def stream_eigenvectors(
        self, layer: str | None, k: int = 3, snapshot: int | str = -1, **_: Any
    ) -> Iterator[SimpleNamespace]:
        for done in range(1, 4):
            time.sleep(self.pause)
            yield eigenpairs(layer, 0, self.snapshots.index(snapshot), products=done)
        yield eigenpairs(layer, k, self.snapshots.index(snapshot), products=4)

    def losses(self, snapshot: int | str = -1) -> dict[str, float]:
        return dict(self.snapshots[snapshot].metrics)

    evaluate = losses

    def findings(self, *, split: str = "data") -> CannedRun | None:
        names = [None, *(row.name for row in self.layers if row.status == "ok")]
        cells = {
            (name, row.label): self.cached(name, row.label, split=split) for name in names for row in self.snapshots
        }
        course = Course(
            self.snapshots.labels,
            {cell: found for cell, found in cells.items() if found is not None},
            losses={row.label: self.losses(row.label) for row in self.snapshots},
        )
        return None if self.run is None else replace(self.run, course=course)

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


def _cell(layer: str | None, k: int, split: str, curvature: str = "hessian") -> Any:
    named = [*([] if split == "data" else [split]), *([] if curvature == "hessian" else [curvature])]
    return (layer, k, *named)
