"""One rule for the flag of a spectrum and for D7 of a run: both say the same of the same numbers."""

import numpy as np
import pytest

from lhexplore.diagnosis import diagnose_run, hesd
from lhexplore.diagnosis.hesd.quasi_singular import has_collapsed
from lhexplore.diagnosis.losses import small
from lhexplore.diagnosis.thresholds import Thresholds

T = Thresholds()


@pytest.mark.parametrize("largest", [0.5, 5.0])
@pytest.mark.parametrize("there", [4.0, 100.0])
@pytest.mark.parametrize("loss", [0.0, 0.0014 * 2.3, 0.0016 * 2.3, 1.1])
def test_the_flag_is_that_of_the_run(course, largest, there, loss):
    run = course(
        {"fc1": [[0.1, 10.0], [0.1, largest]]},
        held_out={"fc1": [[0.1, 12.0], [0.1, there]]},
        recorded={"loss": (2.3, loss)},
    )
    past, now = run.spectra["fc1", "0"], run.spectra["fc1", "1"]
    found = hesd(
        now,
        history=[past],
        held_out=run.held_out["fc1", "1"],
        train_loss=loss,
        small_loss=small({"loss": loss}, [{"loss": 2.3}], ratio=T.vanishing, absolute=T.small_loss),
        collapse=T.collapse,
    )
    of_run = any(f.rule == "D7" and f.snapshot == "1" for f in diagnose_run(course=run, thresholds=T).findings)
    assert found.quasi_singular == of_run
    assert of_run == ((largest < 1 or largest / there < 0.1) and loss <= 0.0015 * 2.3)


def test_nothing_counts_without_a_small_loss():
    ratios, losses = np.full(3, 0.01), np.array([0.001, 0.2, np.nan])
    by_own, by_gap = has_collapsed(ratios, ratios, losses, small_loss=np.full(3, 0.1), limit=0.1)
    assert by_own.tolist() == by_gap.tolist() == [True, False, False]
