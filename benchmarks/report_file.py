"""What a report costs: ``python benchmarks/report_file.py`` writes one and opens it in headless Chromium.

20 layers × 50 snapshots of estimated spectra (5 probes × 40 steps) from closed forms, so that nothing is trained.
Times in the page are those of the browser's own clock: from the start of the navigation to the first painted
spectrum, and from an input event on the slider to changed pixels, with all figures in the page.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))  # the canned session and the driver of the tests

from canned_large import large  # noqa: E402  the line above makes it known
from opened_report import Opened, chromium, find_chromium, middle_and_tail  # noqa: E402

from lhexplore.report import write  # noqa: E402

GOAL_WRITE_S, GOAL_MB, GOAL_OPEN_MS, GOAL_REPAINT_MS = 4.0, 5.0, 2000, 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--snapshots", type=int, default=50)
    parser.add_argument("--held-out", action="store_true", help="with spectra of held-out data beside all")
    parser.add_argument("--repeats", type=int, default=3, help="how often the report is written again, and opened")
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to measure.")
    session = large(arguments.layers, arguments.snapshots, has_held_out=arguments.held_out)
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for _ in range(1 + arguments.repeats):  # the first time libraries are loaded and metrics are formed
            start = time.perf_counter()
            file = write(session, Path(folder) / "report.html")
            seconds.append(time.perf_counter() - start)
        size = file.stat().st_size / 1e6
        openings, requests = [], []
        last = arguments.snapshots - 1
        times: list[float] = []
        with chromium() as browser:
            for _ in range(arguments.repeats):
                opened = Opened(browser, file)
                openings.append(opened.opening)
                times += opened.latencies([*range(last - 1, last // 2, -1)])
                requests += [url for url in opened.requests if url != file.as_uri()]
                opened.close()
    opening, (middle, tail) = statistics.median(openings), middle_and_tail(times)
    print(f"{len(times)} movements of the slider")
    for what, value, goal in (
        ("s to write it, the first time", seconds[0], GOAL_WRITE_S),
        ("s to write it again, median", statistics.median(seconds[1:]), GOAL_WRITE_S),
        ("size in MB", size, GOAL_MB),
        ("ms to the first painted spectrum, median", opening, GOAL_OPEN_MS),
        ("ms from the slider to pixels, median", middle, GOAL_REPAINT_MS),
        ("ms from the slider to pixels, 95 %", tail, GOAL_REPAINT_MS),
        ("requests to the network", len(requests), 1),
    ):
        print(f"{what}: {value:.3g} (below {goal:g}: {'reached' if value < goal else 'NOT reached'})")


if __name__ == "__main__":
    main()
