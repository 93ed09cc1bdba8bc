"""The same replica in smaller pieces, or on the CPU: the same loss and derivatives in less memory."""

import copy
from typing import Any

from ..errors import DataError, LhexploreError
from .checks import couples
from .replica import Replica
from .trees import count_examples, cut


def halved(replica: Replica, *, known: bool = False) -> Replica | None:
    """Cut every micro-batch of more than one example into two, each with its part of the batch's share of the loss.

    Weights, model and data are shared with ``replica`` (halves are views), so it costs no memory. It keeps the present
    weights when ``replica`` loads others.

    Args:
        replica: stays as it is.
        known: whether it was halved before, so that the loss is known to be a mean over examples.

    Returns:
        None where nothing can be cut: single examples, statistics or random numbers that belong to a whole batch, a
        loss that is no mean over the examples of a batch.
    """
    if replica.mode == "train-frozen" or replica._random:
        return None
    if not known and couples(replica, max(map(replica.batch, range(replica.count)), key=_examples)):
        return None
    pieces = [piece for i in range(replica.count) for piece in _halves(replica, i)]
    if largest_batch(replica) == max(_examples(batch) for batch, _ in pieces):
        return None
    twin = copy.copy(replica)
    twin._fed, twin._shares = [batch for batch, _ in pieces], [share for _, share in pieces]
    return twin


def on_cpu(replica: Replica) -> Replica | None:
    """The same model, weights and loss, in the same dtype and micro-batches, in main memory; None where that fails."""
    try:
        twin = Replica(
            replica.model,
            replica.loss,
            replica.batches,
            mode=replica.mode,
            dtype=replica.dtype,
            device="cpu",
            batch_size=None if replica.mode == "train-frozen" else largest_batch(replica),
        )
        twin.load(replica._weights.state())
    except LhexploreError:
        return None
    return twin


def largest_batch(replica: Replica) -> int:
    """Examples of the largest micro-batch."""
    return max(_examples(replica.batch(i)) for i in range(replica.count))


def _halves(replica: Replica, i: int) -> list[tuple[Any, float]]:
    """The parts of a micro-batch that carry loss terms, with their shares; the whole one where it cannot be cut."""
    batch, share = replica.batch(i), replica.shares[i]
    size = _examples(batch)
    if size < 2:
        return [(batch, share)]
    try:
        parts = [cut(batch, 0, size // 2), cut(batch, size // 2, size)]
    except DataError:
        return [(batch, share)]
    counted = [replica.loss.terms(part) for part in parts]
    terms = [
        float(replica.batches.weigh(part)) if count is None else count
        for part, count in zip(parts, counted, strict=True)
    ]
    return [(part, share * count / sum(terms)) for part, count in zip(parts, terms, strict=True) if count]


def _examples(batch: Any) -> int:
    """How many examples can be told apart in a batch; 1 where none can."""
    try:
        return count_examples(batch)
    except DataError:
        return 1
