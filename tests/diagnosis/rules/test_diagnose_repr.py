"""A diagnosis reads as a few lines, not as a dump of its fields."""

import numpy as np

from lhexplore.diagnosis import diagnose
from lhexplore.spectrum import Spectrum


def test_a_diagnosis_says_what_it_is_about_in_a_few_lines():
    spectrum = Spectrum("fc1", "step-4", 4, np.array([-1.0, -1, 4, 9]), np.full(4, 0.25), "dense")
    lines = repr(diagnose(spectrum)).splitlines()
    assert lines[0] == "Diagnosis of 'fc1' at 'step-4': + mainly positive, C_t = -0.111 (-0.111 to -0.111), λmax = 9"
    assert all(line.startswith("  ") for line in lines[1:])
    assert "whole network" in repr(diagnose(Spectrum(None, "0", 1, np.array([1.0]), np.ones(1), "dense")))
