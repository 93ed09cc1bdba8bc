"""What is going on, in words and as a bar: progress, time left, and what went wrong."""

from pathlib import Path

import traitlets as t
from anywidget import AnyWidget

from ..jobs.progress import clock
from .pace import TELLING

_HERE = Path(__file__).parent


class Status(AnyWidget):
    """A progress bar with a quickly changing line, a slowly changing line that is read aloud, and a problem line."""

    _esm = t.Unicode((_HERE / "status.js").read_text("utf-8")).tag(sync=True)
    share = t.Float(0.0, help="Between 0 and 1.").tag(sync=True)
    progress = t.Unicode("", help="done/total, pace, time left.").tag(sync=True)
    text = t.Unicode("", help="What is going on; read aloud when it changes.").tag(sync=True)
    problem = t.Unicode("", help="What went wrong, or nothing.").tag(sync=True)

    def show(self, *, share: float, progress: str, text: str, problem: str) -> None:
        """Set everything at once; only what changed travels."""
        with self.hold_sync():
            self.share, self.progress, self.text, self.problem = share, progress, text, problem


def pace_words(
    done: int, total: int, *, seconds: float, computed: float, left: float, ahead: str = "", where: str = ""
) -> str:
    """Say done/total, the pace of what was computed in ``seconds``, the time left, and what is computed now.

    ``computed`` may count parts of spectra; what came from the cache is not in it. ``left`` is NaN while unknown.
    ``ahead`` says what is to do where nobody does it now.
    """
    parts = [f"{done}/{total} spectra"]
    if computed >= TELLING and seconds > 0:
        rate = computed / seconds
        parts.append(f"{rate:.1f}/s" if rate >= 1 else f"{1 / rate:.1f} s each")
    if left == left:
        parts.append(f"{clock(left)} left")
    parts += [part for part in (ahead, where) if part]
    return " · ".join(parts)
