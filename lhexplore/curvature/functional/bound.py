"""A replica held at the weights it has now, whatever it loads later."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ..trees import count_examples

if TYPE_CHECKING:
    from ..replica import Replica

NOTHING: Mapping[str, Tensor] = MappingProxyType({})


class Bound:
    """``replica.call`` at fixed weights, and how many examples its micro-batches hold."""

    def __init__(self, replica: "Replica") -> None:
        self.replica, self.tensors = replica, replica.tensors
        self.sizes = tuple(count_examples(replica.batch(i)) for i in range(replica.count))
        self.examples = sum(self.sizes)
        with replica.guard():
            self._parameters, self._buffers = replica.call(NOTHING, _held, None)

    def call(self, override: Mapping[str, Tensor], function: Callable[[nn.Module, Any], Any], batch: Any) -> Any:
        """Call ``function(model, batch)`` with ``override`` in place of some parameters."""
        buffers = {name: value.clone() for name, value in self._buffers.items()}  # a forward may write to them
        return self.replica.call({**self._parameters, **buffers, **override}, function, batch)

    def state(self) -> dict[str, Tensor]:
        """The weights and buffers, as ``replica.load`` takes them."""
        return {**self._parameters, **self._buffers}


def _held(model: nn.Module, _: Any) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    parameters = {name: tensor.detach() for name, tensor in model.named_parameters()}
    return parameters, {name: tensor.detach().clone() for name, tensor in model.named_buffers()}
