"""What a person gets of a whole run: findings in their place, once each; what could not be judged; clear refusals."""

import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest

from lhexplore.diagnosis import Course, RunDiagnosis, Thresholds, diagnose, diagnose_cell, diagnose_run
from lhexplore.diagnosis.rules.findings import weigh
from lhexplore.diagnosis.rules.silence_texts import SILENCES
from lhexplore.errors import ComparisonError, SettingError, UnknownLayerError, UnknownSnapshotError

SICK, WELL = [1.0, 1.0, 1.0, 40.0], [1.0, 1.0, 1.0, 2.0]


def conditioned(course, sick, **kw):
    """``fc1`` is ill-conditioned at the snapshots marked x; missing at those marked with a dot."""
    row = [{"x": SICK, "o": WELL, ".": None}[mark] for mark in sick]
    wobble = [None if values is None else np.array(values) * (1 + 0.01 * k) for k, values in enumerate(row)]
    peers = {f"peer{i}": [np.array(WELL) * (1 + 0.01 * k) for k in range(len(row))] for i in range(2)}
    return diagnose_run(course({"fc1": wobble} | peers, **kw))


def places(run):
    return [(f.snapshot, f.window) for f in run.findings]


def test_what_lasts_is_one_finding_at_its_first_snapshot(course):
    run = conditioned(course, "ooxxxxx")
    assert places(run) == [("4", ("2", "3", "4", "5", "6"))]
    (f,) = run.findings
    assert f.evidence.startswith("From '4' to '6', 3 snapshots. The numbers are those of '4'.")
    for label in "23456":
        (here,) = run.at("fc1", label)
        assert here.rule == "D5"
    assert [f.snapshot for label in "23456" for f in run.at("fc1", label)] == ["4", "4", "4", "5", "6"]
    assert run.at("fc1", "1") == run.at("peer0", "4") == run.at(None) == ()
    assert run.at("fc1") == run.at("fc1", -1) == run.at("fc1", "6")


def test_a_break_makes_two_findings(course):
    assert places(conditioned(course, "xxxoxxx")) == [("2", ("0", "1", "2")), ("6", ("4", "5", "6"))]


def test_a_gap_is_no_break(course):
    run = conditioned(course, "xx.xx")
    assert places(run) == [("3", ("0", "1", "3", "4"))]
    assert run.at("fc1", "2") == ()


def test_the_strongest_place_gives_the_numbers(course):
    rows = {"fc1": [[1.0, 1.0, top] for top in (20.0, 20.1, 20.2, 200.0, 30.0)]}
    run = diagnose_run(course(rows | {f"p{i}": [[1.0, 1.0, 1 + k / 100] for k in range(5)] for i in range(2)}))
    (f,) = run.findings
    assert (f.snapshot, f.eigenvalue) == ("2", 200.0)
    assert "those of '3'" in f.evidence


def test_what_shows_in_many_layers_is_one_finding_of_the_run(course):
    rows = {f"l{i}": [[0.0, 1.0 + k] for k in range(3)] for i in range(8)}
    run = diagnose_run(course(rows, fields={"psd": True}))
    (f,) = run.findings
    assert run.of_run == run.findings
    assert (f.layer, f.snapshot, f.others) == (None, "0", tuple(rows))
    assert "In 8 of 8 blocks ('l0', 'l1', 'l2', 'l3', 'l4' and 3 more)." in f.evidence
    (here,) = run.at("l3", "1")
    assert (here.layer, here.snapshot) == ("l3", "1")


def test_order_is_by_level_then_weight(course):
    rows = {"a": [[1.0] * 9 + [top] for top in (400.0, 401.0, 402.0)], "b": [[1.0] * 9 + [30.0 + k] for k in range(3)]}
    rows |= {f"p{i}": [[-2.0 + k / 10] + [1.0] * 9 for k in range(3)] for i in range(3)}
    found = diagnose_run(course(rows)).findings
    assert [f.level for f in found] == sorted((f.level for f in found), key=["warning", "note", "info"].index)
    for level in ("warning", "note"):
        weights = [f.weight for f in found if f.level == level]
        assert weights == sorted(weights, reverse=True)
    assert [f.layer for f in found if f.rule == "D5"] == ["a", "b"]


@pytest.mark.parametrize(
    ("level", "value", "threshold", "weight"),
    [
        ("warning", 3.0, 3.0, 0.5),
        ("warning", 30.0, 3.0, 1.0),
        ("warning", 3e9, 3.0, 1.0),
        ("warning", 0.01, 0.1, 1.0),
        ("note", np.sqrt(10), 1.0, 0.375),
        ("note", np.inf, 1.0, 0.5),
        ("info", 1.0, 0.0, 0.1),
        ("info", -1.0, 2.0, 0.1),
        ("info", np.nan, 2.0, 0.1),
        ("warning", -np.inf, -0.6, 1.0),
    ],
)
def test_weight_is_distance_on_a_logarithmic_scale(level, value, threshold, weight):
    assert weigh(level, value, threshold) == pytest.approx(weight)


def test_silent_rules_say_what_they_lack_in_a_sentence(course):
    run = diagnose_run(course({"fc1": [[1.0, 2.0]]}))
    assert {"D5", "D6", "D8"} <= set(run.silent) <= {f"D{k}" for k in range(1, 9)}
    assert all(why[0].isupper() and why.endswith(".") and "{" not in why for why in run.silent.values())
    everything = course(
        {name: [[-0.1, 0.5, 1.0 + k] for k in range(3)] for name in ("a", "b", "c")},
        recorded={"loss": [2.0, 1.0, 0.5], "val_loss": [2.0, 1.9, 1.8], "lr": [0.1] * 3},
        gradients={"a": [1.0, 1.0, 1.0]},
    )
    assert diagnose_run(replace(everything, reference=everything)).silent == {}


def test_every_silence_is_a_plain_sentence():
    assert all(text.rstrip("}").endswith(".") for text in SILENCES.values())


def test_spectra_made_in_different_ways_are_not_followed(course, exact, lanczos):
    """λmin stays clearly negative for three snapshots, but between exact spectra and estimates."""
    whole, few, many = exact([-2.0] + [10.0] * 999), lanczos([[-2.0, 10.0]], steps=50), lanczos([[-2.0, 10.0]])
    gradients = {"fc1": [1.0, 0.1, 0.01]}
    for row in ([whole, many, many], [few, many, many]):
        mixed = diagnose_run(course({"fc1": row}, gradients=gradients), Thresholds(window=2))
        assert [f.window for f in mixed.findings if f.rule == "D6"] == [("1", "2")]
        assert "'fc1' were not all made in the same way" in mixed.silent["D6"]
    alike = diagnose_run(course({"fc1": [many, many, many]}, gradients=gradients), Thresholds(window=2))
    assert [f.window for f in alike.findings if f.rule == "D6"] == [("0", "1", "2")]
    assert "D6" not in alike.silent


def test_a_repr_is_a_few_lines(course):
    text = repr(conditioned(course, "xxx"))
    assert text.startswith("RunDiagnosis of 3 layers × 3 snapshots: 0 warnings, 1 note, 0 facts")
    (row,) = [line for line in text.splitlines() if "Ill-conditioned" in line]
    assert row.split()[:4] == ["note", "D5", "fc1", "2"]
    assert "Not judged, D8:" in text
    assert all(len(line) < 120 for line in text.splitlines() if not line.startswith("Not judged"))
    many = {f"l{i:02d}": [[-20.0 - i, 1.0]] for i in range(20)}
    assert "… and 8 more in .findings" in repr(diagnose_run(course(many)))


def test_names_are_escaped_in_a_notebook(course):
    shown = conditioned(course, "xxx")._repr_html_()
    assert "Ill-conditioned" in shown
    hostile = diagnose_run(course({"<b>x</b>": [[-20.0, 1.0]]}))
    assert "<b>" not in hostile._repr_html_()
    assert "&lt;b&gt;x&lt;/b&gt;" in hostile._repr_html_()


def test_it_travels(course):
    run = conditioned(course, "xxx")
    again = pickle.loads(pickle.dumps(run))
    assert isinstance(again, RunDiagnosis)
    assert (again.findings, again.silent, again.at("fc1", "0")) == (run.findings, run.silent, run.at("fc1", "0"))


def test_an_empty_course_has_nothing_to_say():
    run = diagnose_run(Course((), {}))
    assert run.findings == ()
    assert diagnose_run(Course(("a", "b"), {})).findings == ()


def test_one_parameter_and_nothing_at_all(course):
    run = diagnose_run(course({"one": [[1.0]] * 3, "none": [[0.0]] * 3, "two": [[-1.0]] * 3}))
    assert {f.layer for f in run.findings if f.rule == "D4"} == {"none"}


# --- one implementation: a cell of a run, and diagnose() ---


def test_a_single_spectrum_is_judged_by_the_same_rules(course):
    full = course(
        {"fc1": [np.array(SICK) * k for k in (1, 2, 3)]} | {f"p{i}": [WELL] * 3 for i in range(2)},
        recorded={"loss": [2.0, 1.0, 0.5]},
    )
    here = diagnose_cell(full, "fc1", "2")
    assert here.findings == diagnose_run(full).at("fc1", "2")
    alone = diagnose(
        full.spectra["fc1", "2"],
        history=[full.spectra["fc1", k] for k in "01"],
        peers=[full.spectra[f"p{i}", "2"] for i in range(2)],
        losses=full.losses["2"],
        past_losses=[full.losses[k] for k in "01"],
    )
    assert [f.rule for f in alone.findings] == [f.rule for f in here.findings] == ["D5"]
    assert (alone.hesd, alone.metrics) == (here.hesd, here.metrics)


def test_a_cell_is_judged_without_what_came_later(course):
    full = course({"fc1": [[-2.0 - k, 10.0] for k in range(4)]}, gradients={"fc1": [1.0, 0.1, 0.1, 0.1]})
    assert diagnose_cell(full, "fc1", "2").findings == diagnose_run(full).at("fc1", "2")
    early = diagnose_cell(full, "fc1", "1")
    assert (early.snapshot, early.findings) == ("1", ())
    assert "3 snapshots in a row, and 2 at most" in early.silent["D6"]
    assert [f.rule for f in diagnose_run(full).at("fc1", "1")] == ["D6"]  # with hindsight


def test_diagnose_says_which_rules_were_silent(exact):
    d = diagnose(exact([-0.1, 1.0]))
    assert "D4" in d.silent
    assert pickle.loads(pickle.dumps(d)).silent == d.silent


# --- refusals ---


@pytest.mark.parametrize(
    ("field", "value", "word"),
    [
        ("curvature", "ggn", "curvature"),
        ("functional", "sum", "functional"),
        ("split", "held_out", "split"),
        ("provenance", {"data_digest": "other"}, "data digest"),
        ("provenance", {"loss": "MSELoss"}, "loss"),
        ("provenance", {"loss_digest": "other"}, "settings"),
        ("provenance", {"mode": "train"}, "mode"),
    ],
)
def test_spectra_that_do_not_compare_are_refused(course, exact, field, value, word):
    known = {"data_digest": "mine", "loss": "CrossEntropyLoss", "loss_digest": "mine", "mode": "eval"}
    mine = exact([1.0, 2.0], provenance=known)
    for rows in (
        {"fc1": [mine, replace(mine, **{field: value})]},
        {"a": [mine], "b": [replace(mine, **{field: value})]},
    ):
        with pytest.raises(ComparisonError, match=word):
            diagnose_run(course(rows))


def test_a_digest_that_was_not_recorded_is_no_other(course, exact):
    assert diagnose_run(course({"fc1": [exact([1.0], provenance={"data_digest": "a"}), exact([1.1])]})) is not None


def test_two_networks_are_refused(course):
    with pytest.raises(ComparisonError, match="two networks"):
        diagnose_run(course({"fc1": [[1.0], [1.0, 2.0]]}))


def test_held_out_spectra_are_of_other_data(course, exact):
    same = course({"fc1": [[1.0, 2.0]]})
    again = exact([1.0, 2.0], snapshot="0")
    with pytest.raises(ComparisonError, match="same data"):
        diagnose_run(replace(same, held_out={("fc1", "0"): again}))
    with pytest.raises(ComparisonError, match="held-out data"):
        diagnose_run(replace(same, held_out={("fc1", "0"): replace(again, split="held_out", curvature="ggn")}))
    digest = {"provenance": {"data_digest": "x"}}
    with pytest.raises(ComparisonError, match="same data"):
        diagnose_run(course({"fc1": [[1.0]]}, held_out={"fc1": [[1.0]]}, fields=digest))


def test_held_out_spectra_are_of_the_same_weights_and_size(course, exact):
    mine = course({"fc1": [exact([1.0, 2.0], provenance={"snapshot_digest": "a"})]})
    for values, digest, word in (([1.0, 2.0], "b", "other weights"), ([1.0], "a", "two networks")):
        held_out = exact(values, snapshot="0", split="held_out", provenance={"snapshot_digest": digest})
        with pytest.raises(ComparisonError, match=word):
            diagnose_run(replace(mine, held_out={("fc1", "0"): held_out}))


@pytest.mark.parametrize(
    "fields",
    [
        {"snapshot": "now"},
        {"complete": False},
        {"split": "held_out"},
        {"provenance": {"data_digest": "other"}},
        {"values": [1.0]},
    ],
    ids=str,
)
def test_a_past_that_is_none_is_refused(exact, fields):
    now, past = exact([0.1, 0.2], provenance={"data_digest": "mine"}), {"values": [1.0, 2.0], "snapshot": "before"}
    with pytest.raises(ComparisonError):
        diagnose(now, history=[exact(**past | fields)])


@pytest.mark.parametrize("fields", [{"snapshot": "other"}, {"values": [1.0]}, {"split": "data"}], ids=str)
def test_held_out_data_that_are_none_are_refused(exact, fields):
    with pytest.raises(ComparisonError):
        diagnose(exact([0.1, 0.2]), held_out=exact(**{"values": [1.0, 2.0], "split": "held_out"} | fields))


def test_what_is_still_on_its_way_is_no_past_of_a_cell(course, exact):
    rows = [exact([1.0, 2.0], complete=False), exact([1.0, 2.1]), exact([1.0, 2.2], complete=False)]
    unfinished = {"fc1": [None, None, exact([1.0, 2.0], complete=False)]}
    known = course({"fc1": rows}, held_out=unfinished, recorded={"loss": [1.0, 0.5, 0.2]})
    for label in known.snapshots:
        assert diagnose_cell(known, "fc1", label).layer == "fc1"


def test_weights_that_differ_under_one_label_are_told_apart(exact):
    past, now = (exact([0.1, 1.0 + k], provenance={"snapshot_digest": str(k)}) for k in range(2))
    assert diagnose(now, history=[past], losses={"loss": 0.1}, past_losses=[{"loss": 1.0}]).snapshot == "now"


def test_peers_are_of_the_same_snapshot(exact):
    with pytest.raises(ComparisonError, match="same snapshot"):
        diagnose(exact([1.0]), peers=[exact([1.0], layer="fc2", snapshot="other")])


def misused(course, **fields):
    """What only reaches the rules where types are not checked on the way."""
    for name, value in fields.items():
        object.__setattr__(course, name, value)
    return course


@pytest.mark.parametrize("name", ["loss", "val_loss", "acc", "lr"])
@pytest.mark.parametrize("value", ["fast", [0.1], 1j, None, True], ids=str)
def test_losses_are_numbers(course, name, value):
    known = course({"fc1": [[1.0], [1.1]]})
    with pytest.raises(SettingError, match=name):
        diagnose_run(misused(known, losses={"1": {name: value}}))
    assert diagnose_run(misused(known, losses={"1": {"optimizer": "Adam", "betas": (0.9, 0.999)}})) is not None


def test_what_is_of_another_place_is_refused(course, exact):
    known = course({"fc1": [[1.0], [1.1]]}, gradients={"fc1": [1.0, 1.0]})
    for layer, label in (("fc1", "1"), ("fc2", "0"), (None, "0")):
        with pytest.raises(SettingError, match="where it belongs"):
            diagnose_run(replace(known, spectra={("fc1", "0"): exact([1.0], layer=layer, snapshot=label)}))
    with pytest.raises(SettingError, match="where it belongs"):
        diagnose_run(replace(known, states={("fc1", "1"): known.states["fc1", "0"]}))
    with pytest.raises(SettingError, match="none of its snapshots"):
        diagnose_run(replace(known, losses={"2": {"loss": 1.0}}))


@pytest.mark.parametrize("reference", ["runs/healthy", 3, []], ids=str)
def test_a_reference_is_a_course(course, reference):
    with pytest.raises(SettingError, match="reference must be a Course"):
        diagnose_run(misused(course({"fc1": [[1.0]]}), reference=reference))


@pytest.mark.parametrize("step", [np.nan, np.inf, -1], ids=str)
def test_alarms_are_steps(course, step):
    with pytest.raises(SettingError, match="finite"):
        diagnose_run(course({"fc1": [[1.0]]}), alarms={"fc1": step})


def test_alarms_of_layers_without_spectra_are_told(course):
    known = course({"fc1": [[1.0], [1.1]]}, recorded={"accuracy": [1.0, 1.0]}, steps={"0": 0, "1": 10})
    both = diagnose_run(known, alarms={"fc1": 1, "fc2": 1})
    assert [f.layer for f in both.findings if f.rule == "D2"] == ["fc1"]
    for run in (both, diagnose_run(known, alarms={"fc2": 1})):
        assert "'fc2'" in run.silent["D2"]


def test_a_reference_of_another_curvature_is_refused(course):
    reference = course({"fc1": [[1.0]]}, fields={"curvature": "ggn"})
    with pytest.raises(ComparisonError, match="reference run"):
        diagnose_run(course({"fc1": [[1.0]]}, reference=reference))


def test_labels_must_fit(exact):
    with pytest.raises(SettingError, match="none of its snapshots"):
        diagnose_run(Course(("0",), {("fc1", "1"): exact([1.0])}))
    with pytest.raises(SettingError, match="different labels"):
        diagnose_run(Course(("0", "0"), {}))


def test_what_is_no_course_is_refused(course):
    judge = inspect.unwrap(diagnose_run)
    good = course({"fc1": [[1.0]]})
    for arguments, word in (((None,), "course"), ((good, None), "thresholds")):
        with pytest.raises(SettingError, match=f"{word} must be"):
            judge(*arguments)
    with pytest.raises(SettingError, match="alarms must be"):
        judge(good, alarms={"fc1": "late"})


def test_places_that_do_not_exist(course):
    run = diagnose_run(course({"conv1": [[1.0]]}))
    with pytest.raises(UnknownLayerError, match="Did you mean 'conv1'"):
        run.at("conv2")
    for bad in ("1", 1, -2):
        with pytest.raises(UnknownSnapshotError):
            run.at("conv1", bad)


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        ({"window": 2.5}, "window"),
        ({"accuracy": 1.1}, "at most 1"),
        ({"edge": -1.0}, "edge"),
        ({"others": True}, "others"),
    ],
)
def test_thresholds_say_what_they_expect(bad, word):
    with pytest.raises(SettingError, match=word):
        inspect.unwrap(Thresholds.__init__)(object.__new__(Thresholds), **bad)


def test_thresholds_are_edited_with_replace(course):
    wide = replace(Thresholds(), condition=50.0)
    assert not diagnose_run(course({"fc1": [SICK] * 3} | {f"p{i}": [WELL] * 3 for i in range(2)}), wide).at("fc1", 0)
