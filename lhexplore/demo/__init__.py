"""Ready sessions on real data: small networks, trained in seconds on handwritten digits.

``lhexplore.demo.digits()`` is a training that goes well; ``noisy()``, ``narrow()``, ``deep()`` and the other ``STATES``
show what else there is. ``lhexplore demo`` shows any of them from the command line.
"""

from .ready import digits
from .states import STATES, adahessian, adamw, clipped, deep, narrow, noisy, overtrained, sgd, state

__all__ = [
    "STATES",
    "adahessian",
    "adamw",
    "clipped",
    "deep",
    "digits",
    "narrow",
    "noisy",
    "overtrained",
    "sgd",
    "state",
]
