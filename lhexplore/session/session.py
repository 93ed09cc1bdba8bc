"""The one object users make: a model, its data and its snapshots, joined to spectra that are computed once."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import nn

from ..curvature import (
    CURVATURES,
    SPLITS,
    Choice,
    Eigenpairs,
    Layer,
    Traces,
    freeze,
    identify,
    identify_model,
    list_layers,
    opaque,
)
from ..diagnosis import Course, Diagnosis, Methodology, Monitoring, Picks, Relative, RunDiagnosis, Thresholds
from ..diagnosis.number_texts import counted
from ..digests import digest_json
from ..errors import SettingError, UnsupportedError, whole_number
from ..jobs import Job, Progress, Waitable
from ..layer_state import LayerState
from ..snapshots import Snapshots
from ..spectrum import WHOLE, Spectrum, Step
from ..store import Store, open_store
from ..trace_point import TracePoint
from . import tables
from .answers import Answers
from .bar import Bar
from .filling import fill
from .generalisation import generalisation_of
from .growing import Growing
from .hesd_reading import methodology_of, picks_of, relative_of
from .lane import Lane
from .layer_states import known_states, states
from .monitoring import monitor, recorded_traces
from .on_frozen_data import evaluated
from .reading import course_of, findings, read
from .request import FUNCTIONALS, Request
from .selection import Layers, Which, blocks, rows
from .shapes import shapes
from .table import Table

if TYPE_CHECKING:
    import pandas as pd


class Session:
    """Layer-wise Hessian spectra of ``model`` on ``data``, at one or many snapshots of its training.

    Nothing you pass in is changed: data is read once and frozen, and a private copy of the model computes. Results
    are kept in a cache that outlives the process; asking twice costs nothing.

    Args:
        model: any ``torch.nn.Module``; its present weights are the snapshot when ``snapshots`` is None.
        data: a loader (or any iterable of batches); read once.
        loss: a criterion for ``(x, y)`` batches; or ``loss(model, batch) -> scalar``; or None for mappings whose
            ``model(**batch).loss`` is the loss.
        snapshots: None, a list or dict of state_dicts, a file, folder or glob, what :func:`lhexplore.record` gave, or
            :class:`lhexplore.Snapshots`.
        held_out: a second loader, for ``split="held_out"``.
        layers: None (every module with parameters), glob(s), or ``callable(name, module) -> bool``.
        functional: the scalar that is differentiated: "loss"; for each layer's own output, its input held fixed, "sum"
            or "half_square"; or a function of one example's block output, or of (model, batch).
        curvature: "hessian", or "ggn" for the generalised Gauss–Newton matrix.
        samples: how many examples to freeze; None for all.
        weight: what a batch counts by: "samples", "tokens" (labels other than −100), or ``callable(batch)``.
        mode: "eval", or "train-frozen" (batch statistics of the whole frozen batch, dropout off).
        dtype: None chooses float64 for models up to a million parameters on CPU, else float32.
        device: "auto", "cpu", "cuda", …
        seed: of probe vectors and of reading the data.
        cache: True (the user's cache folder, or ``LHEXPLORE_CACHE``), a folder, or False.
        executor: reserved for engines elsewhere; None in this version.
    """

    def __init__(
        self,
        model: nn.Module,
        data: Any,
        loss: Any = None,
        *,
        snapshots: Any = None,
        held_out: Any = None,
        layers: Any = None,
        functional: str | Callable[..., Any] = "loss",
        curvature: str = "hessian",
        samples: int | None = 512,
        weight: str | Callable[[Any], float] = "samples",
        mode: str = "eval",
        dtype: torch.dtype | None = None,
        device: str | torch.device = "auto",
        seed: int = 0,
        cache: bool | str | Path = True,
        executor: Executor | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise SettingError(f"model must be a torch.nn.Module; got {type(model).__name__}.")
        if curvature not in CURVATURES:
            raise SettingError(f"curvature must be one of {', '.join(map(repr, CURVATURES))}; got {curvature!r}.")
        if not (functional in FUNCTIONALS or callable(functional)):
            raise SettingError(f"functional must be one of {FUNCTIONALS} or a function; got {functional!r}.")
        if executor is not None:
            raise UnsupportedError("This version computes in its own worker thread: leave executor=None.")
        self._plain_loss = functional == "loss"
        self._mode, self._seed, self._curvature = mode, whole_number("seed", seed, least=0), curvature
        self._data = {"data": freeze(data, samples=samples, weight=weight, seed=seed)}
        if held_out is not None:
            self._data["held_out"] = freeze(held_out, samples=samples, weight=weight, seed=seed)
        self._lane = Lane(model, loss, self._data, functional=functional, mode=mode, dtype=dtype, device=device)
        copy = self._lane.replica.model
        self._layers = list_layers(copy, layers)
        self._snapshots = Snapshots.of(snapshots, copy if snapshots is None else model)
        identities = identify_model(copy), self._lane.replica.loss.identity, identify(functional)
        self._store: Store = open_store(cache)
        if hidden := sorted({name for identity in identities for name in opaque(identity)}):
            self._store = open_store(False)
            self._store.notices.append(
                f"Results are kept for this session only: what {', '.join(hidden[:3])} holds cannot be looked into, so "
                "a cache on disk could not tell when it changes."
            )
        common = {
            "seed": self._seed,
            "model": digest_json(identities[0]),
            "weight": weight if isinstance(weight, str) else digest_json(identify(weight)),
            "loss": digest_json(identities[1]),
            "functional": functional if isinstance(functional, str) else digest_json(identities[2]),
            "mode": mode,
            "dtype": str(self._lane.replica.dtype) + (" or finer" if self._lane.may_widen else ""),
            "device": self._lane.replica.device.type,
            "tf32": False,
        }
        self._answers = Answers(
            self._lane, self._layers, self._snapshots, self._data, self._store, common=common, seed=self._seed
        )
        self._thresholds = Thresholds()
        self._evaluated: dict[tuple[str, str], dict[str, float]] = {}
        self._growing = Growing(self)
        self._pending: WeakSet[Waitable] = WeakSet()
        self._on_close: list[Callable[[], None]] = []

    # ---- what is there

    @property
    def layers(self) -> tuple[Layer, ...]:
        """A row for every module with parameters: name, parameters, size, kind, status, reason."""
        return self._layers

    @property
    def snapshots(self) -> Snapshots:
        """The snapshots in training order, unusable ones with their reason."""
        return self._snapshots

    @property
    def grows(self) -> bool:
        """Whether more snapshots may come: they are those of a folder, a glob, or a recorder."""
        return self._snapshots.grows

    def refresh(self) -> tuple[str, ...]:
        """Look for snapshots that training has written since; returns their labels. Views show them at once.

        Labels keep their meaning, positions may not: a snapshot of an earlier step stands where it belongs. A file that
        was replaced counts as new weights under its label; one that was deleted stays, with what was computed of it.
        What cannot be used is named in :attr:`notices`. Costs about 2 ms for 1000 files where nothing is new.
        """
        return self._growing.refresh()

    def follow(self, heard: Callable[[tuple[str, ...]], None], *, every: float = 1.0) -> Callable[[], None]:
        """Call :meth:`refresh` every so many seconds beside you; returns how to end it. Views that are open do this.

        Args:
            heard: called with the labels that are new (none, where something was replaced or deleted), on the thread
                that looks. It holds this function, so let it not hold the session.
            every: seconds between two looks.

        Raises:
            SettingError: the snapshots come from no folder, glob or recorder.
        """
        return self._growing.follow(heard, every=every)

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._lane.closed

    @property
    def has_held_out(self) -> bool:
        """Whether there is held-out data."""
        return "held_out" in self._data

    @property
    def notices(self) -> tuple[str, ...]:
        """What the person should know about data, model and cache, in sentences."""
        kept = (self._snapshots.notes, self._store.notices, self._growing.troubles)
        same = "The held-out data is the training data again, so the rules do not compare them. Give other examples."
        again = self.has_held_out and self._data["data"].digest == self._data["held_out"].digest
        found = (self._data["data"].notes, [same] * again, self._lane.replica.notes, *kept)
        return tuple(dict.fromkeys(notice for notices in found for notice in notices))

    @property
    def description(self) -> str:
        """One line: model, size, data, loss, mode, precision, device."""
        replica = self._lane.replica
        count = sum(t.numel() for t in replica.tensors.values())
        return (
            f"{type(replica.model).__name__} · {count:,} parameters · {self._data['data'].examples:,} examples · "
            f"{replica.loss.name} · {self._mode} · {tables.dtype_name(replica.dtype)} · {replica.device.type}"
        )

    def __repr__(self) -> str:
        layers, rows = counted(len(self._layers), "layer"), counted(len(self._snapshots), "snapshot")
        state = "closed" if self.closed else f"{layers} × {rows}"
        return f"Session({state}; {self.description})"

    # ---- spectra

    def spectrum(
        self,
        layer: str | None,
        snapshot: int | str = -1,
        *,
        method: str = "auto",
        curvature: str | None = None,
        split: str = "data",
        steps: int = 100,
        probes: int = 5,
    ) -> Spectrum:
        """Eigenvalues of the block of ``layer`` (None: the whole network) at ``snapshot`` (index or label).

        Costs nothing when cached. Otherwise some tens of gradients for all layers at once (factor: where the Hessian is
        its Gauss-Newton matrix, all that are missing at this snapshot are computed and kept), ``size`` products (dense)
        or ``steps × probes`` (lanczos), each a fraction of a gradient to about three. ``Spectrum.reason`` says what
        ``method="auto"`` chose and why.

        Raises:
            UnknownLayerError, UnknownSnapshotError: with near names.
            SnapshotError: the weights cannot be used.
            LossError, NotFiniteError, SecondDerivativeError: with the cause.
        """
        settings = {"method": method, "curvature": curvature, "split": split, "steps": steps, "probes": probes}
        *_, last = self.stream(layer, snapshot, **settings)
        return last

    def stream(self, layer: str | None, snapshot: int | str = -1, **settings: Any) -> Iterator[Spectrum]:
        """Yield ever better values of :meth:`spectrum`, the complete one last; takes the same settings."""
        return (step.spectrum for step in self.steps(layer, snapshot, **settings) if step.spectrum is not None)

    def steps(self, layer: str | None, snapshot: int | str = -1, **settings: Any) -> Iterator[Step]:
        """Like :meth:`stream`, but one item per product: closing it stops the work within one product."""
        return self._answers.steps(self._request(layer, snapshot, **settings))

    def cached(self, layer: str | None, snapshot: int | str = -1, **settings: Any) -> Spectrum | None:
        """The complete spectrum if it is known already; never computes."""
        return self.known(self._request(layer, snapshot, **settings))

    def traces(self, snapshot: int | str = -1, *, split: str = "data", probes: int = 10) -> Traces:
        """Traces of all layers at once, each with its error: costs one product with the whole network per probe.

        Where a spectrum is known and exact, its trace is better than this.
        """
        *_, last = self.stream_traces(snapshot, split=split, probes=probes)
        return last

    def stream_traces(self, snapshot: int | str = -1, *, split: str = "data", probes: int = 10) -> Iterator[Traces]:
        """Yield ever better values of :meth:`traces`, one per probe; the first after about a gradient and a product."""
        request = self._request(None, snapshot, split=split, probes=probes)
        self._require_loss("Traces")
        chosen = [row for row in self._layers if row.status == "ok"]
        return self._lane.traces(request, self._snapshots[request.snapshot], chosen, probes=probes, seed=self._seed)

    def eigenvectors(
        self,
        layer: str | None,
        k: int = 3,
        snapshot: int | str = -1,
        *,
        curvature: str | None = None,
        split: str = "data",
    ) -> Eigenpairs:
        """The ``k`` eigenvectors of largest |λ| of a block, each with its residual; as rows, in its parameters' order.

        Costs some tens of products for a few of them (the whole matrix up to 1,024 parameters); not cached.
        """
        *_, last = self.stream_eigenvectors(layer, k, snapshot, curvature=curvature, split=split)
        return last

    def shapes(self, layer: str | None) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Name and shape of every parameter tensor of a block, in the order of its eigenvectors' components."""
        return shapes(self, layer)

    def stream_eigenvectors(
        self, layer: str | None, k: int = 3, snapshot: int | str = -1, **settings: Any
    ) -> Iterator[Eigenpairs]:
        """Yield ever better values of :meth:`eigenvectors`."""
        request = self._request(layer, snapshot, **settings)
        self._require_loss("Eigenvectors")
        row = self._snapshots[request.snapshot]
        return self._lane.eigenvectors(request, row, self._answers.layer(request.layer), k, seed=self._seed)

    # ---- many of them

    def compute(
        self,
        layers: Layers = None,
        snapshots: Which = None,
        *,
        split: str = "data",
        states: bool = False,
        progress: bool = True,
    ) -> None:
        """Fill the cache for ``layers`` × ``snapshots`` (None: all of them) and wait for it.

        ``layers`` takes names and globs; None or "whole network" in the list means the whole network. ``split`` is
        "data", "held_out" or "both". What a diagnosis reads beside spectra comes along: losses that nobody recorded,
        and gradients (one per snapshot for all layers); ``states`` adds all of :meth:`states`. An interrupt keeps what
        is done. A block that fails leaves a row with its reason in :meth:`summary`; the rest goes on.

        Raises:
            LhexploreError: the first failure, when nothing at all could be computed.
        """
        job = self.start(layers, snapshots, split=split, states=states)
        with Bar() as bar:
            try:
                while not job.done:
                    if progress:
                        bar.show(job.progress)
                    time.sleep(0.02)
                job.wait()
            except KeyboardInterrupt:
                job.cancel()
                job.wait()
                raise
            finally:
                if progress:
                    bar.show(job.progress, final=True)
                    bar.say(self._left_out(snapshots))

    def start(
        self,
        layers: Layers = None,
        snapshots: Which = None,
        *,
        split: str = "data",
        states: bool = False,
    ) -> Job[Progress]:
        """Like :meth:`compute`, but beside you: returns a :class:`lhexplore.jobs.Job` at once."""
        self._lane.require_open()
        wanted = self._grid(layers, snapshots, split)
        job = Job(fill(self, wanted, states=states), initial=Progress(total=len(wanted)))
        self.attach(job)
        return job

    def wait(self, timeout: float | None = None) -> None:
        """Block until nothing of this session is pending: jobs, views, a product under way.

        Raises:
            TimeoutError: still computing after ``timeout`` seconds.
            Exception: what a job that was waited for raised.
        """
        began = time.monotonic()
        for work in [*self._pending]:
            if work.busy:
                work.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))
        self._lane.wait(None if timeout is None else max(0.0, timeout - (time.monotonic() - began)))

    def attach(self, work: Waitable) -> None:
        """Let :meth:`wait` wait for ``work`` too, as long as it lives (a view's worker)."""
        self._pending.add(work)

    # ---- before anything runs

    def plan(
        self,
        layers: Layers = None,
        snapshots: Which = None,
        *,
        split: str = "data",
    ) -> Table:
        """Say what would be computed: method, products, seconds, bytes, and what is cached already.

        Times one gradient on the frozen data; a few examples show which layers have exact spectra from the factor, and
        how large the gradient graphs of the others are. Nothing more is computed.
        """
        self._lane.require_open()
        wanted = self._grid(layers, snapshots, split)
        self._answers.calibrate(wanted)
        self._answers.judge(wanted)
        if self._plain_loss:
            self._answers.measure_graphs(wanted)
        return tables.plan(self, wanted)

    def check(self) -> Table:
        """One tiny pass over the model: what will work, what will not and why, and what all of it will cost."""
        self._lane.require_open()
        with self._lane.at("data", self._answers.first_usable()) as replica:
            rows = replica.check()
        return tables.check(self, rows)

    # ---- reading

    def diagnose(self, layer: str | None = None, snapshot: int | str = -1) -> Diagnosis:
        """HESD type, metrics and findings of one layer, or of the whole network; computes what is missing for it.

        Earlier snapshots and other layers serve as the measure where they are cached; nothing else is computed. The
        findings are those that :meth:`findings` has at this place.
        """
        spectrum = self.spectrum(layer, snapshot)
        return read(self, spectrum)

    def findings(
        self,
        *,
        split: str = "data",
        reference: "Session | Course | None" = None,
        alarms: Mapping[str, int] | None = None,
    ) -> RunDiagnosis:
        """What all rules say of the whole run, from what is cached: each finding with its layer, snapshot, eigenvalue.

        Args:
            split: judge the spectra of "data" or of "held_out".
            reference: a healthy run of the same network, for rules that compare with one.
            alarms: of the trace monitor, ``self.monitor(…).first_alarms``.
        """
        return findings(self, split=split, thresholds=self.thresholds, reference=reference, alarms=alarms)

    def course(self, *, split: str = "data") -> Course:
        """What is cached of the run as one value: what :meth:`findings` judges."""
        return course_of(self, split=split)

    @property
    def thresholds(self) -> Thresholds:
        """The limits of all rules; replace them with ``dataclasses.replace(session.thresholds, …)``."""
        return self._thresholds

    @thresholds.setter
    def thresholds(self, value: Thresholds) -> None:
        if not isinstance(value, Thresholds):
            raise SettingError(f"thresholds must be lhexplore.Thresholds(…); got {value!r:.80}.")
        self._thresholds = value

    def states(
        self, snapshot: int | str = -1, *, split: str = "data", share_of: int = 0, quick: bool = False
    ) -> Mapping[str | None, LayerState]:
        """Gradient and parameters of every layer, and of the whole network (None), at ``snapshot``; kept in the cache.

        Args:
            snapshot: index or label.
            split: the data of the gradient.
            share_of: number of eigenvectors on which the gradient is projected; costs these as well.
            quick: no curvature along the gradient and no singular values. Then it costs one gradient for all layers,
                else a gradient and a product more for each.

        Raises:
            UnsupportedError: for a functional other than the loss.
            SnapshotError, NotFiniteError, NondeterministicError, LossError: with the cause.
        """
        return states(self, snapshot, split=split, share_of=share_of, quick=quick)

    def cached_states(self, snapshot: int | str = -1, *, split: str = "data") -> Mapping[str | None, LayerState]:
        """:meth:`states` as far as they are known; never computes."""
        return known_states(self, snapshot, split=split)

    def methodology(self, layer: str | None = None, snapshot: int | str = -1, *, held_out: bool = False) -> Methodology:
        """The HESD methodology step by step, with the plain causes of a negative type judged one by one.

        Computes the spectrum if it is missing (with ``held_out=True`` that on held-out data too) and one forward pass
        per split. For a single layer it is lhexplore's extension, and says so.
        """
        return methodology_of(self, layer, snapshot, held_out=held_out)

    def picks(self, layer: str | None = None) -> Picks:
        """The snapshots that C_t, λmax and held-out data would choose, side by side and without a winner.

        Computes missing spectra: for the whole network, an estimate per snapshot.
        """
        return picks_of(self, layer)

    def relative(self, layer: str | None = None, snapshot: int | str = -1) -> Relative:
        """The criteria on this data and on held-out data, beside the accuracies; computes what is missing."""
        return relative_of(self, layer, snapshot)

    def generalisation(
        self, layers: Layers = WHOLE, *, names: Sequence[str] | None = None, split: str = "data"
    ) -> Table:
        """How each metric of cached spectra goes with the gap between held-out and training loss, over snapshots."""
        return generalisation_of(self, layers, names=names, split=split)

    def monitor(self, reference: Any = None, **settings: Any) -> Monitoring:
        """Follow the run's traces and say where they leave what is healthy; computes none.

        Args:
            reference: healthy runs: sessions or folders, one or a list; None takes the first points of this run.
            settings: ``false_alarms`` (find the limit by simulation), ``settings`` (a MonitorSettings) and ``source``
                ("recorded", "spectra" or "auto").
        """
        return monitor(self, reference, **settings)

    @property
    def recorded_traces(self) -> tuple[TracePoint, ...]:
        """Traces that were measured while the snapshots were recorded, in the order of steps."""
        return recorded_traces(self)

    def known_diagnosis(self, layer: str | None, snapshot: int | str = -1) -> Diagnosis | None:
        """:meth:`diagnose` from what is cached; None where the spectrum is not known. Never computes."""
        spectrum = self.cached(layer, snapshot)
        return None if spectrum is None else read(self, spectrum)

    def losses(self, snapshot: int | str = -1) -> dict[str, float]:
        """Loss and accuracy known of a snapshot: what was recorded in training, and what :meth:`evaluate` found."""
        row = self._snapshots[snapshot]
        found = {name: float(value) for name, value in row.metrics.items()}
        return {**found, **evaluated(self, row.label), **found}  # what was recorded comes first, and counts first

    def evaluate(self, snapshot: int | str = -1) -> dict[str, float]:
        """Compute loss (and accuracy of a classifier) on the frozen data; one forward pass per split."""
        row = self._snapshots[snapshot]
        for split in self._data:
            if (split, row.label) not in self._evaluated:
                found = self._lane.evaluate(split, row)
                self._answers.keep(row, partial(self._evaluated.__setitem__, (split, row.label), found))
        return self.losses(snapshot)

    def summary(self) -> "pd.DataFrame":
        """One row per snapshot and layer, computed or not: extremes, trace, HESD type, metrics, findings, status."""
        return tables.summary(self, self._answers.failures)

    def frame(self) -> "pd.DataFrame":
        """Every known node, long: snapshot, step, epoch, layer, kind, node, weight, probe, residual."""
        return tables.frame(self)

    # ---- for the eye

    def explore(self, **selection: Any) -> Any:
        """Show the live explorer; ``selection`` sets its traits (``layer``, ``snapshot``, ``view``, ``scale``, …)."""
        self._lane.require_open()
        return import_module("lhexplore.explorer").Explorer(self, **selection)  # by name: widgets load only now

    def report(self, path: str | Path = "report.html") -> Path:
        """Write what is known as one HTML file that works with no kernel and no network."""
        written: Path = import_module("lhexplore.report").write(self, path)
        return written

    # ---- the end

    def close(self) -> None:
        """Let go of the model copy and the data; what is cached stays on disk. Harmless when repeated."""
        self._growing.close()
        self._lane.close()
        for heard in [*self._on_close]:
            heard()
        self._on_close.clear()

    def on_close(self, heard: Callable[[], None]) -> Callable[[], None]:
        """Have ``heard`` called once when the session is closed, so that views can say so; returns how to forget it."""
        self._on_close.append(heard)
        return lambda: self._on_close.remove(heard) if heard in self._on_close else None

    def __enter__(self) -> "Session":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- inside

    def _require_loss(self, what: str) -> None:
        if not self._plain_loss:
            raise UnsupportedError(f"{what} are those of functional='loss'; make a session without functional=.")

    def _request(self, layer: str | None, snapshot: int | str, **settings: Any) -> Request:
        names = {row.name for row in self._layers}
        name = None if layer is None or (layer == WHOLE and WHOLE not in names) else layer
        self._answers.layer(name)
        if isinstance(snapshot, slice):
            raise SettingError(f"One snapshot at a time, by position or label; got {snapshot!r}. compute() takes many.")
        request = Request(name, self._snapshots[snapshot].label, **settings)
        if request.split not in self._data:
            raise SettingError("split='held_out' needs a second loader: Session(…, held_out=loader).")
        return replace(request, curvature=request.curvature or self._curvature)

    def choice(self, request: Request) -> Choice:
        """What is likely to be done for a request, with its price."""
        return self._answers.expected(request)

    def known(self, request: Request) -> Spectrum | None:
        """The answer to a request if it is there; never computes."""
        return self._answers.known(request)

    def seconds(self, request: Request) -> float:
        """Predicted seconds of a request, corrected by what ran; NaN before anything was timed."""
        return self._answers.seconds(request)

    def peak(self, request: Request) -> int:
        """Predicted bytes of a request, on top of model and data."""
        return self._answers.peak(request)

    def _left_out(self, snapshots: Which) -> str:
        """What a table would show as missing, in a sentence; empty where nothing is."""
        bad = [row for row in rows(self._snapshots, snapshots) if row.status != "ok"]
        failures = self._answers.failures.items()
        words = [f"snapshot {row.label} was left out: {row.reason}" for row in bad]
        words += [
            f"{layer or WHOLE} at {label}{' on held-out data' * (split != 'data')} failed: {reason}"
            for (layer, label, split), reason in failures
        ]
        more = f" ({len(words) - 2} more; see summary())" if len(words) > 2 else ""
        return "; ".join(words[:2]) + more

    def _grid(self, layers: Layers, snapshots: Which, split: str) -> list[Request]:
        if split not in (*SPLITS, "both"):
            raise SettingError(f"split must be 'data', 'held_out' or 'both'; got {split!r}.")
        names = blocks(self._layers, layers)
        chosen = rows(self._snapshots, snapshots)
        usable = [row for row in chosen if row.status == "ok"]
        if chosen and not usable:
            self._answers.first_usable()
        splits = SPLITS if split == "both" else (split,)
        return [self._request(name, row.label, split=one) for row in usable for one in splits for name in names]
