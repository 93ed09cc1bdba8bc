"""What jobs and workers have in common for somebody who waits for all of them."""

from typing import Protocol


class Waitable(Protocol):
    """Work that may be under way."""

    @property
    def busy(self) -> bool:
        """Whether something is pending or running."""
        ...

    def wait(self, timeout: float | None = None) -> None:
        """Block until it is not; TimeoutError after ``timeout`` seconds."""
        ...
