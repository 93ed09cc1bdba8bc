"""On random networks whose spectra are known: C_t is near, its interval covers, and a type is never wrongly certain.

Forty smaller networks made as the three hundred of benchmarks/hesd_coverage.py, which runs here as a person runs it.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "benchmarks" / "hesd_coverage.py"
NETWORKS, MOST = 40, 200  # parameters: to be quick
ENOUGH = 0.95  # of the cases an interval must cover
NEARLY_ALL = 0.97  # a few |C_t| are so small that 100 steps do not give two digits of them


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    """By kind of block, steps and start vectors."""
    results = tmp_path_factory.mktemp("coverage") / "results.json"
    asked = ["--networks", str(NETWORKS), "--most", str(MOST), "--results", str(results)]
    subprocess.run([sys.executable, str(SCRIPT), *asked], check=True, capture_output=True)
    return {(r["blocks"], r["steps"], r["probes"]): r for r in json.loads(results.read_text())["rows"]}


def test_the_networks_lie_on_both_sides_of_the_limit(rows):
    whole, layers = rows["whole networks", 100, 5], rows["layers", 100, 5]
    assert whole["cases"] == NETWORKS
    assert layers["cases"] > NETWORKS
    for row in (whole, layers):
        assert 0 < row["mainly_negative"] < row["cases"]


def test_ct_is_within_one_percent_at_the_defaults(rows):
    for blocks in ("whole networks", "layers"):
        assert rows[blocks, 100, 5]["within_1_percent"] >= NEARLY_ALL


def test_intervals_cover_and_no_certain_type_is_wrong(rows):
    assert len(rows) == 12
    for row in rows.values():
        assert row["covered"] >= ENOUGH
        assert row["wrong"] == 0


def test_intervals_say_something(rows):
    assert rows["whole networks", 100, 5]["width_median"] < 1e-9  # most are known to rounding
    few = rows["whole networks", 10, 1]
    assert few["width_median"] < 0.2  # after ten steps from one start still within the first digit
    assert few["undecided"] < 0.15 * NETWORKS
