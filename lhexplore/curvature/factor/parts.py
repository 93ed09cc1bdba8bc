"""The rows that one tensor has in one micro-batch: kept as inputs and gradients, or formed, whichever is smaller."""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import torch
from jaxtyping import Float
from torch import Tensor

from .rows import Use, common_grain
from .scratch import Scratch
from .taps import Call


class Part:
    """Rows of one tensor in one micro-batch, one per example and pass, summed over all calls that use it.

    Args:
        like: the tensor.
        examples: of the micro-batch.
        passes: backward passes of the micro-batch.
        formed: whether rows are formed as gradients come in, which are not kept then.
    """

    def __init__(self, like: Tensor, examples: int, passes: int, *, formed: bool) -> None:
        self.shape, self.examples, self.passes = tuple(like.shape) or (1,), examples, passes
        self.like = like
        self.formed, self.uses = formed, list[Use]()
        self.rows: Float[Tensor, "examples passes ..."] | None = None
        self._begun = set[int]()

    @property
    def size(self) -> int:
        """Parameters of the tensor."""
        return prod(self.shape)

    @property
    def count(self) -> int:
        """How many rows."""
        return self.examples * self.passes

    @property
    def bytes(self) -> int:
        """Memory of the rows, where they are formed as gradients come in."""
        return formed_bytes(self.like, self.count) if self.formed else 0

    @property
    def zero(self) -> bool:
        """Whether no gradient came in, so that all rows are zero."""
        return self.rows is None and not self.uses

    @property
    def form(self) -> Float[Tensor, "examples passes ..."]:
        """Memory for the rows; whoever asks for it fills it."""
        if self.rows is None:
            self.rows = self.empty(self.examples)
        return self.rows

    @property
    def grain(self) -> int:
        """The tensor's first axis may be cut at multiples of this."""
        return common_grain(self.uses)

    @property
    def outer(self) -> bool:
        """Whether every row is an outer product g xᵀ that is not formed."""
        return self.rows is None and len(self.uses) == 1 and self.uses[0].is_outer

    @property
    def tokens(self) -> Tensor | None:
        """Rows of the tensor that can be other than zero, where it is a table that is only looked up."""
        if self.rows is not None or not all(use.is_lookup for use in self.uses):
            return None
        ids = [use.call.x.flatten() for use in self.uses]
        return torch.unique(torch.cat(ids)) if ids else torch.empty(0, dtype=torch.long, device=self.like.device)

    def of_tokens(self, tokens: Tensor) -> "Part":
        """The same for a table that has nothing but these rows, which are all that can be other than zero."""
        part = Part(self.like[: len(tokens)], self.examples, self.passes, formed=False)
        for use in self.uses:
            ids = use.call.x
            places = torch.searchsorted(tokens, ids).masked_fill(ids < 0, -1)
            part.uses.append(replace(use, call=replace(use.call, x=places)))
        return part

    def empty(self, examples: int) -> Float[Tensor, "examples passes ..."]:
        """Memory for the rows of some examples."""
        return torch.empty((examples, self.passes, *self.shape), dtype=self.like.dtype, device=self.like.device)

    def add(self, call: Call, attribute: str, gradients: Sequence[Tensor], first: int, scratch: Scratch) -> None:
        """Take in the gradients of a call's output in passes ``first`` and following."""
        if self.formed:
            passes = slice(first, first + len(gradients))
            use, everything = Use(call, attribute, list(gradients)), slice(0, self.shape[0])
            use.write(self.form[:, passes], slice(None), everything, scratch, add=first in self._begun)
            self._begun |= set(range(passes.start, passes.stop))
            return
        for use in self.uses:
            if use.call is call and use.attribute == attribute:
                use.gradients.extend(gradients)
                return
        self.uses.append(Use(call, attribute, list(gradients)))

    def write(self, out: Float[Tensor, "n passes ..."], examples: slice, part: slice, scratch: Scratch) -> None:
        """Write the rows of some examples, for ``part`` of the tensor's first axis."""
        if self.zero:
            out.zero_()
        if self.rows is not None:
            out.copy_(self.rows[examples, :, part])
        for number, use in enumerate(self.uses):
            use.write(out, examples, part, scratch, add=number > 0)

    def matrix(self, scratch: Scratch) -> Float[Tensor, "rows size"]:
        """All rows."""
        rows = self.rows
        if rows is None:
            rows = self.empty(self.examples)
            self.write(rows, slice(None), slice(0, self.shape[0]), scratch)
        return rows.view(self.count, self.size)


def formed_bytes(like: Tensor, rows: int) -> int:
    """Memory of the rows of one tensor."""
    return like.numel() * like.element_size() * rows


def kept_bytes(calls: Sequence[Call], passes: int) -> int:
    """Memory of what they can be formed from."""
    return sum(call.x.numel() * call.x.element_size() + passes * call.bytes for call in calls)
