"""The live notebook widgets; imported only when somebody explores."""

from .explorer import Explorer
from .hub import Hub
from .view import View

__all__ = ["Explorer", "Hub", "View"]
