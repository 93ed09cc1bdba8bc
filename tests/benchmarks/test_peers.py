"""The pure parts of the comparison with other tools, and its exact reference; no other tool is needed."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks" / "peers"
OWN = ("measures", "layerwise", "reference", "problem", "models", "report", "tools")
ROUNDING = 1e-12  # float64, a hundred parameters
FIXED = 0.25  # seconds of a clock that tests turn by hand


@pytest.fixture(scope="module", autouse=True)
def reachable():
    """The benchmark is a folder of scripts: known while these tests run, and forgotten afterwards."""
    sys.path.insert(0, str(FOLDER))
    yield
    sys.path.remove(str(FOLDER))
    if str(FOLDER.parent) in sys.path:  # problem.py adds it
        sys.path.remove(str(FOLDER.parent))
    for name in [name for name in sys.modules if name.split(".")[0] in OWN]:
        del sys.modules[name]


@pytest.fixture
def clock(monkeypatch):
    """Time that passes only when told."""
    import layerwise

    now = [0.0]
    monkeypatch.setattr(layerwise.time, "perf_counter", lambda: now[0])
    return now


def test_the_distance_of_equal_spectra_is_zero_and_a_shift_is_its_share_of_the_range():
    from measures import distance

    exact = [0.0, 1.0, 4.0]
    assert distance([0, 1, 4], [1 / 3] * 3, exact) == pytest.approx(0, abs=ROUNDING)
    assert distance([0.4, 1.4, 4.4], [1 / 3] * 3, exact) == pytest.approx(0.1)
    assert distance([2.0], [1.0], [2.0, 2.0]) == 0


def test_errors_of_the_ends_are_relative_to_the_largest_magnitude():
    from measures import invented, largest_error

    assert largest_error([0.5, 3.0], [-4.0, 2.0]) == pytest.approx(0.25)
    assert invented([-5.0, 2.0], [-4.0, 2.0]) == pytest.approx(0.25)
    assert invented([-1.0, 2.0], [-4.0, 2.0]) == 0


def test_traces_that_cancel_are_judged_against_the_sum_of_magnitudes():
    from measures import trace_error

    assert trace_error(0.4, [-1.0, 1.0]) == pytest.approx(0.2)


def test_a_value_listed_twice_shifts_all_that_follow():
    from measures import top_errors

    assert top_errors([4.0, -2.0], [-2.0, 4.0]) == [0, 0]
    assert top_errors([4.0, 4.0, -2.0], [4.0, -2.0, 1.0]) == [0, 3, 3]


def test_only_products_are_scaled_up():
    from measures import extrapolated

    assert extrapolated(2.0, 0.5, sample=5, full=100) == pytest.approx(12)
    with pytest.raises(ValueError, match="sample of 8"):
        extrapolated(0, 1, sample=8, full=4)


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0042, "4.2 ms"), (0.42, "0.42 s"), (12.3, "12.3 s"), (90, "90 s"), (204, "3.4 min"), (7300, "2 h")],
)
def test_times_are_told_in_their_unit(seconds, shown):
    from measures import human

    assert human(seconds) == shown


def test_columns_line_up():
    from measures import columns

    assert columns([["a", "long"], ["word", "1"]]) == "a     long\nword     1"


def run_layers(clock, *, budget, stops_at=None):
    """Three layers of 1, 2 and 3 quarter seconds a product, a quarter second to set up, 100 products each."""
    from layerwise import layer_by_layer

    price = {"late": 1, "middle": 2, "early": 3}

    def start(layer):
        clock[0] += FIXED
        return layer

    def work(layer, products):
        used = min(products, stops_at or products)
        clock[0] += used * price[layer] * FIXED
        return f"{layer} {used}", used

    return layer_by_layer(["early", "middle", "late"], start=start, work=work, full=lambda _: 100, budget=budget)


def test_with_time_enough_every_layer_is_run_in_full(clock):
    run = run_layers(clock, budget=math.inf)
    assert run.results == {layer: f"{layer} 100" for layer in ("late", "middle", "early")}
    assert run.seconds == pytest.approx(FIXED * (3 + 600))
    assert (run.products, run.measured) == (300, "")


def test_beyond_the_budget_the_same_time_is_computed_from_a_few_products(clock):
    part, whole = run_layers(clock, budget=30.0), run_layers(clock, budget=math.inf)
    assert part.results == {"late": "late 100"}
    assert part.seconds == pytest.approx(whole.seconds)
    assert part.products == whole.products
    assert part.measured == "1 of 3 layers in full, 4 products of the others"


def test_a_rule_to_stop_is_expected_to_stop_as_early_elsewhere(clock):
    run = run_layers(clock, budget=30.0, stops_at=20)
    assert run.results == {"late": "late 20"}
    assert run.products == pytest.approx(60)
    assert run.seconds == pytest.approx(FIXED * (3 + 20 * 6))


def small_problem(activation: nn.Module):
    from problem import Problem

    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), activation, nn.Linear(5, 3)).double()
    x = torch.randn(7, 6, generator=generator, dtype=torch.float64)
    x[:, 3:] = x[:, :3] @ torch.randn(3, 3, generator=generator, dtype=torch.float64)  # inputs span three directions
    y = torch.randint(0, 3, (7,), generator=generator)
    layers = {"0": ("0.weight", "0.bias"), "2": ("2.weight", "2.bias")}
    return Problem("small", model, x, y, nn.CrossEntropyLoss(), layers, isinstance(activation, nn.ReLU))


@pytest.mark.parametrize("piece", [10**9, 8 * 21 * 4])
def test_the_reference_of_a_relu_network_is_what_two_backward_passes_give(monkeypatch, piece):
    import reference

    monkeypatch.setattr(reference, "PIECE", piece)  # all columns at once, or four
    problem = small_problem(nn.ReLU())
    found = reference.factor_spectra(problem)
    for layer in problem.layers:
        np.testing.assert_allclose(found[layer], reference.dense_spectrum(problem, layer), atol=ROUNDING)


def test_a_first_layer_is_known_from_the_span_of_its_inputs():
    import reference

    problem = small_problem(nn.Tanh())
    assert reference.first_layer(problem) == "0"
    found = reference.spanned_spectrum(problem, "0")
    np.testing.assert_allclose(found, reference.dense_spectrum(problem, "0"), atol=ROUNDING)


def test_the_largest_eigenvalues_are_those_of_the_whole_matrix():
    import reference

    problem = small_problem(nn.Tanh())
    whole = torch.autograd.functional.hessian(  # two backward passes
        lambda *p: problem.criterion(
            torch.func.functional_call(problem.model, dict(zip(problem.parameters, p, strict=True)), (problem.x,)),
            problem.y,
        ),
        tuple(p.detach() for p in problem.parameters.values()),
    )
    sizes = [p.numel() for p in problem.parameters.values()]
    rows = [[b.reshape(m, n) for b, n in zip(row, sizes, strict=True)] for row, m in zip(whole, sizes, strict=True)]
    matrix = torch.cat([torch.cat(row, 1) for row in rows])
    values = sorted(torch.linalg.eigvalsh(matrix).tolist(), key=abs, reverse=True)[:4]
    np.testing.assert_allclose(reference.top_values(problem, 4), values, rtol=1e-7)  # ARPACK's tolerance is 1e-8


def test_the_fastest_peer_counts_and_failures_do_not():
    from report import ratios

    def cell(tool, seconds, status="measured", peak=10.0):
        return {
            "task": "layers",
            "model": "relu",
            "tool": tool,
            "status": status,
            "seconds": seconds,
            "peak_bytes": peak,
        }

    cells = [
        cell("lhexplore", 2.0, peak=5.0),
        cell("curvlinops", 60.0),
        cell("pyhessian", 20.0, "extrapolated", 20.0),
        {"task": "layers", "model": "relu", "tool": "vivit", "status": "raises", "message": "gone"},
    ]
    (row,) = ratios(cells)
    assert (row["peer"], row["faster"], row["memory"], row["extrapolated"]) == ("pyhessian", 10.0, 0.5, True)


def test_a_table_shows_failures_with_their_reason():
    from report import table

    cells = [
        {"task": "top", "model": "relu", "tool": "vivit", "status": "cannot", "message": "has no call for it"},
        {
            "task": "top", "model": "relu", "tool": "lhexplore", "status": "measured", "seconds": 3.0, "products": 50.0,
            "gradient_seconds": 0.01, "peak_bytes": 2e6, "errors": {"count": 2, "top_median": 1e-6, "top_worst": 2e-6},
            "measured": "", "notes": [],
        },
    ]  # fmt: skip
    text = table(cells, "top")
    assert "cannot: has no call for it" in text
    assert "3 s" in text
    assert "300" in text
