"""`digits()`: a ready session, the same run found again, nothing global touched, bad input refused."""

import subprocess
import sys

import pytest
import torch

from lhexplore import Session
from lhexplore.demo import digits, ready
from lhexplore.errors import LhexploreError, SettingError, StoreError, UnsupportedError


def weights(session):
    return session.snapshots[-1].digest


def test_the_session_is_ready(small_run):
    with digits(**small_run) as session:
        assert isinstance(session, Session)
        assert [layer.name for layer in session.layers] == ["conv1", "conv2", "fc1", "fc2"]
        assert [layer.status for layer in session.layers] == ["ok"] * 4
        assert [snapshot.step for snapshot in session.snapshots] == [0, 1, 2, 4]
        assert set(session.losses(-1)) >= {"loss", "held_out_loss", "accuracy", "held_out_accuracy"}
        spectrum = session.spectrum("fc2")
        assert spectrum.exact
        assert spectrum.size == 330
        held_out = session.spectrum("fc2", split="held_out")
        assert held_out.largest != spectrum.largest


def test_a_hidden_layer_curves_both_ways(small_run):
    with digits(**small_run) as session:
        spectrum = session.spectrum("conv1", 0)
        assert spectrum.smallest < -10 * spectrum.error
        assert not spectrum.psd


def test_the_second_call_trains_nothing(small_run, monkeypatch):
    def fail(*arguments, **settings):
        raise AssertionError("trained again")

    monkeypatch.setattr(ready, "train", fail)
    digits(**small_run).close()


def test_the_same_seed_gives_the_same_weights(small_run, tmp_path):
    with digits(**small_run) as one, digits(**{**small_run, "snapshots_folder": tmp_path / "again"}) as two:
        assert [s.digest for s in one.snapshots] == [s.digest for s in two.snapshots]


def test_another_seed_gives_other_weights(small_run, tmp_path):
    with digits(**small_run) as one, digits(**{**small_run, "snapshots_folder": tmp_path / "b", "seed": 1}) as two:
        assert weights(one) != weights(two)


def test_nothing_global_is_touched(tmp_path):
    code = f"""
import random, sys, numpy, torch
from lhexplore.demo import digits
torch.set_num_threads(2)
def state():
    legacy = numpy.random.get_state()[1].tolist()
    modes = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    return torch.get_rng_state().tolist(), legacy, random.getstate(), torch.get_num_threads(), modes
before = state()
digits(steps=1, samples=8, snapshots_folder={str(tmp_path / "run")!r}, cache=False).close()
sys.exit(state() != before)
"""
    subprocess.run([sys.executable, "-c", code], check=True)  # fresh: first imports can draw random numbers too


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_under_the_callers_modes(mode, small_run, tmp_path):
    with mode():
        session = digits(**{**small_run, "snapshots_folder": tmp_path / "run"})
    with session, digits(**small_run) as reference:
        assert weights(session) == weights(reference)
        assert session.spectrum("fc2").trace == reference.spectrum("fc2").trace


def test_without_a_cache_nothing_stays(monkeypatch, tmp_path):
    monkeypatch.setenv("LHEXPLORE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(ready.tempfile, "tempdir", str(tmp_path))
    session = digits(model="dense", steps=1, samples=8, cache=False)
    assert [path.name.startswith("lhexplore-") for path in tmp_path.iterdir()] == [True]
    session.close()
    del session
    assert list(tmp_path.iterdir()) == []


def test_the_default_folder_follows_the_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("LHEXPLORE_CACHE", str(tmp_path))
    digits(model="dense", steps=1, samples=8).close()
    (run,) = (tmp_path / "demo").iterdir()
    assert run.name.startswith("digits-dense-")


def test_a_run_cut_short_leaves_nothing_behind(monkeypatch, tmp_path):
    def cut_short(network, data, held_out, folder, **settings):
        (folder / "half").write_text("half")
        raise KeyboardInterrupt

    monkeypatch.setattr(ready, "train", cut_short)
    with pytest.raises(KeyboardInterrupt):
        digits(steps=1, snapshots_folder=tmp_path / "run", cache=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"model": "transformer"}, "'conv', 'dense'"), ({"steps": 0}, "from 1 up"), ({"steps": 2.5}, "from 1 up")],
)
def test_settings_without_sense_are_refused(settings, words):
    with pytest.raises(SettingError, match=words):
        digits(**settings)


def test_a_folder_with_another_run_is_left_alone(small_run):
    with pytest.raises(SettingError, match="holds another run already"):
        digits(**{**small_run, "seed": 7})
    digits(**small_run).close()  # still there


def test_a_folder_with_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(SettingError, match="holds something else already"):
        digits(steps=1, snapshots_folder=tmp_path)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_damaged_card_is_an_error_of_the_tree(small_run, tmp_path):
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(LhexploreError, match="cannot be read"):
        digits(steps=1, snapshots_folder=tmp_path)


def test_a_folder_that_cannot_be_made_says_what_to_do(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="snapshots_folder="):
        digits(steps=1, snapshots_folder=tmp_path / "file" / "run")


def test_without_scikit_learn_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UnsupportedError, match=r"pip install 'lhexplore\[demo\]'"):
        digits()
