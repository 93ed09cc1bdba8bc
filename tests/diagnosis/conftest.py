"""Hand-made spectra: exact ones from a list of eigenvalues, estimated ones from nodes and weights per probe."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

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


@pytest.fixture(scope="session")
def exact() -> Callable[..., Spectrum]:
    return _exact


@pytest.fixture(scope="session")
def lanczos() -> Callable[..., Spectrum]:
    return _lanczos
