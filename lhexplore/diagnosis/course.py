"""One training run as the rules see it: spectra of blocks at snapshots, and what was measured beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ..layer_state import LayerState
from ..spectrum import Spectrum

Cell = tuple[str | None, str]  # a layer (None: the whole network) at a snapshot's label


@dataclass(frozen=True, slots=True, eq=False)
class Course:
    """Everything known of a run; what is missing is not there. ``snapshots`` are labels, oldest first.

    ``losses`` by snapshot: "loss", "accuracy", "held_out_loss", "held_out_accuracy", "lr", … as recorded or evaluated.
    """

    snapshots: tuple[str, ...]
    spectra: Mapping[Cell, Spectrum]  # on the training data
    held_out: Mapping[Cell, Spectrum] = field(default_factory=dict)
    losses: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    states: Mapping[Cell, LayerState] = field(default_factory=dict)  # gradients and parameters of the layers
    steps: Mapping[str, int] = field(default_factory=dict)  # optimiser steps by snapshot, where known
    reference: "Course | None" = None  # a run that is known to be healthy, for rules that compare with one

    @property
    def layers(self) -> tuple[str | None, ...]:
        """The blocks there are spectra of, in their order; the whole network where it is known."""
        return tuple(dict.fromkeys(layer for layer, _ in self.spectra))
