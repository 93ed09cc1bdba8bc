"""Networks in the states that are spoken of: memorising, too narrow, too deep, over-trained, by various optimisers.

All are dense networks on the same 512 of the digits and differ from ``sgd()`` in what their name says. What their
spectra show is measured, not promised: see docs/states.md.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple, SupportsFloat, TypedDict, Unpack

from ..errors import SettingError, suggest, whole_number
from ..session import Session
from .networks import ACTIVATIONS
from .ready import RECIPE, open_run
from .recipe import Activation, Clipping, Recipe

# Rates and lengths were found by trying. The three optimisers end soon after all labels are learnt (mean loss 0.01 to
# 0.02), before their curvature has collapsed; that is left to the over-trained state.
PLAIN = Recipe(network=(16, 16), rate=0.2, momentum=0.0, images=512)
STEPS = 1024
ADAHESSIAN_STEPS = 256
CLIPPED_STEPS = 8192  # small steps take longer
MEMORISING_STEPS, ENOUGH = 16_384, 0.99  # labels drawn anew take 4,000 to 7,000 steps
UNFIT_STEPS = 4096  # four times as long as a network takes that is wide enough and not too deep
OVERTRAINED_STEPS = 16_384
DEEP_WIDTH = 10  # so that all layers together stay below 2,000 parameters
CLIP_AT: dict[str, float] = {"norm": 0.03, "value": 0.001}  # nearly every gradient is clipped, and labels still learnt


class Settings(TypedDict, total=False):
    """What every state takes besides its own settings, keyword-only."""

    steps: int  # optimiser steps with 64 images each, at most; snapshots are taken at 0, 1, 2, 4, … and the last
    seed: int  # of first weights, order of images and labels drawn anew
    samples: int | None  # images that Hessians are averaged over; None, the default: all 512 trained on, 449 held out
    activation: Activation  # "tanh" or "gelu"
    snapshots_folder: str | Path | None  # where the run is recorded; None for a folder of its own in the cache
    cache: bool | str | Path  # as for lhexplore.Session
    device: str  # where the spectra are computed; the training runs on the CPU


class State(NamedTuple):
    """How a state is made, and what it is in one sentence."""

    make: Callable[..., Session]
    description: str


def sgd(**settings: Unpack[Settings]) -> Session:
    """Train by plain SGD without momentum: the healthy run to compare the others with.

    Takes a few seconds the first time, like all states; the recorded run is found again when the settings are the
    same. Layers of 1,040, 272 and 170 parameters. Needs scikit-learn.

    Args:
        settings: ``steps`` (at most this many, 64 images each; snapshots are taken at 0, 1, 2, 4, … and the last),
            ``seed``, ``samples`` (images that Hessians are averaged over; None, the default, for all 512 trained on),
            ``activation`` ("tanh" or "gelu"), and ``snapshots_folder``, ``cache``, ``device`` as for
            :func:`lhexplore.demo.digits`.

    Raises:
        SettingError: settings without sense, or a folder that holds something else.
        StoreError: the folder cannot be written.
    """
    return _state("sgd", PLAIN, STEPS, **settings)


def adamw(**settings: Unpack[Settings]) -> Session:
    """Train by torch's AdamW at rate 0.003; settings and errors as for :func:`sgd`."""
    return _state("adamw", replace(PLAIN, optimiser="adamw", rate=0.003, momentum=0.9), STEPS, **settings)


def adahessian(**settings: Unpack[Settings]) -> Session:
    """Train by AdaHessian with its authors' constants (rate 0.15); settings and errors as for :func:`sgd`."""
    return _state(
        "adahessian", replace(PLAIN, optimiser="adahessian", rate=0.15, momentum=0.9), ADAHESSIAN_STEPS, **settings
    )


def clipped(by: Clipping = "norm", at: float | None = None, **settings: Unpack[Settings]) -> Session:
    """Train by plain SGD with the gradient of every batch clipped; settings and errors as for :func:`sgd`.

    Args:
        by: "norm" (of all gradients together) or "value" (of each entry).
        at: above this norm or size; None for 0.03 or 0.001, where nearly every gradient is clipped.
        settings: as for :func:`sgd`.
    """
    if by not in CLIP_AT:
        raise SettingError(f"by must be one of {', '.join(map(repr, CLIP_AT))}; got {by!r}.")
    limit = CLIP_AT[by] if at is None else _number("at", at)
    if not 0 < limit < float("inf"):
        raise SettingError(f"at must be a positive number, the {by} above which gradients are clipped; got {at!r}.")
    return _state(f"clipped-{by}", replace(PLAIN, clip=(by, limit)), CLIPPED_STEPS, **settings)


def noisy(share: float = 0.5, **settings: Unpack[Settings]) -> Session:
    """Train on labels of which a share was drawn at random, until 99 % of them are memorised.

    The session's training data has these labels, too: a network is judged on what it was trained on. Held-out labels
    stay right. Settings and errors as for :func:`sgd`.

    Args:
        share: from 0 to 1, of labels drawn anew from all ten digits; a tenth of those stays right by chance.
        settings: as for :func:`sgd`.
    """
    if not 0 <= _number("share", share) <= 1:
        raise SettingError(f"share must be from 0 (no label drawn anew) to 1 (all of them); got {share!r}.")
    recipe = replace(PLAIN, noise=float(share), enough=ENOUGH)
    return _state("noisy", recipe, MEMORISING_STEPS, **settings)


def narrow(width: int = 3, **settings: Unpack[Settings]) -> Session:
    """Train with hidden layers too narrow for ten digits; settings and errors as for :func:`sgd`.

    Args:
        width: of both hidden layers.
        settings: as for :func:`sgd`.
    """
    width = whole_number("width", width)
    return _state("narrow", replace(PLAIN, network=(width, width)), UNFIT_STEPS, **settings)


def deep(depth: int = 12, **settings: Unpack[Settings]) -> Session:
    """Train with hidden layers too many for their first weights, without normalisation; else as :func:`sgd`.

    Args:
        depth: how many hidden layers, of width 10 (first layer 650 parameters, others 110).
        settings: as for :func:`sgd`.
    """
    depth = whole_number("depth", depth)
    return _state("deep", replace(PLAIN, network=(DEEP_WIDTH,) * depth), UNFIT_STEPS, **settings)


def overtrained(**settings: Unpack[Settings]) -> Session:
    """Train by SGD with momentum 0.9 for long after all labels are learnt; settings and errors as for :func:`sgd`."""
    return _state("overtrained", replace(PLAIN, rate=0.1, momentum=0.9), OVERTRAINED_STEPS, **settings)


STATES: dict[str, State] = {
    "sgd": State(sgd, "Plain SGD: the healthy run to compare with."),
    "adamw": State(adamw, "AdamW: steps scaled by running sizes of the gradient."),
    "adahessian": State(adahessian, "AdaHessian: steps scaled by a running mean of the Hessian's diagonal."),
    "clipped": State(clipped, "Gradients clipped by their norm before every step."),
    "clipped-value": State(partial(clipped, "value"), "Gradients clipped entry by entry before every step."),
    "noisy": State(noisy, "Half of the training labels drawn at random, and memorised."),
    "noisy-100": State(partial(noisy, 1.0), "All training labels drawn at random, and memorised."),
    "narrow": State(narrow, "Hidden layers of width 3: too narrow for ten digits."),
    "deep": State(deep, "Twelve hidden layers without normalisation: gradients vanish on the way to the first."),
    "overtrained": State(overtrained, "Trained for long after every label was learnt."),
}


def state(name: str, **settings: Unpack[Settings]) -> Session:
    """Make one of ``STATES`` by its name; settings as for :func:`sgd`.

    Raises:
        SettingError: no such state, with near names; else as for :func:`sgd`.
    """
    return find_state(name).make(**settings)


def find_state(name: str) -> State:
    """Look a state up.

    Raises:
        SettingError: there is none of that name.
    """
    if name not in STATES:
        raise SettingError(f"There is no state {name!r}. {suggest(name, STATES, most=len(STATES))}")
    return STATES[name]


def _state(
    name: str,
    recipe: Recipe,
    most: int,
    *,
    steps: int | None = None,
    seed: int = 0,
    samples: int | None = None,
    activation: Activation = "tanh",
    snapshots_folder: str | Path | None = None,
    cache: bool | str | Path = True,
    device: str = "cpu",
) -> Session:
    if activation not in ACTIVATIONS:
        raise SettingError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}; got {activation!r}.")
    recipe = replace(recipe, activation=activation)
    settings = {
        "recipe": RECIPE,
        **asdict(recipe),
        "steps": most if steps is None else whole_number("steps", steps),
        "seed": whole_number("seed", seed, least=0),
    }
    return open_run(
        recipe,
        settings,
        name=name,
        samples=samples,
        snapshots_folder=snapshots_folder,
        cache=cache,
        device=device,
    )


def _number(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, SupportsFloat):
        raise SettingError(f"{name} must be a number; got {value!r}.")
    return float(value)
