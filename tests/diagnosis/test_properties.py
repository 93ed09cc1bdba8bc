"""What must hold for every spectrum: independence of scale, order and units, and r_e = −C_t."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from lhexplore.diagnosis import METRICS, diagnose, hesd, metrics

ROUND = 1e-12  # scaling by a power of ten rounds every node once; powers and sums add a few more
GAP = 1e-15  # 1 − λ₂/λ₁ of near values: the round-off of both stays as it is while their difference cancels

# Values that differ by at most 1e8: what is below the rank cut before scaling is below it afterwards.
size = st.floats(1e-4, 1e4)
value = st.one_of(st.just(0.0), size, size.map(lambda x: -x))
values = st.lists(value, min_size=1, max_size=30)
probes = st.lists(values, min_size=1, max_size=7)
scale = st.sampled_from([1e-20, 1e-6, 0.37, 1e6, 1e20])
band = st.sampled_from([0.0, 1e-3, 1.0])

UNIT = {"": 0.0, "nats": 0.0, "loss / parameter²": 1.0}


def _same(a: float, b: float, absolute: float = 0.0) -> bool:
    return (math.isnan(a) and math.isnan(b)) or a == b or math.isclose(a, b, rel_tol=ROUND, abs_tol=absolute)


@given(probes, scale, band)
def test_type_and_ratios_do_not_depend_on_scale(lanczos, probes, scale, band):
    plain = lanczos(probes, zero_band=band)
    scaled = lanczos([np.array(p) * scale for p in probes], zero_band=band * scale)
    a, b = hesd(plain), hesd(scaled)
    assert (a.type, a.flat, a.word) == (b.type, b.flat, b.word)
    assert all(map(_same, (a.ct, a.re, a.kh, *a.interval), (b.ct, b.re, b.kh, *b.interval)))


@given(values, scale)
def test_metrics_scale_by_their_unit(exact, values, scale):
    plain, scaled = metrics(exact(values)), metrics(exact(np.array(values) * scale))
    for name, metric in METRICS.items():
        if metric.unit in UNIT and name not in ("near_zero_share", "trace", "mean_curvature", "peakedness"):
            absolute = GAP if name == "spectral_gap" else 0.0
            assert _same(plain[name] * scale ** UNIT[metric.unit], scaled[name], absolute), name


@given(probes, band)
def test_re_is_minus_ct_and_inside_the_interval(lanczos, probes, band):
    h = hesd(lanczos(probes, zero_band=band))
    if h.flat:
        assert math.isnan(h.ct)
        assert h.type == "undecided"
    else:
        assert h.re == -h.ct
        assert h.ct <= 0
        assert h.interval[0] <= h.ct <= h.interval[1]
        assert h.kh >= 0


@given(values)
def test_decided_types_agree_with_the_plain_rule(exact, values):
    h = hesd(exact(values))
    if h.type == "MP":
        assert max(values) > 0
        assert min(*values, 0.0) / max(values) >= -0.6 - 1e-12
    elif h.type == "MN":
        assert min(values) < 0
        assert max(values) <= 0 or min(values) / max(values) < -0.6


@given(values, st.randoms())
def test_order_of_eigenvalues_does_not_matter(exact, values, random):
    shuffled = list(values)
    random.shuffle(shuffled)
    a, b = metrics(exact(values)), metrics(exact(shuffled))
    assert all(_same(a[name], b[name]) for name in a if name not in ("trace", "mean_curvature", "peakedness"))


@given(values, band)
def test_fractions_sum_to_one(exact, values, band):
    m = metrics(exact(values, zero_band=band))
    total = m["negative_fraction"] + m["zero_fraction"] + m["positive_fraction"]
    assert math.isclose(total, 1.0, rel_tol=1e-12)
    assert m["negative_fraction"] == 0.0 or min(values) < -band


@given(values)
def test_flipping_the_sign_swaps_the_sides(exact, values):
    a, b = metrics(exact(values)), metrics(exact([-v for v in values]))
    assert math.isclose(a["negative_fraction"], b["positive_fraction"], abs_tol=1e-12)
    for name in ("spectral_norm", "stable_rank", "effective_rank", "numerical_rank", "condition"):
        assert _same(a[name], b[name]), name


@given(values)
def test_bounds(exact, values):
    m = metrics(exact(values))
    if m["spectral_norm"] > 0:
        n = len(values)
        slack = 1 + 1e-12
        assert 1 / slack <= m["stable_rank"] <= n * slack
        assert m["stable_rank"] <= m["participation_ratio"] * slack or m["participation_ratio"] >= 1 / slack
        assert 1 / slack <= m["effective_rank"] <= n * slack
        assert 0 <= m["relative_entropy"] <= slack
        assert m["condition"] >= 1


@settings(max_examples=50)
@given(st.lists(probes, min_size=1, max_size=4), st.floats(0, 10))
def test_diagnose_takes_whatever_comes(lanczos, course, loss):
    spectra = [lanczos(p, snapshot=str(i)) for i, p in enumerate(course)]
    peers = [lanczos(p, layer=f"other {i}", snapshot=spectra[-1].snapshot) for i, p in enumerate(course)]
    rows = [{"loss": loss, "val_loss": loss}] * (len(spectra) - 1)
    d = diagnose(
        spectra[-1],
        history=spectra[:-1],
        peers=peers,
        losses={"loss": loss, "val_loss": loss},
        past_losses=rows,
        gradient_norms=[1.0] * len(spectra),
    )
    assert set(d.metrics) == set(METRICS)
    for finding in d.findings:
        assert finding.text.endswith((".", ". ")), finding.text
        assert "{" not in finding.title + finding.text
        assert finding.action
