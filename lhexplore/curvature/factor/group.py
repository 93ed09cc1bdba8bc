"""Layers on the way to their Gram matrices: takes the parts of tensors in, gives layers out when they are solved."""

from collections.abc import Collection, Iterator, Mapping

import torch
from torch import Tensor

from .gram import Solved, add_columns_gram, rows_gram, solve
from .parts import Part
from .scratch import Scratch


class Group:
    """Some layers, by the names of their tensors.

    With few rows a layer's Gram matrix is M Mᵀ, to which each tensor adds its own; with few parameters it is MᵀM, to
    which each micro-batch adds its own, and which needs all tensors of the layer at once.

    Args:
        blocks: layer -> tensors.
        by_columns: the layers with MᵀM.
        scratch: memory to work in.
        chunk: bytes of a factor that are multiplied at a time.
    """

    def __init__(
        self, blocks: Mapping[str, tuple[str, ...]], by_columns: Collection[str], scratch: Scratch, *, chunk: int
    ) -> None:
        self._blocks, self._scratch, self._chunk = blocks, scratch, chunk
        self._by_columns = {layer: blocks[layer] for layer in blocks if layer in by_columns}
        self._by_rows = {layer: set(blocks[layer]) for layer in blocks if layer not in by_columns}
        self._kept: dict[str, list[Part]] = {}  # of all micro-batches so far, for M Mᵀ
        self._now: dict[str, Part] = {}  # of this micro-batch, for MᵀM
        self._missing = self._fresh()
        self._totals: dict[str, Tensor] = {}

    def take(self, name: str, part: Part, *, last: bool) -> Iterator[tuple[str, Solved]]:
        """Take a tensor's rows in the next micro-batch; yields the layers that are solved by it, in the last one."""
        yield from self._into_columns(name, part, last=last)
        if any(name in block for block in self._by_rows.values()):
            self._kept.setdefault(name, []).append(part)
            if last:
                yield from self._into_rows(name, self._kept.pop(name))

    def _fresh(self) -> dict[str, set[str]]:
        return {layer: set(block) for layer, block in self._by_columns.items()}

    def _into_columns(self, name: str, part: Part, *, last: bool) -> Iterator[tuple[str, Solved]]:
        self._now[name] = part
        for layer in [layer for layer, missing in self._missing.items() if name in missing]:
            self._missing[layer].remove(name)
            if self._missing[layer]:
                continue
            parts = [self._now[other] for other in self._blocks[layer]]
            fresh = layer not in self._totals
            if fresh:
                size = sum(p.size for p in parts)
                self._totals[layer] = torch.empty((size, size), dtype=part.like.dtype, device=part.like.device)
            add_columns_gram(parts, self._totals[layer], self._scratch, chunk=self._chunk, fresh=fresh)
            del self._missing[layer]
            if last:
                yield layer, solve(self._totals.pop(layer))
        needed = {other for layer in self._missing for other in self._blocks[layer]}
        self._now = {other: kept for other, kept in self._now.items() if other in needed}
        if not self._missing and not last:
            self._missing = self._fresh()

    def _into_rows(self, name: str, parts: list[Part]) -> Iterator[tuple[str, Solved]]:
        rows = sum(part.count for part in parts)
        shared = self._scratch.take("gram", (rows, rows), parts[0].like)
        rows_gram(parts, shared, self._scratch, chunk=self._chunk)
        for layer in [layer for layer, missing in self._by_rows.items() if name in missing]:
            self._by_rows[layer].remove(name)
            done, total = not self._by_rows[layer], self._totals.pop(layer, None)
            total = (shared if done else shared.clone()) if total is None else total.add_(shared)
            if done:
                del self._by_rows[layer]
                yield layer, solve(total)
            else:
                self._totals[layer] = total
