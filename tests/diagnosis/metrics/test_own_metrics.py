"""Metrics of one's own: added in a few lines, refused with a reason, and never able to break a table."""

import inspect
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lhexplore import diagnosis
from lhexplore.diagnosis import METRICS, Metric, explain, metric, metric_error, metrics
from lhexplore.errors import SettingError

# Past the shape checker of the tests: what a person without one would get.
register_metric, register, unregister = (
    inspect.unwrap(getattr(diagnosis, name)) for name in ("register_metric", "register", "unregister")
)


@pytest.fixture(autouse=True)
def _own():
    before = dict(METRICS)
    yield
    METRICS.clear()
    METRICS.update(before)


def test_five_lines_are_enough(exact):
    @register_metric(needs=("positive", "no negative"))
    def top_share(spectrum):
        "Share of the trace that the largest eigenvalue carries."
        return spectrum.largest / spectrum.trace

    assert top_share(exact([1.0, 3.0])) == 0.75  # still the function
    assert metrics(exact([1.0, 3.0]))["top_share"] == metric("top_share", exact([1.0, 3.0])) == 0.75
    assert math.isnan(metric("top_share", exact([-1.0, 3.0])))
    assert "some" in explain("top_share", exact([-1.0, 3.0]))
    entry = METRICS["top_share"]
    assert (entry.meaning, entry.unit, entry.source) == (
        "Share of the trace that the largest eigenvalue carries.",
        "",
        "your own",
    )


def test_without_brackets_and_with_every_setting(exact, lanczos):
    @register_metric
    def width(s):
        return s.largest - s.smallest

    assert metric("width", exact([-1.0, 3.0])) == 4.0
    assert METRICS["width"].meaning.endswith(".")
    register_metric(
        name="twice", unit="loss / parameter²", meaning="Twice the trace.", source="notes", log=True,
        needs="curvature", error=lambda s: 2 * s.trace_stderr,
    )(lambda s: 2 * s.trace)  # fmt: skip
    entry = METRICS["twice"]
    assert (entry.unit, entry.meaning, entry.source, entry.log, entry.needs) == (
        "loss / parameter²", "Twice the trace.", "notes", True, ("curvature",)
    )  # fmt: skip
    guess = lanczos([[1.0, 2.0], [1.0, 3.0]], trace_stderr=5.0)
    assert metric_error("twice", guess) == 10.0
    assert math.isnan(metric_error("width", guess))  # states none
    assert metric_error("width", exact([1.0, 2.0])) == 0.0


BROKEN = {
    "raises": (lambda s: 1 / 0, "ZeroDivisionError: division by zero"),
    "raises without words": (lambda s: [].pop() if s.size > 99 else (_ for _ in ()).throw(KeyError()), "KeyError"),
    "text": (lambda s: "large", "must return one real number, got 'large' (str)"),
    "complex": (lambda s: 1j * s.trace, "complex"),
    "nothing": (lambda s: None, "NoneType"),
    "array": (lambda s: s.nodes, "ndarray"),
    "yes or no": (lambda s: True, "bool"),
    "wants an estimate": (lambda s: s.nothing_like_this, "AttributeError"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_metric_that_fails_is_nan_and_says_why(kind, exact):
    function, words = BROKEN[kind]
    register_metric(name="mine", meaning="Mine.")(function)
    s = exact([1.0, 2.0])
    found = metrics(s)
    assert math.isnan(found["mine"])
    assert found["trace"] == 3.0
    assert words in explain("mine", s)
    assert explain("mine", s).startswith("Mine. ")
    assert math.isnan(metric_error("mine", s))


def test_numbers_of_numpy_are_numbers(exact):
    for value in (np.float32(2.5), np.int64(2), np.array(2.5), np.array([1.5]).sum(), 3):
        register_metric(name="mine")(lambda s, value=value: value)
        assert metric("mine", exact([1.0])) == float(value)
        assert type(metric("mine", exact([1.0]))) is float


@pytest.mark.filterwarnings("error")
def test_division_by_zero_in_numpy_warns_nobody(exact):
    register_metric(name="mine")(lambda s: np.float64(1) / s.nodes[0])
    assert metric("mine", exact([0.0, 1.0])) == math.inf


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"name": "two words"}, "identifier"),
        ({"name": "<lambda>"}, "name="),
        ({"name": "trace"}, "built-in"),
        ({"name": "gradient_norm"}, "built-in"),
        ({"name": "drift"}, "built-in"),
        ({"name": "layer"}, "column"),
        ({"needs": ("positiv",)}, "positive"),
        ({"function": lambda: 0.0}, "one spectrum"),
        ({"function": lambda a, b: 0.0}, "one spectrum"),
        ({"function": 3.0}, "function of a spectrum"),
        ({"name": 3}, "name"),
        ({"unit": None}, "unit"),
        ({"meaning": 5}, "meaning"),
        ({"error": 0.1}, "error"),
    ],
)
def test_a_bad_registration_is_refused_and_leaves_nothing(bad, words):
    before = dict(METRICS)
    made = Metric("mine", lambda s: 0.0, "", "Nothing.", "me")
    for field, value in bad.items():
        object.__setattr__(made, field, value)
    with pytest.raises(SettingError, match=words):
        register(made)
    assert before == METRICS


def test_a_nameless_function_and_no_function_are_refused():
    with pytest.raises(SettingError, match="name="):
        register_metric(lambda s: 0.0)
    with pytest.raises(SettingError, match="function"):
        register_metric(3)


def test_registering_anew_changes_what_is_remembered(exact):
    s = exact([1.0, 3.0])
    register_metric(name="mine")(lambda s: s.largest)
    assert (metric("mine", s), metrics(s)["mine"]) == (3.0, 3.0)
    register_metric(name="mine")(lambda s: s.smallest)
    assert (metric("mine", s), metrics(s)["mine"]) == (1.0, 1.0)
    unregister("mine")
    assert "mine" not in metrics(s)
    for name in ("mine", "trace", 3):
        with pytest.raises(SettingError):
            unregister(name)


def test_a_value_is_formed_once_per_spectrum(exact):
    calls = []
    register_metric(name="mine")(lambda s: calls.append(s.size) or 1.0)
    s = exact([1.0, 3.0])
    for _ in range(3):
        metrics(s)
        metric("mine", s)
        explain("mine", s)
    assert calls == [2]
    metric("mine", exact([1.0, 3.0]))  # another value, though equal
    assert calls == [2, 2]


def test_spectra_are_not_kept_alive(exact):
    from lhexplore.diagnosis.remembered import _KNOWN

    s = exact([1.0, 3.0])
    metrics(s)
    assert s in _KNOWN
    count = len(_KNOWN)
    del s
    assert len(_KNOWN) == count - 1


def test_threads_may_ask_at_once(exact):
    spectra = [exact(np.random.default_rng(i).standard_normal(200)) for i in range(20)]
    for worker in range(3):
        register_metric(name=f"mine{worker}")(lambda s: -1.0)

    def work(worker):
        for i in range(100):
            register_metric(name=f"mine{worker}")(lambda s, i=i: float(i))
            assert metric(f"mine{worker}", spectra[i % 20]) == i
        return [metrics(s)["effective_rank"] for s in spectra]

    with ThreadPoolExecutor(3) as pool:
        first, *others = pool.map(work, range(3))
    assert others == [first, first]


def test_a_number_too_large_for_a_float_is_undefined_and_says_so(exact):
    register_metric(name="huge")(lambda s: 10**5000)  # more digits than Python prints, too
    assert math.isnan(metrics(exact([1.0]))["huge"])
    assert math.isnan(metric("huge", exact([1.0])))
    assert "too large for a float" in explain("huge", exact([1.0]))


@pytest.mark.parametrize("error", [lambda s: 1 / 0, lambda s: "no", lambda s: None, lambda s: 10**400, lambda s: -1.0])
def test_an_error_that_is_none_is_not_told(error, exact):
    register_metric(name="one", error=error)(lambda s: 1.0)
    assert math.isnan(metric_error("one", exact([1.0])))


def test_an_error_of_ones_own_is_told(exact):
    register_metric(name="one", error=lambda s: np.float64(0.25))(lambda s: 1.0)
    assert metric_error("one", exact([1.0])) == 0.25


def test_infinity_of_ones_own_is_not_explained_by_a_division(exact):
    register_metric(name="endless")(lambda s: math.inf)
    assert explain("endless", exact([1.0])).endswith("It is infinite: so its function says.")


@pytest.mark.parametrize("needs", [5, None, [["positive"]], [5], {"positive": 1}.values()])
def test_needs_of_another_kind_are_refused(needs):
    with pytest.raises(SettingError, match="needs of metric 'odd'"):
        register_metric(name="odd", needs=needs)(lambda s: 1.0)
    assert "odd" not in METRICS


def test_whoever_listens_hears_of_metrics_that_come_and_go():
    heard = []
    forget = diagnosis.on_registered(lambda: heard.append(sorted(METRICS.keys() & {"mine"})))
    try:
        register_metric(lambda s: 1.0, name="mine")
        register_metric(lambda s: 2.0, name="mine")
        unregister("mine")
        assert heard == [["mine"], ["mine"], []]
        with pytest.raises(SettingError):
            register_metric(lambda s: 1.0, name="trace")
    finally:
        forget()
    forget()
    register_metric(lambda s: 1.0, name="mine")
    assert len(heard) == 3
