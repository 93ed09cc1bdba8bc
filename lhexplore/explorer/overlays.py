"""What lies over a spectrum: outlines of the same kind on the same axis, told apart by their strokes alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..diagnosis.number_texts import short
from ..spectrum import Spectrum
from .escape import plain
from .frames import Key, Shape

Spectra = Sequence[Spectrum | None]


class Stroke(NamedTuple):
    """A role of the theme, a pattern of dashes in pixels, and the swatch that shows it in a legend."""

    role: str
    dash: tuple[int, ...]
    swatch: Shape


STROKES = (
    Stroke("third", (8, 4), "dash"),
    Stroke("fourth", (2, 3), "dots"),
    Stroke("sixth", (10, 3, 2, 3), "dashdot"),
    Stroke("marker", (14, 5), "longdash"),
)
SOURCES = tuple(f"over{i}" for i in range(1, len(STROKES) + 1))
MOST_LAYERS = len(STROKES) - 1  # the last stroke is that of the Gauss-Newton matrix
GGN = "GGN"


@dataclass(frozen=True, slots=True, eq=False)
class Overlay:
    """One outline: what it is called, its spectra at every snapshot, and which of the strokes it has."""

    name: str
    spectra: Spectra
    stroke: int

    @property
    def source(self) -> str:
        """The name of its columns."""
        return SOURCES[self.stroke]


def overlays_of(layers: Mapping[str, Spectra], ggn: Spectra | None = None) -> list[Overlay]:
    """Give every layer its stroke in turn, and the Gauss-Newton matrix its own."""
    made = [Overlay(plain(name, longest=32), spectra, i) for i, (name, spectra) in enumerate(layers.items())]
    return [*made, *([] if ggn is None else [Overlay(GGN, ggn, len(STROKES) - 1)])]


def overlay_keys(overlays: Sequence[Overlay], more: str = "") -> tuple[Key, ...]:
    """Entries of the legend; ``more`` is said of each."""
    return tuple(
        Key(each.name + more, ((STROKES[each.stroke].swatch, STROKES[each.stroke].role),)) for each in overlays
    )


def overlay_sentence(overlay: Overlay, k: int) -> str:
    """A short description of one outline."""
    found = overlay.spectra[k]
    name = "The Gauss-Newton matrix" if overlay.name == GGN else overlay.name
    if found is None:
        return f"{name}: not computed yet."
    low, high = ("0" if abs(end) <= found.zero_band else short(end) for end in (found.smallest, found.largest))
    return f"{name}: from {low} to {high}; trace {short(found.trace)}."
