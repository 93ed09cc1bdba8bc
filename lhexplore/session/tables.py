"""What a session knows, as tables: the plan, the check, one row per block, one row per node."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..diagnosis import Diagnosis
from ..diagnosis.metrics.own import COLUMNS, LOSSES
from ..diagnosis.metrics.state import PAIR_METRICS, STATE_METRICS, beside, state_metrics
from ..diagnosis.metrics.table import METRICS
from ..errors import ComparisonError
from ..layer_state import LayerState
from ..spectrum import WHOLE, Spectrum
from .layer_states import known_states
from .reading import read
from .request import Request
from .table import Table

if TYPE_CHECKING:
    import pandas as pd

    from .session import Session

KINDS = {"dense": "eigenvalue", "factor": "eigenvalue", "lanczos": "ritz value"}


def plan(session: "Session", wanted: Sequence[Request]) -> Table:
    """Method, products, seconds, bytes and whether it is cached, per wanted block."""
    rows: list[dict[str, Any]] = []
    for request in wanted:
        choice = session.choice(request)
        known = session.known(request)
        cached = known is not None
        rows.append(
            {
                "snapshot": request.snapshot,
                "layer": request.layer or WHOLE,
                "method": choice.method if known is None else known.method,
                "products": 0 if cached else choice.products,
                "seconds": 0.0 if cached else session.seconds(request),
                "MB": 0.0 if cached else session.peak(request) / 1e6,
                "cached": cached,
                "why": choice.reason if known is None else known.reason,
            }
        )
    missing = [row for row in rows if not row["cached"]]
    seconds = sum(row["seconds"] for row in missing)
    return Table(
        rows,
        caption=f"{len(rows)} spectra: {len(rows) - len(missing)} cached, {len(missing)} to compute"
        + (f", about {seconds:.1f} s." if missing else "."),
    )


def check(session: "Session", found: Sequence[tuple[str, str, str]]) -> Table:
    """The rows of the model's check, then one per layer, the data, the snapshots and the cost."""
    rows = [{"what": name, "verdict": verdict, "detail": detail} for name, verdict, detail in found]
    for layer in session.layers:
        detail = f"{layer.kind}, {layer.size:,} parameters" + (f"; {layer.reason}" if layer.reason else "")
        rows.append({"what": f"layer {layer.name}", "verdict": layer.status, "detail": detail})
    for row in session.snapshots:
        if row.status != "ok" or row.reason:
            rows.append({"what": f"snapshot {row.label}", "verdict": row.status, "detail": row.reason})
    rows += [{"what": "notice", "verdict": "note", "detail": notice} for notice in session.notices]
    return Table(rows, caption=session.plan().caption)


def summary(session: "Session", failures: Mapping[tuple[str | None, str, str], str]) -> "pd.DataFrame":
    """One row per snapshot and layer, and per snapshot for the whole network where that is known.

    What was recorded under the name of a measured column stands beside it, as "recorded_…".
    """
    import pandas as pd

    return pd.DataFrame(list(_summary_rows(session, failures)))


def _summary_rows(session: "Session", failures: Mapping[tuple[str | None, str, str], str]) -> Iterator[dict[str, Any]]:
    before: dict[str | None, Spectrum] = {}  # the last one known of each block
    measured = (COLUMNS - LOSSES) | {*METRICS, *STATE_METRICS, *PAIR_METRICS}  # nothing recorded takes their place
    for snapshot in session.snapshots:
        place = {"snapshot": snapshot.label, "step": snapshot.step, "epoch": snapshot.epoch}
        if snapshot.status != "ok":
            yield {**place, "layer": None, "status": snapshot.status, "reason": snapshot.reason}
            continue
        losses = {name: value for name, value in session.losses(snapshot.label).items() if name not in place}
        recorded = {f"recorded_{name}" if name in measured else name: value for name, value in losses.items()}
        whole, states = session.cached(None, snapshot.label), known_states(session, snapshot.label)
        blocks: list[tuple[str | None, str, int, str, str]] = (
            [(None, WHOLE, whole.size, "ok", "")] if whole is not None else []
        )
        blocks += [(layer.name, layer.name, layer.size, layer.status, layer.reason) for layer in session.layers]
        for name, shown, size, status, reason in blocks:
            row = {**place, "layer": shown, "size": size}
            if status != "ok":
                yield {**row, "status": status, "reason": reason}
            elif (name, snapshot.label, "data") in failures:
                yield {**row, "status": "failed", "reason": failures[name, snapshot.label, "data"]}
            elif (spectrum := session.cached(name, snapshot.label)) is None:
                known = state_metrics(states[name]) if name in states else {}
                yield {**row, "status": "not computed", **known, "reason": ""}
            else:
                found = read(session, spectrum)
                yield {
                    **row,
                    "status": "ok",
                    **_measured(spectrum),
                    **_read(found, spectrum),
                    **_beside(spectrum, states.get(name), before.get(name), losses),
                    **recorded,
                    "reason": reason,
                }
                before[name] = spectrum


def _measured(s: Spectrum) -> dict[str, Any]:
    return {
        "lambda_max": s.largest,
        "lambda_min": s.smallest,
        "error": s.error,
        "trace": s.trace,
        "trace_stderr": s.trace_stderr,
    }


def _read(found: Diagnosis, s: Spectrum) -> dict[str, Any]:
    hesd = found.hesd
    return {
        "hesd": hesd.word,
        "ct": hesd.ct,
        "findings": "; ".join(finding.title for finding in found.findings),
        "method": s.method,
        "exact": s.exact,
        "zero_band": s.zero_band,
        "hesd_type": hesd.type,
        "quasi_singular": hesd.quasi_singular,
        "ct_low": hesd.interval[0],
        "ct_high": hesd.interval[1],
        "re": hesd.re,
        "kh": hesd.kh,
        "kh_basis": hesd.kh_basis,
        **{name: value for name, value in found.metrics.items() if name not in ("trace", "lambda_max", "lambda_min")},
    }


def _beside(
    s: Spectrum, state: LayerState | None, before: Spectrum | None, losses: Mapping[str, float]
) -> dict[str, float]:
    """Gradient, parameters and drift where they are known; a stability number where a learning rate was recorded."""
    rate = next((losses[name] for name in ("lr", "learning_rate") if losses.get(name, -1.0) >= 0), None)
    found = beside(s, state=state, learning_rate=rate)
    try:
        return found | beside(s, before=before)
    except ComparisonError:  # computed in another way: there is no drift to tell
        return found


def frame(session: "Session") -> "pd.DataFrame":
    """Every known node of every known spectrum on the session's data, long."""
    import pandas as pd

    columns = ("snapshot", "step", "epoch", "layer", "kind", "node", "weight", "probe", "residual")
    parts = []
    for snapshot in session.snapshots:
        for name in (None, *(layer.name for layer in session.layers if layer.status == "ok")):
            spectrum = session.cached(name, snapshot.label)
            if spectrum is None:
                continue
            parts.append(
                pd.DataFrame(
                    {
                        "snapshot": snapshot.label,
                        "step": snapshot.step,
                        "epoch": snapshot.epoch,
                        "layer": name or WHOLE,
                        "kind": KINDS[spectrum.method],
                        "node": spectrum.nodes,
                        "weight": spectrum.weights,
                        "probe": spectrum.probe,
                        "residual": spectrum.residuals,
                    }
                )
            )
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=list(columns))


def dtype_name(dtype: torch.dtype) -> str:
    """``torch.float64`` as people say it: float64."""
    return str(dtype).removeprefix("torch.")
