"""Which batch norm and activation belong to a layer's block: found by following its output."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from curvature.functional.cases import Square, data, layer_of, replica_of, seeded, used
from torch import nn

from lhexplore.curvature.functional import groups, local_objective
from lhexplore.errors import SettingError, UnsupportedError


def found(model, shape=(4,), *, loss=None, examples=6, **settings):
    replica = replica_of(model, data(shape, examples=examples), loss, **settings)
    return groups(replica, replica.layers)


def net(forward, **modules):
    """A module whose forward is a function of itself and x."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            for name, module in modules.items():
                setattr(self, name, module)

        def forward(self, x):
            return forward(self, x)

    return Net()


def two(middle, **more):
    """fc → middle(self, h) → head."""
    return net(lambda s, x: s.head(middle(s, s.fc(x))), fc=nn.Linear(4, 5), head=nn.Linear(5, 3), **more)


def swish(h):
    return h * torch.sigmoid(h)


def written_gelu(h):
    return 0.5 * h * (1 + torch.tanh(0.797885 * (h + 0.044715 * h**3)))


@pytest.mark.parametrize(
    ("middle", "name"),
    [
        (lambda s, h: F.relu(h), "F.relu"),
        (lambda s, h: torch.tanh(h), "torch.tanh"),
        (lambda s, h: h.relu(), "Tensor.relu"),
        (lambda s, h: h.relu_(), "Tensor.relu_"),
        (lambda s, h: F.relu(h, inplace=True), "F.relu"),
        (lambda s, h: F.gelu(h, approximate="tanh"), "F.gelu"),
        (lambda s, h: F.leaky_relu(h, negative_slope=0.2), "F.leaky_relu"),
        (lambda s, h: torch.sin(2 * h), "Tensor.mul, torch.sin"),
        (lambda s, h: swish(h), "torch.sigmoid, Tensor.mul"),
        (lambda s, h: torch.where(h > 0, h, torch.expm1(h)), "Tensor.gt, torch.expm1, torch.where"),
        (lambda s, h: torch.maximum(h, torch.zeros_like(h)), "torch.zeros_like, torch.maximum"),
        (lambda s, h: F.dropout(torch.tanh(h), training=s.training), "torch.tanh"),
        (lambda s, h: torch.tanh(F.dropout(h, training=s.training)), "torch.tanh"),
    ],
)
def test_activations_that_are_called_as_functions(middle, name):
    grouping = found(two(middle))["fc"]
    assert grouping.activation == name
    assert grouping.note == ""
    h = torch.randn(7, 5)
    assert torch.equal(grouping.function(h.clone()), middle(nn.Module().eval(), h.clone()))


def test_long_activations_are_named_in_short():
    grouping = found(two(lambda s, h: written_gelu(h)))["fc"]
    assert grouping.activation == "Tensor.mul … Tensor.mul (8 functions)"
    h = torch.randn(7, 5)
    assert torch.equal(grouping.function(h), written_gelu(h))


class Written(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(ctx, g):
        (x,) = ctx.saved_tensors
        return 2 * g * x


class Swish(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate = nn.Sigmoid()

    def forward(self, x):
        return x * self.gate(x)


class Custom(nn.Module):
    def forward(self, x):
        return Written.apply(x)


@pytest.mark.parametrize(
    "activation", [nn.ReLU(), nn.ReLU(inplace=True), nn.Tanh(), nn.PReLU(5), Square(), Swish(), Custom(), nn.Softplus()]
)
def test_activations_that_are_modules_have_their_names(activation):
    grouping = found(two(lambda s, h: s.act(h), act=activation))["fc"]
    assert (grouping.activation, grouping.function, grouping.note) == ("act", None, "")


@pytest.mark.parametrize(
    "middle",
    [
        lambda s, h: F.softmax(h, dim=1),
        lambda s, h: F.layer_norm(h, (5,)),
        lambda s, h: h / h.norm(),
        lambda s, h: h + 1,
        lambda s, h: 3 * h,
        lambda s, h: h * torch.arange(5.0),
        lambda s, h: torch.cumsum(h, 1),
        lambda s, h: torch.relu(h) + s.other(h),
        lambda s, h: Written.apply(h),  # whose derivative is its own, whatever its forward does
        lambda s, h: torch.relu(Written.apply(h)),
        lambda s, h: Written.apply(h) + torch.relu(h),
    ],
)
def test_what_is_no_elementwise_activation_of_this_output_alone_is_left_out(middle):
    grouping = found(two(middle, other=nn.Linear(5, 5)))["fc"]
    assert (grouping.activation, grouping.function) == (None, None)
    assert "no activation" in grouping.note


def residual(norm, *, inplace, before):
    def forward(s, x):
        y = s.bn(s.conv(x))
        if before:
            y = s.relu(y)
        y = y.add_(x) if inplace else y + x
        return s.head((y if before else s.relu(y)).flatten(1))

    return net(
        forward,
        conv=nn.Conv2d(2, 2, 3, padding=1),
        bn=norm,
        relu=nn.ReLU(inplace=inplace),
        head=nn.Linear(18, 3),
    )


@pytest.mark.parametrize("inplace", [False, True])
def test_an_activation_after_the_addition_is_not_the_convolutions(inplace):
    after = found(residual(nn.BatchNorm2d(2), inplace=inplace, before=False), (2, 3, 3))
    assert (after["conv"].batch_norm, after["conv"].activation) == ("bn", None)
    assert ("add_" if inplace else "Tensor.add") in after["conv"].note
    assert after["bn"].activation is None
    if not inplace:
        before = found(residual(nn.BatchNorm2d(2), inplace=False, before=True), (2, 3, 3))
        assert (before["conv"].batch_norm, before["conv"].activation) == ("bn", "relu")
        assert before["bn"].activation == "relu"


def test_batch_norms_of_the_batch_couple_examples_and_stay_out():
    model = residual(nn.BatchNorm2d(2), inplace=False, before=True)
    training = found(model, (2, 3, 3), mode="train-frozen")
    assert training["conv"].batch_norm is None
    assert "F.batch_norm" in training["conv"].note


def test_layers_of_a_chain_take_what_follows_them_directly():
    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(2, 3, 2), nn.Sequential(nn.BatchNorm2d(3), nn.ReLU()),
        nn.Flatten(), nn.Linear(3, 4), nn.Dropout(), nn.Tanh(), nn.Linear(4, 3),
    )  # fmt: skip
    grouping = found(model, (1, 6, 6))
    assert (grouping["0"].batch_norm, grouping["0"].activation) == (None, None)  # pooling comes first
    assert (grouping["3"].batch_norm, grouping["3"].activation) == ("4.0", "4.1")
    assert grouping["4.0"].activation == "4.1"
    assert grouping["6"].activation == "8"
    assert grouping["9"].activation is None
    assert str(grouping["3"]) == "3 → 4.0 → 4.1"


def test_pre_activation_nets_have_bare_convolutions():
    model = net(
        lambda s, x: s.head((s.conv2(s.relu(s.bn(s.conv(x)))) + s.conv(x)).flatten(1)),
        conv=nn.Conv1d(1, 2, 1), bn=used(nn.BatchNorm1d(2)), relu=nn.ReLU(), conv2=nn.Conv1d(2, 2, 1),
        head=nn.Linear(8, 3),
    )  # fmt: skip
    grouping = found(model, (1, 4))
    assert grouping["conv"].batch_norm is None
    assert "called 2 times" in grouping["conv"].note
    assert "different activations" in grouping["conv"].note
    assert grouping["bn"].activation == "relu"


def test_the_losss_own_functions_are_no_activations():
    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    for loss in (lambda out, y: torch.sigmoid(out).mean(), lambda model, batch: model(batch[0]).square().mean()):
        assert found(model, loss=loss)["2"].activation is None


def test_weights_that_are_used_without_their_module():
    attention = seeded(lambda: nn.TransformerEncoderLayer(4, 2, 8, batch_first=True))
    model = nn.Sequential(attention, nn.Flatten(), nn.Linear(12, 3))
    grouping = found(model, (3, 4))
    assert "'0.self_attn' (MultiheadAttention) uses its weights itself" in grouping["0.self_attn.out_proj"].reason
    assert grouping["0.linear1"].activation == "F.relu"
    assert grouping["0.self_attn"].reason == ""
    unused = net(lambda s, x: F.linear(x, s.fc.weight), fc=nn.Linear(4, 3, bias=False), idle=nn.Linear(2, 2))
    grouping = found(unused)
    assert all("never called as a module" in grouping[name].reason for name in ("fc", "idle"))
    replica = replica_of(unused, data((4,)))
    with pytest.raises(UnsupportedError, match="'fc' has no local functional: it is never called"):
        local_objective(replica, layer_of(replica, "fc"), "half_square")


def test_several_outputs_ties_and_parameters_of_the_root():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(3))
            self.embed, self.rnn, self.out = nn.Embedding(7, 4), nn.GRU(4, 4, batch_first=True), nn.Linear(4, 7)
            self.out.weight = self.embed.weight
            self.head = nn.Linear(7, 3)

        def forward(self, x):
            return self.scale * self.head(self.out(self.rnn(self.embed(x))[0][:, -1]))

    x, y = torch.randint(0, 7, (5, 3)), torch.randint(0, 3, (5,))
    replica = replica_of(Net(), [(x, y)])
    grouping = groups(replica, replica.layers)
    assert grouping["rnn"].note == "the first of its 2 outputs is the block's"
    assert "tied to out.weight: that use is another block" in grouping["embed"].note
    assert grouping["(root)"].reason == ""
    assert grouping["out"].reason == ""  # its bias


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_grouping_is_the_same_at_every_snapshot(dtype):
    model = residual(nn.BatchNorm2d(2), inplace=False, before=True)
    replica = replica_of(model, data((2, 3, 3), dtype=dtype), dtype=dtype)
    first = groups(replica, replica.layers)
    dead = {name: torch.zeros_like(value) for name, value in model.state_dict().items()}
    replica.load(dead)
    assert groups(replica, replica.layers) == first


def test_groupings_can_be_edited_and_are_checked():
    model = nn.Sequential(nn.Linear(4, 3), nn.Softmax(1), nn.Linear(3, 3))
    replica = replica_of(model, data((4,)))
    layer = layer_of(replica, "0")
    grouping = groups(replica, [layer])["0"]
    assert grouping.activation is None
    assert "softmax" in grouping.note
    assert local_objective(replica, layer, "half_square", replace(grouping, activation="1")).count == 1
    with pytest.raises(SettingError, match="no module 'soft'"):
        local_objective(replica, layer, "half_square", replace(grouping, activation="soft"))
    with pytest.raises(SettingError, match="of layer '0', not of '2'"):
        local_objective(replica, layer_of(replica, "2"), "half_square", grouping)


def test_following_a_forward_leaves_everything_as_it_was(untouched):
    model = residual(nn.BatchNorm2d(2), inplace=True, before=False)
    replica = replica_of(model, data((2, 3, 3)))
    with untouched(model, replica.model):
        groups(replica, replica.layers)
