"""What views read of layers and snapshots: the part that tests and other sources have to bring, too."""

from collections.abc import Sequence
from typing import Protocol

from ..diagnosis import Finding
from ..diagnosis.rules.diagnose import Judged as InRun


class LayerLike(Protocol):
    """A row of a layer list."""

    @property
    def name(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def kind(self) -> str: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...


class SnapshotLike(Protocol):
    """Where in training something stands, and whether it can be used."""

    @property
    def label(self) -> str: ...
    @property
    def step(self) -> int | None: ...
    @property
    def epoch(self) -> float | None: ...
    @property
    def status(self) -> str: ...
    @property
    def reason(self) -> str: ...


class TraceLike(Protocol):
    """A layer's trace: ``value`` ± 2 ``stderr``."""

    @property
    def layer(self) -> str | None: ...
    @property
    def value(self) -> float: ...
    @property
    def stderr(self) -> float: ...
    @property
    def status(self) -> str: ...


class TracesLike(Protocol):
    """The traces of all layers as known after some random vectors."""

    @property
    def layers(self) -> Sequence[TraceLike]: ...
    @property
    def probes(self) -> int: ...


class Judged(InRun, Protocol):
    """What the rules found in a whole run: where each finding begins, what holds in a cell, who could not judge."""

    @property
    def findings(self) -> Sequence[Finding]: ...
    @property
    def layers(self) -> Sequence[str | None]: ...
