"""Real handwritten digits: 1,797 images of 8 × 8 pixels that come with scikit-learn, split the same way every time."""

import random
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UnsupportedError

HELD_OUT_EVERY = 4  # every fourth image is held out; digits of all kinds and writers are spread evenly over the set
_NOISE = 1_000_003  # keeps the draw of labels apart from the order of images, which has the same seed


class Split(NamedTuple):
    """Images with pixels from 0 to 1, and which digit each of them shows."""

    images: Float[Tensor, "n 1 8 8"]
    labels: Int[Tensor, " n"]


def load_split() -> tuple[Split, Split]:
    """Read the images (nothing is fetched) and return the training part and the held-out part.

    Raises:
        UnsupportedError: scikit-learn is not installed.
    """
    state = random.getstate()  # importing scikit-learn imports rich, which draws a random number
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError as error:
        raise UnsupportedError(
            "The digits come with scikit-learn, which is not installed. Run: pip install 'lhexplore[demo]'"
        ) from error
    finally:
        random.setstate(state)
    data = load_digits()
    images = torch.from_numpy(data.data / 16).reshape(-1, 1, 8, 8)
    labels = torch.from_numpy(data.target).long()
    held_out = torch.arange(len(labels), device="cpu") % HELD_OUT_EVERY == HELD_OUT_EVERY - 1
    return Split(images[~held_out], labels[~held_out]), Split(images[held_out], labels[held_out])


def choose(data: Split, count: int | None) -> Split:
    """Take ``count`` images, spread evenly over all of them (None: all)."""
    if count is None:
        return data
    rows = torch.arange(count, device="cpu") * len(data.labels) // count
    return Split(data.images[rows], data.labels[rows])


def redraw_labels(labels: Int[Tensor, " n"], share: float, *, seed: int) -> Int[Tensor, " n"]:
    """Draw this share of the labels anew, uniformly from all ten digits: by chance a tenth of those stays right."""
    generator = torch.Generator().manual_seed(_NOISE + seed)
    rows = torch.randperm(len(labels), generator=generator, device="cpu")[: round(share * len(labels))]
    drawn = torch.randint(10, (len(rows),), generator=generator, device="cpu")
    return labels.index_copy(0, rows, drawn)
