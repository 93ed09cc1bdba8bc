"""What torch's own criteria average over, told from the targets alone, so that micro-batches can be weighed.

The denominators are those of ``reduction="mean"``: elements, labels that are not ignored, or the sum of their class
weights. With label smoothing the denominator is still the sum of the weights of the true classes.
"""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_ELEMENTWISE: dict[type[nn.Module], Callable[..., Tensor]] = {
    nn.MSELoss: F.mse_loss,
    nn.L1Loss: F.l1_loss,
    nn.SmoothL1Loss: F.smooth_l1_loss,
    nn.HuberLoss: F.huber_loss,
    nn.BCELoss: F.binary_cross_entropy,
    nn.BCEWithLogitsLoss: F.binary_cross_entropy_with_logits,
    nn.PoissonNLLLoss: F.poisson_nll_loss,
    nn.SoftMarginLoss: F.soft_margin_loss,
    nn.KLDivLoss: F.kl_div,
}
_CLASSES: dict[type[nn.Module], Callable[..., Tensor]] = {nn.CrossEntropyLoss: F.cross_entropy, nn.NLLLoss: F.nll_loss}


def term_counter(loss: Any) -> Callable[[Tensor], float] | None:
    """How this criterion counts its terms from the targets alone, or None if it is not one of torch's."""
    function, options = _known_function(loss)
    if options.get("reduction") == "batchmean":
        return lambda target: float(target.shape[0])
    if function in _ELEMENTWISE.values():
        return lambda target: float(target.numel())
    if function in _CLASSES.values():
        return functools.partial(
            _class_terms, weight=options.get("weight"), ignore_index=options.get("ignore_index", -100)
        )
    return None


def ignored_label(loss: Any) -> int | None:
    """The label that a criterion of classes leaves out; None for other criteria."""
    function, options = _known_function(loss)
    return int(options.get("ignore_index", -100)) if function in _CLASSES.values() else None


def _known_function(loss: Any) -> tuple[Callable[..., Any] | None, Mapping[str, Any]]:
    """The function of torch that a criterion calls, and the options it calls it with."""
    if not isinstance(loss, nn.Module):
        return torch_function(loss), loss.keywords if isinstance(loss, functools.partial) else {}
    known = {**_ELEMENTWISE, **_CLASSES}
    kind = next((k for k in known if isinstance(loss, k) and type(loss).forward is k.forward), None)
    names = ("weight", "ignore_index", "reduction")
    return (known[kind] if kind else None), {name: getattr(loss, name) for name in names if hasattr(loss, name)}


def _class_terms(target: Tensor, *, weight: Tensor | None, ignore_index: int) -> float:
    """Count labels that are not ignored, each with the weight of its class; class probabilities count one a row."""
    if target.is_floating_point():
        return float(target.numel() / target.shape[1 if target.dim() > 1 else 0])
    labels = target[target != ignore_index]
    if weight is None:
        return float(labels.numel())
    return float(weight.detach().to("cpu", torch.float64)[labels.cpu()].sum())


def torch_function(loss: Any) -> Callable[..., Any] | None:
    """The function of ``torch.nn.functional`` behind ``loss``, also inside ``functools.partial``."""
    function = loss.func if isinstance(loss, functools.partial) else loss
    return function if getattr(function, "__module__", None) == F.__name__ else None
