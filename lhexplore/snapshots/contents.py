"""What a checkpoint holds: as seen without its tensors (``Look``), and as read (``Contents``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from ..trace_point import TracePoint

DIGEST = "lhexplore_digest"  # metadata key under which the recorder leaves the digest of the weights


@dataclass(frozen=True, slots=True)
class Look:
    """What can be said of a checkpoint without reading its tensors."""

    kind: str  # "safetensors", "torch", ... as the first bytes tell, never the file name
    size: int  # bytes on disk
    status: str = "ok"
    reason: str = ""
    step: int | None = None
    epoch: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    digest: str | None = None  # of the weights, as the recorder claims it; verified when they are read
    sign: str | None = None  # of names, types, shapes and checksums, where the file lists them: equal for equal weights
    run: str | None = None  # which recording wrote it
    traces: TracePoint | None = None  # measured when it was recorded


@dataclass(frozen=True, slots=True, eq=False)
class Contents:
    """The weights of one checkpoint, in private memory, and the fields found beside them."""

    state: dict[str, Tensor]
    step: int | None = None
    epoch: float | None = None
    metrics: Mapping[str, float] = field(default_factory=dict)
    digest: str | None = None  # claimed by the file, to be verified
    notes: tuple[str, ...] = ()
