"""What may be shown: a session, told by what it has, so that no class of it must be imported."""

from typing import Any

from ..errors import SettingError


def require_session(given: Any, start: str) -> None:
    """See that something is a session; ``start`` of the sentence says what is wanted.

    Raises:
        SettingError: it is something else.
    """
    if isinstance(given, type) or not all(hasattr(given, name) for name in ("layers", "snapshots", "closed")):
        came = f"the class {given.__name__}" if isinstance(given, type) else type(given).__name__
        raise SettingError(f"{start}; got {came}. Make a session: lh.Session(model, loader, loss, snapshots='runs/a').")
