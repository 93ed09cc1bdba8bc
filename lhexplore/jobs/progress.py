"""How far a computation is, in words a person can use."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """``done`` of ``total`` blocks (a block is one layer at one snapshot) after ``seconds``.

    ``done`` counts started blocks by their finished share. ``left`` is the predicted rest in seconds, NaN while
    nothing was measured yet. ``label`` says what is computed now.
    """

    done: float = 0.0
    total: int = 0
    seconds: float = 0.0
    left: float = float("nan")
    label: str = ""

    @property
    def rate(self) -> float:
        """Blocks per second so far; 0 before the first."""
        return self.done / self.seconds if self.seconds > 0 else 0.0

    @property
    def share(self) -> float:
        """Between 0 and 1; nothing to do counts as all done."""
        return self.done / self.total if self.total else 1.0

    def __str__(self) -> str:
        counted = f"{int(self.done + 1e-9)}/{self.total}"
        if self.done + 1e-9 >= self.total:
            return f"{counted} in {clock(self.seconds)}"
        pace = f"{self.rate:.1f}/s" if self.rate >= 1 or not self.rate else f"{1 / self.rate:.1f} s each"
        rest = "estimating" if self.left != self.left else f"{clock(self.left)} left"
        return f"{counted} · {pace} · {rest}" + (f" · {self.label}" if self.label else "")


def clock(seconds: float) -> str:
    """Say a duration shortly: ``0.4 s``, ``12 s``, ``3:05``, ``1:02:00``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
