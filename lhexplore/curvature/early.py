"""Import early, out of an interrupt's reach, what torch and scipy would import in the middle of the first product.

The first call of ``autograd.grad`` with given vectors imports ``torch.fx.experimental.symbolic_shapes``, and with it
sympy (0.2 to 0.3 s, measured). An interrupt in that moment, which is when a person presses the stop button, leaves
sympy half imported, and every later product of the process fails. So the imports happen when the first private copy
is made (``import lhexplore`` stays quick), in a thread: Python interrupts the main one only, and what this one has
begun it finishes.
"""

import contextlib
import importlib
import threading

MODULES = ("torch.fx.experimental.symbolic_shapes", "scipy.linalg", "scipy.special")
_LOCK = threading.Lock()
_worker: threading.Thread | None = None


def import_early() -> None:
    """Wait until everything is imported; free of charge after the first time."""
    global _worker  # noqa: PLW0603 (modules are imported once a process)
    with _LOCK:
        if _worker is None:
            _worker = threading.Thread(target=_import, name="lhexplore imports", daemon=True)
            _worker.start()
    _worker.join()


def _import() -> None:
    for name in MODULES:
        with contextlib.suppress(ImportError):  # whoever needs it will say so
            importlib.import_module(name)
