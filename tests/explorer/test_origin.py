"""Provenance: settings and digests, as far as a spectrum says them."""

import json
from dataclasses import replace

from canned import CannedSession, spectrum

from lhexplore import views
from lhexplore.explorer.origin import UNKNOWN, origin_rows, origin_words

SAID = {
    "seed": 3,
    "dtype": "float64",
    "device": "cpu",
    "examples": 256,
    "mode": "eval",
    "loss": "CrossEntropyLoss",
    "snapshot_digest": "0992c57418514e758828",
    "data_digest": "bd60cc0281f1a7dcee37",
    "loss_digest": "5ff0b7937b3604ede988",
}


def signed(**other):
    return replace(spectrum("conv1", 2, "step-000002"), **{"provenance": SAID, **other})


def test_settings_and_digests_are_said():
    assert origin_words(signed()) == (
        "Settings: Hessian of CrossEntropyLoss on training data, method dense, 256 examples, mode eval, float64, cpu, "
        "seed 3. Digests: weights 0992c5741851, data bd60cc0281f1, loss 5ff0b7937b36."
    )


def test_held_out_data_the_other_matrix_and_a_local_functional_are_told_apart():
    words = origin_words(signed(curvature="ggn", split="held_out", functional="sum"))
    assert words.startswith("Settings: Gauss–Newton matrix of sum on held-out data")


def test_what_is_not_said_is_left_out():
    assert origin_words(None) == UNKNOWN
    assert origin_words(signed(provenance={})) == "Settings: Hessian of the loss on training data, method dense."


def test_the_table_holds_all_of_it():
    rows = dict(origin_rows(signed()))
    assert rows["snapshot_digest"] == SAID["snapshot_digest"]
    assert rows["method"].startswith("dense")


def test_a_name_of_a_loss_cannot_turn_the_line_around():
    assert "\u202e" not in origin_words(signed(provenance={"loss": "x\u202ey"}))


def test_the_view_says_them_at_the_snapshot_on_show_once_they_are_known():
    session = CannedSession()
    code = views.Provenance(session, layer="conv1", snapshot=2)
    assert json.loads(code.origin.texts)[2] == UNKNOWN
    plot = views.SpectrumPlot(session)
    plot.settled(60)
    assert json.loads(code.origin.texts)[2].endswith("seed 0.")
    assert ("seed", "0") in code.twin().table.rows
    plot.close()
    code.close()
