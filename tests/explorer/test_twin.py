"""What views are without a kernel: picture, sentence and table of every one of them."""

import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from io import BytesIO
from xml.etree import ElementTree

import numpy as np
import pytest
from canned import HOSTILE, LAYERS, CannedLayer, CannedSession, CannedSnapshots, snapshots

from lhexplore.explorer import Comparison, Explorer, View, views
from lhexplore.explorer.twin import Twin
from lhexplore.explorer.twin_picture import stacked
from lhexplore.explorer.twin_table import MOST_COLUMNS, MOST_ROWS, Table, markdown, text_html
from lhexplore.explorer.words import Words

PATIENCE = 20  # seconds; only a hang takes longer
KINDS = [getattr(views, name) for name in views.__all__]
PICTURED = {
    "ComparePlot", "Evolution", "HeatMap", "HesdMap", "MetricPlot", "ParameterPlot", "Scrubber", "SpectrumPlot",
}  # fmt: skip
LARGEST, LARGEST_SVG, LARGEST_PAGE = 100_000, 130_000, 400_000  # bytes
PNG = b"\x89PNG\r\n\x1a\n"
ALLOWED = {
    "p", "strong", "em", "code", "img", "span", "details", "summary", "div", "table", "caption", "thead", "tbody", "tr",
    "th", "td",
}  # fmt: skip


@pytest.fixture
def made():
    """Makes views and closes them afterwards."""
    alive = []

    def make(kind, *sources, **how):
        alive.append(kind(*(sources or (CannedSession(),)), **how))
        alive[-1].settled(PATIENCE)
        return alive[-1]

    yield make
    for view in alive:
        view.close()


class Read(HTMLParser):
    """Which elements and attributes there are, and the text of it all."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text, self.open = set(), [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag != "img":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


# ---- every view


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_view_has_a_twin(made, kind):
    view = made(kind, layer="conv1", snapshot=6)
    twin = view.twin()
    assert len(twin.sentence) > 20
    assert (twin.picture is not None) == (kind.__name__ in PICTURED)
    assert twin.missing == ""
    read = Read(twin._repr_html_())
    assert read.open == []
    assert read.tags <= ALLOWED
    assert twin.sentence in read.text
    assert twin.sentence in repr(twin)
    if twin.table is not None:
        rows, columns = twin.table.rows, twin.table.columns
        assert rows
        assert all(len(row) == len(columns) for row in rows)
        assert {"caption", "th"} <= read.tags
        assert {value for tag, name, value in read.attributes if name == "scope"} == {"row", "col"}
        assert not any("nan" in cell.lower().split() for row in rows for cell in row)
    if twin.picture is not None:
        assert twin.picture.png.startswith(PNG)
        assert len(twin.picture.png) < LARGEST
        assert len(twin.picture.svg) < LARGEST_SVG
        ElementTree.fromstring(twin.picture.svg)
        assert twin._repr_svg_() == twin.picture.svg
        assert twin._repr_png_() == (twin.picture.png, {"width": twin.picture.width, "alt": twin.picture.words})
        assert ("img", "alt", twin.picture.words) in read.attributes
    assert view.twin(picture=False).picture is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_same_results_give_the_same_twin(made, kind):
    one, two = (made(kind, CannedSession(), layer="conv1").twin() for _ in range(2))
    assert one._repr_html_() == two._repr_html_()
    assert one._repr_markdown_() == two._repr_markdown_()
    assert one._repr_svg_() == two._repr_svg_()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_single_snapshot_is_enough(made, kind):
    twin = made(kind, CannedSession(snapshots=snapshots(1), run=None)).twin()
    assert twin.sentence
    assert twin.missing == ""
    assert Read(twin._repr_html_()).open == []


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_without_snapshots_there_is_no_picture(made, kind):
    class NotYet(CannedSnapshots):
        where = "runs"

    twin = made(kind, CannedSession(snapshots=NotYet(), run=None)).twin()
    assert twin.sentence
    assert twin.picture is None


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_hostile_names_stay_text(made, kind):
    twin = made(kind, layer=HOSTILE).twin()
    for html in (twin._repr_html_(), twin.words_html()):
        read = Read(html)
        assert read.tags <= ALLOWED
        assert not [name for _, name, _ in read.attributes if name.startswith("on")]
        assert all(value.startswith("data:image/png;base64,") for _, name, value in read.attributes if name == "src")
        assert "$" not in html.replace("<span>$</span>", "").replace(
            twin.picture.words if twin.picture else "", ""
        ) or (twin.picture is not None)
    assert "<img" not in re.sub(r"<img src=\"data:[^>]*>", "", twin._repr_markdown_())
    if twin.picture is not None:
        tree = ElementTree.fromstring(twin.picture.svg)
        assert not [element for element in tree.iter() if element.tag.endswith(("img", "script", "foreignObject"))]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_the_twin_of_a_closed_session_is_what_was_known(made, kind):
    session = CannedSession()
    view = made(kind, session, layer="conv1")
    before = view.twin(picture=False)
    session.close()
    view.settled(PATIENCE)
    after = view.twin()
    assert after.table == before.table
    assert after.missing == ""


def test_values_that_are_unknown_are_dashes_and_never_numbers(made):
    missing = {(name, k) for name in (None, *(row.name for row in LAYERS)) for k in range(12)}
    session = CannedSession(missing=missing, pause=1.0)
    view = views.HeatMap(session)
    try:
        cells = {cell for row in view.twin().table.rows for cell in row[1:]}
        page = Explorer(session)
        words = page.twin(picture=False).sentence
        page.close()
    finally:
        view.close()
    assert cells == {"–"}
    assert re.search(r"\d+ of \d+ spectra were known", words)


def test_infinite_and_undefined_numbers_are_said_in_words(made):
    class Odd(CannedSession):
        def losses(self, snapshot=-1):
            return {"loss": float("nan"), "held_out_loss": float("inf")}

    twin = made(views.Scrubber, Odd()).twin()
    assert {row[1:] for row in twin.table.rows} == {("–", "∞")}
    assert twin.picture is not None or twin.missing


def test_losses_and_accuracies_are_no_learning_rates(made):
    class Full(CannedSession):
        def losses(self, snapshot=-1):
            return {"loss": 1.0, "lr": 0.1, "accuracy": 0.5, "momentum": 0.9, "val_acc": 0.5}

    assert made(views.Scrubber, Full()).twin(picture=False).table.columns == ("snapshot", "loss", "accuracy", "val_acc")


# ---- what they say

WRITTEN = 0.005  # numbers are written with three digits: rounded by half a unit of the third at most


def test_the_numbers_are_those_of_the_spectrum(made):
    session = CannedSession()
    table = made(views.SpectrumPlot, session, layer="head", snapshot=3).twin(picture=False).table
    found = session.cached("head", 3)
    said = {row[0]: float(row[1].replace("−", "-").replace(",", "")) for row in table.rows if "×" not in row[1]}
    assert said["largest"] == pytest.approx(found.largest, rel=WRITTEN)
    assert said["95 %"] == pytest.approx(np.quantile(found.nodes, 0.95, method="inverted_cdf"), rel=WRITTEN)
    assert said["smallest"] == said["5 % are below"] == 0  # rounding errors, different on every machine
    assert said["trace"] == pytest.approx(found.trace, rel=WRITTEN)


def test_held_out_data_and_overlays_have_columns_of_their_own(made):
    session = CannedSession(has_held_out=True)
    both = made(views.SpectrumPlot, session, layer="conv1", split="both", overlay=["head"], ggn=True).twin()
    assert both.table.columns == ("eigenvalue", "conv1", "conv1, held-out data", "head", "conv1, Gauss–Newton")
    alone = made(views.SpectrumPlot, CannedSession(has_held_out=True), layer="conv1", split="held_out").twin()
    assert alone.table.columns == ("eigenvalue", "conv1, held-out data")
    assert "held-out data" in alone.picture.svg


def test_two_layers_side_by_side(made):
    view = made(views.ComparePlot, CannedSession(), "conv1", "head")
    twin = view.twin()
    assert twin.table.columns == ("eigenvalue", "A: conv1 at step 1,024", "B: head at step 1,024")
    assert twin.picture.words.startswith("A: conv1")


def test_provenance_is_a_line_of_code_and_progress_a_sentence(made):
    code = made(views.Provenance, layer="head", snapshot=2).twin()
    assert code.sentence == "session.spectrum('head', 'step-000002')"
    assert "<code>session.spectrum(&#x27;head&#x27;" in code._repr_html_()
    assert re.fullmatch(r"\d+ of 48 spectra were known\.", made(views.Progress).twin().sentence)


def test_findings_say_where_and_what_to_do(made):
    twin = made(views.Findings).twin()
    assert twin.table.columns == ("rule", "finding", "where", "what to do", "why")
    assert ("warning D2", "D2 speaks", "conv1 at step 8", "Look at the labels.", "value 3.5, threshold 2") in (
        twin.table.rows
    )


# ---- pages


@pytest.mark.parametrize("two", [False, True])
def test_a_page_has_the_pictures_and_words_of_its_views(made, two):
    page = made(Comparison, CannedSession(), CannedSession()) if two else made(Explorer, layer="conv1")
    twin = page.twin()
    assert len(twin.parts) == sum(not isinstance(view, views.Progress) for view in page.views)
    assert len(twin._repr_html_()) < LARGEST_PAGE
    assert len(twin.picture.svg) < LARGEST_PAGE
    ElementTree.fromstring(twin.picture.svg)
    assert twin.table is not None
    for part in twin.parts:
        assert part.sentence in Read(twin.words_html()).text
        assert markdown(part.sentence) in twin._repr_markdown_()


def test_many_layers_with_long_names_stay_small(made):
    rows = tuple(CannedLayer("block." * 48 + str(i), 10, status="skipped", reason="none") for i in range(500))
    page = made(Explorer, CannedSession(layers=(*LAYERS, *rows)))
    twin = page.twin()
    assert len(twin._repr_html_()) < LARGEST_PAGE
    assert len(twin.parts[1].table.rows) == MOST_ROWS


def test_a_view_of_ones_own_is_told_by_its_sentence(made):
    class Own(View):
        """Says hello."""

        def build(self):
            self.sentence = self.own(Words())
            self.sentence.say(["Hello."])
            return [self.sentence]

        def paint(self, looking, stale):
            pass

    twin = made(Own).twin()
    assert (twin.title, twin.sentence, twin.table, twin.picture) == ("Own", "Hello.", None, None)


# ---- without matplotlib, and when drawing fails


def test_without_matplotlib_the_words_say_how_to_get_the_picture(made, monkeypatch):
    view = made(views.SpectrumPlot)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    twin = view.twin()
    assert twin.picture is None
    assert "pip install 'lhexplore[plots]'" in twin.missing
    assert twin.table is not None
    assert text_html(twin.missing) in twin._repr_html_()


def test_a_picture_that_cannot_be_drawn_takes_nothing_else_with_it(made, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("no room")

    view = made(views.HeatMap)
    monkeypatch.setattr("lhexplore.figures.heat_map", fail)
    twin = view.twin()
    assert twin.picture is None
    assert "no room" in twin.missing
    assert twin.table.rows


# ---- the values


def test_pictures_of_a_page_stand_one_below_the_other(made):
    from PIL import Image

    one, two = made(views.Scrubber).twin().picture, made(views.HeatMap).twin().picture
    page = stacked([one, two])
    sizes = [Image.open(BytesIO(still.png)).size for still in (one, two, page)]
    assert sizes[2][0] == max(sizes[0][0], sizes[1][0])
    assert sizes[0][1] + sizes[1][1] < sizes[2][1] < sizes[0][1] + sizes[1][1] + 60
    assert stacked([]) is None
    assert stacked([one]) is one


def test_a_table_that_is_too_large_is_thinned_and_says_so():
    table = Table.of("Many.", [f"c{k}" for k in range(100)], [[r, *range(99)] for r in range(1000)])
    assert (len(table.rows), len(table.columns)) == (MOST_ROWS, MOST_COLUMNS + 1)
    assert (table.rows[0][0], table.rows[-1][0]) == ("0", "999")
    assert (table.columns[0], table.columns[-1]) == ("c0", "c99")
    assert table.caption == "Many. Some rows or columns are left out."
    assert Table.of("Few.", ["a"], [["x"]]).caption == "Few."


def test_markdown_and_formulas_are_defused():
    assert markdown("a|b <i> `c` $x$") == "a\\|b &lt;i&gt; \\`c\\` \\$x\\$"
    assert text_html("$x$ \\(y\\)") == "<span>$</span>x<span>$</span> <span>\\</span>(y<span>\\</span>)"
    twin = Twin("<b>", "<script>", Table.of("|", ["<"], [["$"]]))
    assert replace(twin, missing="why").words_html().count("<em>") == 1
    assert "<script>" not in twin.words_html() + twin._repr_markdown_()
