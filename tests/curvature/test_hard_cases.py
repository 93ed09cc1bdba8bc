"""Input at its limits, through the doors that people use: a clear answer or a refusal, never an invented number."""

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from curvature.matrices import rotated
from curvature.objectives import FunctionObjective, NetObjective, Parameters, classes, hessian, mlp
from torch import nn

import lhexplore as lh
from lhexplore.curvature import measure
from lhexplore.curvature.planner import Factor, choose
from lhexplore.errors import (
    NotFiniteError,
    SecondDerivativeError,
    TooLargeError,
    UnknownLayerError,
    UnsupportedError,
)

EXACT = 1e-10  # of the largest eigenvalue: two float64 programs
ROUNDING = 1e-5  # the same in float32


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def session(model, data=None, loss=None, **settings):
    return lh.Session(
        model, classes() if data is None else data, loss or nn.CrossEntropyLoss(), cache=False, **settings
    )


def truth(model, data, criterion, prefix):
    """All eigenvalues by double backward, row by row, in float64."""
    objective = NetObjective(model.double(), data, criterion)
    return torch.linalg.eigvalsh(hessian(objective, objective.block(prefix))).numpy()


def last(objective, block=None, **settings):
    *_, step = measure(objective, block or objective.block(), label="x", snapshot="now", **settings)
    return step.spectrum


def ends_agree(spectrum, values, tolerance=EXACT):
    size = np.abs(values).max()
    assert abs(spectrum.largest - values.max()) <= max(tolerance * size, spectrum.error)
    assert abs(spectrum.smallest - values.min()) <= max(tolerance * size, spectrum.error)


# ---- large


class Unreachable(FunctionObjective):
    """A layer of 10⁸ parameters without memory behind them, and a loss that must not be computed before the plan."""

    def __init__(self):
        super().__init__(None, table=torch.empty(10**8, device="meta"))

    def batch_loss(self, i, override):
        raise AssertionError("computed before it was planned")

    @property
    def layer(self):
        return Parameters("table", ("table",))


@pytest.mark.parametrize("method", ["auto", "lanczos", "dense"])
def test_a_hundred_million_parameters_are_refused_before_anything_is_allocated(method):
    huge = Unreachable()
    with pytest.raises(TooLargeError, match=r"100,000,000 parameters") as caught:
        last(huge, huge.layer, method=method)
    assert "smaller block" in str(caught.value)


def test_a_table_too_large_for_its_basis_is_planned_with_fewer_steps_or_by_blocks():
    table = nn.Sequential(nn.Embedding(6_000_000, 1), nn.Flatten(), nn.Linear(2, 3))
    data = [(torch.randint(0, 6_000_000, (6, 2)), torch.randint(0, 3, (6,)))]
    with session(table, data) as opened:
        with pytest.raises(TooLargeError, match=r"6,000,000 parameters need .* steps=\d+") as caught:
            opened.spectrum("0", method="lanczos")
        assert "GiB" in str(caught.value)
        assert opened.spectrum("2").exact  # the other layers go on
        few = opened.spectrum("0", method="lanczos", steps=4, probes=1)
    assert few.size == 6_000_000
    assert few.steps == 4


class Head(nn.Module):
    """Very many classes."""

    def __init__(self, count):
        super().__init__()
        self.body, self.head = nn.Linear(6, 3), nn.Linear(3, count, bias=False)

    def forward(self, x):
        return self.head(torch.tanh(self.body(x)))


def test_fifty_thousand_classes():
    model = seeded(lambda: Head(50_000))
    data = classes(examples=4, count=50_000, dtype=torch.float32)
    with session(model, data, dtype=torch.float64) as opened:
        spectrum = opened.spectrum("body")
        assert spectrum.method in ("dense", "lanczos")  # a factor would need 50,000 backward passes
    double = [(x.double(), y) for x, y in data]
    values = truth(model, double, nn.CrossEntropyLoss(), "body")
    ends_agree(spectrum, values)
    assert abs(spectrum.trace - values.sum()) <= EXACT * np.abs(values).max() * len(values)


def test_more_rows_than_memory_is_said_before_they_are_computed():
    rows = Factor(passes=127, rows=127 * 100_000)
    with pytest.raises(TooLargeError, match="12,700,000 rows"):
        choose(10**6, method="factor", factor=rows)
    with pytest.raises(UnsupportedError, match="50,000 outputs"):
        choose(100, method="factor", factor="50,000 outputs per example are too many")
    assert choose(10**6, factor=rows).method == "lanczos"
    assert choose(500, factor=rows).method == "factor"  # MᵀM is small, however many rows there are


# ---- not a number in the middle of a run


class Turning(torch.autograd.Function):
    """The identity; the derivative of its derivative is NaN from some product on."""

    @staticmethod
    def forward(ctx, x, counter):
        ctx.counter = counter
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return Spoilt.apply(upstream, ctx.counter), None


class Spoilt(torch.autograd.Function):
    @staticmethod
    def forward(ctx, upstream, counter):
        ctx.counter = counter
        return upstream.clone()

    @staticmethod
    def backward(ctx, upstream):
        ctx.counter["seen"] += 1
        bad = ctx.counter["seen"] > ctx.counter["sound"]
        return upstream * (float("nan") if bad else 1.0), None


def test_not_a_number_in_a_product_ends_the_run_and_leaves_the_values_before_it():
    matrix = rotated(np.arange(1.0, 61.0))
    counter = {"seen": 0, "sound": 30}  # backward passes: five probes go on together
    objective = FunctionObjective(
        lambda a: (b := Turning.apply(a, counter)) @ matrix @ b / 2, a=torch.ones(60, dtype=torch.float64)
    )
    seen = []

    def drive():
        for step in measure(objective, objective.block(), label="x", snapshot="now", method="lanczos", steps=50):
            seen.append(step)

    with pytest.raises(NotFiniteError, match="NaN or infinite, after"):
        drive()
    values = [step.spectrum for step in seen if step.spectrum is not None]
    assert values
    assert not any(value.complete for value in values)
    assert all(np.isfinite(value.nodes).all() for value in values)
    assert values[-1].largest == pytest.approx(60, rel=0.05)


class Sometimes(nn.Module):
    def __init__(self, counter):
        super().__init__()
        self.counter = counter

    def __deepcopy__(self, memo):
        return self  # the test looks at the counter of the copy

    def forward(self, x):
        return Turning.apply(x, self.counter)


def test_a_layer_that_fails_is_a_row_with_its_reason_and_the_others_are_computed():
    counter = {"seen": 0, "sound": 10**9}
    plain = mlp(sizes=(6, 5, 3))
    model = nn.Sequential(plain[0], plain[1], Sometimes(counter), plain[2])
    with session(model) as opened:
        opened.spectrum("3")
        counter["sound"] = -1
        opened.compute(["0", "3"], progress=False)
        rows = opened.summary().set_index("layer")
    assert rows.loc["0", "status"] == "failed"
    assert "'0'" in rows.loc["0", "reason"]
    assert "second derivative" in rows.loc["0", "reason"]
    assert rows.loc["3", "status"] == "ok"
    assert np.isnan(rows.loc["0", "lambda_max"])
    assert rows.loc["3", "lambda_max"] > 0


def test_a_layer_whose_curvature_is_infinite_is_never_drawn():
    class Distance(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3, bias=False)
            nn.init.zeros_(self.fc.weight)

        def forward(self, x):
            return self.fc(x) + self.fc(x).norm(dim=1, keepdim=True)

    with session(Distance()) as opened, pytest.raises((NotFiniteError, SecondDerivativeError), match="norm"):
        opened.spectrum("fc")


# ---- little


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return x * self.factor


@pytest.mark.parametrize("method", ["auto", "dense", "lanczos"])
def test_a_layer_of_one_parameter(method):
    model = nn.Sequential(Scale(), nn.Linear(6, 3)).double()
    data = classes()
    with session(model, data) as opened:
        spectrum = opened.spectrum("0", method=method)
    (value,) = truth(model, data, nn.CrossEntropyLoss(), "0.")
    assert spectrum.size == 1
    assert spectrum.nodes == pytest.approx([value] * len(spectrum.nodes), rel=EXACT)
    assert spectrum.weights.sum() == pytest.approx(1)


@pytest.mark.parametrize("method", ["auto", "dense", "lanczos"])
@pytest.mark.parametrize("examples", [1, 2])
def test_low_rank_has_its_few_values_and_zeros(method, examples):
    # For ½‖w x − y‖² / N over one output, H = Σ x xᵀ / N (times 2, because MSE has no ½).
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(examples, 40, generator=generator, dtype=torch.float64)
    data, model = [(x, torch.zeros(examples, 1, dtype=torch.float64))], nn.Linear(40, 1, bias=False).double()
    values = 2 / examples * np.linalg.svd(x.numpy(), compute_uv=False) ** 2
    with session(model, data, nn.MSELoss()) as opened:
        name = opened.layers[0].name
        spectrum = opened.spectrum(name, method=method, steps=100, probes=3)
    assert spectrum.size == 40
    above = spectrum.nodes[spectrum.nodes > spectrum.zero_band + EXACT * values.max()]
    np.testing.assert_allclose(np.unique(above.round(8)), np.sort(values).round(8), rtol=1e-7)
    assert spectrum.smallest >= -max(spectrum.zero_band, EXACT * values.max())
    assert spectrum.trace == pytest.approx(values.sum(), abs=2 * spectrum.trace_stderr + EXACT * values.sum())


def test_more_steps_than_parameters():
    model, data = mlp(sizes=(6, 5, 3)), classes()
    with session(model, data) as opened:
        spectrum = opened.spectrum("2", method="lanczos", steps=500, probes=2)
    ends_agree(spectrum, truth(model, data, nn.CrossEntropyLoss(), "2."))
    assert all(len(nodes) <= 18 for nodes, _ in spectrum.per_probe())


def test_a_multiple_eigenvalue_comes_once_and_this_is_said():
    objective = FunctionObjective(lambda a: a @ a, a=torch.ones(50, dtype=torch.float64))
    spectrum = last(objective, method="lanczos", probes=2)
    np.testing.assert_allclose(spectrum.nodes, 2.0, rtol=EXACT)
    assert len(spectrum.nodes) == 2  # one per probe
    assert any("multiplicities are not resolved" in note for note in spectrum.notes)


# ---- no curvature


class Partly(nn.Module):
    """A layer that is not used, one in which the loss is linear, and one as usual."""

    def __init__(self):
        super().__init__()
        self.used, self.unused, self.shift = nn.Linear(6, 3), nn.Linear(4, 4), nn.Linear(6, 1)

    def forward(self, x):
        return self.used(x), self.shift(x)


def with_linear_part(model, batch):
    out, shift = model(batch[0])
    return F.cross_entropy(out, batch[1]) + shift.mean()


@pytest.mark.parametrize("method", ["auto", "dense", "lanczos"])
@pytest.mark.parametrize(("name", "why"), [("unused", "does not use"), ("shift", "linear")])
def test_layers_without_curvature_are_exact_zeros_with_a_reason(method, name, why):
    with session(seeded(Partly).double(), loss=with_linear_part) as opened:
        spectrum = opened.spectrum(name, method=method)
        assert why in spectrum.reason
        assert (spectrum.eigenvalues == 0).all()
        assert len(spectrum.eigenvalues) == spectrum.size
        assert spectrum.trace == spectrum.error == 0
        diagnosis = opened.diagnose(name)
        assert opened.spectrum("used").largest > 0
    assert diagnosis.hesd.flat
    assert diagnosis.hesd.type == "undecided"


# ---- no second derivative: the operation and the layer are named


class Bag(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag, self.out = nn.EmbeddingBag(9, 5, mode="mean"), nn.Linear(5, 3)

    def forward(self, x):
        return self.out(torch.tanh(self.bag((x.abs() * 2).long().clamp(max=8))))


class Distances(nn.Module):
    def __init__(self):
        super().__init__()
        self.centres = nn.Parameter(torch.randn(3, 6))

    def forward(self, x):
        return -torch.cdist(x, self.centres)


def ctc(model, batch):
    scores = model(batch[0]).log_softmax(-1)[:, None].expand(-1, 2, -1)
    lengths = torch.full((2,), len(scores)), torch.full((2,), 2)
    return F.ctc_loss(scores, torch.ones(2, 2, dtype=torch.long), *lengths)


@pytest.mark.parametrize(
    ("build", "layer", "loss", "says"),
    [
        (Bag, "bag", nn.CrossEntropyLoss(), r"embedding_bag in 'bag' \(EmbeddingBag\)"),
        (Distances, "(root)", nn.CrossEntropyLoss(), "cdist"),
        (lambda: nn.Linear(6, 3), "(root)", ctc, "ctc_loss.* in the loss"),
        (lambda: nn.Linear(6, 3), "(root)", nn.MultiMarginLoss(), "multi_margin_loss.* in the loss"),
    ],
)
@pytest.mark.parametrize("method", ["auto", "lanczos"])
def test_operations_without_a_second_derivative_are_named(build, layer, loss, says, method):
    with session(seeded(build), loss=loss) as opened, pytest.raises(SecondDerivativeError, match=says):
        opened.spectrum(layer, method=method)


def written_down(q, k, v):
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v


class Attention(nn.Module):
    """Attention whose kernel torch chooses, and what it computes written down."""

    def __init__(self, *, plain):
        super().__init__()
        self.qkv, self.out, self.plain = nn.Linear(6, 18), nn.Linear(6, 3), plain

    def forward(self, x):
        x = torch.stack([x, x.flip(-1), x.roll(1, -1)], 1)
        q, k, v = (part[:, None] for part in self.qkv(x).chunk(3, -1))
        attend = written_down if self.plain else F.scaled_dot_product_attention
        return self.out(attend(q, k, v).mean((1, 2)))


@pytest.mark.parametrize("method", ["auto", "lanczos"])
def test_fused_attention_gives_the_curvature_of_its_formula(method):
    model, data = seeded(lambda: Attention(plain=False)).double(), classes()
    with session(model, data) as opened:
        spectrum = opened.spectrum("qkv", method=method)
    written = seeded(lambda: Attention(plain=True)).double()
    written.load_state_dict(model.state_dict())
    ends_agree(spectrum, truth(written, data, nn.CrossEntropyLoss(), "qkv"))


# ---- no fixed function, no symmetric matrix


class Noise(nn.Module):
    def forward(self, x):
        return x + 0.3 * torch.randn_like(x)


def test_a_random_forward_is_fixed_and_named():
    model = nn.Sequential(nn.Linear(6, 5), Noise(), nn.Linear(5, 3)).double()
    with session(model) as opened:
        assert any("random numbers" in notice for notice in opened.notices)
        rows = [str(row) for row in opened.check()]
        assert any("'1' (Noise)" in row and "random" in row for row in rows)
        one, again = (opened.spectrum("2", method=method) for method in ("dense", "lanczos"))
    ends_agree(again, one.eigenvalues)  # the same function both times
    assert one.symmetry_defect <= EXACT


class Skewed(torch.autograd.Function):
    """The identity, whose second derivative is that of a random, not symmetric map."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, upstream):
        return Wrong.apply(upstream)


class Wrong(torch.autograd.Function):
    @staticmethod
    def forward(ctx, upstream):
        return upstream.clone()

    @staticmethod
    def backward(ctx, upstream):
        return upstream * (1 + 0.5 * torch.randn_like(upstream))


class Twist(nn.Module):
    def forward(self, x):
        return Skewed.apply(x)


def test_curvature_that_is_not_symmetric_is_refused_by_name():
    model = nn.Sequential(nn.Linear(6, 5), nn.Tanh(), Twist(), nn.Linear(5, 3)).double()
    with session(model) as opened:
        text = " ".join(map(str, opened.check()))
        assert "symmetry" in text
        with pytest.raises(SecondDerivativeError, match=r"'2' \(Twist\)|wrong"):
            opened.spectrum("0")
        assert opened.spectrum("3").symmetry_defect <= EXACT  # behind it


# ---- unusual surroundings


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_defaults_of_the_process_change_nothing(device, dtype):
    model, data = mlp(sizes=(6, 5, 3), dtype=torch.float32), classes(dtype=torch.float32)
    with session(model, data) as opened:
        expected = {m: opened.spectrum("0", method=m, steps=9, probes=2) for m in ("dense", "lanczos")}
    torch.set_default_device(device)
    torch.set_default_dtype(dtype)
    try:
        with session(model, data) as opened:
            found = {m: opened.spectrum("0", method=m, steps=9, probes=2) for m in ("dense", "lanczos")}
    finally:
        torch.set_default_device(None)
        torch.set_default_dtype(torch.float32)
    for method, spectrum in expected.items():
        np.testing.assert_array_equal(found[method].nodes, spectrum.nodes)
        np.testing.assert_array_equal(found[method].weights, spectrum.weights)


def test_mixed_dtypes_are_computed_in_one():
    model = mlp(sizes=(6, 5, 3), dtype=torch.float32)
    data = classes(dtype=torch.float32)
    model[0].bfloat16()
    values = truth(mlp_of(model), [(x.double(), y) for x, y in data], nn.CrossEntropyLoss(), "0.")
    with session(model, data) as opened:
        spectrum = opened.spectrum("0", method="dense")
        assert any("bfloat16" in note for note in spectrum.notes)
    ends_agree(spectrum, values)


def mlp_of(model):
    """The same numbers in float64."""
    wide = mlp(sizes=(6, 5, 3))
    wide.load_state_dict({name: value.double() for name, value in model.state_dict().items()})
    return wide


@pytest.mark.parametrize("scale", [1e-20, 1e20])
@pytest.mark.parametrize("method", ["dense", "lanczos"])
def test_tiny_and_huge_losses_of_half_precision_weights(scale, method):
    model = mlp(sizes=(6, 5, 3), dtype=torch.float32).half()  # 1e-20 is zero in float16
    data = classes(dtype=torch.float16)

    def scaled(c):
        def loss(model, batch):
            return F.cross_entropy(model(batch[0]), batch[1]) * c

        return loss

    spectra = []
    for c in (1.0, scale):
        with session(model, data, scaled(c), dtype=torch.float32) as opened:
            spectra.append(opened.spectrum("0", method=method, steps=8, probes=2))
    plain, other = spectra
    assert len(plain.nodes) == len(other.nodes)
    np.testing.assert_allclose(other.nodes / scale, plain.nodes, atol=ROUNDING * plain.magnitude)


def test_models_placed_by_others_are_refused():
    model = mlp()
    model.hf_device_map = {"0": "cpu", "2": "disk"}
    with pytest.raises(UnsupportedError, match="device_map"):
        session(model)
    hooked = mlp()
    hooked._hf_hook = object()
    with pytest.raises(UnsupportedError, match="offload"):
        session(hooked)


def test_hostile_names_are_computed_like_others():
    name = "<img src=x onerror=alert(1)>=cmd🙂" + "x" * 300
    model = nn.Sequential()
    model.add_module(name, nn.Linear(6, 3))
    with session(model.double()) as opened:
        assert opened.spectrum(name).largest > 0
        with pytest.raises(UnknownLayerError, match="There is no layer"):
            opened.spectrum(name[1:])
        assert "<img" not in opened.plan()._repr_html_()


def test_no_solver_of_others_is_asked_for_a_few_eigenvalues():
    # ARPACK fails on zero operators, answers for non-symmetric ones, and repeats single values.
    folder = Path(lh.__file__).parent
    names = {
        node.attr if isinstance(node, ast.Attribute) else node.name if isinstance(node, ast.alias) else node.id
        for path in folder.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute | ast.alias | ast.Name)
    }
    assert names.isdisjoint({"eigsh", "eigs", "lobpcg", "svds", "arpack"})
    assert "eigvalsh" in names  # the search does find names


# ---- a GPU


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("kind", ["attention", "lstm"])
def test_kernels_of_the_gpu_without_a_second_derivative_are_gone_round(kind):
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.qkv, self.out = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.out(self.qkv(x.reshape(-1, 3, 2))[0][:, -1])

    model = seeded(Recurrent if kind == "lstm" else lambda: Attention(plain=False))
    spectra = []
    for device in ("cpu", "cuda"):
        with session(model, device=device, dtype=torch.float64) as opened:
            spectra.append(opened.spectrum("qkv", method="dense"))
    np.testing.assert_allclose(spectra[1].nodes, spectra[0].nodes, atol=1e-9 * spectra[0].magnitude)
