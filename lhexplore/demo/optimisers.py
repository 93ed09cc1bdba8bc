"""One step of a recipe: the gradient of a batch, clipped where it says so, and the optimiser's move."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .adahessian import AdaHessian
from .recipe import Recipe


def build_optimiser(parameters: Iterable[nn.Parameter], recipe: Recipe, *, seed: int) -> torch.optim.Optimizer:
    """Make the optimiser: torch's own where it has one, with its defaults but for rate and momentum."""
    betas = recipe.momentum, 0.999
    match recipe.optimiser:
        case "sgd":
            return torch.optim.SGD(parameters, recipe.rate, momentum=recipe.momentum)
        case "adamw":
            return torch.optim.AdamW(parameters, recipe.rate, betas=betas)
        case "adahessian":
            return AdaHessian(parameters, recipe.rate, betas=betas, seed=seed)


def descend(optimiser: torch.optim.Optimizer, loss: Tensor, recipe: Recipe) -> None:
    """Differentiate ``loss``, clip, and move the parameters once."""
    optimiser.zero_grad()
    if isinstance(optimiser, AdaHessian):
        optimiser.backward(loss)
    else:
        loss.backward()  # type: ignore[no-untyped-call]
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    match recipe.clip:
        case "norm", at:
            nn.utils.clip_grad_norm_(parameters, at)
        case "value", at:
            nn.utils.clip_grad_value_(parameters, at)
    optimiser.step()


def rates(recipe: Recipe) -> dict[str, float]:
    """What rules want to know of the optimiser, as numbers to record with a snapshot."""
    clip = {} if recipe.clip is None else {f"clip_{recipe.clip[0]}": recipe.clip[1]}
    return {"lr": recipe.rate, "momentum": recipe.momentum, **clip}
