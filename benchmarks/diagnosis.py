"""How often lhexplore's rules are right: `python benchmarks/diagnosis.py [--write] [--quick] [--half development]`.

Trains some hundred small networks to known states, computes their spectra, and judges them. What was computed stays in
`--folder`, so a second run takes a minute. `--write` renews the results, the page in docs/ and the records beside
the findings; without it tables are printed only. Goals and method: docs/diagnosis_study.md.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from study.bundle import load  # noqa: E402
from study.collecting import collect, place  # noqa: E402
from study.datasets import DEVELOPMENT, SET_ASIDE  # noqa: E402
from study.figures import figures  # noqa: E402
from study.page import page, records  # noqa: E402
from study.runs import Run, plan  # noqa: E402

RESULTS = HERE / "results" / "diagnosis.json"
PAGE = HERE.parent / "docs" / "diagnosis_study.md"
RECORDS = HERE.parent / "lhexplore" / "diagnosis" / "rules" / "records.py"
FOLDER = HERE / "results" / "diagnosis-runs"
HALVES = {"development": DEVELOPMENT, "set_aside": SET_ASIDE}
QUICK = {"development": "iris", "set_aside": "moons"}  # both of the first half: a try must not look at the second
QUICK_RUNS = (
    "healthy-relu-0",
    "fitted-a-0",
    "noise100-relu-0",
    "narrow-tanh-1x1-3",
    "idle-dead-0",
    "slow-sgd-0",
)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where trainings and spectra are kept")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--half", choices=HALVES, help="only this one; the other is not looked at")
    parser.add_argument("--quick", action="store_true", help="a dozen runs: does it work? Nothing is kept")
    parser.add_argument("--write", action="store_true", help="renew results, page and records")
    chosen = parser.parse_args(arguments)
    if chosen.write and (chosen.quick or chosen.half):
        parser.error("--write needs all runs: leave out --quick and --half")
    began = time.monotonic()
    halves = [chosen.half] if chosen.half else list(HALVES)
    runs = {half: _runs(half, chosen.quick) for half in halves}
    with tempfile.TemporaryDirectory() as aside:
        folder = Path(aside) if chosen.quick else chosen.folder
        collect([run for some in runs.values() for run in some], folder, workers=chosen.workers)
        found: dict[str, Any] = {
            half: figures({run.name: load(place(run, folder)) for run in some}) for half, some in runs.items()
        }
    if "set_aside" in found and "development" in found:
        print(page(found))
    else:
        print(json.dumps(found, indent=1))
    print(f"{sum(map(len, runs.values()))} trainings, {time.monotonic() - began:.0f} s", file=sys.stderr)
    if chosen.write:
        RESULTS.write_text(json.dumps(found, indent=1) + "\n")
        PAGE.write_text(page(found))
        RECORDS.write_text(records(found))


def _runs(half: str, quick: bool) -> list[Run]:
    if not quick:
        return [run for name in HALVES[half] for run in plan(name)]
    name = QUICK[half]
    return [run for run in plan(name) if run.name.removeprefix(f"{name}-") in QUICK_RUNS]


if __name__ == "__main__":
    main()
