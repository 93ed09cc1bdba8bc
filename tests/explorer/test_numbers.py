import pytest

from lhexplore.diagnosis.number_texts import Phrase, counted


@pytest.mark.parametrize(
    ("text", "value", "shown"),
    [
        ("{value:.2g} of it", 15_234.0, "1.5×10⁴ of it"),
        ("{value:.3g}", 0.06642, "0.0664"),
        ("{value:g}", -0.6, "−0.6"),
        ("{value:.3g}", 3.8e-16, "3.8×10⁻¹⁶"),
        ("{value}", 12, "12"),
        ("{value}", "{other:.3g}", "{other:.3g}"),  # what is put in is never read as a gap
    ],
)
def test_phrases_write_numbers_as_people_do(text, value, shown):
    assert Phrase(text).format(value=value) == shown


@pytest.mark.parametrize(("count", "words"), [(0, "0 snapshots"), (1, "1 snapshot"), (1240, "1,240 snapshots")])
def test_one_of_something_is_no_plural(count, words):
    assert counted(count, "snapshot") == words
