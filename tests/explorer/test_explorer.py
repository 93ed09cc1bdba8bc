"""The explorer from Python's side: what a person does is done here to the same widgets, without a browser."""

import gc
import json
import threading
import time
import weakref
from types import SimpleNamespace

import ipywidgets
import numpy as np
import pytest
from canned import FROM, HOSTILE, LAYERS, MISSING, CannedSession

from lhexplore.diagnosis.number_texts import short
from lhexplore.errors import (
    ClosedError,
    LossError,
    SettingError,
    SnapshotError,
    UnknownLayerError,
    UnknownSnapshotError,
)
from lhexplore.explorer import Explorer
from lhexplore.spectrum import Step

WIDGETS = ipywidgets.widgets.widget._instances
PATIENCE = 20  # seconds; only a hang takes longer
QUICK = 0.005  # a callback that only records a wish returns within 5 ms (median of several)


@pytest.fixture
def made():
    """Makes explorers and closes them afterwards."""
    alive = []

    def make(session=None, **how):
        explorer = Explorer(session or CannedSession(), **how)
        alive.append(explorer)
        return explorer

    yield make
    for explorer in alive:
        explorer.close()


def until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.005)


def parts_of(explorer):
    """The widgets of the page, by what they show."""
    scrubber, layers, spectrum, heat, badge, progress, findings, code, *_ = explorer.views
    return SimpleNamespace(
        loss=scrubber.pane, slider=explorer.hub.clock, layers=layers.list, spectrum=spectrum.pane,
        spectrum_words=spectrum.sentence, heat=heat.pane, heat_rows=lambda: heat.rows, card=badge.card,
        status=progress.state, stop=progress.stop, compute=progress.compute, code=code.code, findings=findings.list,
        **{name: find(explorer, f"lhx-{name}") for name in ("view", "scale", "metric", "split")},
    )  # fmt: skip


def find(widget, name):
    """The widget of that class in a box, or None."""
    if name in widget._dom_classes:
        return widget
    return next((found for child in getattr(widget, "children", ()) if (found := find(child, name))), None)


def card(explorer, k=None):
    return json.loads(parts_of(explorer).card.texts)[explorer.snapshot if k is None else k]


# ---- start


def test_it_starts_with_the_first_layer_at_the_last_snapshot_and_fills_what_is_missing(made):
    session = CannedSession()
    explorer = made(session)
    assert (explorer.layer, explorer.snapshot) == ("conv1", 11)
    explorer.settled(PATIENCE)
    assert set(session.asked) == MISSING
    assert explorer.status == "48/48 spectra · all known"
    assert explorer.problem == ""
    assert {c["state"] for c in json.loads(parts_of(explorer).card.texts)} == {"known"}


def test_traces_of_all_layers_are_shown_before_any_spectrum(made):
    names = [row.name for row in LAYERS if row.status == "ok"]
    session = CannedSession(missing={(name, 11) for name in names}, pause=0.1)
    explorer = made(session)
    until(lambda: json.loads(parts_of(explorer).layers.previews))
    early = json.loads(parts_of(explorer).layers.previews)
    rows = [row["name"] for row in json.loads(parts_of(explorer).layers.rows)]
    assert set(early) == {"11"}
    assert {rows[int(i)] for i in early["11"]} == set(names)
    assert all(text.startswith("trace ") and " ± " in text for text in early["11"].values())
    until(lambda: card(explorer)["numbers"])
    assert card(explorer)["numbers"][0][0] == "trace" or card(explorer)["state"] == "known"
    explorer.settled(PATIENCE)
    assert json.loads(parts_of(explorer).layers.previews) == {}
    assert card(explorer)["state"] == "known"


def test_a_loss_that_is_evaluated_later_is_drawn(made):
    session = CannedSession(missing={("conv1", 11)}, pause=0.02)
    session.losses = lambda k: {"loss": 0.5} if known else {}
    session.evaluate = lambda k: known.append(k)
    known = []
    explorer = made(session)
    until(lambda: known)
    explorer.settled(PATIENCE)
    plot = parts_of(explorer).loss._plot
    assert next(key.words for key in plot.legend) == "training loss"
    assert "y0" in plot.root.select_one({"name": "losses"}).data


def test_what_is_cached_is_there_at_once(made):
    explorer = made(CannedSession(pause=0.05))
    assert card(explorer)["state"] == "known"
    assert card(explorer, 2)["state"] == "missing"
    assert explorer.spectrum.layer == "conv1"


@pytest.mark.parametrize("wrong", [{"colour": 1}, {"steps": 5, "layer": "conv1"}])
def test_a_keyword_that_does_not_exist_is_answered_with_those_that_do(wrong):
    with pytest.raises(TypeError, match=r"has no .*; it has layer, snapshot, view, scale, metric, split, .*"):
        Explorer(CannedSession(), **wrong)


@pytest.mark.parametrize(
    ("how", "error", "says"),
    [
        ({"layer": "conv3"}, UnknownLayerError, "conv"),
        ({"layer": "old"}, UnknownLayerError, "integer parameters"),
        ({"layers": ["conv1", "nope"]}, UnknownLayerError, "nope"),
        ({"layers": []}, SettingError, "at least one"),
        ({"snapshot": 12}, UnknownSnapshotError, "there are 12"),
        ({"snapshot": "step-9"}, UnknownSnapshotError, "step-0"),
        ({"view": "pie"}, SettingError, "histogram"),
        ({"scale": "log"}, SettingError, "symlog"),
        ({"metric": "lambda_maxi"}, SettingError, "lambda_max"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_both_ways_to_set_them(made, how, error, says):
    widgets = set(WIDGETS)
    with pytest.raises(error, match=says):
        Explorer(CannedSession(), **how)
    assert set(WIDGETS) == widgets  # nothing half made stays behind
    explorer = made()
    before = explorer.hub.look()
    ((name, value),) = how.items()
    with pytest.raises(error, match=says):
        setattr(explorer, name, value)
    assert explorer.hub.look() == before


def test_a_closed_session_is_refused_and_one_closed_later_is_told_in_words(made):
    with pytest.raises(ClosedError):
        Explorer(CannedSession(closed=True))
    session = CannedSession(pause=0.02)
    explorer = made(session)
    session.closed = True
    explorer.snapshot = 2
    explorer.settled(PATIENCE)
    assert "session was closed" in explorer.status
    assert parts_of(explorer).status.text == explorer.status


# ---- both ways


def test_traits_move_the_screen(made):
    explorer = made()
    explorer.layer, explorer.snapshot, explorer.view = "head", "step-000008", "density"
    explorer.scale, explorer.metric = "linear", "trace"
    explorer.settled(PATIENCE)
    parts = parts_of(explorer)
    assert explorer.snapshot == parts.slider.value == 4
    assert (parts.view.value, parts.scale.value, parts.metric.value) == ("density", "linear", "trace")
    assert json.loads(parts.layers.rows)[parts.layers.selected]["name"] == "head"
    assert card(explorer)["title"].startswith("head · step 8")
    assert json.loads(parts.code.texts)[4] == str(explorer.request) == "session.spectrum('head', 'step-000008')"
    assert "head at step 8:" in json.loads(parts.spectrum_words.texts)[4]
    assert parts.layers.quantity == "trace"


def test_the_screen_moves_the_traits(made):
    explorer = made()
    parts = parts_of(explorer)
    parts.slider.value = 3
    parts.layers.selected = 2
    parts.view.value, parts.scale.value, parts.metric.value = "density", "linear", "trace"
    assert (explorer.snapshot, explorer.layer) == (3, "conv2")
    assert (explorer.view, explorer.scale, explorer.metric) == ("density", "linear", "trace")
    parts.layers.selected = 5  # a skipped layer: nothing to show
    assert explorer.layer == "conv2"


def test_a_click_on_the_map_jumps(made):
    explorer = made()
    parts_of(explorer).heat._heard(None, {"kind": "pick", "index": 3 * 12 + 5}, [])
    assert (explorer.layer, explorer.snapshot) == ("head", 5)
    parts_of(explorer).heat._heard(None, {"kind": "pick", "index": 999}, [])
    assert (explorer.layer, explorer.snapshot) == ("head", 5)


def test_the_whole_network_joins_the_map_when_known_or_looked_at(made):
    def rows(explorer):
        explorer.settled(PATIENCE)
        return [entry.name for entry in parts_of(explorer).heat_rows()]

    layers = [row.name for row in LAYERS if row.status == "ok"]
    unknown = {(None, k) for k in range(12)}
    explorer = made(CannedSession(missing=unknown))
    assert rows(explorer) == layers
    explorer.layer = None
    assert rows(explorer) == [*layers, "whole network"]
    explorer.layer = "head"
    assert rows(explorer) == [*layers, "whole network"]  # known by now
    parts_of(explorer).heat._heard(None, {"kind": "pick", "index": 4 * 12 + 7}, [])
    assert (explorer.layer, explorer.snapshot) == ("whole network", 7)
    assert rows(made(CannedSession(missing=unknown), layers=["conv1"])) == ["conv1"]


def test_choosing_layers_narrows_list_map_and_work(made):
    session = CannedSession()
    explorer = made(session, layers=["head", "conv2"])
    assert explorer.layers == ("conv2", "head")
    explorer.settled(PATIENCE)
    assert {name for name, _ in session.asked} == {"conv2", "head"}
    explorer.layers = ["conv1"]
    assert explorer.layer == "conv1"
    explorer.settled(PATIENCE)
    assert {name for name, _ in session.asked} == {"conv2", "head", "conv1"}
    assert len(json.loads(parts_of(explorer).layers.rows)) == 1


def test_the_whole_network_is_an_entry_that_is_computed_when_looked_at(made):
    session = CannedSession(missing={(None, k) for k in range(12)})
    explorer = made(session)
    explorer.settled(PATIENCE)
    assert session.asked == []
    explorer.layer = None
    assert explorer.layer == "whole network"
    assert str(explorer.request) == "session.spectrum(None, 'step-001024')"
    explorer.settled(PATIENCE)
    assert session.asked[0] == (None, 11)


# ---- work


def test_what_is_looked_at_comes_first_then_its_neighbours_then_the_rest(made):
    session = CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)})
    explorer = made(session, layer="conv2", snapshot=4)
    explorer.settled(PATIENCE)
    assert session.asked[0] == ("conv2", 4)
    assert {name for name, _ in session.asked[:12]} == {"conv2"}
    assert [abs(k - 4) for _, k in session.asked[:12]] == sorted(abs(k - 4) for _, k in session.asked[:12])
    assert len(session.asked) == len(set(session.asked)) == 48


def test_looking_elsewhere_goes_before_what_was_begun(made):
    session = CannedSession(missing={("conv1", k) for k in range(12)} | {("head", 5)}, pause=0.05)
    explorer = made(session)
    until(lambda: session.asked)
    explorer.layer, explorer.snapshot = "head", 5
    until(lambda: explorer.spectrum is not None and explorer.spectrum.complete)
    assert session.asked.index(("head", 5)) <= 2
    explorer.stop()


def test_looking_at_what_is_known_does_not_disturb_the_work(made):
    session = CannedSession(missing={("conv1", 11)}, pause=0.05)
    explorer = made(session)
    until(lambda: session.asked)
    for k in range(11):
        explorer.snapshot = k
        time.sleep(0.02)
    explorer.settled(PATIENCE)
    assert session.asked == [("conv1", 11)]  # begun once, never thrown away


def test_a_value_on_its_way_is_shown_as_preliminary(made):
    gate = threading.Event()

    class Slow(CannedSession):
        def steps(self, layer, snapshot=-1, **_):
            whole = CannedSession(missing=set()).cached(layer, snapshot)
            rough = type(whole)(
                layer,
                whole.snapshot,
                whole.size,
                whole.nodes,
                whole.weights,
                "lanczos",
                steps=5,
                probes=1,
                complete=False,
            )
            yield Step(3, 10, rough)
            gate.wait(PATIENCE)
            self.missing.discard((layer, snapshot))
            yield Step(10, 10, whole)

    explorer = made(Slow(missing={("conv1", 11)}))
    until(lambda: card(explorer)["state"] == "preliminary" and card(explorer)["numbers"])
    assert card(explorer)["message"] == "Preliminary: computing at 3 of 10 steps."
    assert not explorer.spectrum.complete
    assert explorer.diagnosis is None
    with pytest.raises(TimeoutError, match="47 of 48"):
        explorer.settled(0.05)
    gate.set()
    explorer.settled(PATIENCE)
    assert card(explorer)["state"] == "known"


def test_stop_acts_within_a_product_and_lasts_until_something_missing_is_looked_at_or_compute(made):
    session = CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)}, pause=0.02)
    explorer = made(session)
    until(lambda: session.asked)
    parts_of(explorer).stop.click()
    explorer.settled(PATIENCE)
    asked = len(session.asked)
    assert asked <= 2
    assert explorer.status.startswith("Stopped.")
    assert parts_of(explorer).stop.disabled
    assert not parts_of(explorer).compute.disabled
    explorer.view = "density"  # something known to do: no reason to compute
    time.sleep(0.1)
    assert len(session.asked) == asked
    explorer.layer, explorer.snapshot = "head", 3
    explorer.settled(PATIENCE)
    assert explorer.spectrum.complete
    assert session.asked[-1] == ("head", 3)
    assert len(session.asked) <= asked + 2  # only what is looked at
    session.pause = 0
    parts_of(explorer).compute.click()
    explorer.settled(PATIENCE)
    assert explorer.status == "48/48 spectra · all known"


class Failing(CannedSession):
    """Cannot compute what is missing of conv1."""

    failure: Exception = LossError("The loss is NaN in batch 3: the labels are to blame.")

    def steps(self, layer, snapshot=-1, **settings):
        if layer == "conv1":
            self.asked.append((layer, snapshot))
            raise self.failure
        yield from super().steps(layer, snapshot, **settings)


def test_errors_are_on_screen_in_words_and_the_other_cells_go_on(made):
    session = Failing()
    explorer = made(session, snapshot=2)
    explorer.settled(PATIENCE)
    assert "labels are to blame" in card(explorer)["message"]
    assert explorer.badge == "failed"
    assert parts_of(explorer).status.problem == explorer.problem
    assert explorer.problem.startswith("conv1 at step-000002: The loss is NaN in batch 3")
    assert explorer.status == "46/48 spectra · 2 could not be computed"
    explorer.layer = "head"
    assert "The loss is NaN" in explorer.problem  # elsewhere, still said
    session.failure = ZeroDivisionError("by zero")
    explorer.compute()  # tries again
    explorer.settled(PATIENCE)
    assert "Unexpected ZeroDivisionError: by zero" in explorer.problem
    assert session.asked.count(("conv1", 2)) == 2


def test_a_bad_snapshot_is_asked_for_once_not_once_per_layer(made):
    session = Failing(missing={(layer.name, 2) for layer in LAYERS[:4]})
    session.failure = SnapshotError("step-000002 is truncated: copy it again.")
    explorer = made(session, snapshot=2)
    explorer.settled(PATIENCE)
    assert session.asked == [("conv1", 2)]
    assert "4 could not be computed" in explorer.status


def test_a_drawing_that_fails_says_so(made, monkeypatch):
    explorer = made(CannedSession(missing=set()))
    explorer.settled(PATIENCE)
    monkeypatch.setattr("lhexplore.explorer.views.spectrum_plot.spectrum_plot", lambda *_, **__: 1 / 0)
    explorer.view = "density"
    explorer.settled(PATIENCE)
    assert "ZeroDivisionError" in parts_of(explorer).status.problem


def test_losses_that_were_not_recorded_are_evaluated(made):
    session = CannedSession(missing={("conv1", 0)})
    known = {}
    session.losses = lambda k: known.get(session.snapshots.index(k), {})
    session.evaluate = lambda k: known.setdefault(k, {"loss": 1.0 + k})
    explorer = made(session)
    explorer.settled(PATIENCE)
    assert sorted(known) == list(range(12))
    assert "loss 12" in json.loads(parts_of(explorer).loss.sentences)[11]


# ---- a person at the screen


@pytest.mark.alone
def test_callbacks_return_at_once_while_computing(made):
    explorer = made(CannedSession(missing={(layer.name, k) for layer in LAYERS[:4] for k in range(12)}, pause=0.2))
    spent = []
    for k in range(11):
        start = time.perf_counter()
        parts_of(explorer).slider.value = k
        spent.append(time.perf_counter() - start)
    assert float(np.median(spent)) < QUICK
    explorer.stop()


def test_every_control_has_words(made):
    explorer = made()
    parts = parts_of(explorer)
    for control in (parts.view, parts.scale, parts.metric, parts.stop, parts.compute):
        assert control.description
    for pane in (parts.loss, parts.spectrum, parts.heat):
        assert pane.name
        assert all(json.loads(pane.sentences))


def test_the_repr_is_stable_and_never_computes(made):
    texts = {repr(made(CannedSession(missing=missing))) for missing in (set(), set(MISSING))}
    assert texts == {
        "Explorer(4 layers × 12 snapshots; 'conv1' at 'step-001024', view='histogram', scale='symlog', "
        "metric='lambda_max')"
    }
    explorer = made()
    bundle = explorer._repr_mimebundle_()
    assert bundle["text/plain"] == repr(explorer)
    assert "application/vnd.jupyter.widget-view+json" in bundle


def test_hostile_names_stay_text(made):
    explorer = made(layer=HOSTILE)
    explorer.settled(PATIENCE)
    assert explorer.layer == HOSTILE
    assert not any(isinstance(widget, ipywidgets.HTML | ipywidgets.Output) for widget in WIDGETS.values())


# ---- findings


def test_findings_of_the_run_stand_in_their_places_and_lead_there(made):
    explorer = made(CannedSession(missing=set()), snapshot=0)
    explorer.settled(PATIENCE)
    parts = parts_of(explorer)
    listed = json.loads(parts.findings.texts)
    assert [row["rule"] for row in listed["rows"][:3]] == ["D2", "D7", "D1"]
    assert listed["silent"] == [["D8", "The step size is not known."]]
    assert listed["words"].startswith("7 in what is known")
    assert [f["rule"] for f in card(explorer, FROM)["findings"]] == ["D2", "D7", "D6"]
    assert card(explorer, 0)["findings"] == []
    assert len(parts.heat._plot.root.select_one({"name": "heat-marks"}).data["x"]) == 6
    assert list(parts.loss._plot.root.select_one({"name": "loss-marks"}).data["x"]) == [FROM, 7, 9]
    for row, place in ((2, ("conv2", 7)), (0, ("conv1", FROM))):
        parts.findings._handle_custom_msg({"kind": "go", "index": row}, [])
        assert (explorer.layer, explorer.snapshot) == place
    for nonsense in ({"kind": "go", "index": 99}, {"kind": "go", "index": "0"}, {"kind": "went", "index": 1}, {}):
        parts.findings._handle_custom_msg(nonsense, [])
    assert (explorer.layer, explorer.snapshot) == ("conv1", FROM)


def test_a_finding_of_a_layer_that_is_not_shown_is_not_listed(made):
    explorer = made(CannedSession(missing=set()), layers=["head"])
    explorer.settled(PATIENCE)
    assert [row["rule"] for row in json.loads(parts_of(explorer).findings.texts)["rows"]] == ["D1", "D9"]


def test_the_run_is_judged_when_all_is_known_and_seldom_before(made):
    class Counting(CannedSession):
        judged = 0

        def findings(self, **how):
            self.judged += 1
            self.known_then = 48 - len(self.missing)
            return super().findings(**how)

    session = Counting(missing={("conv1", k) for k in range(12)})
    explorer = made(session)
    explorer.settled(PATIENCE)
    assert session.known_then == 48
    assert session.judged < 6  # not once per spectrum
    before = session.judged
    explorer.layer, explorer.snapshot, explorer.view = "head", 2, "density"
    explorer.settled(PATIENCE)
    assert session.judged == before


def test_a_judgement_that_fails_says_so_and_the_rest_stays(made):
    session = CannedSession(missing=set())
    session.findings = lambda **_: 1 / 0
    explorer = made(session)
    explorer.settled(PATIENCE)
    assert "ZeroDivisionError" in parts_of(explorer).status.problem
    assert card(explorer)["state"] == "known"


# ---- held-out data


def test_without_held_out_data_there_is_no_choice(made):
    explorer = made()
    assert parts_of(explorer).split is None
    with pytest.raises(SettingError, match="no held-out data"):
        explorer.split = "both"
    assert explorer.split == "data"
    with pytest.raises(SettingError, match="held_out"):
        made(CannedSession(has_held_out=True)).split = "validation"


def test_both_computes_what_is_missing_of_either_and_says_so_until_then(made):
    absent = {(name.name, k, "held_out") for name in LAYERS[:4] for k in range(12)}
    session = CannedSession(missing=set(absent), has_held_out=True)
    explorer = made(session, snapshot=5)
    explorer.settled(PATIENCE)
    assert session.asked == []  # nobody asked for held-out data
    assert parts_of(explorer).split is not None
    session.pause = 0.05
    parts_of(explorer).split.value = "both"
    assert explorer.split == "both"
    until(lambda: card(explorer, 11)["beside"])
    assert card(explorer, 11)["beside"] == [["Held-out data: not computed yet."]]
    session.pause = 0
    explorer.settled(PATIENCE)
    assert session.asked[0] == ("conv1", 5, "held_out")
    assert set(session.asked) == absent
    assert explorer.status == "96/96 spectra · all known"
    rows = {name: values for name, *values in card(explorer)["beside"]}
    assert rows["λmax"] == [short(explorer.spectrum.largest), short(explorer.held_out.largest), "1.3"]
    assert rows["trace"][2] == "1.3"
    assert rows["C_t"][2] == "1"  # a ratio of ends does not change
    assert str(explorer.request) == (
        "session.spectrum('conv1', 'step-000016'), session.spectrum('conv1', 'step-000016', split='held_out')"
    )
    assert "over__y" in parts_of(explorer).spectrum._plot.frames
    assert repr(explorer).endswith("split='both')")


def test_held_out_alone_is_drawn_and_judged_as_such(made):
    class Judging(CannedSession):
        splits = ()

        def findings(self, *, split="data"):
            self.splits = (*self.splits, split)
            return super().findings(split=split)

    session = Judging(missing=set(), has_held_out=True)
    explorer = made(session, split="held_out")
    explorer.settled(PATIENCE)
    assert explorer.spectrum.split == "held_out"
    assert explorer.held_out is explorer.spectrum
    assert session.splits[-1] == "held_out"
    assert card(explorer)["title"].endswith("held-out data")
    assert card(explorer)["beside"] == []
    assert "held-out data" in json.loads(parts_of(explorer).spectrum_words.texts)[11]
    assert "on held-out data" in json.loads(parts_of(explorer).findings.texts)["words"]
    assert str(explorer.request) == "session.spectrum('conv1', 'step-001024', split='held_out')"
    explorer.split = "data"
    explorer.settled(PATIENCE)
    assert (explorer.spectrum.split, explorer.held_out) == ("data", None)
    assert session.splits[-1] == "data"


# ---- the end


def test_closing_leaves_nothing_behind():
    before, threads = set(WIDGETS), threading.active_count()
    for _ in range(3):
        explorer = Explorer(CannedSession(pause=0.01))
        explorer.close()
        explorer.close()
        assert repr(explorer) == "Explorer(closed)"
        assert explorer._repr_mimebundle_ is None  # the notebook then shows the repr
    until(lambda: threading.active_count() <= threads)  # some of an earlier test may end meanwhile
    assert set(WIDGETS) == before
    reference = weakref.ref(explorer)
    del explorer
    gc.collect()
    assert reference() is None


def test_a_closed_explorer_draws_and_computes_no_more():
    session = CannedSession(pause=0.02)
    explorer = Explorer(session)
    explorer.close()
    explorer.settled(PATIENCE)
    asked = len(session.asked)
    time.sleep(0.1)
    assert len(session.asked) == asked


def test_two_explorers_on_one_session_do_not_disturb_each_other(made):
    session = CannedSession()
    one, two = made(session), made(session, layer="head", snapshot=0)
    one.snapshot = 3
    two.view = "density"
    one.settled(PATIENCE)
    two.settled(PATIENCE)
    assert (one.layer, one.snapshot, one.view) == ("conv1", 3, "histogram")
    assert (two.layer, two.snapshot, two.view) == ("head", 0, "density")
    one.close()
    two.snapshot = 1
    two.settled(PATIENCE)
    assert card(two)["state"] == "known"


def test_running_a_cell_again_closes_what_it_made_before(monkeypatch):
    run = ["run-0"]
    monkeypatch.setattr("lhexplore.explorer.rerun._present_cell", lambda: ("cell-1", run[0]))
    before = set(WIDGETS)
    session, sizes = CannedSession(missing=set()), []
    for k in range(5):
        run[0] = f"run-{k}"
        both = [Explorer(session), Explorer(session, layer="head")]
        sizes.append(len(WIDGETS))
    assert len(set(sizes)) == 1
    assert [repr(explorer) == "Explorer(closed)" for explorer in both] == [False, False]
    for explorer in both:
        explorer.close()
    assert set(WIDGETS) == before
