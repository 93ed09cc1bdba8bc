"""Decide by numbers, layer by layer, what the factor's spectrum may be called: the Hessian's, or only Gauss-Newton's.

Looked at are a few examples in float64. The rows of M are compared with autograd's own products, and the difference
between Hessian and Gauss-Newton matrix is multiplied with random vectors. What modules are called decides nothing.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from ...errors import LhexploreError
from ..definiteness import BASE_TOLERANCE, gauss_newton_gap
from ..layers import Layer
from ..replica import Replica
from ..trees import first_line
from .few import Pass, few
from .output import output_factor
from .remainder import Alone, straight_everywhere, together
from .spectra import factor_rows

FEWEST, MOST, SHARE = 2, 8, 32  # examples looked at: one of 32, so that it costs no more than two gradients on them all
ROW_BYTES = 256 * 2**20  # of rows held at once
MOST_BYTES = 2**31  # of one layer's rows on one example, beyond which nothing is claimed
Verdict = Literal["hessian", "ggn", "examples", "unusable"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """What was found for one layer.

    Attributes:
        layer: its name.
        hessian: ‖(H − G) v‖ / ‖G v‖, the largest over the probes; NaN where it was not looked at or could not be had.
        factor: ‖Mᵀu − Jᵀ(L u)‖ / ‖Jᵀ(L u)‖ likewise, of the rows that the verdict recommends.
        tolerance: up to which both are rounding.
        verdict: "hessian": the factor is right and H = G. "ggn": it is right, H differs or was not asked for.
            "examples": the formulas of this kind of module are wrong here, and rows per example are right; whether
            H = G says `is_hessian`. "unusable": there is no factor.
        reason: the same in words.
    """

    layer: str
    hessian: float
    factor: float
    tolerance: float
    verdict: Verdict
    reason: str

    @property
    def is_hessian(self) -> bool:
        """Whether the factor's spectrum is the Hessian's."""
        return self.verdict != "unusable" and self.hessian <= self.tolerance


def agreement(
    objective: Replica,
    layers: Sequence[Layer],
    *,
    probes: int = 2,
    examples: int | None = None,
    curvature: str = "hessian",
) -> dict[str, Agreement]:
    """Compare factor, Gauss-Newton matrix and Hessian of every layer.

    Args:
        objective: at the weights in question.
        layers: those that the factor shall answer for.
        probes: random vectors.
        examples: that are looked at, spread over the micro-batches; None is one of 32, but 2 to 8. Where a layer passes
            on them, and an operation behind it may be straight on some examples only (a saturated softplus), it is
            tried on all data as well.
        curvature: with "ggn" no second derivative of the network is taken.

    Returns:
        One finding per layer, by name. Costs one or two gradients on all data for a network that is piecewise linear
        (less, the more data there are), and one small second backward pass more for each layer that is not.
    """
    if not layers:
        return {}
    if examples is None:
        examples = min(max(objective.batches.examples // SHARE, FEWEST), MOST)
    found = {layer.name: Agreement(layer.name, math.nan, math.nan, 0.0, "unusable", "") for layer in layers}
    try:
        look = _Look(objective, layers, probes, examples)
        with look.few.guard():
            small, large = look.sized()
            result = look.rows(small)
            if curvature == "hessian":
                result = look.hessian(result)
    except LhexploreError as error:
        return {name: replace(finding, reason=str(error)) for name, finding in found.items()}
    if large and examples > 1:
        result |= agreement(objective, large, probes=probes, examples=1, curvature=curvature)
    for layer in large if examples == 1 else ():
        reason = f"its rows on a single example take more than {MOST_BYTES / 2**30:g} GiB, so they cannot be compared"
        result[layer.name] = replace(found[layer.name], reason=reason)
    return {layer.name: result[layer.name] for layer in layers}


class _Look:
    """A few examples: outputs, Λ's factor, random vectors, and what they gave so far."""

    def __init__(self, objective: Replica, layers: Sequence[Layer], probes: int, examples: int) -> None:
        self._objective, self._layers = objective, {layer.name: layer for layer in layers}
        self.few = few(objective, examples)
        self._generator = torch.Generator(device="cpu").manual_seed(0)
        self._bytes = ROW_BYTES if examples > 1 else MOST_BYTES
        self._directions: dict[str, Float[Tensor, "probes n"]] = {}
        self._sizes: dict[str, Float[Tensor, " probes"]] = {}  # ‖G v‖
        with self.few.guard():
            self._pass = Pass(self.few, 0, layers)
            outputs = self._pass.outputs
            factor = output_factor(self.few, 0, outputs)
            self._rows = len(outputs) * len(factor)
            self._u = self._noise(probes, len(factor), len(outputs))
            weights = self._u.reshape(*self._u.shape, *[1] * (outputs.ndim - 1))
            self._pulled = [self._pass.pull(cotangent) for cotangent in (weights * factor).sum(1)]

    def sized(self) -> tuple[list[Layer], list[Layer]]:
        """Split the layers into those whose rows can be held, and the rest."""
        fits = {name: self._cost(layer) <= self._bytes for name, layer in self._layers.items()}
        chosen = [[layer for name, layer in self._layers.items() if fits[name] is wanted] for wanted in (True, False)]
        return chosen[0], chosen[1]

    def rows(self, layers: Iterable[Layer]) -> dict[str, Agreement]:
        """Compare the rows of M with autograd: by the formulas of the modules, then per example where they are off."""
        found = self._compared(list(layers), ())
        wrong = [self._layers[name] for name, finding in found.items() if finding.verdict == "unusable"]
        for name, finding in self._compared(wrong, [layer.name for layer in wrong]).items():
            if finding.verdict == "ggn":
                reason = f"the rows of this kind of module are off by {found[name].factor:.1e}; taken apart by example"
                found[name] = replace(finding, verdict="examples", reason=reason)
        for name in found:
            if lost := self._lost(name):
                found[name] = replace(found[name], verdict="unusable", reason=lost)
        return found

    def hessian(self, found: dict[str, Agreement]) -> dict[str, Agreement]:
        """Multiply H − G with the probes, for all layers at once and then for those one by one where that is not 0."""
        layers = [self._layers[name] for name, finding in found.items() if finding.verdict != "unusable"]
        slope, limit = self._pass.slope, _tolerance(self.few)
        joint = together(self.few, 0, layers, self._directions, slope=slope, gradients=self._pass.gradient)
        gaps = {name: self._gap(name, rows) for name, rows in joint.items()}
        reasons: dict[str, str] = {}
        rest = [layer for layer in layers if not gaps.get(layer.name, math.inf) <= limit]
        if rest:
            alone = Alone(self.few, 0, slope=slope)
            for layer in rest:
                gaps[layer.name], reasons[layer.name] = self._one(alone, layer, limit)
        passed = [layer for layer in layers if gaps[layer.name] <= limit]
        if passed and not self._straight(passed):
            try:
                gaps |= self._elsewhere(passed)
            except LhexploreError as error:
                gaps |= {layer.name: math.nan for layer in passed}
                reasons |= {layer.name: str(error) for layer in passed}
        return found | {
            layer.name: _named(found[layer.name], gaps[layer.name], reasons.get(layer.name, "")) for layer in layers
        }

    # ---- inside

    def _noise(self, *shape: int) -> Tensor:
        drawn = torch.randn(shape, generator=self._generator, dtype=torch.float64, device="cpu")
        return drawn.to(self._pass.outputs)

    def _cost(self, layer: Layer) -> int:
        return layer.size * self._rows * self._pass.outputs.element_size()

    def _compared(self, layers: Sequence[Layer], examples: Sequence[str]) -> dict[str, Agreement]:
        found: dict[str, Agreement] = {}
        for chunk in _chunks(layers, self._cost):
            try:
                made = factor_rows(self.few, 0, chunk, examples=examples)
            except Exception as error:  # noqa: BLE001 (the model's own code runs on single examples: it may raise anything)
                if len(chunk) == 1:
                    reason = f"the rows of its factor cannot be had: {first_line(error)}"
                    found[chunk[0].name] = Agreement(
                        chunk[0].name, math.nan, math.nan, _tolerance(self.few), "unusable", reason
                    )
                else:
                    for layer in chunk:
                        found |= self._compared([layer], examples)
                continue
            found |= {name: self._checked(name, m) for name, m in made.items()}
        return found

    def _checked(self, name: str, m: Float[Tensor, "rows n"]) -> Agreement:
        mine = self._u.mT.flatten(1) @ m  # rows are numbered by example first
        gap = max(gauss_newton_gap(a, pulled[name]) for a, pulled in zip(mine, self._pulled, strict=True))
        v = self._noise(len(mine), m.shape[1]).sign()
        pushed = v @ m.T
        norm = pushed.norm(dim=1, keepdim=True)
        norm = torch.where(norm > 0, norm, 1.0)  # layers of all scales then move the outputs alike
        self._directions[name], self._sizes[name] = v / norm, (pushed / norm @ m).norm(dim=1)
        if gap <= (tolerance := _tolerance(self.few)):  # not so for NaN
            return Agreement(name, math.nan, gap, tolerance, "ggn", "")
        reason = f"the rows of its factor are off by {gap:.1e}, per example as well"
        return Agreement(name, math.nan, gap, tolerance, "unusable", reason)

    def _lost(self, name: str) -> str:
        """Why parameters without a gradient must not be believed to be unused; empty where they may."""
        unused = self._pass.unused[name]
        if not unused or not self.few.moves_loss(unused):
            return ""
        return f"autograd sees no way from the loss to {', '.join(map(repr, unused))}, yet moving them moves the loss"

    def _one(self, alone: Alone, layer: Layer, limit: float) -> tuple[float, str]:
        """The gap of a single layer; the first probe that shows one is enough."""
        gap = 0.0
        try:
            for k, v in enumerate(self._directions[layer.name]):
                gap = max(gap, self._gap(layer.name, alone.multiply(layer, v)[None], k))
                if not gap <= limit:
                    break
        except LhexploreError as error:
            return math.nan, str(error)
        return gap, ""

    def _gap(self, name: str, rows: Float[Tensor, "probes n"], start: int = 0) -> float:
        sizes = self._sizes[name][start : start + len(rows)]
        return max(
            float(row.norm()) / float(size) if size else math.inf if row.any() else 0.0
            for row, size in zip(rows, sizes, strict=True)
        )

    def _straight(self, layers: Sequence[Layer]) -> bool:
        return straight_everywhere(self._pass.outputs) or straight_everywhere(Pass(self.few, 0, layers).outputs)

    def _elsewhere(self, layers: Sequence[Layer]) -> dict[str, float]:
        """Gaps on all data, in the replica's own dtype, of those layers where they are more than rounding."""
        whole = self._objective
        directions = {
            layer.name: self._directions[layer.name].to(device=whole.device, dtype=whole.dtype) for layer in layers
        }
        total = {name: torch.zeros_like(v) for name, v in directions.items()}
        with whole.guard():
            for i in range(whole.count):
                here = Pass(whole, i, layers)
                rows = together(whole, i, layers, directions, slope=here.slope, gradients=here.gradient)
                zero = {name for name, found in rows.items() if self._gap(name, found) <= _tolerance(whole)}
                if rest := [layer for layer in layers if layer.name not in zero]:
                    alone = Alone(whole, i, slope=here.slope)
                    for layer in rest:
                        rows[layer.name] = torch.stack([alone.multiply(layer, v) for v in directions[layer.name]])
                for name, found in rows.items():
                    total[name] += found
        gaps = {name: self._gap(name, rows) for name, rows in total.items()}
        return {name: gap for name, gap in gaps.items() if not gap <= _tolerance(whole)}


def _tolerance(objective: Replica) -> float:
    return BASE_TOLERANCE.get(objective.dtype, 10 * torch.finfo(objective.dtype).eps)


def _named(finding: Agreement, gap: float, obstacle: str) -> Agreement:
    finding = replace(finding, hessian=gap)
    if finding.verdict == "examples":
        return finding
    if finding.is_hessian:
        return replace(finding, verdict="hessian", reason=f"H v = G v to {gap:.0e}: no curvature but Gauss-Newton's")
    reason = obstacle or f"H v differs from G v by {gap:.1e} of it: the outputs are curved in these parameters"
    return replace(finding, verdict="ggn", reason=reason)


def _chunks(layers: Sequence[Layer], cost: Callable[[Layer], int]) -> Iterator[list[Layer]]:
    """Cut a list so that each part's rows fit, or are a single layer's."""
    chunk: list[Layer] = []
    for layer in layers:
        if chunk and sum(map(cost, [*chunk, layer])) > ROW_BYTES:
            yield chunk
            chunk = []
        chunk.append(layer)
    if chunk:
        yield chunk
