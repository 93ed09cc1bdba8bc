"""Which spectra one frame shows: of a run the asked cells, or bare ones as they come."""

from collections.abc import Sequence
from typing import Any

from ..diagnosis import Finding
from ..errors import SettingError
from ..spectrum import Spectrum
from .names import block, shown
from .run import Run, run_of


def chosen(
    source: Any,
    layer: str | None,
    snapshot: int | str,
    *,
    held_out: bool = False,
    overlay: Sequence[Any] = (),
    findings: bool = False,
) -> tuple[list[Spectrum], list[str], Sequence[Finding]]:
    """The spectra to draw, the calls that would compute the missing ones, and what was found."""
    if isinstance(source, Spectrum):
        source = [source]
    if isinstance(source, Sequence) and source and all(isinstance(item, Spectrum) for item in source):
        if held_out or findings:
            raise SettingError("Bare spectra know neither held-out data nor findings: pass a session or a Course.")
        return [*source, *map(_bare, overlay)], [], ()
    run = source if isinstance(source, Run) else run_of(source)
    layer = run.layer(layer)
    if not run.labels:
        return [], ["Session(…, snapshots=…)"], ()
    k = run.snapshot(snapshot)
    cells = [(layer, k, "data"), *([(layer, k, "held_out")] if held_out else [])]
    cells += [_cell(run, item, k) for item in overlay if not isinstance(item, Spectrum)]
    known = [(run.spectrum(*cell), run.wanted(*cell)) for cell in cells]
    spectra = [s for s, _ in known if s is not None] + [item for item in overlay if isinstance(item, Spectrum)]
    judged = run.judged()[0] if findings else None
    found = judged.at(layer, run.labels[k]) if judged is not None and layer in judged.layers else ()
    return spectra, [call for s, call in known if s is None], [f for f in found if f.eigenvalue is not None]


def _bare(item: Any) -> Spectrum:
    if not isinstance(item, Spectrum):
        raise SettingError(f"Over bare spectra only spectra can lie; got {item!r:.60}.")
    return item


def _cell(run: Run, item: Any, k: int) -> tuple[str | None, int, str]:
    if isinstance(item, tuple) and len(item) == 2:
        return run.layer(item[0]), run.snapshot(item[1]), "data"
    if item is None or isinstance(item, str):
        return run.layer(item), k, "data"
    raise SettingError(f"overlay takes spectra, names of layers, or (layer, snapshot) pairs; got {item!r:.60}.")


def names_of(spectra: Sequence[Spectrum]) -> list[str]:
    """Name each by what tells it from the others; a single one in full."""
    fields = [
        (
            block(s.layer, longest=26),
            shown(s.snapshot, longest=18),
            "" if s.split == "data" else "held-out data",
            s.curvature,
        )
        for s in spectra
    ]
    alone = len(set(fields)) == 1
    told = [(alone and i < 3) or len({f[i] for f in fields}) > 1 for i in range(4)]
    names = [", ".join(part for part, tells in zip(f, told, strict=True) if tells and part) for f in fields]
    return [name or "training data" for name in names]
