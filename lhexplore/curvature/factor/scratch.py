"""Memory to work in that outlives a single call: fresh pages cost more than what is computed in them."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor


class Scratch:
    """One tensor for each purpose, used again and again."""

    def __init__(self) -> None:
        self._held: dict[str, Tensor] = {}
        self._keys: dict[str, tuple[Any, ...]] = {}

    def take(self, purpose: str, shape: Sequence[int], like: Tensor) -> Tensor:
        """A tensor with arbitrary contents, valid until the next call for the same purpose."""
        needed = prod(shape)
        held = self._held.get(purpose)
        self._keys.pop(purpose, None)
        if held is None or held.numel() < needed:
            self._held.pop(purpose, None)  # before the larger one is made
            held = self._held[purpose] = torch.empty(needed, dtype=like.dtype, device=like.device)
        return held[:needed].view(tuple(shape))

    def once(
        self, purpose: str, key: tuple[Any, ...], shape: Sequence[int], like: Tensor, fill: Callable[[Tensor], Any]
    ) -> Tensor:
        """The same, filled already where it was last taken with the same key and shape."""
        key = (*key, *shape)
        if self._keys.get(purpose) != key:
            fill(self.take(purpose, shape, like))
            self._keys[purpose] = key
        return self._held[purpose][: prod(shape)].view(tuple(shape))
