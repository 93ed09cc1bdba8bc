import math
import re

import pytest
from canned import CannedSession, spectrum

from lhexplore.diagnosis import hesd
from lhexplore.diagnosis.number_texts import short
from lhexplore.explorer.card import failed_card, known_card, method_sentence, missing_card, numbers, preliminary_card
from lhexplore.explorer.sentences import interval_words, trace_words
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
    assert re.fullmatch(r"−0\.\d+  \(−0\.\d+ to −0\.\d+\)", rough_rows["C_t"])
    assert re.fullmatch(r"−0\.\d+ ± \d×10⁻¹.", exact_rows["C_t"])  # narrower than the digits shown
    for rows in (rough_rows, exact_rows):
        assert all("±" in rows[name] for name in ("λmax", "λmin", "trace"))


def test_an_end_without_a_sign_is_zero_within_the_band():
    value = spectrum("head", 4, "s")  # positive semi-definite: its smallest value is round-off
    shown = {name: text for name, text, _ in numbers(value, hesd(value))}
    assert re.fullmatch(r"0 \(within ± \d×10⁻¹.\)", shown["λmin"])
    assert shown["C_t"].startswith("0 ")


def test_round_off_of_the_trace_is_that_of_all_eigenvalues():
    value = spectrum("conv1", 5, "s")
    assert abs(value.trace - math.fsum(value.eigenvalues)) <= value.size * value.error
    assert trace_words(value).startswith(f"{short(value.trace)} ± {short(value.size * value.error, digits=1)}")


@pytest.mark.parametrize(
    ("value", "interval", "said"),
    [
        (-0.229, (-0.231, -0.227), "−0.229  (−0.231 to −0.227)"),
        (-0.0106, (-0.0106 - 4e-15, -0.0106 + 4e-15), "−0.0106 ± 4×10⁻¹⁵"),
        (0.0, (0.0, 0.0), "0 ± 0"),
        (float("-inf"), (float("-inf"), -2.0), "−∞  (−∞ to −2)"),
        (float("nan"), (float("nan"), float("nan")), "unknown"),
    ],
)
def test_a_value_carries_its_interval(value, interval, said):
    assert interval_words(value, interval) == said


@pytest.mark.parametrize(("layer", "words"), [("conv1", "All 80 eigenvalues"), ("conv2", "Estimated by Lanczos")])
def test_the_method_is_said_in_a_sentence(layer, words):
    assert method_sentence(spectrum(layer, 0, "s")).startswith(words)


def test_cards_without_a_value_say_why():
    value = spectrum("conv2", 3, "s")
    assert "on its way" in missing_card("t", waiting=True)["message"]
    assert "Press Compute" in missing_card("t", waiting=False)["message"]
    assert "loss is NaN" in failed_card("t", "loss is NaN")["message"]
    on_the_way = preliminary_card("t", Step(30, 100, value), hesd(value), stopped=False)
    assert on_the_way["message"] == "Preliminary: computing at 30 of 100 steps."
    assert on_the_way["numbers"]
    assert "stopped at 30" in preliminary_card("t", Step(30, 100), None, stopped=True)["message"]
    assert preliminary_card("t", Step(0, 0), None, stopped=False)["message"] == "Starting …"
