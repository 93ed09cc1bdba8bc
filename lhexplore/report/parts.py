"""Figures and texts as parts of a page: text that holds little, which the browser opens only when it is looked at."""

import base64
import gzip
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from bokeh.document import Document

from ..explorer.figures import Plot, pack_frames
from .tables import Table

Json = dict[str, Any]
LEVEL = 6  # of compression
KEPT = 13  # bits of a number's fraction: 1 in 16,000, far less than a pixel
WIDTH = 4  # bytes of a number: first come the first bytes of all, then the second ones, …, which are more alike


@dataclass(frozen=True, slots=True)
class Part:
    """One text on the page: JSON, then the blocks of numbers it speaks of, each compressed and written as letters.

    ``parts.js`` reads what ``text`` gives.
    """

    blocks: list[bytes] = field(default_factory=list)

    def figure(self, plot: Plot, table: Table | None) -> Json:
        """A figure with all its snapshots, and the same as a table; None where the browser makes it."""
        packed, spec = pack_frames(plot)
        block = _shared(rounded(gzip.decompress(packed)), spec)
        self.blocks.append(np.frombuffer(block, np.uint8).reshape(-1, WIDTH).T.tobytes())
        document = Document()
        document.add_root(plot.root)
        return {
            "document": document.to_json(deferred=False),
            "height": plot.root.height,
            "block": len(self.blocks) - 1,
            "spec": spec,
            "sentences": list(plot.sentences),
            "table": table,
        }

    def text(self, content: Json) -> str:
        """The part with this JSON in front."""
        head = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
        return " ".join(base64.b64encode(gzip.compress(each, LEVEL, mtime=0)).decode() for each in (head, *self.blocks))


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
