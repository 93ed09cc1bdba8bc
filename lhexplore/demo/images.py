"""Real handwritten digits: 1,797 images of 8 × 8 pixels that come with scikit-learn, split the same way every time."""

import random
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ..errors import UnsupportedError

HELD_OUT_EVERY = 4  # every fourth image is held out; digits of all kinds and writers are spread evenly over the set


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
