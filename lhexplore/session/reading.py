"""One spectrum read beside its neighbours: earlier snapshots, other layers, held-out data, losses."""

from typing import TYPE_CHECKING

from ..diagnosis import Diagnosis, diagnose
from ..spectrum import Spectrum

if TYPE_CHECKING:
    from .session import Session


def read(session: "Session", spectrum: Spectrum) -> Diagnosis:
    """Diagnose ``spectrum`` with what is cached around it, computed in the same way; computes nothing."""

    def known(layer: str | None, label: str, split: str = spectrum.split) -> Spectrum | None:
        found = session.cached(layer, label, curvature=spectrum.curvature, split=split)
        return found if found is None or found.method == spectrum.method or layer != spectrum.layer else None

    here = session.snapshots.index(spectrum.snapshot)
    earlier = [
        (found, session.losses(row.label))
        for row in list(session.snapshots)[:here]
        if (found := known(spectrum.layer, row.label)) is not None
    ]
    beside = [
        found
        for layer in session.layers
        if spectrum.layer is not None and layer.status == "ok" and layer.name != spectrum.layer
        if (found := known(layer.name, spectrum.snapshot)) is not None
    ]
    held_out = None
    if session.has_held_out and spectrum.split == "data":
        held_out = known(spectrum.layer, spectrum.snapshot, "held_out")
    return diagnose(
        spectrum,
        history=[found for found, _ in earlier],
        peers=beside,
        held_out=held_out,
        losses=session.losses(spectrum.snapshot),
        past_losses=[losses for _, losses in earlier],
    )
