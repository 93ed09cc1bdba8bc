import numpy as np
import pytest
from bokeh.document import Document
from bokeh.document.events import ColumnsPatchedEvent
from bokeh.models import ColumnDataSource

from lhexplore.explorer.columns import put_columns

COUNT = 1000


@pytest.fixture
def source():
    return ColumnDataSource({"value": np.full(COUNT, np.nan), "words": ["?"] * COUNT, "own": list(range(COUNT))})


@pytest.fixture
def events(source):
    heard, document = [], Document()
    document.add_root(source)
    document.on_change(heard.append)
    return heard


def known(*places):
    value, words = np.full(COUNT, np.nan), ["?"] * COUNT
    for place in places:
        value[place], words[place] = place / 2, str(place)
    return {"value": value, "words": words}


def test_what_agrees_is_left_alone_and_not_a_number_agrees_with_itself(source, events):
    put_columns(source, known())
    assert events == []


def test_of_long_columns_only_the_values_travel_that_differ(source, events):
    put_columns(source, known(3, 700))
    (event,) = events
    assert isinstance(event, ColumnsPatchedEvent)
    assert event.patches == {"value": [(3, 1.5), (700, 350.0)], "words": [(3, "3"), (700, "700")]}
    np.testing.assert_array_equal(source.data["value"], known(3, 700)["value"])


def test_where_most_differ_a_column_travels_as_a_whole(source, events):
    put_columns(source, known(*range(COUNT)))
    (event,) = events
    assert [where for where, _ in event.patches["value"]] == [slice(0, COUNT)]
    assert source.data["words"] == known(*range(COUNT))["words"]
    assert source.data["own"] == list(range(COUNT))


def test_columns_of_another_length_are_new_data(source):
    put_columns(source, {"value": np.zeros(5), "words": ["a"] * 5, "own": [0] * 5})
    assert {len(column) for column in source.data.values()} == {5}


def test_a_value_may_be_a_line_of_its_own():
    source = ColumnDataSource({"xs": [np.array([0.0, np.nan]), np.array([1.0, 2.0])]})
    document, heard = Document(), []
    document.add_root(source)
    document.on_change(heard.append)
    put_columns(source, {"xs": [np.array([0.0, np.nan]), np.array([1.0, 2.0])]})
    assert heard == []
    put_columns(source, {"xs": [np.array([0.0, np.nan]), np.array([1.0, 3.0])]})
    assert source.data["xs"][1][1] == 3.0
