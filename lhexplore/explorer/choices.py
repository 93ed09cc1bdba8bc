"""What may be chosen on the screen, as traits: the same in the hub, in every view and in the explorer."""

from collections.abc import Mapping
from dataclasses import dataclass
from operator import index
from typing import Any, SupportsIndex

import traitlets as t

from ..diagnosis import METRICS
from ..errors import SettingError, suggest
from .axes import SCALES
from .overlays import MOST_LAYERS
from .places import place
from .protocols import SnapshotLike
from .spectrum_figure import KINDS
from .state import SPLITS, Entry, entries_of, find_entry, find_snapshot, shown

METRIC = "lambda_max"
NAMES = (
    "layers",
    "layer",
    "snapshot",
    "view",
    "scale",
    "metric",
    "split",
    "overlay",
    "ggn",
    "follow",
)  # layers before one of them
SPLIT_WORDS = {"data": "training", "held_out": "held-out", "both": "both"}
Loose = t.TraitType[Any, Any]  # hands every value, None included, to the validators


@dataclass(frozen=True, slots=True)
class Offer:
    """What a session has to choose from."""

    entries: tuple[Entry, ...]
    labels: tuple[str, ...]  # of the snapshots
    places: tuple[str, ...]  # where in training each stands
    has_held_out: bool
    rows: tuple[SnapshotLike, ...] = ()  # the snapshots themselves

    @classmethod
    def of(cls, session: Any) -> "Offer":
        """What there is now; more snapshots may come."""
        rows = tuple(session.snapshots)
        labels, places = tuple(row.label for row in rows), tuple(place(row) for row in rows)
        return cls(entries_of(session.layers), labels, places, session.has_held_out, rows)

    @property
    def usable(self) -> tuple[str, ...]:
        """Names of the entries that have spectra."""
        return tuple(entry.name for entry in self.entries if entry.usable)

    def first(self, layers: tuple[str, ...]) -> str:
        """What to show when nothing was asked for: the first layer among these, else the whole network."""
        wanted = [entry for entry in shown(self.entries, layers) if entry.usable]
        return next((entry.name for entry in wanted if entry.key is not None), wanted[0].name)

    def accept(self, name: str, value: Any, layers: tuple[str, ...]) -> Any:
        """The value that the choice called ``name`` takes; ``layers`` are those on show.

        Raises:
            UnknownLayerError, UnknownSnapshotError, SettingError: with near names.
        """
        if name == "layer":
            return find_entry(shown(self.entries, layers), value).name
        if name == "snapshot" and not self.labels:
            return 0  # until the first one is there
        if name == "snapshot":
            if isinstance(value, bool) or not isinstance(value, str | SupportsIndex):
                raise SettingError(f"snapshot must be a whole number or a label, got {value!r}.")
            return find_snapshot(self.labels, value if isinstance(value, str) else index(value))
        if name == "layers":
            return self._layers([value] if isinstance(value, str) else value)
        if name == "overlay":
            return self._overlay([value] if isinstance(value, str) else value)
        if name in ("ggn", "follow"):
            return value
        allowed = {"view": KINDS, "scale": SCALES, "metric": tuple(METRICS), "split": SPLITS}[name]
        if value not in allowed:
            raise SettingError(f"{name} cannot be {value!r}. {suggest(value, allowed)}")
        if name == "split" and value != SPLITS[0] and not self.has_held_out:
            raise SettingError(
                f"split cannot be {value!r}: this session has no held-out data. Give Session(..., held_out=loader)."
            )
        return str(value)

    def _layers(self, names: Any) -> tuple[str, ...]:
        wanted = {find_entry(self.entries, name).name for name in names}
        if not wanted:
            raise SettingError("layers must name at least one layer.")
        return tuple(entry.name for entry in self.entries if entry.name in wanted)

    def _overlay(self, names: Any) -> tuple[str, ...]:
        wanted = tuple(dict.fromkeys(find_entry(self.entries, name).name for name in names))
        if len(wanted) > MOST_LAYERS:
            raise SettingError(
                f"overlay takes at most {MOST_LAYERS} layers, got {len(wanted)}: more cannot be told apart."
            )
        return wanted


class Choices(t.HasTraits):
    """Traits that accept what the hub's offer says; a wrong value is refused and changes nothing."""

    hub: Any  # whose offer and layers count; set before the first trait

    snapshot: Loose = t.TraitType(0, help="Index of the snapshot on show; a label or a negative index may be set.")
    layer: Loose = t.TraitType("", help='Name of the layer on show; "whole network" (or None) for all as one block.')
    layers: Loose = t.TraitType((), help="Names of the entries that are shown and may be chosen.")
    view = t.Unicode(KINDS[0], help='"histogram", "density", "cumulative" or "rug".')
    scale = t.Unicode(SCALES[0], help='"symlog", "linear" or "loglog".')
    metric = t.Unicode(METRIC, help="Metric of the layer list and of the map.")
    split = t.Unicode(SPLITS[0], help='Which data: "data", "held_out" or "both".')
    overlay: Loose = t.TraitType(
        (), help="Names of up to three layers whose spectra lie over that of the layer on show."
    )
    ggn = t.Bool(False, help="Whether the spectrum of the layer's Gauss-Newton matrix lies over that of its Hessian.")
    follow = t.Bool(False, help="Whether who looks at the last snapshot goes along when training writes another.")

    @t.validate(*NAMES)
    def _accepted(self, proposal: Any) -> Any:
        return self.hub.offer.accept(proposal["trait"].name, proposal["value"], self.hub.layers)


def only_known(owner: str, choices: Mapping[str, Any]) -> None:
    """Refuse keywords that are no choice.

    Raises:
        TypeError: with those there are.
    """
    unknown = sorted(set(choices) - set(NAMES))
    if unknown:
        raise TypeError(
            f"{owner} has no {', '.join(map(repr, unknown))}; "
            "it has layer, snapshot, view, scale, metric, split, overlay, ggn, layers and follow."
        )
