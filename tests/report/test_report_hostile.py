"""Names that would do harm if anything but text were made of them, everywhere a report shows names."""

from dataclasses import replace

import pytest
from canned import CannedSnapshots
from canned_large import large
from opened_report import Opened

from lhexplore.report import metrics, write

pytestmark = pytest.mark.browser
ATTACKS = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "\u2028alert(3)\u2029//",
    "\"'`${alert(4)}\\",
    "long." * 60,
    "\u202etfel-ot-thgir \u05e9\u05dc\u05d5\u05dd",
    "--><!--</noscript><svg onload=alert(5)>",
    "@{layer}{custom} $$x$$ \\(y\\)",
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    session = large(len(ATTACKS), 3, names=ATTACKS)
    session.description = "".join(ATTACKS)
    session.snapshots = CannedSnapshots(
        replace(row, label=attack, step=None, metrics={f"loss {attack}": 1.0 + k, attack: 2.0})
        for k, (row, attack) in enumerate(zip(session.snapshots, ATTACKS, strict=False))
    )
    session.run = replace(
        session.run,
        findings=tuple(
            replace(f, title=attack, text=attack, action=attack, snapshot=session.snapshots[2].label)
            for f, attack in zip(session.run.findings, ATTACKS, strict=False)
        ),
        silent={attack: attack for attack in ATTACKS},
    )
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(metrics, "SHOWN", ("lambda_max",))
        return write(session, tmp_path_factory.mktemp("hostile") / "report.html")


def test_nothing_of_them_runs(browser, file):
    run = Opened(browser, file, width=400)
    for i in range(len(ATTACKS)):
        run.page.locator("#layer").select_option(str(i))
        run.settle()
        assert run.page.locator("#card .current h2").text_content() == ATTACKS[i]
    for twin in run.page.locator("summary:visible").all():
        twin.click()
    for figure in ("spectrum", "loss", "evolution", "hesd", "map", "curves"):
        box = run.page.locator(f"#{figure}").bounding_box()
        run.page.locator(f"#{figure}").scroll_into_view_if_needed()
        box = run.page.locator(f"#{figure}").bounding_box()
        for share in (0.4, 0.6, 0.8):
            run.page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
            run.page.wait_for_timeout(60)
    run.page.locator("#findings button").first.click()
    run.settle()
    assert run.page.locator("img, svg[onload], iframe").count() == 0
    assert run.page.evaluate("() => lhxProbe.refused") == []
    assert run.trouble == []  # neither a dialog nor an error
    assert run.requests == [file.as_uri()]
    assert run.page.evaluate("() => document.documentElement.scrollWidth") <= 400
    run.close()


def test_nothing_of_them_is_markup_without_scripts(browser, file):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(file.as_uri())
    assert page.locator("svg, iframe, main script").count() == 0
    assert page.locator("#rows th").first.text_content() == ATTACKS[0]
    assert page.locator("img:not([src^='data:'])").count() == 0
    context.close()
