"""Λ = L Lᵀ for every loss that has a factor, and a reason for every one that has none."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from curvature.objectives import NetObjective
from torch import nn

from lhexplore.curvature.batches import freeze
from lhexplore.curvature.factor.output import MOST_OUTPUTS, output_factor
from lhexplore.curvature.operators import OutputCurvature
from lhexplore.curvature.replica import Replica
from lhexplore.errors import UnsupportedError

EXACT = 1e-14  # float64, relative to the largest entry of Λ: a few roundings of numbers below 1
SINGLE = 1e-6  # float32: entries are rounded once, products of two and sums of C of them a little more

SOFTMAX = {
    "labels": nn.CrossEntropyLoss(),
    "function": F.cross_entropy,
    "class weights": nn.CrossEntropyLoss(weight=torch.tensor([0.2, 3.0, 1.0, 0.5], dtype=torch.float64)),
    "smoothing": nn.CrossEntropyLoss(label_smoothing=0.2),
    "smoothing and weights": functools.partial(
        F.cross_entropy, weight=torch.tensor([0.2, 3.0, 1.0, 0.5], dtype=torch.float64), label_smoothing=0.1
    ),
    "ignored": nn.CrossEntropyLoss(ignore_index=2),
    "sum": lambda z, y: F.cross_entropy(z, y, reduction="sum"),
    "own": lambda z, y: -z.log_softmax(1).gather(1, y[:, None]).mean(),
}


def normal(*shape, seed=0, scale=2.0):
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels(*shape, classes=4, seed=1):
    return torch.randint(0, classes, shape, generator=torch.Generator().manual_seed(seed))


def objective(criterion, outputs, targets, *, shares=(1.0,)):
    """A network that does nothing: its inputs are the outputs."""
    batches = [(outputs, targets)] * len(shares)
    made = NetObjective(nn.Identity(), batches, criterion)
    made.loss_of_outputs = lambda i, at: (
        criterion(at, targets.to(at.dtype) if targets.is_floating_point() else targets) * (shares[i])
    )
    return made


def curvature(criterion, outputs, targets):
    """The whole second derivative in the outputs, entry by entry through autograd, in float64."""
    at = outputs.double().clone().requires_grad_()
    targets = targets.double() if targets.is_floating_point() else targets
    (slope,) = torch.autograd.grad(criterion(at, targets), at, create_graph=True)
    rows = [torch.autograd.grad(entry, at, retain_graph=True)[0].reshape(-1) for entry in slope.reshape(-1)]
    return torch.stack(rows)


def product(factor):
    """Σ_n Σ_c of the outer products of L[c, n], as one matrix over all outputs; zero between the examples."""
    count = factor.shape[1] if factor.ndim > 1 else 1
    rows = factor.double().reshape(len(factor), count, -1)
    return torch.block_diag(*torch.einsum("cni,cnj->nij", rows, rows))


def gap(factor, truth):
    return float((product(factor) - truth).abs().max() / truth.abs().max())


@pytest.mark.parametrize("name", SOFTMAX)
def test_cross_entropy_has_one_column_less_than_classes(name):
    z, y = normal(7, 4), labels(7)
    factor = output_factor(objective(SOFTMAX[name], z, y), 0, z)
    assert factor.shape == (3, 7, 4)
    assert gap(factor, curvature(SOFTMAX[name], z, y)) <= EXACT


def test_the_closed_form_of_softmax():
    z, y = normal(5, 4), labels(5)
    p = z.softmax(1)
    truth = torch.block_diag(*(torch.diag_embed(p) - p[:, :, None] * p[:, None])) / 5
    assert gap(output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z), truth) <= EXACT


def test_the_scale_is_that_of_the_whole_data():
    """Class weights, ragged micro-batches and ignored labels: the parts add up to the loss on all data at once."""
    z, y = normal(11, 4), labels(11)
    y[3] = -100
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([0.2, 3.0, 1.0, 0.5], dtype=torch.float64))
    model = nn.Linear(4, 4, dtype=torch.float64)
    with torch.no_grad():
        model.weight.copy_(torch.eye(4))
        model.bias.zero_()
    data = freeze([(z[:5], y[:5]), (z[5:], y[5:])])
    replica = Replica(model, criterion, data, dtype=torch.float64)
    with replica.guard():
        parts = [output_factor(replica, i, replica.batch_outputs(i)) for i in range(2)]
    truth = curvature(criterion, z, y)
    assert gap(torch.cat(parts, dim=1), truth) <= EXACT
    assert not parts[0][:, 3].any()


def test_probabilities_as_targets():
    z, y = normal(6, 4), normal(6, 4, seed=5).softmax(1)
    for criterion in (nn.CrossEntropyLoss(), nn.CrossEntropyLoss(label_smoothing=0.1), F.cross_entropy):
        factor = output_factor(objective(criterion, z, y), 0, z)
        assert factor.shape == (3, 6, 4)
        assert gap(factor, curvature(criterion, z, y)) <= EXACT


def test_positions_have_columns_of_their_own():
    z, y = normal(3, 4, 5), labels(3, 5)
    y[0, 2] = -100
    factor = output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z)
    assert factor.shape == (15, 3, 4, 5)
    assert gap(factor, curvature(nn.CrossEntropyLoss(), z, y)) <= EXACT


def test_positions_before_classes():
    z, y = normal(3, 5, 4), labels(3, 5)

    def criterion(outputs, targets):
        return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    factor = output_factor(objective(criterion, z, y), 0, z)
    assert factor.shape == (15, 3, 5, 4)
    assert gap(factor, curvature(criterion, z, y)) <= EXACT


@pytest.mark.parametrize("shape", [(6,), (6, 1), (6, 3), (6, 2, 3), (6, 2, 2, 2)])
@pytest.mark.parametrize("criterion", [nn.MSELoss(), F.mse_loss, lambda a, b: 0.5 * ((a - b) ** 2).sum() / len(a)])
def test_squared_error(shape, criterion):
    z, y = normal(*shape), normal(*shape, seed=3)
    factor = output_factor(objective(criterion, z, y), 0, z)
    assert factor.shape == (math.prod(shape[1:]), *shape)
    assert gap(factor, curvature(criterion, z, y)) <= EXACT


def test_the_closed_form_of_squared_error():
    z, y = normal(6, 3), normal(6, 3, seed=3)
    factor = output_factor(objective(nn.MSELoss(), z, y), 0, z)
    assert torch.equal(product(factor) != 0, torch.eye(18, dtype=torch.bool))
    assert gap(factor, torch.eye(18, dtype=torch.float64) * 2 / 18) <= EXACT


@pytest.mark.parametrize(
    "criterion",
    [
        nn.BCEWithLogitsLoss(),
        nn.BCEWithLogitsLoss(pos_weight=torch.tensor([2.0, 0.5, 7.0], dtype=torch.float64)),
        nn.BCEWithLogitsLoss(weight=torch.tensor([1.0, 0.0, 3.0], dtype=torch.float64)),
        functools.partial(F.binary_cross_entropy_with_logits, pos_weight=torch.tensor(3.0, dtype=torch.float64)),
    ],
)
def test_logistic_loss(criterion):
    z, y = normal(6, 3), (normal(6, 3, seed=3) > 0).double()
    factor = output_factor(objective(criterion, z, y), 0, z)
    truth = curvature(criterion, z, y)
    assert len(factor) == int(truth.diagonal().reshape(6, 3).any(0).sum())  # a weight of zero leaves a column out
    assert gap(factor, truth) <= EXACT


def test_logistic_loss_of_one_number():
    z, y = normal(6), (normal(6, seed=3) > 0).double()
    factor = output_factor(objective(nn.BCEWithLogitsLoss(), z, y), 0, z)
    assert factor.shape == (1, 6)
    assert gap(factor, torch.diag(z.sigmoid() * (-z).sigmoid()) / 6) <= EXACT


@pytest.mark.parametrize(
    "criterion",
    [
        nn.HuberLoss(),
        nn.PoissonNLLLoss(),
        lambda a, b: (a - b).pow(4).mean(),
        lambda a, b: (a - b).square().sum(1).add(1).sqrt().mean(),
        lambda a, b: (a.logsumexp(1) + 9).square().mean() + 2 * (a * b).mean(),
    ],
)
def test_any_convex_loss(criterion):
    z, y = normal(6, 3), normal(6, 3, seed=3)
    assert gap(output_factor(objective(criterion, z, y), 0, z), curvature(criterion, z, y)) <= EXACT


def test_columns_of_lower_rank_are_left_out():
    z, y = normal(6, 4), normal(6, 4, seed=3)

    def first_two(a, b):
        return (a[:, :2].sum(1) - b[:, 0]).pow(2).mean()

    factor = output_factor(objective(first_two, z, y), 0, z)
    assert factor.shape == (1, 6, 4)
    assert gap(factor, curvature(first_two, z, y)) <= EXACT


def test_no_curvature_no_columns():
    z, y = normal(6, 4), normal(6, 4, seed=3)
    for criterion in (nn.L1Loss(), lambda a, b: (a * b).mean()):
        assert output_factor(objective(criterion, z, y), 0, z).shape == (0, 6, 4)


def test_one_class_has_no_curvature():
    z, y = normal(6, 1), torch.zeros(6, dtype=torch.int64)
    assert output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z).shape == (0, 6, 1)


@pytest.mark.parametrize("doubt", [1e-2, 1e-4, 1e-6, 1e-12, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_confident_softmax_keeps_its_digits(doubt, dtype):
    """At p = (1 − d − e, d, e) each entry of Λ is known without a difference: p₀(1 − p₀) = p₀(d + e), and so on."""
    z = torch.tensor([[0.0, math.log(doubt), math.log(doubt / 3)]], dtype=torch.float64).to(dtype)
    y = torch.zeros(1, dtype=torch.int64)
    factor = output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z)
    assert factor.dtype == dtype
    a, b = torch.exp(z.double()[0, 1:])  # of the outputs as they were rounded
    whole = 1 + a + b
    p0, d, e = 1 / whole, a / whole, b / whole
    truth = torch.stack([p0 * (d + e), -p0 * d, -p0 * e, -p0 * d, d * (p0 + e), -d * e, -p0 * e, -d * e, e * (p0 + d)])
    difference = product(factor) - truth.reshape(3, 3)
    limit = SINGLE if dtype == torch.float32 else EXACT
    assert float(difference.abs().max() / truth.abs().max()) <= limit


@pytest.mark.parametrize("sure", [5.0, 30.0, 300.0])
def test_confident_logistic_keeps_its_digits(sure):
    z, y = torch.tensor([[sure, -sure]], dtype=torch.float64), torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    factor = output_factor(objective(nn.BCEWithLogitsLoss(), z, y), 0, z)
    tail = math.exp(-sure)
    assert gap(factor, torch.eye(2, dtype=torch.float64) * tail / (1 + tail) ** 2 / 2) <= EXACT


def test_every_class_may_be_the_most_probable():
    z, y = 2 * torch.eye(4, dtype=torch.float64) + normal(4, 4, scale=0.1), labels(4)
    assert gap(output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z), curvature(nn.CrossEntropyLoss(), z, y)) <= (
        EXACT
    )


def test_the_shorter_factor_has_the_spectrum_of_the_longer():
    """diag(√p) − p√pᵀ has one column more, and the same M Mᵀ spectrum for any Jacobian."""
    z, y = normal(7, 4), labels(7)
    short = output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z)
    p = z.softmax(1)
    long = (torch.diag_embed(p.sqrt()) - p[:, :, None] * p.sqrt()[:, None]).permute(2, 0, 1) / math.sqrt(7)
    jacobian = normal(7, 4, 9, seed=8)
    spectra = []
    for factor in (short, long):
        rows = torch.einsum("cni,nip->ncp", factor, jacobian).reshape(-1, 9)
        spectra.append(torch.linalg.eigvalsh(rows.T @ rows))
    assert torch.allclose(*spectra, rtol=1e-12, atol=1e-14)  # eigenvalues of order one after some 30 additions


def test_agrees_with_the_operator_of_the_outputs():
    z, y = normal(7, 4), labels(7)
    made = objective(nn.CrossEntropyLoss(label_smoothing=0.3), z, y, shares=(0.25, 0.75))
    for i in range(2):
        v = normal(7, 4, seed=i)
        rows = output_factor(made, i, z)
        mine = (rows * (rows * v).sum(2, keepdim=True)).sum(0)
        truth = OutputCurvature(made, i, z, name="outputs").multiply(v)
        assert float((mine - truth).abs().max() / truth.abs().max()) <= EXACT


def test_criteria_that_look_like_known_ones_are_not_taken_for_them():
    """A subclass with a forward of its own, and a loss that is a cross-entropy near the origin only."""

    class Squared(nn.CrossEntropyLoss):
        def forward(self, z, y):
            return super().forward(z, y) ** 2

    class Tempered(nn.CrossEntropyLoss):
        def forward(self, z, y):
            return super().forward(z / 2, y)

    z, y = normal(1, 4), labels(1)
    for criterion in (Squared(), Tempered()):
        assert gap(output_factor(objective(criterion, z, y), 0, z), curvature(criterion, z, y)) <= EXACT


@pytest.mark.parametrize(
    "criterion",
    [
        lambda a, b: ((a - b).square().mean()) ** 2,
        lambda a, b: (a.mean(0) - b.mean(0)).square().sum(),
        lambda a, b: a.flatten().logsumexp(0),
    ],
)
@pytest.mark.parametrize("width", [1, 3])
def test_a_loss_that_couples_examples_is_refused(criterion, width):
    z, y = normal(6, width), normal(6, width, seed=3)
    with pytest.raises(UnsupportedError, match="couples the examples"):
        output_factor(objective(criterion, z, y), 0, z)


@pytest.mark.parametrize("criterion", [lambda a, b: (a * b).sin().mean(), lambda a, b: -a.logsumexp(1).mean()])
def test_a_loss_that_is_not_convex_is_refused(criterion):
    z, y = normal(6, 3), normal(6, 3, seed=3)
    with pytest.raises(UnsupportedError, match="not convex"):
        output_factor(objective(criterion, z, y), 0, z)


def test_too_many_outputs_are_refused():
    z, y = normal(2, MOST_OUTPUTS + 1), labels(2)
    with pytest.raises(UnsupportedError, match="129 outputs per example"):
        output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z)
    assert len(output_factor(objective(nn.CrossEntropyLoss(), z, y), 0, z[:, 1:])) == MOST_OUTPUTS - 1


def test_a_loss_without_outputs_is_refused():
    z, y = normal(2, 3), labels(2)
    made = objective(nn.CrossEntropyLoss(), z, y)
    made.loss.splits = False
    with pytest.raises(UnsupportedError, match="apart"):
        output_factor(made, 0, z)


def test_a_criterion_with_float32_tensors_of_its_own():
    weight = torch.tensor([0.2, 3.0, 1.0, 0.5])

    def criterion(z, y):
        return F.cross_entropy(z, y, weight=weight)

    z, y = normal(7, 4).float(), labels(7)
    factor = output_factor(objective(criterion, z, y), 0, z)
    truth = curvature(lambda a, b: F.cross_entropy(a, b, weight=weight.double()), z, y)
    assert gap(factor, truth) <= 10 * SINGLE  # Λ itself comes in float32, and its eigenvectors with it
