"""AdaHessian: Adam that divides by a running estimate of the Hessian's diagonal instead of the gradient's size."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn


class AdaHessian(torch.optim.Optimizer):
    """θ ← θ − lr · (m̂ / (√D̂² ^ power + eps) + weight_decay · θ), as in the authors' code (Yao et al., AAAI 2021).

    m is the running mean of the gradient, D² that of the square of abs(Hz) for random signs z, both corrected for
    their start at zero. In convolutions abs(Hz) is averaged over each kernel's positions.

    Call :meth:`backward` in place of ``loss.backward()``. It costs one more backward pass, through the gradient.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 0.15,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-4,
        weight_decay: float = 0.0,
        power: float = 1.0,
        seed: int = 0,
    ) -> None:
        defaults = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "power": power}
        super().__init__(parameters, defaults)
        self._generator = torch.Generator().manual_seed(seed)

    def backward(self, loss: Tensor) -> None:
        """Put the gradient of ``loss`` into ``.grad`` of every parameter, and keep the sizes of Hz for the step."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        signs = [self._signs(p) for p in parameters]
        products = torch.autograd.grad(gradients, parameters, grad_outputs=signs)
        for p, gradient, product in zip(parameters, gradients, products, strict=True):
            p.grad = gradient.detach()
            size = product.abs()
            self.state[p]["diagonal"] = size.mean((2, 3), keepdim=True) if size.ndim == 4 else size

    def _signs(self, like: Tensor) -> Tensor:
        drawn = torch.randint(2, like.shape, generator=self._generator, device="cpu")
        return (2 * drawn - 1).to(like)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Move every parameter once; ``closure`` is for torch's interface and must be None."""
        if closure is not None:
            raise TypeError("AdaHessian needs the graph of the gradient: call backward(loss), then step().")
        for group in self.param_groups:
            for p in group["params"]:
                self._move(p, self.state[p], **{name: value for name, value in group.items() if name != "params"})

    def _move(
        self,
        p: nn.Parameter,
        state: dict[str, Any],
        *,
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
        power: float,
    ) -> None:
        count = state["count"] = state.get("count", 0) + 1
        now = {"mean": p.grad, "square": state["diagonal"] ** 2}
        for (name, value), beta in zip(now.items(), betas, strict=True):
            state[name] = beta * state.get(name, 0.0) + (1 - beta) * value
        mean, square = (state[name] / (1 - beta**count) for name, beta in zip(now, betas, strict=True))
        p.sub_(lr * (mean / (square.sqrt() ** power + eps) + weight_decay * p))
