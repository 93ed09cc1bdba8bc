"""What is no spectrum, no list of them or no number is refused by name."""

import inspect
import math

import numpy as np
import pytest

from lhexplore import diagnosis
from lhexplore.diagnosis import METRICS, Thresholds, register
from lhexplore.errors import SettingError


def unchecked(name):
    """The function past the shape checker of the tests: what a person without one would get."""
    return inspect.unwrap(getattr(diagnosis, name))


hesd, diagnose = unchecked("hesd"), unchecked("diagnose")
NO_SPECTRUM = [None, 5, [1.0, 2.0], "x", np.ones(3)]


@pytest.mark.parametrize("value", NO_SPECTRUM, ids=repr)
@pytest.mark.parametrize("name", ["hesd", "metrics", "diagnose"])
def test_what_is_no_spectrum_is_refused(name, value):
    with pytest.raises(SettingError, match="spectrum must be a Spectrum"):
        unchecked(name)(value)


@pytest.mark.parametrize("value", NO_SPECTRUM, ids=repr)
def test_functions_of_a_name_or_two_spectra_refuse_them_too(value, exact):
    for name in ("metric", "explain"):
        with pytest.raises(SettingError, match="must be a Spectrum"):
            unchecked(name)("trace", value)
    for pair in ((value, exact([1.0])), (exact([1.0]), value)):
        with pytest.raises(SettingError, match=r"(before|after) must be a Spectrum"):
            unchecked("drift")(*pair)
    with pytest.raises(SettingError, match=r"what hesd\(\) returns"):
        unchecked("compare_kh")(value, value)


@pytest.mark.parametrize("value", [5, "x", None, [5], [None], {1: 2}], ids=repr)
@pytest.mark.parametrize(("function", "name"), [(hesd, "history"), (diagnose, "history"), (diagnose, "peers")])
def test_a_list_of_spectra_is_one(function, name, value, exact):
    with pytest.raises(SettingError, match=rf"{name}(\[0\])? must be a"):
        function(exact([1.0]), **{name: value})
    with pytest.raises(SettingError, match=r"put it into a list"):
        function(exact([1.0]), **{name: exact([1.0])})
    assert function(exact([1.0]), **{name: [exact([2.0], snapshot="0", layer="fc1")]})


SENSELESS = {
    "band": ["x", -1.0, math.nan, [1.0], True],
    "floor": ["x", -1.0, math.nan, None],
    "exponent": [None, 0, 1, 1.5, -0.5, math.nan, "x"],
    "held_out": [5, "x", [1.0]],
    "train_loss": ["x", [1.0]],
    "small_loss": ["x", None, -1.0],
    "collapse": ["x", None, math.nan],
}


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in SENSELESS.items() for value in values])
def test_senseless_settings_of_hesd_are_refused(name, value, exact):
    with pytest.raises(SettingError, match=f"{name} must be"):
        hesd(exact([-1.0, 4.0]), **{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("losses", None), ("losses", [1.0]), ("losses", {"loss": "x"}), ("past_losses", 5), ("past_losses", [1.0]),
        ("gradient_norms", 5), ("gradient_norms", ["x"]), ("thresholds", {"high": 2}), ("thresholds", None),
        ("held_out", 5),
    ],
)  # fmt: skip
def test_senseless_settings_of_diagnose_are_refused(name, value, exact):
    with pytest.raises(SettingError, match=rf"{name}(\[0\])? must be"):
        diagnose(exact([1.0]), **{name: value})


def test_numbers_of_numpy_and_losses_that_diverged_are_fine(exact):
    s = exact([-1.0, 4.0])
    assert (
        hesd(s, band=np.float32(0.5), floor=np.float32(0), exponent=np.float32(0.5), train_loss=math.nan).type == "MP"
    )
    assert diagnose(s, losses={"loss": math.nan, "acc": 1}, gradient_norms=np.ones(1)).hesd.type == "MP"


@pytest.mark.parametrize("bad", [None, 5, "trace"])
def test_what_is_no_metric_is_not_registered(bad):
    before = dict(METRICS)
    with pytest.raises(SettingError, match="Expected a Metric"):
        inspect.unwrap(register)(bad)
    assert before == METRICS


@pytest.mark.parametrize("bad", ["x", None, [1.0]])
def test_thresholds_are_numbers(bad):
    thresholds = object.__new__(Thresholds)
    with pytest.raises(SettingError, match="Threshold condition must be"):
        inspect.unwrap(Thresholds.__init__)(thresholds, condition=bad)
