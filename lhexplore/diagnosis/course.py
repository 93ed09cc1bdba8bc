"""One training run as the rules see it: spectra of blocks at snapshots, and what was measured beside them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

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
    remarks: Mapping[str, str] = field(
        default_factory=dict
    )  # by layer, how it is built: "shares weight with head.weight"
    reference: "Course | None" = None  # a run that is known to be healthy, for rules that compare with one

    @property
    def layers(self) -> tuple[str | None, ...]:
        """The blocks there are spectra of, in their order; the whole network where it is known."""
        return tuple(dict.fromkeys(layer for layer, _ in self.spectra))


def up_to(course: Course, snapshot: str) -> Course:
    """The course as it was known at a snapshot: later ones left out."""
    labels = course.snapshots[: course.snapshots.index(snapshot) + 1]
    if labels == course.snapshots:
        return course
    known = set(labels)
    return replace(
        course,
        snapshots=labels,
        spectra={cell: s for cell, s in course.spectra.items() if cell[1] in known},
        held_out={cell: s for cell, s in course.held_out.items() if cell[1] in known},
        states={cell: s for cell, s in course.states.items() if cell[1] in known},
        losses={label: row for label, row in course.losses.items() if label in known},
    )
