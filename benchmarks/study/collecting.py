"""Run what is missing, on a few processes; what is there already is kept."""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile, ZipFile

from .bundle import recipe, save
from .runs import Run


def collect(runs: Sequence[Run], folder: Path, *, workers: int) -> None:
    """Record every run of which ``folder`` has no record of the same recipe."""
    folder.mkdir(parents=True, exist_ok=True)
    missing = [run for run in runs if not _there(run, folder)]
    if not missing:
        return
    os.environ["OMP_NUM_THREADS"] = "1"  # read by the workers when they import torch
    began = time.monotonic()
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for done, name in enumerate(pool.imap_unordered(_one, [(run, folder) for run in missing]), 1):
            seconds = time.monotonic() - began
            print(f"\r{done} of {len(missing)} trainings, {seconds:.0f} s  {name:60}", end="", file=sys.stderr)
    print(file=sys.stderr)


def place(run: Run, folder: Path) -> Path:
    return folder / f"{run.name}.zip"


def _there(run: Run, folder: Path) -> bool:
    try:
        with ZipFile(place(run, folder)) as file:
            return json.loads(file.read("about.json"))["run"] == recipe(run)
    except (OSError, BadZipFile, KeyError):
        return False


def _one(work: tuple[Run, Path]) -> str:
    import torch

    from .measuring import record

    torch.set_num_threads(1)
    run, folder = work
    save(record(run), place(run, folder))
    return run.name
