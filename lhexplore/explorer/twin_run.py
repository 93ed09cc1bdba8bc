"""A hub as figures for papers read a run: what is known, from memory; nothing is computed or read from disk."""

from collections.abc import Mapping, Sequence
from types import SimpleNamespace

from ..layer_state import LayerState
from ..spectrum import Spectrum
from .hub import Hub
from .protocols import Judged
from .state import Cell, Selection


class KnownRun:
    """Has the public face of a session that figures read, for the layers on show.

    Snapshots (all, or those with these indices) go by their labels; where several have the same one, a number is added.
    "data" are those that are looked at first, be they of training or held out.
    """

    def __init__(self, hub: Hub, looking: Selection, snapshots: Sequence[int] | None = None) -> None:
        self._hub, self._looking, self._losses = hub, looking, hub.facts.losses()
        shots = hub.facts.shots
        labels = [s.label if looking.labels.count(s.label) == 1 else f"{s.label} ({k})" for k, s in enumerate(shots)]
        self._index = {labels[k]: k for k in (range(len(labels)) if snapshots is None else snapshots)}
        self.snapshots = [SimpleNamespace(label=label, step=shots[k].step) for label, k in self._index.items()]
        rows = [entry for entry in looking.shown if entry.usable and entry.key is not None]
        self.layers = [SimpleNamespace(name=entry.name, status="ok", reason="") for entry in rows]
        self.has_held_out = hub.offer.has_held_out
        self.label = labels[looking.snapshot] if labels else ""  # of the snapshot on show

    def cached(self, layer: str | None, label: str, *, split: str = "data") -> Spectrum | None:
        """The best that is known; preliminary values are, too."""
        names = self._looking.names
        if layer not in names:
            return None
        main = self._looking.main if split == "data" else split
        return self._hub.computing.known.best(Cell(names[layer], self._index[label], main))

    def losses(self, label: str) -> Mapping[str, float]:
        """Losses and accuracies that were recorded or computed."""
        return self._losses[self._index[label]]

    def cached_states(self, label: str) -> Mapping[str | None, LayerState]:
        """Gradients and parameters as far as they are known."""
        stating, split = self._hub.computing.stating, self._looking.main
        found = {key: stating.of(key, self._index[label], split) for key in self._looking.names}
        return {key: state for key, state in found.items() if state is not None}

    def findings(self) -> Judged | None:
        """What was last said of the run."""
        return self._hub.facts.located.run
