"""Where Lanczos runs: in the space of all parameters, or in the few dimensions in which the block lives."""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor

from .activation import ActivationBlock
from .hutchinson import Sample, sample, symmetry_defect
from .lanczos import Quadrature
from .operators import SymmetricOperator


@runtime_checkable
class Space(Protocol):
    """Takes start vectors in, and what their runs found out again."""

    @property
    def op(self) -> SymmetricOperator: ...
    @property
    def note(self) -> str: ...
    @property
    def trace(self) -> float | None:
        """The exact trace, where it is known without estimating."""
        ...

    def enter(self, v: Float[Tensor, " n"]) -> tuple[Float[Tensor, " m"], float]:
        """The start inside, of length 1, and which share of the start's weight it carries."""
        ...

    def leave(self, product: Float[Tensor, " m"], share: float) -> Float[Tensor, " n"]: ...
    def sample(self, start: Float[Tensor, " m"], product: Float[Tensor, " m"], share: float) -> Sample: ...
    def whole(self, found: Quadrature, share: float) -> Quadrature: ...
    def defect(self, starts: Sequence[Tensor], products: Sequence[Tensor]) -> float: ...


class Everywhere:
    """The space of all parameters."""

    note, trace = "", None

    def __init__(self, op: SymmetricOperator) -> None:
        self.op = op

    def enter(self, v: Float[Tensor, " n"]) -> tuple[Float[Tensor, " n"], float]:
        return v, 1.0

    def leave(self, product: Float[Tensor, " n"], share: float) -> Float[Tensor, " n"]:
        return product

    def sample(self, start: Float[Tensor, " n"], product: Float[Tensor, " n"], share: float) -> Sample:
        return sample(start, product)

    def whole(self, found: Quadrature, share: float) -> Quadrature:
        return found

    def defect(self, starts: Sequence[Tensor], products: Sequence[Tensor]) -> float:
        return symmetry_defect(starts, products)


class Inside:
    """The span of the layer's inputs: products are matrix products there, and no step is spent on the zeros."""

    def __init__(self, block: ActivationBlock) -> None:
        self.op, self.trace, self._block = block.compressed, block.trace, block
        self.note = "Products were computed from the layer's inputs and the second derivative in its outputs."
        if block.zeros:
            self.note += f" The inputs span {block.rank:,} dimensions; {block.zeros:,} eigenvalues are exact zeros."

    def enter(self, v: Float[Tensor, " n"]) -> tuple[Float[Tensor, " m"], float]:
        return self._block.start(v)

    def leave(self, product: Float[Tensor, " m"], share: float) -> Float[Tensor, " n"]:
        return self._block.lift(product[:, None])[:, 0] * math.sqrt(share)

    def sample(self, start: Float[Tensor, " m"], product: Float[Tensor, " m"], share: float) -> Sample:
        inner, scale = sample(start, product), self._block.size * share / len(start)
        return Sample(inner.form * scale, inner.norm * math.sqrt(scale))

    def whole(self, found: Quadrature, share: float) -> Quadrature:
        return self._block.whole(found, share)

    def defect(self, starts: Sequence[Tensor], products: Sequence[Tensor]) -> float:
        return self._block.defect  # of the second derivative before it was made symmetric
