"""How many vectors to multiply at once: a matter of speed, not of numbers.

A batched backward pass saves the overhead of single operations and costs memory traffic. On CPUs the size of the graph
tells which wins, by a rule that was measured: then the same request gives the same bits every time. On accelerators a
stopwatch decides.
"""

from collections.abc import Callable, Iterator
from time import perf_counter

import torch
from jaxtyping import Float
from torch import Tensor

from .machine import synchronise
from .memory import free_bytes
from .operators import SymmetricOperator
from .planner import CHUNK_BYTES, LARGEST_CHUNK, chunk_size

FEWEST = 4  # batches of two or three vectors were slower than single ones on every network (by 5 to 20 %, measured)
SHARE = 4  # of free device memory, one in so many parts may hold the activations of a batch


def suitable(op: SymmetricOperator, *, most: int = LARGEST_CHUNK) -> int:
    """How many vectors to multiply at once, by the size of the gradient graph; 1 where batches do not pay."""
    budget = CHUNK_BYTES if op.device.type == "cpu" else max(CHUNK_BYTES, free_bytes(op.device) // SHARE)
    chunk = min(most, chunk_size(op.size, graph_bytes=getattr(op, "graph_bytes", 1), budget=budget))
    return chunk if chunk >= min(FEWEST, op.size) else 1


class Batching:
    """Multiplies rows of vectors in parts of a size that suits the operator and its device.

    Args:
        op: the operator.
        most: vectors at once, at most.
        timed: compare single and batched products by the clock in the first rounds; None is: on accelerators.
    """

    def __init__(
        self,
        op: SymmetricOperator,
        *,
        most: int = LARGEST_CHUNK,
        timed: bool | None = None,
        clock: Callable[[], float] = perf_counter,
    ) -> None:
        self.chunk = suitable(op, most=most)
        self._op, self._clock, self._single, self._round = op, clock, 0.0, 0
        self._timed = (op.device.type != "cpu" if timed is None else timed) and self.chunk > 1

    def parts(self, vectors: Float[Tensor, "a n"]) -> Iterator[Float[Tensor, "b n"]]:
        """Yield the products with the rows of ``vectors``, in order, some rows at a time."""
        # First single products, then batches twice: the first batch of its kind does things that later ones need not.
        batched = len(vectors) >= FEWEST and not (self._timed and self._round == 0)
        seconds = 0.0
        for part in torch.split(vectors, self.chunk if batched else 1):
            started = self._now()
            products = self._op.matmat(part.T).T if len(part) > 1 else self._op.matvec(part[0]).unsqueeze(0)
            seconds = (self._now() - started) / len(part)
            yield products
        if self._timed and len(vectors) >= FEWEST:
            self._judge(seconds)

    def _judge(self, seconds: float) -> None:
        if self._round == 0:
            self._single = seconds
        elif self._round == 2:
            self._timed = False
            if seconds > self._single:
                self.chunk = 1
        self._round += 1

    def _now(self) -> float:
        if not self._timed:
            return 0.0
        synchronise(self._op.device)
        return self._clock()
