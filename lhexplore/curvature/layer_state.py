"""The state of layers beside their spectra: gradients of all of them from one pass, curvature along them, parameters.

The trap is the same as with second derivatives: autograd answers ``None`` both where a gradient is zero and where it
was cut off on the way, so a missing one is believed only after the parameters were moved.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from ..errors import NotFiniteError, SecondDerivativeError, SettingError, TooLargeError, whole_number
from ..layer_state import LayerState
from .distribution import Fields, distance, matrix_shape, moments
from .eigenvectors import top_eigenvectors
from .factor.agreement import Agreement
from .factored import factor_eigenvectors, fits
from .lanczos import dot, require_finite
from .layers import Layer
from .operators import translated
from .replica import Replica
from .states import check_seed
from .traces import KINDS

Tensors = Mapping[str, Tensor]
Slope = Tensors | str  # gradients by parameter, where autograd finds any; or why there are none

FAILURES = (SecondDerivativeError, NotFiniteError, TooLargeError)


@dataclass(frozen=True, slots=True, eq=False)
class StateStep:
    """``done`` of ``total`` passes and layers; a layer's state once it is complete."""

    done: int
    total: int
    state: LayerState | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """What is asked of the states of layers.

    Attributes:
        labels: layer name -> its name in the state; None for the whole network.
        snapshot: label of the weights.
        split: which data the replica holds.
        curvature: of the blocks: "hessian" or "ggn".
        share_of: how many eigenvectors of largest |λ| to project the gradient on; 0 leaves that out.
        seed: of the eigenvectors' start.
        start: the parameters at the first snapshot, by name; None where they are not known.
        refused: layer name -> why its second derivative is not to be trusted.
        verdicts: layer name -> whether its eigenvectors may come from the factor.
        quick: gradients and moments only: no products and no singular values.
    """

    labels: Mapping[str, str | None]
    snapshot: str
    split: str = "data"
    curvature: str = "hessian"
    share_of: int = 0
    seed: int = 0
    start: Tensors | None = None
    refused: Mapping[str, str] = field(default_factory=dict)
    verdicts: Mapping[str, Agreement] = field(default_factory=dict)
    quick: bool = False

    def __post_init__(self) -> None:
        if self.curvature not in KINDS:
            raise SettingError(f"curvature must be one of {tuple(KINDS)}, got {self.curvature!r}.")
        object.__setattr__(self, "share_of", whole_number("share_of", self.share_of, least=0))
        check_seed(self.seed)


def layer_states(replica: Replica, layers: Sequence[Layer], asked: Asked) -> Iterator[StateStep]:
    """Measure gradients and parameters of ``layers``; one item per micro-batch, product and block of products.

    Costs one gradient of all layers, and unless ``quick`` a gradient that is kept with one product per layer. With
    ``share_of`` each layer costs its leading eigenvectors as well: see `top_eigenvectors`. A layer without a
    trustworthy second derivative keeps its gradient; what is missing is NaN, and its ``reason`` says why.

    Raises:
        NotFiniteError: the loss itself is NaN or infinite.
    """
    first = {id(tensor): name for name, tensor in replica.tensors.items()}
    blocks = {
        layer.name: {first[id(replica.tensors[name])]: replica.tensors[name] for name in layer.parameters}
        for layer in layers
    }
    total = replica.count + len(layers)
    slopes: dict[str, Slope] = {}
    for passes, found in _gradients(replica, blocks):
        slopes = found
        yield StateStep(min(passes, replica.count), total)
    for done, layer in enumerate(layers, replica.count):
        label, slope = asked.labels[layer.name], slopes[layer.name]
        fields, reasons = _parameters(blocks[layer.name], asked.start, matrix=not (asked.quick or label is None))
        if isinstance(slope, str):
            reasons.append(slope)
        else:
            for part, reason in _along(replica, layer, blocks[layer.name], slope, asked):
                fields |= part
                reasons.append(reason)
                yield StateStep(done, total)
        settings: Fields = {"split": asked.split, "share_of": asked.share_of, "curvature": asked.curvature}
        why = " ".join(filter(None, reasons))
        yield StateStep(
            done + 1, total, LayerState(label, asked.snapshot, layer.size, **settings, reason=why, **fields)
        )


def _gradients(replica: Replica, blocks: Mapping[str, Tensors]) -> Iterator[tuple[int, dict[str, Slope]]]:
    """The gradients of all blocks after each pass; those that need an own pass, or have none, where one fails.

    The replica refuses whatever is marked as differentiable only once. Layers behind such an operation can do without.
    """
    together, slopes = dict[str, Tensor](), dict[str, Slope]()
    everything = {name: tensor for block in blocks.values() for name, tensor in block.items()}
    try:
        for i in range(replica.count):
            _add_gradients(replica, i, everything, together)
            yield i + 1, dict.fromkeys(blocks, together)
    except SecondDerivativeError:
        pass
    else:
        return
    for layer, block in blocks.items():
        alone: dict[str, Tensor] = {}
        slopes[layer] = alone
        try:
            for i in range(replica.count):
                _add_gradients(replica, i, block, alone)
        except SecondDerivativeError as error:
            slopes[layer] = str(error)
        yield replica.count, slopes


def _add_gradients(replica: Replica, i: int, tensors: Tensors, sums: dict[str, Tensor]) -> None:
    """Add micro-batch ``i``'s part of the gradients that autograd finds, in the replica's dtype."""
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in tensors.items()}
    with replica.guard(), translated("all layers", replica, i):
        loss = replica.batch_loss(i, leaves)
        found = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True) if loss.requires_grad else ()
    for name, gradient in zip(leaves, found, strict=False):
        if gradient is not None:
            sums[name] = sums[name] + gradient if name in sums else gradient


def _along(
    replica: Replica, layer: Layer, tensors: Tensors, gradients: Tensors, asked: Asked
) -> Iterator[tuple[Fields, str]]:
    """What the gradient tells, piece by piece, each with the reason for what it lacks."""
    missing = [name for name in tensors if name not in gradients]
    if missing and replica.moves_loss(missing):
        cut = ", ".join(map(repr, missing))
        yield {}, f"The gradient of {cut} is cut off (detach, no_grad): moving it moves the loss."
        return
    g = torch.cat([gradients.get(name, torch.zeros_like(t)).reshape(-1) for name, t in tensors.items()])
    if not bool(torch.isfinite(g).all()):
        yield {}, "The gradient holds NaN or infinity."
        return
    scale = float(g.abs().max())
    if not scale:
        yield {"gradient_norm": 0.0}, "The gradient is 0: it has no direction."
        return
    length = dot(g / scale, g / scale) ** 0.5  # scaled, so that squares of small gradients do not vanish
    norm, unit = length * scale, g / scale / length
    why = asked.refused.get(layer.name, "")
    yield {"gradient_norm": norm}, why
    if why or asked.quick:
        return
    try:
        yield from _curvature_along(replica, layer, unit, asked)
    except FAILURES as error:
        yield {}, str(error)


def _curvature_along(
    replica: Replica, layer: Layer, unit: Float[Tensor, " n"], asked: Asked
) -> Iterator[tuple[Fields, str]]:
    """Curvature along the gradient, and how much of it lies in the leading eigenspace; the graph is kept for both."""
    op = KINDS[asked.curvature](replica, layer)
    product = op.matvec(unit)
    require_finite(product, op)
    yield {"gradient_rayleigh": dot(unit, product)}, ""
    if not asked.share_of:
        return
    verdict = asked.verdicts.get(layer.name)
    if verdict is not None and fits(verdict, curvature=asked.curvature):
        pairs = factor_eigenvectors(replica, layer, asked.share_of, verdict=verdict, seed=asked.seed)
    else:
        for found in top_eigenvectors(op, asked.share_of, seed=asked.seed):
            pairs = found
            yield {}, ""
    if not pairs.values.any():
        yield {}, "The block is 0, so it has no leading eigenvectors."
    elif not pairs.converged.all():
        yield {}, f"{int((~pairs.converged).sum())} of {len(pairs.values)} eigenvectors did not converge."
    else:
        along = pairs.vectors.astype(np.float64) @ _wide([unit])
        yield {"gradient_share": min(1.0, float(along @ along))}, ""


def _parameters(tensors: Tensors, start: Tensors | None, *, matrix: bool) -> tuple[Fields, list[str]]:
    """How the parameters are distributed; singular values are those of a single layer's largest matrix, if wanted."""
    values = _wide(tensors.values())
    parts = [moments(values), distance(values, None if start is None else _wide(start[name] for name in tensors))]
    matrices = [tensor for tensor in tensors.values() if tensor.dim() > 1] if matrix else []
    if matrices:
        largest = max(matrices, key=Tensor.numel)
        parts.append(matrix_shape(_wide([largest]).reshape(largest.shape[0], -1)))
    return {name: value for found, _ in parts for name, value in found.items()}, [reason for _, reason in parts]


def _wide(tensors: Iterable[Tensor]) -> Float[ndarray, " n"]:
    """All numbers in a row, in float64."""
    return np.concatenate([tensor.detach().cpu().to(torch.float64).reshape(-1).numpy() for tensor in tensors])
