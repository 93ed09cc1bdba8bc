"""Try once, on little, what every later number relies on."""

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from .replica import Replica

Row = tuple[str, str, str]


def check(replica: "Replica") -> tuple[Row, ...]:
    """Rows of (name, verdict, detail)."""
    with torch.no_grad():
        first, again = replica.batch_loss(0), replica.batch_loss(0)
    same = bool(first == again)
    return (("determinism", "ok" if same else "error", f"{float(first):.6g} twice"),)
