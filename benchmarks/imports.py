"""What ``import lhexplore`` adds to ``import torch``: ``python benchmarks/imports.py``.

Each time is taken in a fresh interpreter; the smallest of several is the one that other work disturbed least.
"""

import argparse
import json
import subprocess
import sys

GOAL_SECONDS = 0.3
WIDGETS = ("ipywidgets", "bokeh", "anywidget", "pandas")
CODE = """
import json, sys, time
start = time.perf_counter()
import torch
middle = time.perf_counter()
import lhexplore
end = time.perf_counter()
print(json.dumps([middle - start, end - middle, sorted(sys.modules)]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="fresh interpreters")
    arguments = parser.parse_args()
    runs = []
    for _ in range(arguments.repeats):
        run = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
        runs.append(json.loads(run.stdout))
    torch, ours = min(run[0] for run in runs), min(run[1] for run in runs)
    loaded = [name for name in WIDGETS if name in runs[0][2]]
    print(f"import torch      {torch:.2f} s")
    print(f"import lhexplore  {ours:.2f} s more")
    for what, reached in (
        (f"less than {GOAL_SECONDS} s more", ours < GOAL_SECONDS),
        (f"none of {', '.join(WIDGETS)} is loaded", not loaded),
    ):
        print(f"{what}: {'reached' if reached else 'NOT reached'}")


if __name__ == "__main__":
    main()
