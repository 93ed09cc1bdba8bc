"""Every plain cause is named, and nothing is ruled out by silence."""

import pytest

from lhexplore.diagnosis.hesd.causes import Context, mundane_causes

NAMES = {
    "an untrained network",
    "weights that were not really loaded",
    "dropout",
    "BatchNorm in training mode",
    "a batch that changes between products",
    "ghost eigenvalues from lost orthogonality",
    "round-off",
    "too little data",
}
FULL = {"mode": "eval", "dtype": "float64", "examples": 2000, "outputs": 10, "data_digest": "ab"}


def verdicts(spectrum, **known):
    return {cause.name: cause.verdict for cause in mundane_causes(spectrum, **known)}


def test_all_are_named_and_only_an_exact_spectrum_speaks_for_itself(exact, lanczos):
    assert verdicts(lanczos([[-2, 1]] * 3, provenance={})) == dict.fromkeys(NAMES, "to rule out") | {
        "round-off": "ruled out"  # the products were measured to be symmetric
    }
    assert verdicts(exact([-2, 1]))["ghost eigenvalues from lost orthogonality"] == "ruled out"


def test_everything_can_be_ruled_out(exact):
    known = verdicts(
        exact([-2, 1], provenance=FULL),
        losses={"loss": 0.3, "accuracy": 0.95},
        past_losses=[{"loss": 2.3}],
        context=Context(recorded_loss=0.28, evaluated_loss=0.3, step=100),
    )
    assert known == dict.fromkeys(NAMES, "ruled out")


@pytest.mark.parametrize(
    ("losses", "past", "verdict"),
    [
        ({"accuracy": 0.1}, [], "likely"),
        ({"accuracy": 0.1134}, [], "likely"),  # chance and two standard errors of 2,000 examples: .1134
        ({"accuracy": 0.1135}, [], "to rule out"),
        ({"accuracy": 0.549}, [], "to rule out"),
        ({"accuracy": 0.55}, [], "ruled out"),  # half of the way from chance to certainty
        ({"loss": 0.95}, [{"loss": 1.0}], "likely"),
        ({"loss": 0.94}, [{"loss": 1.0}], "to rule out"),
        ({"loss": 0.51}, [{"val_loss": 9.0}, {"loss": 1.0}], "to rule out"),
        ({"loss": 0.5}, [{"val_loss": 9.0}, {"loss": 1.0}], "ruled out"),
        ({"loss": 0.5}, [], "to rule out"),
        ({"loss": float("nan")}, [{"loss": 1.0}], "to rule out"),
        ({"accuracy": float("nan"), "loss": 1.0}, [{"loss": 1.0}], "likely"),
        ({"train_acc": 0.9, "loss": 2.0}, [{"loss": 1.0}], "ruled out"),
        ({"val_accuracy": 0.1}, [], "to rule out"),
    ],
)
def test_untrained(exact, losses, past, verdict):
    found = verdicts(exact([-2, 1], provenance=FULL), losses=losses, past_losses=past)
    assert found["an untrained network"] == verdict


def test_no_step_is_untrained_whatever_the_loss(exact):
    spectrum = exact([-2, 1], provenance=FULL)
    found = mundane_causes(spectrum, losses={"accuracy": 0.9}, context=Context(step=0))
    assert (found[0].name, found[0].verdict) == ("an untrained network", "likely")  # likely ones come first
    first = mundane_causes(spectrum, context=Context(first=True))
    assert any("first snapshot" in cause.why for cause in first)


@pytest.mark.parametrize(
    ("recorded", "evaluated", "verdict"),
    [
        (0.3, 0.6, "ruled out"),
        (0.3, 0.61, "likely"),
        (0.001, 0.05, "ruled out"),
        (0.001, 0.051, "likely"),
        (2.0, 0.1, "ruled out"),
        (0.3, float("nan"), "to rule out"),
        (float("nan"), 0.3, "to rule out"),
    ],
)
def test_not_loaded(exact, recorded, evaluated, verdict):
    context = Context(recorded_loss=recorded, evaluated_loss=evaluated)
    assert verdicts(exact([-2, 1]), context=context)["weights that were not really loaded"] == verdict


def test_a_prefix_that_was_taken_off_is_said(exact):
    def why(**known):
        causes = mundane_causes(exact([-2, 1]), context=Context(**known))
        return next(c.why for c in causes if c.name.startswith("weights"))

    assert "'module.' was taken off" in why(loaded=("the prefix 'module.' was taken off all names",))
    assert "as it is" in why(loaded=())
    assert "evaluate()" in why()


@pytest.mark.parametrize(
    ("mode", "dropout", "norms", "expected"),
    [
        ("eval", None, None, ("ruled out", "ruled out")),
        ("train-frozen", None, None, ("ruled out", "to rule out")),
        ("train-frozen", ("drop",), (), ("ruled out", "ruled out")),
        (None, (), ("bn",), ("ruled out", "to rule out")),
        (None, ("drop",), None, ("to rule out", "to rule out")),
        ("train", None, None, ("to rule out", "to rule out")),
    ],
)
def test_modes(exact, mode, dropout, norms, expected):
    spectrum = exact([-2, 1], provenance={"mode": mode} if mode else {})
    found = verdicts(spectrum, context=Context(dropout=dropout, batch_norm=norms))
    assert (found["dropout"], found["BatchNorm in training mode"]) == expected


def test_modules_are_named_but_not_endlessly(exact):
    found = mundane_causes(exact([-2, 1]), context=Context(batch_norm=("a", "b", "c", "d", "e")))
    assert any("'a', 'b', 'c' and 2 more" in cause.why for cause in found)


def test_ghosts_of_estimates(lanczos):
    kept = lanczos([[-2, 1]] * 3, provenance={"reorthogonalisation": "full, two passes"})
    assert verdicts(kept)["ghost eigenvalues from lost orthogonality"] == "ruled out"


@pytest.mark.parametrize(
    ("defect", "band", "verdict"),
    [(1e-4, 0.0, "ruled out"), (1.1e-4, 0.0, "to rule out"), (0.0, 0.2, "likely"), (0.0, 0.19, "ruled out")],
)
def test_round_off(exact, defect, band, verdict):
    spectrum = exact([-2, 1], symmetry_defect=defect, zero_band=band)
    assert verdicts(spectrum)["round-off"] == verdict


@pytest.mark.parametrize(
    ("examples", "whole", "verdict"),
    [(1023, None, "to rule out"), (1024, None, "ruled out"), (20, True, "ruled out"), (20, False, "to rule out")],
)
def test_too_little_data(exact, examples, whole, verdict):
    spectrum = exact([-2, 1], provenance={"examples": examples})
    assert verdicts(spectrum, context=Context(whole_data=whole))["too little data"] == verdict


def test_a_cause_reads_as_a_sentence(exact):
    words = [str(c) for c in mundane_causes(exact([-2, 1], provenance=FULL))]
    assert "Ruled out: too little data (2,000 examples)." in words
    assert all(w[0].isupper() and w.endswith(").") for w in words)
