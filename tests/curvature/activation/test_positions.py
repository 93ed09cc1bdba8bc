"""Layers called on positions, convolutions, and networks whose examples couple."""

import pytest
import torch
from curvature.activation.test_block import assert_is_the_block, built, low_rank
from curvature.objectives import NetObjective, hessian
from torch import nn

from lhexplore.curvature.activation import activation_block


class Attention(nn.Module):
    """One head, written out; axes: where examples and tokens stand."""

    def __init__(self, tokens_first=False):
        super().__init__()
        self.query, self.out, self.head = nn.Linear(4, 3), nn.Linear(4, 3, bias=False), nn.Linear(3, 3)
        self.tokens_first = tokens_first

    def forward(self, x):
        if self.tokens_first:
            x = x.transpose(0, 1)
        q, v = self.query(x), self.out(x)
        if self.tokens_first:
            q, v = q.transpose(0, 1), v.transpose(0, 1)
        mixed = torch.softmax(q @ q.mT, -1) @ v
        return self.head(torch.tanh(mixed).mean(1))


def sequences(cuts=(5,), tokens=(4, 4), seed=0):
    generator = torch.Generator().manual_seed(seed)
    sizes = [cuts[0], 9 - cuts[0]]
    return [
        (
            torch.randn(n, t, 4, generator=generator, dtype=torch.float64),
            torch.randint(0, 3, (n,), generator=generator),
        )
        for n, t in zip(sizes, tokens, strict=True)
    ]


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make().double()


@pytest.mark.parametrize("tokens", [(4, 4), (4, 2)])
@pytest.mark.parametrize("tokens_first", [False, True])
@pytest.mark.parametrize("prefix", ["query.", "out.", "head."])
def test_linear_layers_on_positions_that_couple(prefix, tokens_first, tokens):
    objective = NetObjective(seeded(lambda: Attention(tokens_first)), sequences(tokens=tokens), nn.CrossEntropyLoss())
    block = built(objective, prefix)
    assert block.compressed.explicit
    assert_is_the_block(block, hessian(objective, objective.block(prefix)))


def test_positions_that_do_not_couple_are_units_of_their_own():
    net = seeded(lambda: nn.Sequential(nn.Linear(4, 5), nn.GELU(), nn.Linear(5, 3)))
    batches = [(x, torch.arange(x.shape[0] * 4).reshape(-1, 4) % 3) for x, _ in sequences()]

    def per_token(outputs, y):
        return nn.functional.cross_entropy(outputs.flatten(0, 1), y.flatten())

    objective = NetObjective(net, batches, per_token)
    block = built(objective, "0.")
    assert block.products == 5 + 2  # a column per output, not per output and position
    assert_is_the_block(block, hessian(objective, objective.block("0.")))


CONVOLUTIONS = {
    "plain": lambda: (nn.Conv2d(2, 3, 3), (6, 5)),
    "strided": lambda: (nn.Conv2d(2, 3, (3, 2), stride=(2, 1), bias=False), (6, 5)),
    "dilated": lambda: (nn.Conv2d(2, 3, 2, dilation=2, padding=1), (4, 4)),
    "same": lambda: (nn.Conv2d(2, 2, (1, 3), padding="same"), (4, 4)),
    "circular": lambda: (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), (4, 4)),
    "1d": lambda: (nn.Conv1d(2, 3, 3, padding=1), (7,)),
    "3d": lambda: (nn.Conv3d(2, 2, 2), (3, 3, 2)),
}


@pytest.mark.parametrize("kind", CONVOLUTIONS)
def test_convolutions_with_few_positions(kind):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        conv, space = CONVOLUTIONS[kind]()
        x = torch.randn(7, 2, *space).double()
        width = conv.double()(x).flatten(1).shape[1]
        net = nn.Sequential(conv, nn.Tanh(), nn.Flatten(), nn.Linear(width, 3)).double()
    objective = NetObjective(net, [(x[:3], torch.arange(3)), (x[3:], torch.arange(4) % 3)], nn.CrossEntropyLoss())
    block = built(objective, "0.")
    assert_is_the_block(block, hessian(objective, objective.block("0.")))


class Standardised(nn.Module):
    """Batch norm over the examples at hand: every example moves every other."""

    def forward(self, x):
        return (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()


class Mixed(nn.Module):
    """Attention over the batch."""

    def forward(self, x):
        return torch.softmax(x @ x.mT, -1) @ x


COUPLED = {"norm": Standardised, "attention": Mixed}


def coupled(kind, x, y, features):
    net = seeded(lambda: nn.Sequential(nn.Linear(features, 5), COUPLED[kind](), nn.Tanh(), nn.Linear(5, 3)))
    return NetObjective(net, [(x, y)], nn.CrossEntropyLoss())


@pytest.mark.parametrize("kind", COUPLED)
def test_coupled_examples_are_seen(kind):
    x, y = low_rank(examples=12, features=4, rank=4)
    objective = coupled(kind, x, y, 4)
    reason = activation_block(objective, objective.block("0."))
    assert isinstance(reason, str)
    assert "couple" in reason
    built(objective, "3.")  # what comes after the coupling is as ever


def test_a_coupled_loss_is_seen():
    def contrast(outputs, y):
        return torch.tanh(outputs[0::2] * outputs[1::2]).mean()

    x, y = low_rank(examples=12, features=4, rank=4)
    objective = NetObjective(seeded(lambda: nn.Sequential(nn.Linear(4, 3))), [(x, y)], contrast)
    reason = activation_block(objective, objective.block("0."))
    assert isinstance(reason, str)
    assert "couple" in reason


@pytest.mark.parametrize("kind", COUPLED)
def test_coupled_examples_with_inputs_in_few_directions_go_through_autograd(kind):
    x, y = low_rank(examples=12, features=20, rank=3)
    objective = coupled(kind, x, y, 20)
    block = built(objective, "0.")
    assert not block.compressed.explicit
    assert block.rank == 5 * 4
    assert block.trace is None
    spent = block.products
    assert_is_the_block(block, hessian(objective, objective.block("0.")))
    assert block.products > spent  # these products do cost backward passes
