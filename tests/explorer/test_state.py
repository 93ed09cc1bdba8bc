from itertools import pairwise

import numpy as np
import pytest
from canned import LAYERS, CannedLayer, CannedSession, CannedSnapshot
from hypothesis import given
from hypothesis import strategies as st

from lhexplore.errors import SettingError, SnapshotError, UnknownLayerError, UnknownSnapshotError
from lhexplore.explorer.hub import Hub
from lhexplore.explorer.known import Known, words
from lhexplore.explorer.places import place
from lhexplore.explorer.state import (
    Cell,
    Request,
    Selection,
    entries_of,
    find_entry,
    find_snapshot,
    nearest_first,
    requests,
    shown,
)
from lhexplore.spectrum import Spectrum, Step

ENTRIES = entries_of(LAYERS)


def value(*nodes, complete=True):
    return Spectrum(
        "a", "s", len(nodes), np.array(nodes), np.full(len(nodes), 1 / len(nodes)), "dense", complete=complete
    )


def test_whole_network_comes_first_and_skipped_layers_keep_their_row():
    assert [entry.key for entry in ENTRIES] == [None, *(layer.name for layer in LAYERS)]
    assert ENTRIES[0].size == sum(layer.size for layer in LAYERS if layer.status == "ok")
    assert [entry.name for entry in ENTRIES if not entry.usable] == ["old"]


def test_a_layer_called_like_the_whole_network_stays_apart():
    entries = entries_of([CannedLayer("whole network", 3)])
    assert [entry.name for entry in entries] == ["whole network (all)", "whole network"]
    assert find_entry(entries, "whole network").key == "whole network"
    assert find_entry(entries, None).key is None


def test_unknown_layers_are_answered_with_near_names_and_skipped_ones_with_the_reason():
    with pytest.raises(UnknownLayerError, match="conv2"):
        find_entry(ENTRIES, "conv3")
    with pytest.raises(UnknownLayerError, match="integer parameters"):
        find_entry(ENTRIES, "old")


@pytest.mark.parametrize(("wanted", "found"), [(0, 0), (-1, 2), (2, 2), (-3, 0), ("b", 1)])
def test_snapshots_are_found_by_index_and_label(wanted, found):
    assert find_snapshot(["a", "b", "c"], wanted) == found


@pytest.mark.parametrize("wanted", [3, -4, "d"])
def test_snapshots_out_of_range_say_what_there_is(wanted):
    with pytest.raises(UnknownSnapshotError, match=r"3, numbered 0 to 2|'a', 'b', 'c'"):
        find_snapshot(["a", "b", "c"], wanted)


@pytest.mark.parametrize(
    ("step", "epoch", "said"),
    [(128, 3.0, "step 128 · epoch 3"), (1280, None, "step 1,280"), (None, 0.5, "epoch 0.5"), (None, None, "best")],
)
def test_places_are_said_with_step_and_epoch_as_far_as_known(step, epoch, said):
    assert place(CannedSnapshot("best", step, epoch, {})) == said


def test_requests_are_lines_of_code_that_name_one_snapshot_each():
    assert str(Request("fc1", "step-128")) == "session.spectrum('fc1', 'step-128')"
    assert str(Request(None, 3)) == "session.spectrum(None, 3)"
    assert [r.snapshot for r in requests("a", ["x", "y", "x"])] == [0, "y", 2]  # a label that two share names neither


@given(st.integers(1, 6), st.integers(1, 8), st.data())
def test_the_order_of_work_reaches_every_cell_once_and_never_gets_nearer(layers, count, data):
    rows = [f"l{i}" for i in range(layers)]
    here = data.draw(st.integers(0, layers - 1)), data.draw(st.integers(0, count - 1))
    order = list(nearest_first((rows[here[0]], here[1]), rows, count))
    assert order[0] == (rows[here[0]], here[1])
    assert sorted(order) == sorted((row, k) for row in rows for k in range(count))
    mine, others = order[:count], order[count:]
    assert {row for row, _ in mine} == {rows[here[0]]}
    assert all(abs(a[1] - here[1]) <= abs(b[1] - here[1]) for a, b in pairwise(mine))
    assert all(abs(a[1] - here[1]) <= abs(b[1] - here[1]) for a, b in pairwise(others))


def test_the_whole_network_is_filled_only_where_it_is_looked_at():
    looking = Selection(ENTRIES, ("a", "b"), ("a", "b"), tuple(e.name for e in ENTRIES if e.usable), "conv1", 0)
    assert {cell.layer for cell in looking.wanted()} == {layer.name for layer in LAYERS if layer.status == "ok"}
    whole = Selection(ENTRIES, ("a", "b"), ("a", "b"), looking.layers, "whole network", 1)
    assert whole.wanted()[:2] == (Cell("whole network", 1), Cell("whole network", 0))
    assert str(whole.request) == "session.spectrum(None, 'b')"


def test_both_kinds_of_data_are_wanted_together_and_make_two_calls():
    looking = Selection(ENTRIES, ("a", "b"), ("a", "b"), ("conv1", "head"), "conv1", 0, split="both")
    assert looking.cells == (Cell("conv1", 0), Cell("conv1", 0, "held_out"))
    assert looking.wanted()[:2] == looking.cells
    assert len(looking.wanted()) == len(set(looking.wanted())) == 2 * 2 * 2
    assert looking.cell.split == looking.main == "data"
    assert str(looking.request) == "session.spectrum('conv1', 'a'), session.spectrum('conv1', 'a', split='held_out')"
    alone = Selection(ENTRIES, ("a", "b"), ("a", "b"), ("conv1", "head"), "conv1", 0, split="held_out")
    assert {cell.split for cell in alone.wanted()} == {"held_out"}
    assert str(alone.request) == "session.spectrum('conv1', 'a', split='held_out')"


def test_skipped_layers_are_listed_unless_a_choice_of_layers_leaves_them_out():
    usable = [entry.name for entry in ENTRIES if entry.usable]
    assert "old" in [entry.name for entry in shown(ENTRIES, usable)]
    assert [entry.name for entry in shown(ENTRIES, ["head", "conv1"])] == ["conv1", "head"]


def test_a_complete_value_replaces_the_preliminary_one_and_a_failure():
    known, cell = Known(), Cell("a", 0)
    assert known.missing(cell)
    known.advance(cell, Step(1, 10, value(1.0, complete=False)))
    known.advance(cell, Step(2, 10))
    assert known.best(cell).nodes.tolist() == [1.0]  # a step without a value keeps the one before
    assert known.step(cell).done == 2
    assert known.missing(cell)
    known.fail(cell, SettingError("no"))
    assert not known.missing(cell)
    assert known.best(cell) is None
    known.forgive()
    assert known.missing(cell)
    known.put(cell, value(2.0))
    assert known.best(cell) is known.spectrum(cell)
    assert known.step(cell) is None


def test_failures_are_said_in_one_line_and_foreign_ones_with_their_class():
    assert words(SnapshotError("two\nlines")) == "two lines"
    assert words(ZeroDivisionError("by zero")) == "Unexpected ZeroDivisionError: by zero"
    assert words(SettingError()) == "Unexpected SettingError."


@pytest.mark.parametrize(("heading", "expected"), [(0, [2, 1, 3, 0, 4]), (1, [2, 3, 4, 1, 0]), (-1, [2, 1, 0, 3, 4])])
def test_what_lies_ahead_of_the_slider_comes_before_what_lies_behind(heading, expected):
    order = list(nearest_first(("a", 2), ["a", "b"], 5, heading))
    assert [k for name, k in order if name == "a"] == expected
    assert sorted(order) == [(name, k) for name in "ab" for k in range(5)]
    others = [k for name, k in order if name == "b"]
    assert others.index(3) < others.index(0) if heading > 0 else others.index(1) < others.index(4)


def test_the_way_the_slider_went_last_is_part_of_what_is_looked_at():
    hub = Hub(CannedSession(), snapshot=3)
    ways = [hub.look().heading]
    for snapshot in (5, 4, 4, 6):
        hub.snapshot = snapshot
        ways.append(hub.look().heading)
    hub.close()
    assert ways == [0, 1, -1, -1, 1]
