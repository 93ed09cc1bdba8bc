"""Ribbons over the snapshots, torn where nothing is known."""

import numpy as np
from jaxtyping import Float
from numpy import ndarray

ALONE = 0.25  # how far the ribbon of a snapshot without known neighbours reaches to either side


def ribbon(low: Float[ndarray, " n"], high: Float[ndarray, " n"]) -> tuple[Float[ndarray, " m"], Float[ndarray, " m"]]:
    """Outlines between two curves over 0, 1, …: a polygon per unbroken part, with NaN between them."""
    known = np.flatnonzero(np.isfinite(low) & np.isfinite(high))
    parts = np.split(known, np.flatnonzero(np.diff(known) > 1) + 1)
    xs: list[Float[ndarray, " _"]] = []
    ys: list[Float[ndarray, " _"]] = []
    for part in parts:
        if not part.size:
            continue
        at = part.astype(float) if part.size > 1 else part[0] + np.array([-ALONE, ALONE])
        here = part if part.size > 1 else part.repeat(2)
        xs += [at, at[::-1], np.array([np.nan])]
        ys += [low[here], high[here][::-1], np.array([np.nan])]
    return np.concatenate([np.empty(0), *xs[:-1]]), np.concatenate([np.empty(0), *ys[:-1]])
