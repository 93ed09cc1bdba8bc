"""The reference numbers of the authors' notebook (loss-landscape-analysis), where their weights are at hand.

They are not part of this repository. Whoever has them sets LHEXPLORE_LENET to a Python file that defines ``model``, the
trained LeNet-5 (61,706 parameters, a layer called fc1), and ``data``, the pair (images, labels) of the first 2,048
test images of MNIST without normalisation. Without that file the test is skipped.
"""

import math
import os
import runpy

import numpy as np
import pytest
import torch
from torch import nn

import lhexplore as lh

FILE = os.environ.get("LHEXPLORE_LENET", "")
TRAINED = {"largest": 9.6001, "trace": 56.903, "kh": 0.22221, "ct": -0.028126}
FC1 = {"largest": 0.44601, "second": 0.34285, "trace": 6.1724}
CLOSE, LOOSE = 0.01, 0.05  # their second eigenvalue is a power iteration that was stopped loosely
ERRORS = 3  # standard errors, of stochastic numbers

pytestmark = pytest.mark.skipif(not FILE, reason="LHEXPLORE_LENET names no file with the authors' trained LeNet-5")


@pytest.fixture(scope="module")
def session():
    given = runpy.run_path(FILE)
    assert sum(p.numel() for p in given["model"].parameters()) == 61_706
    assert len(given["data"][1]) == 2048
    with lh.Session(
        given["model"], [given["data"]], nn.CrossEntropyLoss(), samples=None, dtype=torch.float32, cache=False
    ) as made:
        yield made


def test_trained_network(session):
    s = session.spectrum(None, method="lanczos")
    found = lh.hesd(s)
    assert s.largest == pytest.approx(TRAINED["largest"], rel=CLOSE)
    assert found.ct == pytest.approx(TRAINED["ct"], rel=CLOSE)
    assert found.type == "MP"
    assert abs(s.trace - TRAINED["trace"]) <= ERRORS * s.trace_stderr
    spread = found.kh_stderr * math.sqrt(s.probes + 1)  # theirs is one start vector, this one a mean
    assert abs(found.kh - TRAINED["kh"]) <= ERRORS * spread


def test_one_layer(session):
    s = session.spectrum("fc1", method="lanczos")
    first, second = np.sort(s.per_probe()[0][0])[::-1][:2]
    assert first == pytest.approx(FC1["largest"], rel=CLOSE)
    assert second == pytest.approx(FC1["second"], rel=LOOSE)
    assert abs(s.trace - FC1["trace"]) <= ERRORS * max(s.trace_stderr, CLOSE * FC1["trace"])
