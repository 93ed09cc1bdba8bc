"""Names from models and files, made fit for a line of a figure: text from strangers, never a formula."""

import unicodedata

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


def metric_name(name: str) -> str:
    """Call a metric as people do."""
    return shown(name.replace("lambda_", "λ").replace("_", " "))
