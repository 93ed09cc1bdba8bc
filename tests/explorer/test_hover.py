"""What the mouse is told is words: a number never stands alone, and names are never read as formats."""

import re
from collections.abc import Iterator

import pytest
from bokeh.models import ColumnDataSource, HoverTool, Model
from canned import CannedSession

from lhexplore.explorer import Explorer, views
from lhexplore.explorer.figures import Plot, show_frame
from lhexplore.explorer.pane import BokehPane

COLUMN = re.compile(r"@\{?(\w+)\}?")
ALONE = ("Evolution", "MetricPlot", "HesdMap", "ParameterPlot")


def panes(box: object) -> Iterator[BokehPane]:
    for child in getattr(box, "children", ()):
        if isinstance(child, BokehPane):
            yield child
        yield from panes(child)


def filled(plot: Plot) -> Model:
    """The figure as it stands at a snapshot."""
    show_frame(plot, 8)
    return plot.root


class Counted(CannedSession):
    """A run whose accuracies are known, too."""

    def losses(self, snapshot: int | str = -1) -> dict[str, float]:
        return {**super().losses(snapshot), "accuracy": 0.9, "held_out_accuracy": 0.8}


@pytest.fixture(scope="module")
def roots() -> Iterator[dict[str, Model]]:
    """The figures of all views, those that are computed on request, too."""
    session = Counted(missing=set(), has_held_out=True)
    explorer = Explorer(session, layer="conv1", snapshot=8, split="both", overlay=["head"], ggn=True)
    shown = [explorer, *(getattr(views, name)(explorer) for name in ALONE)]
    vectors = views.Eigenvectors(explorer)
    explorer.settled()
    found = {}
    for kind in ("histogram", "density", "cumulative", "rug"):
        explorer.view = kind
        explorer.settled()
        (spectrum,) = (pane for pane in panes(explorer) if pane.name == "Spectrum")
        found[kind] = filled(spectrum._plot)
    vectors.compute()
    vectors.settled()
    for view in (*shown, vectors):
        found |= {pane.name: filled(pane._plot) for pane in panes(view) if pane._plot is not None}
    yield found
    for view in (*shown, vectors):
        view.close()


def test_every_line_says_what_its_number_is(roots: dict[str, Model]) -> None:
    bare, looked = [], 0
    for name, root in roots.items():
        for hover in root.select({"type": HoverTool}):
            for label, line in hover.tooltips:
                looked += 1
                texts = [text for text in COLUMN.findall(line) if _is_text(hover, text)]
                if not texts and not re.search(r"[^\W\d]", COLUMN.sub("", line)):
                    bare.append(f"{name}: {line}")
                assert label == ""
    assert looked > 25
    assert bare == []


def test_accuracies_say_what_they_are(roots: dict[str, Model]) -> None:
    (source,) = roots["Loss over training"].select({"name": "losses"})
    hovers = list(roots["Loss over training"].select({"type": HoverTool}))
    told = [text for hover in hovers for _, line in hover.tooltips for text in COLUMN.findall(line) if "name" in text]
    names = [source.data[column][0] for column in told]
    assert sorted(names) == ["held-out accuracy", "held-out loss", "training accuracy", "training loss"]


def _is_text(hover: HoverTool, column: str) -> bool:
    """Whether the column of what is hovered over holds words."""
    sources = [renderer.data_source for renderer in hover.renderers]
    kept = [source.data.get(column) for source in sources if isinstance(source, ColumnDataSource)]
    return any(values is not None and len(values) and isinstance(values[0], str) for values in kept)
