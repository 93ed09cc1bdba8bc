"""Figures and texts as parts of a page: text that holds little, which the browser opens only when it is looked at."""

import base64
import gzip
import json
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

import numpy as np
from bokeh.document import Document

from ..explorer.drawing import Drawing
from ..explorer.figures import Plot, join_frames
from .tables import Table

Json = dict[str, Any]
LEVEL = 6  # of compression
KEPT = 13  # bits of a number's fraction: 1 in 16,000, far less than a pixel
DIGITS = 7  # of a position
WIDTH = 4  # bytes of a number: first come the first bytes of all, then the second ones, …, which are more alike


class Templates:
    """The figures of a report before anything is put into them: those that are drawn alike are there once."""

    def __init__(self) -> None:
        self._numbers: dict[Hashable, int] = {}
        self.made: list[Json] = []

    def number(self, plot: Plot) -> int:
        """Which one a figure is drawn by."""
        key = plot.picture.key if isinstance(plot.picture, Drawing) else plot
        if key not in self._numbers:
            self._numbers[key] = len(self.made)
            root = plot.picture.make() if isinstance(plot.picture, Drawing) else plot.root
            document = Document()
            document.add_root(root)
            self.made.append({"document": document.to_json(deferred=False), "height": root.height})
        return self._numbers[key]

    def parts(self) -> dict[str, str]:
        """Each as a part of the page."""
        return {f"figure-{i}": Part(self).text(each) for i, each in enumerate(self.made)}


@dataclass(frozen=True, slots=True)
class Part:
    """One text on the page: JSON, then the blocks of numbers it speaks of, each compressed and written as letters.

    ``parts.js`` reads what ``text`` gives.
    """

    templates: Templates
    blocks: list[bytes] = field(default_factory=list)

    def figure(self, plot: Plot, table: Table | None) -> Json:
        """A figure with all its snapshots, and the same as a table; None where the browser makes it."""
        block, spec = join_frames(plot)
        block = _shared(rounded(block), spec)
        self.blocks.append(np.frombuffer(block, np.uint8).reshape(-1, WIDTH).T.tobytes())
        settings = plot.picture.settings if isinstance(plot.picture, Drawing) else {}
        template = self.templates.number(plot)
        return {
            "template": template,
            "height": self.templates.made[template]["height"],
            "settings": {
                name: {key: _plain(value) for key, value in values.items()} for name, values in settings.items()
            },
            "block": len(self.blocks) - 1,
            "spec": spec,
            "sentences": list(plot.sentences),
            "table": table,
        }

    def text(self, content: Json) -> str:
        """The part with this JSON in front."""
        head = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        return " ".join(base64.b64encode(gzip.compress(each, LEVEL, mtime=0)).decode() for each in (head, *self.blocks))


def _plain(value: Any) -> Any:
    """A property as JSON: columns by name, ticks as pairs, and None for what is not known."""
    if isinstance(value, Mapping):
        return [[key, _plain(each)] for key, each in value.items()]
    if isinstance(value, np.ndarray):
        return [float(f"{v:.{DIGITS}g}") if isfinite(v) else None for v in value.tolist()]
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def rounded(block: bytes) -> bytes:
    """Numbers of 32 bits with the last bits of their fraction rounded away, which compress to half as much."""
    bits = np.frombuffer(block, "<u4").copy()
    drop = 23 - KEPT
    usual = bits & 0x7F800000 != 0x7F800000  # neither NaN nor infinite
    bits[usual] = bits[usual] + (1 << (drop - 1)) & ~np.uint32((1 << drop) - 1)
    return bits.tobytes()


def _shared(block: bytes, spec: Json) -> bytes:
    """Columns that are equal (the height of a bar, and the count it stands for) stand there once."""
    places: dict[bytes, int] = {}
    for column in spec["columns"]:
        offset, length = column[3], column[4]
        rows = block[offset : offset + spec["count"] * length * WIDTH]
        column[3] = places.setdefault(rows, sum(map(len, places)))
    return b"".join(places)
