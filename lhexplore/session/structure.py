"""A fingerprint of what a model computes apart from its weights, for cache keys."""

import inspect

from torch import nn

from ..digests import digest_json


def fingerprint(model: nn.Module) -> str:
    """Digest the tree of modules: names, classes, ``extra_repr`` and the source of each class's ``forward``.

    Two models with the same weights but, say, another activation must not share results.
    """
    tree = [
        [name, f"{type(module).__module__}.{type(module).__qualname__}", module.extra_repr(), _forward(type(module))]
        for name, module in model.named_modules()
    ]
    return digest_json({"modules": tree})


def _forward(kind: type[nn.Module]) -> str:
    if kind.__module__.startswith("torch."):
        return ""  # torch's own modules are told apart by their class; the torch version is not part of a number's name
    try:
        return inspect.getsource(kind.forward)
    except (OSError, TypeError):  # defined where no source is kept
        return ""
