"""The study of the rules: its counting, its truths, its split, and a dozen of its runs from start to end."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"
ROUNDING = 1e-12  # of ranks, in float64
PERFECT = 1.0


@pytest.fixture(scope="module", autouse=True)
def reachable():
    """The benchmark is a folder of scripts: known while these tests run, and forgotten afterwards."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    for name in [name for name in sys.modules if name.split(".")[0] == "study"]:
        del sys.modules[name]


def answers(*rows):
    from study.statistics import Answer

    return [Answer(dataset, said, true) for dataset, said, true in rows]


def test_no_data_set_is_in_both_halves_and_the_halves_are_of_a_size():
    from study.datasets import DEVELOPMENT, SET_ASIDE

    assert not set(DEVELOPMENT) & set(SET_ASIDE)
    assert len(DEVELOPMENT) == len(SET_ASIDE) == 9


def test_there_are_more_than_two_hundred_runs_and_each_has_a_name_of_its_own():
    from study.datasets import DEVELOPMENT, SET_ASIDE
    from study.runs import STATES, plan

    runs = [run for name in DEVELOPMENT + SET_ASIDE for run in plan(name)]
    assert len(runs) > 200
    assert len({run.name for run in runs}) == len(runs)
    assert {run.state for run in runs} == set(STATES)
    names = {run.name for run in runs}
    assert all(run.reference in names for run in runs if run.reference)


def test_the_same_seed_gives_the_same_data_and_noise_changes_labels_only():
    from study.datasets import load

    clean, again, noisy = load("iris", seed=3), load("iris", seed=3), load("iris", seed=3, noise=1.0)
    np.testing.assert_array_equal(clean.train.x, again.train.x)
    np.testing.assert_array_equal(clean.train.x, noisy.train.x)
    agree = np.mean(clean.train.y == noisy.train.y)
    assert agree < 0.6  # a third by chance, of 60
    assert len(clean.train.x) + len(clean.held_out.x) + len(clean.test.x) == 150


def test_counts_are_those_of_a_confusion_matrix():
    from study.statistics import count

    found = count(answers(*[("a", True, True)] * 3, ("a", True, False), *[("b", False, True)] * 2, ("b", False, False)))
    assert (found.hits, found.false, found.missed, found.quiet) == (3, 1, 2, 1)
    assert (found.precision, found.recall, found.alarms) == (0.75, 0.6, 0.5)


def test_precision_of_a_rule_that_never_speaks_is_unknown():
    from study.statistics import count

    assert math.isnan(count(answers(("a", False, True))).precision)


def test_an_interval_draws_whole_data_sets():
    from study.statistics import count, interval

    alike = answers(*[(name, True, name != "b") for name in "abcd" for _ in range(10)])
    low, high = interval(alike, lambda a: a.dataset, lambda some: count(some).precision)
    assert {low, high} <= {0.25, 0.5, 0.75, 1.0}  # ten runs of a data set count as one
    assert low <= 0.75 <= high
    assert interval(alike[:10], lambda a: a.dataset, lambda some: count(some).precision) == (1, 1)


def test_rank_correlation_is_scipys():
    from study.statistics import spearman

    rng = np.random.default_rng(0)
    x, y = rng.integers(5, size=40).astype(float), rng.normal(size=40)
    expected = stats.spearmanr(x, y).statistic
    assert spearman(list(zip(x, y, strict=True))) == pytest.approx(expected, abs=ROUNDING)
    assert spearman([(1, 1), (2, 4), (3, 9), (math.nan, 1)]) == pytest.approx(PERFECT, abs=ROUNDING)
    assert math.isnan(spearman([(1, 1), (1, 2), (1, 3)]))


def test_a_planted_layer_is_idle_by_what_is_measured():
    import torch
    from study.datasets import load
    from study.measuring import idleness
    from study.networks import Perceptron, Shape
    from study.training import tensors

    parts = load("iris", seed=0)
    torch.manual_seed(0)
    dead = Perceptron(4, 3, Shape((20, 20), "relu", plant="dead", at=0)).double()
    found = idleness(dead, tensors(parts)[""], parts)
    assert found["units"]["linear.0"] >= 0.95
    assert found["inputs"]["linear.1"] == found["units"]["linear.0"]
    gate = Perceptron(4, 3, Shape((8, 8), "tanh", plant="gate", at=1, gate=0.0)).double()
    found = idleness(gate, tensors(parts)[""], parts)
    assert found["gradient"]["side"] == 0
    assert max(found["gradient"].values()) == 1


def test_a_dozen_runs_from_start_to_end():
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / "diagnosis.py"), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=True)
    assert "12 trainings" in done.stderr
    for heading in ("## Rules", "## False alarms", "## HESD types", "## Metrics"):
        assert heading in done.stdout
    assert re.search(r"\| D4 dead or underused layer \(layers\) \| [1-9]", done.stdout)


def results():
    return json.loads((FOLDER / "results" / "diagnosis.json").read_text())


def test_page_and_records_are_those_of_the_results():
    from study.page import page, record

    from lhexplore.diagnosis.rules.records import RECORDS

    found = results()
    assert (ROOT / "docs" / "diagnosis_study.md").read_text() == page(found)
    assert {rule: record(rule, row) for rule, row in found["set_aside"]["rules"].items()} == RECORDS


def test_the_kept_results_are_those_of_all_runs():
    from study.datasets import DEVELOPMENT, SET_ASIDE
    from study.runs import plan

    found = results()
    for half, names in (("development", DEVELOPMENT), ("set_aside", SET_ASIDE)):
        assert found[half]["runs"] == sum(len(list(plan(name))) for name in names)
        assert found[half]["datasets"] == sorted(names)


def test_a_training_is_repeated_bit_by_bit_and_kept_as_it_is(tmp_path):
    from study.bundle import load, save
    from study.measuring import record
    from study.runs import plan

    run = next(run for run in plan("iris") if run.name == "iris-healthy-relu-0")
    first, second = record(run), record(run)
    save(first, tmp_path / "kept.zip")
    kept = load(tmp_path / "kept.zip")
    assert kept.run == run
    assert kept.truths == first.truths == second.truths
    assert kept.course.losses == first.course.losses
    for cell, spectrum in first.course.spectra.items():
        for other in (second, kept):
            np.testing.assert_array_equal(spectrum.nodes, other.course.spectra[cell].nodes)
