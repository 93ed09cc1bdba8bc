"""Tables that read well in a terminal and a notebook, with nothing cut off and nothing executed."""

from lhexplore.session.table import Table


def test_long_cells_are_wrapped_not_cut():
    words = " ".join(f"word{i}" for i in range(40))
    text = repr(Table([{"what": "a", "detail": words}]))
    assert all(word in text for word in words.split())
    assert max(map(len, text.splitlines())) < 80


def test_html_is_escaped():
    page = Table([{"layer": "<img onerror=alert(1)>"}], caption="<b>")._repr_html_()
    assert "<img" not in page
    assert "&lt;img" in page
    assert "&lt;b&gt;" in page


def test_missing_numbers_are_dashes_and_an_empty_table_says_so():
    text = repr(Table([{"a": None, "b": float("nan"), "c": True, "d": 1.23456}]))
    assert text.splitlines()[-1].split() == ["–", "–", "yes", "1.235"]
    assert "(no rows)" in repr(Table([]))


def test_it_is_a_sequence_and_a_frame():
    table = Table([{"a": 1}, {"a": 2}], caption="two")
    assert len(table) == 2
    assert table[1]["a"] == 2
    assert [row["a"] for row in table] == [1, 2]
    assert table.frame()["a"].tolist() == [1, 2]
