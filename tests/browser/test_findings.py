"""Findings lead to their places, and held-out spectra lie over those of training: with a real mouse, on real pixels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from labdriver import Chromium, LabPage, LabServer, opened
from labdriver import explorer as ex

pytestmark = pytest.mark.browser

NOTEBOOK = """
from canned import CannedSession
from lhexplore.explorer import Explorer

session = CannedSession(missing=set(), has_held_out=True)
explorer = Explorer(session, layer="head", snapshot=0)
explorer.settled()
explorer
"""
READABLE = 4.5  # contrast from which words can be told from their background (WCAG 2.2, 1.4.3)


@pytest.fixture(scope="module")
def lab(server: LabServer, chromium: Chromium) -> Iterator[LabPage]:
    """An explorer of closed-form spectra, with findings at known places."""
    with opened(LabPage(server, chromium), "findings", NOTEBOOK, panes=ex.PANES) as page:
        yield page


def test_a_click_on_a_finding_of_the_run_goes_there(lab: LabPage) -> None:
    before = lab.wait_until_still(ex.SPECTRUM)
    link = lab.find(".lhx-run .lhx-go").filter(has_text="D2 speaks").first
    link.scroll_into_view_if_needed()
    link.click()
    lab.wait_for_change(ex.SPECTRUM, before)
    lab.wait_until(f"() => __probe.all('{ex.HANDLE}')[0].getAttribute('aria-valuenow') === '4.0'")
    assert lab.value("[explorer.layer, explorer.snapshot]") == ["conv1", 4]
    assert lab.find(ex.CHOSEN).first.inner_text() == "conv1"
    lab.wait_until("() => __probe.all('.lhx-current .lhx-finding').length === 3")
    shown = lab.find(".lhx-current .lhx-finding").all_inner_texts()
    assert [text.split("\n")[0].split()[1] for text in shown] == ["D2", "D7", "D6"]


def test_the_flags_follow_the_slider_in_the_browser(lab: LabPage) -> None:
    """The kernel is not asked: the labels on the canvas are the frame's."""
    labels = "(k) => { __probe.root('.lhx-slider .noUi-target').noUiSlider.set(k); }"
    flags = "() => [...new Set(Bokeh.documents.map((d) => d.get_model_by_name('flags')).find((m) => m).data.label)]"
    lab.kernel('explorer.layer = "conv1"; explorer.settled()')
    for k, wanted in ((5, {"D6", "D2 D7", ""}), (8, {""})):
        lab.page.evaluate(labels, k)
        lab.wait_until_still(ex.SPECTRUM)
        assert set(lab.page.evaluate(flags)) == wanted


def test_rules_that_could_not_judge_say_why_when_unfolded(lab: LabPage) -> None:
    folded = lab.find(".lhx-silent").first
    folded.scroll_into_view_if_needed()
    assert folded.locator("summary").inner_text() == "Not judged: D8"
    folded.locator("summary").click()
    assert folded.locator("p").inner_text() == "D8: The step size is not known."


def test_both_kinds_of_data_are_drawn_over_each_other(lab: LabPage) -> None:
    lab.kernel('explorer.layer, explorer.snapshot = "conv1", 5; explorer.settled()')
    before = lab.wait_until_still(ex.SPECTRUM)
    lab.find(".lhx-split select").first.select_option("both")
    lab.wait_for_change(ex.SPECTRUM, before)
    assert lab.value("explorer.split") == "both"
    assert "held-out, its λmin and λmax" in lab.find(f"{ex.SPECTRUM} .lhx-legend").first.inner_text()
    lab.wait_until("() => __probe.all('.lhx-current table.lhx-beside').length === 1")
    assert "1.3" in lab.find(".lhx-current table.lhx-beside").first.inner_text()
    assert lab.find(ex.CODE).first.inner_text() == lab.value("str(explorer.request)")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_findings_are_readable_and_nothing_sticks_out(lab: LabPage, theme: str, pictures: Path) -> None:
    try:
        lab.theme(theme)
        lab.kernel('explorer.split, explorer.layer, explorer.snapshot = "both", "conv1", 5; explorer.settled()')
        for width in (1280, 800):
            ex.photograph(lab, pictures / f"findings-{theme}-{width}.png", width=width)
            assert lab.page.evaluate("(s) => __probe.outside(s)", ex.EXPLORER) == []
        words = lab.page.evaluate("(s) => __probe.contrasts(s)", ".lhx-run")
        assert len(words) > 5
        assert [row for row in words if row["contrast"] < READABLE] == []
        drawn = lab.page.evaluate("(s) => __probe.drawnContrasts(s)", ex.SPECTRUM)
        assert [row for row in drawn if row["contrast"] < READABLE] == []
    finally:
        lab.resize(1280, 900)
        lab.theme("light")
