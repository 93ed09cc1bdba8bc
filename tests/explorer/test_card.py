import pytest
from canned import CannedSession, spectrum

from lhexplore.diagnosis import hesd
from lhexplore.explorer.card import failed_card, known_card, method_sentence, missing_card, numbers, preliminary_card
from lhexplore.spectrum import Step


def test_a_known_card_has_badge_numbers_method_and_findings():
    session = CannedSession()
    found = session.known_diagnosis("conv2", 8)
    card = known_card("conv2 · step 128", session.cached("conv2", 8), found)
    assert card["badge"]["word"] == found.hesd.word
    assert card["badge"]["symbol"]
    assert dict(row[:2] for row in card["numbers"])["parameters"] == "3,000"
    assert [f["title"] for f in card["findings"]] == [f.title for f in found.findings]
    assert "5 probes × 20 steps" in card["method"]


def test_numbers_carry_their_errors_where_there_are_any():
    rough, exact = spectrum("conv2", 5, "s"), spectrum("conv1", 5, "s")
    rough_rows = {name: text for name, text, _ in numbers(rough, hesd(rough))}
    exact_rows = {name: text for name, text, _ in numbers(exact, hesd(exact))}
    assert "…" in rough_rows["C_t"]
    assert "…" not in exact_rows["C_t"]
    assert "±" in rough_rows["trace"]
    assert "±" not in exact_rows["trace"]
    assert "±" in exact_rows["λmax"]


@pytest.mark.parametrize(("layer", "words"), [("conv1", "All 80 eigenvalues"), ("conv2", "Estimated by Lanczos")])
def test_the_method_is_said_in_a_sentence(layer, words):
    assert method_sentence(spectrum(layer, 0, "s")).startswith(words)


def test_cards_without_a_value_say_why():
    value = spectrum("conv2", 3, "s")
    assert "on its way" in missing_card("t", waiting=True)["message"]
    assert "Press Compute" in missing_card("t", waiting=False)["message"]
    assert "loss is NaN" in failed_card("t", "loss is NaN")["message"]
    on_the_way = preliminary_card("t", Step(30, 100, value), hesd(value), stopped=False)
    assert on_the_way["message"] == "Preliminary: computing at 30 of 100 products."
    assert on_the_way["numbers"]
    assert "stopped at 30" in preliminary_card("t", Step(30, 100), None, stopped=True)["message"]
    assert preliminary_card("t", Step(0, 0), None, stopped=False)["message"] == "Starting …"
