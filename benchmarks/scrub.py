"""How soon the spectrum follows the slider, in a real JupyterLab: ``python benchmarks/scrub.py``.

Starts JupyterLab and headless Chromium on this machine, runs the quickstart and drags its slider. A time runs from
the key press in the page to the first changed pixel of the spectrum; a repaint is a changed picture on an animation
frame while the slider is set 60 times a second.
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
GOAL_MEDIAN_MS = 60
GOAL_RATE = 25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3, help="how often everything is measured")
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to measure.")
    with LabServer(QUICKSTART) as server, Chromium() as chromium:
        lab = LabPage(server, chromium)
        lab.open(QUICKSTART.name)
        lab.run_all()
        explorer.bring_up(lab)
        last = lab.value("len(session.snapshots) - 1")
        rows = []
        for _ in range(arguments.repeats):
            keys = meter.latency(lab, explorer.HANDLE, explorer.SPECTRUM, steps=20)
            drag = meter.sweep(lab, explorer.SLIDER, explorer.SPECTRUM, last=last)
            rows.append((keys.median, keys.p95, drag.rate, drag.settle))
        lab.close()
    print(f"{'run':>6}  {'median ms':>9}  {'95 % ms':>7}  {'repaints/s':>10}  {'settled after ms':>16}")
    for number, row in enumerate(rows, start=1):
        print(f"{number:>6}  " + _cells(row))
    middle = [statistics.median(column) for column in zip(*rows, strict=True)]
    print(f"{'median':>6}  " + _cells(middle))
    for what, reached in (
        (f"key press to repaint: median below {GOAL_MEDIAN_MS} ms", middle[0] < GOAL_MEDIAN_MS),
        (f"while dragging: at least {GOAL_RATE} repaints/s", middle[2] >= GOAL_RATE),
    ):
        print(f"{what}: {'reached' if reached else 'NOT reached'}")


def _cells(row: Sequence[float]) -> str:
    return f"{row[0]:9.0f}  {row[1]:7.0f}  {row[2]:10.1f}  {row[3]:16.0f}"


if __name__ == "__main__":
    main()
