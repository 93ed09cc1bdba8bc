"""One training on disk: a zip of its spectra, losses and truths, so that rules can be tried again within seconds."""

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

from lhexplore.diagnosis.course import Cell, Course
from lhexplore.layer_state import LayerState
from lhexplore.spectrum import Spectrum
from lhexplore.store.codec import decode, encode

from .networks import Shape
from .runs import MOMENTUM, SGD, Run


@dataclass(frozen=True, eq=False)
class Record:
    """What one training left: what rules may see, and what only the truths know."""

    run: Run
    course: Course
    truths: dict[str, object]


def recipe(run: Run) -> dict[str, object]:
    """The run as JSON says it."""
    return json.loads(json.dumps(asdict(run)))


def save(record: Record, path: Path) -> None:
    """Write one record, whole or not at all."""
    course = record.course
    about = {
        "run": recipe(record.run),
        "truths": record.truths,
        "snapshots": course.snapshots,
        "losses": course.losses,
        "steps": course.steps,
        "gradients": [
            [layer, label, state.size, state.gradient_norm] for (layer, label), state in course.states.items()
        ],
    }
    aside = path.with_suffix(".part")
    with ZipFile(aside, "w", ZIP_DEFLATED, compresslevel=1) as file:
        file.writestr("about.json", json.dumps(about))
        for split in ("data", "held_out"):
            for i, spectrum in enumerate((course.spectra if split == "data" else course.held_out).values()):
                file.writestr(f"{split}/{i}", encode(split, spectrum))
    aside.rename(path)


def load(path: Path) -> Record:
    """Read one record back."""
    with ZipFile(path) as file:
        about = json.loads(file.read("about.json"))
        found: dict[str, dict[Cell, Spectrum]] = {"data": {}, "held_out": {}}
        for name in file.namelist():
            if name != "about.json":
                split = name.split("/")[0]
                spectrum = decode(split, file.read(name))
                found[split][spectrum.layer, spectrum.snapshot] = spectrum
    shape = about["run"].pop("shape")
    run = Run(shape=Shape(**shape | {"widths": tuple(shape["widths"])}), **about["run"])
    states = {
        (layer, at): LayerState(layer, at, size, gradient_norm=norm) for layer, at, size, norm in about["gradients"]
    }
    rates = {"lr": run.rate, "momentum": MOMENTUM} if run.optimiser == SGD else {}
    losses = {label: row | rates for label, row in about["losses"].items()}
    course = Course(tuple(about["snapshots"]), found["data"], found["held_out"], losses, states, about["steps"])
    return Record(run, course, about["truths"])


def with_reference(record: Record, reference: Record | None) -> Record:
    """The same record, compared with another run."""
    return replace(record, course=replace(record.course, reference=reference.course if reference else None))
