"""Names from models and files, made fit for a line of a figure: text from strangers, never a formula."""

import unicodedata
from collections.abc import Sequence
from itertools import takewhile

from ..spectrum import WHOLE

LONGEST = 32  # characters of a name in a figure; captions may have more


def shown(text: object, *, longest: int = LONGEST) -> str:
    """One short printable line: no control or direction marks, long names shortened in the middle.

    Figures draw it as it stands: none of their texts is read as mathematics unless it is lhexplore's own.
    """
    kept = "".join(" " if c.isspace() else c for c in str(text) if c.isspace() or unicodedata.category(c)[0] != "C")
    line = " ".join(kept.split())
    if len(line) <= longest:
        return line
    head = (longest - 1) // 2
    return f"{line[:head]}…{line[-(longest - 1 - head) :]}"


def block(layer: str | None, *, longest: int = LONGEST) -> str:
    """What a block is called."""
    return WHOLE if layer is None else shown(layer, longest=longest) or "(no name)"


def blocks(layers: Sequence[str | None], *, longest: int) -> list[str]:
    """What blocks are called side by side: where shortening makes names equal, the path they share is left out."""
    short = [block(layer, longest=longest) for layer in layers]
    if len(set(short)) == len(set(layers)):
        return short
    paths = [layer.split(".") for layer in layers if layer is not None]
    start, end = _shared(paths), _shared([path[::-1] for path in paths])
    if start + end >= min(map(len, paths)):
        return short
    told = (None if layer is None else ".".join(layer.split(".")[start:][: -end or None]) for layer in layers)
    return [block(None) if path is None else shown(f"…{path}", longest=longest) for path in told]


def _shared(paths: Sequence[Sequence[str]]) -> int:
    """How many parts all paths begin with."""
    return sum(1 for _ in takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False)))


def metric_name(name: str) -> str:
    """Call a metric as people do."""
    return shown(name.replace("lambda_", "λ").replace("_", " "))
