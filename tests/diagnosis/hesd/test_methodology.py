"""The seven steps on spectra whose verdicts are known by hand."""

import inspect
import math

import pytest

from lhexplore.diagnosis.hesd.causes import Context
from lhexplore.diagnosis.hesd.methodology import methodology
from lhexplore.diagnosis.hesd.stages import absolute
from lhexplore.diagnosis.thresholds import Thresholds
from lhexplore.errors import ComparisonError, SettingError

STEPS = (
    "Data and mode",
    "Spectrum",
    "Criteria",
    "Gate",
    "Quasi-singular flag",
    "Absolute reading",
    "Compare next",
)
KNOWN = {"examples": 2000, "mode": "eval"}


def test_a_healthy_network_passes_every_step(exact):
    read = methodology(exact([-0.2, 1, 4], layer=None, provenance=KNOWN))
    assert tuple(stage.name for stage in read.stages) == STEPS
    assert [stage.verdict for stage in read.stages] == [
        "fine",
        "fine",
        "computed",
        "pass",
        "not known",
        "good",
        "go on",
    ]
    assert read.causes == ()
    assert read["Criteria"].value == "C_t = −0.05, K_H = 0.149 (exact, n = 0.5)"
    assert "λmax = 4, λmin = −0.2" in read["Criteria"].text
    assert "trace = 4.8" in read["Criteria"].text
    assert "prove nothing" in read["Absolute reading"].text
    assert {stage.name for stage in read.stages if stage.heuristic} == {"Quasi-singular flag", "Absolute reading"}


def test_a_negative_type_stops_and_names_the_causes(exact):
    read = methodology(exact([-2, 1], layer=None), losses={"loss": 2.3}, past_losses=[{"loss": 2.3}])
    assert read["Gate"].verdict == "stop"
    assert read["Gate"].text.startswith("Criteria not applicable.")
    assert read["Absolute reading"].verdict == "left out"
    assert read["Compare next"].verdict == "stop"
    assert len(read.causes) == 8
    assert (read.causes[0].name, read.causes[0].verdict) == ("an untrained network", "likely")
    page, text = read._repr_html_(), repr(read)
    for cause in read.causes:
        assert cause.name in page
        assert str(cause) in text
    assert all(str(cause) not in read["Gate"].text for cause in read.causes)  # they stand once


def test_undecided_says_why_and_goes_no_further(lanczos):
    read = methodology(lanczos([[-0.59, 1.0]] * 3, residuals=[[0.02, 0.0]] * 3))
    assert read["Gate"].verdict == "undecided"
    assert "More steps or probes" in read["Gate"].text
    assert read["Absolute reading"].verdict == "left out"
    assert read["Compare next"].verdict == "stop"
    assert read.causes == ()


def test_a_flat_block_has_no_criteria(exact):
    read = methodology(exact([0, 0, 0]))
    assert (read["Criteria"].verdict, read["Gate"].verdict) == ("undefined", "undecided")
    assert "exactly zero" in read["Gate"].text


def test_structure_is_not_read_as_health(exact):
    read = methodology(exact([0, 1, 2], psd=True))
    gate = read["Gate"]
    assert (gate.verdict, gate.source) == ("not informative", "lhexplore")
    assert "may be read" not in gate.text
    assert "not to be read" in gate.text
    assert read["Absolute reading"].verdict == "left out"
    assert read["Compare next"].value == "whole network"


def test_one_parameter(exact):
    assert methodology(exact([3.0]))["Gate"].verdict == "pass"
    assert methodology(exact([-3.0]))["Gate"].verdict == "stop"


def test_a_layer_is_marked_as_an_extension(exact):
    assert "lhexplore's extension" in methodology(exact([-1, 4]))["Gate"].text
    assert "extension" not in methodology(exact([-1, 4], layer=None))["Gate"].text


@pytest.mark.parametrize(
    ("examples", "mode", "whole", "verdict"),
    [
        (1024, "eval", None, "fine"),
        (1023, "eval", None, "mind"),
        (1023, "eval", True, "fine"),
        (None, "eval", None, "mind"),
        (2000, "train-frozen", None, "mind"),
        (2000, None, None, "mind"),
    ],
)
def test_data_and_mode(exact, examples, mode, whole, verdict):
    known = {name: value for name, value in (("examples", examples), ("mode", mode)) if value is not None}
    stage = methodology(exact([-1, 4], provenance=known), context=Context(whole_data=whole))["Data and mode"]
    assert stage.verdict == verdict


def test_what_is_ours_is_not_called_the_authors(exact, lanczos):
    def source(spectrum, stage):
        return methodology(spectrum)[stage].source

    assert source(lanczos([[-1, 4]] * 3), "Spectrum") == "authors' code"
    assert source(lanczos([[-1, 4]] * 3, steps=50), "Spectrum") == "authors' code"  # the 100 is theirs
    for ours in (exact([-1, 4]), lanczos([[-1, 4]]), lanczos([[-1, 4]] * 3, symmetry_defect=0.06)):
        assert source(ours, "Spectrum") == "lhexplore"
    assert [source(exact([-1, 4]), name) for name in ("Criteria", "Gate")] == ["authors' code"] * 2
    assert [source(exact([0, 0]), name) for name in ("Criteria", "Gate")] == ["lhexplore"] * 2
    assert source(exact([-2, 1]), "Gate") == "authors' code"
    following = methodology(exact([-1, 4]))["Compare next"]
    assert following.source == "lhexplore"
    assert "as lhexplore adds, the rank correlation" in following.text


def test_how_it_was_computed(lanczos):
    assert methodology(lanczos([[-1, 4]] * 3))["Spectrum"].verdict == "fine"
    for odd in ({"steps": 50}, {"complete": False}, {"symmetry_defect": 0.06}):
        assert methodology(lanczos([[-1, 4]] * 3, **odd))["Spectrum"].verdict == "mind"
    preview = methodology(lanczos([[-1, 4]] * 2))["Spectrum"]
    assert (preview.verdict, preview.value) == ("mind", "lanczos, m = 100, 2 start vectors")


@pytest.mark.parametrize(("probes", "said"), [(1, True), (4, True), (5, False)])
def test_few_start_vectors_may_miss_what_lives_on_few_parameters(lanczos, probes, said):
    read = methodology(lanczos([[-1, 4]] * probes))
    assert ("lives on few parameters" in read["Spectrum"].text) == said
    assert any("lives on few parameters" in reason for reason in read.hesd.reasons) == said
    assert "lives on few parameters" not in read["Gate"].text  # it stands once


def test_an_exact_spectrum_misses_nothing(exact):
    read = methodology(exact([-1, 4]))
    assert "few parameters" not in " ".join([read["Spectrum"].text, *read.hesd.reasons])


def test_the_flag_beside_an_unchanged_type(exact):
    past = [exact([-1, 10], snapshot="0")]
    for values, gate in (([-0.05, 0.5], "pass"), ([-0.4, 0.5], "stop")):
        read = methodology(exact(values), history=past, losses={"loss": 0.001})
        assert (read["Quasi-singular flag"].verdict, read["Gate"].verdict) == ("raised", gate)
        assert read["Quasi-singular flag"].value == "λmax is 0.05 of its largest value so far"
    assert methodology(exact([-1, 5]), history=past)["Quasi-singular flag"].verdict == "not raised"
    unknown = methodology(exact([-0.05, 0.5]), history=past)["Quasi-singular flag"]
    assert unknown.verdict == "not raised"
    assert "loss is not known" in unknown.text


def test_held_out_data_are_read_beside(exact):
    beside = exact([-2, 9], split="held_out")
    read = methodology(exact([-0.1, 8]), held_out=beside)
    assert read.held_out is not None
    assert read["Absolute reading"].value == "r_e = 0.0125, K_H = 0.112"  # 0.1 / 8 and its root
    assert "On held-out data C_t = −0.222" in read["Absolute reading"].text
    assert read["Absolute reading"].text.endswith(": moderate.")  # r_e = 2/9 is above 0.1, K_H = √(2/9) below 1
    poor = methodology(exact([-0.1, 8]), held_out=exact([-9, 9], split="held_out"))["Absolute reading"].text
    assert "The held-out spectrum is mainly negative" in poor
    assert methodology(exact([-0.1, 8])).held_out is None


@pytest.mark.parametrize(
    ("re", "kh", "word"),
    [
        (0.09, 0.49, "good"),
        (0.1, 0.49, "moderate"),
        (0.09, 0.5, "moderate"),
        (0.6, 0.99, "moderate"),
        (0.0, 1.0, "poor"),
        (0.6, math.inf, "poor"),
    ],
)
def test_levels(re, kh, word):
    assert absolute(re, kh, Thresholds()) == word


def test_an_interval_across_a_level_is_undecided(exact, lanczos):
    one = methodology(lanczos([[-0.01, 1.0]]))["Absolute reading"]  # from one start vector K_H may be anything
    assert (one.verdict, one.value) == ("undecided", "r_e = 0.01, K_H = 0.1: between good and poor")
    assert methodology(lanczos([[-0.01, 1.0]] * 3))["Absolute reading"].verdict == "good"
    eased = Thresholds(good_re=0.6, good_kh=2.0)
    assert methodology(exact([-1, 4]), thresholds=eased)["Absolute reading"].verdict == "good"
    assert methodology(exact([-1, 4]))["Absolute reading"].verdict == "moderate"


def test_what_is_shown_is_escaped_and_whole(exact):
    read = methodology(exact([-1, 4], layer="<b>", snapshot="<script>"))
    page = read._repr_html_()
    assert "<b>" not in page
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
    assert all(name in repr(read) and name in page for name in STEPS)
    assert max(map(len, repr(read).splitlines())) < 160


def test_bad_input(exact):
    good, unchecked = exact([-1, 4]), inspect.unwrap(methodology)  # past the shape checker of the tests
    for given in ({"held_out": 3}, {"history": good}, {"losses": {"loss": "low"}}, {"past_losses": [3]}):
        with pytest.raises(SettingError):
            unchecked(good, **given)
    with pytest.raises(SettingError, match="No step 'gate'; there are 'Data and mode'"):
        methodology(good)["gate"]
    with pytest.raises(SettingError):
        unchecked("spectrum")
    with pytest.raises(ComparisonError):
        methodology(good, held_out=exact([-1, 4], functional="sum"))
