"""Second derivatives that fail, or come out wrong without failing: which operation, in which layer.

Only looked for after something went wrong. Every module that a forward goes through is tried alone, on the inputs it
got: differentiated twice, and compared with a central difference of its gradients.
"""

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import SecondDerivativeError
from .causes import label, live, watched
from .graphs import once_differentiable
from .trees import tensors, tree_map

if TYPE_CHECKING:
    from .replica import Replica

CURE = "Put an operation in its place that can be differentiated twice, or leave out the layers before it."
# A central difference is off by step² and by rounding/step: at the best step both are near eps^(2/3).
STEP = {torch.float64: 6e-6, torch.float32: 5e-3}
TOLERANCE = {torch.float64: 1e-4, torch.float32: 5e-2}
STEADY = 0.1  # the two slopes' disagreement, in parts of what they are off: kinks give 0.5 or more, truncation 0.75
SEEDS = (1, 2)
AWAY = 1e-2  # relative distance of the second point
FINER = 1 / 50  # and its step in float64: too small to cross kinks as often, large enough for eight digits

Gradient = Callable[[Sequence[Tensor], bool], list[Tensor | None]]  # (leaves, differentiable again) -> gradients


def of_second_derivative(replica: "Replica", batch: Any, error: BaseException) -> SecondDerivativeError:
    """Name operation and layer of a second backward pass that raised ``error``."""
    text = (str(error).strip().splitlines() or [""])[0]
    place = wrong_layer(replica, batch) or "the loss"
    if "sparse" in text.lower():
        return SecondDerivativeError(
            f"{place} gives sparse gradients, which are not differentiated again here ({text}). Use sparse=False "
            "instead of sparse=True: the function and its Hessian are the same."
        )
    return SecondDerivativeError(f"{_operation(text)} in {place} has no second derivative: {text.rstrip('.')}. {CURE}")


def of_once_differentiable(replica: "Replica", batch: Any, name: str) -> SecondDerivativeError:
    """Say in which layer a function stands whose backward is marked as differentiable only once."""
    found = list[str]()

    def look(path: str, module: nn.Module, args: Any, output: Any) -> None:
        inside = once_differentiable(*(t for _, t in tensors(output)))
        if inside is not None and once_differentiable(*(t for _, t in tensors(args))) is None:
            found.append(label(path, module))

    with watched(replica.model, after=look):
        replica.call(live(replica), replica.loss.value, batch)
    place = found[0] if found else "the loss"
    return SecondDerivativeError(
        f"{name} in {place} has no second derivative: its backward is marked once_differentiable. {CURE}"
    )


def wrong_layer(replica: "Replica", batch: Any) -> str | None:
    """The innermost module whose second derivative fails or is wrong when it is tried alone."""
    calls = list[tuple[str, nn.Module, Any, Any]]()

    def note(path: str, module: nn.Module, args: Any, kwargs: Any) -> None:
        calls.append((path, module, args, kwargs))

    with watched(replica.model, before=note), torch.no_grad():
        replica.call({}, replica.loss.value, batch)
    blamed = [
        (path, module) for path, module, args, kwargs in calls if not _sound(replica, batch, module, args, kwargs)
    ]
    inner = [(p, m) for p, m in blamed if not any(_inside(other, p) for other, _ in blamed)]
    return label(*inner[0]) if inner else None


class Comparison(NamedTuple):
    """How far Hv is from the slope of the gradient along v, and how far two such slopes are from each other."""

    off: float  # relative to the larger of the two
    unsteady: float
    dtype: torch.dtype

    @property
    def fits(self) -> bool:
        return self.off <= TOLERANCE[self.dtype]

    @property
    def steady(self) -> bool:
        """Whether the slopes agree so well that a kink, rounding or a coarse step cannot be what is seen.

        A kink between the two points makes a slope proportional to 1/step, truncation one that goes with step².
        """
        return self.unsteady <= STEADY * self.off

    @property
    def wrong(self) -> bool:
        return not self.fits and self.steady


def compare(gradient: Gradient, at: Sequence[Tensor], *, seed: int, scale: float = 1.0) -> Comparison:
    """Compare double backward with central differences of the gradient along random signs, at two steps.

    Entries whose gradient is exactly zero stay where they are: they are the ones that no gradient speaks for (padding
    rows of embeddings, unused triangles and sign bits of orthogonal parametrisations), and moving them may well change
    the other entries' gradients.
    """
    leaves = [tensor.detach().requires_grad_() for tensor in at]
    gradients = gradient(leaves, True)
    moving = [(g != 0).to(g.dtype).detach() for g in or_zero(gradients, leaves)]
    v = [w * m for w, m in zip(signs(leaves, seed), moving, strict=True)]
    dtype, length = leaves[0].dtype, _norm(v)
    if not length:
        return Comparison(0.0, 0.0, dtype)
    hv = multiply(gradients, leaves, v)
    size = _norm([t.detach() * m for t, m in zip(leaves, moving, strict=True)])
    step = scale * STEP[dtype] * max(size, 1.0) / length
    slopes = [_slope(gradient, leaves, v, h) for h in (step, step / 2)]
    # Along a direction that does not curve, such as all logits of a softmax together, both are nothing but rounding.
    rounding = torch.finfo(dtype).eps * _norm(or_zero(gradients, leaves)) / step
    unit = max(_norm(hv), _norm(slopes[0]), rounding / TOLERANCE[dtype], torch.finfo(dtype).tiny)
    off = _norm([s - h for s, h in zip(slopes[0], hv, strict=True)]) / unit
    return Comparison(off, _norm([s - t for s, t in zip(*slopes, strict=True)]) / unit, dtype)


def elsewhere_too(gradient: Gradient, at: Sequence[Tensor]) -> bool:
    """Whether a suspicion holds at a second point as well, along another direction, with steps of another size."""
    leaves = [tensor.detach().requires_grad_() for tensor in at]
    found = or_zero(gradient(leaves, False), leaves)
    there = [
        t.detach() + AWAY * _rms(t) * w * (g != 0)
        for t, w, g in zip(at, signs(leaves, SEEDS[1] + 1), found, strict=True)
    ]
    scale = FINER if at[0].dtype == torch.float64 else 1.0
    return compare(gradient, there, seed=SEEDS[1], scale=scale).wrong


def _rms(tensor: Tensor) -> float:
    size = float(tensor.detach().double().square().mean().sqrt())
    return size if size > 0 else 1.0


def _slope(gradient: Gradient, at: Sequence[Tensor], v: Sequence[Tensor], step: float) -> list[Tensor]:
    ends = []
    for sign in (1, -1):
        moved = [(tensor.detach() + sign * step * w).requires_grad_() for tensor, w in zip(at, v, strict=True)]
        ends.append(or_zero(gradient(moved, False), moved))
    return [((plus - minus) / (2 * step)).detach() for plus, minus in zip(*ends, strict=True)]


def multiply(gradients: Sequence[Tensor | None], leaves: Sequence[Tensor], v: Sequence[Tensor]) -> list[Tensor]:
    """Hv by differentiating gradients that were made with ``create_graph``; missing parts are zero."""
    alive = [(g, w) for g, w in zip(gradients, v, strict=True) if g is not None and g.requires_grad]
    if not alive:
        return [torch.zeros_like(leaf) for leaf in leaves]
    found = torch.autograd.grad(
        [g for g, _ in alive], list(leaves), [w for _, w in alive], retain_graph=True, allow_unused=True
    )
    return [part.detach() for part in or_zero(found, leaves)]


def or_zero(found: Sequence[Tensor | None], like: Sequence[Tensor]) -> list[Tensor]:
    """Gradients with zeros where autograd found none."""
    return [torch.zeros_like(t) if g is None else g for g, t in zip(found, like, strict=True)]


def signs(like: Sequence[Tensor], seed: int) -> list[Tensor]:
    """A Rademacher vector in the shapes of ``like``, the same on all devices."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(0, 2, t.shape, generator=generator).to(t.detach()).mul_(2).sub_(1) for t in like]


def _sound(replica: "Replica", batch: Any, module: nn.Module, args: Any, kwargs: Any) -> bool:
    own = {name for name, part in replica.model.named_modules() if part is module}
    weights = {n: t for n, t in live(replica).items() if any(not path or n.startswith(f"{path}.") for path in own)}
    inputs = [t for _, t in tensors((args, kwargs)) if t.is_floating_point()]
    at = [t.detach().clone() for t in (*weights.values(), *inputs)]

    def gradient(leaves: Sequence[Tensor], again: bool) -> list[Tensor | None]:
        fed = iter(leaves[len(weights) :])

        def run(_: nn.Module, __: Any) -> Tensor:
            new_args, new_kwargs = tree_map(
                lambda leaf: next(fed) if isinstance(leaf, Tensor) and leaf.is_floating_point() else leaf,
                (args, kwargs),
            )
            outputs = [t for _, t in tensors(module(*new_args, **new_kwargs)) if t.is_floating_point()]
            # A linear and a quadratic part: the gradient that comes in is a constant in the one, not in the other.
            return torch.stack([(signs([o], 0)[0] * o).sum() + o.square().sum() for o in outputs]).sum()

        total = replica.call(dict(zip(weights, leaves, strict=False)), run, batch)
        if not total.requires_grad:
            return [None] * len(leaves)
        return list(torch.autograd.grad(total, list(leaves), create_graph=again, allow_unused=True))

    if not at:
        return True
    leaves = [tensor.requires_grad_() for tensor in at]
    try:
        return not compare(gradient, leaves, seed=SEEDS[0]).wrong
    except (RuntimeError, SecondDerivativeError):
        return False


def _operation(text: str) -> str:
    """The operation that an autograd message talks about."""
    for pattern in (r"derivative for '?(?:aten::)?(\w+)'?", r"(?:aten::|operator )(\w+)", r"function (\w+)"):
        if match := re.search(pattern, text):
            return match.group(1).removesuffix("_backward").strip("_")
    return "An operation"


def _inside(name: str, outer: str) -> bool:
    return name != outer and (outer == "" or name.startswith(f"{outer}."))


def _norm(parts: Sequence[Tensor]) -> float:
    return float(torch.stack([part.detach().double().square().sum() for part in parts]).sum().sqrt())
