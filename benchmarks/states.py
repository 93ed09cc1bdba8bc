"""What the demo's states show: curvature, HESD type and findings as measured, for docs/states.md.

python benchmarks/states.py            print the tables (minutes the first time, seconds afterwards)
python benchmarks/states.py --write    renew them in docs/states.md as well
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch

import lhexplore as lh
from lhexplore.diagnosis import Course, hesd

PAGE = Path(__file__).parents[1] / "docs" / "states.md"
BEGIN, END = "<!-- tables begin -->", "<!-- tables end -->"
SEEDS = (0, 1, 2)
SHOWN = (0, 1, 4, 16, 64, 256, 1024)  # steps; and the last


class Last(NamedTuple):
    """One run at its last snapshot, whole network, exact."""

    steps: int
    losses: dict[str, float]
    ct: float
    type: str
    largest: float
    peak: float  # λmax of the recorded snapshot where it is largest; NaN where only the last was measured
    trace: float
    held_out: float  # λmax on held-out data


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    torch.set_num_threads(1)
    ends, courses, found = {}, {}, {}
    with lh.demo.sgd() as session:
        session.compute(["*", None], split="both", states=True, progress=False)
        healthy = session.course()
    for name in lh.demo.STATES:
        for seed in SEEDS:
            with lh.demo.state(name, seed=seed) as session:
                if seed == SEEDS[0]:
                    courses[name] = list(course(session))
                    found[name] = findings(session, healthy)
                ends.setdefault(name, []).append(last(session, courses[name] if seed == SEEDS[0] else []))
                print(name, seed, ends[name][-1], flush=True)
    tables = "\n\n".join(
        [
            "### At the last snapshot\n\n" + end_table(ends),
            f"### C_t on the way, seed {SEEDS[0]}\n\n" + course_table(courses),
            f"### Warnings and notes beside `sgd`, seed {SEEDS[0]}\n\n" + finding_table(found),
        ]
    )
    print(tables)
    if write:
        before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n\n{tables}\n\n{END}{rest.split(END)[1]}", encoding="utf-8")


def course(session: lh.Session) -> Iterator[tuple[int, float, str, float]]:
    """Step, C_t, type and λmax of the whole network, exact, snapshot by snapshot."""
    for snapshot in session.snapshots:
        spectrum = session.spectrum(None, snapshot.label, method="dense")
        read = hesd(spectrum)
        yield snapshot.step, read.ct, read.type, spectrum.largest


def last(session: lh.Session, known: list[tuple[int, float, str, float]]) -> Last:
    spectrum = session.spectrum(None, method="dense")
    held_out = session.spectrum(None, method="dense", split="held_out")
    read = hesd(spectrum)
    peak = max((largest for *_, largest in known), default=float("nan"))
    step, losses = session.snapshots[-1].step, session.losses(-1)
    return Last(step, losses, read.ct, read.type, spectrum.largest, peak, spectrum.trace, held_out.largest)


def findings(session: lh.Session, healthy: Course) -> dict[str, list[str]]:
    """Warnings and notes about the run beside the healthy one: title and rule, then where and from which step on."""
    session.compute(["*", None], split="both", states=True, progress=False)
    steps = {snapshot.label: snapshot.step for snapshot in session.snapshots}
    found: dict[str, list[str]] = {}
    for finding in session.findings(reference=healthy).findings:
        if finding.level != "info":
            where = f"{finding.layer or 'run'} from step {steps[finding.snapshot]:,}"
            found.setdefault(f"{finding.title} ({finding.rule})", []).append(where)
    return found


def end_table(ends: dict[str, list[Last]]) -> str:
    head = ["state", "steps", "loss", "accuracy", "held-out loss", "held-out accuracy"]
    head += ["λmax", "highest λmax", "trace", "λmax / held-out λmax", "C_t", "type"]
    rows = []
    for name, runs in ends.items():
        losses = [
            spread([run.losses[key] for run in runs])
            for key in ("loss", "accuracy", "held_out_loss", "held_out_accuracy")
        ]
        rows.append(
            [
                name,
                spread([run.steps for run in runs]),
                *losses,
                spread([run.largest for run in runs]),
                f"{runs[0].peak:.3g}",
                spread([run.trace for run in runs]),
                spread([run.largest / run.held_out for run in runs]),
                spread([run.ct for run in runs]),
                ", ".join(dict.fromkeys(run.type for run in runs)),
            ]
        )
    return markdown(head, rows)


def course_table(courses: dict[str, list[tuple[int, float, str, float]]]) -> str:
    rows = []
    for name, course in courses.items():
        cells = {step: f"{ct:.2g}" + ("" if kind == "MP" else f" **{kind}**") for step, ct, kind, _ in course}
        rows.append([name, *(cells.get(step, "–") for step in SHOWN), cells[course[-1][0]]])
    return markdown(["state", *(f"step {step}" for step in SHOWN), "last"], rows)


def finding_table(found: dict[str, dict[str, list[str]]]) -> str:
    rows = []
    for name, titles in found.items():
        rows.append([name, "; ".join(f"{title}: {', '.join(where)}" for title, where in titles.items()) or "–"])
    return markdown(["state", "findings"], rows)


def spread(values: list[float]) -> str:
    """The range over seeds, as one number where it has no width at three digits."""
    low, high = (f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}" for value in (min(values), max(values)))
    return low if low == high else f"{low} … {high}"


def markdown(head: list[str], rows: list[list[str]]) -> str:
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows))


if __name__ == "__main__":
    main()
