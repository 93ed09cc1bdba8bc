"""Put everything that can be said about one spectrum into one value."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Protocol, runtime_checkable

import numpy as np

from ...errors import ComparisonError, SettingError
from ...layer_state import LayerState
from ...spectrum import WHOLE, Spectrum
from ..alike import require_earlier, require_held_out
from ..arguments import a_spectrum, named_numbers, numbers, spectra
from ..course import Course, up_to
from ..hesd.hesd import Hesd, hesd
from ..losses import small, train_loss
from ..measure import require_same_layer
from ..metrics.table import metrics
from ..thresholds import Thresholds
from .findings import Finding, in_order
from .run import diagnose_run

_OF_RUN = ("D1", "D2", "D3", "D7", "D8")  # rules about all layers together
_ELSEWHERE = "It judges the run as a whole, not a single layer: session.findings() has it."
_NOTHING: Mapping[str, float] = MappingProxyType({})


@runtime_checkable  # where types are checked while tests run
class Judged(Protocol):
    """What is read of a run that was judged."""

    @property
    def course(self) -> Course: ...
    @property
    def thresholds(self) -> Thresholds: ...
    @property
    def silent(self) -> Mapping[str, str]: ...
    def at(self, layer: str | None, snapshot: int | str = -1) -> Sequence[Finding]: ...


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Type, numbers and findings of one block at one snapshot; warnings come first."""

    layer: str | None  # None for the whole network
    snapshot: str
    hesd: Hesd
    metrics: Mapping[str, float]
    findings: tuple[Finding, ...]
    silent: Mapping[str, str] = field(default_factory=dict)  # by rule that could not judge: what it lacks

    def __repr__(self) -> str:
        where = "whole network" if self.layer is None else repr(self.layer)
        low, high = self.hesd.interval
        lines = [
            f"Diagnosis of {where} at {self.snapshot!r}: {self.hesd.symbol} {self.hesd.word}, "
            f"C_t = {self.hesd.ct:.3g} ({low:.3g} to {high:.3g}), λmax = {self.metrics['lambda_max']:.4g}"
        ]
        lines += [f"  {finding.level}: {finding.title}. {finding.text} → {finding.action}" for finding in self.findings]
        return "\n".join(lines)


def diagnose(
    spectrum: Spectrum,
    *,
    history: Sequence[Spectrum] = (),
    peers: Sequence[Spectrum] = (),
    held_out: Spectrum | None = None,
    losses: Mapping[str, float] = _NOTHING,
    past_losses: Sequence[Mapping[str, float]] = (),
    gradient_norms: Sequence[float] = (),
    thresholds: Thresholds = Thresholds(),
) -> Diagnosis:
    """Judge one spectrum; rules that lack what they need stay silent.

    Args:
        spectrum: the block to judge.
        history: the same block at earlier snapshots, oldest first, known ones only.
        peers: other layers at the same snapshot; the block itself and the whole network are left out.
        held_out: the same weights on held-out data.
        losses: what was recorded or evaluated at this snapshot ("loss", "val_loss", …).
        past_losses: the same for every snapshot of ``history``, or nothing.
        gradient_norms: norm of the block's gradient at every snapshot of ``history`` and now, or nothing.
        thresholds: the limits of the rules.

    Raises:
        ComparisonError: if ``history`` is not of the same block, data, method and steps at other snapshots, or
            ``held_out`` not of the same block and weights on other data; if one is preliminary.
        SettingError: for what is no spectrum or no list of them, or if ``past_losses`` or ``gradient_norms`` do not
            fit ``history``.
    """
    _check_kinds(spectrum, history, peers, held_out, losses, past_losses, gradient_norms, thresholds)
    gradient_norms = [float(norm) if np.isfinite(norm) else np.nan for norm in gradient_norms]  # NaN: it diverged
    _check_lengths(history, past_losses, gradient_norms)
    for past in history:
        require_same_layer(spectrum, past, role="earlier")
        require_earlier(spectrum, past)
    if held_out is not None:
        require_same_layer(spectrum, held_out, role="held-out")
        require_held_out(spectrum, held_out)
    layer, labels = spectrum.layer, _labels([*history, spectrum])
    now = labels[-1]
    others = [peer for peer in peers if peer.layer not in (None, layer)] if layer is not None else []
    for peer in others:
        if peer.snapshot != spectrum.snapshot:
            raise ComparisonError(
                f"peers has {peer.layer!r} at {peer.snapshot!r}, and the spectrum to be judged is at "
                f"{spectrum.snapshot!r}: give the other layers at the same snapshot."
            )
    rows = [*past_losses, losses] if past_losses else [losses]
    course = Course(
        snapshots=labels,
        spectra={
            (layer, label): s if s.snapshot == label else replace(s, snapshot=label)
            for label, s in zip(labels, [*history, spectrum], strict=True)
        }
        | {(peer.layer, now): peer for peer in others},
        held_out={} if held_out is None else {(layer, now): held_out},
        losses=dict(zip(labels[-len(rows) :], rows, strict=True)),
        states={
            (layer, label): LayerState(layer, label, spectrum.size, gradient_norm=norm)
            for label, norm in zip(labels, gradient_norms, strict=False)
        },
    )
    return _judge(course, layer, now, thresholds, with_run=True)


def diagnose_cell(course: Course, layer: str | None, snapshot: str, thresholds: Thresholds = Thresholds()) -> Diagnosis:
    """Judge one block at the last snapshot of a course, or at an earlier one with what followed left out.

    Of a single layer these are the findings in its own place; those of the run are :func:`diagnose_run`'s to tell.

    Raises:
        ComparisonError, SettingError: as :func:`diagnose_run`; the latter also where there is no spectrum.
    """
    if (layer, snapshot) not in course.spectra:
        raise SettingError(f"There is no spectrum of {layer or WHOLE!r} at {snapshot!r} to judge. Compute it first.")
    return _judge(up_to(course, snapshot), layer, snapshot, thresholds, with_run=layer is None)


def diagnosis_in(run: Judged, layer: str | None, snapshot: str) -> Diagnosis:
    """One block of a run that was judged already: nothing but its HESD type is formed anew.

    The findings are those of ``run.at``, so that both say the same; the type rests on this snapshot and those before.

    Raises:
        SettingError: there is no spectrum of it.
    """
    if (layer, snapshot) not in run.course.spectra:
        raise SettingError(f"There is no spectrum of {layer or WHOLE!r} at {snapshot!r} to judge. Compute it first.")
    return _of_cell(run, layer, snapshot, with_run=layer is None)


def _judge(course: Course, layer: str | None, snapshot: str, thresholds: Thresholds, *, with_run: bool) -> Diagnosis:
    return _of_cell(diagnose_run(course, thresholds), layer, snapshot, with_run=with_run)


def _of_cell(run: Judged, layer: str | None, snapshot: str, *, with_run: bool) -> Diagnosis:
    course, thresholds = run.course, run.thresholds
    found = tuple(run.at(layer, snapshot))
    if with_run and layer is not None:
        found = in_order((*found, *run.at(None, snapshot)))
    silent = run.silent if with_run else {**run.silent, **dict.fromkeys(_OF_RUN, _ELSEWHERE)}
    spectrum, earlier = course.spectra[layer, snapshot], course.snapshots[: course.snapshots.index(snapshot)]
    history = [
        past
        for label in earlier
        if (past := course.spectra.get((layer, label))) is not None and past.complete and _how(past) == _how(spectrum)
    ]
    held_out = course.held_out.get((layer, snapshot))
    losses, past_losses = course.losses.get(snapshot, {}), [course.losses.get(k, {}) for k in earlier]
    judged = hesd(
        spectrum,
        history=history,
        held_out=held_out if held_out is not None and held_out.complete else None,
        floor=thresholds.floor,
        train_loss=train_loss(losses),
        small_loss=small(losses, past_losses, ratio=thresholds.vanishing, absolute=thresholds.small_loss),
        collapse=thresholds.collapse,
        losses=losses,
        past_losses=past_losses,
    )
    return Diagnosis(layer, snapshot, judged, metrics(spectrum), found, dict(sorted(silent.items())))


def _how(s: Spectrum) -> tuple[bool, int, str]:
    """What spectra of one layer must have in common for its own past to be told."""
    return s.exact, s.steps, "" if s.exact else s.method


def _labels(spectra: Sequence[Spectrum]) -> tuple[str, ...]:
    """Labels of the snapshots; where one repeats, the earlier ones get a number."""
    names = [s.snapshot for s in spectra]
    return tuple(
        name if name not in names[k + 1 :] else f"{name} ({names[: k + 1].count(name)})" for k, name in enumerate(names)
    )


def _check_kinds(
    spectrum: Any,
    history: Any,
    peers: Any,
    held_out: Any,
    losses: Any,
    past_losses: Any,
    gradient_norms: Any,
    thresholds: Any,
) -> None:
    a_spectrum(spectrum)
    spectra(history, "history")
    spectra(peers, "peers")
    a_spectrum(held_out, "held_out", optional=True)
    named_numbers(losses, "losses")
    if not isinstance(past_losses, Sequence):
        raise SettingError(f"past_losses must be a list of dictionaries, got {past_losses!r:.60}.")
    for i, past in enumerate(past_losses):
        named_numbers(past, f"past_losses[{i}]")
    numbers(gradient_norms, "gradient_norms")
    if not isinstance(thresholds, Thresholds):
        raise SettingError(f"thresholds must be Thresholds(…), got {thresholds!r:.60}.")


def _check_lengths(history: Sequence[Spectrum], past_losses: Sequence[object], gradient_norms: Sequence[float]) -> None:
    if len(past_losses) not in (0, len(history)):
        raise SettingError(
            f"past_losses must be empty or have one entry per spectrum of history ({len(history)}), "
            f"got {len(past_losses)}."
        )
    if len(gradient_norms) not in (0, len(history) + 1):
        raise SettingError(
            f"gradient_norms must be empty or have one entry per spectrum of history and one for now "
            f"({len(history) + 1}), got {len(gradient_norms)}."
        )
