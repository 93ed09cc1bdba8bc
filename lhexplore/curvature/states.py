"""Random states that belong to the user: forked around everything that may draw, put back bit for bit."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from ..errors import SettingError, whole_number

LARGEST_SEED = 2**63


@contextmanager
def forked_states(seed: int) -> Iterator[None]:
    """Seed torch, numpy and ``random`` inside, and put their states back afterwards whatever happens.

    CUDA states are touched only where CUDA is already in use: asking would otherwise start it.
    """
    torch_state, numpy_state, python_state = torch.get_rng_state(), np.random.get_state(), random.getstate()  # noqa: NPY002
    cuda = torch.cuda.get_rng_state_all() if _cuda_in_use() else None
    try:
        torch.default_generator.manual_seed(seed)
        np.random.seed(seed % 2**32)  # noqa: NPY002
        random.seed(seed)
        if cuda is not None:
            torch.cuda.manual_seed_all(seed)
        yield
    finally:
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)


def check_seed(seed: object) -> int:
    """``seed`` as torch, numpy and ``random`` take it.

    Raises:
        SettingError: No whole number from 0 up, or one of more than 63 bits.
    """
    number = whole_number("seed", seed, least=0)
    if number >= LARGEST_SEED:
        raise SettingError(f"seed must be smaller than 2**63, which is what torch's generators take; got {seed!r}.")
    return number


class Draws:
    """Tells whether anything was drawn from the CPU's global random states since it was made."""

    def __init__(self) -> None:
        self._before = _cpu_states()

    def __bool__(self) -> bool:
        return any(now != before for now, before in zip(_cpu_states(), self._before, strict=True))


def _cpu_states() -> tuple[object, ...]:
    _, keys, *rest = np.random.get_state()  # noqa: NPY002
    return torch.get_rng_state().numpy().tobytes(), np.asarray(keys).tobytes(), rest, random.getstate()


def _cuda_in_use() -> bool:
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]
