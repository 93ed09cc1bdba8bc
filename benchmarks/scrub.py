"""How soon the spectrum follows the slider, in a real JupyterLab: ``python benchmarks/scrub.py``.

Starts JupyterLab and headless Chromium on this machine, runs the quickstart and drags its slider: with one layer on
show, and with three further layers over it in 200 bins (``overlaid``), the map beside it both times. A time runs from
the key press in the page to the first changed pixel of the spectrum; a repaint is a changed picture on an animation
frame while the slider is set 60 times a second. Messages are the frames of the page's WebSockets, buffers included,
while this goes on.
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the driver of the browser tests

from labdriver import Chromium, LabPage, LabServer, explorer, find_chromium, meter  # noqa: E402  the line above makes it known

QUICKSTART = ROOT / "notebooks" / "00_quickstart.ipynb"
GOAL_MEDIAN_MS, GOAL_P95_MS = 50, 100
GOAL_RATE = 20
GOAL_KB = 100
OVERLAID = """
from functools import partial
from lhexplore.explorer.views import spectrum_plot as view

view.spectrum_plot = partial(view.spectrum_plot, bins=200)
names = [row.name for row in session.layers if row.status == "ok"]
explorer.layer, explorer.overlay = names[0], names[1:4]
explorer.settled()
"""
COLUMNS = ("median ms", "95 % ms", "repaints/s", "settled after ms", "largest message kB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to measure.")
    with LabServer(QUICKSTART) as server, Chromium() as chromium:
        lab = LabPage(server, chromium)
        sizes = meter.messages(lab)
        lab.open(QUICKSTART.name)
        lab.run_all()
        explorer.bring_up(lab)
        last = lab.value("len(session.snapshots) - 1")
        found = {"one layer": [measured(lab, sizes, last) for _ in range(arguments.repeats)]}
        lab.kernel(OVERLAID)
        explorer.bring_up(lab)
        found["overlaid"] = [measured(lab, sizes, last) for _ in range(arguments.repeats)]
        lab.close()
    print(f"{'':10}" + "".join(f"{column:>20}" for column in COLUMNS))
    for name, rows in found.items():
        for row in rows:
            print(f"{name:10}" + _cells(row))
        print(f"{'median':10}" + _cells([statistics.median(column) for column in zip(*rows, strict=True)]))
    median, p95, rate, _, largest = (statistics.median(column) for column in zip(*found["overlaid"], strict=True))
    for what, reached in (
        (f"key press to repaint, overlaid: median up to {GOAL_MEDIAN_MS} ms", median <= GOAL_MEDIAN_MS),
        (f"key press to repaint, overlaid: 95 % up to {GOAL_P95_MS} ms", p95 <= GOAL_P95_MS),
        (f"while dragging, overlaid: at least {GOAL_RATE} repaints/s", rate >= GOAL_RATE),
        (f"every message below {GOAL_KB} kB", largest < GOAL_KB),
    ):
        print(f"{what}: {'reached' if reached else 'NOT reached'}")


def measured(lab: LabPage, sizes: list[int], last: int) -> tuple[float, ...]:
    """Scrub by keys, then drag; what ``COLUMNS`` name."""
    sizes.clear()
    keys = meter.latency(lab, explorer.HANDLE, explorer.SPECTRUM, steps=20)
    drag = meter.sweep(lab, explorer.SLIDER, explorer.SPECTRUM, last=last)
    return keys.median, keys.p95, drag.rate, drag.settle, max(sizes, default=0) / 1000


def _cells(row: Sequence[float]) -> str:
    return "".join(f"{value:20.1f}" for value in row)


if __name__ == "__main__":
    main()
