"""Read autograd's graph: what a result was computed from, and through which operations."""

from collections.abc import Iterator
from typing import Any

from torch import Tensor

Node = Any  # torch's graph nodes have no public class


def nodes(*results: Tensor) -> Iterator[Node]:
    """Yield every node behind the results, once each."""
    todo = [tensor.grad_fn for tensor in results if tensor.grad_fn is not None]
    seen = set(todo)
    while todo:
        node = todo.pop()
        yield node
        for following, _ in node.next_functions:
            if following is not None and following not in seen:
                seen.add(following)
                todo.append(following)


def leaves_behind(result: Tensor) -> set[int]:
    """Ids of the leaf tensors that a result was computed from, as far as autograd knows."""
    if result.grad_fn is None:
        return {id(result)} if result.requires_grad else set()
    return {id(node.variable) for node in nodes(result) if hasattr(node, "variable")}


def once_differentiable(*results: Tensor) -> str | None:
    """Name a custom function behind the results whose backward is marked as differentiable only once.

    Differentiating it again raises no error if the inputs of ``autograd.grad`` are given: the part of the graph that
    would raise does not lead to them and is passed over, so its curvature is silently missing.
    """
    for node in nodes(*results):
        function: Any = getattr(node, "_forward_cls", None)
        backward: Any = getattr(function, "backward", None)
        # the decorator puts a wrapper of its own module around backward
        if hasattr(backward, "__wrapped__") and backward.__globals__.get("__name__") == "torch.autograd.function":
            return str(function.__name__)
    return None
