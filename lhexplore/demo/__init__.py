"""A ready session on real data: a small network, trained in seconds on handwritten digits.

``lhexplore.demo.digits()`` is the whole of it; ``lhexplore demo`` shows it from the command line.
"""

from .ready import digits

__all__ = ["digits"]
