"""Cut or join frozen batches into the micro-batches that are computed one at a time, and weigh them."""

from collections.abc import Sequence
from typing import Any

from ..errors import DataError, LossError, SettingError
from .batches import Batches
from .losses import Loss
from .trees import count_examples, cut, join


def micro_batches(batches: Batches, batch_size: Any, *, whole: bool) -> list[Any]:
    """Cut batches to at most ``batch_size`` examples; ``whole`` joins them into one instead.

    Raises:
        DataError: Batches that cannot be joined or cut.
        SettingError: ``batch_size`` makes no sense.
    """
    if batch_size is not None and (isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1):
        raise SettingError(f"batch_size= takes a whole number of at least 1 or None, got {batch_size!r}.")
    if whole:
        try:
            return [join(batches.batches)]
        except DataError as error:
            raise DataError(
                f'mode="train-frozen" needs the statistics of all data at once. {error} Use mode="eval", or a loader '
                "that yields one batch."
            ) from None
    if batch_size is None:
        return list(batches.batches)
    pieces = []
    for batch in batches.batches:
        size = count_examples(batch)
        starts = range(0, size, batch_size)
        pieces += [batch] if size <= batch_size else [cut(batch, s, min(s + batch_size, size)) for s in starts]
    return pieces


def count_terms(batches: Batches, pieces: Sequence[Any], loss: Loss) -> list[float]:
    """Count the loss terms of each piece: by the criterion where it is known, else by the rule given to ``freeze``.

    A rule of the user's own wins over the criterion.

    Raises:
        LossError: Not a single term in all of them.
    """
    own_rule = batches.weighting not in ("samples", "tokens")
    counted = [None if own_rule else loss.terms(piece) for piece in pieces]
    terms = [float(batches.weigh(p)) if c is None else float(c) for p, c in zip(pieces, counted, strict=True)]
    if sum(terms) <= 0:
        raise LossError(
            f"{loss.name} has no terms in all {len(terms)} batches: every label is ignored or its class weighs 0. "
            "Check the labels and ignore_index."
        )
    return terms


def has_masked_labels(pieces: Sequence[Any]) -> bool:
    """Whether a mapping's labels are partly masked, so that examples are no measure of its terms."""
    labels = [piece.get("labels") for piece in pieces if hasattr(piece, "get")]
    return any(hasattr(label, "dim") and bool((label == -100).any()) for label in labels)
