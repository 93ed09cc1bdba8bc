import gzip
import json

import numpy as np
import pytest
from bokeh.document import Document
from canned import CannedSession, spectrum

from lhexplore.errors import SettingError
from lhexplore.explorer.figures import Plot, loss_plot, pack_frames, refresh, show_frame, spectrum_plot
from lhexplore.explorer.frames import ALIGN


@pytest.fixture
def session():
    return CannedSession()


@pytest.fixture
def plot(session):
    return make(session)


def make(session, layer="conv1", **settings):
    labels = session.snapshots.labels
    return spectrum_plot([session.cached(layer, k) for k in range(len(labels))], labels, **settings)


def test_packed_bytes_read_back_as_the_same_columns(plot):
    packed, spec = pack_frames(plot)
    block = gzip.decompress(packed)
    assert spec["count"] == 12
    json.dumps(spec, allow_nan=False)
    read = {}
    for source, column, kind, offset, length, lag in spec["columns"]:
        assert offset % ALIGN == 0
        assert lag == (source == "ghost")
        rows = np.frombuffer(block, np.dtype(kind), spec["count"] * length, offset).reshape(spec["count"], length)
        read[f"{source}__{column}"] = rows
    assert read.keys() == plot.frames.keys()
    for key, rows in read.items():
        np.testing.assert_array_equal(rows, plot.frames[key])


def test_figures_on_one_page_share_a_block(session, plot):
    loss = loss_plot(session.snapshots, [session.losses(k) for k in range(12)])
    packed, spec = pack_frames(plot, loss)
    block = gzip.decompress(packed)
    assert [words for words, _ in spec["legend"]] == [key.words for key in (*plot.legend, *loss.legend)]
    assert {row[0] for row in spec["columns"]} == {*plot.sources, "loss-now"}
    assert spec["titles"][0] == ["frame-title", list(plot.titles)]
    last = spec["columns"][-1]
    np.testing.assert_array_equal(np.frombuffer(block, "f4", 12, last[3]), np.arange(12))


def test_a_page_of_frames_is_small(plot):
    assert len(pack_frames(plot)[0]) < 2_000 * plot.count


def test_a_frame_shows_its_snapshot_and_the_ghost_the_one_before(plot):
    show_frame(plot, 5)
    bars, ghost = (plot.root.select_one({"name": name}).data for name in ("bars", "ghost"))
    np.testing.assert_array_equal(bars["top"], plot.frames["bars__top"][5])
    np.testing.assert_array_equal(ghost["y"], plot.frames["ghost__y"][4])
    assert plot.root.select_one({"name": "frame-title"}).text == plot.titles[5]


def test_the_first_frame_has_no_ghost(plot):
    show_frame(plot, 0)
    assert np.isnan(plot.root.select_one({"name": "ghost"}).data["y"]).all()


def test_rows_titles_and_sentences_must_agree(plot):
    with pytest.raises(SettingError, match="one row, title and sentence per snapshot"):
        Plot(plot.root, plot.frames, plot.titles[:-1], plot.sentences[:-1])


def test_refresh_carries_axes_over_without_a_new_figure(session, plot):
    wide = [spectrum("conv1", 11, "late")] * 12
    narrow = spectrum_plot([spectrum("conv1", 0, "early")] * 12, session.snapshots.labels)
    fresh = spectrum_plot(wide, session.snapshots.labels)
    assert narrow.structure == fresh.structure
    assert narrow.root.x_range.end != fresh.root.x_range.end
    refresh(narrow.root, fresh)
    for name in ("start", "end"):
        assert getattr(narrow.root.x_range, name) == getattr(fresh.root.x_range, name)
        assert getattr(narrow.root.y_range, name) == getattr(fresh.root.y_range, name)
    assert narrow.root.xaxis[0].ticker.ticks == fresh.root.xaxis[0].ticker.ticks
    assert narrow.root.xaxis[0].major_label_overrides == fresh.root.xaxis[0].major_label_overrides


def test_refresh_sends_nothing_where_nothing_changed(session, plot):
    document = Document()
    document.add_root(plot.root)
    events = []
    document.on_change(events.append)
    refresh(plot.root, make(session))
    assert events == []


def test_exact_and_estimated_blocks_have_the_same_structure(session):
    assert make(session, "conv1").structure == make(session, "conv2").structure
    assert make(session, "conv1").structure != make(session, "conv1", kind="density").structure


def test_the_words_beside_the_colours_follow_their_range():
    from bokeh.models import ColorBar

    from lhexplore.diagnosis import METRICS
    from lhexplore.explorer.figures import heat_map

    def plot(*values):
        table = np.array([values], float).T
        names = [f"layer{i}" for i in range(len(values))]
        return heat_map(table, names, ["now"], metric=METRICS["lambda_max"], layer=0, ticks={0.0: "now"}, x_label="x")

    live, fresh = plot(1.26, np.nan, np.nan), plot(165.0, 0.0139, 3.0)
    refresh(live.root, fresh)
    (bar,) = live.root.select({"type": ColorBar})
    assert set(bar.major_label_overrides) == set(bar.ticker.ticks)
    assert bar.major_label_overrides == next(iter(fresh.root.select({"type": ColorBar}))).major_label_overrides
