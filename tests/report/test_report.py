import base64
import gzip
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from canned import HOSTILE, LAYERS, MISSING, CannedSession, CannedSnapshot, CannedSnapshots, snapshots
from canned_large import large

from lhexplore.errors import SettingError
from lhexplore.report import blocks, metrics, write

LARGEST = 3_000_000  # bytes of a report of 5 blocks × 12 snapshots, 1.3 MB of them BokehJS


class Page(HTMLParser):
    """Reads a report as a browser would: elements, their attributes, scripts and the text of the table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self.text, self._open, self._id = [], [], [], "", ""
        self.texts = {}  # of scripts that have an id: data, not code
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open, self._id = tag, dict(attrs).get("id")

    def handle_data(self, data):
        if self._open != "script":
            self.text.append(data)
        elif self._id:
            self.texts[self._id] = data
        elif data.strip():
            self.scripts.append(data)

    def handle_endtag(self, tag):
        self._open = ""

    @property
    def data(self):
        return json.loads(self.texts["data"])

    def part(self, name):
        """A part as ``parts.js`` opens it; ``numbers`` of a figure are columns by source and name."""
        head, *blocks = [gzip.decompress(base64.b64decode(each)) for each in self.texts[f"part-{name}"].split(" ")]
        part = json.loads(head)
        for figure in part.values():
            if isinstance(figure, dict) and "template" in figure:
                figure |= self.part(f"figure-{figure['template']}")
                planes = np.frombuffer(blocks[figure["block"]], np.uint8).reshape(4, -1)
                block, count = planes.T.tobytes(), figure["spec"]["count"]
                figure["numbers"] = {
                    (source, column): np.frombuffer(block, kind, count * length, offset).reshape(count, length)
                    for source, column, kind, offset, length, _ in figure["spec"]["columns"]
                }
        return part

    def readings(self):
        return {row["name"]: self.part(f"layer-{i}")["readings"] for i, row in enumerate(self.data["layers"])}

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
        assert not {"href", "action", "data"} & attributes.keys(), tag
        assert attributes.get("src", "data:").startswith("data:"), tag
    rules = dict(rule.strip().split(" ", 1) for rule in page.policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert "unsafe-inline" not in rules["script-src"]
    assert "http" not in page.policy


def test_only_the_two_scripts_of_the_page_may_run(page):
    assert len(page.scripts) == 2
    allowed = re.findall(r"'sha256-([^']+)'", page.policy)
    assert allowed == [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in page.scripts]
    inert = [attributes["type"] for tag, attributes in page.tags if tag == "script" and attributes]
    assert set(inert) == {"application/json", "text/plain"}


def test_names_are_text_only(report, page):
    text = report.read_text("utf-8")
    assert "<img src=x" not in text
    assert HOSTILE in "".join(page.text)
    assert not {"iframe", "object", "link"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)


def test_frames_come_back_as_they_were_packed(page):
    session = CannedSession()
    rows = page.part("layer-0")["spectrum"]["numbers"]["ends", "value"]
    known = [k for k in range(12) if ("conv1", k) not in MISSING]
    expected = [[s.smallest, s.largest] for k in known if (s := session.cached("conv1", k))]
    np.testing.assert_allclose(rows[known], expected, rtol=2.0**-13)
    assert np.isnan(np.delete(rows, known, axis=0)).all()


def test_every_layer_has_a_row_and_missing_ones_say_so(page):
    data = page.data
    assert [row["name"] for row in data["layers"]] == [*(r.name for r in LAYERS if r.status == "ok"), "whole network"]
    assert data["skipped"] == [{"name": "old", "size": 10, "reason": "integer parameters"}]
    missing = {
        (name, k)
        for name, readings in page.readings().items()
        for k, reading in enumerate(readings)
        if reading["state"] == "missing"
    }
    assert missing == MISSING
    assert {(row["name"], k) for row in data["layers"] for k, cells in enumerate(row["cells"]) if not cells} == MISSING
    assert data["extent"].startswith("56 of 60 spectra")


def test_readings_say_the_type_in_word_symbol_and_colour(page):
    readings = {name: rows[11] for name, rows in page.readings().items()}
    assert readings["head"]["badge"] == {"word": "PSD by structure", "symbol": "≥", "kind": "structure"}
    for reading in readings.values():
        assert all(reading["badge"].values())
        assert dict(row[:2] for row in reading["numbers"]).keys() >= {"C_t", "λmax", "trace"}
        assert reading["provenance"]


def test_a_session_without_results_gives_a_report_that_says_so(tmp_path):
    everything = {(name, k) for name in (None, *(row.name for row in LAYERS)) for k in range(12)}
    page = Page(write(CannedSession(missing=everything), tmp_path / "r.html").read_text("utf-8"))
    assert page.data["extent"].startswith("No spectrum had been computed when this report was written.")
    assert [entry["key"] for entry in page.data["metrics"]] == ["gradient_norm", "parameter_norm"]
    assert "not computed" in "".join(page.text)


def test_an_unusable_snapshot_keeps_its_place_and_its_reason(tmp_path):
    rows = list(CannedSession().snapshots)
    rows[4] = CannedSnapshot("step-000008", 8, None, {}, status="damaged", reason="the file is cut short")
    page = Page(write(CannedSession(snapshots=CannedSnapshots(rows)), tmp_path / "r.html").read_text("utf-8"))
    assert len(page.data["snapshots"]) == 12
    for readings in page.readings().values():
        assert readings[4]["message"] == "This snapshot cannot be used: the file is cut short"


@pytest.fixture
def small(monkeypatch):
    """A session whose report is written in no time."""
    monkeypatch.setattr(metrics, "SHOWN", ("lambda_max",))
    return CannedSession(layers=LAYERS[:1], snapshots=snapshots(2), run=None)


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch, small):
    old = tmp_path / "r.html"
    old.write_text("old")

    def full(self, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(SettingError, match=r"cannot be written to .*r\.html.*No space left"):
        write(small, old)
    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_an_interrupted_write_leaves_the_old_report(tmp_path, monkeypatch, small):
    old = tmp_path / "r.html"
    old.write_text("old")

    def interrupted(self, target):
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write(small, old)
    assert old.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["r.html"]


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(SettingError, match=r"it is a folder\. Choose a file you may write"):
        write(CannedSession(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_no_folder(tmp_path, small):
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingError, match="Choose a file you may write"):
        write(small, tmp_path / "file" / "r.html")


@pytest.mark.parametrize("path", [None, 3, "r\0.html"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(SettingError, match="A report is written to a path"):
        write(CannedSession(), path)


def test_a_path_may_be_relative_long_and_in_any_script(tmp_path, monkeypatch, small):
    monkeypatch.chdir(tmp_path)
    for path in ("r.html", "ünï/報告 1.html", f"{'x' * 240}.html"):
        assert write(small, path).stat().st_size > 1_000_000
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 3


def test_what_there_is_no_room_for_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(metrics, "SHOWN", ("lambda_max",))
    monkeypatch.setattr(blocks, "MOST", 4)
    session = large(6, 2)
    session.missing = {("blocks.0.norm", k) for k in range(2)}
    session.run = replace(session.run, findings=(session.run.findings[1],))  # of the fifth layer
    data = Page(write(session, tmp_path / "r.html").read_text("utf-8")).data
    assert [row["name"] for row in data["layers"]] == ["blocks.0.query", "blocks.0.project", "whole network"]
    assert data["leftOut"].startswith("4 layers are left out")
    assert "Left out: blocks.0.norm, blocks.0.key, blocks.0.value, blocks.1.norm. " in data["leftOut"]


def test_findings_are_located_in_every_figure_and_listed(page):
    conv1 = page.part("layer-0")
    words = {column: rows for source, column, rows in conv1["spectrum"]["spec"]["words"] if source == "flags"}
    assert [k for k in range(12) if any(words["label"][k])] == [4, 5, 6]
    assert "D2 D7" in words["label"][4]
    assert [f["rule"] for f in conv1["readings"][5]["findings"]] == ["D2", "D7", "D6"]
    assert "D2 speaks; D7 speaks" in page.data["layers"][0]["cells"][5][3]
    metric = page.part("metric-0")
    for figure, marks in (
        (page.part("loss")["loss"], "loss-marks"),
        (metric["map"], "heat-marks"),
        (metric["curves"], "metric-marks"),
    ):
        assert marks in json.dumps(figure["document"])
    listed = page.data["findings"]
    assert (listed["rows"][0]["layer"], listed["rows"][0]["frame"]) == ("conv1", 4)
    assert listed["silent"] == [["D8", "The step size is not known."]]


def test_held_out_spectra_lie_over_those_of_training_where_they_are_known(tmp_path):
    session = CannedSession(has_held_out=True)
    session.missing |= {("conv1", 4, "held_out")} | {("head", k, "held_out") for k in range(12)}
    page = Page(write(session, tmp_path / "r.html").read_text("utf-8"))
    conv1, head = page.part("layer-0"), page.part("layer-3")
    assert ("over", "y") in conv1["spectrum"]["numbers"]
    assert ("over", "y") not in head["spectrum"]["numbers"]
    assert conv1["readings"][4]["beside"] == [["Held-out data: not computed yet."]]
    assert conv1["readings"][5]["beside"][0][3] == "1.3"
    assert head["readings"][4]["beside"] == []
    assert page.data["extent"].endswith("On held-out data: 47 of 60.")
    assert ["held-out", "dense, 80 products"] in conv1["readings"][5]["provenance"]
    assert conv1["spectrum"]["table"]["head"][-2:] == ["λmax, held-out", "Trace, held-out"]


def test_every_figure_is_a_table_too(page):
    conv1, metric = page.part("layer-0"), page.part("metric-0")
    figures = [*(conv1[name] for name in ("spectrum", "evolution", "hesd")), page.part("loss")["loss"], metric["map"]]
    for figure in figures:
        table = figure["table"]
        assert [row[0] for row in table["rows"]] == [row["words"] for row in page.data["snapshots"]]
        assert {len(row) for row in table["rows"]} == {len(table["head"])}
    assert conv1["spectrum"]["table"]["rows"][2][1] == "not computed"
    assert conv1["hesd"]["table"]["rows"][11][1] == "mainly positive"
    assert metric["map"]["table"]["caption"] == "λmax of all layers, in loss / parameter²"
    assert metric["map"]["table"]["head"][1:4] == ["conv1", "conv2", HOSTILE.replace("$$", "$\u200b$")]
    assert [len(each["words"]) for each in metric["layers"]] == [12] * 5
    assert metric["layers"][0]["y"][2] is None


def test_what_scripts_do_is_there_without_them(page):
    drawn = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(drawn) == 2
    assert drawn[0]["alt"].startswith("Eigenvalues of conv1") or "conv1" in drawn[0]["alt"]
    text = " ".join(page.text)
    assert "warning D2: D2 speaks" in text
    assert "held_out_loss" in text


def test_the_code_and_the_digests_of_every_number_are_there(page):
    conv1 = page.part("layer-0")
    assert conv1["code"][11] == "session.spectrum('conv1', 'step-001024')"
    assert ["seed", "0"] in conv1["readings"][11]["provenance"]


@pytest.mark.parametrize("count", [0, 1])
def test_few_snapshots(tmp_path, count):
    page = Page(write(CannedSession(snapshots=snapshots(count), run=None), tmp_path / "r.html").read_text("utf-8"))
    assert len(page.data["snapshots"]) == count
    if not count:
        assert page.data["extent"] == "There is nothing to show: no layer or no snapshot."
        assert "part-loss" not in page.texts


def test_losses_that_are_no_numbers_are_shown_as_such(tmp_path, small):
    small.snapshots = CannedSnapshots(
        replace(row, metrics={"loss": value})
        for row, value in zip(snapshots(2), (float("nan"), float("inf")), strict=True)
    )
    page = Page(write(small, tmp_path / "r.html").read_text("utf-8"))
    assert [row[1] for row in page.part("loss")["loss"]["table"]["rows"]] == ["unknown", "∞"]
