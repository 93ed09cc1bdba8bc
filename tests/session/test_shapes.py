import pytest
import torch
from torch import nn

import lhexplore as lh
from lhexplore.errors import UnknownLayerError


class Tied(nn.Module):
    """Two names for one weight, and a convolution."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.a = nn.Linear(2, 2, bias=False)
        self.b = nn.Linear(2, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(self.conv(x).mean((2, 3))))


@pytest.fixture(scope="module")
def session():
    torch.manual_seed(0)
    data = [(torch.randn(8, 1, 4, 4), torch.randint(0, 2, (8,)))]
    with lh.Session(Tied(), data, nn.CrossEntropyLoss(), cache=False) as made:
        yield made


def test_shapes_come_in_the_order_of_the_parameters(session):
    assert session.shapes("conv") == (("conv.weight", (2, 1, 3, 3)), ("conv.bias", (2,)))


def test_a_tensor_with_two_names_is_there_once(session):
    for name in (None, *(layer.name for layer in session.layers if layer.status == "ok")):
        shapes = session.shapes(name)
        sizes = [torch.Size(shape).numel() for _, shape in shapes]
        assert sum(sizes) == session.eigenvectors(name, 1).vectors.shape[1]


def test_an_unknown_layer_is_refused(session):
    with pytest.raises(UnknownLayerError, match="conv"):
        session.shapes("convolution")
