"""A session's results as one file: opens anywhere, needs no kernel and no network, and the slider still works."""

from .writing import write

__all__ = ["write"]
