"""What ``lhexplore demo`` does: train, compute every spectrum, print the table, write the report, open JupyterLab."""

import time
from pathlib import Path
from typing import Any

from ..errors import SettingError
from ..session import Session
from ..session.table import Table
from ..spectrum import WHOLE
from .lab import open_lab
from .ready import digits
from .states import find_state

NOTEBOOK = Path("notebooks/00_quickstart.ipynb")


FITTED = """
Findings are rules of thumb. At its end this training fits the images almost perfectly, and curvature
collapses with the loss; the slider shows how it rose and fell on the way."""
STATE = "\nFindings are rules of thumb, and a state need not show what is said of it: compare it with the state 'sgd'."


def show(*, report: Path, lab: bool, state: str | None = None, **settings: Any) -> int:
    """Run the demo and return the exit code; ``settings`` are those of :func:`digits`, or of the state of that name.

    Raises:
        SettingError: no such state, or one together with a ``model``.
    """
    began = time.perf_counter()
    if state is None:
        make, what = digits, "A small network, trained until it fits."
    else:
        make, what = find_state(state)
        if "model" in settings:
            raise SettingError(f"The state {state!r} has a network of its own. Leave out either --state or --model.")
    print(f"Handwritten digits: 1,797 real images. {what}\nTraining, or finding the run recorded earlier …", flush=True)
    with make(**settings) as session:
        _say_what_was_trained(session)
        blocks = [layer.name for layer in session.layers if layer.status == "ok"]
        print(f"Computing {len(blocks)} layers and the {WHOLE} at {len(session.snapshots)} snapshots:", flush=True)
        session.compute([*blocks, None])
        print(f"\nAt the last snapshot, {session.snapshots[-1].label}:\n")
        print(table(session, blocks))
        print(FITTED if state is None else STATE)
        written = session.report(report)
    print(f"\nThe report, with its slider: {written} (any browser, no network needed)")
    print(f"All of it took {time.perf_counter() - began:.0f} s.", flush=True)
    if not lab:
        return 0
    if not NOTEBOOK.is_file():
        print(f"JupyterLab was not opened: {NOTEBOOK} is not below this folder. Start the demo in a checkout for that.")
        return 0
    return open_lab(NOTEBOOK)


def _say_what_was_trained(session: Session) -> None:
    last = session.snapshots[-1]
    metrics = session.losses(last.label)
    print(f"  {session.description}")
    print(
        f"  {len(session.snapshots)} snapshots from step {session.snapshots[0].step} to {last.step}; "
        f"{metrics['held_out_accuracy']:.1%} of the held-out digits are right at the end.",
        flush=True,
    )


def table(session: Session, blocks: list[str]) -> Table:
    """One row per layer, and one for the whole network: the curvature at the last snapshot and what follows."""
    return Table([_row(session, block) for block in (*blocks, None)])


def _row(session: Session, block: str | None) -> dict[str, Any]:
    course = [
        (spectrum, snapshot)
        for snapshot in session.snapshots
        if snapshot.status == "ok" and (spectrum := session.cached(block, snapshot.label)) is not None
    ]
    found = session.diagnose(block)
    last = course[-1][0]
    peak, when = max(course, key=lambda item: item[0].largest)
    return {
        "layer": block or WHOLE,
        "size": last.size,
        "λmax": _plus_minus(last.largest, last.error),
        "highest λmax": f"{peak.largest:.3g} at step {when.step}",
        "trace": _plus_minus(last.trace, 2 * last.trace_stderr),
        "method": "exact" if last.exact else last.method,
        "HESD": found.hesd.word,
        "findings": "; ".join(finding.title for finding in found.findings) or None,
    }


def _plus_minus(value: float, error: float) -> str:
    """A value with its error, unless that lies below the digits shown."""
    return f"{value:.4g} ± {error:.2g}" if error >= 5e-5 * abs(value) > 0 else f"{value:.4g}"
