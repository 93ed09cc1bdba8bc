"""Measure what a person at the screen sees: how soon a picture follows the slider, and how often.

Pixels are read back on every animation frame, so a time is good to about one frame (17 ms at 60 Hz).
"""

import statistics
from dataclasses import dataclass
from typing import Any

from .screen import Screen


@dataclass(frozen=True, slots=True)
class Latency:
    """Key press to changed pixels, in milliseconds."""

    steps: int
    painted: int
    median: float
    p95: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """A slider dragged up and down at a fixed rate."""

    sets: int
    seconds: float
    repaints: int
    settle: float  # last set to last changed pixel, ms; at most 0 when the last frame came in time

    @property
    def rate(self) -> float:
        """Repaints per second while the slider moved."""
        return self.repaints / self.seconds


def latency(lab: Screen, handle: str, scope: str, *, steps: int = 20, pause: float = 0.35) -> Latency:
    """Press arrow keys on a slider's handle one by one and time the first changed pixel below ``scope``."""
    lab.find(handle).first.focus()
    lab.page.keyboard.press("Home")
    lab.wait_until_still(scope)
    times = []
    for step in range(steps):
        # to and fro on the first ten positions: neighbours that differ, and no end to run into
        lab.page.evaluate("(s) => __probe.watch(s)", scope)
        lab.page.keyboard.press("ArrowRight" if step // 9 % 2 == 0 else "ArrowLeft")
        lab.page.wait_for_timeout(1000 * pause)
        seen = lab.page.evaluate("() => __probe.unwatch()")
        after = [t - seen["inputs"][0] for t in seen["changes"] if t >= seen["inputs"][0]]
        times += after[:1]
    if not times:
        return Latency(steps, 0, float("nan"), float("nan"))
    ordered = sorted(times)
    return Latency(steps, len(times), statistics.median(times), ordered[int(0.95 * (len(ordered) - 1))])


def sweep(
    lab: Screen, slider: str, scope: str, *, last: int, seconds: float = 4, hz: float = 60, end: int | None = None
) -> Sweep:
    """Move a slider between 0 and ``last`` at ``hz`` and count the repaints below ``scope``."""
    lab.page.evaluate("(s) => __probe.watch(s)", scope)
    options: dict[str, Any] = {"hz": hz, "seconds": seconds, "from": 0, "to": last, "end": end}
    moved = lab.page.evaluate("([s, o]) => __probe.sweep(s, o)", [slider, options])
    lab.page.wait_for_timeout(1500)
    seen = lab.page.evaluate("() => __probe.unwatch()")
    during = [t for t in seen["changes"] if moved["started"] <= t <= moved["ended"]]
    settle = max(seen["changes"], default=moved["ended"]) - moved["ended"]
    return Sweep(moved["sets"], (moved["ended"] - moved["started"]) / 1000, len(during), settle)


def messages(lab: Screen) -> list[int]:
    """The sizes in bytes of all messages between page and server from now on; to be asked for before a page opens."""
    sizes: list[int] = []

    def heard(payload: str | bytes) -> None:
        sizes.append(len(payload.encode() if isinstance(payload, str) else payload))

    def connected(socket: Any) -> None:
        socket.on("framesent", heard)
        socket.on("framereceived", heard)

    lab.page.on("websocket", connected)
    return sizes
