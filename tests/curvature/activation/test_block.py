"""Blocks from a layer's output against float64 matrices from double backward, row by row."""

import numpy as np
import pytest
import torch
from curvature.objectives import NetObjective, classes, gauss_newton, hessian, matrix_of, mlp
from scipy.stats import wasserstein_distance
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from lhexplore.curvature.activation import ActivationBlock, activation_block, activation_cost
from lhexplore.curvature.batches import freeze
from lhexplore.curvature.lanczos import lanczos, start_vector
from lhexplore.curvature.layers import find_layer
from lhexplore.curvature.operators import LayerHessian, SymmetricOperator
from lhexplore.curvature.replica import Replica

EXACT = 1e-12  # float64 rounding of a few hundred terms, relative to the block's norm
ZERO = 1e-10  # eigenvalues of these blocks are exact zeros or far larger
SINGLE = 1e-5  # the same in float32


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


def normed(*, bias=True):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        layers = [nn.Linear(6, 5, bias=bias), nn.LayerNorm(5), nn.GELU(), nn.Linear(5, 4, bias=bias), nn.Tanh()]
        return nn.Sequential(*layers, nn.Linear(4, 3, bias=bias)).double()


def built(objective, prefix, **settings):
    block = activation_block(objective, objective.block(prefix), **{"products": None, **settings})
    assert isinstance(block, ActivationBlock), block
    return block


def assert_is_the_block(block, truth, *, tolerance=EXACT):
    """Products, eigenvalues, zeros and trace are those of the matrix."""
    assert relative(matrix_of(block).double(), truth) <= tolerance
    exact, values = block.eigenvalues(), torch.linalg.eigvalsh(truth).numpy()
    found = np.sort(np.concatenate([exact.eigenvalues, np.zeros(block.zeros)]))
    scale = np.abs(values).max()
    assert np.abs(found - values).max() <= tolerance * scale
    assert block.rank + block.zeros == block.size == len(truth)
    if block.trace is not None:
        assert abs(block.trace - float(truth.trace())) <= tolerance * float(truth.norm()) * len(truth) ** 0.5


WEIGHTS = torch.tensor([0.2, 1.0, 3.0], dtype=torch.float64)
CRITERIA = {
    "ce": nn.CrossEntropyLoss(),
    "smoothed": nn.CrossEntropyLoss(label_smoothing=0.2),
    "mse": lambda outputs, y: nn.functional.mse_loss(outputs, nn.functional.one_hot(y, 3).to(outputs.dtype)),
}
NETS = {
    "tanh": lambda: mlp(nn.Tanh),
    "gelu": lambda: mlp(nn.GELU),
    "relu": lambda: mlp(nn.ReLU),
    "norm": normed,
    "no bias": lambda: normed(bias=False),
}


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("net", NETS)
def test_every_linear_layer_whatever_follows(net, criterion):
    objective = NetObjective(NETS[net](), classes(cuts=(7, 19)), CRITERIA[criterion])
    for name, module in objective.model.named_modules():
        if isinstance(module, nn.Linear):
            layer = objective.block(f"{name}.")
            block = built(objective, f"{name}.")
            assert isinstance(block, SymmetricOperator)
            assert isinstance(block.compressed, SymmetricOperator)
            assert_is_the_block(block, hessian(objective, layer))
            # A column per output, one test of the examples, one comparison with double backward.
            assert block.products == module.out_features + 2


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_class_weights_and_ragged_batches_through_the_replica(dtype):
    net, batches = mlp(nn.Tanh), classes(examples=23, cuts=(10, 20))
    criterion = nn.CrossEntropyLoss(weight=WEIGHTS)
    replica = Replica(net, criterion, freeze(batches), dtype=dtype, device="cpu", threads=1)
    whole = NetObjective(net, classes(examples=23), criterion)
    for prefix in ("0", "2", "4"):
        block = activation_block(replica, find_layer(replica.layers, prefix))
        assert isinstance(block, ActivationBlock), block
        truth = hessian(whole, whole.block(f"{prefix}."))
        assert_is_the_block(block, truth, tolerance=EXACT if dtype == torch.float64 else SINGLE)
        assert block.dtype == dtype
        assert block.defect <= (EXACT if dtype == torch.float64 else SINGLE)


@pytest.mark.parametrize("prefix", ["0.", "2."])
def test_gauss_newton_blocks_come_the_same_way(prefix):
    objective = NetObjective(mlp(nn.Tanh), classes(cuts=(7,)), nn.CrossEntropyLoss())
    block = built(objective, prefix, curvature="ggn")
    assert_is_the_block(block, gauss_newton(objective, objective.block(prefix)))


def test_many_vectors_are_multiplied_like_one():
    objective = NetObjective(mlp(nn.GELU), classes(cuts=(9,)), nn.CrossEntropyLoss())
    block = built(objective, "2.")
    vectors = torch.randn(block.size, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    one_by_one = torch.stack([block.matvec(v) for v in vectors.T], dim=1)
    assert relative(block.matmat(vectors), one_by_one) <= EXACT
    assert block.compressed.products == 8
    assert block.lift(block.reduce(vectors)).allclose(vectors, rtol=EXACT)  # nothing is cut off here


def low_rank(examples=40, features=24, rank=5, seed=0):
    """Inputs in few directions: images that were made larger look like this."""
    generator = torch.Generator().manual_seed(seed)
    left = torch.randn(examples, rank, generator=generator, dtype=torch.float64)
    table = left @ torch.randn(rank, features, generator=generator, dtype=torch.float64)
    return table, torch.randint(0, 3, (examples,), generator=generator)


def wide(*, cut=17, rank=5):
    x, y = low_rank(rank=rank)
    return NetObjective(mlp(nn.Tanh, sizes=(24, 7, 3)), [(x[:cut], y[:cut]), (x[cut:], y[cut:])], nn.CrossEntropyLoss())


def test_inputs_in_few_directions_leave_few_dimensions():
    objective = wide()
    block = built(objective, "0.")
    assert (block.rank, block.zeros) == (7 * 6, 25 * 7 - 42)  # 5 directions and the bias
    truth = hessian(objective, objective.block("0."))
    assert_is_the_block(block, truth)
    assert block.dropped <= EXACT * float(truth.norm())
    # Eigenvectors of the small operator are eigenvectors of the block.
    values, vectors = torch.linalg.eigh(block.compressed.dense())
    assert relative(truth @ block.lift(vectors), block.lift(vectors * values)) <= EXACT


def moments(nodes, weights, most):
    return np.array([np.sum(weights * nodes**power) for power in range(most)])


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("rank", [5, 24])
def test_lanczos_in_the_span_has_the_moments_of_the_whole_space(steps, rank):
    objective = wide(rank=rank)
    block, truth = built(objective, "0."), hessian(objective, objective.block("0."))
    for index in range(3):
        v = start_vector(block, seed=0, name="x", index=index)
        inside, share = block.start(v)
        *_, last = lanczos(block.compressed, inside, steps=steps)
        found = block.whole(last.quadrature(), share)
        *_, last = lanczos(LayerHessian(objective, objective.block("0.")), v, steps=steps)
        full = last.quadrature()
        powers, exact = v, []
        for _ in range(2 * steps):
            exact.append(float(v @ powers))
            powers = truth @ powers
        scale = np.abs(full.nodes).max() ** np.arange(2 * steps)
        assert abs(found.weights.sum() - 1) <= EXACT
        assert np.abs(moments(found.nodes, found.weights, 2 * steps) - exact).max() <= EXACT * scale.max()
        assert np.abs(moments(full.nodes, full.weights, 2 * steps) - exact).max() <= EXACT * scale.max()
        # Both ends lie at least as far out as those of the whole space, and not beyond the truth.
        values = torch.linalg.eigvalsh(truth).numpy()
        slack = EXACT * np.abs(values).max()
        assert values[-1] + slack >= found.nodes[-1] >= full.nodes[-1] - slack
        assert values[0] - slack <= found.nodes[0] <= max(full.nodes[0], 0) + slack


def test_the_weight_of_the_zeros_is_known_exactly():
    # In the whole space the zeros are a Ritz value near 0, on one side of it or the other, that moves with the steps.
    objective = wide()
    block = built(objective, "0.")
    v = start_vector(block, seed=0, name="x", index=0)
    inside, share = block.start(v)
    *_, last = lanczos(block.compressed, inside, steps=4)
    found = block.whole(last.quadrature(), share)
    x = torch.cat([torch.cat([x for x, _ in objective.batches]), torch.ones(40, 1)], dim=1)
    span = torch.linalg.svd(x).Vh[:6]
    table = torch.cat([v[: 7 * 24].reshape(7, 24), v[7 * 24 :, None]], dim=1)  # a row per output, the bias last
    outside = float((table - table @ span.T @ span).square().sum())
    at = int(np.flatnonzero(found.nodes == 0)[0])
    assert 0 < outside < 1
    assert found.weights[at] == pytest.approx(outside, rel=EXACT)
    assert np.all(np.diff(found.nodes) >= 0)
    assert found.residuals[at] == block.dropped


def test_zeros_are_not_counted_as_negative():
    # 76 % of this block's eigenvalues are exact zeros. In the whole space their weight sits on a Ritz value near 0 that
    # is not 0 and may be negative; in the span it is known, and the negative weight is that of true eigenvalues.
    objective = wide()
    block, op = built(objective, "0."), LayerHessian(objective, objective.block("0."))
    truth = torch.linalg.eigvalsh(hessian(objective, objective.block("0."))).numpy()
    negative, distances = {"span": [], "whole": []}, {"span": [], "whole": []}
    for index in range(10):
        v = start_vector(block, seed=0, name="x", index=index)
        inside, share = block.start(v)
        *_, last = lanczos(block.compressed, inside, steps=12)
        *_, full = lanczos(op, v, steps=12)
        for name, found in (("span", block.whole(last.quadrature(), share)), ("whole", full.quadrature())):
            negative[name].append(found.weights[found.nodes < -ZERO].sum())
            distances[name].append(wasserstein_distance(found.nodes, truth, found.weights))
    share = (truth < -ZERO).mean()
    assert abs(np.mean(negative["span"]) - share) <= 0.02
    assert np.mean(negative["whole"]) - share >= 0.2
    assert np.mean(distances["span"]) < np.mean(distances["whole"])


def test_the_bound_covers_what_the_numerical_rank_drops():
    # float32 inputs that are of rank 3 up to their own rounding: what is cut off is below the stated bound.
    x, y = low_rank(rank=3)
    x = x.float()
    replica = Replica(mlp(nn.Tanh, sizes=(24, 7, 3)), nn.CrossEntropyLoss(), freeze([(x, y)]), dtype=torch.float32)
    block = activation_block(replica, find_layer(replica.layers, "0"))
    assert isinstance(block, ActivationBlock), block
    assert block.rank == 7 * 4
    objective = NetObjective(mlp(nn.Tanh, sizes=(24, 7, 3)), [(x.double(), y)], nn.CrossEntropyLoss())
    truth = torch.linalg.eigvalsh(hessian(objective, objective.block("0."))).numpy()
    found = np.sort(np.concatenate([block.eigenvalues().eigenvalues, np.zeros(block.zeros)]))
    assert 0 < block.dropped <= SINGLE * 100 * np.abs(truth).max()
    assert np.abs(found - truth).max() <= block.eigenvalues().residual


def test_inputs_known_to_be_coarse_may_be_cut_at_their_resolution():
    # In float64 the rounding of float32 inputs spans every direction; a resolution cuts it off, with its bound.
    x, y = low_rank(rank=3)
    objective = NetObjective(mlp(nn.Tanh, sizes=(24, 7, 3)), [(x.float().double(), y)], nn.CrossEntropyLoss())
    layer = objective.block("0.")
    truth = hessian(objective, layer)
    assert built(objective, "0.").rank == 7 * 25
    block = built(objective, "0.", resolution=torch.finfo(torch.float32).eps)
    assert block.rank == 7 * 4
    off = float(torch.linalg.matrix_norm(matrix_of(block) - truth, ord=2))
    assert EXACT * float(truth.norm()) < off <= block.dropped <= SINGLE * float(truth.norm())
    found = np.sort(np.concatenate([block.eigenvalues().eigenvalues, np.zeros(block.zeros)]))
    assert np.abs(found - torch.linalg.eigvalsh(truth).numpy()).max() <= block.dropped
    reason = activation_block(objective, layer, resolution=0.1)  # that would cut off more than a product can bear
    assert isinstance(reason, str)


def test_one_parameter_one_example():
    objective = NetObjective(
        nn.Sequential(nn.Linear(1, 1, bias=False), nn.Tanh()).double(),
        [(torch.tensor([[2.0]]).double(), torch.tensor([[1.0]]).double())],
        nn.MSELoss(),
    )
    block = built(objective, "0.")
    w = float(objective.tensors["0.weight"])
    t = np.tanh(2 * w)
    slope = 1 - t**2  # (tanh(2w) − 1)² twice in w
    assert (block.size, block.rank) == (1, 1)
    assert float(block.matvec(torch.ones(1).double())) == pytest.approx(
        2 * (2 * slope) ** 2 + 2 * (t - 1) * -8 * t * slope, rel=EXACT
    )


def test_a_loss_linear_in_the_outputs_is_a_block_of_zeros():
    objective = NetObjective(mlp(sizes=(6, 3)), classes(cuts=(7,)), lambda outputs, y: outputs.sum())
    block = built(objective, "0.")
    assert not matrix_of(block).any()
    assert block.trace == 0


def test_nothing_of_the_model_is_left_changed(untouched):
    objective = NetObjective(mlp(nn.Tanh), classes(), nn.CrossEntropyLoss())
    with untouched(objective.model):
        built(objective, "2.")


@pytest.mark.parametrize("positions", [1, 3])
def test_flops_of_a_product_are_as_stated(positions):
    x = torch.randn(12, positions, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    net = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Flatten(), nn.Linear(4 * positions, 3)).double()
    objective = NetObjective(net, [(x, torch.arange(12) % 3)], nn.CrossEntropyLoss())
    block = built(objective, "0.")
    cost = activation_cost(examples=12, positions=positions, outputs=4, inputs=7)
    with FlopCounterMode(display=False) as counter:
        block.compressed.matmat(torch.ones(block.rank, 5, dtype=torch.float64))
    assert counter.get_total_flops() == 5 * cost.product_flops
    assert (cost.size, cost.build_products) == (block.rank, block.products - (2 if positions == 1 else 3))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_blocks_on_a_gpu_are_those_of_the_processor():
    net, batches = mlp(nn.Tanh, sizes=(24, 7, 3)), [low_rank()]
    blocks = []
    for device in ("cpu", "cuda"):
        replica = Replica(net, nn.CrossEntropyLoss(), freeze(batches), dtype=torch.float64, device=device)
        block = activation_block(replica, find_layer(replica.layers, "0"), products=None)
        assert isinstance(block, ActivationBlock), block
        assert block.device.type == device
        blocks.append(matrix_of_columns(block).cpu())
    assert relative(blocks[1], blocks[0]) <= EXACT


def matrix_of_columns(block):
    return block.matmat(torch.eye(block.size, dtype=block.dtype, device=block.device))
