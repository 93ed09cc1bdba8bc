"""The live notebook widgets; imported only when somebody explores."""

from .compare import Comparison, explore
from .explorer import Explorer
from .hub import Hub
from .view import View

__all__ = ["Comparison", "Explorer", "Hub", "View", "explore"]
