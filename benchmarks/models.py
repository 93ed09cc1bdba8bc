"""The six networks of the benchmarks, trained on real handwritten digits: `build(name) -> model, (x, y), criterion`.

Every benchmark measures on these, so their figures can be set beside each other. The digits come with scikit-learn;
training takes seconds on one thread, and the weights are kept in a folder that git ignores.
"""

import hashlib
import uuid
from collections import OrderedDict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

WEIGHTS = Path(__file__).parent / ".weights"
SEED = 0
BATCH, RATE = 64, 2e-3  # of Adam


def mlp(activation: Callable[[], nn.Module]) -> nn.Module:
    """109,386 parameters in 3 layers; modules only, so that tools which extend modules can follow it."""
    sizes = (784, 128, 64, 10)
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for number, (before, after) in enumerate(pairwise(sizes), start=1):
        parts[f"fc{number}"] = nn.Linear(before, after)
        if after != sizes[-1]:
            parts[f"act{number}"] = activation()
    return nn.Sequential(parts)


def lenet() -> nn.Module:
    """61,750 parameters in 7 layers, with a batch norm after each convolution."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 6, 5, padding=2),
            bn1=nn.BatchNorm2d(6),
            act1=nn.ReLU(),
            pool1=nn.MaxPool2d(2),
            conv2=nn.Conv2d(6, 16, 5),
            bn2=nn.BatchNorm2d(16),
            act2=nn.ReLU(),
            pool2=nn.MaxPool2d(2),
            flatten=nn.Flatten(),
            fc1=nn.Linear(400, 120),
            act3=nn.ReLU(),
            fc2=nn.Linear(120, 84),
            act4=nn.ReLU(),
            fc3=nn.Linear(84, 10),
        )
    )


class Block(nn.Module):
    """Two convolutions with a way around them."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(after)
        self.around = nn.Sequential()
        if stride != 1 or before != after:
            self.around = nn.Sequential(nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(inner + self.around(x))


class ResNet(nn.Module):
    """Residual network with batch norms: a stem, stages of blocks, the mean over positions, one linear layer."""

    def __init__(self, *, widths: tuple[int, ...], blocks: int, outputs: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, widths[0], 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(widths[0])
        before, stages = widths[0], []
        for number, width in enumerate(widths):
            for first in (True, *[False] * (blocks - 1)):
                stages.append(Block(before, width, 2 if first and number else 1))
                before = width
        self.blocks = nn.Sequential(*stages)
        self.fc = nn.Linear(before, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(F.relu(self.bn1(self.conv1(x)))).mean((2, 3)))


def resnet20() -> nn.Module:
    """272,474 parameters in 43 layers, 22 of them convolutions or linear."""
    return ResNet(widths=(16, 32, 64), blocks=3)


def resnet18() -> nn.Module:
    """11.2 million parameters in 41 layers: ResNet-18 for small images. Too large for most CPUs' patience."""
    return ResNet(widths=(64, 128, 256, 512), blocks=2)


class Attention(nn.Module):
    """Written out, so that second derivatives exist on every device and in every tool."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, -1))
        attention = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1)
        return self.proj((attention @ v).transpose(1, 2).flatten(2))


class TransformerBlock(nn.Module):
    """Attention and two linear layers, each with a layer norm before it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.ln1, self.attn = nn.LayerNorm(width), Attention(width, heads)
        self.ln2 = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln1(x))
        return x + self.fc2(F.gelu(self.fc1(self.ln2(x))))


class Transformer(nn.Module):
    """69,066 parameters in 16 layers; 16 tokens, each a patch of 2 × 2 pixels."""

    def __init__(self, width: int = 64, heads: int = 4, tokens: int = 16) -> None:
        super().__init__()
        self.embed, self.position = nn.Linear(4, width), nn.Embedding(tokens, width)
        self.blocks = nn.Sequential(TransformerBlock(width, heads), TransformerBlock(width, heads))
        self.ln, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embed(tokens) + self.position(torch.arange(tokens.shape[1], device=tokens.device))
        return self.head(self.ln(self.blocks(x)).mean(1))


def flat(images: Tensor) -> Tensor:
    """28 × 28 pixels in a row."""
    return resized(images, 28).flatten(1)


def patches(images: Tensor) -> Tensor:
    """16 patches of 2 × 2 pixels."""
    return F.unfold(images, 2, stride=2).transpose(1, 2).contiguous()


def resized(images: Tensor, side: int, channels: int = 1) -> Tensor:
    """Interpolate between pixels, and repeat the one channel."""
    larger = F.interpolate(images, size=(side, side), mode="bilinear", align_corners=False)
    return larger.expand(-1, channels, -1, -1).contiguous()


class Recipe(NamedTuple):
    """How a network is made: the module, its input, how many digits the curvature is taken on, epochs of training."""

    network: Callable[[], nn.Module]
    inputs: Callable[[Tensor], Tensor]
    examples: int
    epochs: int
    piecewise_linear: bool  # then every layer's Hessian is its Gauss-Newton matrix


MODELS = {
    "tanh": Recipe(lambda: mlp(nn.Tanh), flat, 512, 5, False),
    "gelu": Recipe(lambda: mlp(nn.GELU), flat, 512, 5, False),
    "relu": Recipe(lambda: mlp(nn.ReLU), flat, 512, 8, True),
    "lenet": Recipe(lenet, lambda images: resized(images, 28), 256, 3, True),
    "resnet20": Recipe(resnet20, lambda images: resized(images, 32, 3), 64, 2, True),
    "transformer": Recipe(Transformer, patches, 64, 8, False),
}
UNTRAINED = {"resnet18": Recipe(resnet18, lambda images: resized(images, 32, 3), 512, 0, True)}  # for the GPU


def digits() -> tuple[Tensor, Tensor]:
    """All 1,797 digits and their labels in a fixed random order; (n, 1, 8, 8), pixels with mean 0 and deviation 1."""
    bunch = load_digits()
    order = torch.randperm(len(bunch.target), generator=torch.Generator().manual_seed(SEED))
    images = torch.from_numpy(bunch.images).float().unsqueeze(1)[order]
    return (images - images.mean()) / images.std(), torch.from_numpy(bunch.target).long()[order]


def build(name: str, *, examples: int | None = None) -> tuple[nn.Module, tuple[Tensor, Tensor], nn.Module]:
    """Make the network ``name`` with trained weights, in eval mode.

    Args:
        name: one of ``MODELS`` or ``UNTRAINED``.
        examples: how many digits to take instead of the recipe's number.

    Returns:
        The float32 module, its inputs and labels, and the criterion (mean cross-entropy).
    """
    recipe = (MODELS | UNTRAINED)[name]
    model = _trained(name, recipe) if recipe.epochs else _drawn(recipe)
    images, labels = digits()
    count = recipe.examples if examples is None else examples
    return model.eval(), (recipe.inputs(images[:count]), labels[:count]), nn.CrossEntropyLoss()


def _drawn(recipe: Recipe) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return recipe.network()


def _trained(name: str, recipe: Recipe) -> nn.Module:
    """Read the weights, or train and write them. This file's text is part of the name: a change trains anew."""
    model = _drawn(recipe)
    state = hashlib.sha256(Path(__file__).read_bytes() + torch.__version__.encode()).hexdigest()[:12]
    path = WEIGHTS / f"{name}-{state}.pt"
    if path.exists():
        model.load_state_dict(torch.load(path, weights_only=True))
        return model
    _train(model, recipe)
    WEIGHTS.mkdir(exist_ok=True)
    partial = path.with_suffix(f".{uuid.uuid4().hex}")
    torch.save(model.state_dict(), partial)
    partial.replace(path)
    return model


def _train(model: nn.Module, recipe: Recipe) -> None:
    images, labels = digits()
    inputs = recipe.inputs(images)
    generator = torch.Generator().manual_seed(SEED)
    optimiser = torch.optim.Adam(model.parameters(), RATE)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the same order of sums everywhere
    model.train()
    try:
        for _ in range(recipe.epochs):
            for rows in torch.randperm(len(labels), generator=generator).split(BATCH):
                optimiser.zero_grad()
                F.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimiser.step()
    finally:
        torch.set_num_threads(threads)
        model.eval()


if __name__ == "__main__":
    for name in MODELS:
        model, (x, y), _ = build(name)
        count = sum(p.numel() for p in model.parameters())
        layers = sum(any(True for _ in m.parameters(recurse=False)) for m in model.modules())
        loss, right = F.cross_entropy(model(x), y).item(), (model(x).argmax(1) == y).float().mean().item()
        print(
            f"{name:>12} {count:8,} parameters {layers:3} layers {len(y):4} digits, loss {loss:.4f}, right {right:.3f}"
        )
