"""The live notebook widgets; imported only when somebody explores."""

from .explorer import Explorer

__all__ = ["Explorer"]
