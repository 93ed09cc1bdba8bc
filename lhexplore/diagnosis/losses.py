"""Read training and held-out loss out of what was recorded with the snapshots, whatever it was called."""

from collections.abc import Mapping, Sequence

TRAIN = ("loss", "train_loss", "train/loss", "training_loss")
HELD_OUT = (
    "held_out_loss",
    "val_loss",
    "valid_loss",
    "validation_loss",
    "test_loss",
    "eval_loss",
    "val/loss",
    "eval/loss",
)
TRAIN_ACCURACY = ("accuracy", "train_accuracy", "train_acc", "train/accuracy", "acc")
RATE = ("lr", "learning_rate")
NUMBERS = (*TRAIN, *HELD_OUT, *TRAIN_ACCURACY, *RATE)  # what rules read as numbers; other entries may be anything


def train_loss(losses: Mapping[str, float]) -> float | None:
    """Return the training loss, or None where none is known."""
    return next((float(losses[name]) for name in TRAIN if name in losses), None)


def small(losses: Mapping[str, float], past: Sequence[Mapping[str, float]], *, ratio: float, absolute: float) -> float:
    """Say below what a training loss is small: a share of the largest known one, or ``absolute`` without a past."""
    known = [loss for row in (*past, losses) if (loss := train_loss(row)) is not None]
    return ratio * max(known) if len(known) > 1 else absolute
