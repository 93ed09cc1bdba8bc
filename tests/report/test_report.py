import base64
import gzip
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from canned import HOSTILE, LAYERS, MISSING, CannedSession, CannedSnapshot, CannedSnapshots

from lhexplore.errors import SettingError
from lhexplore.report import write

LARGEST = 3_000_000  # bytes of a report of 5 blocks × 12 snapshots, 1.3 MB of them BokehJS


class Page(HTMLParser):
    """Reads a report as a browser would: elements, their attributes, scripts and the text of the table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text, self._open = [], [], [], ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open = tag

    def handle_data(self, data):
        (self.scripts if self._open == "script" else self.text).append(data)

    def handle_endtag(self, tag):
        self._open = ""

    @property
    def data(self):
        return json.loads(self.scripts[0])

    @property
    def policy(self):
        return next(a["content"] for _, a in self.tags if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def page(report):
    return Page(report.read_text("utf-8"))


def test_returns_the_path_and_computes_nothing(tmp_path):
    session = CannedSession()
    path = write(session, tmp_path / "new folder" / "r.html")
    assert path == tmp_path / "new folder" / "r.html"
    assert path.stat().st_size < LARGEST
    assert session.asked == []


def test_one_file_that_asks_nobody(page):
    for tag, attributes in page.tags:
        assert not {"src", "href", "action", "data"} & attributes.keys(), tag
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe-inline" not in rules["script-src"]
    assert "http" not in page.policy


def test_only_the_two_scripts_of_the_page_may_run(page):
    _, *scripts = page.scripts
    assert len(scripts) == 2
    allowed = re.findall(r"'sha256-([^']+)'", page.policy)
    assert allowed == [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]


def test_names_are_text_only(report, page):
    text = report.read_text("utf-8")
    assert "<img" not in text
    assert HOSTILE in "".join(page.text)
    assert not {"img", "iframe", "object", "link"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_frames_come_back_as_they_were_packed(page):
    session = CannedSession()
    figure = page.data["layers"][0]["figure"]
    block = gzip.decompress(base64.b64decode(figure["frames"]))
    (kind, offset, length), *_ = [c[2:5] for c in figure["spec"]["columns"] if c[:2] == ["ends", "value"]]
    rows = np.frombuffer(block, kind, 12 * length, offset).reshape(12, length)
    known = [k for k in range(12) if ("conv1", k) not in MISSING]
    expected = [[s.smallest, s.largest] for k in known if (s := session.cached("conv1", k))]
    np.testing.assert_allclose(rows[known], expected, rtol=1e-6)
    assert np.isnan(np.delete(rows, known, axis=0)).all()


def test_every_layer_has_a_row_and_missing_ones_say_so(page):
    data = page.data
    assert [row["name"] for row in data["layers"]] == [*(r.name for r in LAYERS if r.status == "ok"), "whole network"]
    assert data["skipped"] == [{"name": "old", "size": 10, "reason": "integer parameters"}]
    missing = {
        (row["name"], k)
        for row in data["layers"]
        for k, reading in enumerate(row["readings"])
        if reading["state"] == "missing"
    }
    assert missing == MISSING
    assert data["extent"].startswith("56 of 60 spectra")


def test_readings_say_the_type_in_word_symbol_and_colour(page):
    readings = {row["name"]: row["readings"][11] for row in page.data["layers"]}
    assert readings["head"]["badge"] == {"word": "PSD by structure", "symbol": "≥", "kind": "structure"}
    for reading in readings.values():
        assert all(reading["badge"].values())
        assert dict(row[:2] for row in reading["numbers"]).keys() >= {"C_t", "λmax", "trace"}
        assert reading["provenance"]


def test_a_session_without_results_gives_a_report_that_says_so(tmp_path):
    everything = {(name, k) for name in (None, *(row.name for row in LAYERS)) for k in range(12)}
    page = Page(write(CannedSession(missing=everything), tmp_path / "r.html").read_text("utf-8"))
    assert page.data["extent"] == "No spectrum had been computed when this report was written."
    assert page.data["maps"] == []
    assert "not computed" in "".join(page.text)


def test_an_unusable_snapshot_keeps_its_place_and_its_reason(tmp_path):
    rows = list(CannedSession().snapshots)
    rows[4] = CannedSnapshot("step-000008", 8, None, {}, status="damaged", reason="the file is cut short")
    data = Page(write(CannedSession(snapshots=CannedSnapshots(rows)), tmp_path / "r.html").read_text("utf-8")).data
    assert len(data["snapshots"]) == 12
    for row in data["layers"]:
        assert row["readings"][4]["message"] == "This snapshot cannot be used: the file is cut short"


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    old = tmp_path / "r.html"
    old.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SettingError, match=r"cannot be written to .*r\.html.*No space left"):
        write(CannedSession(), old)
    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SettingError, match="Choose a file you may write"):
        write(CannedSession(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_findings_are_located_in_every_figure_and_listed(page):
    data = page.data
    conv1 = data["layers"][0]
    words = {column: rows for source, column, rows in conv1["figure"]["spec"]["words"] if source == "flags"}
    assert [k for k in range(12) if any(words["label"][k])] == [4, 5, 6]
    assert "D2 D7" in words["label"][4]
    assert [f["rule"] for f in conv1["readings"][5]["findings"]] == ["D2", "D7", "D6"]
    assert "D2 speaks; D7 speaks" in conv1["readings"][5]["cells"][2]
    for figure, marks in ((data["loss"], "loss-marks"), (data["maps"][0]["figure"], "heat-marks")):
        assert marks in json.dumps(figure["document"])
    listed = data["findings"]
    assert (listed["rows"][0]["layer"], listed["rows"][0]["frame"]) == ("conv1", 4)
    assert listed["silent"] == [["D8", "The step size is not known."]]


def test_held_out_spectra_lie_over_those_of_training_where_they_are_known(tmp_path):
    session = CannedSession(has_held_out=True)
    session.missing |= {("conv1", 4, "held_out")} | {("head", k, "held_out") for k in range(12)}
    data = Page(write(session, tmp_path / "r.html").read_text("utf-8")).data
    conv1, head = data["layers"][0], data["layers"][3]
    assert ["over", "y"] in [column[:2] for column in conv1["figure"]["spec"]["columns"]]
    assert ["over", "y"] not in [column[:2] for column in head["figure"]["spec"]["columns"]]
    assert conv1["readings"][4]["beside"] == [["Held-out data: not computed yet."]]
    assert conv1["readings"][5]["beside"][0][3] == "1.3"
    assert head["readings"][4]["beside"] == []
    assert data["extent"].endswith("On held-out data: 47 of 60.")
    assert ["held-out", "dense, 80 products"] in conv1["readings"][5]["provenance"]
