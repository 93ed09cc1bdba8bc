"""The command line: ``lhexplore demo | check | compute | report``.

Exit codes: 0 done, 1 something else failed, 2 the input cannot be used (one line says why), 130 stopped with Ctrl-C.
"""

import argparse
import os
import runpy
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from .errors import LhexploreError, SettingError

if TYPE_CHECKING:
    from .session import Session

BAD_INPUT, STOPPED = 2, 130
STATES = (  # of lhexplore.demo, which is loaded only when it is needed
    *("sgd", "adamw", "adahessian", "clipped", "clipped-value"),
    *("noisy", "noisy-100", "narrow", "deep", "overtrained"),
)
SCRIPT = "a Python file that makes a lhexplore.Session and calls it `session`; it is run, so use only files you trust"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except LhexploreError as error:
        print(f"lhexplore: {error}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("\nlhexplore: stopped. What is done is kept; the same command goes on from there.", file=sys.stderr)
        return STOPPED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lhexplore", description="See the layer-wise Hessian spectra of a network through its training."
    )
    parser.add_argument("--version", action="version", version=f"lhexplore {version('lhexplore')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_demo(commands)
    _add_check(commands)
    _add_compute(commands)
    _add_report(commands)
    return parser


def _add_demo(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    demo = commands.add_parser(
        "demo",
        help="the main job on real data: train on handwritten digits, compute all spectra, open JupyterLab",
        description="Train a small network on scikit-learn's handwritten digits, compute the Hessian spectra of all "
        "its layers at all snapshots, print a table, write a report and open JupyterLab. What was computed before "
        "is found again. LHEXPLORE_LAB=0 in the environment does the same as --no-lab.",
    )
    demo.add_argument(
        "--state", metavar="NAME", help=f"a training that goes another way instead, one of {', '.join(STATES)}"
    )
    demo.add_argument("--model", choices=("conv", "dense"), help="default: conv; not with --state")
    demo.add_argument("--steps", type=int, help="optimiser steps (default: 2048; with --state its own)")
    demo.add_argument("--samples", type=int, help="images per Hessian (default: 256; with --state all it trains on)")
    demo.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    demo.add_argument("--device", default="cpu", help="cpu, cuda, auto, … (default: %(default)s)")
    demo.add_argument("--cache", metavar="FOLDER", default=True, help="instead of your cache folder")
    demo.add_argument(
        "--report", metavar="FILE", type=Path, default=Path("demo/report.html"), help="default: %(default)s"
    )
    demo.add_argument("--no-lab", action="store_true", help="stop before JupyterLab")
    demo.set_defaults(run=_demo)


def _add_check(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    check = commands.add_parser("check", help="what will work, what will not and why, and what it will cost")
    check.add_argument("script", type=Path, help=SCRIPT)
    check.set_defaults(run=_check)


def _add_compute(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    compute = commands.add_parser("compute", help="compute spectra into the cache; stop and go on as you like")
    compute.add_argument("script", type=Path, help=SCRIPT)
    compute.add_argument(
        "--layer",
        metavar="NAME",
        action="append",
        help="name or glob, repeatable; 'whole network' is one (default: all)",
    )
    compute.add_argument("--snapshot", metavar="LABEL", action="append", help="label, repeatable (default: all)")
    compute.add_argument("--plan", action="store_true", help="only say what it would cost")
    compute.set_defaults(run=_compute)


def _add_report(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    report = commands.add_parser("report", help="write what is computed as one HTML file with a slider")
    report.add_argument("script", type=Path, help=SCRIPT)
    report.add_argument(
        "-o", "--output", metavar="FILE", type=Path, default=Path("report.html"), help="default: %(default)s"
    )
    report.set_defaults(run=_report)


def _demo(options: argparse.Namespace) -> int:
    from .demo.show import show  # torch and the rest are loaded only when a command needs them

    given = {name: value for name in ("model", "steps", "samples") if (value := getattr(options, name)) is not None}
    return show(
        **given,
        state=options.state,
        seed=options.seed,
        device=options.device,
        cache=options.cache,
        report=options.report,
        lab=not options.no_lab and os.environ.get("LHEXPLORE_LAB") != "0",
    )


def _check(options: argparse.Namespace) -> int:
    with _session(options.script) as session:
        print(session.check())
    return 0


def _compute(options: argparse.Namespace) -> int:
    with _session(options.script) as session:
        if options.plan:
            print(session.plan(options.layer, options.snapshot))
        else:
            session.compute(options.layer, options.snapshot)
    return 0


def _report(options: argparse.Namespace) -> int:
    with _session(options.script) as session:
        print(session.report(options.output))
    return 0


def _session(script: Path) -> "Session":
    """Run ``script`` and take the session it made.

    Raises:
        SettingError: there is no such file, or it makes no session.
    """
    from .session import Session

    if not script.is_file():
        raise SettingError(f"There is no file {str(script)!r}. Name {SCRIPT}.")
    sys.path.insert(0, str(script.resolve().parent))  # its neighbours can be imported, as when Python runs it
    found = runpy.run_path(str(script), run_name="__lhexplore__").get("session")
    if not isinstance(found, Session):
        what = "nothing" if found is None else f"a {type(found).__name__}"
        raise SettingError(f"{script} must make a lhexplore.Session called `session`; it made {what} of that name.")
    return found
