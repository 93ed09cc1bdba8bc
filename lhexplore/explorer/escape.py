"""Makes names from models and files safe to show: they are text from strangers, never markup."""

import json
import math
from html import escape
from typing import Any
from unicodedata import bidirectional

from ..figures.names import shown

LONGEST = 60  # characters of a name on screen; the full name is in the data

# Bokeh reads these pairs as the start of a formula; a zero-width space keeps the text as it is.
_TEX = (("$$", "$\u200b$"), ("\\[", "\\\u200b["), ("\\(", "\\\u200b("))

_ISOLATE, _END = "\u2068", "\u2069"  # around a piece whose direction nothing else depends on


def plain(text: object, *, longest: int = LONGEST) -> str:
    """Return ``text`` as one short printable line: no control or direction marks of its own, no formula delimiters.

    What is written from right to left keeps to itself: it would turn the numbers around it, too.
    """
    line = shown(text, longest=longest)
    for found, harmless in _TEX:
        line = line.replace(found, harmless)
    turned = not line.isascii() and any(bidirectional(character) in ("R", "AL") for character in line)
    return f"{_ISOLATE}{line}{_END}" if turned else line


def markup(text: object) -> str:
    """Escape ``text`` for HTML, inside elements and inside quoted attributes."""
    return escape(str(text), quote=True)


def script_json(value: Any) -> str:
    """Write ``value`` as JSON that can stand inside a ``<script>`` element; NaN and infinity become null."""
    text = json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
