"""Hand-made spectra: exact ones from a list of eigenvalues, estimated ones from nodes per probe; courses of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lhexplore.diagnosis import Course
from lhexplore.layer_state import LayerState
from lhexplore.spectrum import Spectrum


def _exact(values: Sequence[float], **fields: Any) -> Spectrum:
    nodes = np.array(values, dtype=float)
    fields = {"layer": "fc1", "snapshot": "now", "method": "dense"} | fields
    return Spectrum(size=len(nodes), nodes=nodes, weights=np.full(len(nodes), 1 / len(nodes)), **fields)


def _lanczos(
    probes: Sequence[Sequence[float]], weights: Sequence[Sequence[float]] | None = None, **fields: Any
) -> Spectrum:
    if weights is None:
        weights = [np.full(len(p), 1 / len(p)) for p in probes]
    fields = {"layer": "fc1", "snapshot": "now", "size": 1000, "steps": 100} | fields
    if "residuals" in fields:  # per probe, like the nodes
        fields["residuals"] = np.concatenate([np.asarray(r, float) for r in fields["residuals"]])
    return Spectrum(
        nodes=np.concatenate([np.asarray(p, float) for p in probes]),
        weights=np.concatenate([np.asarray(w, float) for w in weights]) / len(probes),
        probe=np.concatenate([np.full(len(p), i) for i, p in enumerate(probes)]),
        probes=len(probes),
        method="lanczos",
        **fields,
    )


def _course(
    layers: Mapping[str | None, Sequence[Any]],
    *,
    held_out: Mapping[str | None, Sequence[Any]] | None = None,
    gradients: Mapping[str | None, Sequence[float]] | None = None,
    recorded: Mapping[str, Sequence[float]] | None = None,
    fields: Mapping[str, Any] | None = None,
    **known: Any,
) -> Course:
    """Snapshots "0", "1", …: a list of eigenvalues, a Spectrum or None for each; numbers recorded at each by name."""
    count = len(next(iter(layers.values())))
    labels = tuple(str(k) for k in range(count))

    def cells(rows: Mapping[str | None, Sequence[Any]], **more: Any) -> dict[tuple[str | None, str], Spectrum]:
        found = {}
        for name, row in rows.items():
            for label, value in zip(labels, row, strict=True):
                if isinstance(value, Spectrum):
                    found[name, label] = replace(value, layer=name, snapshot=label, **more)
                elif value is not None:
                    found[name, label] = _exact(value, layer=name, snapshot=label, **{**(fields or {}), **more})
        return found

    return Course(
        snapshots=labels,
        spectra=cells(layers),
        held_out=cells(held_out or {}, split="held_out"),
        losses={
            label: {name: row[k] for name, row in (recorded or {}).items() if row[k] is not None}
            for k, label in enumerate(labels)
        },
        states={
            (name, label): LayerState(name, label, 1, gradient_norm=norm)
            for name, row in (gradients or {}).items()
            for label, norm in zip(labels, row, strict=True)
        },
        **known,
    )


@pytest.fixture(scope="session")
def course() -> Callable[..., Course]:
    return _course


@pytest.fixture(scope="session")
def exact() -> Callable[..., Spectrum]:
    return _exact


@pytest.fixture(scope="session")
def lanczos() -> Callable[..., Spectrum]:
    return _lanczos
