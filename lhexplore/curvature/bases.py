"""Basis vectors of several Lanczos runs, and making new vectors orthogonal to all of them.

A basis is as large as steps × parameters. Where it does not fit beside model and graphs on the device it is kept in
main memory and comes by in blocks of rows; the blocks are the same ones in both places, and so are the numbers.
"""

import torch
from jaxtyping import Float
from torch import Tensor

PASSES = 2  # one leaves errors near √ε (Parlett, The Symmetric Eigenvalue Problem, section 6.9)
BLOCK_BYTES = 2**20  # on a CPU: a block is read twice, and the second time it should come from the cache
DEVICE_BLOCK_BYTES = 2**28  # on an accelerator: few large operations
FEWEST_ROWS = 8  # long vectors fit into no cache, and single rows are slower than several


class Bases:
    """One growing basis per run; all runs are at the same step.

    Args:
        runs: how many.
        steps: most vectors per run.
        size: of a vector.
        dtype: of a vector.
        device: where new vectors are.
        host: keep the vectors in main memory, whatever the device.
        batched: take all runs' blocks at once, as long as none has dropped out; None is: on accelerators. On a CPU a
            batch of matrix-vector products was twice as slow as one after another (measured).
    """

    def __init__(
        self,
        runs: int,
        steps: int,
        size: int,
        *,
        dtype: torch.dtype,
        device: torch.device,
        host: bool = False,
        batched: bool | None = None,
    ) -> None:
        on_cpu = device.type == "cpu"
        self._stored = torch.empty(
            (runs, steps, size),
            dtype=dtype,
            device="cpu" if host else device,
            pin_memory=host and device.type == "cuda",
        )
        block = BLOCK_BYTES if on_cpu else DEVICE_BLOCK_BYTES
        self._rows = max(FEWEST_ROWS, block // (size * self._stored.element_size()))
        self._batched = not on_cpu if batched is None else batched

    def append(self, at: int, running: list[int], vectors: Float[Tensor, "a n"]) -> None:
        """Store step ``at`` of the runs that still go on."""
        for run, vector in zip(running, vectors, strict=True):
            self._stored[run, at].copy_(vector)

    def orthogonalised(self, vectors: Float[Tensor, "a n"], running: list[int], count: int) -> Float[Tensor, "a n"]:
        """Take away from each running vector its components along the first ``count`` of its basis, twice."""
        vectors = vectors.clone()
        for _ in range(PASSES):
            for first in range(0, count, self._rows):
                self._take_away(vectors, running, slice(first, min(first + self._rows, count)))
        return vectors

    def _take_away(self, vectors: Float[Tensor, "a n"], running: list[int], rows: slice) -> None:
        if self._batched and len(running) == len(self._stored):
            blocks = self._stored[:, rows].to(vectors.device, non_blocking=True)
            columns = vectors.unsqueeze(-1)
            columns.baddbmm_(blocks.mT, blocks @ columns, alpha=-1)
            return
        for vector, run in zip(vectors, running, strict=True):
            block = self._stored[run, rows].to(vectors.device, non_blocking=True)
            vector.addmv_(block.T, block @ vector, alpha=-1)
