r"""What a layer's Hessian has beyond its Gauss-Newton block, multiplied with vectors: R = H − G.

R is the second derivative of Σ s·f, with f the network's outputs and s the loss's gradient in them, held fixed. So
computed it needs no difference of two nearly equal products, and is zero to the last digit where f is piecewise linear.

One product serves all layers. Each module's weights are moved on a copy of their own that sees the module's inputs as
constants; f is then piecewise linear in all copies at once exactly where it is so in each layer alone (two layers one
behind the other no longer multiply each other), and a row of the joint second derivative that is zero shows a layer
with R = 0. A row that is not zero shows nothing: such layers are multiplied one by one.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from ...errors import LhexploreError
from ..graphs import Node, nodes
from ..layers import ROOT, Layer
from ..operators import _Vectors
from ..replica import Replica
from ..trees import tree_map

_PACKAGE = __name__.rsplit(".", 2)[0]
Directions = Mapping[str, Float[Tensor, "_ _"]]  # by layer, one row per probe
SAME = {torch.float64: 1e-8, torch.float32: 3e-4}  # √ε: gradients that agree so far are those of one function

# Operations that are linear, piecewise linear, or curved wherever one looks: what some examples show holds for all.
# Names only save work. Behind any other one (a softplus is straight where it is saturated) all data are looked at.
_EVERYWHERE = """AccumulateGrad Abs AdaptiveAvgPool AdaptiveMaxPool Add Addbmm Addcmul Addmm Addmv Alias Amax
    AsStrided AvgPool Baddbmm Bmm Cat Chunk Clamp ClampMax ClampMin Clone Col ConstantPadNd Convolution Copy
    CopySlices CudnnBatchNorm CudnnConvolution Cumsum Detach Diagonal Div Dot Embedding Expand Flip Gather
    Hardshrink Hardtanh Im Index IndexSelect KernelConvolution LayerNorm LeakyRelu Linear MaskedFill Max MaxPool
    Maximum Mean Median Minimum MiopenBatchNorm Mkldnn MkldnnConvolution Mm Mul Mv NativeBatchNorm NativeGroupNorm
    NativeLayerNorm Neg Permute PixelShuffle PixelUnshuffle PreluKernel Rectifier ReflectionPad Relu Repeat
    ReplicationPad Reshape ReshapeAlias Roll RreluWithNoise Rsub Select SelectScatter Slice SliceScatter
    Softshrink Sort Split SplitWithSizes Squeeze Stack Sub Sum T Threshold ToCopy Topk Transpose Tril Triu Unbind
    UnsafeView Unsqueeze UpsampleBicubic UpsampleBilinear UpsampleLinear UpsampleNearest UpsampleTrilinear View"""
_PRODUCTS = "Addcmul Baddbmm Bmm Div Dot Mul Mv"  # straight where one of two operands is zero


def straight_everywhere(outputs: Tensor) -> bool:
    """Whether all operations behind ``outputs`` are of kinds that cannot be straight on some examples only."""
    return all(_kind(node) in _EVERYWHERE.split() and not _multiplies(node) for node in nodes(outputs))


def _kind(node: Node) -> str:
    """``MaxPool2DWithIndicesBackward0`` is MaxPool; a function that somebody else wrote may be called anything."""
    function: Any = getattr(node, "_forward_cls", None)
    if function is not None and not function.__module__.startswith(_PACKAGE):
        return ""
    kind = re.split(r"[.:]", node.name())[-1].removesuffix("Backward")
    return re.split(r"\d|Backward", kind)[0]


def _multiplies(node: Node) -> bool:
    """Whether results are multiplied with each other, not with a parameter or a constant."""
    operands = [other for other, _ in node.next_functions if other is not None and _kind(other) != "AccumulateGrad"]
    return _kind(node) in _PRODUCTS.split() and len(operands) > 1


def together(
    objective: Replica,
    i: int,
    layers: Sequence[Layer],
    directions: Directions,
    *,
    slope: Tensor,
    gradients: Mapping[str, Float[Tensor, " _"]],
) -> dict[str, Float[Tensor, "_ _"]]:
    """Multiply the joint second derivative on micro-batch ``i`` with all directions at once.

    Costs two forward passes, a gradient, and a second backward pass per probe, whatever the number of layers.

    Args:
        objective: a replica; its modules run twice, the second time on detached inputs.
        i: the micro-batch.
        layers: those to try.
        directions: by layer, in the order of its parameters.
        slope: of the loss in the outputs.
        gradients: of Σ s·f in each layer's parameters, computed in the ordinary way.

    Returns:
        Rows by layer. Missing are layers that do not run once as one module with one tensor as result, and those whose
        copies do not have the ordinary gradient: their parameters are used in other places, too.
    """
    vectors = {layer.name: _Vectors(objective, layer) for layer in layers}
    calls = Counter[str]()
    try:
        with _apart(objective.model, vectors, calls):
            outputs = objective.batch_outputs(i, {})
        joined = [name for name in vectors if calls[name] == 1]
        if not joined or not outputs.requires_grad:
            return {}
        found = _Gradient(outputs, [leaf for name in joined for leaf in vectors[name].leaves], slope)
        parts = {name: found.of(vectors[name]) for name in joined}
        joined = [name for name in joined if _same(parts[name], gradients[name])]
        return found.rows({name: vectors[name] for name in joined}, directions)
    except (LhexploreError, RuntimeError):  # no second derivative somewhere: one by one it is found out where
        return {}


class Alone:
    """R of single layers, from one gradient that all of them share, or one each where that fails."""

    def __init__(self, objective: Replica, i: int, *, slope: Tensor) -> None:
        self._objective, self._i, self._slope = objective, i, slope
        self._leaves = {id(t): t.detach().clone().requires_grad_() for t in objective.tensors.values()}
        try:
            override = {name: self._leaves[id(tensor)] for name, tensor in objective.tensors.items()}
            outputs = objective.batch_outputs(i, override)
            self._shared: _Gradient | None = _Gradient(outputs, list(self._leaves.values()), slope)
        except (LhexploreError, RuntimeError):
            self._shared = None

    def multiply(self, layer: Layer, v: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
        """Multiply R_ℓℓ with ``v``; costs at most a second backward pass.

        Raises:
            SecondDerivativeError: an operation behind the layer has none.
        """
        vectors = _Vectors(self._objective, layer)
        try:
            if self._shared is not None:
                names = (group[0] for group in vectors.names.values())
                vectors.leaves = [self._leaves[id(self._objective.tensors[name])] for name in names]
                return self._shared.rows({layer.name: vectors}, {layer.name: v[None]})[layer.name][0]
            outputs = self._objective.batch_outputs(self._i, vectors.override)
            if not outputs.requires_grad:
                return torch.zeros_like(v)
            gradient = _Gradient(outputs, vectors.leaves, self._slope)
            return gradient.rows({layer.name: vectors}, {layer.name: v[None]})[layer.name][0]
        except LhexploreError:
            raise
        except RuntimeError as error:
            raise self._objective.blame(self._i, error) from error


class _Gradient:
    """The gradient of Σ s·f in some leaves, to be differentiated again."""

    def __init__(self, outputs: Tensor, leaves: Sequence[Tensor], slope: Tensor) -> None:
        found = torch.autograd.grad(outputs, leaves, slope, create_graph=True, allow_unused=True)
        self._found = {id(leaf): g for leaf, g in zip(leaves, found, strict=True)}

    def of(self, vectors: _Vectors) -> Tensor:
        return vectors.join([self._found[id(leaf)] for leaf in vectors.leaves], ())

    def rows(self, vectors: Mapping[str, _Vectors], directions: Directions) -> dict[str, Float[Tensor, "_ _"]]:
        """Rows of the second derivative between these layers, times their directions."""
        leaves = [leaf for mine in vectors.values() for leaf in mine.leaves]
        probes = [[mine.split(v) for v in directions[name]] for name, mine in vectors.items()]
        products = []
        for parts in zip(*probes, strict=True):
            flat = [part for mine in parts for part in mine]
            live = [
                (g, part)
                for leaf, part in zip(leaves, flat, strict=True)
                if (g := self._found[id(leaf)]) is not None and g.requires_grad
            ]
            found: Sequence[Tensor | None] = [None] * len(leaves)
            if live:
                found = torch.autograd.grad(
                    [g for g, _ in live], leaves, [part for _, part in live], retain_graph=True, allow_unused=True
                )
            products.append(iter(found))
        return {
            name: torch.stack([mine.join([next(found) for _ in mine.leaves], ()) for found in products])
            for name, mine in vectors.items()
        }


@contextmanager
def _apart(model: nn.Module, vectors: Mapping[str, _Vectors], calls: Counter[str]) -> Iterator[None]:
    """Let each layer's weights act through a second call of its module, which adds nothing but their derivatives.

    Counts the calls; what cannot be told apart from several is counted as such.
    """
    running = False
    handles = []

    def attach(name: str, module: nn.Module, prefix: str, mine: _Vectors) -> None:
        moved = {other.removeprefix(prefix): leaf for other, leaf in mine.override.items() if other.startswith(prefix)}

        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> Any:
            nonlocal running
            if running:
                return output
            calls[name] += 1
            if not isinstance(output, Tensor) or calls[name] > 1:
                calls[name] += 1
                return output
            running = True
            try:
                args, kwargs = tree_map(_constant, args), tree_map(_constant, kwargs)
                again = functional_call(module, moved, args, kwargs, tie_weights=False)
            finally:
                running = False
            if not _same(again.detach(), output.detach()):  # random, stateful, or its inputs were overwritten
                calls[name] += 1
                return output
            return output + (again - again.detach())

        handles.append(module.register_forward_hook(hook, with_kwargs=True))

    try:
        for name, mine in vectors.items():
            path = "" if name == ROOT else name
            try:
                module = model.get_submodule(path)
            except AttributeError:  # a block that is no module, such as the whole network
                continue
            attach(name, module, f"{path}." if path else "", mine)
        yield
    finally:
        for handle in handles:
            handle.remove()


def _constant(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, Tensor) else leaf


def _same(a: Tensor, b: Tensor) -> bool:
    a, b = a.detach(), b.detach()
    return a.shape == b.shape and float((a - b).norm()) <= SAME.get(a.dtype, 1e-2) * float(b.norm())
