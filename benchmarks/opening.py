"""How soon a large run is on the screen, and a fresh one: ``python benchmarks/opening.py``.

A session of 100 layers × 100 snapshots lies in a cache on disk (272 eigenvalues each, made up at random; half a
minute). ``lh.explore`` opens it in a kernel that has torch, the model and the session but no widgets yet, in a real
JupyterLab with headless Chromium. Seconds run in the browser, from the moment the cell is sent to the kernel. Memory is
what the kernel has grown by since then, once all is read, judged and drawn.

The fresh session is the trained digits network of the quickstart with nothing in the cache.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))  # the driver of the browser tests

from labdriver import Chromium, LabPage, LabServer, explorer, find_chromium  # noqa: E402  the line above makes it known

QUICKSTART = ROOT / "notebooks" / "00_quickstart.ipynb"
MEASURED: dict[str, tuple[float | None, str, str]] = {
    "cell": (2.0, "s", "large: the cell itself"),
    "spectrum": (2.0, "s", "large: spectrum painted, from the click on Run"),
    "card": (2.0, "s", "large: type and numbers of the layer on show"),
    "filled": (None, "s", "large: every number of the map is there"),
    "memory": (300.0, "MB", "large: memory of the kernel when all is drawn"),
    "first": (2.0, "s", "fresh: first numbers of the layer on show"),
    "exact": (5.0, "s", "fresh: its exact spectrum painted, and said to be exact"),
}

LARGE = """
import numpy as np, psutil, time, torch
from torch import nn
import lhexplore as lh
from lhexplore.spectrum import Spectrum

LAYERS, SNAPSHOTS, WIDTH = {layers}, {snapshots}, 16
torch.manual_seed(0)
model = nn.Sequential(*(part for _ in range(LAYERS) for part in (nn.Linear(WIDTH, WIDTH), nn.Tanh())))
batch = torch.randn(32, WIDTH), torch.randint(0, WIDTH, (32,))
weights = {{name: tensor.clone() for name, tensor in model.state_dict().items()}}
states = {{
    f"step-{{k:05d}}": {{name: tensor + 0.001 * k for name, tensor in weights.items()}} for k in range(SNAPSHOTS)
}}
losses = {{label: 2.3 * 0.97**k for k, label in enumerate(states)}}

def opened():
    return lh.Session(model, [batch], nn.CrossEntropyLoss(), snapshots=states, cache={folder!r})

def resident():
    return psutil.Process().memory_info().rss / 1e6
"""
FILL = """
session, rng = opened(), np.random.default_rng(0)
for k, label in enumerate(states):
    session.states(label, quick=True)
    for row in session.layers:
        signs = np.where(rng.random(row.size) < 0.15, -0.05, 1.0)
        values = signs * 10 ** rng.uniform(-5, 0, row.size) * 0.97**k
        made = Spectrum(row.name, label, row.size, values, np.full(row.size, 1 / row.size), "factor", zero_band=1e-12)
        session._answers._remember(session._request(row.name, label), session._snapshots[label], made)
session.close()
"""
SHOW = """
began = time.perf_counter()
explorer = lh.explore(session)
took = time.perf_counter() - began
explorer
"""
TRAIN = "import time; import lhexplore as lh; session = lh.demo.digits(); lh.explore"  # views load in the cell
STAGES = """
async ([conditions, seconds]) => {
  const started = performance.now(), seen = {};
  const tests = Object.entries(conditions).map(([name, body]) => [name, new Function(`return ${body}`)]);
  const done = window.jupyterapp.commands.execute("notebook:run-all-cells");
  while (Object.keys(seen).length < tests.length && performance.now() - started < 1000 * seconds) {
    for (const [name, holds] of tests) {
      if (!(name in seen) && holds()) seen[name] = (performance.now() - started) / 1000;
    }
    await new Promise(requestAnimationFrame);
  }
  await done;
  return seen;
}
"""
NUMBERS = "__probe.all('.lhx-current .lhx-numbers').some((e) => /\\d/.test(e.textContent))"
DRAWN = f"{explorer.SPECTRUM} .lhx-figure-root"
PICTURES = {
    "spectrum": f"__probe.all('{DRAWN}').length && __probe.colours('{explorer.SPECTRUM}') > 3",
    "card": NUMBERS,
}
ALL = f"__probe.all('{explorer.STATUS}').some((e) => /all known/.test(e.textContent))"
EXACT = "__probe.all('.lhx-current .lhx-method').some((e) => /exact up to round-off/.test(e.textContent))"


def stages(lab: LabPage, seconds: float, **conditions: str) -> dict[str, float]:
    """Run the cell, and tell after how many seconds of the browser's clock each condition held first."""
    lab.page.set_default_timeout(1000 * seconds + 30_000)
    found: dict[str, float] = lab.page.evaluate(STAGES, [conditions, seconds])
    return found


def large(server: LabServer, chromium: Chromium, folder: str, layers: int, snapshots: int) -> dict[str, float]:
    """Open the large session in a kernel of its own; all of it is in the cache."""
    lab = LabPage(server, chromium)
    lab.open(server.write("opening", SHOW))
    lab.kernel(LARGE.format(layers=layers, snapshots=snapshots, folder=folder), seconds=120)
    lab.kernel("session = opened(); before = resident()", seconds=120)
    found = stages(lab, 200, **PICTURES, filled=ALL)
    lab.kernel("explorer.settled(300)", seconds=310)
    found |= {"cell": lab.value("took"), "memory": lab.value("resident() - before")}
    lab.close()
    return found


def fresh(server: LabServer, chromium: Chromium, folder: str) -> dict[str, float]:
    """Open the digits session with nothing in its cache."""
    lab = LabPage(server, chromium)
    lab.open(server.write("fresh", SHOW))
    lab.kernel(f"import os; os.environ['LHEXPLORE_CACHE'] = {folder!r}; {TRAIN}", seconds=300)
    found = stages(lab, 60, first=NUMBERS, exact=f"{EXACT} && {PICTURES['spectrum']}")
    lab.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layers", type=int, default=100)
    parser.add_argument("--snapshots", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if find_chromium() is None:
        sys.exit("No Chromium found on PATH: install one to measure.")
    rows: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as cache, LabServer(QUICKSTART) as server, Chromium() as chromium:
        setting = LARGE.format(layers=arguments.layers, snapshots=arguments.snapshots, folder=cache)
        subprocess.run([sys.executable, "-c", setting + FILL], check=True)
        for _ in range(arguments.repeats):
            with tempfile.TemporaryDirectory() as empty:
                found = fresh(server, chromium, empty)
            found |= large(server, chromium, cache, arguments.layers, arguments.snapshots)
            for name, value in found.items():
                rows.setdefault(name, []).append(value)
    for name, (goal, unit, words) in MEASURED.items():
        values = rows.get(name, [float("nan")])
        middle = statistics.median(values)
        said = "" if goal is None else f"  goal: below {goal:g} {unit}, {'reached' if middle < goal else 'NOT reached'}"
        print(f"{words:58}{middle:8.2f} {unit:3}({min(values):.2f} to {max(values):.2f}){said}")


if __name__ == "__main__":
    main()
